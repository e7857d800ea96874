/* SPDX-License-Identifier: Apache-2.0 */
/* See chain.h. Which provider serves a value is decided here and nowhere else. */
#include "daemon/chain/chain.h"

#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/chain/providers.h"

struct chain {
	struct engine *engine;
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
	{ ENCCONF_KMS, "kms", provider_kms_new },
};

static int provider_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(provider_kinds); i++)
		if (provider_kinds[i].kind == e->kind)
			return provider_kinds[i].new(e, env, ret);
	log_error(
		"encryption configuration: provider \"%s\" is not offered by this version of kekd; "
		"use aesgcm",
		encconf_kind_name(e->kind));
	return -EOPNOTSUPP;
}

int chain_new(const struct encconf_item *item, const struct chain_env *env, struct chain **ret)
{
	_cleanup_(chain_freep) struct chain *c = NULL;
	int r;

	c = calloc(1, sizeof(*c) + item->providers_count * sizeof(struct provider *));
	if (!c)
		return -ENOMEM;
	c->engine = env->engine;
	for (size_t i = 0; i < item->providers_count; i++) {
		r = provider_new(&item->providers[i], env, &c->providers[i]);
		if (r < 0)
			return r;
		c->n++;
	}
	*ret = move_ptr(c);
	return 0;
}

void chain_free(struct chain *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		c->providers[i]->ops->free(c->providers[i]);
	free(c);
}

int chain_encrypt(struct chain *c, struct op *op)
{
	return c->providers[0]->ops->encrypt(c->providers[0], op);
}

int chain_decrypt(struct chain *c, struct op *op)
{
	bool known_prefix = false;

	for (size_t i = 0; i < c->n; i++) {
		struct provider *p = c->providers[i];

		if (p->ops->match(p, op->in))
			return p->ops->decrypt(p, op);
		known_prefix |= span_starts_with(op->in, span_str(p->ops->prefix));
	}
	return known_prefix ? -ENOKEY : -EINVAL;
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

size_t chain_overhead(const struct chain *c)
{
	return c->providers[0]->ops->overhead(c->providers[0]);
}
