/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl's HTTP/1.0. As an answer: what is accepted is in its bounds and its body is the end of the
 * bytes; an answer that tells its length is refused if one byte is missing or too much, and any
 * other is as good with it. As a request: what is made of any method and path has the lines it
 * should have and no more.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/base/cleanup.h"
#include "daemon/ctl/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool same_head(const struct http1_answer *a, const struct http1_answer *b)
{
	return a->status == b->status && a->retry_after == b->retry_after;
}

/* Has the head of an answer a line for it? */
static bool tells_length(struct span head)
{
	static const char name[] = "\nContent-Length:";

	for (; head.len >= sizeof(name) - 1; head = span_skip(head, 1))
		if (strncasecmp((const char *)head.data, name, sizeof(name) - 1) == 0)
			return true;
	return false;
}

static void answer(struct span bytes)
{
	const struct http1_answer untouched = { .status = -1, .retry_after = -1 };
	struct http1_answer a = untouched, longer = untouched, shorter = untouched;
	_cleanup_free_ uint8_t *more = NULL;
	int r;

	if (http1_answer(bytes, &a) < 0) {
		require(same_head(&a, &untouched) && !a.body.data && a.body.len == 0);
		return;
	}
	require(a.status >= 100 && a.status <= 599);
	require(a.retry_after >= 0 && a.retry_after <= 3600);
	require(a.body.len < bytes.len && a.body.data + a.body.len == bytes.data + bytes.len);

	more = malloc(bytes.len + 1);
	require(more);
	memcpy(more, bytes.data, bytes.len);
	more[bytes.len] = 'x';
	r = http1_answer(span_of(more, bytes.len + 1), &longer);
	require((r < 0) == tells_length(span_of(bytes.data, bytes.len - a.body.len)));
	require(r < 0 || (same_head(&a, &longer) && longer.body.len == a.body.len + 1));
	if (a.body.len == 0)
		return;
	require(http1_answer(span_of(bytes.data, bytes.len - 1), &shorter) == r);
	require(r < 0 || (same_head(&a, &shorter) && shorter.body.len == a.body.len - 1));
}

static size_t count(const char *s, char c)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == c;
	return n;
}

/* "METHOD NUL PATH". */
static void request(struct span bytes)
{
	_cleanup_free_ char *text = strndup((const char *)bytes.data, bytes.len);
	_cleanup_free_ char *path = NULL;
	size_t len;
	char buf[512];
	int n;

	require(text);
	len = strlen(text);
	bytes = span_skip(bytes, len < bytes.len ? len + 1 : len);
	path = strndup(bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
	require(path);
	n = http1_request(buf, sizeof(buf), text, path, NULL, NULL, 0);
	if (n < 0)
		return;
	require(strlen(buf) == (size_t)n);
	require(count(buf, '\n') == 5 && count(buf, '\r') == 5 && count(buf, ' ') == 5);
	require(strncmp(buf, text, len) == 0 && strstr(buf, "\r\n\r\n") == buf + n - 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	answer(span_of(data, size));
	if (size > 0)
		request(span_of(data, size));
	return 0;
}
