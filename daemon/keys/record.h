/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about one key: no secret in it. Its text form is a key file, one line a
 * field, in this order and nothing else (a record has exactly one text form, and that one only is
 * read):
 *
 *   kekd-key 1                       format and version
 *   id 4f0c…                         32 hex digits, random, the file's name is ID.key
 *   name primary                     chain entry (a `name:` under aesgcm.keys)
 *   label primary.4f0c…              NAME part of stored values
 *   kind encrypted                   encrypted (kernel) | openssl (userspace, its own root) |
 *                                    imported (either, keys/imported.h)
 *   alg aes-256                      imported also aes-128, aes-192, secretbox
 *   state active                     staged | active | decrypt-only | retired | destroyed
 *   activation 1                     0 = never active
 *   created 2026-01-31T12:00:00Z
 *   root 0123456789abcdef            fingerprint of the root key that sealed it, keys/root.h
 *   blob default user:kekd-root 32 … ciphertext; "-" when destroyed
 *   check 00112233…                  32 hex digits, keys/check.h
 *
 * The kernel does not authenticate a blob's name; the check value binds id, name, label and
 * algorithm to the key itself, so a swapped or renamed file is noticed. The fingerprint tells a
 * damaged blob from one of another root, which the kernel reports alike.
 */
#ifndef KEKD_KEYS_RECORD_H
#define KEKD_KEYS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <kekd/limits.h>

#define KEY_BLOB_MAX        512  /* with NUL */
#define KEY_ROOT_ID         8    /* bytes of a root's fingerprint */
#define KEY_RECORD_TEXT_MAX 2048 /* no text form is longer */

/* The life of a key; which steps are legal is keyset's business (keys/keyset.h). */
enum key_state {
	KEY_STAGED,
	KEY_ACTIVE,
	KEY_DECRYPT_ONLY,
	KEY_RETIRED,
	KEY_DESTROYED,
	KEY_STATES,
};

enum key_kind { KEY_KIND_ENCRYPTED, KEY_KIND_OPENSSL, KEY_KIND_IMPORTED, KEY_KINDS };

/* Never NULL: "?" for a value that is none. Static. */
const char *key_state_name(enum key_state s);
const char *key_kind_name(enum key_kind k);

struct key_record {
	uint8_t id[KEKD_KEY_ID];
	char name[KEKD_LABEL_MAX];
	char label[KEKD_LABEL_MAX];
	enum key_kind kind;
	unsigned int key_bytes; /* 16, 24, 32 */
	bool secretbox;         /* XSalsa20-Poly1305, 32 bytes, imported only; else AES */
	enum key_state state;
	uint32_t activation;
	time_t created;
	uint8_t root[KEY_ROOT_ID];
	char blob[KEY_BLOB_MAX]; /* "" when destroyed */
	uint8_t check[KEKD_AES_BLOCK];
};

/*
 * Read the text form; @text is borrowed and need not end in NUL. -EINVAL: not that form, and
 * *ret_line is the line to blame (it is written on failure only).
 */
int key_record_parse(const char *text, size_t len, struct key_record *ret, unsigned int *ret_line);
/*
 * Write the text form, NUL-terminated, its length without NUL to *ret_len. -EINVAL: @rec is not
 * one that key_record_parse() would accept. -ENOBUFS: @size; KEY_RECORD_TEXT_MAX is enough.
 */
int key_record_format(const struct key_record *rec, char *buf, size_t size, size_t *ret_len);

/* "aes-256", "secretbox"; "?" for a size that the algorithm does not have. Static. */
const char *key_alg_name(const struct key_record *rec);

/* Lower-case hex of @len bytes and a NUL: 2 * len + 1 bytes at @ret. */
void key_hex(const void *data, size_t len, char *ret);
/* Exactly @len bytes of lower-case hex. -EINVAL, and @ret is undefined then. */
int key_unhex(const char *hex, size_t hex_len, uint8_t *ret, size_t len);

/* "4f0c….1": what Status shows. */
void key_id_format(const struct key_record *rec, char ret[static KEKD_KEY_ID_HEX + 12]);
/* -EINVAL unless it is exactly that form. */
int key_id_parse(const char *s, size_t len, uint8_t ret_id[static KEKD_KEY_ID],
		 uint32_t *ret_activation);

#endif
