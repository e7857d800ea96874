/* SPDX-License-Identifier: Apache-2.0 */
/* See rules.h. */
#include "daemon/dump/rules.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

static const char *const verdict_names[VERDICTS] = {
	[VERDICT_CURRENT] = "current",     [VERDICT_STALE] = "stale",
	[VERDICT_PLAINTEXT] = "plaintext", [VERDICT_UNREADABLE] = "unreadable",
	[VERDICT_UNJUDGED] = "unjudged",   [VERDICT_UNCOVERED] = "uncovered",
};

const char *verdict_name(enum verdict v)
{
	return verdict_names[v];
}

/* A label that holds a colon comes before one that is its beginning. */
static int longer_first(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->len < y->len ? 1 : x->len > y->len ? -1 : 0;
}

int rules_labels(const struct rules *rules, struct stored_labels *ret)
{
	size_t room = rules->n_keys + 1, n = 0;
	struct span *v;

	for (size_t i = 0; rules->conf && i < rules->conf->items_count; i++)
		for (size_t p = 0; p < rules->conf->items[i].providers_count; p++)
			room += rules->conf->items[i].providers[p].keys_count;
	v = calloc(room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n_keys; i++)
		v[n++] = span_str(rules->keys[i].info.label);
	for (size_t i = 0; rules->conf && i < rules->conf->items_count; i++)
		for (size_t p = 0; p < rules->conf->items[i].providers_count; p++)
			for (size_t k = 0; k < rules->conf->items[i].providers[p].keys_count; k++)
				v[n++] = span_str(rules->conf->items[i].providers[p].keys[k].name);
	qsort(v, n, sizeof(*v), longer_first);
	*ret = (struct stored_labels){ v, n };
	return 0;
}

/* Pattern @i, and the item of the configuration that has it; *@ret is NULL without a configuration. */
static const char *pattern_at(const struct rules *rules, size_t i, const struct encconf_item **ret)
{
	*ret = NULL;
	if (!rules->conf)
		return i < rules->n_covered ? rules->covered[i] : NULL;
	for (size_t n = 0; n < rules->conf->items_count; n++) {
		const struct encconf_item *item = &rules->conf->items[n];

		if (i < item->resources_count) {
			*ret = item;
			return item->resources[i].name;
		}
		i -= item->resources_count;
	}
	return NULL;
}

const char *rules_pattern(const struct rules *rules, size_t i)
{
	const struct encconf_item *item;

	return pattern_at(rules, i, &item);
}

/* OpenShift's key may have the name in two parts: "oauth/accesstokens" for "oauthaccesstokens". */
static bool is_called(const struct resource *r, struct span name)
{
	if (span_equal(r->name, name))
		return true;
	return name.len == r->name.len + r->ns.len && span_starts_with(name, r->name) &&
	       span_equal(span_skip(name, r->name.len), r->ns);
}

static void resolve(const struct rules *rules, struct resource *r)
{
	const char *pattern;

	for (size_t i = 0; r->guessed && (pattern = rules_pattern(rules, i)); i++) {
		size_t n = strcspn(pattern, ".");

		if (!is_called(r, span_of(pattern, n)))
			continue;
		if (n != r->name.len)
			r->ns = SPAN_NULL;
		r->name = span_of(pattern, n);
		r->group = span_str(pattern[n] ? pattern + n + 1 : "");
		r->guessed = false;
	}
}

static const struct encconf_item *covering(const struct rules *rules, const struct resource *r,
					   size_t *ret_pattern)
{
	const struct encconf_item *item;
	const char *pattern;

	*ret_pattern = RULES_NO_PATTERN;
	for (size_t i = 0; (pattern = pattern_at(rules, i, &item)); i++) {
		if (!resource_covered(r, pattern))
			continue;
		*ret_pattern = i;
		return item;
	}
	return NULL;
}

static const struct rules_key *rules_key_of(const struct rules *rules, const struct stored *s)
{
	const struct rules_key *found = NULL;

	for (size_t i = 0; s->own && i < rules->n_keys; i++)
		if (span_equal(span_str(rules->keys[i].key_id), s->key_id))
			return &rules->keys[i];
	/* Imported keys may share a label; any that is of use will do. */
	for (size_t i = 0; s->label.len > 0 && i < rules->n_keys; i++) {
		if (!span_equal(span_str(rules->keys[i].info.label), s->label))
			continue;
		if (!found || (found->gone && !rules->keys[i].gone))
			found = &rules->keys[i];
	}
	return found;
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
		if (!rules->literal && key && strcmp(p->keys[i].name, key->info.name) == 0)
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
	/* On kekd's own socket no value of another plugin is current, though it had the same name. */
	if (is_kms(s) && !s->own)
		return !rules->kms_socket || !p->kms.path ||
		       strcmp(p->kms.path, rules->kms_socket) != 0;
	if (is_kms(s))
		return key && key->info.state == KEY_ACTIVE;
	if (s->kind == STORED_PLAIN)
		return true;
	if (rules->literal)
		return span_equal(span_str(p->keys[0].name), s->label);
	return key->info.state == KEY_ACTIVE && strcmp(p->keys[0].name, key->info.name) == 0;
}

/*
 * kekd's own configuration says nothing of the envelopes that its KMS sockets seal data keys for:
 * such a value counts as what is sealed inside.
 */
static bool envelope_current(const struct encconf_provider *p, const struct stored *s,
			     const struct rules_key *key)
{
	return is_kms(s) && s->own && p->kind != ENCCONF_KMS && p->keys_count > 0 && key &&
	       key->info.state == KEY_ACTIVE && strcmp(p->keys[0].name, key->info.name) == 0;
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
	if (j->key->info.state == KEY_ACTIVE)
		return VERDICT_CURRENT;
	j->why = "the key is not the active one";
	return VERDICT_STALE;
}

static bool same_secret(const struct encconf_key *a, const struct encconf_key *b)
{
	return a->secret && b->secret && a->secret_len == b->secret_len &&
	       sodium_memcmp(a->secret, b->secret, a->secret_len) == 0;
}

/* How many keys of the item may have made a value of this provider and label. Equal keys count once. */
static size_t conf_holders(const struct encconf_item *item, const struct stored *s)
{
	const struct encconf_key *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < item->providers_count; i++) {
		const struct encconf_provider *p = &item->providers[i];

		for (size_t k = 0; k < p->keys_count && rules_kind_of(p) == s->kind; k++) {
			if (!span_equal(span_str(p->keys[k].name), s->label) ||
			    (first && same_secret(first, &p->keys[k])))
				continue;
			first = first ?: &p->keys[k];
			n++;
		}
	}
	return n;
}

/* Do several keys have the value's label, so that it does not tell which one made the value? An envelope's key_id does. */
static bool is_shared(const struct rules *rules, const struct encconf_item *item,
		      const struct stored *s, const struct judgement *j)
{
	size_t n = 0;

	if (s->label.len == 0 ||
	    (s->own && j->key && span_equal(span_str(j->key->key_id), s->key_id)))
		return false;
	for (size_t i = 0; i < rules->n_keys; i++)
		n += span_equal(span_str(rules->keys[i].info.label), s->label);
	return n > 1 || (item && rules->literal && conf_holders(item, s) > 1);
}

/* What an item says, or without one what is known of the key. */
static enum verdict judge(const struct rules *rules, const struct resource *resource,
			  const struct stored *s, struct judgement *j,
			  const struct encconf_item *item)
{
	if (s->kind == STORED_PLAIN && j->pattern == RULES_NO_PATTERN)
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
	if (resource->guessed) {
		j->why =
			"its resource is not known: its key in etcd has no known form, and --config has "
			"no resource of that name";
		return VERDICT_UNJUDGED;
	}
	j->why = "the configuration does not cover this resource";
	return VERDICT_STALE;
}

void rules_judge(const struct rules *rules, struct resource *resource, const struct stored *s,
		 struct judgement *ret)
{
	struct judgement j = { .key = rules_key_of(rules, s) };
	const struct encconf_item *item;

	resolve(rules, resource);
	item = covering(rules, resource, &j.pattern);
	j.verdict = judge(rules, resource, s, &j, item);
	if (j.verdict == VERDICT_CURRENT && is_shared(rules, item, s, &j)) {
		j.verdict = VERDICT_STALE;
		j.unsure = true;
		j.why = "several keys have this name: --verify says which of them made it";
	}
	*ret = j;
}
