/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's keys: what the store holds, with the key itself where it could be loaded. Keys that
 * could not are in the set too, with the reason, so that tools can show them and no id or label is
 * ever given out twice.
 *
 * Exactly one key of a name may be active. Activation numbers grow over all keys of a name, and of
 * several keys whose files say "active" the one with the highest number is: an activation writes
 * the new key first and the old one second, so a crash between the two leaves the state after it,
 * and the next load writes the second file. Two usable keys with one number come from no crash
 * (files of two nodes were mixed): then the name has *no* active key until one is activated; reading
 * goes on, writing with a guessed key does not.
 *
 * Every change is durable in the store before it can be seen here. One that failed to be written is
 * as if it had not been: if the store cannot be brought back to what the set says at once, it is
 * before the next change (keys/keyset_manifest.c), and in between a load may find that one change.
 */
#ifndef KEKD_KEYS_KEYSET_H
#define KEKD_KEYS_KEYSET_H

#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/keys/check.h"
#include "daemon/keys/kek.h"
#include "daemon/keys/record.h"
#include "daemon/keys/softkey.h"
#include "daemon/keys/store.h"
#include <kekd/list.h>

struct keyset;

/*
 * Where activation numbers from outside end. The set's own next number goes on beyond, so that no
 * record and no request of another node can use them up.
 */
#define KEYSET_ACTIVATION_MAX (UINT32_C(1) << 31)

/*
 * One key. Read-only for everyone but keyset.c; lives as long as the set.
 *
 * why: 0 if it can be used; otherwise -EKEYREJECTED (sealed by another root, or retired, or
 * destroyed), -EINVAL or -EBADMSG (damaged, or not the key of that name), -EEXIST (its label is
 * taken by an older key; imported ones may share it), -ESTALE (its file is not what the manifest says), -EOPNOTSUPP (kind of
 * the other backend), -EKEYREVOKED, -EKEYEXPIRED, -ENOKEY, -EACCES (withdrawn after loading), or
 * AF_ALG's own.
 */
struct keyset_key {
	struct list link;
	struct key_record rec;
	int why;
	struct kek *kek;      /* usable and in the kernel, else NULL */
	struct softkey *soft; /* usable and not in the kernel, else NULL */
};

/*
 * A set whose keys are saved in @store and sealed by the one root that is not NULL: it decides the
 * kind of key that is made and loaded. All are borrowed for the life of the set. Without any root
 * the set is sealed: records can be listed, each key has the reason -EKEYEXPIRED, none is changed.
 */
int keyset_new(struct key_store *store, const struct root_key *root,
	       const struct soft_root *soft_root, struct keyset **ret);
/* Withdraws every key. */
void keyset_free(struct keyset *set);
DEFINE_CLEANUP(struct keyset *, keyset_free);

/*
 * Fill an empty set from the store. A key that cannot be loaded is logged and kept with its reason;
 * a file that cannot be read is logged and counted. Errors are the store's as a whole, or -ENOMEM.
 */
int keyset_load(struct keyset *set);
/*
 * Keys whose files the manifest knows and the store has not. And 0, or -ESTALE: no manifest vouches
 * for the store, so that no key is active and none can be changed until keyset_accept().
 */
size_t keyset_missing(const struct keyset *set);
int keyset_distrust(const struct keyset *set);
/* -EKEYREJECTED: there are keys, and not one is sealed by the set's root. */
int keyset_check_root(const struct keyset *set);
/*
 * An operator has looked at the store and vouches for it: a new manifest over what is there, and
 * the set follows it. Errors leave the set as it was. Every key may have changed. A usable one whose file
 * is gone or cannot be read gets it back.
 */
int keyset_accept(struct keyset *set);
/* Files of the store that were no records, at the last keyset_load(). */
size_t keyset_unreadable(const struct keyset *set);

/*
 * Make a key for the chain entry @name (1 … KEKD_KEY_NAME_MAX letters, digits, '.', '_', '-') in
 * state KEY_STAGED or KEY_ACTIVE. The first usable key of a name becomes active whatever was asked.
 * -EEXIST: active was asked, and the name has a usable active key (rotate instead). -EINVAL: name
 * or state. -EOPNOTSUPP: the name is that of a key for secretbox. -ENOBUFS: full. Others from making or saving it; the set and the store are as before.
 * An active key of that name that was unusable becomes decrypt-only.
 */
int keyset_create(struct keyset *set, const char *name, enum key_state state,
		  const struct keyset_key **ret);

/*
 * Take in a key from outside (keys/imported.h): name, label, key_bytes and secretbox of @want, the
 * key itself in @bytes (borrowed, locked memory). It becomes the active key of its name. The same
 * key under the same label is taken in once: another call gives the first, whatever name it has.
 * -EEXIST: another key has the name. -EINVAL: name, label or length. -ENOBUFS. Others as above.
 */
int keyset_import(struct keyset *set, const struct key_record *want, struct span bytes,
		  const struct keyset_key **ret);

/*
 * The active key of @name. -ENOKEY: none is known; -EKEYREJECTED: there are two; or why it is
 * unusable.
 */
int keyset_active(const struct keyset *set, const char *name, const struct keyset_key **ret);
/* Whatever its state; NULL if unknown. */
const struct keyset_key *keyset_find(const struct keyset *set,
				     const uint8_t id[static KEKD_KEY_ID]);
/* All keys, struct keyset_key by link, oldest first. */
const struct list *keyset_list(const struct keyset *set);

/*
 * Look after each usable key (keys/kek.h says why). One that died is withdrawn and @gone is called
 * with it, once; the caller then closes its op sockets.
 */
typedef void keyset_gone_fn(void *ctx, const struct keyset_key *key);
void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx);

/*
 * Take a key to state @to, the key itself loaded or dropped with it.
 *
 * KEY_ACTIVE: the key gets @activation, or the next number if that is 0, and the one that was
 * active becomes decrypt-only. KEY_DESTROYED: the blob is gone from the record for good (what a file
 * system keeps of the old file is ciphertext).
 *
 * -EALREADY: it is in that state (with that number). -ENOKEY: no such key. -EPERM: no such step.
 * -ESTALE: @activation is not above every number of that name. -ERANGE: it is above
 * KEYSET_ACTIVATION_MAX and not the next. The key's own reason when it cannot
 * be used and the step needs it. Others from saving, which leave everything as it was.
 */
int keyset_step(struct keyset *set, const uint8_t id[static KEKD_KEY_ID], enum key_state to,
		uint32_t activation);
/* The same and nothing is done; the record as it would be. */
int keyset_step_plan(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID],
		     enum key_state to, uint32_t activation, struct key_record *ret);

/*
 * Read the store again and prove every key of it anew: its file says what the set knows, its blob
 * opens under the root and is the key of that id, name and label. @each is called for every key,
 * with 0 or the reason: -ENOENT the file is gone, -ESTALE it says something else, otherwise as
 * `why`. A destroyed key has nothing to open. -ESTALE, and no call: the manifest is not the one that
 * was written last. Errors are the store's as a whole.
 */
typedef void keyset_verify_fn(void *ctx, const struct keyset_key *key, int r);
int keyset_verify(const struct keyset *set, keyset_verify_fn *each, void *ctx);

/*
 * Load every key again that should open values and does not: one that an administrator killed in
 * the kernel comes back from the store. @back is called with each that did. -EKEYEXPIRED: sealed.
 */
int keyset_reload(struct keyset *set, keyset_gone_fn *back, void *ctx);

/*
 * Take a key from another node of the cluster: it must open under the root here. It is staged, or
 * decrypt-only if it was ever active there, or retired; which key is active does not change.
 * -EALREADY: it is here. -EEXIST: its id or label is another key's. -EKEYREJECTED: other root, or
 * destroyed. -ERANGE: its activation number. Others as keyset_create().
 */
int keyset_adopt(struct keyset *set, const struct key_record *rec, const struct keyset_key **ret);
/* The answer of a key to a probe (keys/check.h). -ENOKEY, or why it is unusable. */
int keyset_probe(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID],
		 const uint8_t nonce[static KEY_PROBE_NONCE], uint8_t ret[static KEKD_AES_BLOCK]);

/* Is the step from @from to @to one that a key may make? */
bool keyset_step_is_legal(enum key_state from, enum key_state to);
/* May a key in this state open values? */
bool keyset_state_opens(enum key_state s);

#endif
