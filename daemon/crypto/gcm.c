/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GCM around a block cipher that is somewhere else. Step numbers are SP 800-38D §7.1.
 */
#include "daemon/crypto/gcm.h"

#include <endian.h>

#include "daemon/crypto/xor.h"

/* Block number i has counter i + 1: J0 = nonce ‖ 0^31 ‖ 1 (step 2), then inc32 (step 3). */
void gcm_counters(const uint8_t nonce[static KEKD_GCM_NONCE], uint32_t first, size_t n,
		  uint8_t *ret_blocks)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t counter = htobe32(first + (uint32_t)i + 1);

		memcpy(ret_blocks, nonce, KEKD_GCM_NONCE);
		memcpy(ret_blocks + KEKD_GCM_NONCE, &counter, sizeof(counter));
		ret_blocks += KEKD_AES_BLOCK;
	}
}

void gcm_hash_aad(const struct ghash_key *h, struct span aad, uint8_t ret_y[static KEKD_AES_BLOCK])
{
	memset(ret_y, 0, KEKD_AES_BLOCK);
	ghash_padded(h, ret_y, aad);
}

void gcm_hash_text(const struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], struct span text)
{
	ghash_padded(h, y, text);
}

/* Steps 5 and 6: the lengths in bits as the last block, then the mask. */
void gcm_tag(const struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], uint64_t aad_len,
	     uint64_t text_len, const uint8_t ekj0[static KEKD_AES_BLOCK],
	     uint8_t ret_tag[static KEKD_GCM_TAG])
{
	uint64_t bits[2] = { htobe64(aad_len * 8), htobe64(text_len * 8) };

	ghash_padded(h, y, span_of(bits, sizeof(bits)));
	xor_bytes(ret_tag, y, ekj0, KEKD_GCM_TAG);
}
