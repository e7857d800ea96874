/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request or an answer is a row of messages of one kind; each field of such a message is looked up in
 * a table by its number. The numbers are in transform.proto.
 */
#include "daemon/kms/pb_transform.h"

#include <errno.h>

#include "daemon/base/proto.h"

enum { REQUEST_RESOURCE = 1, REQUEST_VALUE = 2 };
enum { VALUE_PATH = 1, VALUE_VALUE = 2 };
enum { RESPONSE_RESULT = 1 };
enum {
	RESULT_VALUE = 1,
	RESULT_STALE = 2,
	RESULT_CODE = 3,
	RESULT_MESSAGE = 4,
	RESULT_PROVIDER = 5,
	RESULT_KEY_ID = 6,
	RESULT_DOUBTFUL = 7,
};

static int value_decode(struct span msg, struct transform_value *ret)
{
	struct transform_value one = { 0 };
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number == VALUE_PATH)
			r = proto_bytes(&f, &one.path);
		else if (f.number == VALUE_VALUE)
			r = proto_bytes(&f, &one.value);
		if (r < 0)
			return r;
	}
	if (r == 0)
		*ret = one;
	return r;
}

static int result_decode(struct span msg, struct transform_result *ret)
{
	struct transform_result one = { 0 };
	uint64_t code = 0, stale = 0, doubtful = 0;
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		switch (f.number) {
		case RESULT_VALUE:
			r = proto_bytes(&f, &one.value);
			break;
		case RESULT_STALE:
			r = proto_number(&f, &stale);
			break;
		case RESULT_CODE:
			r = proto_number(&f, &code);
			break;
		case RESULT_MESSAGE:
			r = proto_bytes(&f, &one.message);
			break;
		case RESULT_PROVIDER:
			r = proto_bytes(&f, &one.provider);
			break;
		case RESULT_KEY_ID:
			r = proto_bytes(&f, &one.key_id);
			break;
		case RESULT_DOUBTFUL:
			r = proto_number(&f, &doubtful);
			break;
		}
		if (r < 0)
			return r;
	}
	if (r == 0 && code > INT32_MAX)
		return -EINVAL;
	one.code = (int32_t)code;
	one.stale = stale != 0;
	one.doubtful = doubtful != 0;
	if (r == 0)
		*ret = one;
	return r;
}

/* All are counted; beyond @max they are not looked at. */
int pb_transform_request_decode(struct span msg, struct span *ret_resource,
				struct transform_value *values, size_t max, size_t *ret_n)
{
	struct span resource = SPAN_NULL, value;
	struct proto_field f;
	size_t n = 0;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number == REQUEST_RESOURCE) {
			r = proto_bytes(&f, &resource);
		} else if (f.number == REQUEST_VALUE) {
			r = proto_bytes(&f, &value);
			if (r == 0 && n < max)
				r = value_decode(value, &values[n]);
			n++;
		}
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	if (n > max)
		return -E2BIG;
	*ret_resource = resource;
	*ret_n = n;
	return 0;
}

int pb_transform_response_decode(struct span msg, struct transform_result *results, size_t max,
				 size_t *ret_n)
{
	struct proto_field f;
	struct span result;
	size_t n = 0;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number != RESPONSE_RESULT)
			continue;
		r = proto_bytes(&f, &result);
		if (r == 0 && n < max)
			r = result_decode(result, &results[n]);
		if (r < 0)
			return r;
		n++;
	}
	if (r < 0)
		return r;
	if (n > max)
		return -E2BIG;
	*ret_n = n;
	return 0;
}

int pb_transform_request_encode(struct span resource, const struct transform_value *values,
				size_t n, struct secbuf *out)
{
	int r = proto_put_bytes(out, REQUEST_RESOURCE, resource);

	for (size_t i = 0; i < n && r == 0; i++) {
		const struct transform_value *v = &values[i];

		r = proto_put_message(out, REQUEST_VALUE,
				      proto_bytes_len(VALUE_PATH, v->path.len) +
					      proto_bytes_len(VALUE_VALUE, v->value.len));
		if (r == 0)
			r = proto_put_bytes(out, VALUE_PATH, v->path);
		if (r == 0)
			r = proto_put_bytes(out, VALUE_VALUE, v->value);
	}
	return r;
}

static int put_result(struct secbuf *out, const struct transform_result *one)
{
	const struct {
		uint32_t number;
		struct span bytes;
	} spans[] = {
		{ RESULT_VALUE, one->value },
		{ RESULT_MESSAGE, one->message },
		{ RESULT_PROVIDER, one->provider },
		{ RESULT_KEY_ID, one->key_id },
	};
	size_t len = proto_varint_len(RESULT_STALE, one->stale) +
		     proto_varint_len(RESULT_CODE, (uint64_t)one->code) +
		     proto_varint_len(RESULT_DOUBTFUL, one->doubtful);
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(spans); i++)
		len += proto_bytes_len(spans[i].number, spans[i].bytes.len);
	r = proto_put_message(out, RESPONSE_RESULT, len);
	if (r == 0)
		r = proto_put_varint(out, RESULT_STALE, one->stale);
	if (r == 0)
		r = proto_put_varint(out, RESULT_CODE, (uint64_t)one->code);
	for (size_t i = 0; i < ARRAY_SIZE(spans) && r == 0; i++)
		r = proto_put_bytes(out, spans[i].number, spans[i].bytes);
	return r < 0 ? r : proto_put_varint(out, RESULT_DOUBTFUL, one->doubtful);
}

int pb_transform_response_encode(const struct transform_result *results, size_t n,
				 struct secbuf *out)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = put_result(out, &results[i]);
	return r;
}
