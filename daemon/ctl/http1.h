/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much HTTP/1.0 (RFC 1945) as one request on one connection needs: the server ends the answer by
 * closing, so there are neither chunks nor lengths to follow. Bytes in, bytes out.
 */
#ifndef KEKD_CTL_HTTP1_H
#define KEKD_CTL_HTTP1_H

#include <stddef.h>

#include <kekd/span.h>

struct http1_answer {
	int status;       /* 100 to 599 */
	int retry_after;  /* Retry-After in seconds, at most an hour; 0: none, or a date */
	struct span body; /* borrowed of the answer's bytes */
};

/*
 * The head of a request into @buf, NUL-terminated. @accept and @content_type may be NULL, all borrowed.
 * Returns its length or -E2BIG; -EINVAL if @method or @path holds a byte that would end its line.
 */
int http1_request(char *buf, size_t size, const char *method, const char *path, const char *accept,
		  const char *content_type, size_t body_len);

/*
 * Take a whole answer apart. -EBADMSG: it is not one, or it is shorter than its Content-Length says.
 */
int http1_answer(struct span bytes, struct http1_answer *ret);

#endif
