/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key-encryption key of the kernel: an `encrypted` key in the keeper's ring, and a tfm socket of
 * ecb(aes) keyed by its serial. Its bytes are made in the kernel and stay there; this process sees
 * the sealed blob, which the maker gives it, and, once, the check value (keys/check.h).
 *
 * The kernel copies the key into the tfm, so killing the keyring key stops neither the tfm nor its
 * op sockets. That is why kek_alive() exists and must be polled, and why withdrawing a key is: free
 * it here, close its op sockets wherever they are. Under a root by value (keys/root.h) there is no
 * keyring key, and nobody but kekd can withdraw one.
 *
 * "ecb(aes)" is the kernel's name for the block cipher on independent blocks; see
 * <kekd/backend.h> for why that is not the mode of that name.
 */
#ifndef KEKD_KEYS_KEK_H
#define KEKD_KEYS_KEK_H

#include "daemon/base/cleanup.h"
#include "daemon/keys/record.h"
#include "daemon/keys/root.h"

struct kek;

/*
 * Make a new key of 32 bytes under @root (borrowed) for the record @rec, whose id, name and label
 * are set; kind, key_bytes, root, blob and check are filled in, on success only. Errors of
 * root_key_make(), of the keyring and of AF_ALG (afalg_cure() has words for them).
 */
int kek_generate(const struct root_key *root, struct key_record *rec, struct kek **ret);
/*
 * Load the key of @rec. -EKEYREJECTED: sealed by another root. -EINVAL: the blob is damaged. -EPROTOTYPE: it
 * was made under a root of the other type (keys/root.h).
 * -EBADMSG: it opens, but it is not the key of this id, name and label. -EOPNOTSUPP: kind or size,
 * or a root by value.
 * -EEXIST: loaded already. Others as above.
 */
int kek_load(const struct root_key *root, const struct key_record *rec, struct kek **ret);
/*
 * The same for a key whose bytes were unsealed (keys/imported.h), of 16, 24 or 32 of them: a `logon` key,
 * which nobody can read back; under a root by value the tfm has it alone. @bytes borrowed, in locked
 * memory, to be wiped as soon as this returns. Errors of the keyring and of AF_ALG.
 */
int kek_from_bytes(const struct root_key *root, const struct key_record *rec, struct span bytes,
		   struct kek **ret);
/* Load it beside the one in use, under another description, and let it go: the same answers. */
int kek_prove(const struct root_key *root, const struct key_record *rec);
/* Closes the tfm and unlinks the key. Op sockets live on: the caller closes them. */
void kek_free(struct kek *kek);
DEFINE_CLEANUP(struct kek *, kek_free);

/* E_K of one block of keys/check.h, and of no other. */
int kek_block(const struct kek *kek, const uint8_t block[static KEKD_AES_BLOCK],
	      uint8_t ret[static KEKD_AES_BLOCK]);
/* A new op socket, the caller's. The key must be alive: errors of kek_alive(). */
int kek_accept(const struct kek *kek, int *ret_fd);
/* 0, or why this key may no longer be used: -EKEYREVOKED, -EKEYEXPIRED, -ENOKEY, -EACCES. */
int kek_alive(const struct kek *kek);
/* 0 under a root by value. */
key_serial kek_serial(const struct kek *kek);

#endif
