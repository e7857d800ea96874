/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server process as the keeper sees it: a pid, a link, and whether it said READY. If it dies it is
 * replaced, at once the first time, then with growing pauses; keys and listeners are not touched
 * by that. If the link stands still for LINK_WAIT the server is hung and is killed: the keeper
 * never waits for it longer. A server that gives up its link is killed too: it could no longer be told
 * to let go of a key.
 */
#include <errno.h>
#include <poll.h>
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

#define LINK_WAIT_S  2
#define SYNC_WAIT_NS (5 * NS_PER_S)
#define NS_PER_S     UINT64_C(1000000000)
#define DELAY_MIN_NS (NS_PER_S / 20)
#define DELAY_MAX_NS (2 * NS_PER_S)
#define READY_NS     (60 * NS_PER_S)
#define PING_NS      NS_PER_S
#define HUNG_NS      (15 * NS_PER_S) /* no answer for so long: it will not come */
#define STEADY_NS    (5 * NS_PER_S)  /* a server that lived this long is replaced at once */

/* Not after it has been reaped: its pid may be another's by then. */
void server_kill(struct keeper *k)
{
	int r;

	if (k->server_pid <= 0)
		return;
	r = spawn_kill(k->server_pid, k->conf->config->server_user.id);
	if (r < 0)
		log_error("cannot kill the server process: %s", errno_text(r));
}

/* Send, or give the server up: what it has not heard it must not go on without. */
static int tell(struct keeper *k, const struct link_msg *msg, const struct link_fds *fds)
{
	int r;

	if (k->link_fd < 0)
		return -ENOTCONN;
	r = link_send(k->link_fd, msg, fds);
	if (r == -EAGAIN)
		log_error("the server does not read its link; killing it");
	if (r < 0)
		server_kill(k);
	return r;
}

int server_send_conf(struct keeper *k, const struct conf *c)
{
	const struct config *conf = c->config;
	struct link_msg msg = { .type = LINK_CONFIG };
	struct link_fds fds = { .fd = { c->config_fd, c->enc_fd }, .n = 2 };

	msg.index = k->opt->ring_forced ? (uint32_t)k->opt->ring : conf->ring;
	for (size_t i = 0; i < conf->peer_uids.count; i++)
		msg.peer_uids[msg.n_peer_uids++] = conf->peer_uids.v[i].id;
	for (size_t i = 0; i < conf->peer_gids.count; i++)
		msg.peer_gids[msg.n_peer_gids++] = conf->peer_gids.v[i].id;
	return tell(k, &msg, &fds);
}

static int send_listeners(struct keeper *k)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->n_listen; i++) {
		struct link_msg msg = { .type = LINK_LISTENER, .index = (uint32_t)i };
		struct link_fds fds = { .fd = { k->listen_fds[i] }, .n = 1 };

		r = tell(k, &msg, &fds);
	}
	return r;
}

static int send_transform(struct keeper *k)
{
	const struct config_transform *t = &k->conf->config->transform;
	struct link_msg msg = { .type = LINK_LISTENER, .index = LINK_TRANSFORM };
	struct link_fds fds = { .fd = { k->transform_fd }, .n = 1 };

	if (k->transform_fd < 0)
		return 0;
	for (size_t i = 0; i < t->uids.count; i++)
		msg.peer_uids[msg.n_peer_uids++] = t->uids.v[i].id;
	for (size_t i = 0; i < t->gids.count; i++)
		msg.peer_gids[msg.n_peer_gids++] = t->gids.v[i].id;
	return tell(k, &msg, &fds);
}

static int send_test_key(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_TESTKEY, .soft = k->test_tfm < 0 };
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	int r;

	if (k->test_tfm >= 0) {
		r = afalg_accept(k->test_tfm, &fds.fd[0]);
		if (r < 0)
			return r;
		fds.n = 1;
	}
	return tell(k, &msg, &fds);
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

/* What the server is to know of @key. A usable key whose claim to be active fails only opens. */
static void key_msg(const struct keeper *k, const struct keyset_key *key, struct link_msg *ret)
{
	const struct keyset_key *active;

	*ret = (struct link_msg){ .type = LINK_KEY, .soft = key->soft != NULL };
	link_from_record(ret, &key->rec);
	if (key->rec.state == KEY_ACTIVE && key->why == 0 &&
	    (keyset_active(k->keys, key->rec.name, &active) < 0 || active != key))
		ret->state = KEY_DECRYPT_ONLY;
}

void server_send_state(struct keeper *k, const struct keyset_key *key)
{
	struct link_msg msg;

	if (k->link_fd < 0)
		return;
	key_msg(k, key, &msg);
	tell(k, &msg, NULL);
}

void server_send_key(struct keeper *k, const struct keyset_key *key)
{
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	struct link_msg msg;
	int why = key->why;

	if (k->link_fd < 0)
		return;
	key_msg(k, key, &msg);
	if (why == 0 && keyset_state_opens(key->rec.state))
		why = k->sealed < 0 ? -EKEYEXPIRED : key_fds(key, &fds);
	if (tell(k, &msg, &fds) == 0 && why < 0)
		server_send_withdraw(k, key, why);
}

/*
 * Why a client cannot have a key that exists: by its state or its root, by the root key being away,
 * or for one of the many reasons that `kekctl key list` shows and that would mean something else
 * about a request (-ENOKEY: unknown; -EINVAL: malformed; -EBADMSG: altered).
 */
static int why_for_clients(int why)
{
	return why == -EKEYREJECTED || why == -EKEYEXPIRED ? why : -EKEYREVOKED;
}

void server_send_sealed(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_SEALED, .r = k->sealed < 0 ? -EKEYEXPIRED : 0 };

	tell(k, &msg, NULL);
}

void server_send_withdraw(struct keeper *k, const struct keyset_key *key, int why)
{
	struct link_msg msg = { .type = LINK_WITHDRAW, .r = why_for_clients(why) };

	memcpy(msg.id, key->rec.id, sizeof(msg.id));
	tell(k, &msg, NULL);
}

static int feed(struct keeper *k)
{
	struct link_msg go = { .type = LINK_GO };
	int r;

	r = server_send_conf(k, k->conf);
	keeper_audit_feed(k);
	if (r == 0)
		r = send_listeners(k);
	if (r == 0)
		r = send_transform(k);
	if (r == 0)
		r = send_test_key(k);
	if (r < 0)
		return r;
	server_send_sealed(k);
	for (const struct list *n = keyset_list(k->keys)->next; n != keyset_list(k->keys);
	     n = n->next)
		server_send_key(k, list_entry(n, struct keyset_key, link));
	return tell(k, &go, NULL);
}

int server_start(struct keeper *k)
{
	const struct config *c = k->conf->config;
	struct timeval wait = { .tv_sec = LINK_WAIT_S };
	int r;

	r = spawn_server(k->exe_fd, c->server_user.id, c->server_gid, &k->server_pid, &k->link_fd);
	if (r < 0) {
		log_error("cannot start the server process: %s", errno_text(r));
		return r;
	}
	if (setsockopt(k->link_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	k->starts++;
	k->pinged_ns = 0;
	k->start_ns = now_ns();
	k->restart_at_ns = 0;
	r = feed(k);
	if (r < 0) {
		log_warning("the server was not given all its keys: %s", errno_text(r));
		server_kill(k);
	}
	return 0; /* server_reap() sees to a dead one */
}

static void on_ready(struct keeper *k, const struct link_msg *msg)
{
	memcpy(k->ring_text, msg->text, sizeof(k->ring_text) - 1);
	k->serving = true;
	if (!k->ever_served) {
		log_notice("serving, backend %s, ring %s",
			   keeper_is_kernel(k) ? "kernel" : "openssl", k->ring_text);
		notify_state("READY=1");
	} else {
		log_notice("serving again");
	}
	k->ever_served = true;
}

static void on_need(struct keeper *k, const struct link_msg *need)
{
	const struct keyset_key *key = keyset_find(k->keys, need->id);
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	struct link_msg msg = { .type = LINK_SOCKET };
	int r;

	if (!key || !key->kek || k->sealed < 0)
		return;
	r = kek_accept(key->kek, &fds.fd[0]);
	if (r < 0) {
		server_send_withdraw(k, key, r);
		return;
	}
	fds.n = 1;
	memcpy(msg.id, need->id, sizeof(msg.id));
	tell(k, &msg, &fds);
}

/* Only what the configuration names; the one that is being taken into use counts too. */
static void on_connect(struct keeper *k, const struct link_msg *want)
{
	struct link_msg msg = { .type = LINK_CONNECTED, .index = want->index };
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };

	msg.r = -EACCES;
	if (conf_names_upstream(k->conf, want->text) ||
	    (k->next_conf && conf_names_upstream(k->next_conf, want->text)))
		msg.r = connect_unix(want->text, &fds.fd[0]);
	fds.n = msg.r == 0;
	tell(k, &msg, &fds);
}

void server_reload_end(struct keeper *k)
{
	bool answered = k->reload_answered;

	k->reload_answered = false;
	if (!answered || !k->next_conf)
		return;
	if (k->reload_r == 0) {
		conf_free(k->conf);
		k->conf = move_ptr(k->next_conf);
		keeper_audit_reload(k);
		log_notice("configuration reloaded");
	} else {
		log_error("reload refused by the server: %s; the old configuration stays",
			  errno_text(k->reload_r));
		conf_free(move_ptr(k->next_conf));
	}
	notify_state("READY=1");
}

/* The service manager hears of this daemon only while a server of it turns its loop. */
static void on_pong(struct keeper *k)
{
	k->pinged_ns = 0;
	k->answered_ns = now_ns();
	notify_state("WATCHDOG=1");
}

void server_hear(struct keeper *k)
{
	struct link_fds fds = { 0 };
	struct link_msg msg;
	int r;

	r = link_recv(k->link_fd, &msg, &fds);
	link_fds_close(&fds); /* a server has none to give */
	if (r < 0) {
		close(move_fd(k->link_fd));
		server_kill(k);
		return;
	}
	switch (msg.type) {
	case LINK_READY:
		on_ready(k, &msg);
		break;
	case LINK_RELOADED:
		k->reload_answered = true;
		k->reload_r = msg.r;
		break;
	case LINK_FAILED:
		log_error("server: %s", msg.text);
		break;
	case LINK_NEED:
		on_need(k, &msg);
		break;
	case LINK_CONNECT:
		on_connect(k, &msg);
		break;
	case LINK_USED:
		counts_add(k, &msg);
		break;
	case LINK_STATS:
		metrics_add(&k->metrics, &msg.stats);
		break;
	case LINK_PONG:
		on_pong(k);
		break;
	case LINK_SYNCED:
		k->synced = msg.index;
		break;
	default:
		log_error("the server said something that is not in the protocol; killing it");
		server_kill(k);
	}
}

/* The link is readable before @end; a server that says something else all the time gets no longer. */
static bool link_says_something(const struct keeper *k, uint64_t end)
{
	struct pollfd p = { .fd = k->link_fd, .events = POLLIN };
	uint64_t now = now_ns();
	int n = -1;

	while (n < 0 && now < end) {
		n = poll(&p, 1, (int)((end - now) / 1000000) + 1);
		now = now_ns();
	}
	return n > 0;
}

void server_sync(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_SYNC, .index = ++k->syncs };
	uint64_t end = now_ns() + SYNC_WAIT_NS;

	if (k->link_fd < 0 || tell(k, &msg, NULL) < 0)
		return;
	while (k->link_fd >= 0 && k->synced != msg.index) {
		if (link_says_something(k, end)) {
			server_hear(k);
			continue;
		}
		log_error("the server does not answer; killing it");
		server_kill(k);
		return;
	}
}

static uint64_t next_delay(struct keeper *k, uint64_t now)
{
	uint64_t d = k->restart_delay_ns;

	if (now - k->start_ns >= STEADY_NS)
		d = 0;
	k->restart_delay_ns = d == 0 ? DELAY_MIN_NS : d * 2 < DELAY_MAX_NS ? d * 2 : DELAY_MAX_NS;
	return d;
}

void server_reap(struct keeper *k)
{
	uint64_t now = now_ns();
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		observer_reaped(k, pid);
		if (pid != k->server_pid)
			continue;
		k->server_pid = 0;
		/* Last words may still be in the link. */
		while (k->link_fd >= 0)
			server_hear(k);
		k->serving = false;
		server_reload_end(k);
		if (k->next_conf)
			conf_free(move_ptr(k->next_conf));
		if (k->stopping || !k->ever_served) {
			k->ended = true;
			k->status = k->stopping ? EXIT_SUCCESS : EXIT_FAILURE;
			return;
		}
		counts_server_died(k);
		k->restart_at_ns = now + next_delay(k, now);
		if (WIFSIGNALED(status))
			log_error("the server was killed by signal %d; starting another",
				  WTERMSIG(status));
		else
			log_error("the server ended with status %d; starting another",
				  WEXITSTATUS(status));
	}
}

void server_tick(struct keeper *k, uint64_t now)
{
	if (k->server_pid > 0 && !k->serving && !k->stopping && now - k->start_ns > READY_NS) {
		log_error("the server does not get ready; killing it");
		server_kill(k);
	}
	if (k->server_pid > 0 || k->stopping || k->ended || now < k->restart_at_ns)
		return;
	if (server_start(k) < 0)
		k->restart_at_ns = now + DELAY_MAX_NS;
}

void server_watch(struct keeper *k, uint64_t now)
{
	struct link_msg ping = { .type = LINK_PING };

	if (!k->serving || k->server_pid <= 0)
		return;
	if (k->pinged_ns == 0) {
		if (now - k->answered_ns < PING_NS || tell(k, &ping, NULL) < 0)
			return;
		k->pinged_ns = now;
	} else if (now - k->pinged_ns >= HUNG_NS) {
		log_error("the server has not answered for %u s; killing it",
			  (unsigned int)(HUNG_NS / NS_PER_S));
		k->pinged_ns = now;
		server_kill(k);
	}
}

void server_ask_stop(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_STOP };

	if (k->server_pid > 0 && k->link_fd >= 0)
		tell(k, &msg, NULL);
	else
		k->ended = true;
}
