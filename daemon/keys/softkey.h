/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the `openssl` backend: 32 random bytes in this process's locked memory, sealed in the
 * store by AES-256-GCM under a root of their own kind. For hosts whose policy leaves neither AF_ALG
 * nor encrypted keys, and only when the configuration names that backend.
 *
 * The blob is "aes-256-gcm NONCE CIPHERTEXT TAG" in hex, and its associated data the binding of
 * keys/check.h, so that here the seal itself holds id, name and label together.
 *
 * A root made of random bytes ends with the process, and then no one opens its blobs again: loading
 * them gives -EKEYREJECTED, the key is listed as unusable, and `kekctl key create` makes a new one.
 */
#ifndef KEKD_KEYS_SOFTKEY_H
#define KEKD_KEYS_SOFTKEY_H

#include "daemon/base/cleanup.h"
#include "daemon/keys/record.h"
#include <kekd/span.h>

struct soft_root;
struct softkey;

/*
 * Derive a root from @secret (borrowed; SECRET_MIN … SECRET_MAX bytes, keys/secret.h): the sealing
 * key is HMAC-SHA256(secret, "kekd openssl root: seal v1"), the key of soft_root_mac() that of
 * "... mac v1", the fingerprint that of "... id v1".
 */
int soft_root_new(struct span secret, struct soft_root **ret);
int soft_root_new_ephemeral(struct soft_root **ret);
void soft_root_free(struct soft_root *root);
DEFINE_CLEANUP(struct soft_root *, soft_root_free);
/* Fingerprint, KEY_ROOT_ID bytes. Borrowed. */
const uint8_t *soft_root_id(const struct soft_root *root);
/* As root_key_mac(), under HMAC-SHA256(secret, "... mac v1"). */
int soft_root_mac(const struct soft_root *root, struct span in, uint8_t ret[static 32]);

/* As kek_generate() and kek_load() of keys/kek.h; -EBADMSG: damaged or moved, one cannot tell. */
int softkey_generate(const struct soft_root *root, struct key_record *rec, struct softkey **ret);
int softkey_load(const struct soft_root *root, const struct key_record *rec, struct softkey **ret);
/* A copy of @bytes, 16 to KEKD_AES_KEY_MAX of them; the rest is zero. -EINVAL, -ENOMEM. */
int softkey_from_bytes(struct span bytes, struct softkey **ret);
/* Wipes. */
void softkey_free(struct softkey *key);
DEFINE_CLEANUP(struct softkey *, softkey_free);

/* E_K of one block of keys/check.h. */
int softkey_block(const struct softkey *key, const uint8_t block[static KEKD_AES_BLOCK],
		  uint8_t ret[static KEKD_AES_BLOCK]);

/* The KEKD_AES_KEY_MAX bytes themselves; borrowed, locked memory, gone with @key. */
const uint8_t *softkey_bytes(const struct softkey *key);

/*
 * Hand a key to the server: a descriptor for SCM_RIGHTS, the caller's to send and close, which
 * softkey_import() in the other process turns into the key (the fd is borrowed; good for one
 * import).
 *
 * It is a memfd_secret(2) where the kernel has that: pages which are locked, outside the kernel's
 * own mapping and cleared when freed. Elsewhere it is a pipe that holds the bytes: never swapped,
 * but the page is not cleared when the kernel frees it. A plain memfd would be swappable.
 */
int softkey_export(const struct softkey *key, int *ret_fd);
/* -EINVAL: not what softkey_export() makes. -ENOMEM: no memory, or none that can be locked. */
int softkey_import(int fd, struct softkey **ret);

#endif
