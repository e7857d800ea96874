/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An acknowledgement: what a node says of the keyset document that it holds. It is a text under the MAC of
 * the root, like the document:
 *
 *   kekd-ack 1
 *   cluster 4f0c…
 *   node 77aa… cp-1                  who says it: node id and name
 *   keyset 00112233…                 SHA-256 of the document that it has taken
 *   generation 17                    of that document
 *   session 5be1…                    random, new with each start of the keeper
 *   number 93d1…                     random, new with each document: others answer to it
 *   heard 8be0… 2a44…                the last number of another node
 *   key 4f0c… opens quiet 20000      each key that opens values: all its servers open it, or the reason
 *                                    why not; quiet or busy; encryptions granted to it at most, in a
 *                                    backup to it and to all that it has heard of
 *   writes 4f0c….5                   key_id of each key that values are written with
 *   root 0123456789abcdef            if there are two: each root key that it has, and under which it opens
 *                                    each key of the document
 *   config 9c1e…                     digest of what has to be the same on all nodes (keeper/conf.h)
 *   time 2026-01-31T12:00:00Z        by the node's own clock
 *   version 0.1.0                    of kekd, for people
 *   formats 1                        the highest version of the document that it reads
 *   mac …
 *
 * Quiet about a key: none of the node's servers has answered with it for so long that no API server of this
 * machine writes with what it wrapped (keeper/acks.c has the time).
 */
#ifndef KEKD_KEYS_KEYACK_H
#define KEKD_KEYS_KEYACK_H

#include "daemon/keys/keydoc.h"

#define KEYACK_TEXT_MAX    (256 * 1024)
#define KEYACK_VERSION_MAX 32
#define BACKUP_TEXT_MAX    (KEYDOC_TEXT_MAX + KEYACK_TEXT_MAX)

struct keyack_key {
	uint8_t id[KEKD_KEY_ID];
	int why; /* 0: all servers open it; otherwise -errno */
	bool quiet;
	uint64_t uses;
};

struct keyack_heard {
	uint8_t node[KEYDOC_NODE], number[KEYDOC_NODE];
};

struct keyack_writes {
	uint8_t id[KEKD_KEY_ID];
	uint32_t activation;
};

struct keyack {
	uint8_t cluster[KEYDOC_NODE], node[KEYDOC_NODE];
	char name[KEYDOC_NODE_NAME];
	uint8_t doc[SHA256_LEN];
	uint64_t generation;
	uint8_t session[KEYDOC_NODE], number[KEYDOC_NODE];
	size_t n_heard, n_keys, n_writes;
	struct keyack_heard heard[KEYDOC_MEMBERS_MAX];
	struct keyack_key *keys;      /* its own; room for KEKD_KEYS_MAX */
	struct keyack_writes *writes; /* its own; room for KEKD_KEYS_MAX */
	size_t n_roots;
	uint8_t roots[KEYDOC_ROOTS][KEY_ROOT_ID];
	bool has_config;
	uint8_t config[SHA256_LEN];
	time_t time;
	char version[KEYACK_VERSION_MAX];
	unsigned int formats;
};

int keyack_new(struct keyack **ret);
void keyack_free(struct keyack *ack);
DEFINE_CLEANUP(struct keyack *, keyack_free);

/* As keydoc_format() and keydoc_parse(). */
int keyack_format(const struct keyack *ack, const struct keydoc_root *root, char **ret,
		  size_t *ret_len);
int keyack_parse(struct span text, const struct keydoc_root *root, struct keyack **ret,
		 uint8_t ret_other[static KEY_ROOT_ID]);
/*
 * A document and acknowledgements may follow each other in one text. Cuts the last acknowledgement off
 * *text, which keeps what was before it; false if there is none. No MAC is checked.
 */
bool keyack_cut(struct span *text, struct span *ret);
/* What is before all of them. */
struct span keyack_head(struct span text);

/* NULL: the key is not in it, so the node does not open it. Borrowed. */
const struct keyack_key *keyack_key(const struct keyack *ack, const uint8_t id[static KEKD_KEY_ID]);
bool keyack_writes_with(const struct keyack *ack, const uint8_t id[static KEKD_KEY_ID]);
/* Has it said that it has this root? */
bool keyack_has_root(const struct keyack *ack, const uint8_t root[static KEY_ROOT_ID]);
/* Has it heard this number of that node? */
bool keyack_has_heard(const struct keyack *ack, const uint8_t node[static KEYDOC_NODE],
		      const uint8_t number[static KEYDOC_NODE]);

#endif
