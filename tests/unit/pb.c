/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMS messages: bytes as protoc's encoders make them, and bytes that none makes.
 */
#include "tests/harness/ktest.h"

#include <errno.h>

#include "daemon/kms/pb.h"

FIXTURE(pb)
{
	struct secpool *pool;
	struct secbuf out;
};

FIXTURE_SETUP(pb)
{
	ASSERT_OK(secpool_new(1 << 20, &self->pool));
	ASSERT_OK(secpool_get(self->pool, 16, &self->out));
}

FIXTURE_TEARDOWN(pb)
{
	secbuf_release(&self->out);
	EXPECT_EQ(0, secpool_used(self->pool));
	secpool_free(self->pool);
}

#define BYTES(text) span_of((text), sizeof(text) - 1)

static void expect_field(const char *text, struct span field)
{
	EXPECT_MEMEQ(text, strlen(text), field.data, field.len);
}

static int request(enum pb_message which, struct span msg, struct kms_request *ret)
{
	memset(ret, 0, sizeof(*ret));
	return pb_decode_request(which, msg, ret);
}

TEST(v2_encrypt_request)
{
	struct kms_request req;

	ASSERT_OK(request(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a\x04seed\x12\x03uid"), &req));
	expect_field("seed", req.data);
	expect_field("uid", req.uid);
	EXPECT_EQ(0, req.key_id.len);
}

/* Field 4 is a map that this side has no use for. */
TEST(v2_decrypt_request)
{
	static const char msg[] = "\x0a\x02"
				  "ct\x12\x01u\x1a\x03"
				  "id1\x22\x08\x0a\x03"
				  "a.b\x12\x01x";
	struct kms_request req;

	ASSERT_OK(request(PB_V2_DECRYPT_REQUEST, BYTES(msg), &req));
	expect_field("ct", req.data);
	expect_field("u", req.uid);
	expect_field("id1", req.key_id);
}

TEST(v1_requests)
{
	struct kms_request req;

	ASSERT_OK(request(PB_V1_VERSION_REQUEST, BYTES("\x0a\x07v1beta1"), &req));
	expect_field("v1beta1", req.version);
	ASSERT_OK(request(PB_V1_ENCRYPT_REQUEST, BYTES("\x0a\x01v\x12\x04ping"), &req));
	expect_field("v", req.version);
	expect_field("ping", req.data);
	ASSERT_OK(request(PB_V1_DECRYPT_REQUEST,
			  BYTES("\x12\x02"
				"ct\x0a\x01v"),
			  &req));
	expect_field("v", req.version);
	expect_field("ct", req.data);
}

TEST(empty_message_is_all_defaults)
{
	struct kms_request req;

	for (int which = 0; which < PB_MESSAGES; which += 2) {
		ASSERT_OK(request((enum pb_message)which, SPAN_NULL, &req));
		EXPECT_EQ(0, req.data.len + req.uid.len + req.key_id.len + req.version.len);
	}
}

TEST(last_of_a_repeated_field_counts)
{
	struct kms_request req;

	ASSERT_OK(request(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a\x03one\x0a\x03two"), &req));
	expect_field("two", req.data);
}

TEST(unknown_fields_are_skipped)
{
	struct kms_request req;

	/* Varint, 64 bits, bytes, 32 bits: fields 15, 15, 15, 15. */
	ASSERT_OK(request(PB_V2_ENCRYPT_REQUEST,
			  BYTES("\x78\xff\x01\x79\x01\x02\x03\x04\x05\x06\x07\x08\x7a\x01x"
				"\x7d\x01\x02\x03\x04\x0a\x04seed"),
			  &req));
	expect_field("seed", req.data);
}

/* What a client gets wrong, or does on purpose: refused, and nothing handed out. */
static void expect_refused(enum pb_message which, struct span msg)
{
	struct kms_request req, before;

	memset(&before, 0x5a, sizeof(before));
	req = before;
	EXPECT_ERR(-EINVAL, pb_decode_request(which, msg, &req));
	EXPECT_EQ(0, memcmp(&before, &req, sizeof(req)));
}

TEST(cut_short)
{
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a\x05seed"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a\x80"));
	expect_refused(PB_V2_DECRYPT_REQUEST, BYTES("\x22\x08\x0a\x03"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x79\x01\x02"));
}

TEST(impossible_lengths)
{
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0a\xff\xff\xff\xff\x0fseed"));
	expect_refused(PB_V2_ENCRYPT_REQUEST,
		       BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01seed"));
	expect_refused(PB_V2_ENCRYPT_REQUEST,
		       BYTES("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01x"));
}

/* What a field is not must not be read as a span. */
TEST(wrong_wire_type)
{
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x08\x01"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x09\x01\x02\x03\x04\x05\x06\x07\x08"));
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0d\x01\x02\x03\x04"));
	expect_refused(PB_V2_DECRYPT_REQUEST, BYTES("\x18\x01"));
	expect_refused(PB_V1_VERSION_REQUEST, BYTES("\x08\x01"));
}

TEST(illegal_tags)
{
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x02\x01x"));        /* field number 0 */
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x0e\x01x"));        /* wire type 6 */
	expect_refused(PB_V2_ENCRYPT_REQUEST, BYTES("\x7b\x08\x01\x7c")); /* groups, long gone */
}

static void expect_written(const char *bytes, size_t len, const struct secbuf *out)
{
	EXPECT_MEMEQ(bytes, len, out->data, out->len);
}
#define EXPECT_WRITTEN(text, out) expect_written((text), sizeof(text) - 1, (out))

TEST_F(pb, v2_status_response)
{
	const struct kms_response rsp = { .version = span_str("v2"),
					  .healthz = span_str("ok"),
					  .key_id = span_str("id.1") };

	ASSERT_OK(pb_encode_response(PB_V2_STATUS_RESPONSE, &rsp, &self->out));
	EXPECT_WRITTEN("\x0a\x02v2\x12\x02ok\x1a\x04id.1", &self->out);
}

TEST_F(pb, v2_encrypt_response)
{
	const struct kms_response rsp = { .data = span_str("ct"), .key_id = span_str("id") };

	ASSERT_OK(pb_encode_response(PB_V2_ENCRYPT_RESPONSE, &rsp, &self->out));
	EXPECT_WRITTEN("\x0a\x02"
		       "ct\x12\x02id",
		       &self->out);
}

TEST_F(pb, empty_fields_are_not_written)
{
	const struct kms_response rsp = { .data = span_of("", 0) };

	ASSERT_OK(pb_encode_response(PB_V2_DECRYPT_RESPONSE, &rsp, &self->out));
	EXPECT_EQ(0, self->out.len);
}

TEST_F(pb, encoding_appends)
{
	const struct kms_response rsp = { .data = span_str("x") };

	ASSERT_OK(secbuf_append(&self->out, "head", 4));
	ASSERT_OK(pb_encode_response(PB_V2_DECRYPT_RESPONSE, &rsp, &self->out));
	EXPECT_WRITTEN("head\x0a\x01x", &self->out);
}

/* Two bytes of length, from 128 bytes on. */
TEST_F(pb, long_field)
{
	uint8_t text[300];
	const struct kms_response rsp = { .data = span_of(text, sizeof(text)) };
	struct kms_response seen = { 0 };

	memset(text, 't', sizeof(text));
	ASSERT_OK(pb_encode_response(PB_V2_DECRYPT_RESPONSE, &rsp, &self->out));
	ASSERT_EQ(303, self->out.len);
	EXPECT_MEMEQ("\x0a\xac\x02", 3, self->out.data, 3);
	ASSERT_OK(pb_decode_response(PB_V2_DECRYPT_RESPONSE, span_of(self->out.data, self->out.len),
				     &seen));
	EXPECT_TRUE(span_equal(rsp.data, seen.data));
}

/* A result that lies where the answer will have it, of each length of a length. */
TEST_F(pb, around)
{
	static const size_t lengths[] = { 0, 1, 127, 128, 700 };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		_cleanup_secbuf_ struct secbuf out = { 0 }, want = { 0 };
		struct kms_response rsp = { .key_id = span_str("id") };
		uint8_t text[700];

		memset(text, 't', sizeof(text));
		rsp.data = span_of(text, lengths[i]);
		ASSERT_OK(secpool_get(self->pool, 1024, &want));
		ASSERT_OK(secbuf_append(&want, "head", 4));
		ASSERT_OK(pb_encode_response(PB_V2_ENCRYPT_RESPONSE, &rsp, &want));

		ASSERT_OK(secpool_get(self->pool, 1024, &out));
		ASSERT_OK(secbuf_append(&out, "head", 4));
		memcpy(out.data + 4 + PB_ROOM, text, lengths[i]);
		rsp.data = span_of(out.data + 4 + PB_ROOM, lengths[i]);
		ASSERT_OK(pb_encode_around(PB_V2_ENCRYPT_RESPONSE, &rsp, &out));
		EXPECT_MEMEQ(want.data, want.len, out.data, out.len);
	}
}

TEST_F(pb, no_room)
{
	_cleanup_(secpool_freep) struct secpool *small = NULL;
	_cleanup_free_ uint8_t *text = calloc(1, 200000);
	_cleanup_secbuf_ struct secbuf out = { 0 };
	const struct kms_response rsp = { .data = span_of(text, 200000) };

	ASSERT_OK(secpool_new(160 * 1024, &small));
	ASSERT_OK(secpool_get(small, 16, &out));
	EXPECT_ERR(-ENOBUFS, pb_encode_response(PB_V2_DECRYPT_RESPONSE, &rsp, &out));
}

/* Each message, each field of it, there and back. */
TEST_F(pb, every_message)
{
	const struct kms_request req = { .data = span_str("data"),
					 .uid = span_str("uid"),
					 .key_id = span_str("key_id"),
					 .version = span_str("version") };
	const struct kms_response rsp = { .data = span_str("data"),
					  .key_id = span_str("key_id"),
					  .version = span_str("version"),
					  .healthz = span_str("healthz"),
					  .runtime_name = span_str("name"),
					  .runtime_version = span_str("runtime") };
	static const size_t fields[PB_MESSAGES] = { 0, 3, 2, 2, 3, 1, 1, 3, 2, 1, 2, 1 };

	for (int i = 0; i < PB_MESSAGES; i++) {
		enum pb_message which = (enum pb_message)i;
		struct kms_request req2 = { 0 };
		struct kms_response rsp2 = { 0 };
		const struct span *seen = (const void *)&rsp2, *sent = (const void *)&rsp;
		size_t n = 0, max = sizeof(rsp) / sizeof(struct span);

		self->out.len = 0;
		if (i % 2 == 0) {
			ASSERT_OK(pb_encode_request(which, &req, &self->out));
			ASSERT_OK(pb_decode_request(which, span_of(self->out.data, self->out.len),
						    &req2));
			seen = (const void *)&req2;
			sent = (const void *)&req;
			max = sizeof(req) / sizeof(struct span);
		} else {
			ASSERT_OK(pb_encode_response(which, &rsp, &self->out));
			ASSERT_OK(pb_decode_response(which, span_of(self->out.data, self->out.len),
						     &rsp2));
		}
		for (size_t f = 0; f < max; f++) {
			if (seen[f].len == 0)
				continue;
			n++;
			EXPECT_TRUE(span_equal(sent[f], seen[f]));
		}
		EXPECT_EQ(fields[i], n);
	}
}

TEST_HARNESS_MAIN
