/* SPDX-License-Identifier: Apache-2.0 */
/* One call that is waited for, by a client of its own on a ring of its own: for command lines. */
#include "daemon/wire/client.h"

#include <stdio.h>

struct waiter {
	bool done;
	struct grpc_outcome outcome;
};

static void waiter_done(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct waiter *w = ctx;

	w->done = true;
	w->outcome.status = status;
	snprintf(w->outcome.text, sizeof(w->outcome.text), "%s", text);
	w->outcome.msg = secbuf_move(msg);
}

/* Turn until there is an answer, or without @w until the client has stopped. */
static int sync_run(struct grpc_client *client, struct ring *ring, const struct waiter *w)
{
	int r;

	for (;;) {
		grpc_client_flush(client);
		if (w ? w->done : grpc_client_idle(client))
			return 0;
		r = ring_turn(ring, false);
		if (r < 0)
			return r;
	}
}

int grpc_client_call_sync(const char *path, const char *method, struct span msg,
			  uint64_t timeout_ns, struct secpool *pool, struct grpc_outcome *ret)
{
	_cleanup_(ring_freep) struct ring *ring = NULL;
	_cleanup_(grpc_client_freep) struct grpc_client *client = NULL;
	struct grpc_client_config config = {
		.pool = pool,
		.path = path,
		/* The caller bounds the answer by the pool. */
		.message_bytes =
			secpool_max(pool) < UINT32_MAX ? (uint32_t)secpool_max(pool) : UINT32_MAX,
		.calls = 1,
		.idle_ns = grpc_limits_default.idle_ns,
	};
	struct waiter w = { 0 };
	int r;

	r = ring_new(RING_EPOLL, 8, &ring);
	if (r < 0)
		return r;
	config.ring = ring;
	r = grpc_client_new(&config, &client);
	if (r < 0)
		return r;
	r = grpc_client_call(client, method, msg, timeout_ns, 0, waiter_done, &w, NULL);
	if (r == 0)
		r = sync_run(client, ring, &w);
	grpc_client_stop(client);
	if (r == 0)
		r = sync_run(client, ring, NULL);
	if (r < 0) {
		secbuf_release(&w.outcome.msg);
		return r;
	}
	*ret = w.outcome;
	return 0;
}
