/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A borrowed run of bytes. Never owns, never NUL-terminated, may be empty with data == NULL.
 */
#ifndef KEKD_SPAN_H
#define KEKD_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const uint8_t *data;
	size_t len;
};

#define SPAN_NULL ((struct span){ NULL, 0 })

/* Of a string literal, for tables: its length is known before anything runs. */
#define SPAN_LITERAL(s)                             \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static inline struct span span_of(const void *data, size_t len)
{
	return (struct span){ (const uint8_t *)data, len };
}

static inline struct span span_str(const char *s)
{
	return span_of(s, strlen(s));
}

/* Not constant time: for public bytes only. Secrets are compared with ct_equal(). */
static inline bool span_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool span_starts_with(struct span s, struct span prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || (s.data && memcmp(s.data, prefix.data, prefix.len) == 0));
}

/* The rest of @s after @n bytes; @n must not exceed s.len. */
static inline struct span span_skip(struct span s, size_t n)
{
	return span_of(s.data ? s.data + n : NULL, s.len - n);
}

#endif
