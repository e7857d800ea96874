/* SPDX-License-Identifier: Apache-2.0 */
/* The key set's inside, for keyset.c (what is there) and keyset_step.c (what may change). */
#ifndef KEKD_KEYS_KEYSET_PRIVATE_H
#define KEKD_KEYS_KEYSET_PRIVATE_H

#include <errno.h>

#include "daemon/keys/keyset.h"
#include "daemon/keys/manifest.h"

struct keyset {
	struct list keys;
	size_t n, unreadable;
	struct key_store *store;
	const struct root_key *root;
	const struct soft_root *soft_root;
	enum key_kind kind;
	struct manifest manifest;
	uint64_t written;          /* generation that is surely on disk; later ones may be */
	int no_manifest;           /* 0, or why there is none */
	int distrust;              /* 0, or no key is written with and none is changed */
	size_t uncovered, missing; /* keys without a manifest; entries without a key */
};

static inline struct keyset_key *keyset_entry(struct list *link)
{
	return list_entry(link, struct keyset_key, link);
}

static inline bool keyset_is_sealed(const struct keyset *set)
{
	return !set->root && !set->soft_root;
}

/* Does @key say that it is active, and may it be believed? A file that is not ours to trust may not. */
static inline bool keyset_claims(const struct keyset_key *key)
{
	return key->rec.state == KEY_ACTIVE && key->why != -ESTALE;
}

/*
 * The key whose claim to be active counts, NULL if none: of several the one that was activated
 * last. -EKEYREJECTED: two usable ones have the same number.
 */
int keyset_find_active(const struct keyset *set, const char *name, struct keyset_key **ret);
/* Above every activation number that a key of @name has or had. -EOVERFLOW after the last. */
int keyset_next_activation(const struct keyset *set, const char *name, uint32_t *ret);
/* Load a record that the store does not have, save it and add it; nothing on failure. */
int keyset_add(struct keyset *set, const struct key_record *rec, const struct keyset_key **ret);

/* Is the record one of the set's root, so that the manifest speaks of it? */
bool keyset_covers(const struct keyset *set, const struct key_record *rec);
/* keyset_manifest.c, around and during a load; check is 0 or -ESTALE */
void keyset_manifest_open(struct keyset *set);
int keyset_manifest_check(struct keyset *set, const struct key_record *rec);
void keyset_manifest_close(struct keyset *set);
/* Is the manifest in the store the one that was written last? -ESTALE. */
int keyset_manifest_verify(const struct keyset *set);
/* A new manifest over exactly these records, which are in the store. */
int keyset_manifest_renew(struct keyset *set, const struct key_record *const *recs, size_t n);
/*
 * Make @n records durable, in their order; the set still has the old ones. The first decides: it
 * fails, and nothing has happened, or nothing that is not undone before the next save; it is written, and what follows from it (an older activation ends) holds even if its own file
 * could not be written, which is logged.
 */
int keyset_save(struct keyset *set, const struct key_record *const *recs, size_t n);
/* Load or drop the key itself as its record's state asks; key->why says how it went. */
void keyset_key_load(const struct keyset *set, struct keyset_key *key);
void keyset_key_drop(struct keyset_key *key);

#endif
