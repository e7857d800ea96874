/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pure parts of daemon/wire: gRPC's small formats, what makes a message well formed, the frame
 * watcher and the recycling allocator.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/wire/grpc_rules.h"
#include "daemon/wire/h2.h"
#include "daemon/wire/h2_block.h"
#include "daemon/wire/h2_watch.h"
#include "daemon/wire/h2mem.h"
#include "tests/harness/ktest.h"
#include "tests/support/h2_frames.h"

/* grpc-timeout */

TEST(timeout_units)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "1n", 1 },
		{ "1u", 1000 },
		{ "1m", 1000000 },
		{ "1S", 1000000000 },
		{ "2M", 120000000000 },
		{ "1H", 3600000000000 },
		{ "0n", 0 },
		{ "00000003S", 3000000000 },
		{ "99999999n", 99999999 },
		{ "99999999S", 99999999000000000 },
		{ "99999999M", 5999999940000000000 },
		{ "99999999H", UINT64_MAX },
		{ "05124095H", 18446742000000000000U },
		{ "05124096H", UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t ns = 7;

		EXPECT_OK(grpc_timeout_parse(span_str(good[i].text), &ns));
		if (!EXPECT_EQ(good[i].ns, ns))
			ktest_log("for %s", good[i].text);
	}
}

TEST(timeout_malformed)
{
	static const char *const bad[] = { "",     "1",    "S",          "1s",         "1h",
					   "-1S",  "+1S",  " 1S",        "1 S",        "1SS",
					   "1.5S", "0x1S", "123456789S", "1234567890n" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t ns = 7;

		if (!EXPECT_ERR(-EINVAL, grpc_timeout_parse(span_str(bad[i]), &ns)))
			ktest_log("for '%s'", bad[i]);
		EXPECT_EQ(7, ns);
	}
}

TEST(timeout_format_never_shortens)
{
	static const uint64_t ns[] = { 1,          99999999,       100000000, 100000001,
				       3000000000, 99999999000ULL, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(ns); i++) {
		uint64_t back = 0;
		char text[16];

		grpc_timeout_format(ns[i], text);
		EXPECT_OK(grpc_timeout_parse(span_str(text), &back));
		EXPECT_GE(back, ns[i]);
	}
	EXPECT_EQ(UINT64_MAX, grpc_deadline(5, UINT64_MAX));
	EXPECT_EQ(8, grpc_deadline(5, 3));
}

/* Answers without a grpc-status */

TEST(status_of_http)
{
	static const struct {
		int http;
		enum grpc_status status;
	} cases[] = {
		{ 400, GRPC_INTERNAL },
		{ 401, GRPC_UNKNOWN },
		{ 403, GRPC_PERMISSION_DENIED },
		{ 404, GRPC_UNIMPLEMENTED },
		{ 429, GRPC_UNAVAILABLE },
		{ 500, GRPC_UNKNOWN },
		{ 502, GRPC_UNAVAILABLE },
		{ 503, GRPC_UNAVAILABLE },
		{ 504, GRPC_UNAVAILABLE },
		{ 200, GRPC_UNKNOWN },
		{ -1, GRPC_UNKNOWN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (!EXPECT_EQ(cases[i].status, grpc_status_of_http(cases[i].http)))
			ktest_log("for %d", cases[i].http);
}

TEST(status_of_reset)
{
	EXPECT_EQ(GRPC_UNAVAILABLE, grpc_status_of_reset(H2_REFUSED_STREAM));
	EXPECT_EQ(GRPC_CANCELLED, grpc_status_of_reset(H2_CANCEL));
	EXPECT_EQ(GRPC_RESOURCE_EXHAUSTED, grpc_status_of_reset(H2_ENHANCE_YOUR_CALM));
	EXPECT_EQ(GRPC_INTERNAL, grpc_status_of_reset(H2_NO_ERROR));
	EXPECT_EQ(GRPC_INTERNAL, grpc_status_of_reset(UINT32_MAX));
}

TEST(status_names)
{
	EXPECT_STREQ("OK", grpc_status_name(GRPC_OK));
	EXPECT_STREQ("DEADLINE_EXCEEDED", grpc_status_name(GRPC_DEADLINE_EXCEEDED));
	EXPECT_STREQ("DATA_LOSS", grpc_status_name(GRPC_DATA_LOSS));
	EXPECT_STREQ("UNAUTHENTICATED", grpc_status_name(16));
	EXPECT_STREQ("UNKNOWN", grpc_status_name(17));
	EXPECT_STREQ("UNKNOWN", grpc_status_name(UINT32_MAX));
}

/* grpc-message */

TEST(percent_encoding)
{
	char encoded[GRPC_ENCODED_MAX], text[GRPC_TEXT_MAX];
	static const struct {
		const char *text, *encoded;
	} cases[] = {
		{ "", "" },
		{ "plain text", "plain text" },
		{ "100%", "100%25" },
		{ "a\nb\r\x7f", "a%0Ab%0D%7F" },
		{ "\xc3\xa9", "%C3%A9" },
		{ " edge ", "%20edge%20" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		grpc_percent_encode(cases[i].text, encoded);
		EXPECT_STREQ(cases[i].encoded, encoded);
	}
	grpc_percent_decode(span_str("100%25 %zz %4"), text);
	EXPECT_STREQ("100% %zz %4", text);
	grpc_percent_decode(span_str("a%0Ab%00c%1b"), text);
	EXPECT_STREQ("a?b?c?", text);
}

TEST(percent_encoding_is_bounded)
{
	char long_text[4096], encoded[GRPC_ENCODED_MAX], text[GRPC_TEXT_MAX];

	memset(long_text, '%', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	grpc_percent_encode(long_text, encoded);
	EXPECT_EQ(3 * (GRPC_TEXT_MAX - 1), strlen(encoded));
	grpc_percent_decode(span_str(long_text), text);
	EXPECT_EQ(GRPC_TEXT_MAX - 1, strlen(text));
}

TEST(content_types)
{
	EXPECT_TRUE(grpc_content_type(span_str("application/grpc")));
	EXPECT_TRUE(grpc_content_type(span_str("application/grpc+proto")));
	EXPECT_TRUE(grpc_content_type(span_str("application/grpc;charset=utf-8")));
	EXPECT_FALSE(grpc_content_type(span_str("application/grpc+json")));
	EXPECT_FALSE(grpc_content_type(span_str("application/grpc-web")));
	EXPECT_FALSE(grpc_content_type(span_str("application/grp")));
	EXPECT_FALSE(grpc_content_type(SPAN_NULL));
}

/* Length-prefixed messages */

FIXTURE(intake)
{
	struct secpool *pool;
	struct grpc_intake in;
};

FIXTURE_SETUP(intake)
{
	ASSERT_OK(secpool_new(1 << 20, &self->pool));
}

FIXTURE_TEARDOWN(intake)
{
	grpc_intake_release(&self->in);
	EXPECT_EQ(0, secpool_used(self->pool));
	secpool_free(self->pool);
}

TEST_F(intake, byte_by_byte)
{
	static const uint8_t bytes[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c' };

	for (size_t i = 0; i < sizeof(bytes); i++) {
		EXPECT_ERR(i == 0 ? -ENOMSG : -ENODATA, grpc_intake_end(&self->in));
		EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 3, span_of(bytes + i, 1)));
	}
	EXPECT_OK(grpc_intake_end(&self->in));
	EXPECT_MEMEQ("abc", 3, self->in.msg.data, self->in.msg.len);
	EXPECT_ERR(-EEXIST, grpc_intake_feed(&self->in, self->pool, 3, span_of(bytes, 1)));
}

TEST_F(intake, refusals)
{
	static const struct {
		uint8_t prefix[5];
		int r;
	} cases[] = {
		{ { 1, 0, 0, 0, 1 }, -EOPNOTSUPP },       { { 2, 0, 0, 0, 1 }, -EPROTO },
		{ { 255, 0, 0, 0, 0 }, -EPROTO },         { { 0, 0, 1, 0, 1 }, -EMSGSIZE },
		{ { 0, 255, 255, 255, 255 }, -EMSGSIZE }, { { 0, 0, 1, 0, 0 }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_ERR(cases[i].r, grpc_intake_feed(&self->in, self->pool, 65536,
							span_of(cases[i].prefix, 5)));
		grpc_intake_release(&self->in);
	}
}

TEST_F(intake, empty_message)
{
	static const uint8_t bytes[5] = { 0 };

	EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 3, span_of(bytes, 5)));
	EXPECT_OK(grpc_intake_end(&self->in));
	EXPECT_EQ(0, self->in.msg.len);
}

TEST_F(intake, exhausted_pool)
{
	static const uint8_t prefix[5] = { 0, 0x7f, 0, 0, 0 }, bytes[4096];
	size_t fed = 0;
	int r;

	r = grpc_intake_feed(&self->in, self->pool, UINT32_MAX, span_of(prefix, sizeof(prefix)));
	for (; r == 0 && fed < 1 << 20; fed += sizeof(bytes))
		r = grpc_intake_feed(&self->in, self->pool, UINT32_MAX,
				     span_of(bytes, sizeof(bytes)));
	EXPECT_ERR(-ENOBUFS, r);
	EXPECT_LE(256U << 10, fed);
}

/* Who announces much and sends nothing holds nothing; what is sent then is the message. */
/* In one piece, however the prefix came: there is room behind it, and it is zero. */
TEST_F(intake, room_behind_a_message)
{
	static const uint8_t bytes[] = { 0, 0, 0, 0, 4, 'a', 'b', 'c', 'd' };
	static const uint8_t zero[1000];

	self->in.room = sizeof(zero);
	EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 4, span_of(bytes, 3)));
	EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 4, span_of(bytes + 3, 6)));
	ASSERT_OK(grpc_intake_end(&self->in));
	ASSERT_GE(self->in.msg.cap, 4 + sizeof(zero));
	EXPECT_MEMEQ(zero, sizeof(zero), self->in.msg.data + 4, sizeof(zero));
}

/* Nobody gets more memory by announcing than by sending. */
TEST_F(intake, no_room_behind_a_piece)
{
	static const uint8_t bytes[] = { 0, 0, 0, 0, 4, 'a', 'b', 'c', 'd' };

	self->in.room = 1000;
	EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 4, span_of(bytes, 8)));
	EXPECT_LT(self->in.msg.cap, 1000);
	EXPECT_OK(grpc_intake_feed(&self->in, self->pool, 4, span_of(bytes + 8, 1)));
	EXPECT_OK(grpc_intake_end(&self->in));
	EXPECT_MEMEQ("abcd", 4, self->in.msg.data, self->in.msg.len);
}

TEST_F(intake, long_message)
{
	static const size_t steps[] = { 1, 4094, 1, 1, 100, 60000 - 4197 };
	uint8_t prefix[5] = { 0, 0, 0, 60000 >> 8, 60000 & 255 };
	static uint8_t text[60000];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + i / 251);
	ASSERT_OK(grpc_intake_feed(&self->in, self->pool, 65536, span_of(prefix, 5)));
	EXPECT_EQ(0, secpool_used(self->pool));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		EXPECT_FALSE(self->in.complete);
		ASSERT_OK(grpc_intake_feed(&self->in, self->pool, 65536,
					   span_of(text + at, steps[i])));
		at += steps[i];
		if (at <= 4096)
			EXPECT_GE(at <= 1 ? 256 : 4096, secpool_used(self->pool));
	}
	EXPECT_TRUE(self->in.complete);
	EXPECT_MEMEQ(text, sizeof(text), self->in.msg.data, self->in.msg.len);
}

/* RFC 9113 §8 */

struct block_case {
	const char *what;
	enum h2_block_kind kind;
	bool end;
	int r;
	const char *fields[8][2];
};

#define GET                                           \
	{ ":method", "POST" }, { ":scheme", "http" }, \
	{                                             \
		":path", "/a.B/C"                     \
	}

static const struct block_case block_cases[] = {
	{ "plain", H2_REQUEST, false, 0, { GET } },
	{ "raw path as authority",
	  H2_REQUEST,
	  false,
	  0,
	  { GET, { ":authority", "/run/kekd/kms.sock" } } },
	{ "escaped path as authority",
	  H2_REQUEST,
	  false,
	  0,
	  { GET, { ":authority", "%2Frun%2Fkekd" } } },
	{ "empty authority", H2_REQUEST, false, 0, { GET, { ":authority", "" } } },
	{ "no path", H2_REQUEST, false, -EPROTO, { { ":method", "POST" }, { ":scheme", "http" } } },
	{ "no method", H2_REQUEST, false, -EPROTO, { { ":path", "/" }, { ":scheme", "http" } } },
	{ "no scheme", H2_REQUEST, false, -EPROTO, { { ":path", "/" }, { ":method", "POST" } } },
	{ "relative path",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { { ":path", "a" }, { ":method", "POST" }, { ":scheme", "http" } } },
	{ "empty path",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { { ":path", "" }, { ":method", "POST" }, { ":scheme", "http" } } },
	{ "two methods", H2_REQUEST, false, -EPROTO, { GET, { ":method", "POST" } } },
	{ "two authorities",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { GET, { ":authority", "a" }, { ":authority", "a" } } },
	{ "unknown pseudo", H2_REQUEST, false, -EPROTO, { GET, { ":protocol", "x" } } },
	{ "status in a request", H2_REQUEST, false, -EPROTO, { GET, { ":status", "200" } } },
	{ "pseudo behind regular",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { GET, { "a", "b" }, { ":authority", "x" } } },
	{ "upper case", H2_REQUEST, false, -EPROTO, { GET, { "Te", "trailers" } } },
	{ "empty name", H2_REQUEST, false, -EPROTO, { GET, { "", "x" } } },
	{ "space in name", H2_REQUEST, false, -EPROTO, { GET, { "a b", "x" } } },
	{ "high byte in name", H2_REQUEST, false, -EPROTO, { GET, { "a\xff", "x" } } },
	{ "colon in name", H2_REQUEST, false, -EPROTO, { GET, { "a:b", "x" } } },
	{ "CR in value", H2_REQUEST, false, -EPROTO, { GET, { "a", "x\ry" } } },
	{ "LF in value", H2_REQUEST, false, -EPROTO, { GET, { "a", "x\ny" } } },
	{ "leading space", H2_REQUEST, false, -EPROTO, { GET, { "a", " x" } } },
	{ "trailing tab", H2_REQUEST, false, -EPROTO, { GET, { "a", "x\t" } } },
	{ "inner space, empty value", H2_REQUEST, false, 0, { GET, { "a", "x y" }, { "b", "" } } },
	{ "connection", H2_REQUEST, false, -EPROTO, { GET, { "connection", "close" } } },
	{ "transfer-encoding",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { GET, { "transfer-encoding", "chunked" } } },
	{ "upgrade", H2_REQUEST, false, -EPROTO, { GET, { "upgrade", "h2c" } } },
	{ "keep-alive", H2_REQUEST, false, -EPROTO, { GET, { "keep-alive", "1" } } },
	{ "proxy-connection", H2_REQUEST, false, -EPROTO, { GET, { "proxy-connection", "x" } } },
	{ "te trailers", H2_REQUEST, false, 0, { GET, { "te", "trailers" } } },
	{ "te gzip", H2_REQUEST, false, -EPROTO, { GET, { "te", "gzip" } } },
	{ "content-length",
	  H2_REQUEST,
	  false,
	  0,
	  { GET, { "content-length", "5" }, { "content-length", "5" } } },
	{ "two lengths",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { GET, { "content-length", "5" }, { "content-length", "6" } } },
	{ "length not a number", H2_REQUEST, false, -EPROTO, { GET, { "content-length", "0x5" } } },
	{ "length negative", H2_REQUEST, false, -EPROTO, { GET, { "content-length", "-5" } } },
	{ "length overflows",
	  H2_REQUEST,
	  false,
	  -EPROTO,
	  { GET, { "content-length", "18446744073709551621" } } },
	{ "response", H2_RESPONSE, true, 0, { { ":status", "200" } } },
	{ "informational", H2_RESPONSE, false, 0, { { ":status", "100" } } },
	{ "informational that ends", H2_RESPONSE, true, -EPROTO, { { ":status", "100" } } },
	{ "no status", H2_RESPONSE, true, -EPROTO, { { "a", "b" } } },
	{ "short status", H2_RESPONSE, true, -EPROTO, { { ":status", "20" } } },
	{ "worded status", H2_RESPONSE, true, -EPROTO, { { ":status", "2oo" } } },
	{ "path in a response",
	  H2_RESPONSE,
	  true,
	  -EPROTO,
	  { { ":status", "200" }, { ":path", "/" } } },
	{ "trailers", H2_TRAILERS, true, 0, { { "grpc-status", "0" } } },
	{ "empty trailers", H2_TRAILERS, true, 0, { { NULL, NULL } } },
	{ "trailers that do not end", H2_TRAILERS, false, -EPROTO, { { "a", "b" } } },
	{ "pseudo in trailers", H2_TRAILERS, true, -EPROTO, { { ":status", "200" } } },
};

TEST(blocks)
{
	for (size_t i = 0; i < ARRAY_SIZE(block_cases); i++) {
		const struct block_case *c = &block_cases[i];
		struct h2_length length = { 0 };
		struct h2_block b;

		h2_block_begin(&b, c->kind);
		for (size_t f = 0; f < ARRAY_SIZE(c->fields) && c->fields[f][0]; f++)
			(void)h2_block_field(&b, &length, span_str(c->fields[f][0]),
					     span_str(c->fields[f][1]));
		if (!EXPECT_ERR(c->r, h2_block_end(&b, c->end)))
			ktest_log("case: %s", c->what);
	}
}

/* A name with a rule, but for one byte of it, has none; a pseudo-header field's is refused. */
TEST(names_that_are_nearly_known)
{
	static const char *const known[] = {
		"te",
		":path",
		":method",
		":scheme",
		":status",
		"upgrade",
		":authority",
		"connection",
		"keep-alive",
		"user-agent",
		"content-type",
		"content-length",
		"proxy-connection",
		"transfer-encoding",
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t len = strlen(known[i]);

		for (size_t at = known[i][0] == ':'; at < len; at++) {
			struct h2_length length = { 0 };
			struct h2_block b;
			char name[32];

			memcpy(name, known[i], len);
			name[at] = '_';
			h2_block_begin(&b, H2_REQUEST);
			if (!EXPECT_ERR(
				    name[0] == ':' ? -EPROTO : 0,
				    h2_block_field(&b, &length, span_of(name, len), span_str("x"))))
				ktest_log("name: %s, byte %zu", known[i], at);
		}
	}
}

TEST(block_with_a_nul)
{
	struct h2_length length = { 0 };
	struct h2_block b;

	h2_block_begin(&b, H2_TRAILERS);
	EXPECT_ERR(-EPROTO, h2_block_field(&b, &length, span_str("a"), span_of("x\0y", 3)));
	/* One bad field spoils the block, whatever follows. */
	EXPECT_ERR(-EPROTO, h2_block_field(&b, &length, span_str("a"), span_str("x")));
	EXPECT_ERR(-EPROTO, h2_block_end(&b, true));
}

static bool takes(struct span name, struct span value)
{
	struct h2_length length = { 0 };
	struct h2_block b;

	h2_block_begin(&b, H2_TRAILERS);
	return h2_block_field(&b, &length, name, value) == 0;
}

/* RFC 9113 §8.2.1, as it stands there. */
static bool name_may_hold(uint8_t c)
{
	return c > 0x20 && c < 0x7f && !(c >= 'A' && c <= 'Z') && c != ':';
}

static bool value_may_hold(uint8_t c, bool edge)
{
	return c != 0 && c != '\r' && c != '\n' && !(edge && (c == ' ' || c == '\t'));
}

#define FIELD_LENGTHS 35U

/* Values are looked at in words: each byte at each place of each length up to a few of those. */
TEST(each_byte_of_a_value)
{
	uint8_t value[FIELD_LENGTHS];

	memset(value, 'v', sizeof(value));
	for (size_t len = 1; len <= FIELD_LENGTHS; len++) {
		for (size_t at = 0; at < len; at++) {
			for (unsigned int c = 0; c < 256; c++) {
				bool edge = at == 0 || at == len - 1;

				value[at] = (uint8_t)c;
				if (!EXPECT_EQ(value_may_hold((uint8_t)c, edge),
					       takes(span_str("a"), span_of(value, len))))
					return;
			}
			value[at] = 'v';
		}
	}
}

/* In trailers, so a colon in front is refused as well, as no pseudo-header field may be there. */
TEST(each_byte_of_a_name)
{
	uint8_t name[FIELD_LENGTHS];

	memset(name, 'n', sizeof(name));
	for (size_t len = 1; len <= FIELD_LENGTHS; len++) {
		for (size_t at = 0; at < len; at++) {
			for (unsigned int c = 0; c < 256; c++) {
				name[at] = (uint8_t)c;
				if (!EXPECT_EQ(name_may_hold((uint8_t)c),
					       takes(span_of(name, len), span_str("v"))))
					return;
			}
			name[at] = 'n';
		}
	}
	EXPECT_FALSE(takes(span_of(name, 0), span_str("v")));
}

TEST(content_length)
{
	struct h2_length length = { .want = 5, .known = true };

	EXPECT_ERR(-EPROTO, h2_length_end(&length));
	EXPECT_OK(h2_length_add(&length, 5));
	EXPECT_OK(h2_length_end(&length));
	EXPECT_ERR(-EPROTO, h2_length_add(&length, 1));
}

/* The frame watcher */

#define SECOND 1000000000ULL

static int watch_repeat(struct h2_watch *w, const struct h2f_buf *frame, unsigned int times)
{
	int r = 0;

	for (unsigned int i = 0; i < times && r == 0; i++)
		r = h2_watch_feed(w, span_of(frame->data, frame->len), 1);
	return r;
}

TEST(watch_knows_the_middle)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	struct h2_watch w;
	size_t whole;

	h2f_hello(&b);
	whole = b.len;
	h2f_head(&b, 1, H2F_HEADERS, 0, 1);
	h2f_byte(&b, 0);
	h2f_head(&b, 0, H2F_CONTINUATION, H2F_END_HEADERS, 1);
	h2_watch_init(&w, true, 1);
	for (size_t i = 0; i < b.len; i++) {
		EXPECT_EQ(i != strlen(H2F_PREFACE) && i != whole, h2_watch_midway(&w));
		ASSERT_OK(h2_watch_feed(&w, span_of(b.data + i, 1), 1));
	}
	EXPECT_FALSE(h2_watch_midway(&w));
	EXPECT_EQ(2, w.frames);
}

TEST(watch_floods)
{
	static const struct {
		enum h2f_type type;
		size_t len;
		unsigned int most; /* this many in an instant are too many */
	} floods[] = {
		{ H2F_PING, 8, 10000 },          { H2F_SETTINGS, 0, 1000 },
		{ H2F_PRIORITY, 5, 10000 },      { H2F_RST_STREAM, 4, 25000 },
		{ H2F_CONTINUATION, 0, 1000 },   { H2F_DATA, 0, 10000 },
		{ H2F_WINDOW_UPDATE, 4, 10000 }, { H2F_HEADERS, 0, 25000 },
		{ (enum h2f_type)77, 0, 10000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
		_cleanup_(h2f_release) struct h2f_buf b = { 0 };
		uint8_t zeroes[8] = { 0 };
		struct h2_watch w;

		h2f_frame(&b, floods[i].type, 0, 1, zeroes, floods[i].len);
		h2_watch_init(&w, false, 1);
		EXPECT_OK(watch_repeat(&w, &b, 100));
		EXPECT_ERR(-EPROTO, watch_repeat(&w, &b, floods[i].most));
	}
}

TEST(watch_lets_work_through)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	uint8_t zeroes[64] = { 0 };
	struct h2_watch w;

	h2f_frame(&b, H2F_HEADERS, H2F_END_HEADERS, 1, NULL, 0);
	h2f_frame(&b, H2F_DATA, H2F_END_STREAM, 1, zeroes, 10);
	h2f_frame(&b, H2F_DATA, 0, 1, zeroes, sizeof(zeroes));
	h2f_frame(&b, H2F_WINDOW_UPDATE, 0, 0, zeroes, 4);
	h2f_frame(&b, H2F_PING, 0, 0, zeroes, 8);
	h2_watch_init(&w, false, 1);
	for (unsigned int i = 0; i < 100000; i++) {
		ASSERT_OK(watch_repeat(&w, &b, 1));
		h2_watch_refund(&w);
	}
}

TEST(watch_refills_with_time)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	uint8_t zeroes[8] = { 0 };
	struct h2_watch w;

	h2f_frame(&b, H2F_PING, 0, 0, zeroes, 8);
	h2_watch_init(&w, false, 1);
	/* A keepalive PING every ten seconds for a month, and a hundred a second for an hour. */
	for (uint64_t i = 0; i < 30 * 8640; i++)
		ASSERT_OK(h2_watch_feed(&w, span_of(b.data, b.len), i * 10 * SECOND));
	for (uint64_t i = 0; i < 360000; i++)
		ASSERT_OK(h2_watch_feed(&w, span_of(b.data, b.len),
					2592000 * SECOND + i * SECOND / 100));
	EXPECT_ERR(-EPROTO, watch_repeat(&w, &b, 10000));
}

/* The recycling allocator */

TEST(memory_is_recycled_and_bounded)
{
	struct h2mem_user user = { .max = 4096 };
	void *p, *q;

	ASSERT_OK(h2mem_new(&user.mem));
	p = h2mem_take(&user, 100);
	ASSERT_NOT_NULL(p);
	memset(p, 1, 100);
	h2mem_give(&user, p);
	EXPECT_EQ(0, user.used);
	q = h2mem_take(&user, 128);
	EXPECT_EQ(p, q);
	EXPECT_EQ(1, h2mem_fresh(user.mem));
	q = h2mem_resize(&user, q, 1000);
	ASSERT_NOT_NULL(q);
	EXPECT_MEMEQ("\1\1\1\1", 4, q, 4);
	EXPECT_NULL(h2mem_take(&user, 3100));
	EXPECT_NULL(h2mem_take(&user, SIZE_MAX));
	h2mem_give(&user, q);
	h2mem_give(&user, NULL);
	h2mem_free(user.mem);
}

/* A block has the next power of two from 32 bytes to 32 KiB; what is larger has its own size. */
TEST(memory_classes)
{
	struct h2mem_user user = { .max = SIZE_MAX };
	size_t want = 32;
	void *p;

	ASSERT_OK(h2mem_new(&user.mem));
	for (size_t size = 1; size <= 33000; size++) {
		if (size > want)
			want = size > 32768 ? size : 2 * want;
		p = h2mem_take(&user, size);
		ASSERT_NOT_NULL(p);
		if (!EXPECT_EQ(want, user.used))
			break;
		h2mem_give(&user, p);
	}
	h2mem_free(user.mem);
}

TEST_HARNESS_MAIN
