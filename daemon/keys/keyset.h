/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's keys: the keyset document (keys/keydoc.h) that this machine holds, with each key itself
 * where it could be loaded. Keys that could not are in the set too, with the reason.
 *
 * The document is replaced as a whole: by a change that is made here (keyset_change()), or by one that
 * comes from elsewhere (keyset_take()). It is durable in the store before the set follows it. What failed to
 * be written is as if it had not been; if fsync(2) of the directory failed, the next start may find it
 * done, and as every document is one that a machine may be left in, that harms nothing.
 *
 * A set without a root is sealed: nothing is known of its keys, as no MAC can be checked. One whose document
 * is of another root, or damaged, has no key either, and writes nothing.
 */
#ifndef KEKD_KEYS_KEYSET_H
#define KEKD_KEYS_KEYSET_H

#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/keys/kek.h"
#include "daemon/keys/keydoc_next.h"
#include "daemon/keys/record.h"
#include "daemon/keys/softkey.h"
#include "daemon/keys/store.h"
#include <kekd/list.h>

struct keyset;

/*
 * One key. Read-only for everyone but keyset*.c; lives until it is destroyed, or the set is freed.
 *
 * why: 0 if it can be used; otherwise -EKEYREJECTED (retired), -EINVAL or -EBADMSG (its blob is damaged, or
 * not the key of that name), -EEXIST (its label is taken by an older key; imported ones may share
 * it), -EOPNOTSUPP (kind of another custody), -EKEYREVOKED, -EKEYEXPIRED, -ENOKEY, -EACCES
 * (withdrawn after loading), or AF_ALG's own.
 */
struct keyset_key {
	struct list link;
	struct key_record rec;
	int why;
	struct kek *kek;      /* usable and in the kernel, else NULL */
	struct softkey *soft; /* usable and not in the kernel, else NULL */
	key_serial watched;   /* keyset_notes() has asked for news of this one */
	bool held;            /* usable, and nowhere here: keyset_key_bytes() for the holders */
};

/*
 * A set that is kept in @store, or in memory only if that is NULL, and sealed by @root, which
 * decides the kind of key that is made and loaded; NULL: there is none. Both are borrowed for the life of the
 * set. @name is this machine's for people; its node id is made when the store has none. Errors
 * of the store.
 */
int keyset_new(struct key_store *store, const struct root_key *root, const char *name,
	       struct keyset **ret);
/* Withdraws every key. */
void keyset_free(struct keyset *set);
DEFINE_CLEANUP(struct keyset *, keyset_free);

/*
 * Fill an empty set from the store. A key that cannot be loaded is logged and kept with its reason. 0 also
 * when there is no document, or none that can be used: keyset_why() has the reason. -ENOMEM.
 */
int keyset_load(struct keyset *set);
/*
 * 0: there is a document. -ENODATA: the machine is empty, it has none yet. -EKEYEXPIRED: sealed.
 * -EKEYREJECTED: the one in the store is of another root, whose fingerprint is at
 * keyset_other_root(). -EPROTONOSUPPORT: it is of a newer version of kekd. -EUCLEAN: the store's are damaged, both.
 */
int keyset_why(const struct keyset *set);
/* Words for keyset_why(), and what to do; "" for 0. */
const char *keyset_why_text(const struct keyset *set);
const uint8_t *keyset_other_root(const struct keyset *set);
/* The document was damaged, and the one before it is in use. */
bool keyset_is_previous(const struct keyset *set);
/* NULL if there is none. Borrowed until the next change. */
const struct keydoc *keyset_doc(const struct keyset *set);
/* Its text, as it travels. -ENODATA … as keyset_why(). Borrowed until the next change. */
int keyset_text(const struct keyset *set, struct span *ret);
/* This machine; its id is there even if it is no member of the document. */
const struct keydoc_member *keyset_self(const struct keyset *set);
/*
 * May this machine write values? Members do, and those that are leaving do not any more; nor does one of several
 * whose document was damaged: the others may have gone on from it and retired what the one before writes with.
 */
bool keyset_may_write(const struct keyset *set);
/* The root that MACs are made with. False: sealed. Borrowed. */
bool keyset_root(const struct keyset *set, struct keydoc_root *ret);

/*
 * Where the document says that etcd carries it, a change is made when it is there, and not here: the next document is
 * given to @offer, which takes it over (*@next is NULL then) and gives the answer, -EINPROGRESS if all is well.
 * What became of it comes back by keyset_take(). Without @offer there is no change but to KEYDOC_TAKE.
 */
typedef int keyset_offer_fn(void *ctx, const struct keydoc_change *change, struct keydoc **next,
			    struct keydoc_refusal *why);
void keyset_carry(struct keyset *set, keyset_offer_fn *offer, void *ctx);

/*
 * The second root, where the root is being rotated or is to be, of the first one's custody,
 * borrowed until keyset_second_end() says otherwise; NULL to have none. Every key that has a blob under it is
 * proved. -EKEYREJECTED: the document is being rotated between two others.
 */
int keyset_second(struct keyset *set, const struct root_key *root);
/*
 * After a document was taken. NONE: the second root is as it was. FIRST: it is the only root from now on, and the
 * first is not used any more. OVER: it is not used any more.
 */
enum keyset_second_end { KEYSET_SECOND_NONE, KEYSET_SECOND_FIRST, KEYSET_SECOND_OVER };
enum keyset_second_end keyset_second_end(struct keyset *set);
/* Fingerprint of the second root; NULL: there is none. Borrowed. */
const uint8_t *keyset_second_id(const struct keyset *set);
/*
 * The roots that this set has, and under which it opens every key of the document that its backend can open; in
 * a document that has one root, any other that it has. How many. None where there is one root and no second.
 */
size_t keyset_proved_roots(const struct keyset *set, uint8_t ret[static KEYDOC_ROOTS][KEY_ROOT_ID]);
/* Is @blob the key of @rec under the second root? 0, -ENOKEY: there is none; as keyset_verify(). */
int keyset_prove_second(const struct keyset *set, const struct key_record *rec, const char *blob);

/* Called with each key whose use has changed by a document: new, back, gone, or in another state. */
typedef void keyset_changed_fn(void *ctx, const struct keyset_key *key, enum key_state from);

/*
 * Make a change, durably, and follow it. @change's nonce and node are filled in. Begins a document where the
 * machine has none. @changed is called for each key that differs; one that is destroyed is called with
 * from == its last state and state KEY_DESTROYED, and is freed after that. Refusals of keydoc_next();
 * errors of writing, with words in *why.
 */
int keyset_change(struct keyset *set, struct keydoc_change *change,
		  const struct keydoc_heard *heard, struct keydoc_refusal *why,
		  keyset_changed_fn *changed, void *ctx);
/*
 * A document that is there already in its text form and was found to be one that may be taken: make it
 * ours. @doc is consumed on success. Errors of writing.
 */
int keyset_take(struct keyset *set, struct keydoc *doc, struct keydoc_refusal *why,
		keyset_changed_fn *changed, void *ctx);
/* So that the machine has a document to acknowledge: begins one that is not written yet. */
int keyset_begin(struct keyset *set);
/* Has it no document, or one without a key that nobody else knows? */
bool keyset_is_empty(const struct keyset *set);

/*
 * Make a key for the chain entry @name (1 … KEKD_KEY_NAME_MAX letters, digits, '.', '_', '-') and stage it.
 * It is of the kind that fits the root; _portable: of kind sealed (keys/imported.h), whatever fits.
 * -EALREADY: one is staged, *ret is that. -EINVAL: name. -EOPNOTSUPP: the name is that of a key for secretbox,
 * or there is no such kind. -EEXIST: the one that is staged is not portable. Others from making it, and as
 * keyset_change().
 */
int keyset_stage(struct keyset *set, const char *name, const struct keydoc_heard *heard,
		 struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
		 const struct keyset_key **ret);
int keyset_stage_portable(struct keyset *set, const char *name, const struct keydoc_heard *heard,
			  struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
			  const struct keyset_key **ret);
/*
 * Take in a key from outside (keys/imported.h) and stage it: name, label, key_bytes and secretbox of
 * @want, the key itself in @bytes (borrowed, locked memory). -EALREADY: this very key is there
 * under that label, *ret is that, whatever its name. -EEXIST: another key has the name. -EINVAL: name,
 * label or length. Others as above.
 */
int keyset_import(struct keyset *set, const struct key_record *want, struct span bytes,
		  const struct keydoc_heard *heard, struct keydoc_refusal *why,
		  keyset_changed_fn *changed, void *ctx, const struct keyset_key **ret);

/* The active key of @name. -ENOKEY: none; or why it is unusable. -EPERM: keyset_may_write() is false. */
int keyset_active(const struct keyset *set, const char *name, const struct keyset_key **ret);
/* The staged key of @name, or NULL. */
const struct keyset_key *keyset_staged(const struct keyset *set, const char *name);
/* Whatever its state; NULL if unknown. */
const struct keyset_key *keyset_find(const struct keyset *set,
				     const uint8_t id[static KEKD_KEY_ID]);
/*
 * The bytes of a key that is held, key->rec.key_bytes of them, opened anew: to @ret, in locked memory and the caller's
 * to wipe. Errors of imported_open().
 */
int keyset_key_bytes(const struct keyset *set, const struct keyset_key *key,
		     uint8_t ret[static KEKD_AES_KEY_MAX]);
/* All keys, struct keyset_key by link, oldest first. */
const struct list *keyset_list(const struct keyset *set);

/*
 * Look after each usable key (keys/kek.h says why). One that died is withdrawn and @gone is called
 * with it, once; the caller then closes its op sockets.
 */
typedef void keyset_gone_fn(void *ctx, const struct keyset_key *key);
void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx);
/* Have the kernel tell of each usable key by @notes (sys/keyring.h), where it does not yet. */
void keyset_notes(struct keyset *set, int notes);
/*
 * Load every key again that should open values and does not: one that an administrator killed in
 * the kernel comes back from the document. @back is called with each that did. -EKEYEXPIRED: sealed.
 */
int keyset_reload(struct keyset *set, keyset_gone_fn *back, void *ctx);

/*
 * Prove every key of the set, or of @doc, anew, beside the keys in use: its blob opens under the root and
 * is the key of that id, name and label. @each is called for every key, with 0 or the reason.
 * keyset_verify() also reads the store again. -ESTALE, and no call: it has another document than the set.
 */
typedef void keyset_verify_fn(void *ctx, const struct key_record *rec, int r);
int keyset_verify(const struct keyset *set, keyset_verify_fn *each, void *ctx);
int keyset_verify_doc(const struct keyset *set, const struct keydoc *doc, keyset_verify_fn *each,
		      void *ctx);

#endif
