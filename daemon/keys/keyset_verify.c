/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second look at the store, beside the keys in use and without touching them: each blob is opened
 * once more, under a description of its own, and let go.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"

struct look {
	const struct keyset *set;
	keyset_verify_fn *each;
	void *ctx;
	size_t n;
	const struct keyset_key *seen[KEKD_KEYS_MAX];
};

static int prove_imported(const struct keyset *set, const struct key_record *rec)
{
	const struct imported_root root = { set->root, set->soft_root };
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = imported_open(&root, rec, bytes);
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

static int prove(const struct keyset *set, const struct key_record *rec)
{
	struct softkey *soft;
	int r;

	if (rec->state == KEY_DESTROYED)
		return 0;
	if (rec->kind == KEY_KIND_IMPORTED)
		return prove_imported(set, rec);
	if (rec->kind != set->kind)
		return -EOPNOTSUPP;
	if (set->root)
		return kek_prove(set->root, rec);
	r = softkey_load(set->soft_root, rec, &soft);
	if (r == 0)
		softkey_free(soft);
	return r;
}

/* A record has one text form only, so equal texts are equal records. */
static bool same_record(const struct key_record *a, const struct key_record *b)
{
	char x[KEY_RECORD_TEXT_MAX], y[KEY_RECORD_TEXT_MAX];
	size_t x_len, y_len;

	return key_record_format(a, x, sizeof(x), &x_len) == 0 &&
	       key_record_format(b, y, sizeof(y), &y_len) == 0 && x_len == y_len &&
	       memcmp(x, y, x_len) == 0;
}

/* Files that are no records, or of keys made since, are the load's business. */
static int look_at(void *ctx, const struct key_record *rec, int r _unused_,
		   const char *file _unused_)
{
	struct look *look = ctx;
	const struct keyset_key *key = rec ? keyset_find(look->set, rec->id) : NULL;

	if (!key)
		return 0;
	look->seen[look->n++] = key;
	if (key->why == -ESTALE || !same_record(rec, &key->rec))
		look->each(look->ctx, key, -ESTALE);
	else
		look->each(look->ctx, key, prove(look->set, rec));
	return 0;
}

static bool was_seen(const struct look *look, const struct keyset_key *key)
{
	for (size_t i = 0; i < look->n; i++)
		if (look->seen[i] == key)
			return true;
	return false;
}

int keyset_verify(const struct keyset *set, keyset_verify_fn *each, void *ctx)
{
	struct look look = { .set = set, .each = each, .ctx = ctx };
	int r;

	r = keyset_is_sealed(set) ? -EKEYEXPIRED : keyset_manifest_verify(set);
	if (r == 0)
		r = key_store_each(set->store, look_at, &look);
	if (r < 0)
		return r;
	for (const struct list *n = set->keys.next; n != &set->keys; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (!was_seen(&look, key))
			each(ctx, key, -ENOENT);
	}
	return 0;
}
