/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of names, a page at a time. A continue token lives as long as etcd's history, some five minutes.
 * After that the API answers 410 with another token, which goes on at the same place in the present state. What
 * was created in between was written with the present key.
 *
 * A list fails as a whole if one of its values cannot be opened, and names that value's key in etcd (GetList()
 * in k8s.io/apiserver, pkg/storage/etcd3/store.go). Then less is asked for until that value is the next one; it is
 * counted as not rewritten, and the list goes on behind it, by a token that is made here as the API makes them
 * (pkg/storage/continue.go): version, revision (-1: the present one) and the key behind the resource's prefix.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define TRIES       8
#define BACKOFF_MAX 30 /* seconds */
#define NS          UINT64_C(1000000000)
/* Go's base64.RawURLEncoding */
#define TOKEN_FORM sodium_base64_VARIANT_URLSAFE_NO_PADDING

void page_clear(struct page *page)
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

static bool stopped(const struct reencrypt *re)
{
	return *re->stop != 0;
}

/* Wait before try number @try of one request. The server may say how long. A signal ends the wait. */
static void back_off(const struct reencrypt *re, unsigned int try, int retry_after)
{
	unsigned int seconds = retry_after > 0 ? (unsigned int)retry_after : 1U << try;
	uint64_t end = kubeapi_now() + (seconds < BACKOFF_MAX ? seconds : BACKOFF_MAX) * NS;
	struct timespec t = { .tv_sec = (time_t)(end / NS), .tv_nsec = (long)(end % NS) };

	while (!stopped(re) && kubeapi_now() < end)
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

bool reencrypt_may_pass(int status)
{
	return status == 429 || status >= 500;
}

/* The key in etcd of the value that a list stopped at, or NULL; *@ret_len without its quotes. */
static const char *unreadable(const struct kubeapi_answer *answer, size_t *ret_len)
{
	const char *text = answer->status == 500 ? kube_answer_text(answer) : "",
		   *key = strstr(text, "key \"/");

	if (!key)
		return NULL;
	key += strlen("key \"");
	*ret_len = strcspn(key, "\"");
	return key[*ret_len] == '"' ? key : NULL;
}

int reencrypt_call(struct reencrypt *re, const struct kubeapi_request *req,
		   struct kubeapi_answer *ret)
{
	size_t len;
	int r;

	for (unsigned int try = 0;; try++) {
		r = kubeapi_call(re->api, req, ret);
		if (r < 0 || !reencrypt_may_pass(ret->status) || unreadable(ret, &len) ||
		    try == TRIES || stopped(re))
			return r;
		if (try == 0)
			ctl_fail("%.*s: %d: %s; trying again", (int)strcspn(req->path, "?"),
				 req->path, ret->status, kube_answer_text(ret));
		back_off(re, try, ret->retry_after);
	}
}

/* --- progress -------------------------------------------------------------------------------- */

uint64_t reencrypt_done_count(const struct rewrite_counts *c)
{
	return c->rewritten + c->current + c->gone + c->failed + c->listed;
}

void reencrypt_bar_draw(struct bar *bar, const struct rewrite *w, uint64_t total)
{
	uint64_t t = kubeapi_now(), done = reencrypt_done_count(&w->counts);
	unsigned int width = total > 0 ? (unsigned int)(done * 40 / total) : 0;

	if (!bar->shown || (t - bar->last < NS / 10 && done < total))
		return;
	bar->last = t;
	fprintf(stderr, "\r%s [%-40.*s] %" PRIu64 "/%" PRIu64 " ", w->resource,
		(int)(width < 40 ? width : 40), "########################################", done,
		total);
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

	if (!json_is_array(items) && !json_is_null(items)) /* none: Go's nil */
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

static int refused(const struct rewrite *w, const struct kubeapi_answer *answer)
{
	return ctl_fail("%s: %d: %s", w->resource, answer->status, kube_answer_text(answer));
}

void rewrite_token_set(struct rewrite *w, char *token)
{
	free(w->token);
	w->token = token && *token ? token : NULL;
	if (!w->token)
		free(token);
}

/* The last parts of a key of etcd, behind the resource's prefix: NAMESPACE/NAME, or NAME. */
static const char *key_tail(const struct rewrite *w, const char *key)
{
	const char *tail = strrchr(key, '/');

	while (w->res.namespaced && tail && tail > key && *--tail != '/')
		;
	return tail && *tail == '/' && tail[1] ? tail + 1 : NULL;
}

/* A token for what is behind @tail. Names have no byte that JSON would escape; the zero is of the API's form. */
static int token_behind(struct rewrite *w, const char *tail)
{
	_cleanup_free_ char *json = NULL;
	char *token;
	int n;

	n = asprintf(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":-1,\"start\":\"%s\\u0000\"}", tail);
	if (n < 0)
		return -ENOMEM;
	token = calloc(1, sodium_base64_encoded_len((size_t)n, TOKEN_FORM));
	if (!token)
		return -ENOMEM;
	sodium_bin2base64(token, sodium_base64_encoded_len((size_t)n, TOKEN_FORM),
			  (const unsigned char *)json, (size_t)n, TOKEN_FORM);
	rewrite_token_set(w, token);
	return 0;
}

/*
 * The next value of the list cannot be opened, so the list goes on behind it. Returns 0, or 1 (said) if that does not
 * work: the key is not of this resource, or was passed already.
 */
static int pass_unreadable(struct rewrite *w, const struct kubeapi_answer *answer)
{
	_cleanup_free_ char *key = NULL, *ns = NULL;
	size_t len = 0;
	const char *at = unreadable(answer, &len), *tail, *slash;
	int r;

	key = strndup(at, len);
	if (!key)
		return ctl_fail("out of memory");
	tail = key_tail(w, key);
	if (!tail || strchr(tail, '\\') || (w->skipped && strcmp(w->skipped, key) == 0))
		return refused(w, answer);
	slash = strchr(tail, '/');
	ns = strndup(tail, slash ? (size_t)(slash - tail) : 0);
	if (!ns)
		return ctl_fail("out of memory");
	r = missed_add(w, &(struct missed){ ns, slash ? slash + 1 : tail, answer->status,
					    "Unreadable", kube_answer_text(answer) });
	if (r == 0 && token_behind(w, tail) < 0)
		r = ctl_fail("out of memory");
	free(w->skipped);
	w->skipped = move_ptr(key);
	return r;
}

static int page_ask(struct reencrypt *re, struct rewrite *w, struct kubeapi_answer *ret)
{
	char path[2 * KUBE_PATH_MAX];
	const struct kubeapi_request req = { "GET", path, NULL, true };
	size_t len;
	int r;

	for (unsigned int renewed = 0;;) {
		r = kube_resource_list_path(&w->res,
					    &(struct kube_list){ re->page, w->token, NULL }, path,
					    sizeof(path));
		if (r == 0)
			r = reencrypt_call(re, &req, ret);
		if (re->page > 1 && (r == -ENOBUFS || (r == 0 && unreadable(ret, &len)))) {
			re->page /= 2;
		} else if (r == 0 && unreadable(ret, &len)) {
			r = pass_unreadable(w, ret);
			if (r != 0)
				return r;
		} else if (r == 0 && ret->status == 410 && w->token && renewed++ < TRIES) {
			/* The token has expired: go on with the API's new one, or else from the beginning. */
			char *token =
				pages_copy(json_object_get(ret->body, "metadata"), "continue");

			if (!token)
				return -ENOMEM;
			rewrite_token_set(w, token);
		} else {
			return r;
		}
	}
}

/* The page is empty if an unreadable value that was passed was the last of the list. */
static int list_page_get(struct reencrypt *re, struct rewrite *w, struct page *ret)
{
	struct kubeapi_answer answer;
	int r = page_ask(re, w, &answer);

	if (r == 0 && answer.status != 200) {
		re->over = reencrypt_may_pass(answer.status) || answer.status == 401;
		return refused(w, &answer);
	}
	if (r == 0)
		r = page_fill(answer.body, ret);
	if (re->page < re->page_max)
		re->page = 2 * re->page < re->page_max ? 2 * re->page : re->page_max;
	return r < 0 ? ctl_fail("%s: list: %s", w->resource, errno_text(r)) : r;
}

bool page_is_served(struct reencrypt *re, const struct rewrite *w)
{
	char path[KUBE_PATH_MAX];
	struct kubeapi_answer answer;

	return kube_resource_list_path(&w->res, &(struct kube_list){ 1, NULL, NULL }, path,
				       sizeof(path)) == 0 &&
	       kubeapi_call(re->api, &(struct kubeapi_request){ "GET", path, NULL, true },
			    &answer) == 0 &&
	       !reencrypt_may_pass(answer.status);
}

int page_of_others(struct reencrypt *re, const struct rewrite *w, const char *ns,
		   unsigned int limit, struct page *ret)
{
	char path[KUBE_PATH_MAX];
	struct kubeapi_answer answer;
	int r;

	r = kube_resource_list_path(&w->res, &(struct kube_list){ limit, NULL, ns }, path,
				    sizeof(path));
	if (r == 0)
		r = reencrypt_call(re, &(struct kubeapi_request){ "GET", path, NULL, true },
				   &answer);
	if (r == 0 && answer.status != 200)
		return refused(w, &answer);
	if (r == 0)
		r = page_fill(answer.body, ret);
	return r < 0 ? ctl_fail("%s: list: %s", w->resource, errno_text(r)) : 0;
}

/* Rewrite the next page, and save the state. A page that was not finished is done again by the next run. */
static int pages_step(struct reencrypt *re, struct rewrite *w, struct bar *bar)
{
	_cleanup_(page_clear) struct page page = { 0 };
	int r;

	r = list_page_get(re, w, &page);
	if (r == 0)
		r = page_rewrite(re, w, &page, bar);
	if (r != 0 || stopped(re))
		return r;
	rewrite_token_set(w, move_ptr(page.next));
	w->done = !w->token;
	return reencrypt_state_save(re);
}

void rewrite_clear(struct rewrite *w)
{
	free(w->token);
	free(w->skipped);
	missed_clear(w);
}

int rewrite_run(struct reencrypt *re, struct rewrite *w)
{
	struct bar bar = { .shown = isatty(STDERR_FILENO) };
	int r = 0;

	if (w->done)
		return 0;
	w->begun = true;
	re->page = re->page_max;
	while (r == 0 && !w->done && !stopped(re))
		r = pages_step(re, w, &bar);
	if (bar.shown)
		fputs("\r\033[K", stderr);
	return r;
}
