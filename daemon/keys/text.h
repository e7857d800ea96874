/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text that keysets and acknowledgements are written in: one line a field, "FIELD VALUE\n", in a
 * fixed order. Every value has one spelling only, so that two texts differ if and only if what they
 * say does. Nothing here allocates or logs.
 */
#ifndef KEKD_KEYS_TEXT_H
#define KEKD_KEYS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/keyinfo.h"
#include <kekd/span.h>

/* Exactly @len bytes of lower-case hex. -EINVAL, and @ret is undefined then. */
int key_unhex(const char *hex, size_t hex_len, uint8_t *ret, size_t len);

/* Values. Each is -EINVAL for anything but its one spelling, and *ret is untouched then. */
int text_hex(struct span v, uint8_t *ret, size_t len);
/* Decimal without sign or leading zeros. */
int text_u64(struct span v, uint64_t *ret);
int text_u32(struct span v, uint32_t *ret);
/*
 * Text that may be shown: 1 … @size - 1 bytes, no control characters (they would forge lines or
 * drive a terminal), no blank at either end. NUL-terminated at @ret.
 */
int text_plain(struct span v, char *ret, size_t size);
#define TEXT_NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"
/* A name that needs no quoting anywhere: 1 … @size - 1 letters, digits, '.' and '-', not '-' first. */
int text_name(struct span v, char *ret, size_t size);
/* RFC 3339 in UTC, "2026-01-31T12:00:00Z". */
int text_time(struct span v, time_t *ret);

#define TEXT_TIME_LEN 20
/* -EINVAL: a year that has not four digits. */
int text_time_format(time_t t, char ret[static TEXT_TIME_LEN + 1]);

/* "FIELD VALUE\n" at the start of *text, which moves behind it. -EINVAL: another line is there. */
int text_take(struct span *text, const char *field, struct span *ret_value);
/* Does *text begin with a line of that field? */
bool text_has(struct span text, const char *field);
/* The value up to the first blank, which *v moves behind. -EINVAL: there is no blank. */
int text_word(struct span *v, struct span *ret);

/* A text that grows in a buffer of its owner's; once it did not fit, r says -ENOBUFS. */
struct text_buf {
	char *data;
	size_t size, len; /* len: without the NUL, which is always there */
	int r;
};

void text_append(struct text_buf *b, const char *format, ...) _printf_(2, 3);
/* "FIELD HEX\n" */
void text_append_hex(struct text_buf *b, const char *field, const void *data, size_t len);

#endif
