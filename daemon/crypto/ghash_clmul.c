/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH by PCLMULQDQ (Intel SDM vol. 2; the folding is Gueron and Kounavis, "Intel Carry-Less
 * Multiplication Instruction and its Usage for Computing the GCM Mode"). This file alone is compiled
 * for the instruction; nothing here runs unless CPUID has it.
 *
 * Up to GHASH_POWERS blocks are multiplied by falling powers of H and summed as 256-bit products,
 * which are reduced once: y·H^n + b1·H^n + b2·H^(n-1) + … + bn·H.
 */
#include "daemon/crypto/ghash.h"

#if defined(__x86_64__) && defined(__PCLMUL__) && defined(__SSE4_1__)

#include <immintrin.h>

/* A sum of products: low, middle (Karatsuba, not yet corrected) and high halves. */
struct product {
	__m128i lo, mid, hi;
};

/* A block in memory ↔ the mirrored polynomial as an integer: the same bytes, backwards. */
static inline __m128i byte_swap(__m128i x)
{
	return _mm_shuffle_epi8(x,
				_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

static inline __m128i load_block(const uint8_t *p)
{
	return byte_swap(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m128i swap_halves(__m128i x)
{
	return _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2));
}

static inline void product_add(struct product *sum, __m128i a, __m128i b)
{
	__m128i a_fold = _mm_xor_si128(a, swap_halves(a));
	__m128i b_fold = _mm_xor_si128(b, swap_halves(b));

	sum->lo = _mm_xor_si128(sum->lo, _mm_clmulepi64_si128(a, b, 0x00));
	sum->hi = _mm_xor_si128(sum->hi, _mm_clmulepi64_si128(a, b, 0x11));
	sum->mid = _mm_xor_si128(sum->mid, _mm_clmulepi64_si128(a_fold, b_fold, 0x00));
}

/*
 * Clear the lower word of @lo by adding it times the mirrored field polynomial (ghash_soft.c,
 * fold_word()); its two words change places so that the next call clears the other.
 */
static inline __m128i fold_word(__m128i lo)
{
	const __m128i poly = _mm_set_epi64x(0, (long long)0xc200000000000000ULL);

	return _mm_xor_si128(swap_halves(lo), _mm_clmulepi64_si128(lo, poly, 0x00));
}

static inline __m128i product_reduce(const struct product *sum)
{
	__m128i mid = _mm_xor_si128(sum->mid, _mm_xor_si128(sum->lo, sum->hi));
	__m128i lo = _mm_xor_si128(sum->lo, _mm_slli_si128(mid, 8));
	__m128i hi = _mm_xor_si128(sum->hi, _mm_srli_si128(mid, 8));

	return _mm_xor_si128(hi, fold_word(fold_word(lo)));
}

/*
 * Absorb @n blocks, 1 … GHASH_POWERS, with one reduction. Inlined so that a constant n unrolls, which
 * gcc does at -O2 only if told.
 */
static inline __attribute__((always_inline)) __m128i absorb(const struct ghash_key *key, __m128i y,
							    const uint8_t *in, size_t n)
{
	struct product sum = { _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128() };

#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++) {
		const struct ghash_elem *power = &key->power[n - 1 - i];
		__m128i block = load_block(in + i * KEKD_AES_BLOCK);

		if (i == 0)
			block = _mm_xor_si128(block, y);
		product_add(&sum, block, _mm_loadu_si128((const __m128i *)(const void *)power));
	}
	return product_reduce(&sum);
}

/* Each count its own code: small messages are one such call, and the loop would cost a third more. */
static __m128i absorb_few(const struct ghash_key *key, __m128i y, const uint8_t *in, size_t n)
{
	_Static_assert(GHASH_POWERS == 8, "one case for each count below");
	switch (n) {
	case 1:
		return absorb(key, y, in, 1);
	case 2:
		return absorb(key, y, in, 2);
	case 3:
		return absorb(key, y, in, 3);
	case 4:
		return absorb(key, y, in, 4);
	case 5:
		return absorb(key, y, in, 5);
	case 6:
		return absorb(key, y, in, 6);
	case 7:
		return absorb(key, y, in, 7);
	default:
		return y;
	}
}

static void clmul_update(const struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK],
			 const uint8_t *in, size_t n)
{
	__m128i acc = load_block(y);

	for (; n >= GHASH_POWERS; n -= GHASH_POWERS, in += GHASH_POWERS * KEKD_AES_BLOCK)
		acc = absorb(key, acc, in, GHASH_POWERS);
	acc = absorb_few(key, acc, in, n);
	_mm_storeu_si128((__m128i *)(void *)y, byte_swap(acc));
}

static bool clmul_supported(void)
{
	return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3") &&
	       __builtin_cpu_supports("sse4.1");
}

#else /* another architecture: ghash_soft.c serves */

static bool clmul_supported(void)
{
	return false;
}

#define clmul_update NULL

#endif

const struct ghash_impl ghash_clmul = {
	.name = "clmul",
	.supported = clmul_supported,
	.update = clmul_update,
};
