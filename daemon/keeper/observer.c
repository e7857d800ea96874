/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The observer as the keeper sees it: a page that is written once a second, and a child that reads it and
 * speaks HTTP. It is started again when it ends, with a pause; nothing else depends on it.
 *
 * It ends with the keeper by the end of a pipe: the parent-death signal is sent with the rights of the
 * one who dies (kernel/exit.c), and a keeper without CAP_KILL may not signal another uid.
 *
 * There is no channel from it to here: whatever a taken-over observer does, the keeper does not notice.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keeper/spawn.h"
#include "daemon/obs/board.h"

#define NS_PER_S UINT64_C(1000000000)
#define WRITE_NS NS_PER_S
#define PAUSE_NS (5 * NS_PER_S)

struct observer {
	struct board_page *page;
	struct board s; /* what is written next */
	int page_fd, exe_fd;
	int alive[2]; /* a pipe: at its end the observer knows that the keeper is gone */
	pid_t pid;    /* 0: none */
	uint64_t start_at_ns, written_ns;
};

int observer_open(struct keeper *k)
{
	struct observer *o;
	int r;

	if (!k->conf->config->metrics.listen)
		return 0;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->page_fd = o->exe_fd = o->alive[0] = o->alive[1] = -1;
	k->observer = o;
	r = spawn_beside_open(SPAWN_OBSERVER, &o->exe_fd);
	if (r < 0) {
		log_error("metrics: " SPAWN_OBSERVER
			  " is not beside kekd: %s; install it there, or "
			  "leave `metrics:` out of the configuration",
			  errno_text(r));
		return r;
	}
	r = pipe2(o->alive, O_CLOEXEC) < 0 ? -errno : 0;
	if (r == 0)
		r = board_page_new(&o->page, &o->page_fd);
	if (r < 0)
		log_error("metrics: %s", errno_text(r));
	return r;
}

void observer_close(struct keeper *k)
{
	struct observer *o = move_ptr(k->observer);

	if (!o)
		return;
	board_page_free(o->page);
	closep(&o->page_fd);
	closep(&o->exe_fd);
	closep(&o->alive[0]);
	closep(&o->alive[1]);
	free(o);
}

int observer_exe(const struct keeper *k)
{
	return k->observer ? k->observer->exe_fd : -1;
}

static uint32_t names_without(const struct keeper *k)
{
	const struct encconf *e = k->conf->enc;
	const struct keyset_key *key;
	uint32_t n = 0;

	for (size_t i = 0; k->sealed == 0 && i < e->items_count; i++) {
		const struct encconf_provider *p = &e->items[i].providers[0];

		n += p->keys_count > 0 && keyset_active(k->keys, p->keys[0].name, &key) < 0;
	}
	return n;
}

void keeper_health(const struct keeper *k, uint64_t now, struct board_health *ret)
{
	const struct list *head = keyset_list(k->keys);

	*ret = (struct board_health){
		.store_stalled = writes_stalled(k, now),
		.uses_unrecorded = counts_behind(k),
		.sockets_lost = sockets_lost(k),
		.reload_refused = k->reload_refused,
		.reloads = k->reloads,
		.names_without = names_without(k),
	};
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		ret->keys_unusable += key_state_opens(key->rec.info.state) && key->why < 0;
		ret->keys_ahead += counts_is_ahead(k, &key->rec);
	}
}

static void observer_fill(const struct keeper *k, struct board *s, uint64_t now)
{
	const struct encconf_provider *p = &k->conf->enc->items[0].providers[0];
	const struct keyset_key *key;

	snprintf(s->version, sizeof(s->version), "%s", KEKD_VERSION);
	snprintf(s->backend, sizeof(s->backend), "%s", keeper_backend(k));
	snprintf(s->custody, sizeof(s->custody), "%s", keeper_custody(k));
	snprintf(s->ring, sizeof(s->ring), "%.*s", (int)strcspn(k->ring_text, ","), k->ring_text);
	s->written_ns = now;
	s->serving = server_answers(k, now);
	s->workers = (uint32_t)k->n_workers;
	s->workers_serving = (uint32_t)server_serving(k);
	s->sealed = k->sealed < 0;
	snprintf(s->sealed_text, sizeof(s->sealed_text), "sealed: %s", k->sealed_text);
	custody_root_id(k, s->root_id);
	root_second_id(k, s->root_second);
	s->root_rotating = keyset_doc(k->keys) && keyset_doc(k->keys)->rotating;
	s->active = p->keys_count == 0 ||
		    (custody_is_confirmed(k) && keyset_active(k->keys, p->keys[0].name, &key) == 0);
	s->generation = keyset_doc(k->keys) ? keyset_doc(k->keys)->generation : 0;
	keeper_health(k, now, &s->health);
	s->server_starts = k->starts;
	s->started = (uint64_t)k->started;
	s->now = (uint64_t)time(NULL);
	s->escrow_tested = (uint64_t)k->escrow_tested;
	s->key_limit = rotation_limit(k);
	s->probed_ns = server_probed_ns(k);
	cluster_board(k, now, &s->cluster);
	server_metrics(k, &s->metrics);
	s->n_keys = 0;
	for (const struct list *n = keyset_list(k->keys)->next;
	     n != keyset_list(k->keys) && s->n_keys < KEKD_KEYS_MAX; n = n->next)
		keeper_key_fill(k, list_entry(n, struct keyset_key, link), &s->keys[s->n_keys++]);
}

static void observer_start(struct keeper *k, struct observer *o, uint64_t now)
{
	const struct config *c = k->conf->config;
	const int fds[3] = { o->page_fd, k->metrics_fd, o->alive[0] };
	int r;

	o->start_at_ns = now + PAUSE_NS;
	r = spawn_observer(o->exe_fd, c->server_user.id, c->server_gid, fds, &o->pid);
	if (r < 0)
		log_error("cannot start " SPAWN_OBSERVER ": %s", errno_text(r));
	else
		log_debug("timer: " SPAWN_OBSERVER " started, pid %d", o->pid);
}

void observer_renew(struct keeper *k)
{
	struct observer *o = k->observer;

	if (o && o->pid > 0)
		spawn_kill(o->pid, k->conf->config->server_user.id);
}

void observer_tick(struct keeper *k, uint64_t now)
{
	struct observer *o = k->observer;

	if (!o)
		return;
	if (now - o->written_ns >= WRITE_NS) {
		o->written_ns = now;
		observer_fill(k, &o->s, now);
		board_write(o->page, &o->s);
	}
	if (o->pid == 0 && !k->stopping && now >= o->start_at_ns)
		observer_start(k, o, now);
}

void observer_reaped(struct keeper *k, pid_t pid)
{
	struct observer *o = k->observer;

	if (!o || o->pid != pid)
		return;
	o->pid = 0;
	if (!k->stopping)
		log_error(SPAWN_OBSERVER " ended; starting another");
}
