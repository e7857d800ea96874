/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both GHASH implementations share: the choice, the key, and the padding of a last block.
 */
#include "daemon/crypto/ghash.h"

#include <endian.h>

#include "daemon/base/secmem.h"

const struct ghash_impl *ghash_best(void)
{
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
	uint64_t w[2];

	memcpy(w, h, sizeof(w));
	ret->power[0] =
		ghash_div_x((struct ghash_elem){ .lo = be64toh(w[1]), .hi = be64toh(w[0]) });
	/* H^i x^-1 · H x^-1 · x = H^(i+1) x^-1 */
	for (size_t i = 1; i < GHASH_POWERS; i++)
		ret->power[i] = ghash_mul(ret->power[i - 1], ret->power[0]);
	ret->impl = impl;
	secmem_wipe(w, sizeof(w));
}

void ghash_padded(const struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], struct span data)
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
