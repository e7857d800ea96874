/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GCM around a block cipher that is somewhere else. Step numbers are SP 800-38D §7.1.
 */
#include "daemon/crypto/gcm.h"

#include <endian.h>

#include "daemon/crypto/block.h"
#include "daemon/crypto/xor.h"

/*
 * Block number i has counter i + 1: J0 = nonce ‖ 0^31 ‖ 1 (step 2), then inc32 (step 3). The nonce is
 * read once, as the compiler cannot know that the blocks do not lie over it.
 */
void gcm_counters(const uint8_t nonce[static KEKD_GCM_NONCE], uint32_t first, size_t n,
		  uint8_t *ret_blocks)
{
	uint64_t head;
	uint32_t tail, counter;

	_Static_assert(sizeof(head) + sizeof(tail) == KEKD_GCM_NONCE, "a nonce in two words");
	memcpy(&head, nonce, sizeof(head));
	memcpy(&tail, nonce + sizeof(head), sizeof(tail));
	for (size_t i = 0; i < n; i++) {
		counter = htobe32(first + (uint32_t)i + 1);
		memcpy(ret_blocks, &head, sizeof(head));
		memcpy(ret_blocks + sizeof(head), &tail, sizeof(tail));
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

/* The blocks that @data takes with its last one filled up. */
static size_t blocks_of(struct span data)
{
	return data.len / KEKD_AES_BLOCK + (data.len % KEKD_AES_BLOCK > 0);
}

/* Copy @data, the short way for the whole blocks of which small messages are made. */
static void put(uint8_t *at, struct span data)
{
	size_t done = 0;

	for (; data.len - done >= KEKD_AES_BLOCK; done += KEKD_AES_BLOCK)
		memcpy(at + done, data.data + done, KEKD_AES_BLOCK);
	if (done < data.len)
		memcpy(at + done, data.data + done, data.len - done);
}

/* Everything that is hashed (step 5), side by side. All of it is public, so nothing is wiped. */
static void hash_short(const struct ghash_key *h, struct span aad, struct span text,
		       uint8_t y[static KEKD_AES_BLOCK])
{
	uint64_t bits[2] = { htobe64(aad.len * 8), htobe64(text.len * 8) };
	uint8_t blocks[GHASH_POWERS * KEKD_AES_BLOCK] = { 0 };
	size_t n = blocks_of(aad);

	put(blocks, aad);
	put(blocks + n * KEKD_AES_BLOCK, text);
	n += blocks_of(text);
	memcpy(blocks + n * KEKD_AES_BLOCK, bits, sizeof(bits));
	h->impl->update(h, y, blocks, n + 1);
}

void gcm_tag_whole(const struct ghash_key *h, struct span aad, struct span text,
		   const uint8_t ekj0[static KEKD_AES_BLOCK], uint8_t ret_tag[static KEKD_GCM_TAG])
{
	uint8_t y[KEKD_AES_BLOCK] = { 0 };

	if (blocks_of(aad) + blocks_of(text) < GHASH_POWERS) {
		hash_short(h, aad, text, y);
		xor_bytes(ret_tag, y, ekj0, KEKD_GCM_TAG);
	} else {
		gcm_hash_aad(h, aad, y);
		gcm_hash_text(h, y, text);
		gcm_tag(h, y, aad.len, text.len, ekj0, ret_tag);
	}
	block_wipe(y); /* with the tag it gives E_K(J0) away */
}
