/* SPDX-License-Identifier: Apache-2.0 */
/* At most KEKD_KEYS_MAX keys, looked up a few times a minute by the keeper: one list is enough. */
#include "daemon/keys/keyset_private.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
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
		keyset_key_free(keyset_entry(n));
	}
	manifest_clear(&set->manifest);
	free(set);
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
	r = keyset_key_new(&key);
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

/* A file of an earlier time stands where that of the active key may be, and says less of its number. */
static bool has_refused(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys) {
		const struct keyset_key *key = keyset_entry(n);

		if (key->why == -ESTALE && strcmp(key->rec.name, name) == 0 &&
		    manifest_has(&set->manifest, key->rec.id))
			return true;
	}
	return false;
}

bool keyset_may_miss_active(const struct keyset *set, const char *name)
{
	struct keyset_key *active;

	return (set->missing > 0 || has_refused(set, name)) &&
	       keyset_find_active(set, name, &active) == 0 && !active;
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

void keyset_settle(struct keyset *set)
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
	keyset_settle(set);
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

static bool was_collected(const struct walk *w, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < w->n; i++)
		if (memcmp(w->recs[i].id, id, KEKD_KEY_ID) == 0)
			return true;
	return false;
}

/*
 * A key that opens values here, and whose file is gone or cannot be read, is perhaps in this process alone:
 * its file is written again before the store without it is vouched for.
 */
static int put_back(struct walk *w)
{
	int r = 0;

	list_for_each (n, &w->set->keys) {
		const struct key_record *rec = &keyset_entry(n)->rec;

		if (r < 0 || keyset_entry(n)->why < 0 || was_collected(w, rec->id))
			continue;
		r = w->n < KEKD_KEYS_MAX ? key_store_put(w->set->store, rec) : -ENOBUFS;
		if (r < 0)
			continue;
		log_warning("key %s: its file was gone or not to be read, and is written again",
			    rec->label);
		collect(w, rec, 0, NULL);
	}
	return r;
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
		r = put_back(&w);
	if (r == 0)
		r = keyset_manifest_renew(set, w.ptrs, w.n);
	if (r < 0)
		return r;
	set->no_manifest = set->distrust = 0;
	set->missing = 0;
	for (size_t i = 0; r == 0 && i < w.n; i++)
		r = take_over(set, w.ptrs[i]);
	keyset_settle(set);
	report_conflicts(set);
	return r;
}

void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);
		int r;

		if (key->why < 0)
			continue;
		r = keyset_key_alive(key);
		if (r == 0)
			continue;
		keyset_key_drop(key);
		key->why = r;
		log_error("key %s was withdrawn: %s", key->rec.label, afalg_cure(key->why));
		gone(ctx, key);
	}
}
