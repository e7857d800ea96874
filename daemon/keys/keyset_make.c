/* SPDX-License-Identifier: Apache-2.0 */
/* How a key comes into the set: made here, taken in from a configuration, or from another node. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/random.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"

/* Names that kekd makes are plain, so that a label needs no quoting anywhere. */
static int check_name(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				  "0123456789._-");

	return len >= 1 && len <= KEKD_KEY_NAME_MAX && name[len] == '\0' ? 0 : -EINVAL;
}

static int fresh_record(const struct keyset *set, const char *name, enum key_state state,
			struct key_record *ret)
{
	char hex[KEKD_KEY_ID_HEX + 1];
	struct key_record rec = { .state = state };
	int r;

	r = random_bytes(rec.id, sizeof(rec.id));
	if (r == 0 && state == KEY_ACTIVE)
		r = keyset_next_activation(set, name, &rec.activation);
	if (r < 0)
		return r;
	rec.created = time(NULL);
	key_hex(rec.id, sizeof(rec.id), hex);
	snprintf(rec.name, sizeof(rec.name), "%s", name);
	snprintf(rec.label, sizeof(rec.label), "%s.%s", name, hex);
	*ret = rec;
	return 0;
}

static bool has_usable(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys)
		if (keyset_entry(n)->why == 0 && strcmp(keyset_entry(n)->rec.name, name) == 0)
			return true;
	return false;
}

static bool is_secretbox(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys)
		if (keyset_entry(n)->rec.secretbox && strcmp(keyset_entry(n)->rec.name, name) == 0)
			return true;
	return false;
}

/* The state that a new key of @name gets when @asked was asked for. */
static int choose_state(const struct keyset *set, const char *name, enum key_state asked,
			enum key_state *ret)
{
	struct keyset_key *key;
	int r;

	if (asked != KEY_STAGED && asked != KEY_ACTIVE)
		return -EINVAL;
	if (is_secretbox(set, name))
		return -EOPNOTSUPP;
	*ret = has_usable(set, name) ? asked : KEY_ACTIVE;
	if (*ret == KEY_STAGED)
		return 0;
	r = keyset_find_active(set, name, &key);
	if (has_usable(set, name) && (r < 0 || (key && key->why == 0)))
		return -EEXIST;
	return keyset_may_miss_active(set, name) ? -ESTALE : 0;
}

/* Durable first, then in the set, which owns @key from then on; on failure the caller does. */
static int save_new(struct keyset *set, struct keyset_key *key)
{
	const struct key_record *recs[] = { &key->rec };
	int r = keyset_save(set, recs, 1);

	if (r < 0)
		return r;
	list_add_tail(&set->keys, &key->link);
	set->n++;
	return 0;
}

int keyset_create(struct keyset *set, const char *name, enum key_state state,
		  const struct keyset_key **ret)
{
	_cleanup_(keyset_key_freep) struct keyset_key *key = NULL;
	int r;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	r = check_name(name);
	if (r == 0)
		r = choose_state(set, name, state, &state);
	if (r == 0 && set->n >= KEKD_KEYS_MAX)
		r = -ENOBUFS;
	if (r == 0)
		r = keyset_key_new(&key);
	if (r == 0)
		r = fresh_record(set, name, state, &key->rec);
	if (r == 0)
		r = keyset_key_generate(set, key);
	if (r == 0)
		r = save_new(set, key);
	if (r < 0)
		return r;
	if (state == KEY_ACTIVE)
		keyset_settle(set);
	*ret = move_ptr(key);
	return 0;
}

int keyset_add(struct keyset *set, const struct key_record *rec, const struct keyset_key **ret)
{
	_cleanup_(keyset_key_freep) struct keyset_key *key = NULL;
	int r;

	if (set->n >= KEKD_KEYS_MAX)
		return -ENOBUFS;
	r = keyset_key_new(&key);
	if (r < 0)
		return r;
	key->rec = *rec;
	if (!keyset_state_opens(rec->state))
		key->rec.state = KEY_DECRYPT_ONLY; /* it must open all the same */
	r = keyset_key_open(set, key);
	key->rec = *rec;
	if (r == 0)
		r = save_new(set, key);
	if (r < 0)
		return r;
	if (!keyset_state_opens(rec->state))
		keyset_key_drop(key);
	*ret = move_ptr(key);
	return 0;
}

static bool name_is_taken(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys)
		if (strcmp(keyset_entry(n)->rec.name, name) == 0 &&
		    keyset_entry(n)->rec.state != KEY_DESTROYED)
			return true;
	return false;
}

/* The key that @want and @bytes describe, if it was imported before under any name. */
static struct keyset_key *find_imported(const struct keyset *set, const struct key_record *want,
					struct span bytes)
{
	list_for_each (n, &set->keys) {
		const struct key_record *rec = &keyset_entry(n)->rec;

		if (rec->kind == KEY_KIND_IMPORTED && keyset_entry(n)->why == 0 &&
		    rec->secretbox == want->secretbox && strcmp(rec->label, want->label) == 0 &&
		    imported_is(rec, bytes))
			return keyset_entry(n);
	}
	return NULL;
}

/* Imported keys may share a label among themselves, never one that a key of ours writes with. */
static bool label_is_generated(const struct keyset *set, const char *label)
{
	list_for_each (n, &set->keys)
		if (keyset_entry(n)->rec.kind != KEY_KIND_IMPORTED &&
		    strcmp(keyset_entry(n)->rec.label, label) == 0)
			return true;
	return false;
}

int keyset_import(struct keyset *set, const struct key_record *want, struct span bytes,
		  const struct keyset_key **ret)
{
	const struct imported_root root = { set->root, set->soft_root };
	_cleanup_(keyset_key_freep) struct keyset_key *key = NULL;
	struct keyset_key *same = find_imported(set, want, bytes);
	int r;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	if (same) {
		*ret = same;
		return 0;
	}
	if (name_is_taken(set, want->name) || label_is_generated(set, want->label))
		return -EEXIST;
	if (keyset_may_miss_active(set, want->name))
		return -ESTALE; /* it may be this very key whose file is missing */
	if (set->n >= KEKD_KEYS_MAX)
		return -ENOBUFS;
	r = keyset_key_new(&key);
	if (r == 0)
		r = fresh_record(set, want->name, KEY_ACTIVE, &key->rec);
	if (r < 0)
		return r;
	memcpy(key->rec.label, want->label, sizeof(key->rec.label));
	key->rec.kind = KEY_KIND_IMPORTED;
	key->rec.key_bytes = want->key_bytes;
	key->rec.secretbox = want->secretbox;
	r = imported_seal(&root, &key->rec, bytes);
	if (r == 0)
		r = keyset_key_place(set, key, bytes.data);
	if (r == 0)
		r = save_new(set, key);
	if (r < 0)
		return r;
	*ret = move_ptr(key);
	return 0;
}
