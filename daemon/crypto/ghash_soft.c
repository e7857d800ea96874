/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH in integer arithmetic, in constant time wherever the CPU's 64-bit multiplication is (all
 * that Debian's 64-bit ports run on).
 *
 * The idea, known from BearSSL's ghash_ctmul64: an integer multiplication is a carry-less one whose
 * sums carry. Spread each operand over four words that keep every fourth bit only. In a product of
 * two such words every sum sits four bits from the next and so has room for 15 terms before it
 * carries into it. The low half of a 64-bit product adds at most 16, and 16 only at its topmost
 * place, from where the carry leaves the word. One mask then keeps the parity of each sum.
 */
#include "daemon/crypto/ghash.h"

#include <endian.h>

#define LANE 0x1111111111111111U

static inline void spread(uint64_t x, uint64_t ret[static 4])
{
	for (unsigned int i = 0; i < 4; i++)
		ret[i] = x & (LANE << i);
}

/* Bits of the product at places ≡ r (mod 4): from operand lanes i, j with i + j ≡ r. */
static inline uint64_t product_lane(const uint64_t x[static 4], const uint64_t y[static 4],
				    unsigned int r)
{
	uint64_t sum = (x[0] * y[r]) ^ (x[1] * y[(r + 3) % 4]) ^ (x[2] * y[(r + 2) % 4]) ^
		       (x[3] * y[(r + 1) % 4]);

	return sum & (LANE << r);
}

/* Low 64 bits of the carry-less product. */
static uint64_t clmul_low(uint64_t x, uint64_t y)
{
	uint64_t xs[4], ys[4];

	spread(x, xs);
	spread(y, ys);
	return product_lane(xs, ys, 0) | product_lane(xs, ys, 1) | product_lane(xs, ys, 2) |
	       product_lane(xs, ys, 3);
}

/* The bits of @x in the opposite order. */
static uint64_t mirror(uint64_t x)
{
	x = ((x >> 1) & 0x5555555555555555) | ((x & 0x5555555555555555) << 1);
	x = ((x >> 2) & 0x3333333333333333) | ((x & 0x3333333333333333) << 2);
	x = ((x >> 4) & 0x0f0f0f0f0f0f0f0f) | ((x & 0x0f0f0f0f0f0f0f0f) << 4);
	return __builtin_bswap64(x);
}

/*
 * Carry-less 64 × 64 → 127 bits. Without carries a product mirrors exactly: its upper half is the
 * lower half of the mirrored operands' product, mirrored back and one place down.
 */
static struct ghash_elem clmul(uint64_t x, uint64_t y)
{
	return (struct ghash_elem){
		.lo = clmul_low(x, y),
		.hi = mirror(clmul_low(mirror(x), mirror(y))) >> 1,
	};
}

/* 128 × 128 → 255 bits by Karatsuba: three multiplications instead of four. */
static void multiply(struct ghash_elem a, struct ghash_elem b, uint64_t ret[static 4])
{
	struct ghash_elem lo = clmul(a.lo, b.lo);
	struct ghash_elem hi = clmul(a.hi, b.hi);
	struct ghash_elem mid = clmul(a.lo ^ a.hi, b.lo ^ b.hi);

	ret[0] = lo.lo;
	ret[1] = lo.hi ^ mid.lo ^ lo.lo ^ hi.lo;
	ret[2] = hi.lo ^ mid.hi ^ lo.hi ^ hi.hi;
	ret[3] = hi.hi;
}

/*
 * Clear the lowest word w by adding w times the mirrored field polynomial,
 * 2^128 + 2^127 + 2^126 + 2^121 + 1, whose last term meets w itself.
 */
static void soft_fold_word(uint64_t w, uint64_t *one_up, uint64_t *two_up)
{
	*one_up ^= (w << 63) ^ (w << 62) ^ (w << 57);
	*two_up ^= w ^ (w >> 1) ^ (w >> 2) ^ (w >> 7);
}

struct ghash_elem ghash_mul(struct ghash_elem a, struct ghash_elem b)
{
	uint64_t w[4];

	multiply(a, b, w);
	soft_fold_word(w[0], &w[1], &w[2]);
	soft_fold_word(w[1], &w[2], &w[3]);
	return (struct ghash_elem){ .lo = w[2], .hi = w[3] };
}

static bool soft_supported(void)
{
	return true;
}

static struct ghash_elem soft_load(const uint8_t *p)
{
	uint64_t w[2];

	memcpy(w, p, sizeof(w));
	return (struct ghash_elem){ .lo = be64toh(w[1]), .hi = be64toh(w[0]) };
}

static void store(uint8_t *p, struct ghash_elem e)
{
	uint64_t w[2] = { htobe64(e.hi), htobe64(e.lo) };

	memcpy(p, w, sizeof(w));
}

static void soft_update(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], const uint8_t *in,
			size_t n)
{
	struct ghash_elem acc = soft_load(y);

	for (size_t i = 0; i < n; i++) {
		struct ghash_elem block = soft_load(in + i * KEKD_AES_BLOCK);

		acc.lo ^= block.lo;
		acc.hi ^= block.hi;
		acc = ghash_mul(acc, key->power[0]);
	}
	store(y, acc);
}

const struct ghash_impl ghash_soft = {
	.name = "soft",
	.supported = soft_supported,
	.update = soft_update,
	.message = ghash_message,
};
