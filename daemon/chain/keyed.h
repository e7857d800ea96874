/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the providers aesgcm, aescbc and secretbox share: an element of `providers` that lists keys.
 *
 * The configuration lists chain entries. An entry has one active key and any number of earlier
 * ones. NAME in a stored value is the *label* of the key that made it: NAME.ID for a key that kekd
 * made, which is unique, and the name of the old configuration for an imported one, which need not
 * be. Which keys fit a value is decided here, in the configuration's order.
 */
#ifndef KEKD_CHAIN_KEYED_H
#define KEKD_CHAIN_KEYED_H

#include "daemon/chain/chain.h"

/* First member of each such provider. */
struct keyed {
	struct provider provider; /* first */
	const struct encconf_provider *conf;
	struct chain_env env;
	struct span prefix; /* ops->prefix */
	bool secretbox;     /* its keys are for secretbox, not AES */
};

/* A walk over the keys, whatever their state, whose prefix a value starts with. */
struct keyed_walk {
	const struct keyed *g;
	struct span labelled; /* the value behind the provider's prefix */
	size_t entry;         /* of the configuration */
	const struct list *at;
};

/* Zeroed but for what is given; the caller frees it with ops->free(), which is keyed_free(). */
int keyed_new(const struct provider_ops *ops, const struct encconf_provider *e,
	      const struct chain_env *env, struct provider **ret);
void keyed_free(struct provider *p);

static inline struct keyed *keyed_of(const struct provider *p)
{
	return container_of(p, struct keyed, provider);
}

/* For provider_ops. */
bool keyed_match(const struct provider *p, struct span stored);
unsigned int keyed_candidates(const struct provider *p, struct span stored);
/* Status has no answer: not a provider for KMS. -EOPNOTSUPP. */
int keyed_no_key_id(const struct provider *p, const char **ret);

/* To before the first of them. The keys must not change before the walk's end. */
void keyed_walk(struct keyed_walk *w, const struct keyed *g, struct span stored);
/* The next, and what follows its label; NULL: there is none. */
struct chain_key *keyed_next(struct keyed_walk *w, struct span *ret_body);
/* The @nth of them; NULL if there are fewer. */
struct chain_key *keyed_nth(const struct keyed *g, struct span stored, unsigned int nth,
			    struct span *ret_body);
/* The key that writes: the active one of the first entry. Errors of keytable_active(). */
int keyed_writer(const struct keyed *g, struct chain_key **ret);
/*
 * The key that op->nth of a value at rest asks for, and what follows its label. -ENOKEY: no such
 * key; others as chain_key_opens(); -EOPNOTSUPP: for a KMS purpose.
 */
int keyed_reader(const struct keyed *g, const struct op *op, struct chain_key **ret,
		 struct span *ret_body);
/* Would a value of @k be written otherwise today, by this provider? */
bool keyed_is_stale(const struct keyed *g, const struct chain_key *k);

/* Note in @op which key serves it. */
void keyed_note(struct op *op, const struct keyed *g, const struct chain_key *k);
/* Note it and give op->job, whose mode and bytes are set, to the engine. As engine_submit(). */
int keyed_submit(const struct keyed *g, struct op *op, const struct chain_key *k,
		 void (*done)(struct engine_job *job, int r));

#endif
