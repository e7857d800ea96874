/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ghash_clmul.c needs of 128 bits in a vector register, in the instructions of x86-64 (SSSE3, SSE4.1 and
 * PCLMULQDQ) and of arm64 (Advanced SIMD and PMULL; Arm ARM, C7.2). Nothing is defined for a compiler that was
 * not told to use them; whether this CPU has them is for vec_supported() to say.
 *
 * "Low" and "high" are the halves of the register as an integer, whose lowest byte is the first in memory.
 */
#ifndef KEKD_CRYPTO_VEC_H
#define KEKD_CRYPTO_VEC_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__PCLMUL__) && defined(__SSE4_1__)
#define HAVE_VEC 1

#include <immintrin.h>

typedef __m128i vec;

static inline vec vec_load(const void *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

static inline void vec_store(void *p, vec x)
{
	_mm_storeu_si128((__m128i *)p, x);
}

static inline vec vec_of(uint64_t hi, uint64_t lo)
{
	return _mm_set_epi64x((long long)hi, (long long)lo);
}

static inline vec vec_zero(void)
{
	return _mm_setzero_si128();
}

static inline vec vec_xor(vec a, vec b)
{
	return _mm_xor_si128(a, b);
}

/* Byte i of the result is byte @from[i] of @x, or 0 where @from[i] has its top bit. */
static inline vec vec_pick(vec x, vec from)
{
	return _mm_shuffle_epi8(x, from);
}

static inline vec vec_swap_halves(vec x)
{
	return _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2));
}

/* The low half in the place of the high one, and the other way round; the other half is 0. */
static inline vec vec_low_to_high(vec x)
{
	return _mm_slli_si128(x, 8);
}

static inline vec vec_high_to_low(vec x)
{
	return _mm_srli_si128(x, 8);
}

/* The carry-less products of the two low halves, and of the two high ones. */
static inline vec vec_clmul_low(vec a, vec b)
{
	return _mm_clmulepi64_si128(a, b, 0x00);
}

static inline vec vec_clmul_high(vec a, vec b)
{
	return _mm_clmulepi64_si128(a, b, 0x11);
}

static inline bool vec_supported(void)
{
	return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3") &&
	       __builtin_cpu_supports("sse4.1");
}

#define VEC_REGISTERS                                                                            \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

/* Registers outlive the function that used them. */
static inline void vec_forget(void)
{
	if (__builtin_cpu_supports("avx")) {
		__asm__ volatile("vzeroall" : : : VEC_REGISTERS);
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
			 : VEC_REGISTERS);
}

#elif defined(__aarch64__) && defined(__AARCH64EL__) && defined(__ARM_FEATURE_AES)
#define HAVE_VEC 1

#include <arm_neon.h>
#include <sys/auxv.h>

typedef uint8x16_t vec;

static inline vec vec_load(const void *p)
{
	return vld1q_u8(p);
}

static inline void vec_store(void *p, vec x)
{
	vst1q_u8(p, x);
}

static inline vec vec_of(uint64_t hi, uint64_t lo)
{
	return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(lo), vcreate_u64(hi)));
}

static inline vec vec_zero(void)
{
	return vdupq_n_u8(0);
}

static inline vec vec_xor(vec a, vec b)
{
	return veorq_u8(a, b);
}

/* TBL gives 0 for every index beyond its table. */
static inline vec vec_pick(vec x, vec from)
{
	return vqtbl1q_u8(x, from);
}

static inline vec vec_swap_halves(vec x)
{
	return vextq_u8(x, x, 8);
}

static inline vec vec_low_to_high(vec x)
{
	return vextq_u8(vec_zero(), x, 8);
}

static inline vec vec_high_to_low(vec x)
{
	return vextq_u8(x, vec_zero(), 8);
}

static inline vec vec_clmul_low(vec a, vec b)
{
	poly64_t x = vgetq_lane_p64(vreinterpretq_p64_u8(a), 0);
	poly64_t y = vgetq_lane_p64(vreinterpretq_p64_u8(b), 0);

	return vreinterpretq_u8_p128(vmull_p64(x, y));
}

static inline vec vec_clmul_high(vec a, vec b)
{
	return vreinterpretq_u8_p128(
		vmull_high_p64(vreinterpretq_p64_u8(a), vreinterpretq_p64_u8(b)));
}

/* HWCAP_PMULL of <asm/hwcap.h>, which has other names for other architectures. */
static inline bool vec_supported(void)
{
	const unsigned long pmull = 1UL << 4;

	return (getauxval(AT_HWCAP) & pmull) != 0;
}

#define VEC_ZERO(n) "movi v" #n ".2d, #0\n\t"

static inline void vec_forget(void)
{
	__asm__ volatile(
		VEC_ZERO(0) VEC_ZERO(1) VEC_ZERO(2) VEC_ZERO(3) VEC_ZERO(4) VEC_ZERO(5) VEC_ZERO(6)
			VEC_ZERO(7) VEC_ZERO(8) VEC_ZERO(9) VEC_ZERO(10) VEC_ZERO(11) VEC_ZERO(12)
				VEC_ZERO(13) VEC_ZERO(14) VEC_ZERO(15) VEC_ZERO(16) VEC_ZERO(17)
					VEC_ZERO(18) VEC_ZERO(19) VEC_ZERO(20) VEC_ZERO(21)
						VEC_ZERO(22) VEC_ZERO(23) VEC_ZERO(24) VEC_ZERO(25)
							VEC_ZERO(26) VEC_ZERO(27) VEC_ZERO(28)
								VEC_ZERO(29) VEC_ZERO(30)
									VEC_ZERO(31)
		:
		:
		: "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
		  "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
		  "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

#endif
#endif
