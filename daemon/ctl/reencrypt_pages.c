/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rewriting itself: list a page of names, then send an empty merge patch for each. kube-apiserver
 * reads the stored value, finds no change, and writes it all the same if it is stale, which is to say
 * if another key or provider than the first wrote it (k8s.io/apiserver, pkg/storage/etcd3/store.go,
 * GuaranteedUpdate). If it is current nothing is written. So no object passes through here, an object
 * that somebody changes meanwhile is not set back, and all may be repeated at any time.
 *
 * Whether it was written is told from resourceVersion, before and after.
 *
 * A continue token lives as long as etcd's history, some five minutes. After that the API answers 410
 * with another token, which goes on at the same place in the present state. What was created in
 * between was written with the present key.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define TRIES         8
#define BACKOFF_MAX   30 /* seconds */
#define FAILURES_SAID 20
#define NS            UINT64_C(1000000000)

struct item {
	char *ns, *name, *version;
};

/* A page's names: the answer they were in does not outlast the next call. */
struct page {
	struct item *items;
	size_t n;
	char *next;         /* token, NULL at the end */
	uint64_t remaining; /* behind this page, as the API estimates */
};

static void page_clear(struct page *page)
{
	for (size_t i = 0; i < page->n; i++) {
		free(page->items[i].ns);
		free(page->items[i].name);
		free(page->items[i].version);
	}
	free(page->items);
	free(page->next);
	*page = (struct page){ 0 };
}

/* --- waiting --------------------------------------------------------------------------------- */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

/* Ends early when a signal comes. */
static void sleep_until(uint64_t when)
{
	struct timespec t = { .tv_sec = (time_t)(when / NS), .tv_nsec = (long)(when % NS) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static bool stopped(const struct reencrypt *re)
{
	return *re->stop != 0;
}

/* Before try number @try of one request. The server may say how long. */
static void back_off(const struct reencrypt *re, unsigned int try, int retry_after)
{
	unsigned int seconds = retry_after > 0 ? (unsigned int)retry_after : 1U << try;
	uint64_t end = now() + (seconds < BACKOFF_MAX ? seconds : BACKOFF_MAX) * NS;

	while (!stopped(re) && now() < end)
		sleep_until(end);
}

/* Overload, or a server that is just being restarted. */
static bool may_pass(int r, const struct kubeapi_answer *answer)
{
	return r == 0 && (answer->status == 429 || answer->status >= 500);
}

/* Over whatever is on the terminal's line. */
static void say_retry(const char *path, const struct kubeapi_answer *answer)
{
	ctl_fail("%.*s: %d: %s; trying again", (int)strcspn(path, "?"), path, answer->status,
		 kube_answer_text(answer));
}

static int pages_call(struct reencrypt *re, const char *method, const char *path, const char *body,
		      struct kubeapi_answer *ret)
{
	int r;

	for (unsigned int try = 0;; try++) {
		r = kubeapi_call(re->api, method, path, body, true, ret);
		if (!may_pass(r, ret) || try == TRIES || stopped(re))
			return r;
		if (try == 0)
			say_retry(path, ret);
		back_off(re, try, ret->retry_after);
	}
}

/* --- progress -------------------------------------------------------------------------------- */

struct bar {
	bool shown;
	uint64_t last;
};

static uint64_t done_count(const struct rewrite_counts *c)
{
	return c->rewritten + c->current + c->gone + c->failed + c->listed;
}

static void pages_bar_draw(struct bar *bar, const struct rewrite *w, uint64_t total)
{
	uint64_t t = now(), done = done_count(&w->counts);
	unsigned int width = total > 0 ? (unsigned int)(done * 40 / total) : 0;

	if (!bar->shown || (t - bar->last < NS / 10 && done < total))
		return;
	bar->last = t;
	fprintf(stderr, "\r%s [%-40.*s] %" PRIu64 "/%" PRIu64 " ", w->resource,
		(int)(width < 40 ? width : 40), "########################################", done,
		total);
}

static void pages_bar_end(const struct bar *bar)
{
	if (bar->shown)
		fputs("\r\033[K", stderr);
}

/* --- one object ------------------------------------------------------------------------------ */

static const char *version_of(const json_t *object)
{
	return json_string_value(
		json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
}

static void pages_count(struct rewrite *w, const struct item *item,
			const struct kubeapi_answer *answer)
{
	const char *version = version_of(answer->body);

	if (answer->status == 404)
		w->counts.gone++;
	else if (version && strcmp(version, item->version) == 0)
		w->counts.current++;
	else
		w->counts.rewritten++;
}

/* The cluster refuses this object and no other: an admission webhook, or a schema it does not fit. */
static void count_failed(struct rewrite *w, const struct item *item,
			 const struct kubeapi_answer *answer)
{
	w->counts.failed++;
	if (w->counts.failed <= FAILURES_SAID)
		ctl_fail("%s %s/%s: %d: %s", w->resource, item->ns, item->name, answer->status,
			 kube_answer_text(answer));
}

static int refused(const struct rewrite *w, const struct kubeapi_answer *answer)
{
	return ctl_fail("%s: %d: %s", w->resource, answer->status, kube_answer_text(answer));
}

static int rewrite_item(struct reencrypt *re, struct rewrite *w, const struct kube_resource *res,
			const struct item *item)
{
	struct kubeapi_answer answer;
	char path[KUBE_PATH_MAX];
	int r;

	r = kube_resource_object_path(res, item->ns, item->name, path, sizeof(path));
	for (unsigned int try = 0; r == 0 && try < TRIES; try++) {
		r = pages_call(re, "PATCH", path, "{}", &answer);
		if (r != 0 || answer.status != 409)
			break;
		w->counts.conflicts++;
	}
	if (r < 0)
		return ctl_fail("%s %s/%s: %s", w->resource, item->ns, item->name, errno_text(r));
	if (answer.status < 300 || answer.status == 404)
		pages_count(w, item, &answer);
	else if (answer.status == 401 || answer.status == 403 || answer.status == 429 ||
		 answer.status >= 500)
		return refused(w, &answer);
	else
		count_failed(w, item, &answer);
	return 0;
}

/* --- one page -------------------------------------------------------------------------------- */

static char *pages_copy(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return strdup(s ? s : "");
}

static int page_fill(const json_t *list, struct page *page)
{
	const json_t *items = json_object_get(list, "items"),
		     *meta = json_object_get(list, "metadata");
	size_t n = json_array_size(items);

	if (!json_is_array(items))
		return -EBADMSG;
	page->items = calloc(n + 1, sizeof(*page->items));
	if (!page->items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const json_t *m = json_object_get(json_array_get(items, i), "metadata");
		struct item *item = &page->items[page->n++];

		item->ns = pages_copy(m, "namespace");
		item->name = pages_copy(m, "name");
		item->version = pages_copy(m, "resourceVersion");
		if (!item->ns || !item->name || !item->version)
			return -ENOMEM;
		if (!*item->name)
			return -EBADMSG;
	}
	page->next = pages_copy(meta, "continue");
	page->remaining = (uint64_t)json_integer_value(json_object_get(meta, "remainingItemCount"));
	return page->next ? 0 : -ENOMEM;
}

void rewrite_token_set(struct rewrite *w, char *token)
{
	free(w->token);
	w->token = token && *token ? token : NULL;
	if (!w->token)
		free(token);
}

/* The token has expired: the API's new one, or else from the beginning. */
static int token_renew(struct rewrite *w, const struct kubeapi_answer *answer)
{
	char *token = pages_copy(json_object_get(answer->body, "metadata"), "continue");

	if (!token)
		return -ENOMEM;
	rewrite_token_set(w, token);
	return 0;
}

static int page_ask(struct reencrypt *re, struct rewrite *w, const struct kube_resource *res,
		    struct kubeapi_answer *ret)
{
	char path[2 * KUBE_PATH_MAX];
	int r;

	for (unsigned int renewed = 0;;) {
		r = kube_resource_list_path(res, re->page, w->token, path, sizeof(path));
		if (r == 0)
			r = pages_call(re, "GET", path, NULL, ret);
		if (r == -ENOBUFS && re->page > 1) {
			re->page /= 2;
		} else if (r == 0 && ret->status == 410 && w->token && renewed++ < TRIES) {
			r = token_renew(w, ret);
			if (r < 0)
				return r;
		} else {
			return r;
		}
	}
}

static int page_get(struct reencrypt *re, struct rewrite *w, const struct kube_resource *res,
		    struct page *ret)
{
	struct kubeapi_answer answer;
	int r = page_ask(re, w, res, &answer);

	if (r == 0 && answer.status != 200)
		return refused(w, &answer);
	if (r == 0)
		r = page_fill(answer.body, ret);
	return r < 0 ? ctl_fail("%s: list: %s", w->resource, errno_text(r)) : 0;
}

static int page_rewrite(struct reencrypt *re, struct rewrite *w, const struct kube_resource *res,
			const struct page *page, struct bar *bar)
{
	uint64_t total = done_count(&w->counts) + page->n + page->remaining, next = now();
	int r = 0;

	if (re->ctl->dry_run) {
		w->counts.listed += page->n;
		pages_bar_draw(bar, w, total);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < page->n && !stopped(re); i++) {
		if (re->rate > 0) {
			sleep_until(next);
			next += NS / re->rate;
		}
		r = rewrite_item(re, w, res, &page->items[i]);
		pages_bar_draw(bar, w, total);
	}
	return r;
}

/* The next page, and the state behind it; a page that was not finished is done again by the next run. */
static int pages_step(struct reencrypt *re, struct rewrite *w, const struct kube_resource *res,
		      struct bar *bar)
{
	_cleanup_(page_clear) struct page page = { 0 };
	struct rewrite_counts before = w->counts;
	int r;

	r = page_get(re, w, res, &page);
	if (r == 0)
		r = page_rewrite(re, w, res, &page, bar);
	if (r != 0 || stopped(re)) {
		w->counts = before;
		return r;
	}
	rewrite_token_set(w, move_ptr(page.next));
	w->done = !w->token;
	return reencrypt_state_save(re);
}

int rewrite_run(struct reencrypt *re, struct rewrite *w)
{
	struct bar bar = { .shown = isatty(STDERR_FILENO) };
	struct kube_resource res;
	int r;

	if (w->done)
		return 0;
	r = kube_resource_find(re->api, w->resource, &res);
	w->begun = r == 0;
	while (r == 0 && !w->done && !stopped(re))
		r = pages_step(re, w, &res, &bar);
	pages_bar_end(&bar);
	return r;
}
