/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyset document: what the keys of a machine, or of all the machines of a cluster, are. It holds
 * ciphertext only, and has one text form:
 *
 *   kekd-keyset 1                    format and version; 2 if a key is of kind sealed, 3 while and after the
 *                                    root is rotated
 *   cluster 4f0c…                    32 hex digits, random, the same for all documents of a cluster
 *   generation 17                    grows with every document
 *   nonce 93d1…                      random: two documents of one generation differ
 *   node 77aa…                       who wrote it
 *   time 2026-01-31T12:00:00Z        when, for people: no rule compares it
 *   carrier none                     none | hand NODE | etcd: where changes come from
 *   merged 00112233…                 if it is two documents merged: SHA-256 of each of them
 *   member 77aa… member cp-1         node id, member or leaving, its name
 *   removed 8be0…                    a node that was a member
 *   root 0123456789abcdef            fingerprint of the root key (keys/root.h)
 *   root 76543210fedcba98            if the root is being rotated: of the one that is to come
 *   activations 5                    the highest activation number that was ever given
 *   key …                            a block for each key (keys/record.h)
 *   gone 61c2…                       a key that was destroyed, of the last KEYDOC_GONE_MAX
 *   forgotten 0                      up to this generation other keys may have been destroyed
 *   mac 0123456789abcdef 00112233…   fingerprint of a root, and its MAC over all before the first such line
 *
 * While the root is being rotated each key has two blobs, and there is a MAC under each of the two roots: who
 * has one of them reads the document and opens every key.
 *
 * Who reads it checks the MAC before he parses anything else. A text that is no document, or of another
 * root, cannot do more than be refused.
 *
 * Everything here is a pure function of its arguments: no clock, no file, no random numbers.
 */
#ifndef KEKD_KEYS_KEYDOC_H
#define KEKD_KEYS_KEYDOC_H

#include "daemon/crypto/digest.h"
#include "daemon/keys/record.h"

#define KEYDOC_TEXT_MAX    (512 * 1024) /* as if each key had two blobs */
#define KEYDOC_NODE        16
#define KEYDOC_NODE_NAME   64 /* with NUL */
#define KEYDOC_MEMBERS_MAX 32
#define KEYDOC_REMOVED_MAX 256
#define KEYDOC_GONE_MAX    4096
#define KEYDOC_MAC         32
#define KEYDOC_ROOTS       2

/*
 * Alone: one machine. Hand: brought from node to node, and one of them makes changes. etcd: any member makes
 * them, and one is made when it is there.
 */
enum keydoc_carrier { KEYDOC_ALONE, KEYDOC_HAND, KEYDOC_ETCD, KEYDOC_CARRIERS };

struct keydoc_node {
	uint8_t id[KEYDOC_NODE];
};

struct keydoc_member {
	uint8_t id[KEYDOC_NODE];
	char name[KEYDOC_NODE_NAME];
	bool leaving;
};

struct keydoc {
	uint8_t cluster[KEYDOC_NODE];
	uint64_t generation;
	uint8_t nonce[KEYDOC_NODE];
	uint8_t node[KEYDOC_NODE];
	time_t time;
	enum keydoc_carrier carrier;
	uint8_t hand[KEYDOC_NODE]; /* carrier hand: the node that makes changes */
	bool is_merged;
	uint8_t merged[2][SHA256_LEN];
	size_t n_members;
	struct keydoc_member members[KEYDOC_MEMBERS_MAX];
	size_t n_removed;
	struct keydoc_node removed[KEYDOC_REMOVED_MAX];
	uint8_t root[KEY_ROOT_ID];
	bool rotating;
	uint8_t next_root[KEY_ROOT_ID]; /* rotating: the root that is to come */
	uint32_t activations;
	size_t n_keys;
	struct key_record *keys; /* its own; room for KEKD_KEYS_MAX */
	size_t n_gone;
	uint8_t (*gone)[KEKD_KEY_ID]; /* its own, oldest first; room for KEYDOC_GONE_MAX */
	uint64_t forgotten;

	uint8_t hash[SHA256_LEN]; /* of its text: set by keydoc_parse() and keydoc_format() */
};

/* HMAC-SHA256 of @in under a root: root_key_mac(). */
typedef int keydoc_mac_fn(const void *root, struct span in, uint8_t ret[static KEYDOC_MAC]);

/* A root that makes and checks MACs, and another one if both are there. Borrowed. */
struct keydoc_root {
	keydoc_mac_fn *mac;
	const void *ctx;
	const uint8_t *id; /* KEY_ROOT_ID bytes */
	const struct keydoc_root *also;
};
/* The one of that fingerprint, or NULL. */
const struct keydoc_root *keydoc_root_find(const struct keydoc_root *root,
					   const uint8_t id[static KEY_ROOT_ID]);

/* An empty document: no member, no key. -ENOMEM. */
int keydoc_new(struct keydoc **ret);
int keydoc_copy(const struct keydoc *doc, struct keydoc **ret);
void keydoc_free(struct keydoc *doc);
DEFINE_CLEANUP(struct keydoc *, keydoc_free);

/*
 * The text with a MAC of each of its roots, NUL-terminated; caller frees. doc->hash is set. -EINVAL: not a
 * document that keydoc_parse() would accept, or one of its roots is not there; -ENOBUFS: larger than KEYDOC_TEXT_MAX. Errors of the MAC, -ENOMEM.
 */
int keydoc_format(struct keydoc *doc, const struct keydoc_root *root, char **ret, size_t *ret_len);
/*
 * Check the MAC, then read. Of two MACs each whose root is there must hold. -ENODATA: it does not end as a document does (cut short, or another kind of file);
 * -EKEYREJECTED: its MAC is of another root, whose fingerprint is then at @ret_other; -EBADMSG: the MAC
 * does not hold; -EPROTONOSUPPORT: of a version that this program does not read; -EINVAL: no
 * document in spite of its MAC.
 */
int keydoc_parse(struct span text, const struct keydoc_root *root, struct keydoc **ret,
		 uint8_t ret_other[static KEY_ROOT_ID]);
/* Would it still fit if its root were being changed, so that each key had two blobs? */
bool keydoc_fits(const struct keydoc *doc);

/*
 * Any text under a root's MAC (a document, an acknowledgement): @first is its first line without the
 * newline. sign: appends a line "mac …" for each root. open: the reason as above, and the text without
 * those lines.
 */
int keydoc_sign(struct text_buf *b, const char *first, const struct keydoc_root *root);
int keydoc_open(struct span text, const char *first, const struct keydoc_root *root,
		struct span *ret, uint8_t ret_other[static KEY_ROOT_ID]);

/* Is it one of the roots that the document is sealed under? */
bool keydoc_has_root(const struct keydoc *doc, const uint8_t id[static KEY_ROOT_ID]);
/* @rec of @doc as that root has it: blob and root are those. */
void keydoc_record_under(const struct keydoc *doc, const struct key_record *rec,
			 const uint8_t root[static KEY_ROOT_ID], struct key_record *ret);
/* Not rotating any more: the root that is to come is the only one, or is given up. */
void keydoc_end_rotation(struct keydoc *doc, bool give_up);

/* Borrowed; NULL if there is none. */
struct key_record *keydoc_key(const struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID]);
const struct key_record *keydoc_active(const struct keydoc *doc, const char *name);
/* Is any key of that name, in whatever state? */
bool keydoc_has_name(const struct keydoc *doc, const char *name);
const struct keydoc_member *keydoc_member(const struct keydoc *doc,
					  const uint8_t id[static KEYDOC_NODE]);
bool keydoc_is_gone(const struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID]);
bool keydoc_is_removed(const struct keydoc *doc, const uint8_t id[static KEYDOC_NODE]);
/* Note that a key or a node is no more. The oldest of those that are noted makes room. */
void keydoc_add_gone(struct keydoc *doc, const uint8_t id[static KEKD_KEY_ID]);
void keydoc_add_removed(struct keydoc *doc, const uint8_t id[static KEYDOC_NODE]);

/* What @theirs is to who holds @ours. */
enum keydoc_relation {
	KEYDOC_SAME,    /* the same text */
	KEYDOC_NEWER,   /* it may follow ours, or is ours and another merged */
	KEYDOC_OLDER,   /* ours may follow it, or would but for its generation */
	KEYDOC_FORKED,  /* neither may follow the other */
	KEYDOC_FOREIGN, /* of another cluster */
};
enum keydoc_relation keydoc_compare(const struct keydoc *ours, const struct keydoc *theirs);
/*
 * May @b take the place of @a, generations aside: it knows every key and member of @a or that they are
 * gone, brings none back, and no activation number has fallen. Where not, *why says in words what is in
 * the way (static, or NULL not to be told).
 */
bool keydoc_covers(const struct keydoc *b, const struct keydoc *a, const char **why);
/* Is it the same key, whatever state it is in? Two keys of one id never are. */
bool keydoc_same_key(const struct key_record *a, const struct key_record *b);

#endif
