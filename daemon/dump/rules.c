/* SPDX-License-Identifier: Apache-2.0 */
/* See rules.h. */
#include "daemon/dump/rules.h"

#include <errno.h>
#include <stdlib.h>

static const char *const verdict_names[VERDICTS] = {
	[VERDICT_CURRENT] = "current",     [VERDICT_STALE] = "stale",
	[VERDICT_PLAINTEXT] = "plaintext", [VERDICT_UNREADABLE] = "unreadable",
	[VERDICT_UNCOVERED] = "uncovered",
};

const char *verdict_name(enum verdict v)
{
	return verdict_names[v];
}

bool rules_key_follows(const struct rules_key *k, const struct rules_key *key)
{
	return strcmp(k->name, key->name) == 0 && k->activation > key->activation;
}

static size_t count_labels(const struct rules *rules)
{
	size_t n = rules->n_keys;

	for (size_t i = 0; rules->conf && i < rules->conf->items_count; i++)
		for (size_t p = 0; p < rules->conf->items[i].providers_count; p++)
			n += rules->conf->items[i].providers[p].keys_count;
	return n;
}

static void add_provider(struct span *v, size_t *n, const struct encconf_provider *p)
{
	for (size_t k = 0; k < p->keys_count; k++)
		v[(*n)++] = span_str(p->keys[k].name);
}

/* A label that holds a colon comes before one that is its beginning. */
static int longer_first(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->len < y->len ? 1 : x->len > y->len ? -1 : 0;
}

int rules_labels(const struct rules *rules, struct stored_labels *ret)
{
	struct span *v = calloc(count_labels(rules) + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n_keys; i++)
		v[n++] = span_str(rules->keys[i].label);
	for (size_t i = 0; rules->conf && i < rules->conf->items_count; i++)
		for (size_t p = 0; p < rules->conf->items[i].providers_count; p++)
			add_provider(v, &n, &rules->conf->items[i].providers[p]);
	qsort(v, n, sizeof(*v), longer_first);
	*ret = (struct stored_labels){ v, n };
	return 0;
}

static const struct encconf_item *item_of(const struct rules *rules, const struct resource *r)
{
	for (size_t i = 0; i < rules->conf->items_count; i++) {
		const struct encconf_item *item = &rules->conf->items[i];

		for (size_t j = 0; j < item->resources_count; j++)
			if (resource_covered(r, item->resources[j].name))
				return item;
	}
	return NULL;
}

static bool is_covered(const struct rules *rules, const struct resource *r)
{
	for (size_t i = 0; i < rules->n_covered; i++)
		if (resource_covered(r, rules->covered[i]))
			return true;
	return false;
}

static const struct rules_key *key_by_label(const struct rules *rules, struct span label)
{
	const struct rules_key *found = NULL;

	/* Imported keys may share a label; any that is of use will do. */
	for (size_t i = 0; label.len > 0 && i < rules->n_keys; i++) {
		if (!span_equal(span_str(rules->keys[i].label), label))
			continue;
		if (!found || (found->gone && !rules->keys[i].gone))
			found = &rules->keys[i];
	}
	return found;
}

static const struct rules_key *rules_key_of(const struct rules *rules, const struct stored *s)
{
	for (size_t i = 0; s->own && i < rules->n_keys; i++)
		if (span_equal(span_str(rules->keys[i].key_id), s->key_id))
			return &rules->keys[i];
	return key_by_label(rules, s->label);
}

static bool is_kms(const struct stored *s)
{
	return s->kind == STORED_KMS_V1 || s->kind == STORED_KMS_V2;
}

static enum stored_kind rules_kind_of(const struct encconf_provider *p)
{
	switch (p->kind) {
	case ENCCONF_AESGCM:
		return STORED_AESGCM;
	case ENCCONF_AESCBC:
		return STORED_AESCBC;
	case ENCCONF_SECRETBOX:
		return STORED_SECRETBOX;
	case ENCCONF_KMS:
		return p->kms.version == 1 ? STORED_KMS_V1 : STORED_KMS_V2;
	default:
		return STORED_PLAIN;
	}
}

/* Could this provider have written the value, by its prefix? */
static bool provider_fits(const struct rules *rules, const struct encconf_provider *p,
			  const struct stored *s, const struct rules_key *key)
{
	if (rules_kind_of(p) != s->kind)
		return false;
	if (is_kms(s))
		return span_equal(span_str(p->kms.name), s->name);
	for (size_t i = 0; i < p->keys_count; i++) {
		if (rules->literal && span_equal(span_str(p->keys[i].name), s->label))
			return true;
		if (!rules->literal && key && strcmp(p->keys[i].name, key->name) == 0)
			return true;
	}
	return s->kind == STORED_PLAIN;
}

/* Is it what this provider, the first, writes now? */
static bool provider_writes(const struct rules *rules, const struct encconf_provider *p,
			    const struct stored *s, const struct rules_key *key)
{
	if (!provider_fits(rules, p, s, key))
		return false;
	if (is_kms(s))
		return !s->own || (key && key->active);
	if (s->kind == STORED_PLAIN)
		return true;
	if (rules->literal)
		return span_equal(span_str(p->keys[0].name), s->label);
	return key->active && strcmp(p->keys[0].name, key->name) == 0;
}

/*
 * kekd's own configuration says nothing of the envelopes that its KMS sockets seal data keys for:
 * such a value counts as what is sealed inside.
 */
static bool envelope_current(const struct encconf_provider *p, const struct stored *s,
			     const struct rules_key *key)
{
	return is_kms(s) && s->own && p->kind != ENCCONF_KMS && p->keys_count > 0 && key &&
	       key->active && strcmp(p->keys[0].name, key->name) == 0;
}

static bool any_reads(const struct rules *rules, const struct encconf_item *item,
		      const struct stored *s, const struct rules_key *key)
{
	for (size_t i = 0; i < item->providers_count; i++)
		if (provider_fits(rules, &item->providers[i], s, key))
			return true;
	return false;
}

static enum verdict judge_by_item(const struct rules *rules, const struct encconf_item *item,
				  const struct stored *s, struct judgement *j)
{
	const struct encconf_provider *first = &item->providers[0];

	if (s->kind == STORED_PLAIN && rules_kind_of(first) != STORED_PLAIN)
		return VERDICT_PLAINTEXT;
	if (provider_writes(rules, first, s, j->key) || envelope_current(first, s, j->key))
		return VERDICT_CURRENT;
	if (!any_reads(rules, item, s, j->key) && !(s->own && j->key)) {
		j->why = "no provider of the configuration is for it";
		return VERDICT_UNREADABLE;
	}
	j->why = "another key or provider writes now";
	return VERDICT_STALE;
}

static enum verdict judge_by_keys(const struct stored *s, struct judgement *j)
{
	if (is_kms(s) && !s->own) {
		j->why = "sealed by another KMS plugin; --config says what is current";
		return VERDICT_STALE;
	}
	if (!j->key) {
		j->why = "kekd has no such key";
		return VERDICT_UNREADABLE;
	}
	if (j->key->active)
		return VERDICT_CURRENT;
	j->why = "the key is not the active one";
	return VERDICT_STALE;
}

/* What an item says, or without one what is known of the key. */
static enum verdict judge(const struct rules *rules, const struct resource *resource,
			  const struct stored *s, struct judgement *j)
{
	const struct encconf_item *item = rules->conf ? item_of(rules, resource) : NULL;
	bool covered = rules->conf ? item != NULL : is_covered(rules, resource);

	if (s->kind == STORED_PLAIN && !covered)
		return VERDICT_UNCOVERED;
	if (s->fault) {
		j->why = s->fault;
		return VERDICT_UNREADABLE;
	}
	if (j->key && j->key->gone) {
		j->why = "its key is retired, destroyed or not usable";
		return VERDICT_UNREADABLE;
	}
	if (s->own && !j->key && rules->n_keys > 0) {
		j->why = "kekd has no such key";
		return VERDICT_UNREADABLE;
	}
	if (item)
		return judge_by_item(rules, item, s, j);
	if (s->kind == STORED_PLAIN)
		return VERDICT_PLAINTEXT;
	if (!rules->conf)
		return judge_by_keys(s, j);
	j->why = "the configuration does not cover this resource";
	return VERDICT_STALE;
}

void rules_judge(const struct rules *rules, const struct resource *resource, const struct stored *s,
		 struct judgement *ret)
{
	struct judgement j = { .key = rules_key_of(rules, s) };

	j.verdict = judge(rules, resource, s, &j);
	*ret = j;
}
