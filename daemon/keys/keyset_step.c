/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a key's life. A plan says what the record would be and refuses what must not be; a
 * step carries the plan out: durable first, then the key itself, then visible.
 *
 * An activation changes two keys. The new one is written first: if the second write is lost, by a
 * crash or a full disk, the activation numbers still say which of the two is active (keyset.h).
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keys/keyset_private.h"

static struct keyset_key *find(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID])
{
	list_for_each (n, &set->keys)
		if (memcmp(keyset_entry(n)->rec.id, id, KEKD_KEY_ID) == 0)
			return keyset_entry(n);
	return NULL;
}

/*
 * Only a key that opens values may be activated. A number may come again with its own key if no
 * other has had a higher one since: that is how a node that gets a key late joins the others.
 */
static int plan_active(const struct keyset *set, const struct keyset_key *key, uint32_t activation,
		       struct key_record *rec)
{
	uint32_t next;
	int r;

	if (key->why < 0)
		return key->why;
	if (activation == 0 && keyset_may_miss_active(set, rec->name))
		return -ESTALE;
	r = keyset_next_activation(set, rec->name, &next);
	if (r < 0)
		return r;
	if (activation != 0 && activation < next &&
	    !(activation == rec->activation && activation == next - 1))
		return -ESTALE;
	if (activation > KEYSET_ACTIVATION_MAX && activation > next)
		return -ERANGE;
	rec->activation = activation != 0 ? activation : next;
	return 0;
}

/* An active key whose number another one shares may be activated again: that ends the tie. */
static bool is_tied(const struct keyset *set, const struct keyset_key *key)
{
	struct keyset_key *active;

	return keyset_claims(key) &&
	       keyset_find_active(set, key->rec.name, &active) == -EKEYREJECTED;
}

static int plan(const struct keyset *set, const struct keyset_key *key, enum key_state to,
		uint32_t activation, struct key_record *ret)
{
	struct key_record rec = key->rec;
	bool tied = to == KEY_ACTIVE && is_tied(set, key);
	int r = 0;

	if (key->why == -ESTALE) /* to write it down would be to vouch for it */
		return -ESTALE;
	if (rec.state == to && !tied)
		return activation == 0 || activation == rec.activation ? -EALREADY : -ESTALE;
	if (!tied && !keyset_step_is_legal(rec.state, to))
		return -EPERM;
	rec.state = to;
	if (to == KEY_ACTIVE)
		r = plan_active(set, key, activation, &rec);
	if (r < 0)
		return r;
	if (to == KEY_DESTROYED)
		memset(rec.blob, 0, sizeof(rec.blob));
	*ret = rec;
	return 0;
}

int keyset_step_plan(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID],
		     enum key_state to, uint32_t activation, struct key_record *ret)
{
	const struct keyset_key *key = find(set, id);

	return key ? plan(set, key, to, activation, ret) : -ENOKEY;
}

/* The key in its new state, where that differs: loaded again, or dropped. */
static void follow(const struct keyset *set, struct keyset_key *key, const struct key_record *rec)
{
	bool opened = keyset_state_opens(key->rec.state);
	bool opens = keyset_state_opens(rec->state);

	if (opened && !opens)
		keyset_key_drop(key);
	key->rec = *rec;
	if (!opened && opens)
		keyset_key_load(set, key);
}

static int activate(struct keyset *set, struct keyset_key *key, const struct key_record *rec)
{
	_cleanup_free_ struct key_record *olds = NULL;
	const struct key_record *recs[KEKD_KEYS_MAX];
	struct keyset_key *keys[KEKD_KEYS_MAX]; /* whose records these are */
	size_t n = 0;
	int r;

	olds = calloc(set->n, sizeof(*olds));
	if (!olds)
		return -ENOMEM;
	keys[n] = key;
	recs[n++] = rec;
	list_for_each (l, &set->keys) {
		struct keyset_key *old = keyset_entry(l);

		if (old == key || !keyset_claims(old) || strcmp(old->rec.name, rec->name) != 0)
			continue;
		olds[n - 1] = old->rec;
		olds[n - 1].state = KEY_DECRYPT_ONLY;
		keys[n] = old;
		recs[n] = &olds[n - 1];
		n++;
	}
	r = keyset_save(set, recs, n);
	if (r < 0)
		return r;
	follow(set, key, rec);
	for (size_t i = 1; i < n; i++)
		keys[i]->rec = *recs[i];
	return 0;
}

/*
 * A return from retirement proves that the key still opens before anything is written; the ring
 * holds no key of that id then, so it can be loaded a second time. The record stays as it was until
 * it is saved, as with every step.
 */
static int reopen(struct keyset *set, struct keyset_key *key, const struct key_record *rec)
{
	const struct key_record *recs[] = { rec };
	struct key_record before = key->rec;
	int r;

	follow(set, key, rec);
	key->rec = before;
	r = key->why == 0 ? keyset_save(set, recs, 1) : key->why;
	if (r < 0)
		keyset_key_drop(key);
	else
		key->rec = *rec;
	return r;
}

static int move(struct keyset *set, struct keyset_key *key, const struct key_record *rec)
{
	const struct key_record *recs[] = { rec };
	int r = keyset_save(set, recs, 1);

	if (r == 0)
		follow(set, key, rec);
	return r;
}

int keyset_step(struct keyset *set, const uint8_t id[static KEKD_KEY_ID], enum key_state to,
		uint32_t activation)
{
	struct keyset_key *key = find(set, id);
	struct key_record rec;
	enum key_state from;
	int r;

	if (!key)
		return -ENOKEY;
	r = plan(set, key, to, activation, &rec);
	if (r < 0)
		return r;
	from = key->rec.state;
	if (to == KEY_ACTIVE)
		r = activate(set, key, &rec);
	else if (keyset_state_opens(to) && !keyset_state_opens(from))
		r = reopen(set, key, &rec);
	else
		r = move(set, key, &rec);
	if (r < 0)
		return r;
	log_debug("key %s: %s, was %s", rec.label, key_state_name(to), key_state_name(from));
	return 0;
}
