/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of two documents may take the other's place. The two texts decide that, and no history: who
 * has missed many generations can still tell.
 */
#include <string.h>

#include "daemon/keys/keydoc.h"

bool keydoc_same_key(const struct key_record *a, const struct key_record *b)
{
	return strcmp(a->info.name, b->info.name) == 0 &&
	       strcmp(a->info.label, b->info.label) == 0 && a->info.kind == b->info.kind &&
	       a->info.key_bytes == b->info.key_bytes && a->info.secretbox == b->info.secretbox &&
	       memcmp(a->check, b->check, sizeof(a->check)) == 0;
}

/* The key that was activated last under @name, NULL if none ever was. */
static const struct key_record *last_activated(const struct keydoc *doc, const char *name)
{
	const struct key_record *last = NULL;

	for (size_t i = 0; i < doc->n_keys; i++) {
		const struct key_record *rec = &doc->keys[i];

		if (strcmp(rec->info.name, name) == 0 && rec->info.activation > 0 &&
		    (!last || rec->info.activation > last->info.activation))
			last = rec;
	}
	return last;
}

static const char *key_in_the_way(const struct keydoc *b, const struct key_record *rec)
{
	const struct key_record *there = keydoc_key(b, rec->info.id), *last;

	if (!there && !keydoc_is_gone(b, rec->info.id))
		return "a key that is here is not known there";
	if (there && !keydoc_same_key(rec, there))
		return "a key of the same id is another one there";
	if (there && there->info.activation < rec->info.activation)
		return "an activation number has fallen";
	if (rec->info.state != KEY_ACTIVE)
		return NULL;
	/*
	 * A name that has an active key always has one, and its number is the highest. That the key itself is gone
	 * there is no excuse: who has not seen it active may have destroyed it.
	 */
	last = last_activated(b, rec->info.name);
	if (!last || last->info.activation < rec->info.activation)
		return "an activation number has fallen";
	if (last->info.activation == rec->info.activation &&
	    memcmp(last->info.id, rec->info.id, sizeof(rec->info.id)) != 0)
		return "two keys were activated under the same number";
	return NULL;
}

bool keydoc_covers(const struct keydoc *b, const struct keydoc *a, const char **why)
{
	const char *reason = NULL;

	/*
	 * Who holds one root takes what is under that one too; who holds two, as his root is being rotated, also what is
	 * under one of them. So a rotation leads from one root to another in two steps, and never in one.
	 */
	if (!keydoc_has_root(b, a->root) && !(a->rotating && keydoc_has_root(b, a->next_root)))
		reason = "it is sealed under another root key";
	if (!reason && b->activations < a->activations)
		reason = "an activation number has fallen";
	for (size_t i = 0; !reason && i < a->n_keys; i++)
		reason = key_in_the_way(b, &a->keys[i]);
	for (size_t i = 0; !reason && i < a->n_gone; i++)
		if (keydoc_key(b, a->gone[i]))
			reason = "a key that was destroyed here is back there";
	for (size_t i = 0; !reason && i < a->n_members; i++)
		if (!keydoc_member(b, a->members[i].id) && !keydoc_is_removed(b, a->members[i].id))
			reason = "a node that is a member here is not known there";
	for (size_t i = 0; !reason && i < a->n_removed; i++)
		if (keydoc_member(b, a->removed[i].id))
			reason = "a node that was removed here is a member there";
	if (why)
		*why = reason;
	return !reason;
}

enum keydoc_relation keydoc_compare(const struct keydoc *ours, const struct keydoc *theirs)
{
	if (memcmp(ours->cluster, theirs->cluster, sizeof(ours->cluster)) != 0)
		return KEYDOC_FOREIGN;
	if (memcmp(ours->hash, theirs->hash, sizeof(ours->hash)) == 0)
		return KEYDOC_SAME;
	for (size_t i = 0; theirs->is_merged && i < 2; i++)
		if (memcmp(theirs->merged[i], ours->hash, sizeof(ours->hash)) == 0)
			return KEYDOC_NEWER;
	if (theirs->generation > ours->generation && keydoc_covers(theirs, ours, NULL))
		return KEYDOC_NEWER;
	return keydoc_covers(ours, theirs, NULL) ? KEYDOC_OLDER : KEYDOC_FORKED;
}
