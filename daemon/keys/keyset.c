/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most KEKD_KEYS_MAX keys, looked up a few times a minute by the keeper: one list is enough.
 *
 * The two kinds of key differ in four calls, which stand in one table.
 */
#include "daemon/keys/keyset_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/keys/imported.h"
#include "daemon/sys/afalg.h"

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

	if (root && soft_root)
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
		key_free(keyset_entry(n));
	}
	manifest_clear(&set->manifest);
	free(set);
}

static bool label_is_taken(const struct keyset *set, const struct keyset_key *key)
{
	list_for_each (n, &set->keys)
		if (keyset_entry(n) != key &&
		    strcmp(keyset_entry(n)->rec.label, key->rec.label) == 0)
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
	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	if (key->rec.kind == KEY_KIND_IMPORTED)
		return kinds[key->rec.kind].load(set, key); /* old configurations repeat names */
	if (key->rec.kind != set->kind)
		return -EOPNOTSUPP;
	if (label_is_taken(set, key))
		return -EEXIST;
	return kinds[key->rec.kind].load(set, key);
}

void keyset_key_load(const struct keyset *set, struct keyset_key *key)
{
	const char *text;

	key->why = load_key(set, key);
	text = key->why < 0 && !keyset_is_sealed(set) ? explain(set, key) : NULL;
	if (text)
		log_warning("key %s cannot be used: %s", key->rec.label, text);
}

void keyset_key_drop(struct keyset_key *key)
{
	kinds[key->rec.kind].free(key);
	key->why = -EKEYREJECTED;
}

static int load_one(void *ctx, const struct key_record *rec, int r _unused_,
		    const char *file _unused_)
{
	struct keyset *set = ctx;
	struct keyset_key *key;

	if (!rec) {
		set->unreadable++;
		return 0;
	}
	r = key_new(&key);
	if (r < 0)
		return r;
	key->rec = *rec;
	key->why = keyset_manifest_check(set, rec);
	if (key->why == 0)
		keyset_key_load(set, key);
	list_add_tail(&set->keys, &key->link);
	set->n++;
	return 0;
}

int keyset_find_active(const struct keyset *set, const char *name, struct keyset_key **ret)
{
	struct keyset_key *found = NULL;
	bool two = false;

	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

		if (!keyset_claims(key) || strcmp(key->rec.name, name) != 0)
			continue;
		if (!found || key->rec.activation > found->rec.activation) {
			found = key;
			two = false;
		} else if (key->rec.activation == found->rec.activation) {
			two = found->why == 0 && key->why == 0;
			found = found->why < 0 ? key : found;
		}
	}
	if (two)
		return -EKEYREJECTED;
	*ret = found;
	return 0;
}

int keyset_next_activation(const struct keyset *set, const char *name, uint32_t *ret)
{
	uint32_t max = 0;

	list_for_each (n, &set->keys) {
		const struct key_record *rec = &keyset_entry(n)->rec;

		if (strcmp(rec->name, name) == 0 && rec->activation > max)
			max = rec->activation;
	}
	if (max == UINT32_MAX)
		return -EOVERFLOW;
	*ret = max + 1;
	return 0;
}

/*
 * What a crash between the two writes of an activation left: the rule, not the file, decides. Not in
 * favour of a key of another root: nothing vouches for its record.
 */
static void settle(struct keyset *set, struct keyset_key *key)
{
	const struct key_record *recs[1];
	struct key_record rec = key->rec;
	int r;

	rec.state = KEY_DECRYPT_ONLY;
	recs[0] = &rec;
	r = keyset_save(set, recs, 1);
	if (r < 0)
		log_warning("key %s: cannot write down that it is decrypt-only: %s", rec.label,
			    errno_text(r));
	if (r == 0)
		log_notice("key %s: decrypt-only, as another key was activated after it",
			   rec.label);
	key->rec = rec;
}

static void settle_activations(struct keyset *set)
{
	struct keyset_key *active;

	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

		if (keyset_claims(key) && keyset_find_active(set, key->rec.name, &active) == 0 &&
		    active != key && active->rec.activation > key->rec.activation &&
		    keyset_covers(set, &active->rec))
			settle(set, key);
	}
}

static void report_conflicts(const struct keyset *set)
{
	struct keyset_key *key;

	list_for_each (n, &set->keys)
		if (keyset_entry(n)->rec.state == KEY_ACTIVE && keyset_entry(n)->why == 0 &&
		    keyset_find_active(set, keyset_entry(n)->rec.name, &key) < 0)
			log_error("key %s is one of several active ones of its name: values are "
				  "read, none is written, until the store holds one",
				  keyset_entry(n)->rec.label);
}

int keyset_load(struct keyset *set)
{
	int r;

	set->unreadable = set->uncovered = 0;
	keyset_manifest_open(set);
	r = key_store_each(set->store, load_one, set);
	if (r < 0)
		return r;
	keyset_manifest_close(set);
	settle_activations(set);
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
	int r = keyset_find_active(set, name, &key);

	if (r < 0)
		return r;
	if (set->distrust < 0)
		return set->distrust;
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
		if (memcmp(keyset_entry(n)->rec.id, id, KEKD_KEY_ID) == 0)
			return keyset_entry(n);
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

static int fresh_record(const struct keyset *set, const char *name, enum key_state state,
			struct key_record *ret)
{
	char hex[KEKD_KEY_ID_HEX + 1];
	struct key_record rec = { .state = state };
	int r;

	if (getrandom(rec.id, sizeof(rec.id), 0) != (ssize_t)sizeof(rec.id))
		return -EIO;
	r = state == KEY_ACTIVE ? keyset_next_activation(set, name, &rec.activation) : 0;
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
	if (!has_usable(set, name)) {
		*ret = KEY_ACTIVE;
		return 0;
	}
	r = keyset_find_active(set, name, &key);
	if (asked == KEY_ACTIVE && (r < 0 || (key && key->why == 0)))
		return -EEXIST;
	*ret = asked;
	return 0;
}

int keyset_create(struct keyset *set, const char *name, enum key_state state,
		  const struct keyset_key **ret)
{
	_cleanup_(key_freep) struct keyset_key *key = NULL;
	const struct key_record *recs[1];
	int r;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	r = check_name(name);
	if (r == 0)
		r = choose_state(set, name, state, &state);
	if (r == 0 && set->n >= KEKD_KEYS_MAX)
		r = -ENOBUFS;
	if (r == 0)
		r = key_new(&key);
	if (r == 0)
		r = fresh_record(set, name, state, &key->rec);
	if (r == 0)
		r = kinds[set->kind].generate(set, key);
	if (r < 0)
		return r;
	recs[0] = &key->rec;
	r = keyset_save(set, recs, 1);
	if (r < 0)
		return r;
	list_add_tail(&set->keys, &key->link);
	set->n++;
	if (state == KEY_ACTIVE)
		settle_activations(set);
	*ret = move_ptr(key);
	return 0;
}

struct walk {
	struct keyset *set;
	struct key_record *recs;
	const struct key_record *ptrs[KEKD_KEYS_MAX];
	size_t n;
};

static int collect(void *ctx, const struct key_record *rec, int r _unused_,
		   const char *file _unused_)
{
	struct walk *w = ctx;

	if (!rec)
		return 0;
	w->recs[w->n] = *rec;
	w->ptrs[w->n] = &w->recs[w->n];
	w->n++;
	return 0;
}

/* Take over what the store says of one key, unless that is known and the key is in use. */
static int take_over(struct keyset *set, const struct key_record *rec)
{
	const struct keyset_key *known = keyset_find(set, rec->id);
	struct keyset_key *key = (struct keyset_key *)(uintptr_t)known;

	if (!key)
		return load_one(set, rec, 0, NULL);
	if (key->why == 0 && memcmp(&key->rec, rec, sizeof(*rec)) == 0)
		return 0;
	keyset_key_drop(key);
	key->rec = *rec;
	keyset_key_load(set, key);
	return 0;
}

int keyset_add(struct keyset *set, const struct key_record *rec, const struct keyset_key **ret)
{
	_cleanup_(key_freep) struct keyset_key *key = NULL;
	const struct key_record *recs[] = { rec };
	int r;

	if (set->n >= KEKD_KEYS_MAX)
		return -ENOBUFS;
	r = key_new(&key);
	if (r < 0)
		return r;
	key->rec = *rec;
	if (!keyset_state_opens(rec->state))
		key->rec.state = KEY_DECRYPT_ONLY; /* it must open all the same */
	r = load_key(set, key);
	if (r == 0)
		r = keyset_save(set, recs, 1);
	if (r < 0)
		return r;
	key->rec = *rec;
	if (!keyset_state_opens(rec->state))
		keyset_key_drop(key);
	list_add_tail(&set->keys, &key->link);
	set->n++;
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
	_cleanup_(key_freep) struct keyset_key *key = NULL;
	struct keyset_key *same = find_imported(set, want, bytes);
	const struct key_record *recs[1];
	int r;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
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
		r = fresh_record(set, want->name, KEY_ACTIVE, &key->rec);
	if (r < 0)
		return r;
	memcpy(key->rec.label, want->label, sizeof(key->rec.label));
	key->rec.kind = KEY_KIND_IMPORTED;
	key->rec.key_bytes = want->key_bytes;
	key->rec.secretbox = want->secretbox;
	r = imported_seal(&root, &key->rec, bytes);
	if (r == 0)
		r = imported_place(set, key, bytes.data);
	if (r < 0)
		return r;
	recs[0] = &key->rec;
	r = keyset_save(set, recs, 1);
	if (r < 0)
		return r;
	list_add_tail(&set->keys, &key->link);
	set->n++;
	*ret = move_ptr(key);
	return 0;
}

int keyset_reload(struct keyset *set, keyset_gone_fn *back, void *ctx)
{
	int r = keyset_is_sealed(set) ? -EKEYEXPIRED : 0;

	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

		if (r < 0 || !keyset_state_opens(key->rec.state) || key->why == 0 ||
		    key->why == -ESTALE)
			continue;
		keyset_key_load(set, key);
		if (key->why == 0)
			back(ctx, key);
	}
	return r;
}

int keyset_accept(struct keyset *set)
{
	_cleanup_free_ struct key_record *recs = calloc(KEKD_KEYS_MAX, sizeof(*recs));
	struct walk w = { .set = set, .recs = recs };
	int r;

	if (!recs)
		return -ENOMEM;
	r = key_store_each(set->store, collect, &w);
	if (r == 0)
		r = keyset_manifest_renew(set, w.ptrs, w.n);
	if (r < 0)
		return r;
	set->no_manifest = set->distrust = 0;
	set->missing = 0;
	for (size_t i = 0; r == 0 && i < w.n; i++)
		r = take_over(set, w.ptrs[i]);
	settle_activations(set);
	report_conflicts(set);
	return r;
}

void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

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
