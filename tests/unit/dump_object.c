/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as kube-apiserver stores them: protobuf of Secrets and ConfigMaps, cut everywhere, and how they
 * are shown: masked, or escaped so that no terminal acts on them.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/ctl/open_object.h"
#include "daemon/dump/object.h"

/*
 * runtime.Unknown{typeMeta{"v1","Secret"}, raw: Secret{metadata{name "n", namespace "ns", uid "u"},
 * data{"user": "root", "p": "\x1b]0;"}, type "Opaque"}, contentType "x"}
 */
static const char secret[] = "k8s\0"
			     "\x0a\x0c\x0a\x02v1\x12\x06Secret"
			     "\x12\x2d"
			     "\x0a\x0a\x0a\x01n\x1a\x02ns\x2a\x01u"
			     "\x12\x0c\x0a\x04user\x12\x04root"
			     "\x12\x09\x0a\x01p\x12\x04\x1b]0;"
			     "\x1a\x06Opaque"
			     "\x22\x01x";

static const char config_map[] = "k8s\0"
				 "\x0a\x0f\x0a\x02v1\x12\x09"
				 "ConfigMap"
				 "\x12\x18"
				 "\x12\x0a\x0a\x04mode\x12\x02on"
				 "\x1a\x0a\x0a\x04"
				 "blob\x12\x02\x00\xff";

struct fields {
	char text[256];
};

static int add(void *ctx, struct span name, struct span value)
{
	struct fields *f = ctx;
	size_t n = strlen(f->text);

	snprintf(f->text + n, sizeof(f->text) - n, "%.*s=%zu;", (int)name.len,
		 (const char *)name.data, value.len);
	return 0;
}

static const char *head(const void *text, size_t len)
{
	static char ret[128];
	struct object o;

	if (!object_head(span_of(text, len), &o))
		return "none";
	snprintf(ret, sizeof(ret), "%.*s of %.*s", (int)o.kind.len, (const char *)o.kind.data,
		 (int)o.api_version.len, (const char *)o.api_version.data);
	return ret;
}

#define HEAD(text) head(text, sizeof(text) - 1)

/* kubectl's own form has the two first; what others write has them anywhere, and deeper ones beside them. */
TEST(what_an_object_says_of_itself)
{
	EXPECT_STREQ("Secret of v1", head(secret, sizeof(secret) - 1));
	EXPECT_STREQ("ConfigMap of v1", head(config_map, sizeof(config_map) - 1));
	EXPECT_STREQ("T of a/v1", HEAD("{\"apiVersion\":\"a/v1\",\"kind\":\"T\"}\n"));
	EXPECT_STREQ("T of a/v1",
		     HEAD("{ \"x\": {\"kind\": \"no\", \"y\": [1, {}, \"\\\"}\"]}, "
			  "\"kind\" : \"T\", \"n\": -1.5e3, \"apiVersion\":\"a/v1\" }"));
	EXPECT_STREQ("T of v1",
		     HEAD("\xd9\xd9\xf7\xbf\x41x\x9f\xa1\x44kind\x61n\xff\x41y\x5f\x41z\xff"
			  "\x64kind\x61T\x6a"
			  "apiVersion\x62v1\xff"));
	EXPECT_STREQ("none", HEAD(""));
	EXPECT_STREQ("none", HEAD("{}"));
	EXPECT_STREQ("none", HEAD("{\"kind\":\"T\"}"));
	EXPECT_STREQ("none", HEAD("{\"kind\":\"T\",\"apiVersion\":1}"));
	EXPECT_STREQ("none", HEAD("[{\"kind\":\"T\",\"apiVersion\":\"v1\"}]"));
	EXPECT_STREQ("none", HEAD("\xd9\xd9\xf7\x81\x41x"));
}

/* Cut anywhere, and with every byte another one. */
TEST(what_is_damaged_says_what_it_can)
{
	static const char json[] =
		"{\"a\":[{\"b\":\"\\u00e9\"}],\"kind\":\"T\",\"apiVersion\":\"v1\"}";
	static const char cbor[] = "\xd9\xd9\xf7\xa3\x41x\x9f\xa1\x44kind\x61n\xff\x64kind\x61T\x6a"
				   "apiVersion\x62v1";
	const struct span all[] = { span_of(json, sizeof(json) - 1),
				    span_of(cbor, sizeof(cbor) - 1) };
	struct object o;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		_cleanup_free_ uint8_t *copy = malloc(all[i].len);

		for (size_t n = 0; n < all[i].len; n++)
			for (unsigned int c = 0; c < 256; c++) {
				memcpy(copy, all[i].data, all[i].len);
				copy[n] = (uint8_t)c;
				object_head(span_of(copy, all[i].len), &o);
			}
		for (size_t n = all[i].len; n-- > 0;) {
			free(copy);
			copy = malloc(n ?: 1);
			memcpy(copy, all[i].data, n);
			EXPECT_FALSE(object_head(span_of(copy, n), &o));
		}
	}
}

TEST(secret)
{
	struct fields f = { 0 };
	struct object o;

	ASSERT_OK(object_decode(span_of(secret, sizeof(secret) - 1), add, &f, &o));
	EXPECT_STREQ("user=4;p=4;", f.text);
	EXPECT_TRUE(span_equal(o.kind, span_str("Secret")));
	EXPECT_TRUE(span_equal(o.name, span_str("n")));
	EXPECT_TRUE(span_equal(o.ns, span_str("ns")));
	EXPECT_TRUE(span_equal(o.type, span_str("Opaque")));
}

TEST(config_map)
{
	struct fields f = { 0 };
	struct object o;

	ASSERT_OK(object_decode(span_of(config_map, sizeof(config_map) - 1), add, &f, &o));
	EXPECT_STREQ("mode=2;blob=2;", f.text);
}

TEST(another_kind)
{
	static const char pod[] = "k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02\x08\x01";
	struct object o;

	ASSERT_ERR(-EOPNOTSUPP, object_decode(span_of(pod, sizeof(pod) - 1), NULL, NULL, &o));
	EXPECT_TRUE(span_equal(o.kind, span_str("Pod")));
}

static int stop(void *ctx, struct span name, struct span value)
{
	(void)ctx;
	(void)name;
	(void)value;
	return -ECANCELED;
}

TEST(each_ends_it)
{
	struct object o;

	EXPECT_ERR(-ECANCELED, object_decode(span_of(secret, sizeof(secret) - 1), stop, NULL, &o));
}

/* A cut between two fields is a shorter message; that it was cut only the tag of the cipher knows. */
TEST(cut_and_flipped_everywhere)
{
	char copy[sizeof(secret)];

	for (size_t n = 0; n < sizeof(secret) - 1; n++) {
		char *exact = malloc(n + 1);
		struct fields f = { 0 };
		struct object o;
		int r;

		memcpy(exact, secret, n);
		r = object_decode(span_of(exact, n), add, &f, &o);
		EXPECT_TRUE(r == -EINVAL || r == -EOPNOTSUPP || r == 0);
		free(exact);
	}
	for (size_t i = 0; i < 8 * (sizeof(secret) - 1); i++) {
		struct fields f = { 0 };
		struct object o;
		int r;

		memcpy(copy, secret, sizeof(secret));
		copy[i / 8] ^= (char)(1 << (i % 8));
		r = object_decode(span_of(copy, sizeof(secret) - 1), add, &f, &o);
		EXPECT_TRUE(r == -EINVAL || r == -EOPNOTSUPP || r == 0);
	}
}

static void expect_shown(const char *expected, struct span plain, bool reveal)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	EXPECT_OK(open_object_print(f, span_str("/k"), plain, reveal));
	fclose(f);
	EXPECT_STREQ(expected, text);
}

TEST(shown_masked_or_escaped)
{
	struct span plain = span_of(secret, sizeof(secret) - 1);

	expect_shown(
		"/k: Secret of type Opaque\n  user: ******** (4 bytes)\n  p: ******** (4 bytes)\n",
		plain, false);
	expect_shown("/k: Secret of type Opaque\n  user: \"root\"\n  p: \"\\x1b]0;\"\n", plain,
		     true);
}

TEST(shown_of_json)
{
	expect_shown("/k: Secret of type Opaque\n  user: \"root\"\n",
		     span_str("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\","
			      "\"data\":{\"user\":\"cm9vdA==\"}}"),
		     true);
	expect_shown(
		"/k: ConfigMap\n  a: ******** (3 bytes)\n  b: ******** (1 bytes)\n",
		span_str("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{\"a\":\"x\\ny\"},"
			 "\"binaryData\":{\"b\":\"AA==\"}}"),
		false);
	expect_shown(
		"/k: Widget of example.com/v1, not shown\n",
		span_str("{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"spec\":{}}"),
		true);
}

TEST(what_is_no_object)
{
	static const char *const bad[] = {
		"",
		"x",
		"{",
		"{}",
		"[]",
		"k8s",
		"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"a\":1}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"a\":\"!\"}}"
	};
	_cleanup_fclose_ FILE *f = fopen("/dev/null", "we");

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_ERR(-EINVAL, open_object_print(f, span_str("/k"), span_str(bad[i]), true));
}

TEST_HARNESS_MAIN
