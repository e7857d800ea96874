/* SPDX-License-Identifier: Apache-2.0 */
/* What kekctl reads of kubectl's proxy: answers whole, cut off and wrong. */
#include "daemon/base/cleanup.h"
#include "daemon/ctl/http1.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/harness/ktest.h"

static int parse(const char *text, struct http1_answer *ret)
{
	return http1_answer(span_str(text), ret);
}

TEST(request)
{
	char buf[256];
	int n = http1_request(buf, sizeof(buf), "PATCH", "/apis/x", "a/b", "c/d", 2);

	ASSERT_EQ(n, (int)strlen(buf));
	EXPECT_STREQ("PATCH /apis/x HTTP/1.0\r\n"
		     "Host: localhost\r\n"
		     "Accept: a/b\r\n"
		     "Content-Type: c/d\r\n"
		     "Content-Length: 2\r\n"
		     "\r\n",
		     buf);
}

TEST(request_of_one_line)
{
	char buf[256];

	EXPECT_ERR(-EINVAL, http1_request(buf, sizeof(buf), "GET", "/a b", NULL, NULL, 0));
	EXPECT_ERR(-EINVAL, http1_request(buf, sizeof(buf), "GET", "/a\r\nX: y", NULL, NULL, 0));
	EXPECT_ERR(-EINVAL, http1_request(buf, sizeof(buf), "GET", "a", NULL, NULL, 0));
	EXPECT_ERR(-E2BIG, http1_request(buf, 20, "GET", "/a", NULL, NULL, 0));
}

TEST(answer)
{
	struct http1_answer a;

	ASSERT_OK(parse("HTTP/1.0 429 Too Many Requests\r\n"
			"Retry-After: 7\r\n"
			"content-length: 4\r\n"
			"\r\n"
			"body",
			&a));
	EXPECT_EQ(429, a.status);
	EXPECT_EQ(7, a.retry_after);
	EXPECT_TRUE(span_equal(a.body, span_str("body")));
}

TEST(answer_until_the_end)
{
	struct http1_answer a;

	ASSERT_OK(parse("HTTP/1.1 200\n\nall of\n\nthis", &a));
	EXPECT_EQ(200, a.status);
	EXPECT_EQ(0, a.retry_after);
	EXPECT_TRUE(span_equal(a.body, span_str("all of\n\nthis")));
	ASSERT_OK(parse("HTTP/1.0 204 No Content\r\n\r\n", &a));
	EXPECT_EQ(0, (int)a.body.len);
	ASSERT_OK(parse("HTTP/1.0 503 x\r\nRetry-After: Fri, 31 Dec 1999\r\n\r\n", &a));
	EXPECT_EQ(0, a.retry_after);
}

static const char *const wrong[] = {
	"",
	"HTTP/1.0",
	"HTTP/1.0 200 OK\r\n",
	"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nfour",
	"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nfour",
	"HTTP/1.0 200 OK\r\nContent-Length: -4\r\n\r\nfour",
	"HTTP/1.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nfour",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 099 x\r\n\r\n",
	"HTTP/1.0 600 x\r\n\r\n",
	"HTTP/1.0 2000 x\r\n\r\n",
	"HTTP/1.0 20x\r\n\r\n",
	"HTTP/2.0 200 OK\r\n\r\n",
	"SSH-2.0-x\r\n\r\n",
};

TEST(not_an_answer)
{
	struct http1_answer a = { .status = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_ERR(-EBADMSG, parse(wrong[i], &a));
		EXPECT_EQ(-1, a.status);
	}
}

/* A connection that ends early is noticed at each byte, as long as the length is given. */
TEST(cut_off_anywhere)
{
	static const char whole[] = "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": {}}";
	char copy[sizeof(whole)];
	struct http1_answer a;

	ASSERT_OK(parse(whole, &a));
	for (size_t len = 0; len < strlen(whole); len++) {
		memcpy(copy, whole, len);
		EXPECT_ERR(-EBADMSG, http1_answer(span_of(copy, len), &a));
	}
}

TEST_HARNESS_MAIN
