/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out = a ⊕ b, sixteen bytes at a time in a vector of gcc and clang, which every 64-bit port has
 * registers for; through memcpy(), which is how unaligned words are read in C.
 */
#ifndef KEKD_CRYPTO_XOR_H
#define KEKD_CRYPTO_XOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t xor_word __attribute__((vector_size(16)));

/* @out may be @a or @b exactly; no other overlap. */
static inline void xor_bytes(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t len)
{
	xor_word x, y;

	for (; len >= sizeof(x); len -= sizeof(x)) {
		memcpy(&x, a, sizeof(x));
		memcpy(&y, b, sizeof(y));
		x ^= y;
		memcpy(out, &x, sizeof(x));
		a += sizeof(x);
		b += sizeof(x);
		out += sizeof(x);
	}
	for (; len > 0; len--)
		*out++ = *a++ ^ *b++;
}

#endif
