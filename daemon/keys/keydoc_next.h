/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one document follows from another: next(document, change, what was heard) is the next document, or a
 * refusal that names the node, the key and the command that cures it. Pure: no clock, no file, no random
 * numbers; what a change needs of those is given with it.
 *
 * The rules, each with the fault that needs it (tests/model has them as a model):
 *
 *   1. A key becomes active, for the first time or again, only when every member has acknowledged this
 *      document and its servers open the key. Else a member meets a value that it cannot open.
 *   2. A key stops opening values in one way: it is decrypt-only; it is marked when every member writes with
 *      another key and is quiet about this one; it is retired on evidence for that very mark. Else an API
 *      server that lags writes one more value with it. An operator may stand in for the evidence
 *      (vouched), and for the quiet (forced), never for a member that writes with the key.
 *   3. A key is destroyed when it has been retired for long enough by the clock of every member, and the mark
 *      and the evidence are new. Else the backups of etcd of that time are worthless.
 *   4. Activation numbers only grow, and a key_id (id and number) is never given twice.
 *   5. A node takes what may follow what it holds, and nothing else (keydoc_compare()).
 *   6. Documents that have forked are merged: keydoc_merge().
 *   7. A change that was interrupted goes on by the same command or is given up; what is given up opens
 *      values, so giving up harms nothing.
 *   8. Every change needs an answer of every member, those that are leaving too, to a number that its maker
 *      drew after it took this very document. A removal needs the rest only. So neither an old document nor
 *      old acknowledgements make a change.
 *   9. The root is rotated in two steps. Both roots are in the document when every member has said that it has
 *      both; the old one goes, or the new one is given up, when every member has said of this document, too, that
 *      it opens each key under the one that stays. Else a member is left with a root that opens nothing. A
 *      member takes no document that has none of the roots of its own (keydoc_compare()).
 */
#ifndef KEKD_KEYS_KEYDOC_NEXT_H
#define KEKD_KEYS_KEYDOC_NEXT_H

#include "daemon/keys/keyack.h"
#include "daemon/keys/keydoc.h"

#define KEYDOC_AHEAD_S 60 /* the clocks of two machines may differ by so much, in seconds */

enum keydoc_change_kind {
	KEYDOC_STAGE, /* @key: a new key, staged */
	KEYDOC_ACTIVATE, /* @id: staged or decrypt-only; the active one of its name becomes decrypt-only */
	KEYDOC_GIVE_UP, /* @id: staged; becomes decrypt-only */
	KEYDOC_MARK,    /* @id: decrypt-only or retired */
	KEYDOC_RETIRE,  /* @id: decrypt-only */
	KEYDOC_REOPEN,  /* @id: retired; becomes decrypt-only */
	KEYDOC_DESTROY, /* @id: retired */
	KEYDOC_JOIN,    /* @member: has acknowledged this document */
	KEYDOC_REMOVE,  /* @removed: become leaving */
	KEYDOC_LEFT, /* @removed: leaving; they have stopped and are quiet, or vouched: they are dead */
	KEYDOC_TAKE,       /* changes come from @node from now on */
	KEYDOC_CARRY,      /* etcd carries the document from now on */
	KEYDOC_ROOT_BEGIN, /* @root: is to come; @blobs: each key under it */
	KEYDOC_ROOT_END,   /* it has come, and the old one is gone */
	KEYDOC_ROOT_ABORT, /* it does not come */
	KEYDOC_CHANGES,
};

/* The format that a member has to read where the root is rotated (struct keyack). */
#define KEYDOC_FORMAT_ROTATE 3

/* A key under another root. */
struct keydoc_blob {
	uint8_t id[KEKD_KEY_ID];
	char blob[KEY_BLOB_MAX];
};

struct keydoc_change {
	enum keydoc_change_kind kind;
	/* Who makes the change, a fresh nonce, and the time for people. */
	uint8_t node[KEYDOC_NODE], nonce[KEYDOC_NODE];
	time_t time;
	uint8_t id[KEKD_KEY_ID];
	const struct key_record *key;
	struct keydoc_member member;
	size_t n_removed;
	const struct keydoc_node *removed;
	uint8_t root[KEY_ROOT_ID];
	size_t n_blobs;
	const struct keydoc_blob *blobs;
	uint64_t evidence; /* RETIRE, DESTROY: the mark that nothing needed the key at, or 0 */
	bool vouched;      /* RETIRE, DESTROY: an operator says so. LEFT: they never start again */
	bool forced;       /* RETIRE: also that nobody has to be quiet */
};

/* What the maker has heard, its own acknowledgement included. All borrowed. */
struct keydoc_heard {
	const struct keyack *const *acks;
	size_t n;
	uint8_t number[KEYDOC_NODE]; /* its own, drawn after it took the document */
	int64_t keep_retired;        /* seconds */
};

struct keydoc_refusal {
	int r;      /* as returned */
	bool waits; /* for members: the same change is possible later, without anybody doing anything */
	char text[512];
};

/* Fill *why; returns @r. */
int keydoc_refuse(struct keydoc_refusal *why, int r, const char *format, ...) _printf_(3, 4);

/*
 * The next document; caller frees. It has no hash before keydoc_format(). On refusal *why is filled, and
 * the result is -EALREADY: it is so; -EPERM: a key in this state, or this node, cannot; -ENOKEY: no such
 * key or node; -EEXIST; -EBUSY: it has to wait for a member or for time; -EAGAIN: a mark or evidence is
 * missing; -ENOBUFS: the document is full. -ENOMEM.
 */
int keydoc_next(const struct keydoc *doc, const struct keydoc_change *change,
		const struct keydoc_heard *heard, struct keydoc **ret, struct keydoc_refusal *why);

/*
 * The first document of a machine: its only member is @member, with the keys that it is given later.
 * @cluster and @nonce are random.
 */
int keydoc_begin(const uint8_t cluster[static KEYDOC_NODE], const uint8_t nonce[static KEYDOC_NODE],
		 const struct keydoc_member *member, const uint8_t root[static KEY_ROOT_ID],
		 time_t time, struct keydoc **ret);

/*
 * All keys of both, above both generations. Of two active keys of a name ours stays, under a new number if
 * the other side knows the name. What one side has retired or destroyed opens again if the other
 * side's opens; marks are void. Members are those of both if they are of one cluster, else ours.
 * -EKEYREJECTED: another root. -EEXIST: one id is two keys. -ENOBUFS, -ENOMEM.
 */
int keydoc_merge(const struct keydoc *ours, const struct keydoc *theirs,
		 const struct keydoc_change *by, struct keydoc **ret, struct keydoc_refusal *why);

/*
 * Rule 6: ours once more, above both generations, as what carries documents has lost it and has @theirs, which ours
 * covers, or none (NULL). What @theirs opens opens again, without one whatever is retired, as values of that time
 * may be back; marks are void. @reopened is called for each key that is decrypt-only by that. -ENOMEM.
 */
typedef void keydoc_reopened_fn(void *ctx, const struct key_record *rec);
int keydoc_again(const struct keydoc *ours, const struct keydoc *theirs,
		 const struct keydoc_change *by, keydoc_reopened_fn *reopened, void *ctx,
		 struct keydoc **ret);

/*
 * A backup on a machine that has nothing: the same cluster and keys, @member alone, everybody else removed. What they
 * have encrypted since the backup nobody knows, so each of them counts with its whole share.
 */
int keydoc_restore(const struct keydoc *backup, const struct keydoc_member *member,
		   const uint8_t nonce[static KEYDOC_NODE], time_t time, struct keydoc **ret);

#endif
