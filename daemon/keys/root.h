/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key: one key in the kernel, under which the kernel seals and opens every KEK. Nodes of a cluster share it; it is
 * on no disk. It is of type `user`, made of bytes that this process is given, or of type `trusted`, which the kernel has a TPM
 * open: then its bytes are in no process. What a blob says it was made under has the type in it, and the blob's MAC is over that: one
 * made under a `user` root does not open under a `trusted` one of the same bytes (keys/rewrap.h changes that).
 *
 * The kernel finds it by *name* each time it wraps or unwraps, and makes an encrypted key under a
 * missing or one-byte root without a word (security/keys/encrypted-keys). So it is made of bytes
 * whose number is known, under a name that is free, and root_key_check() proves before each use
 * that the name still leads to this key. Only this process can write to its own session, hence
 * nothing comes between.
 *
 * Its name says its fingerprint, kekd-root.FINGERPRINT, so that two can be there while the root is
 * rotated. The root that kekd starts with can be found as "kekd-root" too, which is how blobs call it that
 * were made under the first root of a keyset; those that a rotation has made call theirs by its own name.
 *
 * A possessor can read it, rights or not (daemon/sys/keyring.h): the keeper's filter refuses
 * KEYCTL_READ. Whoever is in the keeper when a `user` root is given to it has it; a `trusted` root that is read is the sealed blob.
 */
#ifndef KEKD_KEYS_ROOT_H
#define KEKD_KEYS_ROOT_H

#include "daemon/base/cleanup.h"
#include "daemon/keys/maker.h"
#include "daemon/keys/record.h"
#include "daemon/sys/keyring.h"

#define ROOT_DESC "kekd-root"
#define ROOT_MAC  32
/* Types of the kernel's. */
#define ROOT_USER    "user"
#define ROOT_TRUSTED "trusted"
/* The MAC of this text under a root is its fingerprint. */
#define ROOT_ID_TEXT "kekd root id v1"

/* "kekd-root.", the fingerprint in hex, and a NUL */
#define ROOT_DESC_SIZE (sizeof(ROOT_DESC) + 1 + 2 * KEY_ROOT_ID)

struct root_key;

/*
 * Make @secret (borrowed; SECRET_MIN … SECRET_MAX bytes, keys/secret.h) the root key in @ring,
 * which the session must hold. @maker, borrowed, is told of it, and lets it go with it; NULL: no key
 * will be made under it. -EINVAL: length. -EEXIST: there is one. Errors of the maker, and of AF_ALG
 * (sys/afalg.h) from computing its fingerprint; then there is no root key.
 */
int root_key_new(key_serial ring, struct maker *maker, struct span secret, struct root_key **ret);
/* The same beside a root that is there: it goes by its own name alone. */
int root_key_new_next(key_serial ring, struct maker *maker, struct span secret,
		      struct root_key **ret);
/* The same two of what a TPM has sealed, @sealed. Errors of keyring_add_trusted(), too. */
int root_key_new_trusted(key_serial ring, struct maker *maker, struct span sealed,
			 struct root_key **ret);
int root_key_new_next_trusted(key_serial ring, struct maker *maker, struct span sealed,
			      struct root_key **ret);
/* The same as the first with 32 fresh random bytes, which exist in this process only as long as the call. */
int root_key_new_ephemeral(key_serial ring, struct maker *maker, struct root_key **ret);
/*
 * A root without a keyring, of the same @secret: the bytes are in a transform of HMAC and nowhere else, and
 * keys go into the kernel by value (`custody: value`). Fingerprint and MACs are those of the root in a
 * keyring. Nothing is sealed under it but by keys/imported.h, and nobody can take it away.
 */
int root_key_new_by_value(struct span secret, struct root_key **ret);
/*
 * The same without the kernel: the bytes are in this process's locked memory, and keys go to a holder
 * (crypto/holder.h), as long as there is one, and nowhere else here.
 */
int root_key_new_in_memory(struct span secret, struct root_key **ret);
bool root_key_is_in_memory(const struct root_key *root);
/* One or the other: there is no keyring. */
bool root_key_is_by_value(const struct root_key *root);
/* Unlinks the key, whose payload the kernel then wipes. @root may be NULL. */
void root_key_free(struct root_key *root);
DEFINE_CLEANUP(struct root_key *, root_key_free);

/*
 * 0 if the kernel, asked for the root by name, finds this living key. -EKEYREVOKED, -EKEYEXPIRED,
 * -ENOKEY; -ESTALE: it finds another one. Always 0 for one by value.
 */
int root_key_check(const struct root_key *root);

/*
 * HMAC-SHA256 of @in under the root, computed in the kernel. @in starts with a text that names its
 * use. The kernel's own use of the root is SHA-256 of a text and the root, which no HMAC input
 * collides with. AF_ALG's errors, and those of root_key_check().
 */
int root_key_mac(const struct root_key *root, struct span in, uint8_t ret[static ROOT_MAC]);

/* KEY_ROOT_ID bytes of a MAC: tells roots apart, says nothing about them. Borrowed. */
const uint8_t *root_key_id(const struct root_key *root);
/* ROOT_USER or ROOT_TRUSTED. */
const char *root_key_type(const struct root_key *root);
/* Its own name. */
void root_key_desc(const uint8_t id[static KEY_ROOT_ID], char ret[static ROOT_DESC_SIZE]);
key_serial root_key_serial(const struct root_key *root);
key_serial root_key_ring(const struct root_key *root);
/* A new key under it, as its blob. -EOPNOTSUPP: without a maker, or by value. Errors of maker_key() and above. */
int root_key_make(const struct root_key *root, char ret_blob[static KEY_BLOB_MAX]);

#endif
