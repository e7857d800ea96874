/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key set's inside: keyset.c (what is there), keyset_doc.c (its document, read, changed and
 * followed), keyset_key.c (one key), keyset_make.c (new ones), keyset_verify.c.
 */
#ifndef KEKD_KEYS_KEYSET_PRIVATE_H
#define KEKD_KEYS_KEYSET_PRIVATE_H

#include <errno.h>

#include "daemon/keys/keyset.h"

struct keyset {
	struct list keys;
	struct key_store *store; /* NULL: in memory only */
	const struct root_key *root;
	const struct root_key *second; /* or NULL */
	struct keydoc_root second_mac;
	bool proved[KEYDOC_ROOTS]; /* by the first root, by the second */
	enum keyset_second_end second_end;
	enum key_kind kind; /* that is made unless another is asked for */
	struct keydoc_member self;
	struct keydoc *doc; /* or NULL, and why says why */
	char *text;
	size_t text_len;
	int why;
	bool previous;
	bool unread; /* the file is not known to be damaged, so it is not written over */
	uint8_t other_root[KEY_ROOT_ID];
	keyset_offer_fn *offer; /* or NULL */
	void *offer_ctx;
};

static inline struct keyset_key *keyset_entry(struct list *link)
{
	return list_entry(link, struct keyset_key, link);
}

static inline bool keyset_is_sealed(const struct keyset *set)
{
	return !set->root;
}

/* As keyset_change(), of kind STAGE; *made was made here and is the set's on success. */
int keyset_stage_made(struct keyset *set, struct keyset_key **made,
		      const struct keydoc_heard *heard, struct keydoc_refusal *why,
		      keyset_changed_fn *changed, void *ctx);

/* An empty key; the caller frees it, or the set once it is in its list. */
int keyset_key_new(struct keyset_key **ret);
void keyset_key_free(struct keyset_key *key);
DEFINE_CLEANUP(struct keyset_key *, keyset_key_free);
/* Make the key itself, of a kind; what its record says of it is filled in. */
int keyset_key_generate(const struct keyset *set, enum key_kind kind, struct keyset_key *key);
/* The bytes of a key that is sealed here, key->rec.key_bytes of them in locked memory, to where they belong. */
int keyset_key_place(const struct keyset *set, struct keyset_key *key, const uint8_t *bytes);
/* keyset.c */
struct keydoc_root keyset_root_of(const struct root_key *root);
/* keyset_verify.c: is what is known of both roots still so? */
void keyset_prove_roots(struct keyset *set);
/* keyset_root.c: the document is of other roots than @was: what follows for the set's. */
void keyset_follow_roots(struct keyset *set, bool was_rotating);

/* Load it if its record's state asks for that; key->why says how it went, and the log what to do. */
void keyset_key_load(const struct keyset *set, struct keyset_key *key);
/* It is let go. */
void keyset_key_drop(struct keyset_key *key);
/* Can the kernel still use it? 0, or why not. */
int keyset_key_alive(const struct keyset_key *key);

#endif
