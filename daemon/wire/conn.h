/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connected socket under one HTTP/2 session: moves bytes between the two, for server and client
 * alike. Knows buffers, back-pressure and stalls, nothing of what the bytes say.
 *
 * Invariants:
 * - Both buffers are locked memory, and wiped as soon as their bytes have been handed over.
 * - At most one recv and one send are in flight; a send is only started by conn_flush(), so that
 *   everything a turn has answered goes out in one.
 * - The socket is read no further while a send waits and more than config->send_queue bytes do. A
 *   peer that does not read is thereby not served, and closed when nothing moves for config->idle_ns. A
 *   peer that began a frame has as long to finish it, however many bytes it sends meanwhile.
 * - What config->room has no room for is not handed over and nothing more is read, so that a peer with more
 *   calls than its share waits instead of being refused. conn_flush_all() looks again each turn.
 * - The fd is closed only when neither operation is in flight; config->closed is called then, from
 *   conn_flush(), and never from inside another function.
 */
#ifndef KEKD_WIRE_CONN_H
#define KEKD_WIRE_CONN_H

#include "daemon/base/secmem.h"
#include "daemon/base/timeq.h"
#include "daemon/sys/ring.h"
#include "daemon/wire/h2.h"

struct conn;

struct conn_config {
	struct ring *ring; /* borrowed for the connection's life, like all pointers here */
	struct secpool *pool;
	struct timeq *timers;
	struct list *awake; /* connections that conn_flush() should see */
	size_t out_bytes;   /* of one send at most; from H2_DRAIN_MIN */
	size_t send_queue;  /* bytes */
	uint64_t idle_ns;
	/*
	 * How many of @next may be handed over; 0: none before the owner has answered something.
	 * @sending: what has been answered is not all with the peer yet. NULL: all, always.
	 */
	size_t (*room)(void *ctx, struct span next, bool sending);
	/* It will be closed, because its peer has not done @what for idle_ns. May be NULL. */
	void (*stalled)(void *ctx, const char *what);
	/* The socket is closed; end the session, then conn_free(). */
	void (*closed)(void *ctx);
};

/*
 * @fd: a connected stream socket; consumed on success. @h2 borrowed until conn_free(). -ENOBUFS:
 * no locked memory for the buffers. Reading starts at the next flush.
 */
int conn_new(const struct conn_config *config, int fd, struct h2 *h2, void *ctx, struct conn **ret);
/* Only from config->closed. */
void conn_free(struct conn *c);

/* See this connection at the next conn_flush_all(). */
void conn_wake(struct conn *c);
/*
 * Start sends and reads for, and end, the connections that are awake. Once a turn. True if that handed over what had
 * waited for room: another turn is due.
 */
bool conn_flush_all(struct list *awake);
/* Something was sent to the peer that it has not taken yet. */
bool conn_sending(const struct conn *c);
/* Close without sending anything more. @why, static, is for conn_why(), if nothing else ended it before. */
void conn_close(struct conn *c, const char *why);
/* Why it ends, from conn_close() on; and *@ret_r 0, or -errno of what failed. */
const char *conn_why(const struct conn *c, int *ret_r);

#endif
