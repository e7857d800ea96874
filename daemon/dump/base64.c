/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcrypto decodes, as its table is the fastest that is at hand. EVP_DecodeBlock(3) is lenient: it leaves
 * white space and '-' at either end out, takes '=' anywhere for six bits of 0, and does not look at the bits
 * behind the last byte. What it would forgive is refused here.
 */
#include "daemon/dump/base64.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

/* Are the last four characters what @n bytes are encoded as? */
static bool last_quad_is(const uint8_t *quad, const uint8_t *bytes, int n)
{
	uint8_t again[5];

	return EVP_EncodeBlock(again, bytes, n) == 4 && memcmp(again, quad, 4) == 0;
}

int base64_decode(struct span text, uint8_t *out, size_t *ret_len)
{
	size_t room = base64_room(text.len), digits = text.len;

	if (text.len % 4 != 0 || text.len > INT_MAX)
		return -EINVAL;
	while (digits > 0 && text.len - digits < 2 && text.data[digits - 1] == '=')
		digits--;
	if (digits > 0 && memchr(text.data, '=', digits))
		return -EINVAL;
	/* Shorter than expected: something at an end was left out. */
	if (EVP_DecodeBlock(out, text.data, (int)text.len) != (int)room)
		return -EINVAL;
	if (room > 0 &&
	    !last_quad_is(text.data + text.len - 4, out + room - 3, (int)(3 - (text.len - digits))))
		return -EINVAL;
	*ret_len = room - (text.len - digits);
	return 0;
}
