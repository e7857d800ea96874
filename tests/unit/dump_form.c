/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value as people have it, whatever it is wrapped in, and what is told of what is no dump.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/dump/form.h"
#include "daemon/dump/single.h"

#define KEY   "/registry/a/b"
#define VALUE "k8s:enc:aescbc:v1:key1:0123456789abcdef0123456789abcdef"

static struct dump_error err;

static int find(const char *text, size_t len, uint8_t **ret, struct single *ret_single)
{
	uint8_t *copy = malloc(len ?: 1);

	ASSERT_NOT_NULL(copy);
	memcpy(copy, text, len);
	err = (struct dump_error){ 0 };
	*ret = copy;
	return single_find(copy, len, span_str(KEY), &err, ret_single);
}

static void expect_value(const char *value, bool newline, const char *text)
{
	_cleanup_free_ uint8_t *copy = NULL;
	struct single s = { 0 };

	EXPECT_TRUE(single_is(span_str(text), span_str(KEY)));
	if (!EXPECT_OK(find(text, strlen(text), &copy, &s)))
		ktest_log("%s: %s", text, err.text);
	else
		EXPECT_MEMEQ(value, strlen(value), s.value.data, s.value.len);
	EXPECT_EQ(newline, s.newline);
}

static const char hexdump[] =
	"00000000  2f 72 65 67 69 73 74 72  79 2f 61 2f 62 0a 7b 22  |/registry/a/b.{\"|\r\n"
	"00000010  61 22 3a 22 30 30 30 30  30 30 30 30 30 30 30 30  |a\":\"000000000000|\r\n"
	"00000020  30 30 30 30 30 30 30 30  30 30 30 30 30 30 30 30  |0000000000000000|\r\n"
	"*\n"
	"00000040  22 7d                                             |\"}|\n"
	"00000042\n";
static const char xxd[] = "00000000: 6b38 733a 656e 633a 6165 7363 6263 3a76  k8s:enc:aescbc:v\n"
			  "00000010: 313a 6b65 7931 3a30 3132 3334 3536 3738  1:key1:012345678\n"
			  "00000020: 3961 6263 6465 6630 3132 3334 3536 3738  9abcdef012345678\n"
			  "00000030: 3961 6263 6465 66                        9abcdef\n";

TEST(one_value)
{
	expect_value(VALUE, false, VALUE);
	expect_value(VALUE, false, VALUE "\n");
	expect_value(VALUE, false, KEY "\n" VALUE "\n");
	expect_value("{\"a\":1}\n", false, KEY "\n{\"a\":1}\n");
	expect_value(VALUE, false,
		     "azhzOmVuYzphZXNjYmM6djE6a2V5MTowMTIzNDU2Nzg5YWJj\n"
		     "ZGVmMDEyMzQ1Njc4OWFiY2RlZg==\n");
	expect_value(VALUE, false, xxd);
	expect_value("{\"a\":\"00000000000000000000000000000000000000000000\"}", false, hexdump);
	/* With a tag at its end a newline may be a value's own. */
	expect_value("k8s:enc:aesgcm:v1:k:0123456789abcdef0123456789abcdef\n", true,
		     "k8s:enc:aesgcm:v1:k:0123456789abcdef0123456789abcdef\n");
}

TEST(protobuf_ends_where_it_does)
{
	static const char text[] = "k8s\0\x0a\x04\x0a\x02v1\n";
	_cleanup_free_ uint8_t *copy = NULL;
	struct single s = { 0 };

	ASSERT_OK(find(text, sizeof(text) - 1, &copy, &s));
	EXPECT_EQ(sizeof(text) - 2, s.value.len);
}

TEST(what_is_no_value)
{
	static const char *const bad[] = {
		"",
		"\n",
		KEY,
		KEY "\n",
		"/registry/a/c\n" VALUE,
		KEY "c\n" VALUE,
		"words",
		"azhz",
		"azhz!",
		"eyJ",
		"00000000 ",
		"00000000: ",
		"00000000  6b 38 73\n00000020  6b\n",
		"00000000  6b 38 73\n*\n00000020  6b\n",
		"00000000  6b 38 73\nffffffffffffff  6b\n",
		"00000000  6b 38 73\nnothing\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ uint8_t *copy = NULL;
		struct single s;

		if (!EXPECT_ERR(-EBADMSG, find(bad[i], strlen(bad[i]), &copy, &s)))
			ktest_log("%s", bad[i]);
		EXPECT_TRUE(*err.text);
	}
	EXPECT_FALSE(single_is(span_str("{\"header\":{}}"), span_str(KEY)));
	EXPECT_FALSE(single_is(span_str("words"), span_str(KEY)));
	EXPECT_FALSE(single_is(SPAN_NULL, span_str(KEY)));
}

/* What is a dump, or may be one, is not sent away. */
TEST(no_advice_is_needed)
{
	static const char *const good[] = { "{\"header\":",        "[{\"key\":",    " {",
					    "Defaulted container", "\xef\xbb\xbf{", "\"" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		EXPECT_NULL(form_advice(span_str(good[i])));
	EXPECT_NOT_NULL(form_advice(SPAN_NULL));
	EXPECT_NOT_NULL(form_advice(span_str("\x1f\x8b")));
	EXPECT_NOT_NULL(form_advice(span_str("/registry/a\n")));
	EXPECT_NOT_NULL(form_advice(span_of("\x0a\x02\x08\x01\x12", 5)));
	EXPECT_NULL(form_advice(span_of("\x0a\x02\x08\x01", 4)));
}

TEST(two_bytes_a_character)
{
	uint8_t little[] = { 0xff, 0xfe, '{', 0, 0xe9, 0, 'a', 1, '}', 0, 0 };
	uint8_t big[] = { 0, '{', 0, '"', 0xfe, 0xff };

	ASSERT_EQ(FORM_UTF16_LE, form_width(span_of(little, sizeof(little))));
	EXPECT_MEMEQ("{??}", 4, little, form_narrow(little, sizeof(little), FORM_UTF16_LE));
	ASSERT_EQ(FORM_UTF16_BE, form_width(span_of(big, sizeof(big))));
	EXPECT_MEMEQ("{\"", 2, big, form_narrow(big, sizeof(big), FORM_UTF16_BE));
	EXPECT_EQ(FORM_BYTES, form_width(span_str("{\"")));
}

TEST_HARNESS_MAIN
