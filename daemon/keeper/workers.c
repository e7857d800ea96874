/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All server processes together: `workers` of them (worker.c is one), which share listeners and nothing
 * else. A connection is served by the one that accepted it, for as long as it lasts.
 *
 * Two clients of one daemon may be served by two workers, so what one worker writes the others must be
 * able to open at that moment. Hence no worker is told that a key is active before all of them have said
 * that they have it. Taking keys away needs no order.
 */
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/sys/notify.h"

#define NS_PER_S     UINT64_C(1000000000)
#define SYNC_WAIT_NS (5 * NS_PER_S)
#define LAST_WORDS   256            /* messages; no link holds so many */
#define DEAF_NS      (5 * NS_PER_S) /* a server that has not answered for so long does not serve */

/* Statement for each worker, the k in scope. */
#define each_worker(w) \
	for (struct worker * (w) = k->workers; (w) < k->workers + k->n_workers; (w)++)

int server_start(struct keeper *k)
{
	int r = 0;

	k->n_workers = k->conf->config->workers;
	each_worker (w)
		if (r == 0)
			r = worker_start(k, w);
	return r;
}

size_t server_serving(const struct keeper *k)
{
	size_t n = 0;

	for (size_t i = 0; i < k->n_workers; i++)
		n += k->workers[i].serving;
	return n;
}

bool server_answers(const struct keeper *k, uint64_t now)
{
	for (size_t i = 0; i < k->n_workers; i++) {
		const struct worker *w = &k->workers[i];

		if (w->serving && w->pinged_ns != 0 && now - w->pinged_ns >= DEAF_NS)
			return false;
	}
	return server_serving(k) > 0;
}

uint64_t server_probed_ns(const struct keeper *k)
{
	uint64_t oldest = 0;

	for (size_t i = 0; i < k->n_workers; i++) {
		const struct worker *w = &k->workers[i];

		if (w->serving && (oldest == 0 || w->probed_ns < oldest))
			oldest = w->probed_ns;
	}
	return oldest;
}

void server_metrics(const struct keeper *k, struct metrics *ret)
{
	*ret = k->metrics;
	ret->log_dropped += log_lines_dropped();
	for (size_t i = 0; i < k->n_workers; i++)
		metrics_add_now(ret, &k->workers[i].stats);
}

void server_send_state(struct keeper *k, const struct keyset_key *key)
{
	each_worker (w)
		worker_send_state(k, w, key);
}

void server_send_key(struct keeper *k, const struct keyset_key *key)
{
	enum key_state state = worker_key_state(k, key);
	bool in_two_steps = state == KEY_ACTIVE && k->n_workers > 1;

	each_worker (w)
		worker_send_key(k, w, key, in_two_steps ? KEY_STAGED : state);
	if (!in_two_steps)
		return;
	server_sync(k);
	server_send_state(k, key);
}

/* One that has not said READY has taken the listeners that there were, or takes this one all the same. */
void server_send_listener(struct keeper *k, uint32_t index, int fd)
{
	each_worker (w)
		worker_send_listener(k, w, index, fd);
}

void server_send_sealed(struct keeper *k)
{
	k->sealed_why = worker_sealed_why(k);
	each_worker (w)
		worker_send_sealed(k, w);
}

void server_send_withdraw(struct keeper *k, const struct keyset_key *key, int why)
{
	each_worker (w)
		worker_send_withdraw(k, w, key, why);
}

static bool owes_sync(const struct worker *w, uint32_t number)
{
	return w->link_fd >= 0 && w->synced != number;
}

static bool sync_pends(const struct keeper *k, uint32_t number)
{
	for (size_t i = 0; i < k->n_workers; i++)
		if (owes_sync(&k->workers[i], number))
			return true;
	return false;
}

/*
 * One message of each that says something within @wait_ms; false if none does. All are heard at once: one
 * that stands still uses up its own time only, and one that talks all the time gets no more than its turn.
 */
static bool hear_some(struct keeper *k, int wait_ms)
{
	struct pollfd p[KEKD_WORKERS_MAX];

	for (size_t i = 0; i < k->n_workers; i++)
		p[i] = (struct pollfd){ .fd = k->workers[i].link_fd, .events = POLLIN };
	if (poll(p, k->n_workers, wait_ms) <= 0)
		return false;
	for (size_t i = 0; i < k->n_workers; i++)
		if (p[i].revents)
			worker_hear(k, &k->workers[i]);
	return true;
}

void server_sync(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_SYNC, .index = ++k->syncs };
	uint64_t now, end;

	each_worker (w)
		worker_tell(k, w, &msg, NULL);
	now = now_ns(); /* not before: one that takes nothing holds up the telling */
	end = now + SYNC_WAIT_NS;
	for (; sync_pends(k, msg.index) && now < end; now = now_ns())
		hear_some(k, (int)((end - now) / 1000000) + 1);
	/* It may be the keeper that was late (a slow disk under the counts): what is there by now counts. */
	for (unsigned int n = 0; sync_pends(k, msg.index) && n < LAST_WORDS; n++)
		if (!hear_some(k, 0))
			break;
	each_worker (w) {
		if (!owes_sync(w, msg.index))
			continue;
		log_error("the server does not answer; killing it");
		worker_kill(k, w);
	}
}

bool server_reload_start(struct keeper *k)
{
	bool any = false;

	each_worker (w) {
		w->reload = RELOAD_ASKED;
		if (worker_send_conf(k, w, k->next_conf) < 0)
			w->reload = RELOAD_NONE;
		any |= w->reload == RELOAD_ASKED;
	}
	if (!any)
		k->reload_wanted = true; /* by those that come after them */
	return any;
}

static size_t reload_count(const struct keeper *k, enum worker_reload what)
{
	size_t n = 0;

	for (size_t i = 0; i < k->n_workers; i++)
		n += k->workers[i].reload == what;
	return n;
}

/*
 * 0 if all that live can; otherwise the first refusal. Not after the bound, though the last answer is here:
 * who holds gives up soon after it (HOLD_NS of the server), and must end if it then hears go.
 */
static int reload_verdict(const struct keeper *k)
{
	bool late = k->reload_until_ns != 0 && now_ns() >= k->reload_until_ns;

	for (size_t i = 0; i < k->n_workers; i++)
		if (k->workers[i].reload == RELOAD_REFUSED)
			return k->workers[i].reload_r;
	if (late || reload_count(k, RELOAD_ASKED) > 0)
		return -ETIMEDOUT;
	return reload_count(k, RELOAD_TAKEN) > 0 ? 0 : -EPIPE;
}

void server_reload_end(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_RELOAD };

	if (!k->next_conf)
		return;
	/* A server has not answered, and others may still wait for it. */
	if (reload_count(k, RELOAD_ASKED) > 0 &&
	    (k->reload_until_ns == 0 || now_ns() < k->reload_until_ns))
		return;
	msg.r = reload_verdict(k);
	log_debug("reload: of the servers %zu can, %zu cannot, %zu have not answered",
		  reload_count(k, RELOAD_TAKEN), reload_count(k, RELOAD_REFUSED),
		  reload_count(k, RELOAD_ASKED));
	k->reload_until_ns = 0;
	/* Those that hold go on, by the new configuration with r 0, otherwise by the old one. */
	each_worker (w) {
		if (w->reload == RELOAD_TAKEN)
			worker_tell(k, w, &msg, NULL);
		w->reload = RELOAD_NONE;
	}
	if (msg.r == 0) {
		conf_free(k->conf);
		k->conf = move_ptr(k->next_conf);
		keeper_audit_reload(k);
		log_notice("configuration reloaded");
	} else {
		log_error("reload refused by the server: %s; the old configuration stays",
			  errno_text(msg.r));
		conf_free(move_ptr(k->next_conf));
	}
	keeper_reloaded(k, msg.r);
	notify_state("READY=1");
}

static bool all_gone(struct keeper *k)
{
	each_worker (w)
		if (w->pid > 0)
			return false;
	return true;
}

void server_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct worker *w = NULL;

		each_worker (i)
			if (i->pid == pid)
				w = i;
		observer_reaped(k, pid);
		writes_reaped(k, pid, status);
		maker_reaped(k->maker, pid);
		rootcmd_reaped(k, pid, status);
		holders_reaped(k, pid, status);
		if (!w)
			continue;
		worker_reaped(k, w, status);
		if (k->stopping ? all_gone(k) : !k->ever_served) {
			k->ended = true;
			k->status = k->stopping ? EXIT_SUCCESS : EXIT_FAILURE;
			return;
		}
	}
	/* SIGCHLD tells of one that is stopped, too. */
	each_worker (w)
		holders_watch(w, now_ns());
}

void server_tick(struct keeper *k, uint64_t now)
{
	each_worker (w)
		worker_tick(k, w, now);
}

int server_wait_ms(const struct keeper *k, uint64_t now)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < k->n_workers && !k->stopping && !k->next_conf; i++)
		if (k->workers[i].pid == 0 && k->workers[i].restart.at_ns < at)
			at = k->workers[i].restart.at_ns;
		else if (holders_due(k, &k->workers[i]) < at)
			at = holders_due(k, &k->workers[i]);
	if (at == UINT64_MAX)
		return -1;
	return at <= now ? 0 : (int)((at - now) / 1000000) + 1;
}

void server_watch(struct keeper *k, uint64_t now)
{
	each_worker (w) {
		holders_watch(w, now);
		worker_watch(k, w, now);
	}
}

void server_excuse(struct keeper *k, uint64_t now)
{
	each_worker (w) {
		if (w->pinged_ns != 0)
			w->pinged_ns = now;
		if (!w->serving)
			w->restart.start_ns = now;
		holders_excuse(w, now);
	}
}

void server_kill(struct keeper *k)
{
	each_worker (w)
		worker_kill(k, w);
}

void server_ask_stop(struct keeper *k)
{
	struct link_msg msg = { .type = LINK_STOP };

	each_worker (w)
		if (w->pid > 0)
			worker_tell(k, w, &msg, NULL);
	k->ended = all_gone(k);
}
