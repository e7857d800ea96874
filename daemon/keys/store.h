/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store: a directory with one small text file a key, ciphertext only. Files are what
 * configuration management may carry between the nodes of a cluster.
 *
 *   kekd-key 1                       format and version
 *   id 4f0c…                         32 hex digits, random, the file's name is ID.key
 *   name primary                     chain entry (a `name:` under aesgcm.keys)
 *   label primary.4f0c…              NAME part of stored values
 *   kind encrypted                   encrypted (kernel) | openssl (userspace, sealed by its own root)
 *   alg aes-256
 *   state active                     staged | active | decrypt-only | retired | destroyed
 *   activation 1                     0 = never active
 *   created 2026-01-31T12:00:00Z
 *   blob default user:kekd-root 32 …
 *   check 00112233…                  32 hex digits, keys/kek.h
 *
 * The kernel does not authenticate a blob's name; the check value binds id, name, label and
 * algorithm to the key itself, so a swapped or renamed file is noticed.
 * Written whole: temporary file, fsync, rename, fsync of the directory.
 */
#ifndef KEKD_KEYS_STORE_H
#define KEKD_KEYS_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "daemon/base/cleanup.h"
#include "kekd/limits.h"

enum key_state {
	KEY_STAGED,
	KEY_ACTIVE,
	KEY_DECRYPT_ONLY,
	KEY_RETIRED,
	KEY_DESTROYED,
	KEY_STATES,
};
const char *key_state_name(enum key_state s);

enum key_kind { KEY_KIND_ENCRYPTED, KEY_KIND_OPENSSL };

/* What a key file says. No secret in it. */
struct key_record {
	uint8_t id[KEKD_KEY_ID];
	char name[KEKD_LABEL_MAX];
	char label[KEKD_LABEL_MAX];
	enum key_kind kind;
	unsigned int key_bytes; /* 16, 24, 32 */
	enum key_state state;
	uint32_t activation;
	time_t created;
	char blob[512];
	uint8_t check[KEKD_AES_BLOCK];
};

struct key_store;

/*
 * Open the directory @path: O_NOFOLLOW, owned by the caller's uid or root, not writable or readable by
 * others; made with mode 0700 if missing. -ENOTDIR, -ELOOP, -EPERM (ownership or mode; the log names
 * the cure). A lock file keeps a second keeper out: -EBUSY.
 */
int key_store_open(const char *path, struct key_store **ret);
void key_store_close(struct key_store *s);
DEFINE_CLEANUP(struct key_store *, key_store_close);

/*
 * Read every key file, sorted by created then id. @each is called with the record, or with r < 0 and rec == NULL
 * and the file's name when that file cannot be used (the log has file:line: reason); other files go on.
 */
typedef int key_store_each_fn(void *ctx, const struct key_record *rec, int r, const char *file);
int key_store_each(struct key_store *s, key_store_each_fn *each, void *ctx);

/* Write @rec durably, replacing the file of the same id. -ENOSPC, -EROFS, … leave the old file. */
int key_store_put(struct key_store *s, const struct key_record *rec);

/* Text form of one record, for the store, the tests and the fuzzer. */
int key_record_parse(const char *text, size_t len, struct key_record *ret, unsigned int *ret_line);
int key_record_format(const struct key_record *rec, char *buf, size_t size);

/* "4f0c….1": what Status shows. */
void key_id_format(const struct key_record *rec, char ret[static KEKD_KEY_ID_HEX + 12]);
/* -EINVAL unless it is exactly that form. */
int key_id_parse(const char *s, size_t len, uint8_t ret_id[static KEKD_KEY_ID],
		 uint32_t *ret_activation);

#endif
