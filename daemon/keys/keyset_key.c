/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key of the set: made, loaded, let go. The kinds of key differ in four calls, which stand in one
 * table.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset_private.h"
#include "daemon/sys/afalg.h"

static int encrypted_generate(const struct keyset *set, struct keyset_key *key)
{
	return kek_generate(set->root, &key->rec, &key->kek);
}

static int encrypted_load(const struct keyset *set, struct keyset_key *key)
{
	return kek_load(set->root, &key->rec, &key->kek);
}

static int encrypted_alive(const struct keyset_key *key)
{
	return kek_alive(key->kek);
}

static void encrypted_free(struct keyset_key *key)
{
	kek_free(move_ptr(key->kek));
}

static int imported_generate(const struct keyset *set _unused_, struct keyset_key *key _unused_)
{
	return -EOPNOTSUPP;
}

/* The bytes in locked memory, for as long as it takes to bring them to where they belong. */
int keyset_key_place(const struct keyset *set, struct keyset_key *key, const uint8_t *bytes)
{
	struct span span = span_of(bytes, key->rec.info.key_bytes);

	key->held = root_key_is_in_memory(set->root) && !key->rec.info.secretbox;
	if (key->held)
		return 0;
	if (!key->rec.info.secretbox)
		return kek_from_bytes(set->root, &key->rec, span, &key->kek);
	return softkey_from_bytes(span, &key->soft);
}

static int sealed_generate(const struct keyset *set, struct keyset_key *key)
{
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	key->rec.info.kind = KEY_KIND_SEALED;
	key->rec.info.key_bytes = KEKD_AES_KEY_MAX;
	r = random_bytes(bytes, KEKD_AES_KEY_MAX);
	if (r == 0)
		r = imported_seal(set->root, &key->rec, span_of(bytes, KEKD_AES_KEY_MAX));
	if (r == 0)
		r = keyset_key_place(set, key, bytes);
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

static int imported_load(const struct keyset *set, struct keyset_key *key)
{
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = imported_open(set->root, &key->rec, bytes);
	if (r == 0)
		r = keyset_key_place(set, key, bytes);
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

int keyset_key_bytes(const struct keyset *set, const struct keyset_key *key,
		     uint8_t ret[static KEKD_AES_KEY_MAX])
{

	return key->held ? imported_open(set->root, &key->rec, ret) : -EOPNOTSUPP;
}

static int imported_alive(const struct keyset_key *key)
{
	return key->kek ? kek_alive(key->kek) : 0;
}

static void imported_free(struct keyset_key *key)
{
	kek_free(move_ptr(key->kek));
	softkey_free(move_ptr(key->soft));
	key->held = false;
}

static const struct kind {
	int (*generate)(const struct keyset *set, struct keyset_key *key);
	int (*load)(const struct keyset *set, struct keyset_key *key);
	int (*alive)(const struct keyset_key *key);
	void (*free)(struct keyset_key *key);
} kinds[] = {
	[KEY_KIND_ENCRYPTED] = { encrypted_generate, encrypted_load, encrypted_alive,
				 encrypted_free },
	[KEY_KIND_IMPORTED] = { imported_generate, imported_load, imported_alive, imported_free },
	[KEY_KIND_SEALED] = { sealed_generate, imported_load, imported_alive, imported_free },
};
_Static_assert(ARRAY_SIZE(kinds) == KEY_KINDS, "a row for each kind");

int keyset_key_generate(const struct keyset *set, enum key_kind kind, struct keyset_key *key)
{
	return kinds[kind].generate(set, key);
}

int keyset_key_alive(const struct keyset_key *key)
{
	return kinds[key->rec.info.kind].alive(key);
}

void keyset_key_free(struct keyset_key *key)
{
	kinds[key->rec.info.kind].free(key);
	free(key);
}

int keyset_key_new(struct keyset_key **ret)
{
	struct keyset_key *key = calloc(1, sizeof(*key));

	if (!key)
		return -ENOMEM;
	list_init(&key->link);
	*ret = key;
	return 0;
}

/* What an operator should know about a key that stays unusable. NULL: it is so by intention. */
static const char *explain(const struct keyset *set, const struct keyset_key *key)
{
	if (!key_state_opens(key->rec.info.state))
		return NULL;
	switch (key->why) {
	case -EBADMSG:
		return "its blob is not the key of this id, name and label: bring it back with `kekctl restore FILE`";
	case -EINVAL:
		return "its blob is damaged: bring it back with `kekctl restore FILE`";
	case -EPROTOTYPE:
		return "it was made under a root key of the other type: the `rootKey.source` that the keyset "
		       "was made with, trusted or not, opens it, and `kekctl root rotate` leads from one to "
		       "the other";
	case -EEXIST:
		return "another key has the same label";
	case -EOPNOTSUPP:
		if (key->rec.info.kind == set->kind)
			return "no key of its size can be held";
		if (set->kind == KEY_KIND_SEALED && key->rec.info.kind == KEY_KIND_ENCRYPTED)
			return "the kernel that made it alone can open it, by its serial: it needs "
			       "`custody: serial`. A cluster with a member like this one makes its "
			       "keys with `kekctl key rotate --portable`";
		return "no key of its kind can be held";
	default:
		return key->rec.info.kind == KEY_KIND_ENCRYPTED ? afalg_cure(key->why)
								: errno_text(key->why);
	}
}

static int key_open(const struct keyset *set, struct keyset_key *key)
{
	if (!key_state_opens(key->rec.info.state))
		return -EKEYREJECTED;
	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	if (key->rec.info.kind == KEY_KIND_IMPORTED)
		return kinds[key->rec.info.kind].load(set,
						      key); /* old configurations repeat names */
	if (key->rec.info.kind != set->kind && key->rec.info.kind != KEY_KIND_SEALED)
		return -EOPNOTSUPP;
	list_for_each (n, &set->keys)
		if (keyset_entry(n) != key &&
		    strcmp(keyset_entry(n)->rec.info.label, key->rec.info.label) == 0)
			return -EEXIST;
	return kinds[key->rec.info.kind].load(set, key);
}

void keyset_key_load(const struct keyset *set, struct keyset_key *key)
{
	const char *text;

	key->why = key_open(set, key);
	text = key->why < 0 && !keyset_is_sealed(set) ? explain(set, key) : NULL;
	if (text)
		log_warning("key %s cannot be used: %s", key->rec.info.label, text);
}

void keyset_key_drop(struct keyset_key *key)
{
	kinds[key->rec.info.kind].free(key);
	key->why = -EKEYREJECTED;
}
