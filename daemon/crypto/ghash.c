/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the GHASH implementations share: the choice, the key, and the padding of a last block.
 */
#include "daemon/crypto/ghash.h"

#include <endian.h>

#include "daemon/crypto/block.h"
#include "daemon/crypto/xor.h"

const struct ghash_impl *ghash_best(void)
{
	if (ghash_wide.supported())
		return &ghash_wide;
	return ghash_clmul.supported() ? &ghash_clmul : &ghash_soft;
}

/*
 * a · x^-1: one place up in the mirrored form. What falls out at the top is the coefficient of x^0,
 * which becomes x^-1 = x^127 + x^6 + x + 1, as x^128 = x^7 + x^2 + x + 1. By mask, as H is secret.
 */
static struct ghash_elem ghash_div_x(struct ghash_elem a)
{
	uint64_t out = 0 - (a.hi >> 63);

	return (struct ghash_elem){
		.lo = (a.lo << 1) ^ (out & 1),
		.hi = ((a.hi << 1) | (a.lo >> 63)) ^ (out & 0xc200000000000000),
	};
}

void ghash_key_init(struct ghash_key *ret, const uint8_t h[static KEKD_AES_BLOCK],
		    const struct ghash_impl *impl)
{
	uint64_t hi, lo;

	memcpy(&hi, h, sizeof(hi));
	memcpy(&lo, h + sizeof(hi), sizeof(lo));
	ret->power[0] = ghash_div_x((struct ghash_elem){ .lo = be64toh(lo), .hi = be64toh(hi) });
	ret->made = 1;
	ret->used = false;
	ret->impl = impl;
}

void ghash_key_forget(struct ghash_key *key)
{
	for (unsigned int i = 0; i < key->made; i++)
		key->power[i] = (struct ghash_elem){ 0 };
	__asm__ volatile("" : : "r"(key) : "memory"); /* the zeros are stored, as in block_wipe() */
	key->made = 0;
	if (key->impl->forget)
		key->impl->forget();
}

void ghash_padded(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], struct span data)
{
	size_t whole = data.len / KEKD_AES_BLOCK, rest = data.len % KEKD_AES_BLOCK;
	uint8_t last[KEKD_AES_BLOCK] = { 0 };

	if (whole > 0)
		key->impl->update(key, y, data.data, whole);
	if (rest > 0) {
		memcpy(last, data.data + whole * KEKD_AES_BLOCK, rest);
		key->impl->update(key, y, last, 1);
	}
}

void ghash_lengths(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], uint64_t aad_len,
		   uint64_t text_len)
{
	uint64_t bits[2] = { htobe64(aad_len * 8), htobe64(text_len * 8) };

	key->impl->update(key, y, (const uint8_t *)bits, 1);
}

void ghash_message(struct ghash_key *key, struct span aad, struct span text,
		   uint8_t tag[static KEKD_AES_BLOCK])
{
	uint8_t y[KEKD_AES_BLOCK] = { 0 };

	ghash_padded(key, y, aad);
	ghash_padded(key, y, text);
	ghash_lengths(key, y, aad.len, text.len);
	xor_bytes(tag, tag, y, KEKD_AES_BLOCK);
	block_wipe(y); /* with the tag it gives E_K(J0) away */
}
