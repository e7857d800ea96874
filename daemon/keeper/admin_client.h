/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the admin socket: what has come of its request, what has not gone of the answer. Nothing here
 * waits. The keeper polls for what admin_client_events() says and calls again; while an answer is on its
 * way no further request is read, so a client that does not read costs one answer and is dropped when
 * its time is over.
 *
 * A secret is read from the socket into locked memory and nowhere else. What cannot be helped: until then
 * it lies in the kernel's socket buffer, which is freed without being cleared unless the kernel runs
 * with init_on_free.
 */
#ifndef KEKD_KEEPER_ADMIN_CLIENT_H
#define KEKD_KEEPER_ADMIN_CLIENT_H

#include "daemon/base/cleanup.h"
#include "daemon/ctl/admin.h"
#include <kekd/op.h>

#define ADMIN_CLIENT_NS     (UINT64_C(30) * 1000 * 1000 * 1000) /* for a request with its answer */
#define ADMIN_CLIENT_QUEUED ((size_t)4 * ADMIN_BODY_MAX)

struct admin_client;

/* What a verb takes behind its request. */
struct admin_room {
	size_t bytes;
	bool secret;
};
/* -EOPNOTSUPP: there is no such verb. */
typedef int admin_room_fn(uint32_t verb, struct admin_room *ret);

/* @fd: a connected stream, consumed on success. */
int admin_client_new(int fd, admin_room_fn *room, struct admin_client **ret);
/* Closes, wipes. @c may be NULL. */
void admin_client_free(struct admin_client *c);
DEFINE_CLEANUP(struct admin_client *, admin_client_free);

int admin_client_fd(const struct admin_client *c);
/* Who it was at connect(2). */
const struct op_peer *admin_client_peer(const struct admin_client *c);
/* For poll(2): POLLIN or POLLOUT. */
short admin_client_events(const struct admin_client *c);
/* A request has begun, or an answer has not gone. */
bool admin_client_busy(const struct admin_client *c);
/* All of a request is there: it waits for its turn, or for a disk, and the client for the answer. */
bool admin_client_waits(const struct admin_client *c);
/* Busy for too long, by itself. */
bool admin_client_late(const struct admin_client *c, uint64_t now);

/*
 * Take what is there, but not more than one request. 1: all of one is there, until admin_client_done(). 0: not
 * yet; or it cannot be one, which is answered in words, and the connection ends with that. -errno: to be
 * dropped, -ENODATA when the client has hung up.
 */
int admin_client_read(struct admin_client *c, uint64_t now);
/* The request that is there. Strings are ended, flags are not looked at. */
const struct admin_request *admin_client_request(const struct admin_client *c);
/* What came behind it. */
struct span admin_client_blob(const struct admin_client *c);
/* The request is over: wiped. The client's time begins again. */
void admin_client_done(struct admin_client *c, uint64_t now);

/* Queue a message of an answer; @data (@len ≤ ADMIN_BODY_MAX) is copied. -ENOMEM, -ENOBUFS: to be dropped. */
int admin_client_put(struct admin_client *c, enum admin_reply_type type, int word, const void *data,
		     size_t len);
/* Send what can go now. -errno: to be dropped; -ENODATA when all has gone that was to go. */
int admin_client_flush(struct admin_client *c);

#endif
