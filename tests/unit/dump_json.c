/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64, and the JSON of etcdctl: whatever pieces it comes in, what is refused, and that its size does
 * not show in memory.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "daemon/dump/base64.h"
#include "daemon/dump/etcdjson.h"
#include "tests/support/dump_bed.h"
#include "tests/support/prng.h"

#define HEADER "{\"header\":{\"cluster_id\":14841639068965178418,\"member_id\":7,\"revision\":12},"

static int feed(struct dump_bed *b, struct span text, size_t piece)
{
	_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
	int r = etcdjson_new(dump_bed_each, b, &b->info, &b->err, &j);

	while (r == 0 && text.len > 0) {
		size_t n = text.len < piece ? text.len : piece;

		r = etcdjson_feed(j, span_of(text.data, n));
		text = span_skip(text, n);
	}
	return r == 0 ? etcdjson_end(j) : r;
}

static int read_text(struct dump_bed *b, const char *text)
{
	*b = (struct dump_bed){ 0 };
	return feed(b, span_str(text), SIZE_MAX);
}

TEST(base64_is_sodiums)
{
	struct prng p = { 7 };
	uint8_t bytes[100], out[100];
	char text[200];
	size_t len;

	for (size_t n = 0; n <= sizeof(bytes); n++) {
		prng_bytes(&p, bytes, n);
		sodium_bin2base64(text, sizeof(text), bytes, n, sodium_base64_VARIANT_ORIGINAL);
		ASSERT_OK(base64_decode(span_str(text), out, &len));
		EXPECT_MEMEQ(bytes, n, out, len);
	}
}

TEST(base64_refuses)
{
	static const char *const bad[] = {
		"A",        "AA",       "AAA",      "AA=",          "====",
		"A===",     "AAAAA",    "AA=A",     "AB==",         "AAB=",
		"AA AA",    "AA-_",     "AAAA====", "AA==AAAA",     "\xff\xff\xff\xff",
		"AAAA    ", "    AAAA", "AAAA----", "AAAA\n\n\n\n", "AA==    ",
		"A=AA"
	};
	uint8_t out[16];
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_ERR(-EINVAL, base64_decode(span_str(bad[i]), out, &len));
}

static const char two[] =
	HEADER "\"kvs\":[{\"key\":\"L2E=\",\"create_revision\":2,\"mod_revision\":9,\"version\":1,"
	       "\"value\":\"b25l\"},{\"key\":\"L2I=\",\"lease\":\"77\",\"value\":\"\"},"
	       "{\"key\":\"L2M=\"}],\"count\":3}\n";

TEST(reads_what_etcdctl_prints)
{
	struct dump_bed b;

	ASSERT_OK(read_text(&b, two));
	EXPECT_STREQ("/a=one;/b=;/c=;", b.text);
	EXPECT_EQ(UINT64_C(14841639068965178418), b.info.cluster_id);
	EXPECT_EQ(7U, b.info.member_id);
	EXPECT_EQ(12U, b.info.revision);
	EXPECT_EQ(3U, b.info.values);
	EXPECT_FALSE(b.info.truncated);
	EXPECT_FALSE(b.info.whole);
}

TEST(pieces_of_any_size)
{
	for (size_t piece = 1; piece < sizeof(two); piece++) {
		struct dump_bed b = { 0 };

		ASSERT_OK(feed(&b, span_str(two), piece));
		EXPECT_STREQ("/a=one;/b=;/c=;", b.text);
	}
}

TEST(cut_anywhere_is_an_error)
{
	for (size_t n = 0; n < sizeof(two) - 2; n++) {
		struct dump_bed b = { 0 };

		EXPECT_ERR(-EBADMSG, feed(&b, span_of(two, n), SIZE_MAX));
		EXPECT_TRUE(*b.err.text);
	}
}

TEST(no_keys_at_all)
{
	struct dump_bed b;

	ASSERT_OK(read_text(&b, HEADER "\"kvs\":null}"));
	ASSERT_OK(read_text(&b, "{\"header\":{\"revision\":\"5\"}}"));
	EXPECT_EQ(0U, b.n);
	EXPECT_EQ(5U, b.info.revision);
}

/* --limit: more keys were there than are here. */
TEST(says_that_it_was_cut)
{
	struct dump_bed b;

	ASSERT_OK(read_text(&b, HEADER "\"kvs\":[{\"key\":\"L2E=\"}],\"more\":true,\"count\":2}"));
	EXPECT_TRUE(b.info.truncated);
	ASSERT_OK(read_text(&b, HEADER "\"kvs\":[{\"key\":\"L2E=\"}],\"count\":2}"));
	EXPECT_TRUE(b.info.truncated);
}

TEST(skips_what_it_does_not_know)
{
	struct dump_bed b;

	ASSERT_OK(read_text(&b,
			    HEADER "\"x\":{\"kvs\":[1,{\"key\":\"!\"}],\"y\":[[],{}]},\"z\":true,"
				   "\"kvs\":[{\"key\":\"L2E=\",\"q\":{\"value\":\"!\"},"
				   "\"r\":[\"s\",null,1.5e3]}]}"));
	EXPECT_STREQ("/a=;", b.text);
}

/* Escapes are JSON's to use, and an element need not look like the one before. */
TEST(reads_however_it_is_written)
{
	struct dump_bed b;

	ASSERT_OK(read_text(
		&b, " {\r\n\t\"header\" : { \"revision\" : 12 } , \"kvs\" : [\n"
		    "{ \"k\\u0065y\" : \"L2\\u0045=\" , \"value\":\"\\u0062\\u0032\\u0035l\"} ,"
		    "{\"x\":\"00\",\"key\":\"L2I=\",\"y\":[\"01\",{\"key\":\"02\"}]},"
		    "{\"value\":\"\\/\\/\\/\\/\",\"key\":\"L2M=\",\"x\":\"\\\\\\\"\\u00e9\"},"
		    "{\"value\":\"b25l\",\"key\":\"L2Q=\",\"x\":\"\xc3\xa9\"},"
		    "{\"value\":null,\"key\":\"L2U=\",\"x\":0}"
		    " ] , \"a\\\"kvs\":[{\"key\":\"L2Y=\"}], \"count\" : \"5\" } \n"));
	EXPECT_STREQ("/a=one;/b=;/c=\xff\xff\xff;/d=one;/e=;", b.text);
	EXPECT_FALSE(b.info.truncated);
}

TEST(refuses)
{
	static const char *const bad[] = {
		"",
		"[]",
		"5",
		"null",
		"{}",
		"{\"kvs\":[]}",
		HEADER "\"kvs\":{}}",
		HEADER "\"kvs\":[1]}",
		HEADER "\"kvs\":[[]]}",
		HEADER "\"kvs\":[{}]}",
		HEADER "\"kvs\":[{\"value\":\"b25l\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"key\":\"L2I=\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"value\":\"\",\"value\":\"\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"value\":7}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"value\":{}}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":-1}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":18446744073709551616}]}",
		HEADER "\"kvs\":[],\"kvs\":[]}",
		HEADER "\"header\":{}}",
		HEADER "\"kvs\":[]}{}",
		HEADER "\"kvs\":[],}",
		HEADER "\"kvs\":[,]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"},]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"}{\"key\":\"L2I=\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"}}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"]]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"\"value\":\"\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"k\\u0065y\":\"L2I=\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"value\":[\"00\"]}]}",
		HEADER "\"kvs\":[{\"key\":\"00\",\"x\":\"L2E=\"}]}",
		HEADER "\"kvs\":[{\"key\":null}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":1 2}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":01}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\",\"mod_revision\":1.0}]}",
		HEADER "\"k\\u0076s\":[{\"key\":\"L2E=\"}]}",
		HEADER "\"kvs\":[{\"key\":\"L2E=\"}],\"k\\u0076s\":[]}",
		HEADER "\"x\":\"\\q\"}",
		HEADER "\"x\":\"\xff\"}",
		HEADER "\"x\":\"\n\"}",
		HEADER "\"x\":01}",
		HEADER "\"x\":1 2}",
		HEADER "\"x\":}",
		HEADER "\"count\":null}",
		HEADER "\"more\":1}",
		"{\"header\":[]}",
		"{\"header\":null}",
		HEADER "\"x\":[}]",
		"}",
		"]",
		"\"",
		"\xef\xbb\xbf{\"header\":{}}",
		"k8s:enc:aesgcm:v1:key:",
	};
	struct dump_bed b;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!EXPECT_ERR(-EBADMSG, read_text(&b, bad[i])))
			ktest_log("%s", bad[i]);
		EXPECT_TRUE(*b.err.text);
	}
}

TEST(each_ends_it)
{
	struct dump_bed b = { .answer = -ECANCELED };

	EXPECT_ERR(-ECANCELED, feed(&b, span_str(two), SIZE_MAX));
	EXPECT_EQ(1U, b.n);
}

/* Feed the same piece again and again. */
static int feed_many(struct etcdjson *j, struct span piece, size_t times)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < times; i++)
		r = etcdjson_feed(j, piece);
	return r;
}

/* A string without an end, and brackets without one: both are refused before they fill the memory. */
TEST(endless_things_are_refused)
{
	static const struct {
		const char *start;
		char filler;
		int r;
	} cases[] = {
		{ HEADER "\"kvs\":[{\"key\":\"", 'A', -EMSGSIZE },
		{ HEADER "\"x\":\"", 'x', -EMSGSIZE },
		{ HEADER "\"x\":", '[', -EBADMSG },
		{ HEADER "\"", 'x', -EMSGSIZE },
		{ HEADER "\"x\":", '1', -EMSGSIZE },
		{ HEADER, ' ', -EMSGSIZE },
	};
	static char piece[1024 * 1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
		struct dump_bed b = { 0 };

		memset(piece, cases[i].filler, sizeof(piece));
		ASSERT_OK(etcdjson_new(dump_bed_each, &b, &b.info, &b.err, &j));
		ASSERT_OK(etcdjson_feed(j, span_str(cases[i].start)));
		EXPECT_ERR(cases[i].r, feed_many(j, span_of(piece, sizeof(piece)), 100));
	}
}

/* A value of @len bytes, in pieces. */
static int read_value(struct dump_bed *b, size_t len)
{
	static const char start[] = HEADER "\"kvs\":[{\"key\":\"L2E=\",\"value\":\"";
	static const char end[] = "\"}]}";
	size_t n = sizeof(start) - 1, chars = len / 3 * 4;
	_cleanup_free_ char *text = malloc(n + chars + sizeof(end));

	ASSERT_NOT_NULL(text);
	memcpy(text, start, n);
	memset(text + n, 'A', chars);
	memcpy(text + n + chars, end, sizeof(end));
	*b = (struct dump_bed){ 0 };
	return feed(b, span_str(text), 300000);
}

TEST(largest_value)
{
	struct dump_bed b;

	ASSERT_OK(read_value(&b, DUMP_VALUE_MAX / 3 * 3));
	EXPECT_EQ((size_t)DUMP_VALUE_MAX / 3 * 3, b.bytes);
	EXPECT_ERR(-EMSGSIZE, read_value(&b, DUMP_VALUE_MAX + 3));
}

static long max_rss(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

/* Thirty times as many values change nothing. */
TEST(memory_does_not_grow)
{
	_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
	struct dump_bed b = { 0 };
	static char one[4096];
	long before;

	snprintf(one, sizeof(one), "{\"key\":\"L2E=\",\"value\":\"%03000d\"},", 0);
	ASSERT_OK(etcdjson_new(dump_bed_each, &b, &b.info, &b.err, &j));
	ASSERT_OK(etcdjson_feed(j, span_str(HEADER "\"kvs\":[")));
	ASSERT_OK(feed_many(j, span_str(one), 1000));
	before = max_rss();
	ASSERT_OK(feed_many(j, span_str(one), 30000));
	EXPECT_LT(max_rss() - before, 1024);
	EXPECT_EQ(31000U, b.n);
}

TEST_HARNESS_MAIN
