/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMS messages: what is decoded points into the message, annotations go both ways, and a field
 * of the wrong wire type is an error and not a pointer.
 */
#include <errno.h>

#include "daemon/kms/pb.h"
#include "tests/harness/ktest.h"

/* Field @tag of every message with bytes or strings in it, as each other wire type. */
TEST(wrong_wire_types)
{
	static const uint8_t types[] = { 0, 1, 3, 4, 5, 6, 7 };

	for (unsigned int tag = 1; tag <= 4; tag++) {
		for (size_t i = 0; i < sizeof(types); i++) {
			uint8_t msg[16] = { (uint8_t)(tag << 3 | types[i]),
					    0x41,
					    0x41,
					    0x41,
					    0x41,
					    0x41,
					    0x41,
					    0x41,
					    0x41 };
			size_t len = types[i] == 0 ? 2 : types[i] == 5 ? 5 : 9;
			struct kms_response rsp = { 0 };
			struct kms_request req;

			if (tag <= 3)
				EXPECT_ERR(-EINVAL, pb_decode_request(PB_V2_DECRYPT_REQUEST,
								      span_of(msg, len), &req));
			if (tag <= 3)
				EXPECT_ERR(-EINVAL, pb_decode_response(PB_V2_ENCRYPT_RESPONSE,
								       span_of(msg, len), &rsp));
			if (tag <= 3)
				EXPECT_ERR(-EINVAL, pb_decode_response(PB_V2_STATUS_RESPONSE,
								       span_of(msg, len), &rsp));
			if (tag <= 2)
				EXPECT_ERR(-EINVAL, pb_decode_request(PB_V1_DECRYPT_REQUEST,
								      span_of(msg, len), &req));
			pb_response_done(&rsp);
		}
	}
}

/* map<string, bytes> { "a.b": "one", "c.d": "" } as EncryptResponse has it in field 3. */
TEST(annotations_of_an_answer)
{
	static const uint8_t msg[] = { 0x0a, 2,    'c', 't',  0x12, 3,   'k',  'e', 'y', 0x1a,
				       10,   0x0a, 3,   'a',  '.',  'b', 0x12, 3,   'o', 'n',
				       'e',  0x1a, 5,   0x0a, 3,    'c', '.',  'd' };
	struct kms_response rsp = { 0 };

	ASSERT_OK(pb_decode_response(PB_V2_ENCRYPT_RESPONSE, span_of(msg, sizeof(msg)), &rsp));
	EXPECT_MEMEQ("ct", 2, rsp.data.data, rsp.data.len);
	EXPECT_MEMEQ("key", 3, rsp.key_id.data, rsp.key_id.len);
	ASSERT_EQ(2, rsp.annotations.n);
	EXPECT_MEMEQ("a.b", 3, rsp.annotations.v[0].key.data, rsp.annotations.v[0].key.len);
	EXPECT_MEMEQ("one", 3, rsp.annotations.v[0].value.data, rsp.annotations.v[0].value.len);
	EXPECT_MEMEQ("c.d", 3, rsp.annotations.v[1].key.data, rsp.annotations.v[1].key.len);
	EXPECT_EQ(0, rsp.annotations.v[1].value.len);
	pb_response_done(&rsp);
	for (size_t len = 1; len < sizeof(msg); len++) {
		rsp = (struct kms_response){ 0 };
		if (pb_decode_response(PB_V2_ENCRYPT_RESPONSE, span_of(msg, len), &rsp) == 0)
			EXPECT_TRUE(len == 4 || len == 9 || len == 21);
		pb_response_done(&rsp);
	}
}

TEST(annotations_of_a_request)
{
	static const uint8_t expected[] = { 0x0a, 2, 'c',  't', 0x12, 1,   'u', 0x1a, 1, 'k',
					    0x22, 8, 0x0a, 3,   'a',  '.', 'b', 0x12, 1, '1' };
	struct annotation one = { span_str("a.b"), span_str("1") };
	struct kms_request req = {
		.data = span_str("ct"),
		.uid = span_str("u"),
		.key_id = span_str("k"),
		.annotations = { &one, 1 },
	};
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	struct secbuf out;

	ASSERT_OK(secpool_new(1024 * 1024, &pool));
	ASSERT_OK(secpool_get(pool, 64, &out));
	ASSERT_OK(pb_encode_request(PB_V2_DECRYPT_REQUEST, &req, &out));
	EXPECT_MEMEQ(expected, sizeof(expected), out.data, out.len);
	secbuf_release(&out);
}

TEST_HARNESS_MAIN
