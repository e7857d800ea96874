/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of one page: an empty merge patch for each, many at once (pace.h). kube-apiserver reads the
 * stored value, finds no change, and writes it all the same if it is stale, which is to say if another key
 * or provider than the first wrote it (k8s.io/apiserver, pkg/storage/etcd3/store.go, GuaranteedUpdate). If
 * it is current nothing is written. So no object passes through here, an object that somebody changes
 * meanwhile is not set back, and all may be repeated at any time.
 *
 * Whether it was written is told from resourceVersion, before and after.
 *
 * What may pass, an answer of 429 or from 500 on, is tried again: a few times if the cluster is well otherwise, and
 * for as long as a server takes to restart if not.
 *
 * One object's refusal is its own: it is named and passed over. Only when as many as ALIKE_MAX in a row fail
 * alike, which is with the same status and reason, it may be all of them. That is so if none went well in this run
 * before, or if the status speaks of the server or the login and not of an object. As lists are in the order of
 * namespaces, and somebody may refuse everything of one, as many of other namespaces are tried then; only if they
 * fail alike, too, or there are none, this resource is given up.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define ALIKE_MAX     20
#define CONFLICTS_MAX 8
#define TRIES_MAX     4
#define TRIES_AWAY    8  /* while the whole cluster does not answer: a minute and a half */
#define WAIT_MAX      30 /* seconds */
#define NS            UINT64_C(1000000000)
#define MS            UINT64_C(1000000)

struct work {
	struct reencrypt *re;
	struct rewrite *w;
	struct page *page;
	struct bar *bar;
	uint64_t total;
	size_t first, open; /* of the items: none before it is left; how many are not over */
	unsigned int tries; /* that one gets: fewer after some who needed all of them in vain */
	uint64_t well;      /* when the cluster last did what it was asked */
	bool trial;         /* it is about others, to see whether they fail alike */
};

static void item_over(struct work *k, struct item *item)
{
	item->at = ITEM_OVER;
	k->open--;
	if (!k->trial)
		reencrypt_bar_draw(k->bar, k->w, k->total);
}

/* --- what became of it ----------------------------------------------------------------------- */

static void work_well(struct work *k, struct item *item, const struct kubeapi_answer *answer)
{
	struct rewrite_counts *c = &k->w->counts;
	const char *version = json_string_value(
		json_object_get(json_object_get(answer->body, "metadata"), "resourceVersion"));

	if (answer->status == 404)
		c->gone++;
	else if (version && strcmp(version, item->version) == 0)
		c->current++;
	else
		c->rewritten++;
	k->w->alike.n = 0;
	k->w->alike.well = true;
	k->well = kubeapi_now();
	if (item->tries > 0)
		k->tries = TRIES_MAX;
	item_over(k, item);
}

static void alike_add(struct alike *a, const struct missed *m)
{
	if (a->n == 0 || a->status != m->status || strcmp(a->reason, m->reason) != 0) {
		a->n = 0;
		a->status = m->status;
		snprintf(a->reason, sizeof(a->reason), "%s", m->reason);
		snprintf(a->ns, sizeof(a->ns), "%s", m->ns);
		a->several = !*m->ns;
	}
	a->n++;
	a->several = a->several || strcmp(a->ns, m->ns) != 0;
	snprintf(a->text, sizeof(a->text), "%s", m->text);
}

static int work_failed(struct work *k, struct item *item, const struct kubeapi_answer *answer)
{
	struct missed m = {
		.ns = item->ns, .name = item->name, .reason = "", .text = "no whole answer came"
	};

	if (answer->r == -ENOBUFS) {
		m.reason = "TooLong";
		m.text =
			"what it was answered does not fit into locked memory, so whether it was rewritten "
			"is not known; raise RLIMIT_MEMLOCK (ulimit -l)";
	} else if (answer->r == 0) {
		m.status = answer->status;
		m.reason = json_string_value(json_object_get(answer->body, "reason")) ?: "";
		m.text = kube_answer_text(answer);
	}
	alike_add(&k->w->alike, &m);
	if (item->tries >= TRIES_MAX)
		k->tries = 2;
	item_over(k, item);
	return missed_add(k->w, &m);
}

/* Is it worth another try? */
static bool may_try(struct work *k, struct item *item, uint64_t now)
{
	if (item->failed == 0)
		item->failed = now;
	if (++item->tries < k->tries)
		return true;
	if (k->trial || item->tries >= TRIES_AWAY)
		return false;
	/* If others have been served since it failed, it is this object's own trouble. */
	if (k->well <= item->failed && page_is_served(k->re, k->w))
		k->well = kubeapi_now();
	return k->well <= item->failed;
}

/* Each try waits longer than the one before, or as long as the server asks for. */
static void work_again(struct item *item, const struct kubeapi_answer *answer, uint64_t now)
{
	uint64_t wait =
		answer->status == 409 ? (10 * MS) << item->conflicts : (NS / 2) << item->tries;

	if (answer->retry_after > 0)
		wait = (uint64_t)answer->retry_after * NS;
	item->ready = now + (wait < WAIT_MAX * NS ? wait : WAIT_MAX * NS);
	item->at = ITEM_WAITS;
}

/* Judge an answer. 1 (said) if nothing can be asked any more. */
static int work_judge(struct work *k, struct item *item, const struct kubeapi_answer *answer)
{
	uint64_t now = kubeapi_now();
	bool passes =
		answer->r == -EBADMSG || (answer->r == 0 && reencrypt_may_pass(answer->status));

	if (answer->r < 0 && answer->r != -ENOBUFS && answer->r != -EBADMSG)
		return ctl_fail("kubectl's proxy: %s", errno_text(answer->r));
	if (passes && answer->status != 500)
		pace_trouble(&k->re->pace, now);
	if (answer->r == 0 && (answer->status < 300 || answer->status == 404)) {
		work_well(k, item, answer);
		return 0;
	}
	if (answer->r == -ENOBUFS && !item->alone) {
		item->alone = true;
		item->at = ITEM_WAITS;
		return 0;
	}
	if (answer->status == 409 && ++item->conflicts < CONFLICTS_MAX) {
		k->w->counts.conflicts++;
		work_again(item, answer, now);
		return 0;
	}
	if (passes && may_try(k, item, now)) {
		work_again(item, answer, now);
		return 0;
	}
	return work_failed(k, item, answer);
}

/* --- asking ---------------------------------------------------------------------------------- */

/* The next item that may be asked for at @now; NULL: none yet, and *@ret_next says when. */
static struct item *item_next(struct work *k, uint64_t now, uint64_t *ret_next)
{
	bool busy = kubeapi_flying(k->re->api) > 0;
	struct item *item;

	while (k->first < k->page->n && k->page->items[k->first].at == ITEM_OVER)
		k->first++;
	for (size_t i = k->first; i < k->page->n; i++) {
		item = &k->page->items[i];
		if (item->at != ITEM_WAITS || (item->alone && busy))
			continue;
		if (item->ready <= now)
			return item;
		if (item->ready < *ret_next)
			*ret_next = item->ready;
	}
	return NULL;
}

/* Ask for as many as may be under way. *@until says when there may be more. */
static int work_start(struct work *k, uint64_t *until)
{
	char path[KUBE_PATH_MAX];
	const struct kubeapi_request req = { "PATCH", path, "{}", true };
	struct pace *pace = &k->re->pace;
	struct kubeapi_answer answer;
	struct item *item;
	uint64_t now;
	int r = 0;

	while (r == 0 && !*k->re->stop) {
		unsigned int flying = kubeapi_flying(k->re->api);

		now = kubeapi_now();
		if (!pace_may(pace, flying, now)) {
			if (flying < pace->window && pace->next < *until)
				*until = pace->next;
			return 0;
		}
		item = item_next(k, now, until);
		if (!item)
			return 0;
		pace_begun(pace, flying + 1, now);
		answer = (struct kubeapi_answer){ 0 };
		answer.r = kube_resource_object_path(&k->w->res, item->ns, item->name, path,
						     sizeof(path));
		if (answer.r == 0 && item->alone)
			kubeapi_call(k->re->api, &req, &answer);
		else if (answer.r == 0)
			answer.r = kubeapi_start(k->re->api, &req, item);
		if (answer.r == 0 && !item->alone)
			item->at = ITEM_FLIES;
		else
			r = work_judge(k, item, &answer);
	}
	return r;
}

/* --- do all fail alike? ---------------------------------------------------------------------- */

/* Is it no object's own trouble? Nobody is logged in, or the server does not do its work. */
static bool is_of_server(const struct alike *a)
{
	return a->status == 401 || (a->status == 0 && !*a->reason) ||
	       (a->status != 500 && reencrypt_may_pass(a->status));
}

static bool looks_alike(const struct rewrite *w)
{
	return w->alike.n >= w->alike.limit && (!w->alike.well || is_of_server(&w->alike));
}

static int work_run(struct work *k)
{
	int r = 0;

	while (r == 0 && k->open > 0 && !*k->re->stop && !looks_alike(k->w)) {
		/* No longer than that, as a signal may have come just before it waits. */
		uint64_t until = kubeapi_now() + NS;
		struct kubeapi_answer answer;

		r = work_start(k, &until);
		if (r != 0 || k->open == 0 || *k->re->stop ||
		    !kubeapi_next(k->re->api, until, &answer))
			continue;
		if (answer.r == 0 && answer.status < 500)
			pace_answered(&k->re->pace, answer.took);
		r = work_judge(k, answer.ctx, &answer);
	}
	/* What was asked for and has not been answered is asked for again. */
	kubeapi_drop(k->re->api);
	for (size_t i = k->first; i < k->page->n; i++)
		if (k->page->items[i].at == ITEM_FLIES)
			k->page->items[i].at = ITEM_WAITS;
	return r;
}

/* 1: those of other namespaces than @ns fail like the last ones of @w, or there are none; 0: not so. <0: said. */
static int others_fail(struct reencrypt *re, const struct rewrite *w, const char *ns)
{
	_cleanup_(page_clear) struct page page = { 0 };
	_cleanup_(rewrite_clear) struct rewrite others = { .res = w->res };
	struct work k = { .re = re, .w = &others, .page = &page, .tries = 1, .trial = true };
	bool alike;

	if (page_of_others(re, w, ns, ALIKE_MAX, &page) != 0)
		return -1;
	others.alike.limit = UINT32_MAX;
	k.open = page.n;
	if (work_run(&k) != 0)
		return -1;
	alike = !others.alike.well && others.alike.n == page.n &&
		(page.n == 0 || (others.alike.status == w->alike.status &&
				 strcmp(others.alike.reason, w->alike.reason) == 0));
	return alike;
}

/* Many failures look alike: do they have one cause? 1 (said) if so. 0: asked again when twice as many have failed. */
static int work_alike(struct work *k)
{
	struct alike *a = &k->w->alike;

	if (!a->several && others_fail(k->re, k->w, a->ns) == 0) {
		a->limit *= 2;
		a->well = true;
		return 0;
	}
	k->re->over = is_of_server(a);
	return ctl_fail("%s: the last %u objects all failed alike, none is tried any more: %d: %s",
			k->w->resource, a->n, a->status, a->text);
}

int page_rewrite(struct reencrypt *re, struct rewrite *w, struct page *page, struct bar *bar)
{
	struct work k = {
		.re = re,
		.w = w,
		.page = page,
		.bar = bar,
		.total = reencrypt_done_count(&w->counts) + page->n + page->remaining,
		.open = page->n,
		.tries = TRIES_MAX,
	};
	int r = 0;

	if (re->ctl->dry_run) {
		w->counts.listed += page->n;
		reencrypt_bar_draw(bar, w, k.total);
		return 0;
	}
	if (w->alike.limit == 0)
		w->alike.limit = ALIKE_MAX;
	while (r == 0 && k.open > 0 && !*re->stop) {
		r = work_run(&k);
		if (r == 0 && looks_alike(w))
			r = work_alike(&k);
	}
	return r;
}
