/* SPDX-License-Identifier: Apache-2.0 */
/* See base64.h. */
#include "daemon/dump/base64.h"

#include <errno.h>

/* The value of a character plus one; 0: it has none. */
static const uint8_t values[256] = {
	['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,
	['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
	['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
	['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
	['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
	['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
	['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
	['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
	['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
	['/'] = 64,
};

/* Four characters to 24 bits. False if one of them is none. */
static bool quad(const uint8_t *in, uint32_t *ret)
{
	uint32_t a = values[in[0]], b = values[in[1]], c = values[in[2]], d = values[in[3]];

	*ret = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
	return a && b && c && d;
}

/* The last four, which may end in padding. -EINVAL, or how many bytes they give. */
static int last_quad(const uint8_t *in, uint8_t *out)
{
	uint8_t full[4] = { in[0], in[1], in[2], in[3] };
	int bytes = 3;
	uint32_t bits;

	if (full[3] == '=') {
		full[3] = 'A';
		bytes = 2;
		if (full[2] == '=') {
			full[2] = 'A';
			bytes = 1;
		}
	}
	if (!quad(full, &bits) || (bits & ((1U << (24 - 8 * bytes)) - 1)) != 0)
		return -EINVAL;
	for (int i = 0; i < bytes; i++)
		out[i] = (uint8_t)(bits >> (16 - 8 * i));
	return bytes;
}

int base64_decode(struct span text, uint8_t *out, size_t *ret_len)
{
	uint8_t *start = out;
	uint32_t bits;
	int last;

	if (text.len % 4 != 0)
		return -EINVAL;
	for (; text.len > 4; text = span_skip(text, 4), out += 3) {
		if (!quad(text.data, &bits))
			return -EINVAL;
		out[0] = (uint8_t)(bits >> 16);
		out[1] = (uint8_t)(bits >> 8);
		out[2] = (uint8_t)bits;
	}
	if (text.len > 0) {
		last = last_quad(text.data, out);
		if (last < 0)
			return last;
		out += last;
	}
	*ret_len = (size_t)(out - start);
	return 0;
}
