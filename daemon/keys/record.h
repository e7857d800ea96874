/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about one key: no secret in it. Its text form is a block of lines of the
 * keyset document (keys/keydoc.h), in this order; a line that is marked "if" stands only then:
 *
 *   key 4f0c…                        32 hex digits, random
 *   name primary                     chain entry (a `name:` under aesgcm.keys)
 *   label primary.4f0c…              NAME part of stored values
 *   kind encrypted                   encrypted (kernel) | imported, sealed (keys/imported.h)
 *   alg aes-256                      imported also aes-128, aes-192, secretbox
 *   state active                     staged | active | decrypt-only | retired
 *   activation 1                     0 = never active
 *   created 2026-01-31T12:00:00Z
 *   retired 2026-05-01T12:00:00Z     if the state is retired
 *   marked 17                        if it is marked: the generation whose document is the mark
 *   uses 20000                       if members that are gone have used it: how often at most
 *   check 00112233…                  32 hex digits, keys/check.h
 *   blob default user:kekd-root 32 … ciphertext under the document's root
 *   reblob default user:kekd-root.F… the same under the root that is to come, while one is being rotated
 *
 * The kernel does not authenticate a blob's name; the check value binds id, name, label and
 * algorithm to the key itself, so blobs that changed places are noticed.
 */
#ifndef KEKD_KEYS_RECORD_H
#define KEKD_KEYS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "daemon/base/keyinfo.h"
#include "daemon/keys/text.h"

#define KEY_BLOB_MAX 512 /* with NUL */
#define KEY_ROOT_ID  8   /* bytes of a root's fingerprint */

struct key_record {
	struct key_info info;
	time_t retired;            /* 0 in other states */
	uint64_t uses;             /* encryptions by members that are gone, at most */
	uint8_t root[KEY_ROOT_ID]; /* that sealed it: the document's, not in the block */
	char blob[KEY_BLOB_MAX];
	char reblob[KEY_BLOB_MAX]; /* "" or the key under the document's next root */
	uint8_t check[KEKD_AES_BLOCK];
};

/*
 * Read the block at the start of *text, which moves behind it. -EINVAL: there is none of that form;
 * @ret and *text are undefined then.
 */
int key_record_take(struct span *text, struct key_record *ret);
/* Write the block. b->r: -EINVAL if key_record_take() would not accept it, or -ENOBUFS. */
void key_record_append(struct text_buf *b, const struct key_record *rec);

/* Members that are gone may have encrypted @n messages more with it; none with a key that was never active. */
void key_record_add_uses(struct key_record *rec, uint64_t n);

/* The activation in @s if that is a key_id of the same key as @key_id, which has that form. -EINVAL. */
int key_id_of(const char *key_id, struct span s, uint32_t *ret_activation);
/* -EINVAL unless it is exactly that form. */
int key_id_parse(const char *s, size_t len, uint8_t ret_id[static KEKD_KEY_ID],
		 uint32_t *ret_activation);

#endif
