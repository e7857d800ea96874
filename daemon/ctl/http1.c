/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0, client side. A version 1.0 request makes a server answer without chunks even if it speaks
 * 1.1 (RFC 9112 §6.1), which keeps this file short. Content-Length is only compared: an answer that was
 * cut off must not pass for a whole one.
 */
#include "daemon/ctl/http1.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RETRY_MAX 3600

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s == 0x7f)
			return false;
	return true;
}

int http1_request(char *buf, size_t size, const char *method, const char *path, const char *accept,
		  const char *content_type, size_t body_len)
{
	int n;

	if (!is_plain(method) || !is_plain(path) || *path != '/')
		return -EINVAL;
	n = snprintf(buf, size,
		     "%s %s HTTP/1.0\r\n"
		     "Host: localhost\r\n"
		     "Accept: %s\r\n"
		     "%s%s%s"
		     "Content-Length: %zu\r\n"
		     "\r\n",
		     method, path, accept ? accept : "application/json",
		     content_type ? "Content-Type: " : "", content_type ? content_type : "",
		     content_type ? "\r\n" : "", body_len);
	return n < 0 || (size_t)n >= size ? -E2BIG : n;
}

/* The line at the start of *@s without its end, and *@s behind it. -EBADMSG: no end. */
static int line_take(struct span *s, struct span *ret)
{
	const uint8_t *end = s->len > 0 ? memchr(s->data, '\n', s->len) : NULL;
	size_t len;

	if (!end)
		return -EBADMSG;
	len = (size_t)(end - s->data);
	*ret = span_of(s->data, len > 0 && end[-1] == '\r' ? len - 1 : len);
	*s = span_skip(*s, len + 1);
	return 0;
}

/* Decimal digits and nothing else, at most @max; -1 if not. */
static long http1_number(struct span s, long max)
{
	long n = 0;

	if (s.len == 0)
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return -1;
		n = 10 * n + (s.data[i] - '0');
		if (n > max)
			return -1;
	}
	return n;
}

/* The value of a header line if it is @name's. */
static bool header_is(struct span line, const char *name, struct span *ret_value)
{
	size_t n = strlen(name);

	if (line.len <= n || strncasecmp((const char *)line.data, name, n) != 0 ||
	    line.data[n] != ':')
		return false;
	line = span_skip(line, n + 1);
	while (line.len > 0 && line.data[0] == ' ')
		line = span_skip(line, 1);
	*ret_value = line;
	return true;
}

int http1_answer(struct span bytes, struct http1_answer *ret)
{
	struct http1_answer answer = { 0 };
	struct span line, value;
	long length = -1, n;
	int r;

	r = line_take(&bytes, &line);
	if (r < 0)
		return r;
	if (!span_starts_with(line, span_str("HTTP/1.")) || line.len < 12 || line.data[8] != ' ')
		return -EBADMSG;
	n = http1_number(span_of(line.data + 9, 3), 599);
	if (n < 100 || (line.len > 12 && line.data[12] != ' '))
		return -EBADMSG;
	answer.status = (int)n;
	while (r == 0 && (r = line_take(&bytes, &line)) == 0 && line.len > 0) {
		if (header_is(line, "Content-Length", &value)) {
			length = http1_number(value, 1L << 40);
			r = length < 0 ? -EBADMSG : 0;
		} else if (header_is(line, "Retry-After", &value)) {
			n = http1_number(value, RETRY_MAX);
			answer.retry_after = n > 0 ? (int)n : 0;
		} else if (header_is(line, "Transfer-Encoding", &value)) {
			r = -EBADMSG; /* not in an answer to 1.0 */
		}
	}
	if (r == 0 && length >= 0 && (size_t)length != bytes.len)
		r = -EBADMSG;
	if (r < 0)
		return r;
	answer.body = bytes;
	*ret = answer;
	return 0;
}
