/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Transform service in the server: a gRPC server of its own beside that of the KMS sockets, on
 * the same ring. Its limits are for few large messages, and its messages lie in a pool of their
 * own, so bulk work can fill neither the connections nor the memory that an apiserver needs.
 */
#include <errno.h>
#include <string.h>

#include "daemon/server/locked.h"
#include "daemon/server/server_private.h"

/* There are as many items as sockets: keeper/conf.c checks that. */
static void items_fill(const struct server *s,
		       struct transform_item items[static ENCCONF_ITEMS_MAX])
{
	for (size_t i = 0; i < s->n_items; i++) {
		items[i].conf = &s->encconf->items[i];
		items[i].chain = s->items[i].chain;
	}
}

int server_transform_open(struct server *s, const struct link_msg *msg, int fd)
{
	struct transform_item items[ENCCONF_ITEMS_MAX];
	struct server_transform *t = &s->transform;
	int r;

	if (s->going && t->grpc) {
		r = grpc_server_listen(t->grpc, fd, &transform_grpc_service, &t->peers, t->service);
		if (r < 0)
			close(fd);
		return r;
	}
	if (t->service || msg->n_peer_uids > LINK_PEERS || msg->n_peer_gids > LINK_PEERS) {
		close(fd);
		return -EPROTO;
	}
	t->listen_fd = fd;
	memcpy(t->peer_uids, msg->peer_uids, sizeof(t->peer_uids));
	memcpy(t->peer_gids, msg->peer_gids, sizeof(t->peer_gids));
	t->peers = (struct grpc_peers){
		.uids = t->peer_uids,
		.n_uids = msg->n_peer_uids,
		.gids = t->peer_gids,
		.n_gids = msg->n_peer_gids,
	};
	/*
	 * A seventh of LOCKED_TRANSFORM, which a connection may hold when it is alone, has room for one request of the
	 * largest size: results and answer; or for many small. A value counts as a call, and the engine has room for
	 * them beside all calls of the KMS sockets (ENGINE_CONFIG_DEFAULT).
	 */
	t->limits = grpc_limits_default;
	t->limits.message_bytes = TRANSFORM_MESSAGE_BYTES;
	t->limits.connections = LOCKED_TRANSFORM_CONNECTIONS;
	t->limits.streams = 16;
	t->limits.calls = 16 * TRANSFORM_VALUES_MAX;
	if (s->config->workers > 1)
		t->limits.accept_pause_ns = SERVER_ACCEPT_PAUSE_NS;
	items_fill(s, items);
	if (secpool_new(t->locked, &t->pool) < 0)
		return -ENOMEM;
	return transform_service_new(items, s->n_items, server_on_event, s, &t->service);
}

int server_transform_listen(struct server *s)
{
	struct server_transform *t = &s->transform;
	int r;

	if (!t->service)
		return 0;
	r = grpc_server_new(s->ring, t->pool, &t->limits, &t->grpc);
	if (r == 0)
		r = grpc_server_listen(t->grpc, t->listen_fd, &transform_grpc_service, &t->peers,
				       t->service);
	if (r == 0)
		t->listen_fd = -1;
	return r;
}

void server_transform_reload(struct server *s)
{
	struct transform_item items[ENCCONF_ITEMS_MAX];

	if (!s->transform.service)
		return;
	items_fill(s, items);
	transform_service_set_items(s->transform.service, items);
}

bool server_transform_idle(const struct server *s)
{
	const struct server_transform *t = &s->transform;

	if (!t->grpc)
		return true;
	return grpc_server_drained(t->grpc) && transform_service_busy(t->service) == 0;
}

void server_transform_free(struct server *s)
{
	struct server_transform *t = &s->transform;

	grpc_server_free(move_ptr(t->grpc));
	transform_service_free(move_ptr(t->service));
	secpool_free(move_ptr(t->pool));
	if (t->listen_fd > 0)
		close(t->listen_fd);
}
