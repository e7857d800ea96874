/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keys/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_unhex(const char *hex, size_t hex_len, uint8_t *ret, size_t len)
{
	if (hex_len != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

int text_hex(struct span v, uint8_t *ret, size_t len)
{
	uint8_t bytes[64];

	if (len > sizeof(bytes) || key_unhex((const char *)v.data, v.len, bytes, len) < 0)
		return -EINVAL;
	memcpy(ret, bytes, len);
	return 0;
}

int text_u64(struct span v, uint64_t *ret)
{
	uint64_t n = 0;

	if (v.len == 0 || v.len > 20 || (v.len > 1 && v.data[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < v.len; i++) {
		if (v.data[i] < '0' || v.data[i] > '9' ||
		    __builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(v.data[i] - '0'), &n))
			return -EINVAL;
	}
	*ret = n;
	return 0;
}

int text_u32(struct span v, uint32_t *ret)
{
	uint64_t n;
	int r = text_u64(v, &n);

	if (r < 0 || n > UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

int text_plain(struct span v, char *ret, size_t size)
{
	if (v.len == 0 || v.len >= size || v.data[0] == ' ' || v.data[v.len - 1] == ' ')
		return -EINVAL;
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] < ' ' || v.data[i] == 0x7f)
			return -EINVAL;
	memcpy(ret, v.data, v.len);
	ret[v.len] = '\0';
	return 0;
}

int text_name(struct span v, char *ret, size_t size)
{
	char name[256];

	if (text_plain(v, name, size < sizeof(name) ? size : sizeof(name)) < 0 || name[0] == '-' ||
	    name[strspn(name, TEXT_NAME_CHARS)])
		return -EINVAL;
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

int text_time_format(time_t t, char ret[static TEXT_TIME_LEN + 1])
{
	char buf[64];
	struct tm tm;

	if (t < 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900)
		return -EINVAL;
	snprintf(buf, sizeof(buf), "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(ret, buf, TEXT_TIME_LEN + 1);
	return 0;
}

/* Anything that does not format back to itself, a 30 February, is refused. */
int text_time(struct span v, time_t *ret)
{
	char text[TEXT_TIME_LEN + 1], back[TEXT_TIME_LEN + 1];
	struct tm tm = { 0 };
	time_t t;

	if (v.len != TEXT_TIME_LEN)
		return -EINVAL;
	memcpy(text, v.data, TEXT_TIME_LEN);
	text[TEXT_TIME_LEN] = '\0';
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	t = timegm(&tm);
	if (text_time_format(t, back) < 0 || strcmp(text, back) != 0)
		return -EINVAL;
	*ret = t;
	return 0;
}

bool text_has(struct span text, const char *field)
{
	size_t len = strlen(field);

	return text.len > len && memcmp(text.data, field, len) == 0 && text.data[len] == ' ';
}

int text_take(struct span *text, const char *field, struct span *ret_value)
{
	size_t field_len = strlen(field);
	const uint8_t *end;
	struct span line;

	end = text_has(*text, field) ? memchr(text->data, '\n', text->len) : NULL;
	if (!end)
		return -EINVAL;
	line = span_of(text->data, (size_t)(end - text->data));
	if (line.len < field_len + 2)
		return -EINVAL;
	*text = span_skip(*text, line.len + 1);
	*ret_value = span_skip(line, field_len + 1);
	return 0;
}

int text_word(struct span *v, struct span *ret)
{
	const uint8_t *end = v->len > 0 ? memchr(v->data, ' ', v->len) : NULL;

	if (!end)
		return -EINVAL;
	*ret = span_of(v->data, (size_t)(end - v->data));
	*v = span_skip(*v, ret->len + 1);
	return 0;
}

void text_append(struct text_buf *b, const char *format, ...)
{
	va_list ap;
	int n;

	if (b->r < 0)
		return;
	va_start(ap, format);
	n = vsnprintf(b->data + b->len, b->size - b->len, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= b->size - b->len)
		b->r = -ENOBUFS;
	else
		b->len += (size_t)n;
}

void text_append_hex(struct text_buf *b, const char *field, const void *data, size_t len)
{
	char hex[2 * 64 + 1];

	if (len > 64) {
		b->r = -ENOBUFS;
		return;
	}
	key_hex(data, len, hex);
	text_append(b, "%s %s\n", field, hex);
}
