/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys whose bytes are sealed here, and not by the kernel. They are of two kinds:
 *   imported  from outside: the `secret:` values of an EncryptionConfiguration, so that what was
 *             written with them can go on being read
 *   sealed    made here, and portable: for machines whose kernel cannot seal keys or key AF_ALG from a
 *             keyring (`custody: value`), and for clusters that such a machine is in
 *
 * The kernel seals only keys that it has made: an `encrypted` key of known bytes needs
 * CONFIG_USER_DECRYPTED_DATA, which no Debian kernel has, and none may have 16 bytes. So they are
 * sealed here, with nothing but a MAC under the root key, which is computed in the kernel and never leaves it unless
 * the root is in memory (keys/root.h):
 *
 *   stream = HMAC-SHA256(root, "kekd imported stream v1" NUL ‖ nonce 16 ‖ binding 32)
 *   text   = key ⊕ the first bytes of stream
 *   tag    = HMAC-SHA256(root, "kekd imported tag v1" NUL ‖ nonce ‖ binding ‖ text)
 *   blob   = "hmac-sha256 NONCE TEXT TAG", in hex
 *
 * HMAC is a pseudo-random function and the nonce is new for every seal, so the stream is a one-time
 * pad of at most 32 bytes, and the tag over the text is encrypt-then-MAC (Bellare and Namprempre,
 * 2000). The binding (keys/check.h) ties id, algorithm, name and label to it. What this process
 * holds for a moment is the pad of one key, which is worth no more than that key.
 *
 * What it means: unlike a KEK of kind `encrypted`, such a key passes through the keeper's locked memory,
 * when it comes to be and at each start, until it is where it is used: as a `logon` key, by
 * value in its transform alone, or in a holder. A key for secretbox stays in memory. Whoever had the old file
 * of an imported key has the key anyway: import ends the file, and a rotation to a key made here ends the
 * rest. AES keys of 16 bytes are called weak: some kernels let one who may use them by serial read them
 * out (kmod-notes/keyring.md).
 *
 * The check value is the first 16 bytes of HMAC-SHA256(key, "kekd imported check v1" NUL ‖ binding).
 * It says whether two imports are of the same key, and nothing about that key.
 */
#ifndef KEKD_KEYS_IMPORTED_H
#define KEKD_KEYS_IMPORTED_H

#include "daemon/keys/record.h"
#include "daemon/keys/root.h"

/* Is a key of this kind sealed here? */
static inline bool imported_kind(enum key_kind kind)
{
	return kind == KEY_KIND_IMPORTED || kind == KEY_KIND_SEALED;
}

/*
 * Seal @key (borrowed; rec->key_bytes of them, locked memory) for @rec, whose id, name, label, kind,
 * key_bytes and secretbox are set; root, blob and check are filled in, on success only.
 * -EINVAL: length, or kind. Errors of root_key_mac().
 */
int imported_seal(const struct root_key *root, struct key_record *rec, struct span key);
/*
 * The rec->key_bytes bytes of @rec's key to @ret, which lies in locked memory and is the caller's
 * to wipe. -EKEYREJECTED: sealed by another root. -EINVAL: no such blob. -EBADMSG: damaged, or
 * another record's. @ret is zero after an error.
 */
int imported_open(const struct root_key *root, const struct key_record *rec,
		  uint8_t ret[static KEKD_AES_KEY_MAX]);
/* Is @key the one that @rec was sealed with? @key as above; an error counts as no. */
bool imported_is(const struct key_record *rec, struct span key);

#endif
