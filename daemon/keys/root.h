/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key: one key of type `user` in the kernel, under which the kernel seals and opens every
 * KEK. Nodes of a cluster share it; it is on no disk.
 *
 * The kernel finds it by *name* each time it wraps or unwraps, and makes an encrypted key under a
 * missing or one-byte root without a word (security/keys/encrypted-keys). So its length is proven
 * when it is made, before its rights are taken away, and root_key_check() proves before each use
 * that the name still leads to this key. Only this process can write to its own session, hence
 * nothing comes between.
 *
 * What a root of type `user` cannot give: whoever controls the *keeper* can read it, rights or not
 * (daemon/sys/keyring.h). No other process can. A `trusted` root would close that gap.
 */
#ifndef KEKD_KEYS_ROOT_H
#define KEKD_KEYS_ROOT_H

#include "daemon/base/cleanup.h"
#include "daemon/keys/record.h"
#include "daemon/sys/keyring.h"

#define ROOT_DESC "kekd-root"
#define ROOT_MAC  32

struct root_key;

/*
 * Make @secret (borrowed; SECRET_MIN … SECRET_MAX bytes, keys/secret.h) the root key in @ring,
 * which the session must hold. -EINVAL: length. -EEXIST: there is one. Errors of AF_ALG
 * (sys/afalg.h) from computing its fingerprint; then there is no root key.
 */
int root_key_new(key_serial ring, struct span secret, struct root_key **ret);
/* The same with 32 fresh random bytes, which exist in this process only as long as the call. */
int root_key_new_ephemeral(key_serial ring, struct root_key **ret);
/* Unlinks the key, whose payload the kernel then wipes. @root may be NULL. */
void root_key_free(struct root_key *root);
DEFINE_CLEANUP(struct root_key *, root_key_free);

/*
 * 0 if the kernel, asked for the root by name, finds this living key. -EKEYREVOKED, -EKEYEXPIRED,
 * -ENOKEY; -ESTALE: it finds another one.
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
key_serial root_key_serial(const struct root_key *root);
key_serial root_key_ring(const struct root_key *root);

#endif
