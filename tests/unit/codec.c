/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prefix of a stored value: a name is matched whole, whatever bytes it holds.
 */
#include "tests/harness/ktest.h"

#include "daemon/chain/codec.h"

#define PREFIX CODEC_ENC "aesgcm:v1:"

static bool match(const char *stored, const char *label, struct span *ret)
{
	return codec_prefix_match(span_str(stored), PREFIX, span_str(label), ret);
}

static void expect_body(const char *body, const char *stored, const char *label)
{
	struct span seen = SPAN_NULL;

	ASSERT_TRUE(match(stored, label, &seen));
	EXPECT_MEMEQ(body, strlen(body), seen.data, seen.len);
}

static void expect_none(const char *stored, const char *label)
{
	static const struct span untouched = { (const uint8_t *)"untouched", 9 };
	struct span seen = untouched;

	EXPECT_FALSE(match(stored, label, &seen));
	EXPECT_EQ(untouched.data, seen.data);
	EXPECT_EQ(untouched.len, seen.len);
}

TEST(match)
{
	expect_body("body", PREFIX "key1:body", "key1");
	expect_body("", PREFIX "key1:", "key1");
	expect_body(":body:", PREFIX "key1::body:", "key1");
}

TEST(name_is_matched_whole)
{
	expect_none(PREFIX "key1:body", "key");
	expect_none(PREFIX "key1:body", "key10");
	expect_none(PREFIX "key1:body", "Key1");
	expect_none(PREFIX "key1:body", "");
	expect_none(PREFIX "key1", "key1");
	expect_none(PREFIX "key1", "key1:body");
}

TEST(other_prefixes)
{
	expect_none("", "key1");
	expect_none("k8s:enc:", "key1");
	expect_none("k8s:enc:aesgcm:v2:key1:body", "key1");
	expect_none("k8s:enc:aescbc:v1:key1:body", "key1");
	expect_none("K8s:enc:aesgcm:v1:key1:body", "key1");
	expect_none(" " PREFIX "key1:body", "key1");
	expect_none("plain", "key1");
}

/* Legal in an EncryptionConfiguration, and why a value is never split at colons. */
TEST(name_with_colons)
{
	expect_body("body", PREFIX "a:b:body", "a:b");
	expect_body("b:body", PREFIX "a:b:body", "a");
	expect_body("body", PREFIX "::body", ":");
	expect_none(PREFIX "a:b", "a:b");
}

TEST(empty_name)
{
	expect_body("body", PREFIX ":body", "");
	expect_none(PREFIX "a:body", "");
}

TEST(name_with_nul)
{
	static const char stored[] = PREFIX "a\0b:body";
	struct span body;

	ASSERT_TRUE(codec_prefix_match(span_of(stored, sizeof(stored) - 1), PREFIX,
				       span_of("a\0b", 3), &body));
	EXPECT_MEMEQ("body", 4, body.data, body.len);
	EXPECT_FALSE(codec_prefix_match(span_of(stored, sizeof(stored) - 1), PREFIX, span_str("a"),
					&body));
}

TEST(written_value_matches)
{
	static const char *const labels[] = { "", "a", "a:b", "key1.0123456789abcdef" };
	uint8_t buf[128];

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		size_t len = codec_prefix_len(PREFIX, span_str(labels[i]));
		struct span body;

		memset(buf, 0xa5, sizeof(buf));
		EXPECT_EQ(strlen(PREFIX) + strlen(labels[i]) + 1, len);
		EXPECT_EQ(len, codec_prefix_put(buf, PREFIX, span_str(labels[i])));
		EXPECT_EQ(0xa5, buf[len]);
		ASSERT_TRUE(
			codec_prefix_match(span_of(buf, len), PREFIX, span_str(labels[i]), &body));
		EXPECT_EQ(0, body.len);
	}
}

TEST_HARNESS_MAIN
