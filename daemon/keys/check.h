/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What binds a key to its name. The binding of a record is
 *
 *   SHA-256("kekd check value v1" NUL id alg NUL name NUL label)
 *
 * (16 bytes of id; none of the texts holds a NUL, so no two records share a text), and the check
 * value of a key is E_K(B), where B is the first 12 bytes of the binding and 4 zero bytes. A blob
 * stored under another id, name or label, or in another's place, gives another value.
 *
 * Publishing E_K(B) is harmless: AES is a pseudo-random permutation, so its value at one point
 * says nothing about any other point, nor about K. It would matter if B were ever encrypted as part
 * of a message. In GCM with 96-bit nonces a counter block ends in 1, 2, 3 and so on; to come round
 * to 0 takes a message of 2^36 bytes, which SP 800-38D §5.2.1.1 forbids. So no counter block is
 * ever a B. H is E_K of the zero block; a binding whose first 12 bytes are zero is refused. In CBC,
 * B meets an input of the cipher by chance with probability 2^-128 a block, and then reveals that
 * block alone.
 *
 * It is no signature: who may *use* K can compute it. It says which key this is, not that its
 * state is the latest.
 */
#ifndef KEKD_KEYS_CHECK_H
#define KEKD_KEYS_CHECK_H

#include "daemon/crypto/digest.h"
#include "daemon/keys/record.h"

/* The binding: also the associated data of blobs that userspace seals. Errors of sha256(). */
int key_binding(const struct key_record *rec, uint8_t ret[static SHA256_LEN]);
/* B. -EINVAL: it would be the zero block. */
int key_check_block(const struct key_record *rec, uint8_t ret[static KEKD_AES_BLOCK]);

#endif
