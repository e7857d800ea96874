/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EncryptionConfiguration, read with and without secrets. Whatever the bytes, there is a
 * result that keeps its promises, or an error with a message. Seeds: tests/fuzz/corpus/encconf and
 * the files under tests/data/encconf.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/chain/encconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool cond)
{
	if (!cond)
		abort();
}

static void check_keys(const struct encconf_provider *p, unsigned int flags)
{
	require(p->keys_count >= 1);
	for (size_t i = 0; i < p->keys_count; i++) {
		const struct encconf_key *k = &p->keys[i];

		require(k->name[0] && strlen(k->name) <= ENCCONF_NAME_MAX);
		require((k->secret != NULL) == (flags == ENCCONF_ALLOW_SECRETS));
		require(!k->secret || k->secret_len == 16 || k->secret_len == 24 ||
			k->secret_len == 32);
	}
}

static void check_kms(const struct encconf_kms *kms)
{
	require(kms->version == 1 || kms->version == 2);
	require((kms->version == 1) == (kms->cachesize != 0));
	require(kms->name[0] && (kms->version == 1 || !strchr(kms->name, ':')));
	require(kms->path[0] == (kms->abstract ? '@' : '/'));
	require(kms->timeout > 0);
}

static void check_item(const struct encconf_item *item, unsigned int flags)
{
	require(item->resources_count >= 1 && item->providers_count >= 1);
	for (size_t i = 0; i < item->providers_count; i++) {
		const struct encconf_provider *p = &item->providers[i];

		require(p->line > 0 && p->column > 0);
		if (p->kind == ENCCONF_KMS)
			check_kms(&p->kms);
		else if (p->kind != ENCCONF_IDENTITY)
			check_keys(p, flags);
	}
}

static int parse(struct span text, unsigned int flags)
{
	struct yaml_error err = { 0 };
	struct encconf *c = NULL;
	int r;

	r = encconf_parse(text, "f", flags, &c, &err);
	require(r == 0 || r == -EINVAL);
	require((r == 0) == (c != NULL) && (r == 0) == (err.text[0] == 0));
	for (size_t i = 0; c && i < c->items_count; i++)
		check_item(&c->items[i], flags);
	require(!c || c->items_count > 0);
	encconf_free(c);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(span_of(data, size), 0);
	parse(span_of(data, size), ENCCONF_ALLOW_SECRETS);
	return 0;
}
