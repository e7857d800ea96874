/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GCM (NIST SP 800-38D) without its block cipher: which blocks to encrypt, and what to do with the
 * answer. Pure functions on bytes; 96-bit nonces and 128-bit tags only (RFC 5116 §5.1).
 *
 * The order of a message: gcm_counters() → E_K by somebody else → xor_bytes() with the text, and
 * then gcm_tag_whole() of the *ciphertext*. A message that comes in pieces goes by gcm_hash_aad() →
 * gcm_hash_text() of each piece → gcm_tag() instead.
 *
 * Length limits (§5.2.1.1): text ≤ 2^36 - 32 bytes, so that the 32-bit counter, which starts at 1,
 * never wraps onto a block already used; AAD ≤ 2^61 - 1 bytes.
 */
#ifndef KEKD_CRYPTO_GCM_H
#define KEKD_CRYPTO_GCM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "daemon/crypto/ghash.h"
#include <kekd/limits.h>
#include <kekd/span.h>

#define GCM_TEXT_MAX ((UINT64_C(1) << 36) - 32)

_Static_assert(KEKD_VALUE_MAX <= GCM_TEXT_MAX, "every value of ours fits one GCM message");

/*
 * Write counter blocks number @first … @first + @n - 1 of a message. Number 0 is J0, which masks
 * the tag; number i ≥ 1 makes the i-th 16 bytes of keystream. No number may exceed
 * GCM_TEXT_MAX / 16, 2^32 - 2.
 */
void gcm_counters(const uint8_t nonce[static KEKD_GCM_NONCE], uint32_t first, size_t n,
		  uint8_t *ret_blocks);

/* Start the hash of a message: @ret_y from the AAD. */
void gcm_hash_aad(struct ghash_key *h, struct span aad, uint8_t ret_y[static KEKD_AES_BLOCK]);
/* Go on with ciphertext; every piece but the last is a multiple of 16 bytes. */
void gcm_hash_text(struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], struct span text);
/* Lengths in bytes of all AAD and text; @ekj0 = E_K(J0). @y is used up. */
void gcm_tag(struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], uint64_t aad_len,
	     uint64_t text_len, const uint8_t ekj0[static KEKD_AES_BLOCK],
	     uint8_t ret_tag[static KEKD_GCM_TAG]);

/* The tag of a message whose ciphertext @text is there as a whole; @ekj0 = E_K(J0). */
static inline void gcm_tag_whole(struct ghash_key *h, struct span aad, struct span text,
				 const uint8_t ekj0[static KEKD_AES_BLOCK],
				 uint8_t ret_tag[static KEKD_GCM_TAG])
{
	memcpy(ret_tag, ekj0, KEKD_GCM_TAG);
	h->impl->message(h, aad, text, ret_tag);
}

#endif
