/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBC (NIST SP 800-38A §6.2) without its block cipher.
 *
 * Encryption is a chain: block i goes into the cipher only after block i - 1 has come out. Decryption
 * is not: all D_K at once, then XOR. Both keep the last ciphertext block in @chain, which starts as
 * the IV, so that a message may be worked off in pieces.
 *
 * CBC has no authentication. What it protects must not tell an attacker whether padding was right:
 * pkcs7.h and its callers give one error for everything.
 */
#ifndef KEKD_CRYPTO_CBC_H
#define KEKD_CRYPTO_CBC_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/limits.h>

/* What goes into the cipher for the plaintext block @in: in ⊕ chain. */
void cbc_encrypt_input(const uint8_t chain[static KEKD_AES_BLOCK],
		       const uint8_t in[static KEKD_AES_BLOCK],
		       uint8_t ret_block[static KEKD_AES_BLOCK]);
/* What came out is the ciphertext block: to @out, and on into @chain. */
void cbc_encrypt_output(uint8_t chain[static KEKD_AES_BLOCK],
			const uint8_t block[static KEKD_AES_BLOCK],
			uint8_t out[static KEKD_AES_BLOCK]);

/*
 * @n ≥ 1 ciphertext blocks @in, and @blocks = D_K of each: the plaintext to @out, the last
 * ciphertext block to @chain. @out may be @in, no other overlap.
 */
void cbc_decrypt_output(uint8_t chain[static KEKD_AES_BLOCK], const uint8_t *in,
			const uint8_t *blocks, size_t n, uint8_t *out);

#endif
