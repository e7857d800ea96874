/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of kekd.v1.Transform, and which item a resource belongs to. The service itself runs
 * in tests/e2e/chain.
 */
#include <errno.h>
#include <string.h>

#include "daemon/kms/transform.h"
#include "tests/harness/ktest.h"

FIXTURE(messages)
{
	struct secpool *pool;
	struct secbuf out;
};

FIXTURE_SETUP(messages)
{
	ASSERT_OK(secpool_new(8 << 20, &self->pool));
	ASSERT_OK(secpool_get(self->pool, 64, &self->out));
}

FIXTURE_TEARDOWN(messages)
{
	secbuf_release(&self->out);
	secpool_free(self->pool);
}

static struct span out_of(const struct secbuf *b)
{
	return span_of(b->data, b->len);
}

TEST_F(messages, request)
{
	const struct transform_value in[] = {
		{ span_str("/registry/a"), span_str("one") },
		{ span_str("/registry/b"), SPAN_NULL },
		{ SPAN_NULL, SPAN_NULL },
	};
	struct transform_value seen[3];
	struct span resource;
	size_t n;

	ASSERT_OK(pb_transform_request_encode(span_str("secrets"), in, 3, &self->out));
	ASSERT_OK(pb_transform_request_decode(out_of(&self->out), &resource, seen, 3, &n));
	EXPECT_EQ(3U, n);
	EXPECT_TRUE(span_equal(span_str("secrets"), resource));
	for (size_t i = 0; i < 3; i++) {
		EXPECT_TRUE(span_equal(in[i].path, seen[i].path));
		EXPECT_TRUE(span_equal(in[i].value, seen[i].value));
	}
	EXPECT_ERR(-E2BIG, pb_transform_request_decode(out_of(&self->out), &resource, seen, 2, &n));
}

/* What protoc and any other implementation write: field numbers and wire types are the contract. */
TEST_F(messages, request_bytes)
{
	static const uint8_t expected[] = "\x0a\x01s\x12\x07\x0a\x02/a\x12\x01x";
	const struct transform_value in = { span_str("/a"), span_str("x") };

	ASSERT_OK(pb_transform_request_encode(span_str("s"), &in, 1, &self->out));
	EXPECT_MEMEQ(expected, sizeof(expected) - 1, self->out.data, self->out.len);
}

TEST_F(messages, response)
{
	const struct transform_result in[] = {
		{ .value = span_str("plain"),
		  .stale = true,
		  .provider = span_str("aescbc"),
		  .key_id = span_str("00.1") },
		{ .code = GRPC_DATA_LOSS, .message = span_str("altered") },
	};
	struct transform_result seen[2];
	size_t n;

	ASSERT_OK(pb_transform_response_encode(in, 2, &self->out));
	ASSERT_OK(pb_transform_response_decode(out_of(&self->out), seen, 2, &n));
	ASSERT_EQ(2U, n);
	EXPECT_TRUE(span_equal(in[0].value, seen[0].value));
	EXPECT_TRUE(seen[0].stale);
	EXPECT_TRUE(span_equal(in[0].provider, seen[0].provider));
	EXPECT_TRUE(span_equal(in[0].key_id, seen[0].key_id));
	EXPECT_EQ(GRPC_DATA_LOSS, seen[1].code);
	EXPECT_FALSE(seen[1].stale);
	EXPECT_TRUE(span_equal(in[1].message, seen[1].message));
}

TEST_F(messages, not_protobuf)
{
	struct transform_value seen[1];
	struct span resource;
	size_t n;

	/* A length beyond the end, outside and inside a value; a wrong wire type. */
	EXPECT_ERR(-EINVAL,
		   pb_transform_request_decode(span_str("\x0a\x7fs"), &resource, seen, 1, &n));
	EXPECT_ERR(-EINVAL, pb_transform_request_decode(span_str("\x12\x02\x0a\x7f"), &resource,
							seen, 1, &n));
	EXPECT_ERR(-EINVAL,
		   pb_transform_request_decode(span_str("\x10\x01"), &resource, seen, 1, &n));
}

static struct encconf_resource resource(const char *name)
{
	return (struct encconf_resource){ .name = (char *)(uintptr_t)name };
}

TEST(finds_the_item_of_a_resource)
{
	struct encconf_resource first[] = { resource("secrets"), resource("deployments.apps") };
	struct encconf_resource second[] = { resource("*.apps"), resource("*.") };
	struct encconf_resource third[] = { resource("*.*") };
	const struct encconf_item conf[] = {
		{ .resources = first, .resources_count = 2 },
		{ .resources = second, .resources_count = 2 },
		{ .resources = third, .resources_count = 1 },
	};
	const struct transform_item items[] = { { &conf[0], NULL },
						{ &conf[1], NULL },
						{ &conf[2], NULL } };
	static const struct {
		const char *name;
		size_t item;
	} cases[] = {
		{ "secrets", 0 },    { "deployments.apps", 0 },           { "replicasets.apps", 1 },
		{ "configmaps", 1 }, { "leases.coordination.k8s.io", 2 }, { "x.apps.example", 2 },
	};
	size_t i;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		ASSERT_OK(transform_find(items, 3, span_str(cases[c].name), &i));
		EXPECT_EQ(cases[c].item, i);
	}
	EXPECT_ERR(-ENOENT, transform_find(items, 2, span_str("leases.coordination.k8s.io"), &i));
	EXPECT_ERR(-ENOENT, transform_find(items, 2, SPAN_NULL, &i));
	ASSERT_OK(transform_find(items, 1, SPAN_NULL, &i));
	EXPECT_EQ(0U, i);
}

TEST_HARNESS_MAIN
