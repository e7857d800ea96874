/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one channel between keeper and server: a SOCK_SEQPACKET pair, one struct link_msg a packet,
 * file descriptors beside it (SCM_RIGHTS). Fixed size, no parsing, no pointers. PROTOCOL.link says what each
 * message means, link_rules.c who may send it, when, and with what.
 */
#ifndef KEKD_SERVER_LINK_H
#define KEKD_SERVER_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/keyinfo.h"
#include "daemon/obs/metrics.h"

#define LINK_FDS    4
#define LINK_PEERS  64
#define LINK_BUFFER (128 << 10) /* bytes, some 30 messages, that wait in each direction */

#define LINK_TRANSFORM UINT32_MAX /* index of the Transform service's listener */

enum link_type {
	LINK_CONFIG = 1,
	LINK_LISTENER,
	LINK_TESTKEY,
	LINK_KEY,
	LINK_SOCKET,
	LINK_WITHDRAW,
	LINK_GO,
	LINK_STOP,
	LINK_READY,
	LINK_RELOADED,
	LINK_FAILED,
	LINK_NEED,
	LINK_USED,
	LINK_CONNECT,
	LINK_CONNECTED,
	LINK_PING,
	LINK_PONG,
	LINK_STATS,
	LINK_SEALED,
	LINK_AUDIT,
	LINK_SYNC,
	LINK_SYNCED,
	LINK_RELOAD,
	LINK_HOLDER,
	LINK_TYPES,
};

enum link_side { LINK_KEEPER, LINK_SERVER };

/* What the sender has said so far: the keeper before and after GO, the server before and after READY. */
enum link_when { LINK_STARTING = 1, LINK_SERVING = 2 };

struct link_msg {
	uint32_t type;
	int32_t r;
	uint32_t index;
	uint32_t held;  /* the key is in the holder, and no fd is needed */
	uint32_t spent; /* it has encrypted as much as it may */
	uint64_t encryptions, decryptions, since_ns;
	struct key_info key; /* KEY; of TESTKEY, SOCKET, WITHDRAW, NEED and USED the id */
	char text[256];
	uint32_t n_peer_uids, n_peer_gids;
	uint32_t peer_uids[LINK_PEERS], peer_gids[LINK_PEERS];
	struct metrics stats;
};

struct link_fds {
	int fd[LINK_FDS];
	unsigned int n;
	bool lost; /* there were some, and there was no room for them */
};

/* Both ends CLOEXEC. */
int link_pair(int ret_fds[static 2]);
/* Whole or not at all. fds borrowed, may be NULL. Blocking sockets wait. */
int link_send(int fd, const struct link_msg *msg, const struct link_fds *fds);
/*
 * Next message; fds (CLOEXEC) are the caller's to close. -ENODATA
 * when the other end is gone, -EPROTO if it is not one of ours.
 */
int link_recv(int fd, struct link_msg *ret, struct link_fds *ret_fds);

/*
 * link_rules.c: may @from say this @now, and with so many descriptors? -EPROTO: no. Both sides ask it of every
 * message that they receive.
 */
int link_check(const struct link_msg *msg, const struct link_fds *fds, enum link_side from,
	       enum link_when now);
/* "KEY", for a log. */
const char *link_type_name(uint32_t type);

void link_fds_close(struct link_fds *fds);
/* Take fd @i; ownership moves. */
int link_fds_take(struct link_fds *fds, unsigned int i);

#endif
