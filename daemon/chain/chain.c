/* SPDX-License-Identifier: Apache-2.0 */
/* See chain.h. Which provider serves a value is decided here and nowhere else. */
#include "daemon/chain/chain.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/chain/providers.h"

struct chain {
	struct engine *engine;
	const struct keytable *keys; /* the caller's */
	unsigned int searches;       /* operations that may still ask for the next key */
	bool gone;                   /* freed by its owner; lives until the last of them is done */
	size_t n;
	struct provider *providers[];
};

typedef int provider_new_fn(const struct encconf_provider *e, const struct chain_env *env,
			    struct provider **ret);

static const struct {
	enum encconf_kind kind;
	const char *name;
	provider_new_fn *new;
} provider_kinds[] = {
	{ ENCCONF_AESGCM, "aesgcm", provider_aesgcm_new },
	{ ENCCONF_AESCBC, "aescbc", provider_aescbc_new },
	{ ENCCONF_SECRETBOX, "secretbox", provider_secretbox_new },
	{ ENCCONF_IDENTITY, "identity", provider_identity_new },
	{ ENCCONF_KMS, "kms", provider_kms_new },
};

static int provider_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(provider_kinds); i++)
		if (provider_kinds[i].kind == e->kind)
			return provider_kinds[i].new(e, env, ret);
	log_error(
		"encryption configuration: provider \"%s\" is not offered by this version of kekd",
		encconf_kind_name(e->kind));
	return -EOPNOTSUPP;
}

static struct provider *adopted(const struct chain *before, const struct encconf_provider *e)
{
	for (size_t i = 0; before && i < before->n; i++) {
		struct provider *p = before->providers[i];

		if (p->ops->adopt && p->ops->adopt(p, e))
			return p;
	}
	return NULL;
}

int chain_new(const struct encconf_item *item, const struct chain_env *env, struct chain **ret)
{
	_cleanup_(chain_freep) struct chain *c = NULL;
	int r;

	c = calloc(1, sizeof(*c) + item->providers_count * sizeof(struct provider *));
	if (!c)
		return -ENOMEM;
	c->engine = env->engine;
	c->keys = env->keys;
	for (size_t i = 0; i < item->providers_count; i++) {
		c->providers[i] = adopted(env->before, &item->providers[i]);
		r = c->providers[i] ? 0 : provider_new(&item->providers[i], env, &c->providers[i]);
		if (r < 0)
			return r;
		c->n++;
	}
	*ret = move_ptr(c);
	return 0;
}

void chain_configure(struct chain *c, const struct encconf_item *item)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->providers[i]->ops->configure)
			c->providers[i]->ops->configure(c->providers[i], &item->providers[i]);
}

void chain_free(struct chain *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		c->providers[i]->ops->free(c->providers[i]);
	c->n = 0;
	c->gone = true;
	if (c->searches == 0)
		free(c);
}

/*
 * At rest the AAD is the etcd key as it is, as the apiserver has it. The AADs for KMS hold a NUL, and etcd
 * keys of Kubernetes never do. So a path that a tool gives can neither make nor open a KMS ciphertext.
 */
static bool context_is_path(const struct op *op)
{
	return op->context.len == 0 || !memchr(op->context.data, 0, op->context.len);
}

int chain_encrypt(struct chain *c, struct op *op)
{
	if (op->purpose == OP_STORAGE && !context_is_path(op))
		return -EINVAL;
	return c->providers[0]->ops->encrypt(c->providers[0], op);
}

/*
 * Why no provider reads @stored: if its prefix is known, the key is missing; otherwise it is no value of this chain. A
 * server that was started without the root key has not heard of any key, and says that.
 */
static int no_match(const struct chain *c, struct span stored)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *prefix = c->providers[i]->ops->prefix;

		if (prefix && span_starts_with(stored, span_str(prefix)))
			return keytable_unknown(c->keys);
	}
	return -EINVAL;
}

/* May the next key that fits open what this one did not? */
static bool may_go_on(int r)
{
	switch (r) {
	case -EBADMSG:
	case -EINVAL:
	case -ENOKEY:
	case -ESTALE:
	case -ENOLINK:
	case -EKEYREJECTED:
	case -EKEYREVOKED:
	case -EKEYEXPIRED:
		return true;
	default:
		return false;
	}
}

/* The first failure counts. A later one takes its place if that says that a key cannot be had, and the first did not. */
static void note(struct op *op, int r)
{
	bool altered = r == -EBADMSG || r == -EINVAL;

	if (op->verdict == 0 || (!altered && (op->verdict == -EBADMSG || op->verdict == -EINVAL)))
		op->verdict = r;
}

/* Start with the first key that fits, beginning where @op is. Returns 0, or the verdict of all of them. */
static int search(struct chain *c, struct op *op)
{
	for (; op->at < c->n; op->at++, op->nth = 0) {
		struct provider *p = c->providers[op->at];
		unsigned int n = p->ops->candidates ? p->ops->candidates(p, op->in)
						    : p->ops->match(p, op->in);

		for (; op->nth < n; op->nth++) {
			int r;

			op->cancel = NULL; /* the engine's, unless the provider says otherwise */
			op->doubtful = false;
			r = p->ops->decrypt(p, op);

			if (r == 0) {
				op->stale |= op->at > 0;
				return 0;
			}
			if (!may_go_on(r))
				return r;
			note(op, r);
		}
	}
	return op->verdict < 0 ? op->verdict : no_match(c, op->in);
}

static void search_end(struct chain *c, struct op *op)
{
	op->done = op->outer;
	c->searches--;
	if (c->gone && c->searches == 0)
		free(c);
}

/*
 * A key without a tag has opened the value, and what came out is no object. Another key may make an object of it, so
 * the search goes on. The first such key is remembered.
 */
static bool doubt(struct op *op)
{
	if (!op->doubtful || op->settled)
		return false;
	if (!op->doubted) {
		op->doubted = true;
		op->doubt_at = op->at;
		op->doubt_nth = op->nth;
	}
	return true;
}

/* In place of the op's own done. A chain that is gone has no providers left to ask. */
static void search_done(struct op *op, int r)
{
	struct chain *c = op->chain;

	if (r == 0 && !c->gone && doubt(op))
		r = -EBADMSG;
	if (may_go_on(r)) {
		note(op, r);
		op->nth++;
		r = search(c, op);
		/* No other key has opened it: open it once more with the one that did. */
		if (r < 0 && op->doubted && !op->settled) {
			op->settled = true;
			op->at = op->doubt_at;
			op->nth = op->doubt_nth;
			r = search(c, op);
		}
		if (r == 0)
			return;
	}
	search_end(c, op);
	op->done(op, r);
}

static int search_start(struct chain *c, struct op *op)
{
	int r;

	op->chain = c;
	op->outer = op->done;
	op->done = search_done;
	op->at = op->nth = 0;
	op->doubted = op->settled = false;
	op->verdict = 0;
	c->searches++;
	r = search(c, op);
	if (r < 0)
		search_end(c, op);
	return r;
}

int chain_decrypt(struct chain *c, struct op *op)
{
	if (op->purpose == OP_STORAGE)
		return context_is_path(op) ? search_start(c, op) : -EINVAL;
	for (size_t i = 0; i < c->n; i++) {
		struct provider *p = c->providers[i];

		if (p->ops->match(p, op->in))
			return p->ops->decrypt(p, op);
	}
	return no_match(c, op->in);
}

void chain_cancel(struct chain *c, struct op *op)
{
	if (op->cancel)
		op->cancel(op);
	else
		engine_cancel(c->engine, &op->job);
}

int chain_key_id(const struct chain *c, const char **ret)
{
	return c->providers[0]->ops->key_id(c->providers[0], ret);
}

const char *chain_sealed_text(const struct chain *chain)
{
	return keytable_sealed_text(chain->keys);
}

size_t chain_overhead(const struct chain *c)
{
	return c->providers[0]->ops->overhead(c->providers[0]);
}
