/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new configuration in two steps, because there may be several servers: what one of them writes by the
 * new one the others must be able to open. Each builds all of it and says that it can; from then on it
 * takes no request until the keeper has heard all of them and says go, or stay. So no server goes by the
 * new configuration while another still takes requests by the old one. The pause is what the slowest
 * of them needs to parse two files; it is bounded by the keeper, and if that stands still by this process,
 * in less time than kube-apiserver waits for an answer (3 s).
 */
#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/server/server_private.h"

struct server_reload {
	struct config *config;
	struct encconf *enc;
	struct link_msg peers;
	size_t n_chains;
	struct chain **chains;
};

static void reload_free(struct server_reload *n)
{
	if (!n)
		return;
	while (n->n_chains > 0)
		chain_free(n->chains[--n->n_chains]);
	free(n->chains);
	encconf_free(n->enc);
	config_free(n->config);
	free(n);
}
DEFINE_CLEANUP(struct server_reload *, reload_free);

void reload_drop(struct server *s)
{
	reload_free(move_ptr(s->reload));
}

static int prepare(struct server *s, const struct link_msg *req, struct link_fds *fds)
{
	_cleanup_(reload_freep) struct server_reload *n = calloc(1, sizeof(*n));
	struct chain_env env;
	int r;

	if (!n)
		return -ENOMEM;
	n->peers = *req;
	r = server_peers_valid(req) ? server_configs_parse(fds, &n->config, &n->enc) : -EPROTO;
	if (r < 0)
		return r;
	if (n->enc->items_count != s->n_items)
		return -EOPNOTSUPP; /* sockets are made at start */
	server_chain_env(s, n->config, &env);
	n->chains = calloc(s->n_items, sizeof(struct chain *));
	if (!n->chains)
		return -ENOMEM;
	while (r == 0 && n->n_chains < s->n_items) {
		env.before = s->items[n->n_chains].chain;
		r = chain_new(&n->enc->items[n->n_chains], &env, &n->chains[n->n_chains]);
		if (r == 0)
			n->n_chains++;
	}
	if (r == 0)
		s->reload = move_ptr(n);
	return r;
}

int reload_refuse(struct server *s, int r)
{
	struct link_msg msg = { .type = LINK_RELOADED, .r = r, .since_ns = now_ns() };

	return server_tell(s, &msg);
}

int reload_prepare(struct server *s, const struct link_msg *req, struct link_fds *fds)
{
	struct link_msg msg = { .type = LINK_RELOADED };

	if (s->reload)
		return -EPROTO;
	msg.r = prepare(s, req, fds);
	msg.since_ns = now_ns();
	if (msg.r == 0)
		log_debug("reload: the new chains are built; requests wait for the keeper's word");
	else
		log_debug("reload: the new chains cannot be built: %s", errno_text(msg.r));
	return server_tell(s, &msg);
}

static void swap(struct server *s, struct server_reload *n)
{
	struct config *config = s->config;
	struct encconf *enc = s->encconf;

	for (size_t i = 0; i < n->n_chains; i++) {
		struct chain *old = s->items[i].chain;

		chain_configure(n->chains[i], &n->enc->items[i]);
		kms_service_set_chain(s->items[i].kms, n->chains[i]);
		s->items[i].chain = n->chains[i];
		n->chains[i] = old;
	}
	s->config = n->config;
	s->encconf = n->enc;
	n->config = config;
	n->enc = enc;
	server_peers_set(s, &n->peers);
	grpc_server_peers_changed(s->grpc);
	server_transform_reload(s);
}

int reload_end(struct server *s, int r)
{
	if (!s->reload)
		return r < 0 ? 0
			     : -EPROTO; /* given up meanwhile: this server must not go on by the old one */
	if (r == 0)
		swap(s, s->reload);
	log_debug("reload: the %s chains are in force", r == 0 ? "new" : "old");
	reload_drop(s);
	return 0;
}
