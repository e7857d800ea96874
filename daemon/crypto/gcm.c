/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GCM around a block cipher that is somewhere else. Step numbers are SP 800-38D §7.1.
 */
#include "daemon/crypto/gcm.h"

#include <endian.h>

#include "daemon/crypto/xor.h"

/* In so many counters, from a multiple on, only the last byte changes; no more than 256. */
#define STRETCH 64U

/* Counter blocks whose counters, from @counter on, differ in their last byte only. Returns their end. */
static uint8_t *counters_stretch(uint64_t head, uint32_t tail, uint32_t counter, size_t n,
				 uint8_t *ret_blocks)
{
	const uint32_t half[2] = { tail, htobe32(counter) };
	const uint64_t one = htobe64(1);
	uint64_t low;

	memcpy(&low, half, sizeof(low));
	for (size_t i = 0; i < n; i++, low += one, ret_blocks += KEKD_AES_BLOCK) {
		memcpy(ret_blocks, &head, sizeof(head));
		memcpy(ret_blocks + sizeof(head), &low, sizeof(low));
	}
	return ret_blocks;
}

/*
 * Block number i has counter i + 1: J0 = nonce ‖ 0^31 ‖ 1 (step 2), then inc32 (step 3). The nonce is
 * read once, as the compiler cannot know that the blocks do not lie over it.
 */
void gcm_counters(const uint8_t nonce[static KEKD_GCM_NONCE], uint32_t first, size_t n,
		  uint8_t *ret_blocks)
{
	uint32_t tail, counter = first + 1, big_endian;
	uint64_t head;

	_Static_assert(sizeof(head) + sizeof(tail) == KEKD_GCM_NONCE, "a nonce in two words");
	memcpy(&head, nonce, sizeof(head));
	memcpy(&tail, nonce + sizeof(head), sizeof(tail));
	while (n >= STRETCH) {
		ret_blocks = counters_stretch(head, tail, counter, STRETCH - counter % STRETCH,
					      ret_blocks);
		n -= STRETCH - counter % STRETCH;
		counter += STRETCH - counter % STRETCH;
	}
	for (; n > 0; n--, counter++, ret_blocks += KEKD_AES_BLOCK) {
		big_endian = htobe32(counter);
		memcpy(ret_blocks, &head, sizeof(head));
		memcpy(ret_blocks + sizeof(head), &tail, sizeof(tail));
		memcpy(ret_blocks + KEKD_GCM_NONCE, &big_endian, sizeof(big_endian));
	}
}

void gcm_hash_aad(struct ghash_key *h, struct span aad, uint8_t ret_y[static KEKD_AES_BLOCK])
{
	memset(ret_y, 0, KEKD_AES_BLOCK);
	ghash_padded(h, ret_y, aad);
}

void gcm_hash_text(struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], struct span text)
{
	ghash_padded(h, y, text);
}

/* Steps 5 and 6: the lengths in bits as the last block, then the mask. */
void gcm_tag(struct ghash_key *h, uint8_t y[static KEKD_AES_BLOCK], uint64_t aad_len,
	     uint64_t text_len, const uint8_t ekj0[static KEKD_AES_BLOCK],
	     uint8_t ret_tag[static KEKD_GCM_TAG])
{
	ghash_lengths(h, y, aad_len, text_len);
	xor_bytes(ret_tag, y, ekj0, KEKD_GCM_TAG);
}
