/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl reencrypt RESOURCE…: have everything of a resource stored anew, with the provider and key that
 * write now. It goes through the API server, so nothing here sees a key or a secret, and it may be
 * interrupted and repeated at will: what is current is not written again.
 *
 * An API server notices a new key within a minute, and each of them for itself; rewriting before that
 * changes nothing. What the end report counts as current was so in the eyes of the server that was asked.
 * The proof is kekctl scan, which reads etcd.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/reencrypt.h"

#define PAGE_DEFAULT 500
#define PAGE_MAX     5000
#define RATE_MAX     100000

/* The only thing a signal handler touches. */
static volatile sig_atomic_t stop;

static void reencrypt_on_signal(int number)
{
	stop = number;
}

static int number_parse(const char *option, const char *text, unsigned int otherwise,
			unsigned int min, unsigned int max, unsigned int *ret)
{
	unsigned long n;
	char *end;

	if (!text) {
		*ret = otherwise;
		return 0;
	}
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || *end || end == text || *text == '-' || n < min || n > max)
		return ctl_usage("%s takes a number from %u to %u", option, min, max);
	*ret = (unsigned int)n;
	return 0;
}

static void report_text(const struct reencrypt *re, const struct rewrite *w)
{
	const struct rewrite_counts *c = &w->counts;

	if (re->ctl->dry_run) {
		printf("%s: %" PRIu64 " objects would be rewritten, unless they are current\n",
		       w->resource, c->listed);
		return;
	}
	printf("%s: %s: %" PRIu64 " rewritten, %" PRIu64 " current before, %" PRIu64
	       " gone, %" PRIu64 " failed\n",
	       w->resource, w->done ? "done" : "not finished", c->rewritten, c->current, c->gone,
	       c->failed);
	/* kube-apiserver says so, by the configuration that it has; kekctl sees no stored value. */
	if (c->current > 0)
		printf("%s: those were stored as kube-apiserver's configuration wants, of which it reads "
		       "changes once a minute; `kekctl scan --etcd` shows what is stored\n",
		       w->resource);
	missed_print(w);
}

/* Called after the API is closed, when JSON's memory is ordinary memory again. */
static int report(const struct reencrypt *re)
{
	json_t *list;

	if (!re->ctl->json) {
		for (size_t i = 0; i < re->n && !re->ctl->migration; i++)
			if (re->all[i].begun || re->all[i].done)
				report_text(re, &re->all[i]);
		return 0;
	}
	list = json_array();
	for (size_t i = 0; i < re->n; i++) {
		const struct rewrite *w = &re->all[i];
		const struct rewrite_counts *c = &w->counts;

		json_array_append_new(
			list, json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}",
					"resource", w->resource, "done", w->done, "rewritten",
					(json_int_t)c->rewritten, "current", (json_int_t)c->current,
					"gone", (json_int_t)c->gone, "failed",
					(json_int_t)c->failed, "listed", (json_int_t)c->listed,
					"conflicts", (json_int_t)c->conflicts, "keyId", w->key_id,
					"notRewritten", missed_json(w)));
	}
	return ctl_print_json(list);
}

static bool is_finished(const struct reencrypt *re)
{
	for (size_t i = 0; i < re->n; i++)
		if (!re->all[i].done)
			return false;
	return true;
}

/* Find the resources that are asked for in the cluster. A wildcard stands for many. */
static int resources_get(struct reencrypt *re, int argc, char **argv)
{
	_cleanup_(kube_resources_clear) struct kube_resources found = { 0 };
	int r = 0;

	for (int i = 0; r == 0 && i < argc; i++)
		r = kube_resources_find(re->api, argv[i], &found);
	if (r != 0)
		return r;
	re->all = calloc(found.n, sizeof(*re->all));
	if (!re->all)
		return ctl_fail("out of memory");
	re->n = found.n;
	for (size_t i = 0; i < re->n; i++) {
		re->all[i].res = found.v[i];
		kube_resource_text(&found.v[i], re->all[i].resource);
	}
	return 0;
}

/* One resource's refusal is no reason to leave the others as they are. */
static int run_all(struct reencrypt *re, int argc, char **argv)
{
	_cleanup_(kubeapi_closep) struct kubeapi *api = NULL;
	struct kubeapi_options options = {
		.kubeconfig = re->ctl->kubeconfig,
		.context = re->ctl->context,
		.post = re->ctl->migration,
	};
	int r;

	r = kubeapi_open(&options, &api);
	re->api = api;
	if (r == 0)
		r = resources_get(re, argc, argv);
	if (r != 0)
		return r;
	reencrypt_keys_get(re->ctl, re->all, re->n);
	r = reencrypt_state_load(re);
	if (r != 0)
		return r;
	pace_init(&re->pace, kubeapi_room(api), re->rate);
	for (size_t i = 0; i < re->n && !re->over && !stop; i++)
		r |= re->ctl->migration ? rewrite_by_migration(re, &re->all[i])
					: rewrite_run(re, &re->all[i]);
	return r;
}

static int reencrypt_finish(const struct reencrypt *re, int r)
{
	bool begun = false, clean = true;

	if (report(re) != 0)
		return 1;
	for (size_t i = 0; i < re->n; i++) {
		begun = begun || re->all[i].begun;
		clean = clean && re->all[i].counts.failed == 0;
	}
	if (re->n > 0 && is_finished(re))
		reencrypt_state_remove(re);
	else if (!re->ctl->dry_run && begun)
		r = ctl_fail("not finished; run the same command again, what is done stays done");
	if (!re->ctl->dry_run && reencrypt_keys_changed(re))
		r = ctl_fail("another key has become active meanwhile; run the same command again");
	return r == 0 && clean ? 0 : 1;
}

static void rewrites_free(struct reencrypt *re)
{
	for (size_t i = 0; i < re->n; i++)
		rewrite_clear(&re->all[i]);
	free(re->all);
}

int reencrypt_run(const struct ctl *ctl, int argc, char **argv, struct rewrite_counts *ret,
		  bool *ret_done)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
	const struct sigaction action = { .sa_handler = reencrypt_on_signal };
	_cleanup_(rewrites_free) struct reencrypt re = { .ctl = ctl, .stop = &stop };
	struct sigaction before[ARRAY_SIZE(caught)];
	int r;

	r = number_parse("--page", ctl->page, PAGE_DEFAULT, 1, PAGE_MAX, &re.page_max);
	if (r == 0)
		r = number_parse("--rate", ctl->rate, 0, 0, RATE_MAX, &re.rate);
	if (r != 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaction(caught[i], &action, &before[i]);
	signal(SIGPIPE, SIG_IGN);
	r = run_all(&re, argc, argv);
	/* What follows may wait, and has to end by a signal. */
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaction(caught[i], &before[i], NULL);
	*ret_done = re.n > 0 && is_finished(&re);
	for (size_t i = 0; i < re.n; i++) {
		const struct rewrite_counts *c = &re.all[i].counts;

		ret->rewritten += c->rewritten;
		ret->current += c->current;
		ret->gone += c->gone;
		ret->failed += c->failed;
	}
	return reencrypt_finish(&re, r);
}

int ctl_reencrypt(const struct ctl *ctl, int argc, char **argv)
{
	struct rewrite_counts counts = { 0 };
	bool done;

	if (argc < 1)
		return ctl_usage("reencrypt takes resources, as the EncryptionConfiguration names "
				 "them: secrets, RESOURCE.GROUP, *.GROUP, *.*");
	return reencrypt_run(ctl, argc, argv, &counts, &done);
}
