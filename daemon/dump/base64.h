/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard base64 with padding (RFC 4648 §4), strict and fast: for dumps of gigabytes. Not
 * constant time; what is stored in etcd is either ciphertext or lies there for all to see.
 */
#ifndef KEKD_DUMP_BASE64_H
#define KEKD_DUMP_BASE64_H

#include <kekd/span.h>

/* Bytes that @len characters can give at most. */
static inline size_t base64_room(size_t len)
{
	return len / 4 * 3;
}

/*
 * Decode @text to @out, which has base64_room() bytes. -EINVAL: a character that is none, a length
 * that is no multiple of four, padding in the middle, or bits behind the last byte that are not 0.
 */
int base64_decode(struct span text, uint8_t *out, size_t *ret_len);

#endif
