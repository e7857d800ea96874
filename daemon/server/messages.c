/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper says. Before GO the messages are taken one by one and any failure ends the
 * process; afterwards they come through the ring, and a failure ends what it is about: a bad
 * reload keeps the old configuration (reload.c), a key that cannot be added stays withdrawn.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/base/log.h"
#include "daemon/chain/providers.h"
#include "daemon/crypto/backend_kernel.h"
#include "daemon/keys/softkey.h"
#include "daemon/obs/audit.h"
#include "daemon/server/locked.h"
#include "daemon/server/server_private.h"

#define RING_ENTRIES 256
#define TEXT_MAX     (1024 * 1024)
#define HOLD_NS      (UINT64_C(2500) * 1000 * 1000)

int server_new(int link_fd, struct server **ret)
{
	_cleanup_(server_freep) struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		close(link_fd);
		return -ENOMEM;
	}
	s->link_fd = link_fd;
	list_init(&s->defer.ops);
	list_init(&s->unsent);
	*ret = move_ptr(s);
	return 0;
}

/* Used when a start fails; a server that has served ends with _exit(2) and leaves it to the kernel. */
void server_free(struct server *s)
{
	if (!s)
		return;
	grpc_server_free(s->grpc);
	audit_free(s->audit);
	server_transform_free(s);
	for (size_t i = 0; i < s->n_items; i++) {
		closep(&s->items[i].listen_fd);
		kms_service_free(s->items[i].kms);
		chain_free(s->items[i].chain);
	}
	free(s->items);
	reload_drop(s);
	upstreams_free(s->upstreams);
	keytable_free(s->keys);
	if (s->test_key)
		engine_key_remove(s->test_key);
	engine_free(s->engine);
	holder_client_free(s->holder);
	ring_free(s->ring);
	secpool_free(s->pool);
	encconf_free(s->encconf);
	config_free(s->config);
	server_unsent_free(s);
	close(s->link_fd);
	free(s);
}

bool server_idle(const struct server *s)
{
	for (size_t i = 0; i < s->n_items; i++)
		if (kms_service_busy(s->items[i].kms) > 0)
			return false;
	return true;
}

/* The whole content of a memfd; caller frees. */
static int text_read(int fd, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || st.st_size > TEXT_MAX)
		return -EMSGSIZE;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	text[st.st_size] = '\0';
	*ret = move_ptr(text);
	*ret_len = (size_t)st.st_size;
	return 0;
}

/* The keeper has parsed the same bytes already: an error here is a bug or a lie, never a typo. */
int server_configs_parse(struct link_fds *fds, struct config **ret_config, struct encconf **ret_enc)
{
	_cleanup_free_ char *config_text = NULL, *enc_text = NULL;
	_cleanup_(config_freep) struct config *config = NULL;
	_cleanup_(encconf_freep) struct encconf *enc = NULL;
	struct yaml_error err = { 0 };
	size_t config_len = 0, enc_len = 0;
	int r, e;

	r = text_read(fds->fd[0], &config_text, &config_len);
	e = text_read(fds->fd[1], &enc_text, &enc_len);
	if (r == 0)
		r = config_parse(span_of(config_text, config_len), "kekd.yaml", &config, &err);
	if (r == 0)
		r = e;
	if (r == 0)
		r = encconf_parse(span_of(enc_text, enc_len), "encryption.yaml", 0, &enc, &err);
	if (r < 0 || !config || !enc)
		return r < 0 ? r : -EPROTO;
	*ret_config = move_ptr(config);
	*ret_enc = move_ptr(enc);
	return 0;
}

bool server_peers_valid(const struct link_msg *msg)
{
	return msg->n_peer_uids <= LINK_PEERS && msg->n_peer_gids <= LINK_PEERS;
}

/* Numbers, resolved by the keeper: this process can read no passwd file once it is locked down. */
void server_peers_set(struct server *s, const struct link_msg *msg)
{
	memcpy(s->peer_uids, msg->peer_uids, sizeof(s->peer_uids));
	memcpy(s->peer_gids, msg->peer_gids, sizeof(s->peer_gids));
	s->peers = (struct grpc_peers){
		.uids = s->peer_uids,
		.n_uids = msg->n_peer_uids,
		.gids = s->peer_gids,
		.n_gids = msg->n_peer_gids,
	};
}

void server_chain_env(struct server *s, const struct config *config, struct chain_env *ret)
{
	*ret = (struct chain_env){
		.engine = s->engine,
		.keys = s->keys,
		.plaintext_writes = config->plaintext_writes,
		.upstreams = upstreams_source(s->upstreams),
		.pool = s->pool,
		.defer = &s->defer,
		.ring = s->ring,
	};
}

int server_on_event(void *ctx, const struct kms_event *e)
{
	struct server *s = ctx;
	enum grpc_status status = e->status;
	const char *text;
	int r = server_audit_event(s, e);

	if (r < 0)
		kms_answer(r, &status, &text);
	metrics_observe(&s->stats, e->method, status, e->ended_ns - e->started_ns);
	return r;
}

static int items_new(struct server *s)
{
	struct chain_env env;
	int r;

	server_chain_env(s, s->config, &env);
	s->items = calloc(s->encconf->items_count, sizeof(*s->items));
	if (!s->items)
		return -ENOMEM;
	for (size_t i = 0; i < s->encconf->items_count; i++) {
		struct server_item *it = &s->items[i];

		it->listen_fd = -1;
		s->n_items++;
		r = chain_new(&s->encconf->items[i], &env, &it->chain);
		if (r == 0)
			r = kms_service_new(it->chain, server_on_event, s, &it->kms);
		if (r < 0)
			return r;
	}
	return 0;
}

/* This process can make no socket: the keeper connects, to what the configuration names. */
static int ask_connection(void *ctx, uint32_t id, const char *path)
{
	struct server *s = ctx;
	struct link_msg msg = { .type = LINK_CONNECT, .index = id };

	if (strlen(path) >= sizeof(msg.text))
		return -ENAMETOOLONG;
	memcpy(msg.text, path, strlen(path));
	return server_tell(s, &msg);
}

/* Clients get half of RLIMIT_NOFILE at most, so that keys and whatever else the keeper passes always find room. */
static void descriptors_fit(struct config *c)
{
	uint32_t asked = c->limits.connections;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur / 2 >= asked)
		return;
	c->limits.connections = (uint32_t)(l.rlim_cur / 2);
	log_warning("the limit on descriptors, %llu, has room for %u connections, not for %u: keys "
		    "need the others. Set LimitNOFILE= of the service",
		    (unsigned long long)l.rlim_cur, c->limits.connections, asked);
}

/*
 * Where RLIMIT_MEMLOCK could not be raised (the keeper has said so), all that is locked is cut to fit: nobody could
 * use a share of memory that the kernel does not give.
 */
static void limits_fit(struct server *s)
{
	struct config *c = s->config;
	uint64_t want = locked_of(c);
	struct rlimit l;

	s->transform.locked = LOCKED_TRANSFORM;
	if (getrlimit(RLIMIT_MEMLOCK, &l) < 0 || l.rlim_cur == RLIM_INFINITY || l.rlim_cur >= want)
		return;
	c->limits.locked_memory = c->limits.locked_memory * l.rlim_cur / want;
	c->limits.connections = (uint32_t)(c->limits.connections * l.rlim_cur / want) + 1;
	s->transform.locked = s->transform.locked * l.rlim_cur / want;
	log_warning(
		"the limit on locked memory, %llu bytes, is less than the %llu that limits: asks for; "
		"there is room for %u connections and %llu bytes of messages. Set LimitMEMLOCK= of "
		"the service",
		(unsigned long long)l.rlim_cur, (unsigned long long)want, c->limits.connections,
		(unsigned long long)c->limits.locked_memory);
}

static int start_config(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	struct engine_config engine = ENGINE_CONFIG_DEFAULT;
	struct grpc_limits limits = grpc_limits_default;
	int r;

	if (s->config || !server_peers_valid(msg))
		return -EPROTO;
	r = server_configs_parse(fds, &s->config, &s->encconf);
	if (r < 0)
		return r;
	server_peers_set(s, msg);
	descriptors_fit(s->config);
	limits_fit(s);
	engine.now = now_ns;
	engine.jobs_max += s->config->limits.in_flight;
	engine.bytes_max += s->config->limits.locked_memory;
	limits.connections = s->config->limits.connections;
	limits.streams = s->config->limits.streams;
	limits.calls = s->config->limits.in_flight;
	limits.message_bytes = s->config->limits.message_bytes;
	if (s->config->workers > 1)
		limits.accept_pause_ns = SERVER_ACCEPT_PAUSE_NS;
	list_init(&s->defer.ops);
	r = ring_new((enum ring_kind)msg->index, RING_ENTRIES, &s->ring);
	if (r == 0 && s->config->workers > 1)
		ring_accept_in_turns(s->ring);
	if (r == 0)
		r = provider_secretbox_init();
	if (r == 0)
		r = secpool_new(s->config->limits.locked_memory, &s->pool);
	if (r == 0)
		r = engine_new(&engine, &s->engine);
	if (r == 0)
		r = keytable_new(&s->keys);
	if (r == 0)
		r = server_audit_new(s);
	if (r == 0)
		r = upstreams_new(s->ring, s->pool, ask_connection, s, &s->upstreams);
	if (r == 0)
		r = grpc_server_new(s->ring, s->pool, &limits, &s->grpc);
	return r == 0 ? items_new(s) : r;
}

/* @fd consumed. */
static int item_listen(struct server *s, struct server_item *it, int fd)
{
	int r = grpc_server_listen(s->grpc, fd, &kms_grpc_service, &s->peers, it->kms);

	if (r < 0)
		close(fd);
	return r;
}

static int on_listener(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	if (msg->index == LINK_TRANSFORM)
		return server_transform_open(s, msg, link_fds_take(fds, 0));
	if (msg->index >= s->n_items)
		return -EPROTO;
	/* The old listener stays, for the connections that wait in it. */
	if (s->going)
		return item_listen(s, &s->items[msg->index], link_fds_take(fds, 0));
	closep(&s->items[msg->index].listen_fd);
	s->items[msg->index].listen_fd = link_fds_take(fds, 0);
	return 0;
}

static void need_socket(void *ctx, const uint8_t id[static KEKD_KEY_ID])
{
	struct server *s = ctx;
	struct link_msg msg = { .type = LINK_NEED };
	int r;

	memcpy(msg.key.id, id, KEKD_KEY_ID);
	r = server_tell(s, &msg);
	if (r < 0)
		s->link_error = r;
}

/* A key works by op sockets, or by its id in the holder. */
static int key_block(struct server *s, const struct link_msg *msg, struct block_key **ret)
{
	if (!msg->held)
		return backend_kernel_new(s->ring, msg->key.id, need_socket, s, ret);
	return s->holder ? backend_holder_new(s->holder, msg->key.id, ret) : -EPROTO;
}

/* @block consumed, whatever happens; op sockets of @fds become its own. */
static int engine_key_over(struct server *s, struct block_key *block, struct link_fds *fds,
			   struct engine_key **ret)
{
	int r;

	for (unsigned int i = 0; backend_kernel_owns(block) && i < fds->n; i++)
		backend_kernel_add_socket(block, link_fds_take(fds, i));
	r = engine_key_new(s->engine, block, ret);
	if (r < 0)
		block->ops->free(block);
	return r;
}

static int on_testkey(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	struct block_key *block;
	int r;

	if (s->test_key)
		return -EPROTO;
	r = key_block(s, msg, &block);
	return r == 0 ? engine_key_over(s, block, fds, &s->test_key) : r;
}

/* Not a key of the engine: its bytes go to the table, for the provider secretbox. */
static int on_key_secretbox(struct server *s, const struct key_info *key,
			    const struct link_fds *fds)
{
	_cleanup_(softkey_freep) struct softkey *soft = NULL;
	int r;

	r = keytable_put(s->keys, key, NULL);
	if (r < 0 || fds->n == 0)
		return r;
	r = softkey_import(fds->fd[0], &soft);
	if (r == 0)
		r = keytable_put_soft(s->keys, key->id, soft);
	if (r == 0)
		soft = NULL; /* the table's now */
	return r;
}

static int on_key(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	struct engine_key *engine = NULL;
	struct block_key *block;
	int r = 0;

	if (msg->key.secretbox)
		return on_key_secretbox(s, &msg->key, fds);
	if (fds->n > 0 || msg->held) {
		r = key_block(s, msg, &block);
		if (r == 0)
			r = engine_key_over(s, block, fds, &engine);
		if (r == 0)
			engine_key_label(engine, msg->key.label);
	}
	if (r == 0)
		r = keytable_put(s->keys, &msg->key, engine);
	if (r < 0 && engine)
		engine_key_remove(engine);
	if (r == 0)
		keytable_find(s->keys, msg->key.id)->spent = msg->spent;
	return r;
}

static int on_socket(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	struct chain_key *k = keytable_find(s->keys, msg->key.id);
	struct block_key *block = k && k->engine ? engine_key_block(k->engine) : NULL;

	if (!block || !backend_kernel_owns(block))
		return 0; /* withdrawn meanwhile */
	for (unsigned int i = 0; i < fds->n; i++)
		backend_kernel_add_socket(block, link_fds_take(fds, i));
	return 0;
}

void server_sockets_ask(struct server *s)
{
	uint64_t now = now_ns();

	list_for_each (n, keytable_list(s->keys)) {
		const struct chain_key *k = list_entry(n, struct chain_key, link);
		struct block_key *block = k->engine ? engine_key_block(k->engine) : NULL;

		if (block && backend_kernel_owns(block))
			backend_kernel_ask(block, now);
	}
}

/*
 * A key that cannot be taken stays withdrawn, and the daemon goes on. There is one exception: no memory for
 * it while this server serves (requests cannot use up what keys need). Once a server has answered SYNC,
 * others write with the key. So this server ends, and the next one gets all keys at its start.
 */
static int on_key_or_say(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	int r = on_key(s, msg, fds);

	if (r < 0)
		log_error("key %s: cannot be used: %s", msg->key.label, errno_text(r));
	return s->going && (r == -ENOMEM || r == -ENOBUFS) ? r : 0;
}

int server_listen(struct server *s)
{
	int r;

	for (size_t i = 0; i < s->n_items; i++) {
		struct server_item *it = &s->items[i];

		if (it->listen_fd < 0)
			return -EPROTO;
		r = item_listen(s, it, move_fd(it->listen_fd));
		if (r < 0)
			return r;
	}
	return server_transform_listen(s);
}

static int on_config(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	return s->going ? reload_prepare(s, msg, fds) : start_config(s, msg, fds);
}

static int on_reload(struct server *s, const struct link_msg *msg, struct link_fds *fds _unused_)
{
	return reload_end(s, msg->r);
}

/* A key that was never taken has nothing to withdraw. */
static int on_withdraw(struct server *s, const struct link_msg *msg, struct link_fds *fds _unused_)
{
	keytable_withdraw(s->keys, msg->key.id, msg->r);
	return 0;
}

/* If a holder was there before, it has ended. What was asked of it is asked of this one. */
static int on_holder(struct server *s, const struct link_msg *msg _unused_, struct link_fds *fds)
{
	int r = s->holder ? 0 : holder_client_new(s->ring, &s->holder);

	if (r < 0)
		return r;
	return holder_client_attach(s->holder, link_fds_take(fds, 0), link_fds_take(fds, 1),
				    link_fds_take(fds, 2));
}

static int on_sealed(struct server *s, const struct link_msg *msg, struct link_fds *fds _unused_)
{
	char text[sizeof(msg->text) + 1] = "";

	memcpy(text, msg->text, sizeof(msg->text));
	keytable_seal(s->keys, msg->r, text);
	return 0;
}

static int on_connected(struct server *s, const struct link_msg *msg, struct link_fds *fds)
{
	upstreams_connected(s->upstreams, msg->index, link_fds_take(fds, 0), msg->r);
	return 0;
}

static int on_audit(struct server *s, const struct link_msg *msg _unused_, struct link_fds *fds)
{
	return server_audit_take(s, link_fds_take(fds, 0));
}

static int on_go(struct server *s, const struct link_msg *msg _unused_,
		 struct link_fds *fds _unused_)
{
	s->going = true;
	return 0;
}

static int on_ping(struct server *s, const struct link_msg *ping _unused_,
		   struct link_fds *fds _unused_)
{
	struct link_msg msg = { .type = LINK_PONG };

	return server_tell(s, &msg);
}

/* Messages are taken in their order, one at a time, so what came before is in force. */
static int on_sync(struct server *s, const struct link_msg *sync, struct link_fds *fds _unused_)
{
	struct link_msg msg = { .type = LINK_SYNCED, .index = sync->index };

	return server_tell(s, &msg);
}

static int on_stop(struct server *s, const struct link_msg *msg _unused_,
		   struct link_fds *fds _unused_)
{
	server_stop(s);
	return 0;
}

/* A function for each message that link_rules.c lets the keeper send. Descriptors that it does not take are closed. */
static int (*const handlers[LINK_TYPES])(struct server *s, const struct link_msg *msg,
					 struct link_fds *fds) = {
	[LINK_CONFIG] = on_config,     [LINK_LISTENER] = on_listener,
	[LINK_TESTKEY] = on_testkey,   [LINK_KEY] = on_key_or_say,
	[LINK_SOCKET] = on_socket,     [LINK_SEALED] = on_sealed,
	[LINK_WITHDRAW] = on_withdraw, [LINK_GO] = on_go,
	[LINK_STOP] = on_stop,         [LINK_CONNECTED] = on_connected,
	[LINK_AUDIT] = on_audit,       [LINK_RELOAD] = on_reload,
	[LINK_PING] = on_ping,         [LINK_SYNC] = on_sync,
	[LINK_HOLDER] = on_holder,
};

/*
 * Descriptors that came while none was free are lost; the spare ones are there so that they are not. What may be
 * asked for again is (server_sockets_ask()), what has an answer is refused by it, the audit stays where it goes. A key
 * and a listener are as if there were no memory for them.
 */
static int lost_fds(struct server *s)
{
	log_error(
		"%s of the keeper came while no descriptor was free: raise LimitNOFILE= of the service",
		link_type_name(s->rx.type));
	switch (s->rx.type) {
	case LINK_CONFIG:
		return s->going ? reload_refuse(s, -EMFILE) : -EMFILE;
	case LINK_CONNECTED:
		upstreams_connected(s->upstreams, s->rx.index, -1, -EMFILE);
		return 0;
	case LINK_SOCKET:
	case LINK_AUDIT:
		return 0;
	default:
		return -EMFILE;
	}
}

/* Take one message of the keeper. All but the first need what comes with the configuration. */
static int take_one(struct server *s)
{
	struct link_fds fds = { 0 };
	int r;

	fdspare_use(&s->spare);
	r = link_recv(s->link_fd, &s->rx, &fds);
	s->heard_ns = now_ns();
	if (r == 0)
		r = link_check(&s->rx, &fds, LINK_KEEPER, s->going ? LINK_SERVING : LINK_STARTING);
	if (r == 0 && !s->going && !s->config && s->rx.type != LINK_CONFIG)
		r = -EPROTO;
	if (r == 0)
		r = fds.lost ? lost_fds(s) : handlers[s->rx.type](s, &s->rx, &fds);
	link_fds_close(&fds);
	fdspare_fill(&s->spare, s->link_fd);
	return r;
}

int server_receive(struct server *s)
{
	int r = 0;

	while (r == 0 && !s->going)
		r = take_one(s);
	if (r == 0 && !s->test_key)
		return -EPROTO;
	/* From here on nothing waits for the keeper. This end alone: its own is another open file. */
	return r == 0 && fcntl(s->link_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : r;
}

/* The server does nothing else until the keeper has decided about the new configuration (reload.c). */
static int hold_for_reload(struct server *s)
{
	uint64_t end = now_ns() + HOLD_NS, now;
	int r = 0;

	while ((r == 0 || r == -EAGAIN) && s->reload && (now = now_ns()) < end) {
		struct pollfd p = { .fd = s->link_fd, .events = POLLIN };

		if (!list_empty(&s->unsent))
			p.events |= POLLOUT;
		r = 0;
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0)
			continue;
		if (p.revents & POLLOUT)
			r = server_tell_rest(s);
		if ((r == 0 || r == -EAGAIN) && p.revents & ~POLLOUT)
			r = take_one(s);
	}
	if (s->reload) {
		log_error("reload: the keeper has not confirmed it in time; the old "
			  "configuration stays in force");
		reload_drop(s);
	}
	return r == -EAGAIN ? 0 : r;
}

static void link_readable(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct server *s = container_of(op, struct server, link_op);
	int r;

	if (res < 0) {
		s->link_error = res;
		return;
	}
	r = take_one(s);
	if (r == -EAGAIN)
		r = 0; /* woken for nothing */
	if (r == 0 && s->reload)
		r = hold_for_reload(s);
	if (r < 0)
		s->link_error = r;
	else
		server_link_listen(s);
}

/*
 * Readiness and then a plain recvmsg(2): a packet waits whole, so the call cannot block, and the
 * descriptors come in one place for both kinds of ring.
 */
void server_link_listen(struct server *s)
{
	s->link_op.done = link_readable;
	ring_poll(s->ring, &s->link_op, s->link_fd, POLLIN);
}
