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

#include <endian.h>
#include <string.h>

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

static inline __m128i load_power(const struct ghash_elem *power)
{
	return _mm_loadu_si128((const __m128i *)(const void *)power);
}

static inline struct product product_zero(void)
{
	return (struct product){ _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128() };
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
 * soft_fold_word()); its two words change places so that the next call clears the other.
 */
static inline __m128i clmul_fold_word(__m128i lo)
{
	const __m128i poly = _mm_set_epi64x(0, (long long)0xc200000000000000ULL);

	return _mm_xor_si128(swap_halves(lo), _mm_clmulepi64_si128(lo, poly, 0x00));
}

static inline __m128i product_reduce(const struct product *sum)
{
	__m128i mid = _mm_xor_si128(sum->mid, _mm_xor_si128(sum->lo, sum->hi));
	__m128i lo = _mm_xor_si128(sum->lo, _mm_slli_si128(mid, 8));
	__m128i hi = _mm_xor_si128(sum->hi, _mm_srli_si128(mid, 8));

	return _mm_xor_si128(hi, clmul_fold_word(clmul_fold_word(lo)));
}

/*
 * Absorb @n blocks, 1 … GHASH_POWERS, with one reduction. Inlined so that a constant n unrolls, which
 * gcc does at -O2 only if told.
 */
static inline __attribute__((always_inline)) __m128i absorb(const struct ghash_key *key, __m128i y,
							    const uint8_t *in, size_t n)
{
	struct product sum = product_zero();

#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++) {
		__m128i block = load_block(in + i * KEKD_AES_BLOCK);

		if (i == 0)
			block = _mm_xor_si128(block, y);
		product_add(&sum, block, load_power(&key->power[n - 1 - i]));
	}
	return product_reduce(&sum);
}

/* Each count its own code: it is the rest of every message that comes in pieces. */
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

/* Make powers until there are @want: H^i x^-1 · H x^-1 · x = H^(i+1) x^-1. */
static void make_powers(struct ghash_key *key, size_t want)
{
	__m128i h = load_power(&key->power[0]), power = load_power(&key->power[key->made - 1]);

	while (key->made < want) {
		struct product p = product_zero();

		product_add(&p, power, h);
		power = product_reduce(&p);
		_mm_storeu_si128((__m128i *)(void *)&key->power[key->made++], power);
	}
}

static void clmul_update(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], const uint8_t *in,
			 size_t n)
{
	__m128i acc = load_block(y);
	size_t few;

	if (n >= 2 * GHASH_POWERS)
		make_powers(key, GHASH_POWERS);
	for (; key->made == GHASH_POWERS && n >= GHASH_POWERS; n -= GHASH_POWERS) {
		acc = absorb(key, acc, in, GHASH_POWERS);
		in += GHASH_POWERS * KEKD_AES_BLOCK;
	}
	for (; n > 0; n -= few, in += few * KEKD_AES_BLOCK) {
		few = n < key->made ? n : key->made;
		acc = absorb_few(key, acc, in, few);
	}
	_mm_storeu_si128((__m128i *)(void *)y, byte_swap(acc));
}

/*
 * The blocks of a short message: summed up with falling powers and reduced once, or one after the other with
 * H alone, each with its reduction.
 */
struct hash {
	const struct ghash_elem *power; /* of the block before this one */
	struct product sum;
	__m128i h, acc;
};

static inline __attribute__((always_inline)) void hash_block(struct hash *s, bool sums,
							     __m128i block)
{
	struct product p = product_zero();

	if (sums) {
		s->power--;
		product_add(&s->sum, block, load_power(s->power));
	} else {
		product_add(&p, _mm_xor_si128(s->acc, block), s->h);
		s->acc = product_reduce(&p);
	}
}

static inline uint64_t load_word(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return be64toh(w);
}

/* @rest bytes, 1 … 15, as load_block() of them and zeros. No byte beyond them is read. */
static inline __m128i load_few(const uint8_t *p, size_t rest)
{
	uint64_t hi = 0, lo = 0;

	if (rest >= sizeof(hi)) {
		hi = load_word(p);
		if (rest > sizeof(hi))
			lo = load_word(p + rest - sizeof(lo)) << (8 * (KEKD_AES_BLOCK - rest));
	} else {
		for (size_t i = 0; i < rest; i++)
			hi = hi << 8 | p[i];
		hi <<= 8 * (sizeof(hi) - rest);
	}
	return _mm_set_epi64x((long long)hi, (long long)lo);
}

/* The same where at least 16 - @rest bytes lie before them: one load of those too, and they are left out. */
static inline __m128i load_end(const uint8_t *p, size_t rest)
{
	static const uint8_t place[2 * KEKD_AES_BLOCK] = {
		0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0x80, 0x80, 0x80, 15,   14,   13,   12,   11,   10,
		9,    8,    7,    6,    5,    4,    3,    2,    1,    0,
	};
	const uint8_t *from = p + rest - KEKD_AES_BLOCK;

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)from),
				_mm_loadu_si128((const __m128i *)(const void *)(place + rest)));
}

static inline __attribute__((always_inline)) void hash_span(struct hash *s, bool sums,
							    struct span data)
{
	size_t rest = data.len % KEKD_AES_BLOCK;
	size_t i;

	for (i = 0; i + KEKD_AES_BLOCK <= data.len; i += KEKD_AES_BLOCK)
		hash_block(s, sums, load_block(data.data + i));
	if (rest > 0 && i > 0)
		hash_block(s, sums, load_end(data.data + i, rest));
	else if (rest > 0)
		hash_block(s, sums, load_few(data.data, rest));
}

static inline __attribute__((always_inline)) __m128i
hash_short(const struct ghash_key *key, bool sums, size_t blocks, struct span aad, struct span text)
{
	struct hash s = {
		.power = key->power + (sums ? blocks : 0), /* as many as there are */
		.sum = product_zero(),
		.h = load_power(key->power),
		.acc = _mm_setzero_si128(),
	};

	hash_span(&s, sums, aad);
	hash_span(&s, sums, text);
	hash_block(&s, sums, _mm_set_epi64x((long long)(aad.len * 8), (long long)(text.len * 8)));
	return sums ? product_reduce(&s.sum) : s.acc;
}

static size_t blocks_of(struct span data)
{
	return (data.len + KEKD_AES_BLOCK - 1) / KEKD_AES_BLOCK;
}

/*
 * A power costs as much as one and a half blocks that are multiplied and summed, and is there for one run
 * only. The first message of a run may be its only one: it does without while it is short.
 */
static void clmul_message(struct ghash_key *key, struct span aad, struct span text,
			  uint8_t tag[static KEKD_AES_BLOCK])
{
	size_t blocks = blocks_of(aad) + blocks_of(text) + 1;
	bool first = !key->used;
	__m128i hash, masked = _mm_loadu_si128((const __m128i *)(const void *)tag);

	key->used = true;
	if (blocks > (first ? 2 * GHASH_POWERS : GHASH_POWERS)) {
		make_powers(key, GHASH_POWERS);
		ghash_message(key, aad, text, tag);
		return;
	}
	if (first) {
		hash = hash_short(key, false, blocks, aad, text);
	} else {
		if (key->made < blocks)
			make_powers(key, blocks);
		hash = hash_short(key, true, blocks, aad, text);
	}
	masked = _mm_xor_si128(masked, byte_swap(hash));
	_mm_storeu_si128((__m128i *)(void *)tag, masked);
}

#define CLMUL_REGISTERS                                                                          \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Registers outlive the function that used them. */
static void clmul_forget(void)
{
	if (__builtin_cpu_supports("avx")) {
		__asm__ volatile("vzeroall" : : : CLMUL_REGISTERS);
		return;
	}
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\t"
			 "pxor %%xmm2, %%xmm2\n\tpxor %%xmm3, %%xmm3\n\t"
			 "pxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
			 "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
			 "pxor %%xmm8, %%xmm8\n\tpxor %%xmm9, %%xmm9\n\t"
			 "pxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
			 "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\t"
			 "pxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15"
			 :
			 :
			 : CLMUL_REGISTERS);
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

#define clmul_update  NULL
#define clmul_message NULL
#define clmul_forget  NULL

#endif

const struct ghash_impl ghash_clmul = {
	.name = "clmul",
	.supported = clmul_supported,
	.update = clmul_update,
	.message = clmul_message,
	.forget = clmul_forget,
};
