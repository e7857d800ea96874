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
	g->secretbox = e->kind == ENCCONF_SECRETBOX;
	*ret = &g->provider;
	return 0;
}

void keyed_free(struct provider *p)
{
	free(keyed_of(p));
}

/* Is entry @i named by an earlier one too? Its keys have had their turn then. */
static bool is_repeated(const struct keyed *g, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(g->conf->keys[j].name, g->conf->keys[i].name) == 0)
			return true;
	return false;
}

static bool keyed_fits(const struct keyed *g, const struct chain_key *k, const char *name,
		       struct span stored, struct span *ret_body)
{
	return k->secretbox == g->secretbox && strcmp(k->name, name) == 0 &&
	       codec_prefix_match(stored, g->provider.ops->prefix, span_str(k->label), ret_body);
}

/* As keyed_nth(), counting @nth down as it goes. */
static struct chain_key *nth_of_entry(const struct keyed *g, const char *name, struct span stored,
				      unsigned int *nth, struct span *ret_body)
{
	struct span body;

	list_for_each (n, keytable_list(g->env.keys)) {
		struct chain_key *k = list_entry(n, struct chain_key, link);

		if (!keyed_fits(g, k, name, stored, &body) || (*nth)-- > 0)
			continue;
		*ret_body = body;
		return k;
	}
	return NULL;
}

struct chain_key *keyed_nth(const struct keyed *g, struct span stored, unsigned int nth,
			    struct span *ret_body)
{
	struct chain_key *k;

	if (!span_starts_with(stored, span_str(g->provider.ops->prefix)))
		return NULL;
	for (size_t i = 0; i < g->conf->keys_count; i++) {
		if (is_repeated(g, i))
			continue;
		k = nth_of_entry(g, g->conf->keys[i].name, stored, &nth, ret_body);
		if (k)
			return k;
	}
	return NULL;
}

bool keyed_match(const struct provider *p, struct span stored)
{
	struct span body;

	return keyed_nth(keyed_of(p), stored, 0, &body) != NULL;
}

unsigned int keyed_candidates(const struct provider *p, struct span stored)
{
	unsigned int n = 0;
	struct span body;

	while (keyed_nth(keyed_of(p), stored, n, &body))
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
	if (k->secretbox != g->secretbox)
		return -ENOKEY;
	*ret = k;
	return 0;
}

int keyed_reader(const struct keyed *g, const struct op *op, struct chain_key **ret,
		 struct span *ret_body)
{
	const struct chain_key *k;
	struct span body;
	int r;

	if (op->purpose != OP_STORAGE)
		return -EOPNOTSUPP;
	k = keyed_nth(g, op->in, op->nth, &body);
	if (!k)
		return -ENOKEY;
	r = keytable_by_id(g->env.keys, k->id, ret);
	if (r == 0)
		*ret_body = body;
	return r;
}

bool keyed_is_stale(const struct keyed *g, const struct chain_key *k)
{
	return k->state != KEY_ACTIVE || strcmp(k->name, g->conf->keys[0].name) != 0;
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
