/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four characters at a time by a table, and where the CPU has AVX2 first as many as there are by 32: libcrypto's
 * and libsodium's decoders take ten times as long, and of a scan that would be half.
 *
 * The four high bits of a character say how far its value is from it, but for '/'. They and the four low ones
 * also say whether it is a character of base64 at all: each half has a bit for every reason there is against
 * it, and if both have the same one it is none. (W. Mula, D. Lemire, "Faster Base64 Encoding and Decoding
 * using AVX2 Instructions", 2018.)
 */
#include "daemon/dump/base64.h"

#include <errno.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "daemon/base/cleanup.h"

/* A character's value with DIGIT set; 0: it is none. */
#define DIGIT 0x40U
#define D(c, v)                                                                            \
	[(c)] = DIGIT | (v), [(c) + 1] = DIGIT | ((v) + 1), [(c) + 2] = DIGIT | ((v) + 2), \
	[(c) + 3] = DIGIT | ((v) + 3), [(c) + 4] = DIGIT | ((v) + 4)

static const uint8_t digits[256] = {
	D('A', 0),  D('F', 5),          D('K', 10),         D('P', 15),
	D('U', 20), ['Z'] = DIGIT | 25, D('a', 26),         D('f', 31),
	D('k', 36), D('p', 41),         D('u', 46),         ['z'] = DIGIT | 51,
	D('0', 52), D('5', 57),         ['+'] = DIGIT | 62, ['/'] = DIGIT | 63,
};

#undef D

/* Returns DIGIT if all four are digits. */
static unsigned int quad_decode(const uint8_t quad[static 4], uint8_t out[static 3])
{
	unsigned int a = digits[quad[0]], b = digits[quad[1]];
	unsigned int c = digits[quad[2]], d = digits[quad[3]];
	unsigned int bits = (a << 18) + (b << 12) + (c << 6) + d -
			    ((DIGIT << 18) + (DIGIT << 12) + (DIGIT << 6) + DIGIT);

	out[0] = (uint8_t)(bits >> 16);
	out[1] = (uint8_t)(bits >> 8);
	out[2] = (uint8_t)bits;
	return a & b & c & d & DIGIT;
}

#if defined(__x86_64__)

#define BLOCK 32U /* characters */
#define TAIL \
	44U /* that give as many bytes as are stored at once, of which the last 8 mean nothing */

#define TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/* As many blocks of @text as leave room for a store; returns their characters, 0 if one is no digit. */
__attribute__((target("avx2"))) static size_t blocks_decode(struct span text, uint8_t *out)
{
	/* Against: 1 "only + and / are here", 2 digits, 4 letters from the first on, 8 the rest of them. */
	const __m256i against_high =
		TWICE(16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16);
	const __m256i against_low = TWICE(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
					  0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
	const __m256i distance = TWICE(0, 63 - '/', 62 - '+', 52 - '0', -'A', -'A', 26 - 'a',
				       26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0);
	const __m256i bytes = TWICE(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
	const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
	const __m256i half = _mm256_set1_epi8(15), slash = _mm256_set1_epi8('/');
	__m256i none = _mm256_setzero_si256();
	size_t at = 0;

	for (; text.len - at >= TAIL; at += BLOCK) {
		__m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(text.data + at));
		__m256i high = _mm256_and_si256(_mm256_srli_epi16(c, 4), half);
		__m256i low = _mm256_and_si256(c, half);

		none = _mm256_or_si256(none,
				       _mm256_and_si256(_mm256_shuffle_epi8(against_high, high),
							_mm256_shuffle_epi8(against_low, low)));
		high = _mm256_add_epi8(high, _mm256_cmpeq_epi8(c, slash)); /* 1 less */
		c = _mm256_add_epi8(c, _mm256_shuffle_epi8(distance, high));
		c = _mm256_maddubs_epi16(c, _mm256_set1_epi16(0x0140));  /* a << 6 | b */
		c = _mm256_madd_epi16(c, _mm256_set1_epi32(0x00011000)); /* and << 12 | c, d */
		c = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(c, bytes), lanes);
		_mm256_storeu_si256((__m256i *)(void *)(out + at / 4 * 3), c);
	}
	return _mm256_testz_si256(none, none) ? at : 0;
}

static int blocks_take(struct span *text, uint8_t **out)
{
	size_t n;

	if (text->len < TAIL || !__builtin_cpu_supports("avx2"))
		return 0;
	n = blocks_decode(*text, *out);
	*text = span_skip(*text, n);
	*out += n / 4 * 3;
	return n > 0 ? 0 : -EINVAL;
}

#else

static int blocks_take(struct span *text _unused_, uint8_t **out _unused_)
{
	return 0;
}

#endif

/* The last four characters, @padding of them '='. What would be behind the last byte has to be 0. */
static int last_decode(const uint8_t quad[static 4], size_t padding, uint8_t out[static 3])
{
	const uint8_t filled[] = { quad[0], quad[1], padding == 2 ? 'A' : quad[2], 'A' };

	if (!quad_decode(filled, out) || out[2] != 0 || (padding == 2 && out[1] != 0))
		return -EINVAL;
	return 0;
}

int base64_decode(struct span text, uint8_t *out, size_t *ret_len)
{
	size_t room = base64_room(text.len), padding = 0;
	unsigned int good = DIGIT;

	if (text.len % 4 != 0)
		return -EINVAL;
	while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=')
		padding++;
	if (padding > 0)
		text.len -= 4;
	if (blocks_take(&text, &out) < 0)
		return -EINVAL;
	for (; text.len > 0; text = span_skip(text, 4), out += 3)
		good &= quad_decode(text.data, out);
	if (!good || (padding > 0 && last_decode(text.data, padding, out) < 0))
		return -EINVAL;
	*ret_len = room - padding;
	return 0;
}
