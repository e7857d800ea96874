/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire format of protobuf: fields as its encoders write them, and bytes that none of them writes.
 */
#include "tests/harness/ktest.h"

#include <errno.h>

#include "daemon/base/proto.h"

#define BYTES(text) span_of((text), sizeof(text) - 1)

/* The one field of @msg, which must have no other. */
static struct proto_field only(struct span msg)
{
	struct proto_field f = { 0 }, none;

	EXPECT_EQ(1, proto_next(&msg, &f));
	EXPECT_EQ(0, msg.len);
	EXPECT_EQ(0, proto_next(&msg, &none));
	return f;
}

static void expect_malformed(struct span msg)
{
	struct proto_field f, before;
	struct span rest = msg;

	memset(&before, 0x5a, sizeof(before));
	f = before;
	EXPECT_ERR(-EINVAL, proto_next(&rest, &f));
	EXPECT_EQ(0, memcmp(&before, &f, sizeof(f)));
	EXPECT_TRUE(rest.data == msg.data && rest.len == msg.len);
}

TEST(each_wire_type)
{
	struct proto_field f;

	f = only(BYTES("\x08\x96\x01"));
	EXPECT_EQ(1, f.number);
	EXPECT_EQ(PROTO_VARINT, f.type);
	EXPECT_EQ(150, f.varint);
	f = only(BYTES("\x12\x07testing"));
	EXPECT_EQ(2, f.number);
	EXPECT_EQ(PROTO_LEN, f.type);
	EXPECT_MEMEQ("testing", 7, f.bytes.data, f.bytes.len);
	f = only(BYTES("\x19\x01\x02\x03\x04\x05\x06\x07\x08"));
	EXPECT_EQ(3, f.number);
	EXPECT_EQ(PROTO_I64, f.type);
	f = only(BYTES("\x25\x01\x02\x03\x04"));
	EXPECT_EQ(4, f.number);
	EXPECT_EQ(PROTO_I32, f.type);
}

TEST(of_one_type)
{
	struct proto_field number = only(BYTES("\x08\x07")), bytes = only(BYTES("\x12\x01x"));
	struct proto_field fixed = only(BYTES("\x25\x01\x02\x03\x04"));
	struct span s = span_str("before");
	uint64_t n = 5;

	EXPECT_ERR(-EINVAL, proto_bytes(&number, &s));
	EXPECT_ERR(-EINVAL, proto_bytes(&fixed, &s));
	EXPECT_TRUE(span_equal(s, span_str("before")));
	EXPECT_ERR(-EINVAL, proto_number(&bytes, &n));
	EXPECT_ERR(-EINVAL, proto_number(&fixed, &n));
	EXPECT_EQ(5, n);
	EXPECT_OK(proto_bytes(&bytes, &s));
	EXPECT_TRUE(span_equal(s, span_str("x")));
	EXPECT_OK(proto_number(&number, &n));
	EXPECT_EQ(7, n);
}

TEST(one_after_the_other)
{
	struct span msg = BYTES("\x08\x01\x12\x00\x08\x02");
	struct proto_field f;

	ASSERT_EQ(1, proto_next(&msg, &f));
	EXPECT_EQ(1, f.varint);
	ASSERT_EQ(1, proto_next(&msg, &f));
	EXPECT_EQ(2, f.number);
	EXPECT_EQ(0, f.bytes.len);
	ASSERT_EQ(1, proto_next(&msg, &f));
	EXPECT_EQ(2, f.varint);
	EXPECT_EQ(0, proto_next(&msg, &f));
}

TEST(largest)
{
	struct proto_field f;

	f = only(BYTES("\xf8\xff\xff\xff\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	EXPECT_EQ((1U << 29) - 1, f.number);
	EXPECT_EQ(UINT64_MAX, f.varint);
	/* Longer than it need be, as protobuf allows. */
	EXPECT_EQ(1, only(BYTES("\x08\x81\x80\x00")).varint);
}

TEST(malformed)
{
	expect_malformed(BYTES("\x08"));      /* no number */
	expect_malformed(BYTES("\x08\x80"));  /* it does not end */
	expect_malformed(BYTES("\x88"));      /* nor does the tag */
	expect_malformed(BYTES("\x12\x02x")); /* more bytes than there are */
	expect_malformed(BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"));
	expect_malformed(BYTES("\x19\x01\x02\x03\x04\x05\x06\x07")); /* seven of eight */
	expect_malformed(BYTES("\x25\x01\x02\x03"));                 /* three of four */
	expect_malformed(BYTES("\x02\x01x"));                        /* field number 0 */
	expect_malformed(BYTES("\x88\x80\x80\x80\x10\x01"));         /* a tag of 33 bits */
	expect_malformed(BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"));     /* 65 bits */
	expect_malformed(BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00")); /* 11 bytes */
	for (char type = 3; type < 8; type++) {
		const char msg[] = { (char)(8 | type), 1, 2, 3 };

		if (type != PROTO_I32)
			expect_malformed(span_of(msg, sizeof(msg)));
	}
}

/* Every length of a varint, there and back. */
TEST(heads_there_and_back)
{
	for (unsigned int bits = 0; bits < 64; bits++) {
		uint64_t value = (uint64_t)1 << bits;
		uint8_t head[PROTO_HEAD_MAX];
		uint32_t number = bits < 29 ? (uint32_t)value : 1;
		size_t n = proto_head(head, number, PROTO_VARINT, value);
		struct proto_field f;

		EXPECT_EQ(proto_varint_len(number, value), n);
		f = only(span_of(head, n));
		EXPECT_EQ(number, f.number);
		EXPECT_EQ(value, f.varint);
	}
}

TEST(what_is_empty_is_not_sent)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_secbuf_ struct secbuf out = { 0 };

	ASSERT_OK(secpool_new(1 << 20, &pool));
	ASSERT_OK(secpool_get(pool, 16, &out));
	EXPECT_EQ(0, proto_bytes_len(1, 0));
	EXPECT_EQ(0, proto_varint_len(1, 0));
	ASSERT_OK(proto_put_bytes(&out, 1, SPAN_NULL));
	ASSERT_OK(proto_put_varint(&out, 2, 0));
	EXPECT_EQ(0, out.len);
	ASSERT_OK(proto_put_message(&out, 3, proto_bytes_len(1, 2) + proto_varint_len(2, 300)));
	ASSERT_OK(proto_put_bytes(&out, 1, BYTES("ab")));
	ASSERT_OK(proto_put_varint(&out, 2, 300));
	ASSERT_OK(proto_put_message(&out, 4, 0));
	EXPECT_MEMEQ("\x1a\x07\x0a\x02\x61\x62\x10\xac\x02\x22\x00", 11, out.data, out.len);
}

TEST_HARNESS_MAIN
