/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was never to happen has happened: two documents of which neither may follow the other, or a machine
 * that is gone and of which a backup is left. Both ways lose no key: whatever opens in one document opens
 * afterwards.
 */
#include <errno.h>
#include <string.h>

#include "daemon/keys/keydoc_next.h"

/* What other members have encrypted nobody says here: it is the share of each, at most. */
static void add_shares(struct keydoc *next, const struct keydoc *theirs)
{
	for (size_t i = 0; i < theirs->n_keys; i++)
		key_record_add_uses(keydoc_key(next, theirs->keys[i].info.id),
				    theirs->n_members * KEKD_KEY_MESSAGES);
}

static int add_key(struct keydoc *next, const struct key_record *rec, struct keydoc_refusal *why)
{
	struct key_record *here = keydoc_key(next, rec->info.id);

	if (here && !keydoc_same_key(here, rec))
		return keydoc_refuse(why, -EEXIST,
				     "key %s is another key there: nothing was merged",
				     rec->info.label);
	if (here) {
		if (rec->info.activation > here->info.activation && here->info.state != KEY_ACTIVE)
			here->info.activation = rec->info.activation;
		if (here->uses < rec->uses)
			here->uses = rec->uses;
		if (here->info.state == KEY_RETIRED && key_state_opens(rec->info.state)) {
			here->info.state = KEY_DECRYPT_ONLY;
			here->retired = 0;
		}
		if (here->info.state == KEY_STAGED && here->info.activation > 0)
			here->info.state = KEY_DECRYPT_ONLY;
		return 0;
	}
	if (next->n_keys == KEKD_KEYS_MAX)
		return keydoc_refuse(why, -ENOBUFS, "%s: both keysets have too many keys for one",
				     rec->info.label);
	here = &next->keys[next->n_keys++];
	*here = *rec;
	/* Not a word of its state is believed but whether it opens. */
	here->info.marked = 0;
	if (key_state_opens(rec->info.state))
		here->info.state = KEY_DECRYPT_ONLY;
	for (size_t i = 0; i < next->n_gone; i++) {
		if (memcmp(next->gone[i], rec->info.id, KEKD_KEY_ID) != 0)
			continue;
		next->n_gone--; /* it is here again */
		memmove(next->gone[i], next->gone[i + 1],
			(next->n_gone - i) * sizeof(next->gone[0]));
		break;
	}
	return 0;
}

/* One that is silently left out would not be asked again, and might write on. */
static int add_members(struct keydoc *next, const struct keydoc *theirs, struct keydoc_refusal *why)
{
	for (size_t i = 0; i < theirs->n_members; i++) {
		const struct keydoc_member *m = &theirs->members[i];

		if (keydoc_member(next, m->id) || keydoc_is_removed(next, m->id))
			continue;
		if (next->n_members == KEYDOC_MEMBERS_MAX)
			return keydoc_refuse(
				why, -ENOBUFS,
				"node %s is one too many: a cluster has at most %d "
				"members, and both keysets have more. Remove those that "
				"are gone first",
				m->name, KEYDOC_MEMBERS_MAX);
		next->members[next->n_members++] = *m;
	}
	return 0;
}

/* Who lags behind @theirs is still told what became of the keys and nodes that he knows. */
static void add_past(struct keydoc *next, const struct keydoc *theirs)
{
	for (size_t i = 0; i < theirs->n_removed; i++)
		if (!keydoc_member(next, theirs->removed[i].id) &&
		    !keydoc_is_removed(next, theirs->removed[i].id))
			keydoc_add_removed(next, theirs->removed[i].id);
	for (size_t i = 0; i < theirs->n_gone; i++)
		if (!keydoc_key(next, theirs->gone[i]) && !keydoc_is_gone(next, theirs->gone[i]))
			keydoc_add_gone(next, theirs->gone[i]);
	if (next->forgotten < theirs->forgotten)
		next->forgotten = theirs->forgotten;
}

/* An active key whose name both sides know gets a number above both: no key_id is two things. */
static int give_numbers(struct keydoc *next, const struct keydoc *theirs,
			struct keydoc_refusal *why)
{
	for (size_t i = 0; i < next->n_keys; i++) {
		struct key_record *key = &next->keys[i];

		key->info.marked = 0;
		if (key->info.state != KEY_ACTIVE || !keydoc_has_name(theirs, key->info.name))
			continue;
		if (next->activations == UINT32_MAX)
			return keydoc_refuse(why, -EOVERFLOW, "no activation number is left");
		key->info.activation = ++next->activations;
	}
	return 0;
}

int keydoc_merge(const struct keydoc *ours, const struct keydoc *theirs,
		 const struct keydoc_change *by, struct keydoc **ret, struct keydoc_refusal *why)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	bool one_cluster = memcmp(ours->cluster, theirs->cluster, sizeof(ours->cluster)) == 0;
	int r;

	if (ours->rotating || theirs->rotating)
		return keydoc_refuse(
			why, -EBUSY,
			"the root key of one of the two is being rotated: end that first, with "
			"`kekctl root rotate` or `kekctl root rotate --abort` there");
	if (memcmp(ours->root, theirs->root, sizeof(ours->root)) != 0)
		return keydoc_refuse(why, -EKEYREJECTED, "it is sealed under another root key");
	r = keydoc_copy(ours, &next);
	if (r < 0)
		return r;
	next->generation = (ours->generation > theirs->generation || !one_cluster ? ours : theirs)
				   ->generation +
			   1;
	memcpy(next->nonce, by->nonce, sizeof(next->nonce));
	memcpy(next->node, by->node, sizeof(next->node));
	next->time = by->time;
	memset(next->hash, 0, sizeof(next->hash));
	if (theirs->activations > next->activations)
		next->activations = theirs->activations;
	for (size_t i = 0; r == 0 && i < theirs->n_keys; i++)
		r = add_key(next, &theirs->keys[i], why);
	if (r == 0 && one_cluster)
		r = add_members(next, theirs, why);
	if (r == 0)
		r = give_numbers(next, theirs, why);
	if (r < 0)
		return r;
	if (one_cluster)
		add_past(next, theirs);
	else
		add_shares(next, theirs);
	next->is_merged = one_cluster;
	memcpy(next->merged[0], ours->hash, SHA256_LEN);
	memcpy(next->merged[1], theirs->hash, SHA256_LEN);
	if (next->n_members > 1 && next->carrier != KEYDOC_ETCD) {
		next->carrier = KEYDOC_HAND;
		memcpy(next->hand, by->node, sizeof(next->hand));
	}
	if (!keydoc_fits(next))
		return keydoc_refuse(why, -ENOBUFS, "both keysets are too large for one");
	*ret = move_ptr(next);
	return 0;
}

int keydoc_again(const struct keydoc *ours, const struct keydoc *theirs,
		 const struct keydoc_change *by, keydoc_reopened_fn *reopened, void *ctx,
		 struct keydoc **ret)
{
	struct keydoc *next;
	int r;

	r = keydoc_copy(ours, &next);
	if (r < 0)
		return r;
	next->generation =
		(theirs && theirs->generation > ours->generation ? theirs : ours)->generation + 1;
	memcpy(next->nonce, by->nonce, sizeof(next->nonce));
	memcpy(next->node, by->node, sizeof(next->node));
	next->time = by->time;
	next->is_merged = false;
	memset(next->hash, 0, sizeof(next->hash));
	for (size_t i = 0; i < next->n_keys; i++) {
		struct key_record *key = &next->keys[i];
		const struct key_record *there = theirs ? keydoc_key(theirs, key->info.id) : NULL;

		key->info.marked = 0;
		if (key->info.state != KEY_RETIRED ||
		    (theirs && !(there && key_state_opens(there->info.state))))
			continue;
		key->info.state = KEY_DECRYPT_ONLY;
		key->retired = 0;
		reopened(ctx, key);
	}
	*ret = next;
	return 0;
}

int keydoc_restore(const struct keydoc *backup, const struct keydoc_member *member,
		   const uint8_t nonce[static KEYDOC_NODE], time_t time, struct keydoc **ret)
{
	struct keydoc *next;
	int r;

	r = keydoc_copy(backup, &next);
	if (r < 0)
		return r;
	for (size_t i = 0; i < backup->n_members; i++)
		if (memcmp(backup->members[i].id, member->id, KEYDOC_NODE) != 0)
			keydoc_add_removed(next, backup->members[i].id);
	add_shares(next, backup);
	/* What was evidence then says nothing of the etcd that is there now. */
	for (size_t i = 0; i < next->n_keys; i++)
		next->keys[i].info.marked = 0;
	next->members[0] = *member;
	next->n_members = 1;
	next->carrier = KEYDOC_ALONE;
	next->is_merged = false;
	memset(next->hand, 0, sizeof(next->hand));
	next->generation++;
	memcpy(next->nonce, nonce, sizeof(next->nonce));
	memcpy(next->node, member->id, sizeof(next->node));
	next->time = time;
	memset(next->hash, 0, sizeof(next->hash));
	*ret = next;
	return 0;
}
