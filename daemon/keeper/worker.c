/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server process as the keeper sees it: a pid, a link, and whether it said READY. If it dies it is
 * replaced, at once the first time, then with growing pauses; keys, listeners and the other workers are
 * not touched by that. If the link stands still for LINK_WAIT the server is hung and is killed: the
 * keeper never waits for it longer. A server that gives up its link is killed too: it could no longer be
 * told to let go of a key.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/crypto/backend_kernel.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keeper/spawn.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/connect.h"
#include "daemon/sys/notify.h"

#define LINK_WAIT_S 2
#define RELOAD_NS   (2 * NS_PER_S)
#define NS_PER_S    UINT64_C(1000000000)
#define READY_NS    (60 * NS_PER_S)
#define PING_NS     NS_PER_S
#define HUNG_NS     (15 * NS_PER_S) /* no answer for so long: it will not come */

/* Not after it has been reaped: its pid may be another's by then. */
void worker_kill(struct keeper *k, struct worker *w)
{
	int r;

	if (w->pid <= 0)
		return;
	r = spawn_kill(w->pid, k->conf->config->server_user.id);
	if (r < 0)
		log_error("cannot kill the server process: %s", errno_text(r));
}

int worker_tell(struct keeper *k, struct worker *w, const struct link_msg *msg,
		const struct link_fds *fds)
{
	int r;

	if (w->link_fd < 0)
		return -ENOTCONN;
	r = link_send(w->link_fd, msg, fds);
	if (r == -EAGAIN)
		log_error("the server does not read its link; killing it");
	else if (r < 0)
		log_debug("link %d: broken: %s; killing the server", w->link_fd, errno_text(r));
	if (r < 0)
		worker_kill(k, w);
	return r;
}

int worker_send_conf(struct keeper *k, struct worker *w, const struct conf *c)
{
	const struct config *conf = c->config;
	struct link_msg msg = { .type = LINK_CONFIG };
	struct link_fds fds = { .fd = { c->config_fd, c->enc_fd }, .n = 2 };

	msg.index = k->opt->ring_forced ? (uint32_t)k->opt->ring : conf->ring;
	for (size_t i = 0; i < conf->peer_uids.count; i++)
		msg.peer_uids[msg.n_peer_uids++] = conf->peer_uids.v[i].id;
	for (size_t i = 0; i < conf->peer_gids.count; i++)
		msg.peer_gids[msg.n_peer_gids++] = conf->peer_gids.v[i].id;
	return worker_tell(k, w, &msg, &fds);
}

int worker_send_listener(struct keeper *k, struct worker *w, uint32_t index, int fd)
{
	const struct config_transform *t = &k->conf->config->transform;
	struct link_msg msg = { .type = LINK_LISTENER, .index = index };
	struct link_fds fds = { .fd = { fd }, .n = 1 };

	for (size_t i = 0; index == LINK_TRANSFORM && i < t->uids.count; i++)
		msg.peer_uids[msg.n_peer_uids++] = t->uids.v[i].id;
	for (size_t i = 0; index == LINK_TRANSFORM && i < t->gids.count; i++)
		msg.peer_gids[msg.n_peer_gids++] = t->gids.v[i].id;
	return worker_tell(k, w, &msg, &fds);
}

static int send_test_key(struct keeper *k, struct worker *w)
{
	struct link_msg msg = { .type = LINK_TESTKEY, .held = keeper_is_holder(k) };
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	int r;

	if (k->test_tfm >= 0) {
		r = afalg_accept(k->test_tfm, &fds.fd[0]);
		if (r < 0)
			return r;
		fds.n = 1;
	}
	return worker_tell(k, w, &msg, &fds);
}

/* What makes @key usable in the server: op sockets, or the bytes of a soft key. */
static int key_fds(const struct keyset_key *key, struct link_fds *ret)
{
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	int r;

	if (key->soft) {
		r = softkey_export(key->soft, &fds.fd[0]);
		if (r < 0)
			return r;
		fds.n = 1;
	}
	while (key->kek && fds.n < BACKEND_KERNEL_SOCKETS) {
		r = kek_accept(key->kek, &fds.fd[fds.n]);
		if (r < 0)
			return r;
		fds.n++;
	}
	*ret = fds;
	fds.n = 0;
	return 0;
}

enum key_state worker_key_state(const struct keeper *k, const struct keyset_key *key)
{
	const struct keyset_key *active;

	if (key->rec.info.state == KEY_ACTIVE && key->why == 0 &&
	    (!custody_is_confirmed(k) || keyset_active(k->keys, key->rec.info.name, &active) < 0 ||
	     active != key))
		return KEY_DECRYPT_ONLY;
	return key->rec.info.state;
}

static void key_msg(const struct keeper *k, const struct keyset_key *key, enum key_state state,
		    struct link_msg *ret)
{
	*ret = (struct link_msg){
		.type = LINK_KEY,
		.spent = counts_spent(k, &key->rec),
		.key = key->rec.info,
	};
	ret->key.state = state;
}

void worker_send_state(struct keeper *k, struct worker *w, const struct keyset_key *key)
{
	struct link_msg msg;

	key_msg(k, key, worker_key_state(k, key), &msg);
	worker_tell(k, w, &msg, NULL);
}

static bool short_of(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS;
}

/*
 * A key that is well, and for which there was no descriptor or memory at this moment, is not taken away for
 * good from a server that serves: the next one is given all of them again.
 */
static void not_given(struct keeper *k, struct worker *w, const struct keyset_key *key, int why)
{
	if (!short_of(why) || key->why < 0 || !w->serving) {
		worker_send_withdraw(k, w, key, why);
		return;
	}
	log_error("key %s: cannot be given to a server: %s; the server is replaced",
		  key->rec.info.label, errno_text(why));
	worker_kill(k, w);
}

void worker_send_key(struct keeper *k, struct worker *w, const struct keyset_key *key,
		     enum key_state state)
{
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	struct link_msg msg;
	int why = key->why;

	if (w->link_fd < 0)
		return;
	fdspare_use(&k->spare);
	key_msg(k, key, state, &msg);
	if (why == 0 && key_state_opens(key->rec.info.state))
		why = k->sealed < 0 ? -EKEYEXPIRED : key_fds(key, &fds);
	if (why == 0 && key->held)
		why = holders_take(k, w, key);
	msg.held = why == 0 && key->held;
	if (worker_tell(k, w, &msg, &fds) == 0 && why < 0)
		not_given(k, w, key, why);
}

/*
 * Why a client cannot have a key that exists: by its state or its root, by the root key being away,
 * or for one of the many reasons that `kekctl key list` shows and that would mean something else
 * about a request (-ENOKEY: unknown; -EINVAL: malformed; -EBADMSG: altered).
 */
void worker_send_withdraw(struct keeper *k, struct worker *w, const struct keyset_key *key, int why)
{
	struct link_msg msg = { .type = LINK_WITHDRAW };

	msg.r = why == -EKEYREJECTED || why == -EKEYEXPIRED ? why : -EKEYREVOKED;
	memcpy(msg.key.id, key->rec.info.id, sizeof(msg.key.id));
	worker_tell(k, w, &msg, NULL);
	holders_drop(w, key);
}

int worker_sealed_why(const struct keeper *k)
{
	int why = keyset_why(k->keys);

	if (k->sealed < 0)
		return -EKEYEXPIRED;
	/* Of a keyset that cannot be read it is not known which keys it has. */
	if (why < 0)
		return why == -ENODATA ? 0 : -EKEYREJECTED;
	if (!keyset_may_write(k->keys))
		return -ESTALE;
	return custody_is_confirmed(k) ? 0 : -ENOLINK;
}

void worker_send_sealed(struct keeper *k, struct worker *w)
{
	struct link_msg msg = { .type = LINK_SEALED, .r = worker_sealed_why(k) };

	_Static_assert(sizeof(k->sealed_text) <= sizeof(msg.text), "the message holds the reason");
	memcpy(msg.text, k->sealed_text, sizeof(k->sealed_text));
	worker_tell(k, w, &msg, NULL);
}

static int feed(struct keeper *k, struct worker *w)
{
	struct link_msg go = { .type = LINK_GO };
	int r;

	r = worker_send_conf(k, w, k->conf);
	keeper_audit_feed(k, w);
	for (size_t i = 0; r == 0 && i < k->n_listen; i++)
		r = worker_send_listener(k, w, (uint32_t)i, k->listen_fds[i]);
	if (r == 0 && k->transform_fd >= 0)
		r = worker_send_listener(k, w, LINK_TRANSFORM, k->transform_fd);
	/* The server comes up, by what it has so far, while this is waited for. */
	if (r == 0)
		r = holders_start(k, w);
	if (r == 0)
		r = holders_feed(k, w);
	if (r == 0)
		r = send_test_key(k, w);
	if (r < 0)
		return r;
	worker_send_sealed(k, w);
	for (const struct list *n = keyset_list(k->keys)->next; n != keyset_list(k->keys);
	     n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		worker_send_key(k, w, key, worker_key_state(k, key));
	}
	return worker_tell(k, w, &go, NULL);
}

int worker_start(struct keeper *k, struct worker *w)
{
	const struct config *c = k->conf->config;
	struct timeval wait = { .tv_sec = LINK_WAIT_S };
	int r;

	r = spawn_server(k->exe_fd, c->server_user.id, c->server_gid, &w->pid, &w->link_fd);
	if (r < 0) {
		log_error("cannot start the server process: %s", errno_text(r));
		return r;
	}
	if (setsockopt(w->link_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	k->starts++;
	w->pinged_ns = 0;
	restart_started(&w->restart, now_ns());
	log_debug("server %d started, link %d", w->pid, w->link_fd);
	r = feed(k, w);
	if (r < 0 && r != -EAGAIN) /* that has been said */
		log_warning("the server was not given all its keys: %s", errno_text(r));
	if (r < 0)
		worker_kill(k, w);
	return 0; /* worker_reaped() sees to a dead one */
}

/* Its words go to the log, to terminals and into a label: printable, and nothing that ends a label. */
static void text_clean(char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~' || *s == '"' || *s == '\\')
			*s = '?';
}

static void on_ready(struct keeper *k, struct worker *w, struct link_msg *msg)
{
	text_clean(msg->text);
	memcpy(k->ring_text, msg->text, sizeof(k->ring_text) - 1);
	w->serving = true;
	w->probed_ns = now_ns();
	if (k->ever_served) {
		log_notice("serving again");
		return;
	}
	if (server_serving(k) < k->n_workers)
		return;
	k->ever_served = true;
	keeper_say_ready(k);
}

static void on_need(struct keeper *k, struct worker *w, struct link_msg *need)
{
	const struct keyset_key *key = keyset_find(k->keys, need->key.id);
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	struct link_msg msg = { .type = LINK_SOCKET };
	int r;

	if (!key || !key->kek || k->sealed < 0)
		return;
	fdspare_use(&k->spare);
	r = kek_accept(key->kek, &fds.fd[0]);
	if (short_of(r)) {
		log_warning("key %s: no op socket for a server now: %s; it asks again",
			    key->rec.info.label, errno_text(r));
		return;
	}
	if (r < 0) {
		not_given(k, w, key, r);
		return;
	}
	fds.n = 1;
	memcpy(msg.key.id, need->key.id, sizeof(msg.key.id));
	worker_tell(k, w, &msg, &fds);
}

/* Does the configuration name it? The one that is being taken into use counts too. */
static bool is_upstream(const struct keeper *k, const char *path)
{
	return conf_names_upstream(k->conf, path) ||
	       (k->next_conf && conf_names_upstream(k->next_conf, path));
}

static void on_connect(struct keeper *k, struct worker *w, struct link_msg *want)
{
	struct link_msg msg = { .type = LINK_CONNECTED, .index = want->index };
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };

	fdspare_use(&k->spare);
	msg.r = is_upstream(k, want->text) ? connect_unix(want->text, &fds.fd[0]) : -EACCES;
	fds.n = msg.r == 0;
	worker_tell(k, w, &msg, &fds);
}

/* The service manager hears of this daemon only while a server of it turns its loop. */
static void on_pong(struct keeper *k _unused_, struct worker *w, struct link_msg *msg _unused_)
{
	w->pinged_ns = 0;
	w->answered_ns = now_ns();
	notify_state("WATCHDOG=1");
}

/*
 * Only plugins that the configuration names: the totals have room for so many and keep them for ever, and a
 * label that is no UTF-8 makes Prometheus refuse the whole page.
 */
static void on_stats(struct keeper *k, struct worker *w, struct link_msg *msg)
{
	struct metrics_upstream *u = msg->stats.upstreams;
	int32_t probe_r = w->stats.probe_r;
	uint32_t n = 0;

	for (uint32_t i = 0; i < msg->stats.n_upstreams && i < METRICS_UPSTREAMS; i++)
		if (strnlen(u[i].path, sizeof(u[i].path)) < sizeof(u[i].path) &&
		    is_upstream(k, u[i].path))
			u[n++] = u[i];
	msg->stats.n_upstreams = n;
	metrics_add(&k->metrics, &msg->stats);
	w->stats = msg->stats;
	if (msg->stats.probes > 0)
		w->probed_ns = now_ns();
	else
		w->stats.probe_r = probe_r;
}

/* Who answers when nobody waits for it any more goes on by what is in force. */
static void on_reloaded(struct keeper *k, struct worker *w, struct link_msg *msg)
{
	struct link_msg stay = { .type = LINK_RELOAD, .r = -ETIMEDOUT };
	uint64_t now = now_ns(), until;

	if (w->reload != RELOAD_ASKED) {
		worker_tell(k, w, &stay, NULL);
		return;
	}
	w->reload = msg->r == 0 ? RELOAD_TAKEN : RELOAD_REFUSED;
	w->reload_r = msg->r;
	if (msg->r < 0)
		return;
	/*
	 * The first that holds sets the bound for all, from when it began, not from when it was heard: the keeper may
	 * have been busy with a slow disk meanwhile.
	 */
	until = (msg->since_ns < now ? msg->since_ns : now) + RELOAD_NS;
	if (k->reload_until_ns == 0 || until < k->reload_until_ns)
		k->reload_until_ns = until;
}

static void on_failed(struct keeper *k _unused_, struct worker *w _unused_, struct link_msg *msg)
{
	text_clean(msg->text);
	log_error("server: %s", msg->text);
}

static void on_used(struct keeper *k, struct worker *w _unused_, struct link_msg *msg)
{
	counts_add(k, msg);
}

static void on_synced(struct keeper *k _unused_, struct worker *w, struct link_msg *msg)
{
	w->synced = msg->index;
}

/* One for each that link_rules.c lets a server say. */
static void (*const handlers[LINK_TYPES])(struct keeper *k, struct worker *w,
					  struct link_msg *msg) = {
	[LINK_READY] = on_ready, [LINK_FAILED] = on_failed,   [LINK_RELOADED] = on_reloaded,
	[LINK_NEED] = on_need,   [LINK_CONNECT] = on_connect, [LINK_USED] = on_used,
	[LINK_PONG] = on_pong,   [LINK_STATS] = on_stats,     [LINK_SYNCED] = on_synced,
};

void worker_hear(struct keeper *k, struct worker *w)
{
	struct link_fds fds = { 0 };
	struct link_msg msg;
	unsigned int n_fds;
	int r;

	r = link_recv(w->link_fd, &msg, &fds);
	if (r < 0) {
		log_debug("link %d: ended: %s", w->link_fd, errno_text(r));
		close(move_fd(w->link_fd));
		worker_kill(k, w);
		return;
	}
	r = link_check(&msg, &fds, LINK_SERVER, w->serving ? LINK_SERVING : LINK_STARTING);
	n_fds = fds.n;
	link_fds_close(&fds); /* a server has none to give */
	if (r == 0) {
		handlers[msg.type](k, w, &msg);
		return;
	}
	log_error("the server said %s, with %u descriptors, which it must not %s; killing it",
		  link_type_name(msg.type), n_fds, w->serving ? "while it serves" : "yet");
	worker_kill(k, w);
}

void worker_reaped(struct keeper *k, struct worker *w, int status)
{
	uint64_t now = now_ns();
	bool served;

	w->pid = 0;
	holders_end(w);
	/*
	 * Last words may still be in the link. It is shut first: who was given the other end by the dead
	 * could keep it open, and the keeper waiting (unix(7); what is queued is still read).
	 */
	if (w->link_fd >= 0)
		shutdown(w->link_fd, SHUT_RDWR);
	while (w->link_fd >= 0)
		worker_hear(k, w);
	served = w->serving;
	w->serving = false;
	w->reload = RELOAD_NONE;
	w->stats = (struct metrics){ 0 };
	/* With 0 it has been asked to end, and reported before; one that never was READY has used no key. */
	if (served && (!k->stopping || status != 0))
		counts_server_died(k);
	if (k->stopping || !k->ever_served) {
		log_debug("the server %s %d",
			  WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		return;
	}
	restart_ended(&w->restart, now);
	if (WIFSIGNALED(status))
		log_error("the server was killed by signal %d; starting another", WTERMSIG(status));
	else
		log_error("the server ended with status %d; starting another", WEXITSTATUS(status));
}

void worker_tick(struct keeper *k, struct worker *w, uint64_t now)
{
	if (w->pid > 0 && !w->serving && !k->stopping && now - w->restart.start_ns > READY_NS) {
		log_error("the server does not get ready; killing it");
		worker_kill(k, w);
	}
	holders_tick(k, w, now);
	/* While a new configuration is being taken into use nobody knows which it should be given. */
	if (w->pid > 0 || k->stopping || k->ended || k->next_conf || now < w->restart.at_ns)
		return;
	if (worker_start(k, w) < 0)
		restart_failed(&w->restart, now);
}

void worker_watch(struct keeper *k, struct worker *w, uint64_t now)
{
	struct link_msg ping = { .type = LINK_PING };

	if (!w->serving || w->pid <= 0)
		return;
	if (w->pinged_ns == 0) {
		if (now - w->answered_ns < PING_NS || worker_tell(k, w, &ping, NULL) < 0)
			return;
		w->pinged_ns = now;
	} else if (now - w->pinged_ns >= HUNG_NS) {
		log_error("the server has not answered for %u s; killing it",
			  (unsigned int)(HUNG_NS / NS_PER_S));
		w->pinged_ns = now;
		worker_kill(k, w);
	}
}
