/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH by carry-less multiplication: PCLMULQDQ (Intel SDM vol. 2) or PMULL (Arm ARM), by way of vec.h; the
 * folding is Gueron and Kounavis, "Intel Carry-Less Multiplication Instruction and its Usage for Computing the
 * GCM Mode". This file alone is compiled for the instruction; nothing here runs unless the CPU has it.
 *
 * Some blocks, NARROW of them at most, are multiplied by falling powers of H and summed as 256-bit
 * products, which are reduced once: y·H^n + b1·H^n + b2·H^(n-1) + … + bn·H.
 *
 * ghash_wide does so with WIDE blocks where an x86 CPU multiplies four at once (VPCLMULQDQ with AVX-512). It
 * pays from LONG blocks on; shorter messages are clmul's in both.
 */
#include "daemon/crypto/ghash.h"

#include <endian.h>
#include <string.h>

#include "daemon/crypto/vec.h"

#ifdef HAVE_VEC

#define NARROW 8
#define WIDE   GHASH_POWERS
#define LONG   (4 * WIDE)

/* A sum of products: low, middle (Karatsuba, not yet corrected) and high halves. */
struct product {
	vec lo, mid, hi;
};

/* A block in memory ↔ the mirrored polynomial as an integer: the same bytes, backwards. */
static inline vec byte_swap(vec x)
{
	return vec_pick(x, vec_of(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

static inline vec load_block(const uint8_t *p)
{
	return byte_swap(vec_load(p));
}

static inline struct product product_zero(void)
{
	return (struct product){ vec_zero(), vec_zero(), vec_zero() };
}

static inline void product_add(struct product *sum, vec a, vec b)
{
	vec a_fold = vec_xor(a, vec_swap_halves(a));
	vec b_fold = vec_xor(b, vec_swap_halves(b));

	sum->lo = vec_xor(sum->lo, vec_clmul_low(a, b));
	sum->hi = vec_xor(sum->hi, vec_clmul_high(a, b));
	sum->mid = vec_xor(sum->mid, vec_clmul_low(a_fold, b_fold));
}

/*
 * Clear the lower word of @lo by adding it times the mirrored field polynomial (ghash_soft.c,
 * soft_fold_word()); its two words change places so that the next call clears the other.
 */
static inline vec clmul_fold_word(vec lo)
{
	const vec poly = vec_of(0, 0xc200000000000000);

	return vec_xor(vec_swap_halves(lo), vec_clmul_low(lo, poly));
}

static inline vec product_reduce(const struct product *sum)
{
	vec mid = vec_xor(sum->mid, vec_xor(sum->lo, sum->hi));
	vec lo = vec_xor(sum->lo, vec_low_to_high(mid));
	vec hi = vec_xor(sum->hi, vec_high_to_low(mid));

	return vec_xor(hi, clmul_fold_word(clmul_fold_word(lo)));
}

/*
 * Absorb @n blocks, 1 … NARROW, with one reduction. Inlined so that a constant n unrolls, which
 * gcc does at -O2 only if told.
 */
static inline __attribute__((always_inline)) vec absorb(const struct ghash_key *key, vec y,
							const uint8_t *in, size_t n)
{
	struct product sum = product_zero();

#pragma GCC unroll 8
	for (size_t i = 0; i < n; i++) {
		vec block = load_block(in + i * KEKD_AES_BLOCK);

		if (i == 0)
			block = vec_xor(block, y);
		product_add(&sum, block, vec_load(&key->power[n - 1 - i]));
	}
	return product_reduce(&sum);
}

/* Each count its own code: it is the rest of every message that comes in pieces. */
static vec absorb_few(const struct ghash_key *key, vec y, const uint8_t *in, size_t n)
{
	_Static_assert(NARROW == 8, "one case for each count below");
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

/*
 * Make powers until there are @want: H^a x^-1 · H^b x^-1 · x = H^(a+b) x^-1. Of halves, so that the CPU need
 * not wait for each before it begins the next.
 */
static void make_powers(struct ghash_key *key, size_t want)
{
	for (size_t n = key->made + 1; n <= want; n++) {
		struct product p = product_zero();

		product_add(&p, vec_load(&key->power[n / 2 - 1]),
			    vec_load(&key->power[n - n / 2 - 1]));
		vec_store(&key->power[n - 1], product_reduce(&p));
		key->made = (unsigned int)n;
	}
}

static vec absorb_all(struct ghash_key *key, vec acc, const uint8_t *in, size_t n)
{
	size_t few;

	if (n >= 2 * NARROW && key->made < NARROW)
		make_powers(key, NARROW);
	for (; key->made >= NARROW && n >= NARROW; n -= NARROW) {
		acc = absorb(key, acc, in, NARROW);
		in += NARROW * KEKD_AES_BLOCK;
	}
	for (; n > 0; n -= few, in += few * KEKD_AES_BLOCK) {
		few = n < key->made ? n : key->made;
		acc = absorb_few(key, acc, in, few);
	}
	return acc;
}

static void clmul_update(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], const uint8_t *in,
			 size_t n)
{
	vec acc = absorb_all(key, load_block(y), in, n);

	vec_store(y, byte_swap(acc));
}

/*
 * The blocks of a short message: summed up with falling powers and reduced once, or one after the other with
 * H alone, each with its reduction.
 */
struct hash {
	const struct ghash_elem *power; /* of the block before this one */
	struct product sum;
	vec h, acc;
};

static inline __attribute__((always_inline)) void hash_block(struct hash *s, bool sums, vec block)
{
	struct product p = product_zero();

	if (sums) {
		s->power--;
		product_add(&s->sum, block, vec_load(s->power));
	} else {
		product_add(&p, vec_xor(s->acc, block), s->h);
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
static inline vec load_few(const uint8_t *p, size_t rest)
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
	return vec_of(hi, lo);
}

/* The same where at least 16 - @rest bytes lie before them: one load of those too, and they are left out. */
static inline vec load_end(const uint8_t *p, size_t rest)
{
	static const uint8_t place[2 * KEKD_AES_BLOCK] = {
		0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
		0x80, 0x80, 0x80, 0x80, 0x80, 15,   14,   13,   12,   11,   10,
		9,    8,    7,    6,    5,    4,    3,    2,    1,    0,
	};
	const uint8_t *from = p + rest - KEKD_AES_BLOCK;

	return vec_pick(vec_load(from), vec_load(place + rest));
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

static inline __attribute__((always_inline)) vec
hash_short(const struct ghash_key *key, bool sums, size_t blocks, struct span aad, struct span text)
{
	struct hash s = {
		.power = key->power + (sums ? blocks : 0), /* as many as there are */
		.sum = product_zero(),
		.h = vec_load(key->power),
		.acc = vec_zero(),
	};

	hash_span(&s, sums, aad);
	hash_span(&s, sums, text);
	hash_block(&s, sums, vec_of(aad.len * 8, text.len * 8));
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
	vec hash, masked = vec_load(tag);

	key->used = true;
	if (blocks > (first ? 2 * NARROW : NARROW)) {
		make_powers(key, NARROW);
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
	masked = vec_xor(masked, byte_swap(hash));
	vec_store(tag, masked);
}

#ifdef __x86_64__

#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,vpclmulqdq")))

/* Four blocks, each byte_swap()ped. */
WITH_AVX512 static inline __m512i load_blocks(const uint8_t *in)
{
	const __m512i backwards = _mm512_broadcast_i32x4(
		_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

	return _mm512_shuffle_epi8(_mm512_loadu_si512(in), backwards);
}

/* The four powers from @power on, the highest first. */
WITH_AVX512 static inline __m512i load_powers(const struct ghash_elem *power)
{
	__m512i p = _mm512_loadu_si512(power);

	return _mm512_shuffle_i64x2(p, p, _MM_SHUFFLE(0, 1, 2, 3));
}

WITH_AVX512 static inline vec sum_of_four(__m512i x)
{
	__m256i two = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));

	return _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
}

/*
 * Absorb WIDE blocks. The middle of a product is summed from its two parts here: by Karatsuba's way it would
 * be one multiplication less, and one exchange of halves more, for which the CPU has the same one port.
 */
WITH_AVX512 static inline vec absorb_wide(const __m512i power[static WIDE / 4], vec y,
					  const uint8_t *in)
{
	__m512i lo = _mm512_setzero_si512(), mid = lo, hi = lo;
	struct product sum;

#pragma GCC unroll 4
	for (size_t i = 0; i < WIDE / 4; i++) {
		__m512i blocks = load_blocks(in + i * 4 * KEKD_AES_BLOCK);

		if (i == 0)
			blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(y));
		lo = _mm512_xor_si512(lo, _mm512_clmulepi64_epi128(blocks, power[i], 0x00));
		hi = _mm512_xor_si512(hi, _mm512_clmulepi64_epi128(blocks, power[i], 0x11));
		mid = _mm512_xor_si512(mid, _mm512_clmulepi64_epi128(blocks, power[i], 0x01));
		mid = _mm512_xor_si512(mid, _mm512_clmulepi64_epi128(blocks, power[i], 0x10));
	}
	sum = (struct product){ sum_of_four(lo), sum_of_four(mid), sum_of_four(hi) };
	sum.mid = vec_xor(sum.mid, vec_xor(sum.lo, sum.hi));
	return product_reduce(&sum);
}

WITH_AVX512 static void wide_update(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK],
				    const uint8_t *in, size_t n)
{
	vec acc = load_block(y);

	if (n >= LONG) {
		__m512i power[WIDE / 4];

		make_powers(key, WIDE);
		for (size_t i = 0; i < WIDE / 4; i++)
			power[i] = load_powers(&key->power[WIDE - 4 * (i + 1)]);
		for (; n >= WIDE; n -= WIDE, in += WIDE * KEKD_AES_BLOCK)
			acc = absorb_wide(power, acc, in);
	}
	acc = absorb_all(key, acc, in, n);
	vec_store(y, byte_swap(acc));
}

#define ZERO(n) "vpxorq %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"

/* vzeroall reaches the first sixteen. */
WITH_AVX512 static void wide_forget(void)
{
	__asm__ volatile(ZERO(16) ZERO(17) ZERO(18) ZERO(19) ZERO(20) ZERO(21) ZERO(22) ZERO(23)
				 ZERO(24) ZERO(25) ZERO(26) ZERO(27) ZERO(28) ZERO(29) ZERO(30)
					 ZERO(31)
			 :
			 :
			 : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
			   "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
	vec_forget();
}

static bool wide_supported(void)
{
	return vec_supported() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("vpclmulqdq");
}

#endif
#endif

#ifdef HAVE_VEC
#define clmul_supported vec_supported
#define clmul_forget    vec_forget
#else /* ghash_soft.c serves */
static bool clmul_supported(void)
{
	return false;
}

#define clmul_update  NULL
#define clmul_message NULL
#define clmul_forget  NULL
#endif

#if !defined(HAVE_VEC) || !defined(__x86_64__)
static bool wide_supported(void)
{
	return false;
}

#define wide_update NULL
#define wide_forget NULL
#endif

const struct ghash_impl ghash_wide = {
	.name = "vpclmul",
	.supported = wide_supported,
	.update = wide_update,
	.message = clmul_message,
	.forget = wide_forget,
};

const struct ghash_impl ghash_clmul = {
	.name = "clmul",
	.supported = clmul_supported,
	.update = clmul_update,
	.message = clmul_message,
	.forget = clmul_forget,
};
