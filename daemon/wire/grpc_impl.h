/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the server object (grpc_server.c), which does I/O, and the gRPC rules (grpc.c), which do none.
 * Private to daemon/wire and its tests.
 *
 * A core is what all connections of a server share: limits, memory, deadlines, counters. A session
 * is the protocol side of one connection.
 */
#ifndef KEKD_WIRE_GRPC_IMPL_H
#define KEKD_WIRE_GRPC_IMPL_H

#include "daemon/base/timeq.h"
#include "daemon/wire/grpc.h"
#include "daemon/wire/h2.h"
#include "daemon/wire/h2mem.h"
#include "daemon/wire/user.h"

struct grpc_core {
	const struct grpc_limits *limits; /* borrowed */
	struct users users;
	struct timeq *timers; /* borrowed; deadlines of calls */
	uint64_t (*clock)(void);
	struct h2_config h2;
	struct h2mem *mem;
	struct grpc_call *idle; /* call objects, recycled */
	uint64_t begun; /* calls, those that are refused too: a clock of who was active last */
	struct grpc_stats stats;
	/* For the log; it is counted already. May be NULL. */
	void (*refused)(struct grpc_core *core, enum refusal why, const struct op_peer *peer);
};

/* @limits, @pool, @timers borrowed for the core's life. @clock: CLOCK_MONOTONIC ns. -ENOMEM. */
int grpc_core_init(struct grpc_core *core, const struct grpc_limits *limits, struct secpool *pool,
		   struct timeq *timers, uint64_t (*clock)(void));
/* No session may be left. */
void grpc_core_done(struct grpc_core *core);

struct grpc_session_config {
	const struct grpc_service *service; /* borrowed */
	void *ctx;                          /* of the service */
	struct op_peer peer;
	struct user *user; /* borrowed */
	/* There is something to drain; called from anywhere a call is answered. */
	void (*wake)(void *ctx);
	void *wake_ctx;
};

struct grpc_session;
int grpc_session_new(struct grpc_core *core, const struct grpc_session_config *config,
		     struct grpc_session **ret);
/* Calls still open are cancelled. */
void grpc_session_free(struct grpc_session *s);
DEFINE_CLEANUP(struct grpc_session *, grpc_session_free);
/* Owned by the session: feed it, drain it, but do not free it. */
struct h2 *grpc_session_h2(struct grpc_session *s);
/*
 * How many of the connection's @next bytes may be fed. All where there is plenty of room; otherwise a step at a
 * time, and nothing while there is no room for what comes, a call or bytes, and some will come of itself: a call is
 * with its service or, @sending, an answer is on its way. Calls that wait for their peer are no reason to wait: that
 * could be for ever. What does not open a call needs no room for one: it is what those that are open wait for. Nor does
 * it wait for longer than limits->idle_ns where the service has no call of this connection, as what frees the room
 * may be behind it. Meanwhile the clocks of what the peer owes do not run. Whoever asks asks again in a second at
 * the latest.
 */
size_t grpc_session_room(const struct grpc_session *s, struct span next, bool sending);
/* No call is open. @ret_since: core->begun when the last one began; 0: there was none. */
bool grpc_session_idle(const struct grpc_session *s, uint64_t *ret_since);

/* Count a refusal, and tell of it. */
void grpc_core_refuse(struct grpc_core *core, enum refusal why, const struct op_peer *peer);

#endif
