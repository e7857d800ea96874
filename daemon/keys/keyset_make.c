/* SPDX-License-Identifier: Apache-2.0 */
/* How a key comes into the set: made here, or taken in from a configuration. Both are staged first. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/random.h"
#include "daemon/base/log.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"
#include "daemon/sys/afalg.h"

static int fresh_record(const char *name, struct key_record *ret)
{
	char hex[KEKD_KEY_ID_HEX + 1];
	struct key_record rec = { .info.state = KEY_STAGED };
	int r;

	r = random_bytes(rec.info.id, sizeof(rec.info.id));
	if (r < 0)
		return r;
	rec.info.created = time(NULL);
	key_hex(rec.info.id, sizeof(rec.info.id), hex);
	snprintf(rec.info.name, sizeof(rec.info.name), "%s", name);
	snprintf(rec.info.label, sizeof(rec.info.label), "%.*s.%s", KEKD_KEY_NAME_MAX, name, hex);
	*ret = rec;
	return 0;
}

static int refuse_make(struct keydoc_refusal *why, int r)
{
	return keydoc_refuse(why, r, "the key cannot be made: %s. %s", errno_text(r),
			     afalg_cure(r));
}

/* Durable first, then in the set, which owns the key from then on; on failure the caller does. */
static int stage(struct keyset *set, struct keyset_key **key, const struct keydoc_heard *heard,
		 struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
		 const struct keyset_key **ret)
{
	const struct keyset_key *made = *key;
	int r;

	r = keyset_stage_made(set, key, heard, why, changed, ctx);
	if (r == 0)
		*ret = made;
	return r;
}

static int stage_kind(struct keyset *set, const char *name, enum key_kind kind,
		      const struct keydoc_heard *heard, struct keydoc_refusal *why,
		      keyset_changed_fn *changed, void *ctx, const struct keyset_key **ret)
{
	_cleanup_(keyset_key_freep) struct keyset_key *key = NULL;
	const struct keyset_key *staged = keyset_staged(set, name);
	size_t len;
	int r;

	if (!set->doc)
		return keydoc_refuse(why, set->why, "%s", keyset_why_text(set));
	/* Names that kekd makes are plain, so that a label needs no quoting anywhere. */
	len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
	if (len < 1 || len > KEKD_KEY_NAME_MAX || name[len] != '\0')
		return keydoc_refuse(why, -EINVAL,
				     "a key's name is 1 to %d letters, digits, '.', '_' and '-'",
				     KEKD_KEY_NAME_MAX);
	for (const struct list *n = set->keys.next; n != &set->keys; n = n->next) {
		const struct key_record *rec = &list_entry(n, struct keyset_key, link)->rec;

		if (rec->info.secretbox && strcmp(rec->info.name, name) == 0)
			return keydoc_refuse(why, -EOPNOTSUPP,
					     "keys for secretbox are imported, not made");
	}
	if (staged) {
		*ret = staged;
		return keydoc_refuse(why, -EALREADY, "key %s is staged already",
				     staged->rec.info.label);
	}
	r = keyset_key_new(&key);
	if (r == 0)
		r = fresh_record(name, &key->rec);
	if (r == 0)
		r = keyset_key_generate(set, kind, key);
	if (r < 0)
		return refuse_make(why, r);
	return stage(set, &key, heard, why, changed, ctx, ret);
}

int keyset_stage(struct keyset *set, const char *name, const struct keydoc_heard *heard,
		 struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
		 const struct keyset_key **ret)
{
	return stage_kind(set, name, set->kind, heard, why, changed, ctx, ret);
}

int keyset_stage_portable(struct keyset *set, const char *name, const struct keydoc_heard *heard,
			  struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
			  const struct keyset_key **ret)
{
	int r = stage_kind(set, name, KEY_KIND_SEALED, heard, why, changed, ctx, ret);

	if (r == -EALREADY && (*ret)->rec.info.kind != KEY_KIND_SEALED)
		return keydoc_refuse(
			why, -EEXIST,
			"key %s is staged already and is not portable: give it up with "
			"`kekctl key rotate --abort`",
			(*ret)->rec.info.label);
	return r;
}

/* The key that @want and @bytes describe, if it was imported before under any name. */
static struct keyset_key *find_imported(struct keyset *set, const struct key_record *want,
					struct span bytes)
{
	list_for_each (n, &set->keys) {
		const struct key_record *rec = &keyset_entry(n)->rec;

		if (rec->info.kind == KEY_KIND_IMPORTED && keyset_entry(n)->why == 0 &&
		    rec->info.secretbox == want->info.secretbox &&
		    strcmp(rec->info.label, want->info.label) == 0 && imported_is(rec, bytes))
			return keyset_entry(n);
	}
	return NULL;
}

/* Imported keys may share a label among themselves, never one that a key of ours writes with. */
static bool label_is_generated(const struct keyset *set, const char *label)
{
	for (size_t i = 0; i < set->doc->n_keys; i++)
		if (set->doc->keys[i].info.kind != KEY_KIND_IMPORTED &&
		    strcmp(set->doc->keys[i].info.label, label) == 0)
			return true;
	return false;
}

static int import_make(struct keyset *set, const struct key_record *want, struct span bytes,
		       struct keyset_key *key)
{
	int r;

	r = fresh_record(want->info.name, &key->rec);
	if (r < 0)
		return r;
	memcpy(key->rec.info.label, want->info.label, sizeof(key->rec.info.label));
	key->rec.info.kind = KEY_KIND_IMPORTED;
	key->rec.info.key_bytes = want->info.key_bytes;
	key->rec.info.secretbox = want->info.secretbox;
	r = imported_seal(set->root, &key->rec, bytes);
	return r < 0 ? r : keyset_key_place(set, key, bytes.data);
}

int keyset_import(struct keyset *set, const struct key_record *want, struct span bytes,
		  const struct keydoc_heard *heard, struct keydoc_refusal *why,
		  keyset_changed_fn *changed, void *ctx, const struct keyset_key **ret)
{
	_cleanup_(keyset_key_freep) struct keyset_key *key = NULL;
	struct keyset_key *same;
	int r;

	if (!set->doc)
		return keydoc_refuse(why, set->why, "%s", keyset_why_text(set));
	same = find_imported(set, want, bytes);
	if (same) {
		*ret = same;
		return keydoc_refuse(why, -EALREADY, "key %s has been imported before",
				     same->rec.info.label);
	}
	if (keydoc_has_name(set->doc, want->info.name) || label_is_generated(set, want->info.label))
		return keydoc_refuse(why, -EEXIST, "another key has the name \"%s\"",
				     want->info.name);
	r = keyset_key_new(&key);
	if (r == 0)
		r = import_make(set, want, bytes, key);
	if (r == -EINVAL)
		return keydoc_refuse(
			why, r,
			"an imported key has 16, 24 or 32 bytes and a name that neither begins "
			"nor ends with a blank");
	if (r < 0)
		return refuse_make(why, r);
	return stage(set, &key, heard, why, changed, ctx, ret);
}
