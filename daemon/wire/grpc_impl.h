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

struct grpc_core {
	const struct grpc_limits *limits; /* borrowed */
	struct secpool *pool;             /* borrowed */
	struct timeq *timers;             /* borrowed; deadlines of calls */
	uint64_t (*clock)(void);
	struct h2_config h2;
	struct h2mem *mem;
	struct grpc_call *idle; /* call objects, recycled */
	struct grpc_stats stats;
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

#endif
