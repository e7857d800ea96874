/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `custody: holder`: each server has a holder of its own, which is there before the server is told of a key and ends
 * after it. So no server, whatever it has become, is anything to the runs of another.
 *
 * One that ends takes no key and no call along: the keys are opened anew from the keyset, for the moment that it takes
 * to give them to the next, and what the server had asked it waits there (crypto/backend_holder.h).
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/holder.h"
#include "daemon/keeper/keeper_private.h"

int holders_take(struct keeper *k, struct worker *w, const struct keyset_key *key)
{
	uint8_t *bytes;
	int r;

	if (!w->holder)
		return 0; /* the next is given all keys */
	bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	if (!bytes)
		return -ENOMEM;
	r = keyset_key_bytes(k->keys, key, bytes);
	if (r == 0)
		r = holder_take(w->holder, key->rec.info.id,
				span_of(bytes, key->rec.info.key_bytes));
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r == -EPIPE ? 0 : r;
}

void holders_drop(struct worker *w, const struct keyset_key *key)
{
	if (w->holder)
		holder_drop(w->holder, key->rec.info.id);
}

int holders_start(struct keeper *k, struct worker *w)
{
	const struct config *c = k->conf->config;
	int r;

	holders_end(w);
	if (!keeper_is_holder(k))
		return 0;
	r = holder_start(k->exe_fd, c->server_user.id, c->server_gid, &w->holder);
	if (r < 0) {
		log_error("cannot start " HOLDER_NAME ": %s", errno_text(r));
		return r;
	}
	restart_started(&w->holder_restart, now_ns());
	log_debug("holder %d started", holder_pid(w->holder));
	return 0;
}

int holders_feed(struct keeper *k, struct worker *w)
{
	struct link_msg msg = { .type = LINK_HOLDER };
	_cleanup_(link_fds_close) struct link_fds fds = { 0 };
	int r;

	if (!w->holder)
		return 0;
	r = holder_give(w->holder, &fds);
	return r == 0 ? worker_tell(k, w, &msg, &fds) : r;
}

void holders_end(struct worker *w)
{
	holder_stop(move_ptr(w->holder));
}

uint64_t holders_due(const struct keeper *k, const struct worker *w)
{
	bool missing = keeper_is_holder(k) && w->pid > 0 && !w->holder;

	return missing ? w->holder_restart.at_ns : UINT64_MAX;
}

void holders_reaped(struct keeper *k, pid_t pid, int status)
{
	uint64_t now = now_ns();

	for (size_t i = 0; i < k->n_workers; i++) {
		struct worker *w = &k->workers[i];

		if (!w->holder || holder_pid(w->holder) != pid)
			continue;
		holder_forget(move_ptr(w->holder));
		restart_ended(&w->holder_restart, now);
		if (k->stopping)
			return;
		log_error(HOLDER_NAME " %s %d; starting another, calls wait for it",
			  WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		return;
	}
}

void holders_watch(struct worker *w, uint64_t now)
{
	if (w->holder)
		holder_watch(w->holder, now);
}

void holders_excuse(struct worker *w, uint64_t now)
{
	if (w->holder)
		holder_excuse(w->holder, now);
}

void holders_tick(struct keeper *k, struct worker *w, uint64_t now)
{
	const struct list *head;
	int r;

	if (now < holders_due(k, w))
		return;
	head = keyset_list(k->keys);
	r = holders_start(k, w);
	/* The keys first: the server asks it as soon as it has it. */
	for (const struct list *n = head->next; r == 0 && n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (key->held && key->why == 0 && k->sealed == 0)
			r = holders_take(k, w, key);
	}
	if (r == 0)
		r = holders_feed(k, w);
	if (r < 0) {
		holders_end(w);
		restart_failed(&w->holder_restart, now);
		return;
	}
	log_notice(HOLDER_NAME " is there again");
}
