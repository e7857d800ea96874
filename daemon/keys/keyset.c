/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most KEKD_KEYS_MAX keys, looked up a few times a minute by the keeper: one list is enough.
 *
 * The two kinds of key differ in four calls, which stand in one table.
 */
#include "daemon/keys/keyset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/sys/afalg.h"

struct keyset {
	struct list keys;
	size_t n, unreadable;
	struct key_store *store;
	const struct root_key *root;
	const struct soft_root *soft_root;
	enum key_kind kind;
};

static const struct state {
	unsigned int next; /* bits of states that may follow */
	bool opens;
} states[] = {
	/* Staged first on every node, so that no node meets a value it cannot open. */
	[KEY_STAGED] = { 1U << KEY_ACTIVE | 1U << KEY_RETIRED, true },
	[KEY_ACTIVE] = { 1U << KEY_DECRYPT_ONLY, true },
	/* Back to active is a rollback of a rotation; it takes a new activation number. */
	[KEY_DECRYPT_ONLY] = { 1U << KEY_ACTIVE | 1U << KEY_RETIRED, true },
	/* Retired is destroyed on trial: values that need the key show up, and it can return. */
	[KEY_RETIRED] = { 1U << KEY_DECRYPT_ONLY | 1U << KEY_DESTROYED, false },
	[KEY_DESTROYED] = { 0, false },
};
_Static_assert(ARRAY_SIZE(states) == KEY_STATES, "a row for each state");

bool keyset_step_is_legal(enum key_state from, enum key_state to)
{
	return from < KEY_STATES && to < KEY_STATES && (states[from].next & 1U << to);
}

bool keyset_state_opens(enum key_state s)
{
	return s < KEY_STATES && states[s].opens;
}

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

static int openssl_generate(const struct keyset *set, struct keyset_key *key)
{
	return softkey_generate(set->soft_root, &key->rec, &key->soft);
}

static int openssl_load(const struct keyset *set, struct keyset_key *key)
{
	return softkey_load(set->soft_root, &key->rec, &key->soft);
}

/* It is ours alone; nobody can take it away. */
static int openssl_alive(const struct keyset_key *key _unused_)
{
	return 0;
}

static void openssl_free(struct keyset_key *key)
{
	softkey_free(move_ptr(key->soft));
}

static int imported_generate(const struct keyset *set _unused_, struct keyset_key *key _unused_)
{
	return -EOPNOTSUPP;
}

/* The bytes in locked memory, for as long as it takes to bring them to where they belong. */
static int imported_place(const struct keyset *set, struct keyset_key *key, const uint8_t *bytes)
{
	struct span span = span_of(bytes, key->rec.key_bytes);

	if (set->root && !key->rec.secretbox)
		return kek_from_bytes(set->root, &key->rec, span, &key->kek);
	return softkey_from_bytes(span, &key->soft);
}

static int imported_load(const struct keyset *set, struct keyset_key *key)
{
	const struct imported_root root = { set->root, set->soft_root };
	uint8_t *bytes = secmem_alloc(KEKD_AES_KEY_MAX);
	int r;

	if (!bytes)
		return -ENOMEM;
	r = imported_open(&root, &key->rec, bytes);
	if (r == 0)
		r = imported_place(set, key, bytes);
	secmem_free(bytes, KEKD_AES_KEY_MAX);
	return r;
}

static int imported_alive(const struct keyset_key *key)
{
	return key->kek ? kek_alive(key->kek) : 0;
}

static void imported_free(struct keyset_key *key)
{
	kek_free(move_ptr(key->kek));
	softkey_free(move_ptr(key->soft));
}

static const struct kind {
	int (*generate)(const struct keyset *set, struct keyset_key *key);
	int (*load)(const struct keyset *set, struct keyset_key *key);
	int (*alive)(const struct keyset_key *key);
	void (*free)(struct keyset_key *key);
} kinds[] = {
	[KEY_KIND_ENCRYPTED] = { encrypted_generate, encrypted_load, encrypted_alive,
				 encrypted_free },
	[KEY_KIND_OPENSSL] = { openssl_generate, openssl_load, openssl_alive, openssl_free },
	[KEY_KIND_IMPORTED] = { imported_generate, imported_load, imported_alive, imported_free },
};
_Static_assert(ARRAY_SIZE(kinds) == KEY_KINDS, "a row for each kind");

static struct keyset_key *entry(struct list *link)
{
	return list_entry(link, struct keyset_key, link);
}

static void key_free(struct keyset_key *key)
{
	kinds[key->rec.kind].free(key);
	free(key);
}
DEFINE_CLEANUP(struct keyset_key *, key_free);

static int key_new(struct keyset_key **ret)
{
	struct keyset_key *key = calloc(1, sizeof(*key));

	if (!key)
		return -ENOMEM;
	list_init(&key->link);
	*ret = key;
	return 0;
}

int keyset_new(struct key_store *store, const struct root_key *root,
	       const struct soft_root *soft_root, struct keyset **ret)
{
	struct keyset *set;

	if (!root == !soft_root)
		return -EINVAL;
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	list_init(&set->keys);
	set->store = store;
	set->root = root;
	set->soft_root = soft_root;
	set->kind = root ? KEY_KIND_ENCRYPTED : KEY_KIND_OPENSSL;
	*ret = set;
	return 0;
}

void keyset_free(struct keyset *set)
{
	if (!set)
		return;
	list_for_each_safe (n, &set->keys) {
		list_del(n);
		key_free(entry(n));
	}
	free(set);
}

static bool label_is_taken(const struct keyset *set, const char *label)
{
	list_for_each (n, &set->keys)
		if (strcmp(entry(n)->rec.label, label) == 0)
			return true;
	return false;
}

/* What an operator should know about a key that stays unusable. NULL: it is so by intention. */
static const char *explain(const struct keyset *set, const struct keyset_key *key)
{
	if (!keyset_state_opens(key->rec.state))
		return NULL;
	switch (key->why) {
	case -EKEYREJECTED:
		return "sealed by another root key (an ephemeral one ends with its process): give "
		       "kekd that root, or make a new key with `kekctl key create`";
	case -EBADMSG:
		return "its blob is not the key of this id, name and label: restore the file";
	case -EINVAL:
		return "its blob is damaged: restore the file";
	case -EEXIST:
		return "another key has the same label";
	case -EOPNOTSUPP:
		return key->rec.kind == set->kind ? "this backend cannot hold a key of its size"
						  : "made for the other backend";
	default:
		return key->rec.kind == KEY_KIND_ENCRYPTED ? afalg_cure(key->why)
							   : errno_text(key->why);
	}
}

static int load_key(const struct keyset *set, struct keyset_key *key)
{
	if (!keyset_state_opens(key->rec.state))
		return -EKEYREJECTED;
	if (key->rec.kind == KEY_KIND_IMPORTED)
		return kinds[key->rec.kind].load(set, key); /* old configurations repeat names */
	if (key->rec.kind != set->kind)
		return -EOPNOTSUPP;
	if (label_is_taken(set, key->rec.label))
		return -EEXIST;
	return kinds[key->rec.kind].load(set, key);
}

static int load_one(void *ctx, const struct key_record *rec, int r _unused_,
		    const char *file _unused_)
{
	struct keyset *set = ctx;
	struct keyset_key *key;
	const char *text;

	if (!rec) {
		set->unreadable++;
		return 0;
	}
	r = key_new(&key);
	if (r < 0)
		return r;
	key->rec = *rec;
	key->why = load_key(set, key);
	text = key->why < 0 ? explain(set, key) : NULL;
	if (text)
		log_warning("key %s cannot be used: %s", rec->label, text);
	list_add_tail(&set->keys, &key->link);
	set->n++;
	return 0;
}

/* The active key of @name, NULL if none; -EKEYREJECTED if there are two that could be used. */
static int find_active(const struct keyset *set, const char *name, struct keyset_key **ret)
{
	struct keyset_key *found = NULL;

	list_for_each (n, &set->keys) {
		struct keyset_key *key = entry(n);

		if (key->rec.state != KEY_ACTIVE || strcmp(key->rec.name, name) != 0)
			continue;
		if (found && found->why == 0 && key->why == 0)
			return -EKEYREJECTED;
		if (!found || found->why < 0)
			found = key;
	}
	*ret = found;
	return 0;
}

static void report_conflicts(const struct keyset *set)
{
	struct keyset_key *key;

	list_for_each (n, &set->keys)
		if (entry(n)->rec.state == KEY_ACTIVE && entry(n)->why == 0 &&
		    find_active(set, entry(n)->rec.name, &key) < 0)
			log_error("key %s is one of several active ones of its name: values are "
				  "read, none is written, until the store holds one",
				  entry(n)->rec.label);
}

int keyset_load(struct keyset *set)
{
	int r;

	set->unreadable = 0;
	r = key_store_each(set->store, load_one, set);
	if (r < 0)
		return r;
	report_conflicts(set);
	return 0;
}

size_t keyset_unreadable(const struct keyset *set)
{
	return set->unreadable;
}

int keyset_active(const struct keyset *set, const char *name, const struct keyset_key **ret)
{
	struct keyset_key *key;
	int r = find_active(set, name, &key);

	if (r < 0)
		return r;
	if (!key)
		return -ENOKEY;
	if (key->why < 0)
		return key->why;
	*ret = key;
	return 0;
}

const struct keyset_key *keyset_find(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID])
{
	list_for_each (n, &set->keys)
		if (memcmp(entry(n)->rec.id, id, KEKD_KEY_ID) == 0)
			return entry(n);
	return NULL;
}

const struct list *keyset_list(const struct keyset *set)
{
	return &set->keys;
}

/* Names that kekd makes are plain, so that a label needs no quoting anywhere. */
static int check_name(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				  "0123456789._-");

	return len >= 1 && len <= KEKD_KEY_NAME_MAX && name[len] == '\0' ? 0 : -EINVAL;
}

static int fresh_record(const char *name, enum key_state state, struct key_record *ret)
{
	char hex[KEKD_KEY_ID_HEX + 1];
	struct key_record rec = { .state = state, .activation = state == KEY_ACTIVE };

	if (getrandom(rec.id, sizeof(rec.id), 0) != (ssize_t)sizeof(rec.id))
		return -EIO;
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
		if (entry(n)->why == 0 && strcmp(entry(n)->rec.name, name) == 0)
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
	if (!has_usable(set, name)) {
		*ret = KEY_ACTIVE;
		return 0;
	}
	r = find_active(set, name, &key);
	if (asked == KEY_ACTIVE && (r < 0 || (key && key->why == 0)))
		return -EEXIST;
	*ret = asked;
	return 0;
}

/* Give up the claim of active keys that nobody can use. */
static int demote_unusable(struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = entry(n);
		struct key_record rec = key->rec;
		int r;

		if (rec.state != KEY_ACTIVE || key->why == 0 || strcmp(rec.name, name) != 0)
			continue;
		rec.state = KEY_DECRYPT_ONLY;
		r = key_store_put(set->store, &rec);
		if (r < 0)
			return r;
		key->rec = rec;
	}
	return 0;
}

int keyset_create(struct keyset *set, const char *name, enum key_state state,
		  const struct keyset_key **ret)
{
	_cleanup_(key_freep) struct keyset_key *key = NULL;
	int r;

	r = check_name(name);
	if (r == 0)
		r = choose_state(set, name, state, &state);
	if (r == 0 && set->n >= KEKD_KEYS_MAX)
		r = -ENOBUFS;
	if (r == 0)
		r = key_new(&key);
	if (r == 0)
		r = fresh_record(name, state, &key->rec);
	if (r == 0)
		r = kinds[set->kind].generate(set, key);
	if (r == 0 && state == KEY_ACTIVE)
		r = demote_unusable(set, name);
	if (r == 0)
		r = key_store_put(set->store, &key->rec);
	if (r < 0)
		return r;
	list_add_tail(&set->keys, &key->link);
	set->n++;
	*ret = move_ptr(key);
	return 0;
}

static bool name_is_taken(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys)
		if (strcmp(entry(n)->rec.name, name) == 0 && entry(n)->rec.state != KEY_DESTROYED)
			return true;
	return false;
}

/* The key that @want and @bytes describe, if it was imported before under any name. */
static struct keyset_key *find_imported(const struct keyset *set, const struct key_record *want,
					struct span bytes)
{
	list_for_each (n, &set->keys) {
		const struct key_record *rec = &entry(n)->rec;

		if (rec->kind == KEY_KIND_IMPORTED && entry(n)->why == 0 &&
		    rec->secretbox == want->secretbox && strcmp(rec->label, want->label) == 0 &&
		    imported_is(rec, bytes))
			return entry(n);
	}
	return NULL;
}

/* Imported keys may share a label among themselves, never one that a key of ours writes with. */
static bool label_is_generated(const struct keyset *set, const char *label)
{
	list_for_each (n, &set->keys)
		if (entry(n)->rec.kind != KEY_KIND_IMPORTED &&
		    strcmp(entry(n)->rec.label, label) == 0)
			return true;
	return false;
}

int keyset_import(struct keyset *set, const struct key_record *want, struct span bytes,
		  const struct keyset_key **ret)
{
	const struct imported_root root = { set->root, set->soft_root };
	_cleanup_(key_freep) struct keyset_key *key = NULL;
	struct keyset_key *same = find_imported(set, want, bytes);
	int r;

	if (same) {
		*ret = same;
		return 0;
	}
	if (name_is_taken(set, want->name) || label_is_generated(set, want->label))
		return -EEXIST;
	if (set->n >= KEKD_KEYS_MAX)
		return -ENOBUFS;
	r = key_new(&key);
	if (r == 0)
		r = fresh_record(want->name, KEY_ACTIVE, &key->rec);
	if (r < 0)
		return r;
	memcpy(key->rec.label, want->label, sizeof(key->rec.label));
	key->rec.kind = KEY_KIND_IMPORTED;
	key->rec.key_bytes = want->key_bytes;
	key->rec.secretbox = want->secretbox;
	r = imported_seal(&root, &key->rec, bytes);
	if (r == 0)
		r = imported_place(set, key, bytes.data);
	if (r == 0)
		r = key_store_put(set->store, &key->rec);
	if (r < 0)
		return r;
	list_add_tail(&set->keys, &key->link);
	set->n++;
	*ret = move_ptr(key);
	return 0;
}

void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = entry(n);

		if (key->why < 0)
			continue;
		key->why = kinds[key->rec.kind].alive(key);
		if (key->why == 0)
			continue;
		kinds[key->rec.kind].free(key);
		log_error("key %s was withdrawn: %s", key->rec.label, afalg_cure(key->why));
		gone(ctx, key);
	}
}
