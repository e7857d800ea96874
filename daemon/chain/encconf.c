/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables give the shape; what the apiserver checks beyond it follows per struct. The order of
 * checks decides only which of several errors is shown: the verdict is the same in any order.
 *
 * With ENCCONF_ALLOW_SECRETS decoded keys go straight from the tree, which is locked memory, to a
 * locked block of the result. Without it they are not looked at.
 */
#include "daemon/chain/encconf.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/chain/encconf_kms.h"
#include "daemon/chain/encconf_resources.h"

#define SECRETS_SIZE (ENCCONF_KEYS_MAX * KEKD_AES_KEY_MAX)

struct reader {
	const struct yaml_doc *doc;
	const char *file;
	unsigned int flags;
	struct encconf *c;
	size_t resources, providers, keys; /* so far, of all items */
};

struct raw_root {
	const struct yaml_node *api_version, *kind, *resources;
};

struct raw_item {
	const struct yaml_node *resources, *providers;
};

struct raw_provider {
	const struct yaml_node *by_kind[ENCCONF_KINDS];
};

struct raw_keys {
	const struct yaml_node *keys;
};

struct raw_key {
	const struct yaml_node *name, *secret;
};

static const struct yaml_field root_fields[] = {
	YAML_NODE_FIELD("apiVersion", struct raw_root, api_version, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("kind", struct raw_root, kind, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("resources", struct raw_root, resources, YAML_NULLABLE | YAML_REQUIRED),
	{ 0 },
};

static const struct yaml_field item_fields[] = {
	YAML_NODE_FIELD("resources", struct raw_item, resources, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("providers", struct raw_item, providers, YAML_NULLABLE | YAML_REQUIRED),
	{ 0 },
};

static const struct yaml_field provider_fields[] = {
	YAML_NODE_FIELD("aesgcm", struct raw_provider, by_kind[ENCCONF_AESGCM], YAML_NULLABLE),
	YAML_NODE_FIELD("aescbc", struct raw_provider, by_kind[ENCCONF_AESCBC], YAML_NULLABLE),
	YAML_NODE_FIELD("secretbox", struct raw_provider, by_kind[ENCCONF_SECRETBOX],
			YAML_NULLABLE),
	YAML_NODE_FIELD("identity", struct raw_provider, by_kind[ENCCONF_IDENTITY], YAML_NULLABLE),
	YAML_NODE_FIELD("kms", struct raw_provider, by_kind[ENCCONF_KMS], YAML_NULLABLE),
	{ 0 },
};

static const struct yaml_field keys_fields[] = {
	YAML_NODE_FIELD("keys", struct raw_keys, keys, YAML_NULLABLE | YAML_REQUIRED),
	{ 0 },
};

static const struct yaml_field key_fields[] = {
	YAML_NODE_FIELD("name", struct raw_key, name, YAML_NULLABLE | YAML_REQUIRED),
	YAML_NODE_FIELD("secret", struct raw_key, secret, YAML_NULLABLE),
	{ 0 },
};

static const struct yaml_field no_fields[] = { { 0 } };

const char *encconf_kind_name(enum encconf_kind kind)
{
	return provider_fields[kind].name;
}

/* A list with at least one and at most @max elements. */
static int encconf_check_list(struct reader *rd, const struct yaml_node *list, const char *what,
			      size_t max)
{
	int r;

	r = yaml_expect(rd->doc, list, YAML_LIST, what);
	if (r < 0)
		return r;
	if (list->count == 0)
		return yaml_fail(rd->doc, list, "\"%s\" must have at least one element", what);
	if (list->count > max)
		return yaml_fail(rd->doc, list, "too many %s in one file", what);
	return 0;
}

/*
 * Standard base64 with padding, as Go's base64.StdEncoding takes it: CR and LF are skipped
 * anywhere, bits behind the last byte are ignored. libsodium decodes without a table or a branch on a
 * character, but refuses such bits: it is given whole groups of four, with an A for each =. Its release 1.0.18
 * takes all that is not ASCII for a '/'. At most 32 bytes are stored; *ret_len counts all of them. Time depends
 * on the length, on where CR, LF and = are, and on whether a group is wrong.
 */
static int base64_decode(const struct yaml_node *node, uint8_t out[static KEKD_AES_KEY_MAX],
			 size_t *ret_len)
{
	size_t chars = 0, pads = 0, n = 0;
	uint8_t bytes[3];
	char group[4];
	int bad = 0;

	for (size_t i = 0; i < node->len && !bad; i++) {
		char c = node->text[i];

		if (c == '\r' || c == '\n')
			continue;
		bad = (c != '=' && pads > 0) || !isascii(c);
		pads += c == '=';
		group[chars++ % 4] = c == '=' ? 'A' : c;
		if (chars % 4 != 0)
			continue;
		bad |= sodium_base642bin(bytes, sizeof(bytes), group, sizeof(group), NULL, NULL,
					 NULL, sodium_base64_VARIANT_ORIGINAL);
		for (size_t k = 0; k < sizeof(bytes) && n < KEKD_AES_KEY_MAX; k++)
			out[n++] = bytes[k];
	}
	secmem_wipe(bytes, sizeof(bytes));
	secmem_wipe(group, sizeof(group));
	if (bad || chars % 4 != 0 || pads > 2)
		return -EINVAL;
	*ret_len = chars / 4 * 3 - pads;
	return 0;
}

/* A name that may be a key, pasted into the wrong field, is not shown. */
static const char *key_name_shown(const struct yaml_node *name)
{
	uint8_t buf[KEKD_AES_KEY_MAX];
	size_t len;
	int r;

	r = base64_decode(name, buf, &len);
	secmem_wipe(buf, sizeof(buf));
	if (r == 0 && (len == 16 || len == 24 || len == 32))
		return "(not shown)";
	for (size_t i = 0; i < name->len; i++) {
		if (name->text[i] < 0x20 || name->text[i] > 0x7e)
			return "(not shown)";
	}
	return name->text;
}

static int read_secret(struct reader *rd, const struct raw_key *raw, enum encconf_kind kind,
		       struct encconf_key *key)
{
	uint8_t *out;
	size_t len;
	int r;

	if (!raw->secret || raw->secret->len == 0)
		return yaml_fail(rd->doc, raw->secret ?: raw->name, "\"secret\" must not be empty");
	if (!rd->c->secrets)
		rd->c->secrets = secmem_alloc(SECRETS_SIZE);
	if (!rd->c->secrets)
		return -ENOMEM;
	out = (uint8_t *)rd->c->secrets + rd->keys * KEKD_AES_KEY_MAX;
	r = base64_decode(raw->secret, out, &len);
	if (r < 0)
		return yaml_fail(rd->doc, raw->secret, "\"secret\" is not base64");
	if (len != 32 && (kind == ENCCONF_SECRETBOX || (len != 16 && len != 24)))
		return yaml_fail(rd->doc, raw->secret, "\"secret\" has %zu bytes, expected %s", len,
				 kind == ENCCONF_SECRETBOX ? "32" : "16, 24 or 32");
	key->secret = out;
	key->secret_len = len;
	return 0;
}

static int read_key(struct reader *rd, const struct yaml_node *node, enum encconf_kind kind,
		    struct encconf_key *key)
{
	struct raw_key raw = { 0 };
	int r;

	r = yaml_read(rd->doc, node, key_fields, &raw);
	if (r == 0)
		r = encconf_name_read(rd->doc, raw.name, &key->name);
	if (r == 0 && raw.secret)
		r = yaml_expect(rd->doc, raw.secret, YAML_STR, "secret");
	if (r < 0)
		return r;
	key->line = node->line;
	key->column = node->column;
	if (rd->flags & ENCCONF_ALLOW_SECRETS)
		r = read_secret(rd, &raw, kind, key);
	else if (raw.secret)
		r = yaml_fail_key(
			rd->doc, raw.secret,
			"keys are not kept in files: \"secret\" of key \"%.64s\" belongs into "
			"the kernel; run: kekctl key import %.200s",
			key_name_shown(raw.name), rd->file);
	return r;
}

static int read_keys(struct reader *rd, const struct yaml_node *node, struct encconf_provider *p)
{
	struct raw_keys raw = { 0 };
	int r;

	r = yaml_read(rd->doc, node, keys_fields, &raw);
	if (r == 0)
		r = encconf_check_list(rd, raw.keys, "keys", ENCCONF_KEYS_MAX - rd->keys);
	if (r < 0)
		return r;
	p->keys = yaml_array(raw.keys, sizeof(*p->keys));
	if (!p->keys)
		return -ENOMEM;
	yaml_for_each(n, raw.keys)
	{
		r = read_key(rd, n, p->kind, &p->keys[p->keys_count++]);
		if (r < 0)
			return r;
		rd->keys++;
	}
	return 0;
}

static int read_provider(struct reader *rd, const struct yaml_node *node,
			 struct encconf_provider *p)
{
	struct raw_provider raw = { 0 };
	unsigned int found = 0;
	int r;

	r = yaml_read(rd->doc, node, provider_fields, &raw);
	if (r < 0)
		return r;
	for (unsigned int k = 0; k < ENCCONF_KINDS; k++) {
		if (!raw.by_kind[k])
			continue;
		p->kind = (enum encconf_kind)k;
		found++;
	}
	if (found == 0)
		return yaml_fail(
			rd->doc, node,
			"a provider must be aesgcm, aescbc, secretbox, identity: {} or kms");
	if (found > 1)
		return yaml_fail(rd->doc, node,
				 "more than one provider in one element: begin each with \"-\"");
	p->line = node->line;
	p->column = node->column;
	if (p->kind == ENCCONF_IDENTITY)
		return yaml_read(rd->doc, raw.by_kind[p->kind], no_fields, p);
	if (p->kind == ENCCONF_KMS)
		return encconf_kms_read(rd->doc, raw.by_kind[p->kind], rd->c, &p->kms);
	return read_keys(rd, raw.by_kind[p->kind], p);
}

static int read_resources(struct reader *rd, const struct yaml_node *list,
			  struct encconf_item *item)
{
	static const struct yaml_node empty = { .type = YAML_STR, .text = "" };
	int r;

	r = encconf_check_list(rd, list, "resources", ENCCONF_RESOURCES_MAX - rd->resources);
	if (r < 0)
		return r;
	item->resources = yaml_array(list, sizeof(*item->resources));
	if (!item->resources)
		return -ENOMEM;
	yaml_for_each(n, list)
	{
		struct encconf_resource *res = &item->resources[item->resources_count++];

		/* null in a list of strings is an empty string to the apiserver. */
		r = n->type == YAML_NULL ? 0 : yaml_expect(rd->doc, n, YAML_STR, NULL);
		if (r < 0)
			return r;
		res->line = n->line;
		res->column = n->column;
		r = yaml_dup(n->type == YAML_NULL ? &empty : n, &res->name);
		if (r < 0)
			return r;
		rd->resources++;
	}
	return encconf_resources_check(rd->doc, list, item->resources, item->resources_count);
}

static int read_providers(struct reader *rd, const struct yaml_node *list,
			  struct encconf_item *item)
{
	int r;

	r = encconf_check_list(rd, list, "providers", ENCCONF_PROVIDERS_MAX - rd->providers);
	if (r < 0)
		return r;
	item->providers = yaml_array(list, sizeof(*item->providers));
	if (!item->providers)
		return -ENOMEM;
	yaml_for_each(n, list)
	{
		r = read_provider(rd, n, &item->providers[item->providers_count++]);
		if (r < 0)
			return r;
		rd->providers++;
	}
	return 0;
}

static int read_item(struct reader *rd, const struct yaml_node *node, struct encconf_item *item)
{
	struct raw_item raw = { 0 };
	int r;

	r = yaml_read(rd->doc, node, item_fields, &raw);
	if (r < 0)
		return r;
	item->line = node->line;
	item->column = node->column;
	r = read_resources(rd, raw.resources, item);
	if (r < 0)
		return r;
	return read_providers(rd, raw.providers, item);
}

/* The second pair was in Kubernetes' documentation by mistake, and the apiserver still takes it. */
static int check_type(struct reader *rd, const struct raw_root *raw)
{
	static const struct {
		const char *api_version, *kind;
	} types[] = {
		{ "apiserver.config.k8s.io/v1", "EncryptionConfiguration" },
		{ "v1", "EncryptionConfig" },
	};
	int r;

	r = yaml_expect(rd->doc, raw->api_version, YAML_STR, "apiVersion");
	if (r == 0)
		r = yaml_expect(rd->doc, raw->kind, YAML_STR, "kind");
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].kind, raw->kind->text) != 0)
			continue;
		if (strcmp(types[i].api_version, raw->api_version->text) == 0)
			return 0;
		return yaml_fail(rd->doc, raw->api_version, "\"apiVersion\" of %s must be %s",
				 types[i].kind, types[i].api_version);
	}
	return yaml_fail(rd->doc, raw->kind, "\"kind\" must be EncryptionConfiguration");
}

static int encconf_read_root(struct reader *rd)
{
	struct raw_root raw = { 0 };
	struct encconf *c = rd->c;
	int r;

	r = yaml_read(rd->doc, yaml_doc_root(rd->doc), root_fields, &raw);
	if (r == 0)
		r = check_type(rd, &raw);
	if (r == 0)
		r = encconf_check_list(rd, raw.resources, "resources", ENCCONF_ITEMS_MAX);
	if (r < 0)
		return r;
	c->items = yaml_array(raw.resources, sizeof(*c->items));
	if (!c->items)
		return -ENOMEM;
	yaml_for_each(n, raw.resources)
	{
		r = read_item(rd, n, &c->items[c->items_count++]);
		if (r < 0)
			return r;
	}
	return 0;
}

int encconf_parse(struct span text, const char *file, unsigned int flags, struct encconf **ret,
		  struct yaml_error *err)
{
	_cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
	_cleanup_(encconf_freep) struct encconf *c = NULL;
	struct reader rd = { .file = file, .flags = flags };
	int r;

	r = yaml_doc_parse(text, file, err, &doc);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	rd.doc = doc;
	rd.c = c;
	r = encconf_read_root(&rd);
	if (r == 0)
		r = encconf_resources_masked(c, file, err);
	if (r < 0)
		return r;
	*ret = move_ptr(c);
	return 0;
}

static void item_clear(struct encconf_item *item)
{
	for (size_t i = 0; i < item->resources_count; i++)
		free(item->resources[i].name);
	free(item->resources);
	for (size_t i = 0; i < item->providers_count; i++) {
		struct encconf_provider *p = &item->providers[i];

		for (size_t k = 0; k < p->keys_count; k++)
			free(p->keys[k].name);
		free(p->keys);
		free(p->kms.name);
		free(p->kms.endpoint);
		free(p->kms.path);
	}
	free(item->providers);
}

void encconf_free(struct encconf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->items_count; i++)
		item_clear(&c->items[i]);
	free(c->items);
	secmem_free(c->secrets, SECRETS_SIZE);
	free(c);
}
