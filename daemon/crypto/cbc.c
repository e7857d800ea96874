/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CBC chaining around a block cipher that is somewhere else.
 */
#include "daemon/crypto/cbc.h"

#include "daemon/crypto/xor.h"

void cbc_encrypt_input(const uint8_t chain[static KEKD_AES_BLOCK],
		       const uint8_t in[static KEKD_AES_BLOCK],
		       uint8_t ret_block[static KEKD_AES_BLOCK])
{
	xor_bytes(ret_block, in, chain, KEKD_AES_BLOCK);
}

void cbc_encrypt_output(uint8_t chain[static KEKD_AES_BLOCK],
			const uint8_t block[static KEKD_AES_BLOCK],
			uint8_t out[static KEKD_AES_BLOCK])
{
	memcpy(chain, block, KEKD_AES_BLOCK);
	memcpy(out, block, KEKD_AES_BLOCK);
}

/*
 * From the last block to the first, as each needs the ciphertext block before it, which writing in
 * place would already have destroyed in the other direction.
 */
void cbc_decrypt_output(uint8_t chain[static KEKD_AES_BLOCK], const uint8_t *in,
			const uint8_t *blocks, size_t n, uint8_t *out)
{
	uint8_t last[KEKD_AES_BLOCK];

	memcpy(last, in + (n - 1) * KEKD_AES_BLOCK, sizeof(last));
	for (size_t i = n - 1; i > 0; i--) {
		size_t at = i * KEKD_AES_BLOCK;

		xor_bytes(out + at, blocks + at, in + at - KEKD_AES_BLOCK, KEKD_AES_BLOCK);
	}
	xor_bytes(out, blocks, chain, KEKD_AES_BLOCK);
	memcpy(chain, last, sizeof(last));
}
