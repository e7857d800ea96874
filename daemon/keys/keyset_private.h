/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key set's inside: keyset.c (what is there), keyset_key.c (one key), keyset_make.c (new ones),
 * keyset_step.c (what may change), keyset_manifest.c (saving), keyset_share.c, keyset_verify.c.
 */
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
/*
 * Is no key of @name active, while the file of one is missing that may be, or one of an earlier time is in
 * its place? It has the highest number.
 */
bool keyset_may_miss_active(const struct keyset *set, const char *name);
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
/* What a crash between the two writes of an activation left is brought to an end. */
void keyset_settle(struct keyset *set);

/* An empty key; the caller frees it, or the set once it is in its list. */
int keyset_key_new(struct keyset_key **ret);
void keyset_key_free(struct keyset_key *key);
DEFINE_CLEANUP(struct keyset_key *, keyset_key_free);
/* Make the key itself; what its record says of it is filled in. */
int keyset_key_generate(const struct keyset *set, struct keyset_key *key);
/* An imported key's bytes, key->rec.key_bytes of them in locked memory, to where they belong. */
int keyset_key_place(const struct keyset *set, struct keyset_key *key, const uint8_t *bytes);
/* Load it, if its record's state asks for that. */
int keyset_key_open(const struct keyset *set, struct keyset_key *key);
/* The same; key->why says how it went, and the log what to do. Drop: it is let go. */
void keyset_key_load(const struct keyset *set, struct keyset_key *key);
void keyset_key_drop(struct keyset_key *key);
/* Can the kernel still use it? 0, or why not. */
int keyset_key_alive(const struct keyset_key *key);

#endif
