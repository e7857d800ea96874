/* SPDX-License-Identifier: Apache-2.0 */
/* See keyed.h. Names and labels are public: nothing here needs constant time. */
#include "daemon/chain/keyed.h"

#include <errno.h>
#include <string.h>

#include "daemon/chain/codec.h"

int keyed_new(const struct provider_ops *ops, const struct encconf_provider *e,
	      const struct chain_env *env, struct provider **ret)
{
	struct keyed *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->provider.ops = ops;
	g->conf = e;
	g->env = *env;
	g->prefix = span_str(ops->prefix);
	g->secretbox = e->kind == ENCCONF_SECRETBOX;
	*ret = &g->provider;
	return 0;
}

void keyed_free(struct provider *p)
{
	free(keyed_of(p));
}

/* Has an earlier entry the name of entry @i? Then its keys have had their turn. */
static bool is_repeated(const struct keyed *g, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(g->conf->keys[j].name, g->conf->keys[i].name) == 0)
			return true;
	return false;
}

void keyed_walk(struct keyed_walk *w, const struct keyed *g, struct span stored)
{
	bool ours = span_starts_with(stored, g->prefix);

	*w = (struct keyed_walk){
		.g = g,
		.labelled = ours ? span_skip(stored, g->prefix.len) : SPAN_NULL,
		.entry = ours ? 0 : g->conf->keys_count,
		.at = keytable_list(g->env.keys),
	};
}

struct chain_key *keyed_next(struct keyed_walk *w, struct span *ret_body)
{
	const struct list *keys = keytable_list(w->g->env.keys);

	for (; w->entry < w->g->conf->keys_count; w->entry++) {
		if (is_repeated(w->g, w->entry))
			continue;
		for (w->at = w->at->next; w->at != keys; w->at = w->at->next) {
			struct chain_key *k = list_entry(w->at, struct chain_key, link);
			struct span body;

			if (k->info.secretbox != w->g->secretbox ||
			    !codec_label_match(w->labelled, span_str(k->info.label), &body) ||
			    strcmp(k->info.name, w->g->conf->keys[w->entry].name) != 0)
				continue;
			*ret_body = body;
			return k;
		}
	}
	return NULL;
}

struct chain_key *keyed_nth(const struct keyed *g, struct span stored, unsigned int nth,
			    struct span *ret_body)
{
	struct keyed_walk w;
	struct chain_key *k;

	keyed_walk(&w, g, stored);
	do
		k = keyed_next(&w, ret_body);
	while (k && nth-- > 0);
	return k;
}

bool keyed_match(const struct provider *p, struct span stored)
{
	struct span body;

	return keyed_nth(keyed_of(p), stored, 0, &body) != NULL;
}

unsigned int keyed_candidates(const struct provider *p, struct span stored)
{
	struct keyed_walk w;
	unsigned int n = 0;
	struct span body;

	keyed_walk(&w, keyed_of(p), stored);
	while (keyed_next(&w, &body))
		n++;
	return n;
}

int keyed_no_key_id(const struct provider *p _unused_, const char **ret _unused_)
{
	return -EOPNOTSUPP;
}

int keyed_writer(const struct keyed *g, struct chain_key **ret)
{
	struct chain_key *k;
	int r;

	r = keytable_active(g->env.keys, g->conf->keys[0].name, &k);
	if (r < 0)
		return r;
	if (k->info.secretbox != g->secretbox)
		return -ENOKEY;
	*ret = k;
	return 0;
}

int keyed_reader(const struct keyed *g, const struct op *op, struct chain_key **ret,
		 struct span *ret_body)
{
	struct chain_key *k;
	struct span body;
	int r;

	if (op->purpose != OP_STORAGE)
		return -EOPNOTSUPP;
	k = keyed_nth(g, op->in, op->nth, &body);
	if (!k)
		return -ENOKEY;
	r = chain_key_opens(k);
	if (r < 0)
		return r;
	*ret = k;
	*ret_body = body;
	return 0;
}

bool keyed_is_stale(const struct keyed *g, const struct chain_key *k)
{
	return k->info.state != KEY_ACTIVE || strcmp(k->info.name, g->conf->keys[0].name) != 0;
}

void keyed_note(struct op *op, const struct keyed *g, const struct chain_key *k)
{
	op->provider = g->provider.ops->kind;
	memcpy(op->key_id, k->key_id, sizeof(op->key_id));
}

int keyed_submit(const struct keyed *g, struct op *op, const struct chain_key *k,
		 void (*done)(struct engine_job *job, int r))
{
	struct engine_job *job = &op->job;

	job->key = k->engine;
	job->deadline_ns = op->deadline_ns;
	job->done = done;
	keyed_note(op, g, k);
	return engine_submit(g->env.engine, job);
}
