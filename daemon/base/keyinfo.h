/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What anybody may know of a key: no secret in it. It travels as it is: in the keyset's records, from keeper to
 * server and to kekctl, on monitoring's page and in what kekctl judges by, so that each fact has one name and one place.
 */
#ifndef KEKD_BASE_KEYINFO_H
#define KEKD_BASE_KEYINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <kekd/limits.h>
#include <kekd/span.h>

#define KEY_ID_TEXT (KEKD_KEY_ID_HEX + 12) /* bytes of "4f0c….1", with NUL */

/* The life of a key; which changes are allowed is keys/keydoc_next.h's business. */
enum key_state {
	KEY_STAGED,
	KEY_ACTIVE,
	KEY_DECRYPT_ONLY,
	KEY_RETIRED,
	KEY_DESTROYED, /* only said of a key that is gone: no document holds it */
	KEY_STATES,
};

enum key_kind {
	KEY_KIND_ENCRYPTED, /* made and sealed by the kernel, which alone can open it */
	KEY_KIND_IMPORTED,  /* from outside */
	KEY_KIND_SEALED,    /* made here and portable: sealed as an imported one is */
	KEY_KINDS,
};

struct key_info {
	uint8_t id[KEKD_KEY_ID];
	char name[KEKD_LABEL_MAX];
	char label[KEKD_LABEL_MAX];
	enum key_kind kind;
	enum key_state state;
	uint32_t key_bytes;  /* 16, 24, 32 */
	uint32_t secretbox;  /* XSalsa20-Poly1305, 32 bytes, imported only; 0: AES */
	uint32_t activation; /* 0: never active */
	uint32_t reserved;   /* 0 */
	time_t created;      /* seconds since 1970 */
	uint64_t marked;     /* generation whose document is the mark, 0: none */
};
_Static_assert(sizeof(struct key_info) == 568, "as on the wire");

/* For one that another process has sent: -EPROTO unless its texts end and its kind and state have names. */
int key_info_check(const struct key_info *k);

/* Never NULL: "?" for a value that is none. Static. */
const char *key_state_name(enum key_state s);
const char *key_kind_name(enum key_kind k);
/* May a key in this state open values? */
bool key_state_opens(enum key_state s);

/* "aes-256", "secretbox"; "?" for a size that the algorithm does not have. Static. */
const char *key_alg_name(const struct key_info *k);
/* Set key_bytes and secretbox by such a name. -EINVAL. */
int key_alg_set(struct span name, struct key_info *k);
/* AES with 128 bits: some kernels let keys of 16 bytes be read out by who may use them. */
bool key_alg_is_weak(const struct key_info *k);

/* "4f0c….1": what Status shows. */
void key_id_format(const struct key_info *k, char ret[static KEY_ID_TEXT]);

/* Lower-case hex of @len bytes and a NUL: 2 * len + 1 bytes at @ret. */
void key_hex(const void *data, size_t len, char *ret);

#endif
