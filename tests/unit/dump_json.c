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
	uint8_t bytes[100], out[102]; /* base64_room() of their text */
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

static bool sodium_decode(struct span text, uint8_t *out, size_t room, size_t *ret_len)
{
	return sodium_base642bin(out, room, (const char *)text.data, text.len, NULL, ret_len, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0;
}

/*
 * Any byte in the place of any character, of texts with and without a part that is read in blocks. libsodium 1.0.18
 * takes all that are not ASCII for a '/'.
 */
TEST(base64_refuses_what_sodium_does)
{
	struct prng p = { 11 };
	uint8_t bytes[99], out[99], theirs[99];
	char text[2 * sizeof(bytes)];
	size_t len, their_len, wrong = 0;

	for (size_t n = 29; n <= sizeof(bytes); n += n < 36 ? 1 : 21) {
		prng_bytes(&p, bytes, n);
		sodium_bin2base64(text, sizeof(text), bytes, n, sodium_base64_VARIANT_ORIGINAL);
		for (size_t i = 0; i < 256 * strlen(text); i++) {
			char *at = &text[i / 256], was = *at;
			struct span all = span_of(text, strlen(text));
			bool good, theirs_good;

			*at = (char)(i % 256);
			good = base64_decode(all, out, &len) == 0;
			theirs_good = (uint8_t)*at < 0x80 &&
				      sodium_decode(all, theirs, sizeof(theirs), &their_len);
			wrong += good != theirs_good;
			wrong += good && !span_equal(span_of(out, len), span_of(theirs, their_len));
			*at = was;
		}
	}
	EXPECT_EQ(0U, wrong);
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

/* What is all but etcdctl's own way to write an element, and means the same or is refused, byte by byte and at once. */
TEST(at_once_as_in_pieces)
{
	static const char *const elements[] = {
		"{\"key\":\"YQ==\",\"mod_revision\":18446744073709551615}",
		"{\"key\":\"YQ==\",\"mod_revision\":18446744073709551616}",
		"{\"key\":\"YQ==\",\"mod_revision\":9999999999999999999}",
		"{\"key\":\"YQ==\",\"mod_revision\":0}",
		"{\"key\":\"YQ==\",\"mod_revision\":00}",
		"{\"key\":\"YQ==\",\"mod_revision\":-1}",
		"{\"key\":\"YQ==\",\"mod_revision\":1.5}",
		"{\"key\":\"YQ==\",\"mod_revision\":}",
		"{\"key\":\"YQ==\",\"version\":1e3,\"value\":\"Yg==\"}",
		"{\"key\":\"YQ==\",\"value\":\"Yg==\",\"lease\":7}",
		"{\"key\":\"YQ==\",\"value\":\"Yg==\",\"lease\":7,\"x\":8}",
		"{\"key\":\"YQ==\",\"value\":\"Yg==\",\"value\":\"Yg==\"}",
		"{\"key\":\"YQ==\",\"value\":\"Yg\\u003d=\"}",
		"{\"key\":\"YQ==\",\"value\":\"Yg=\"}",
		"{\"key\":\"YQ==\",\"value\":\"Yh==\"}",
		"{\"key\":\"YQ==\",\"value\":null}",
		"{\"key\":\"YQ==\",\"value\":\"Yg==\"",
		"{\"key\":\"YQ==\",\"value\":\"Yg==}",
		"{\"key\":\"YQ==\",\"version\":1,\"mod_revision\":2}",
		"{\"key\":\"YQ==\" ,\"mod_revision\":2}",
		"{\"key\":\"\",\"value\":\"Yg==\"}",
		"{\"value\":\"Yg==\",\"key\":\"YQ==\"}",
		"{\"key\":\"YQ==\"},{\"key\":\"Yg==\"}",
		"{\"key\":\"YQ==\"}{\"key\":\"Yg==\"}",
		"{\"key\":\"YQ==\"},",
	};
	char text[400];

	for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
		struct dump_bed whole = { 0 }, pieces = { 0 };
		int r;

		snprintf(text, sizeof(text), HEADER "\"kvs\":[%s]}\n", elements[i]);
		r = feed(&whole, span_str(text), SIZE_MAX);
		EXPECT_EQ(feed(&pieces, span_str(text), 1), r);
		EXPECT_STREQ(pieces.text, whole.text);
		EXPECT_EQ(pieces.mod_revisions, whole.mod_revisions);
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

#define PAGE(keys, end) HEADER "\"kvs\":[" keys "]," end "}\n"
#define KEY_A           "{\"key\":\"YQ==\"}"
#define KEY_B           "{\"key\":\"Yg==\"}"
#define KEY_C           "{\"key\":\"Yw==\"}"

/* Pages of --limit, each with the last key of the one before or without, and what is missing between them. */
TEST(several_answers)
{
	static const struct {
		const char *text, *keys;
		bool truncated;
	} cases[] = {
		{ PAGE(KEY_A, "\"count\":1") PAGE(KEY_A, "\"count\":1"), "a=;", false },
		{ PAGE(KEY_B, "\"count\":1") PAGE(KEY_A, "\"count\":1"), "b=;a=;", false },
		{ PAGE(KEY_A, "\"more\":true,\"count\":3")
			  PAGE(KEY_A "," KEY_B, "\"more\":true,\"count\":3")
				  PAGE(KEY_B "," KEY_C, "\"count\":2"),
		  "a=;b=;c=;", false },
		{ PAGE(KEY_A, "\"more\":true,\"count\":3") PAGE(KEY_B "," KEY_C, "\"count\":2"),
		  "a=;b=;c=;", false },
		{ PAGE(KEY_A, "\"more\":true,\"count\":3") PAGE(KEY_C, "\"count\":1"), "a=;c=;",
		  true },
		{ PAGE(KEY_A, "\"more\":true,\"count\":2") PAGE(KEY_B, "\"more\":true,\"count\":1"),
		  "a=;b=;", true },
		{ PAGE(KEY_A, "\"more\":true") PAGE(KEY_B, "\"count\":1"), "a=;b=;", false },
	};
	struct dump_bed b;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ASSERT_OK(read_text(&b, cases[i].text));
		EXPECT_STREQ(cases[i].keys, b.text);
		EXPECT_EQ(cases[i].truncated, b.info.truncated);
	}
	ASSERT_OK(read_text(&b, "{\"header\":{\"revision\":7}}{\"header\":{\"revision\":5}}"));
	EXPECT_EQ(5U, b.info.revision);
	EXPECT_ERR(-EBADMSG, read_text(&b, "{\"header\":{\"cluster_id\":1}}{\"header\":{}}"));
}

/* What a shell has put before it, and the list that jq has taken out of it. */
TEST(what_is_around_an_answer)
{
	static const char log[] = "{\"level\":\"warn\",\"header\":null}\n";
	struct dump_bed b;

	ASSERT_OK(
		read_text(&b, "Defaulted container \"etcd\": {x}\n\n" PAGE(KEY_A, "\"count\":1")));
	EXPECT_STREQ("a=;", b.text);
	ASSERT_OK(
		read_text(&b, "{\"level\":\"warn\"}\n" PAGE(KEY_A, "\"count\":1") "{\"level\":1}"));
	EXPECT_STREQ("a=;", b.text);
	ASSERT_OK(read_text(&b, "[" KEY_A "," KEY_B "]"));
	EXPECT_STREQ("a=;b=;", b.text);
	EXPECT_EQ(0U, b.info.revision);
	EXPECT_ERR(-EBADMSG, read_text(&b, log));
	EXPECT_ERR(-EBADMSG, read_text(&b, "{\"level\":\"warn\"}\n"));
	EXPECT_ERR(-EBADMSG, read_text(&b, "only words\n"));
	EXPECT_ERR(-EBADMSG, read_text(&b, PAGE(KEY_A, "\"count\":1") "words after it\n"));
	EXPECT_ERR(-EBADMSG, read_text(&b, PAGE(KEY_A, "\"count\":1") "[" KEY_A "]"));
	EXPECT_ERR(-EBADMSG, read_text(&b, "[" KEY_A));
	EXPECT_ERR(-EBADMSG, read_text(&b, "{\"kind\":\"List\",\"apiVersion\":\"v1\"}"));
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
