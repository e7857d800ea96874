/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMS messages, as anyone on the socket may send them: the first byte picks the message, the
 * rest is what came. Whatever is accepted consists of bytes of the input, and what is written for
 * it is read back as the same fields; writing what was read back gives the same bytes again.
 */
#include <stdlib.h>

#include "daemon/kms/pb.h"

#define POOL_BYTES (2U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void require_within(struct span field, struct span msg)
{
	require(field.len == 0 || (field.data >= msg.data && field.len <= msg.len &&
				   (size_t)(field.data - msg.data) <= msg.len - field.len));
}

/* Both structs are spans, and annotations, which are as large as one and zero here. */
_Static_assert(sizeof(struct kms_request) % sizeof(struct span) == 0, "spans only");
_Static_assert(sizeof(struct kms_response) % sizeof(struct span) == 0, "spans only");

#define FIELDS_MAX (sizeof(union fields) / sizeof(struct span))

union fields {
	struct kms_request request;
	struct kms_response response;
};

/* Requests and responses take turns in enum pb_message. */
static bool is_request(enum pb_message which)
{
	return which % 2 == 0;
}

/* Annotations are the one part that is allocated: looked at and given back here. */
static int decode(enum pb_message which, struct span msg, union fields *ret)
{
	int r;

	if (is_request(which))
		return pb_decode_request(which, msg, &ret->request);
	r = pb_decode_response(which, msg, &ret->response);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ret->response.annotations.n; i++) {
		require_within(ret->response.annotations.v[i].key, msg);
		require_within(ret->response.annotations.v[i].value, msg);
	}
	pb_response_done(&ret->response);
	ret->response.annotations = (struct annotations){ 0 };
	return 0;
}

static void encode(enum pb_message which, const union fields *f, struct secbuf *out)
{
	require((is_request(which) ? pb_encode_request(which, &f->request, out)
				   : pb_encode_response(which, &f->response, out)) == 0);
}

static const struct span *spans_of(const union fields *f)
{
	return (const struct span *)(const void *)f;
}

static void require_untouched(const union fields *f)
{
	for (size_t i = 0; i < FIELDS_MAX; i++)
		require(!spans_of(f)[i].data && spans_of(f)[i].len == 0);
}

static void there_and_back(enum pb_message which, const union fields *f, struct secpool *pool)
{
	_cleanup_secbuf_ struct secbuf once = { 0 }, twice = { 0 };
	union fields again = { 0 };

	require(secpool_get(pool, 16, &once) == 0 && secpool_get(pool, 16, &twice) == 0);
	encode(which, f, &once);
	require(decode(which, span_of(once.data, once.len), &again) == 0);
	for (size_t i = 0; i < FIELDS_MAX; i++)
		require(span_equal(spans_of(f)[i], spans_of(&again)[i]));
	encode(which, &again, &twice);
	require(span_equal(span_of(once.data, once.len), span_of(twice.data, twice.len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct secpool *pool;
	union fields f = { 0 };
	enum pb_message which;
	struct span msg;

	if (!pool)
		require(secpool_new(POOL_BYTES, &pool) == 0);
	if (size == 0)
		return 0;
	which = (enum pb_message)(data[0] % PB_MESSAGES);
	msg = span_of(data + 1, size - 1);
	if (decode(which, msg, &f) < 0) {
		require_untouched(&f);
		return 0;
	}
	for (size_t i = 0; i < FIELDS_MAX; i++)
		require_within(spans_of(&f)[i], msg);
	there_and_back(which, &f, pool);
	require(secpool_used(pool) == 0);
	return 0;
}
