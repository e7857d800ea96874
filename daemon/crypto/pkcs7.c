/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Padding and its check. Masks are all ones for "yes" and zero for "no"; nothing branches on a byte
 * of the message until the verdict, which the caller is told anyway.
 */
#include "daemon/crypto/pkcs7.h"

#include <errno.h>
#include <string.h>

void pkcs7_pad(uint8_t *buf, size_t len)
{
	size_t n = pkcs7_padded(len) - len;

	memset(buf + len, (int)n, n);
}

/* Keep the compiler from seeing where a value comes from, and so from making a mask a branch. */
static inline uint32_t opaque(uint32_t x)
{
	__asm__("" : "+r"(x));
	return x;
}

/* a < b, for values below 2^31. */
static inline uint32_t mask_less(uint32_t a, uint32_t b)
{
	return 0 - (opaque(a - b) >> 31);
}

int pkcs7_unpad(const uint8_t *buf, size_t len, size_t *ret_len)
{
	const uint8_t *last;
	uint32_t n, bad;

	if (len == 0 || len % KEKD_AES_BLOCK != 0)
		return -EBADMSG;
	last = buf + len - KEKD_AES_BLOCK;
	n = last[KEKD_AES_BLOCK - 1];
	bad = mask_less(n, 1) | mask_less(KEKD_AES_BLOCK, n);
	for (uint32_t i = 0; i < KEKD_AES_BLOCK; i++) {
		uint32_t is_padding = mask_less(i, n);

		bad |= is_padding & (last[KEKD_AES_BLOCK - 1 - i] ^ n);
	}
	if (opaque(bad) != 0)
		return -EBADMSG;
	*ret_len = len - n;
	return 0;
}
