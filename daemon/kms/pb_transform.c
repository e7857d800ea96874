/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repeated message is a field whose callback decodes, or encodes, one struct with fields of its
 * own. Everything is read through one cursor, so that a field's bytes can be pointed at.
 */
#include "daemon/kms/pb_transform.h"

#include <errno.h>

#include "daemon/base/pbspan.h"
#include "daemon/kms/transform.pb.h"

static pb_callback_t pb_transform_into(struct span *s)
{
	return (pb_callback_t){ .funcs.decode = pbspan_take, .arg = s };
}

static pb_callback_t from(const struct span *s)
{
	return (pb_callback_t){ .funcs.encode = pbspan_put, .arg = (void *)(uintptr_t)s };
}

static int pb_transform_decode(struct span msg, const pb_msgdesc_t *desc, void *pb)
{
	struct pbspan c = { .msg = msg };
	pb_istream_t stream = pbspan_stream(&c);

	return pb_decode(&stream, desc, pb) ? 0 : -EINVAL;
}

static bool pb_transform_secbuf_write(pb_ostream_t *stream, const pb_byte_t *buf, size_t count)
{
	return secbuf_append(stream->state, buf, count) == 0;
}

static int pb_transform_encode(const pb_msgdesc_t *desc, const void *pb, struct secbuf *out)
{
	pb_ostream_t stream = { .callback = pb_transform_secbuf_write,
				.state = out,
				.max_size = SIZE_MAX };

	return pb_encode(&stream, desc, pb) ? 0 : -ENOBUFS;
}

struct values {
	union {
		struct transform_value *value;
		struct transform_result *result;
		const struct transform_value *value_in;
		const struct transform_result *result_in;
	};
	size_t n, max;
};

static bool value_decode(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct values *v = *arg;
	struct transform_value one = { 0 };
	kekd_v1_TransformValue pb = { .path = pb_transform_into(&one.path),
				      .value = pb_transform_into(&one.value) };

	if (v->n++ >= v->max)
		return pb_read(stream, NULL, stream->bytes_left);
	if (!pb_decode(stream, kekd_v1_TransformValue_fields, &pb))
		return false;
	v->value[v->n - 1] = one;
	return true;
}

int pb_transform_request_decode(struct span msg, struct span *ret_resource,
				struct transform_value *values, size_t max, size_t *ret_n)
{
	struct values v = { .value = values, .max = max };
	struct span resource = SPAN_NULL;
	kekd_v1_TransformRequest pb = {
		.resource = pb_transform_into(&resource),
		.values = { .funcs.decode = value_decode, .arg = &v },
	};
	int r;

	r = pb_transform_decode(msg, kekd_v1_TransformRequest_fields, &pb);
	if (r < 0)
		return r;
	if (v.n > max)
		return -E2BIG;
	*ret_resource = resource;
	*ret_n = v.n;
	return 0;
}

static bool values_encode(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct values *v = *arg;

	for (size_t i = 0; i < v->n; i++) {
		kekd_v1_TransformValue pb = {
			.path = from(&v->value_in[i].path),
			.value = from(&v->value_in[i].value),
		};

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_submessage(stream, kekd_v1_TransformValue_fields, &pb))
			return false;
	}
	return true;
}

int pb_transform_request_encode(struct span resource, const struct transform_value *values,
				size_t n, struct secbuf *out)
{
	struct values v = { .value_in = values, .n = n };
	kekd_v1_TransformRequest pb = {
		.resource = from(&resource),
		.values = { .funcs.encode = values_encode, .arg = &v },
	};

	return pb_transform_encode(kekd_v1_TransformRequest_fields, &pb, out);
}

static bool result_decode(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct values *v = *arg;
	struct transform_result one = { 0 };
	kekd_v1_TransformResult pb = {
		.value = pb_transform_into(&one.value),
		.message = pb_transform_into(&one.message),
		.provider = pb_transform_into(&one.provider),
		.key_id = pb_transform_into(&one.key_id),
	};

	if (v->n++ >= v->max)
		return pb_read(stream, NULL, stream->bytes_left);
	if (!pb_decode(stream, kekd_v1_TransformResult_fields, &pb))
		return false;
	one.stale = pb.stale;
	one.code = pb.code;
	v->result[v->n - 1] = one;
	return true;
}

int pb_transform_response_decode(struct span msg, struct transform_result *results, size_t max,
				 size_t *ret_n)
{
	struct values v = { .result = results, .max = max };
	kekd_v1_TransformResponse pb = {
		.results = { .funcs.decode = result_decode, .arg = &v },
	};
	int r;

	r = pb_transform_decode(msg, kekd_v1_TransformResponse_fields, &pb);
	if (r < 0)
		return r;
	if (v.n > max)
		return -E2BIG;
	*ret_n = v.n;
	return 0;
}

static bool results_encode(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct values *v = *arg;

	for (size_t i = 0; i < v->n; i++) {
		const struct transform_result *one = &v->result_in[i];
		kekd_v1_TransformResult pb = {
			.value = from(&one->value),
			.stale = one->stale,
			.code = one->code,
			.message = from(&one->message),
			.provider = from(&one->provider),
			.key_id = from(&one->key_id),
		};

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_submessage(stream, kekd_v1_TransformResult_fields, &pb))
			return false;
	}
	return true;
}

int pb_transform_response_encode(const struct transform_result *results, size_t n,
				 struct secbuf *out)
{
	struct values v = { .result_in = results, .n = n };
	kekd_v1_TransformResponse pb = {
		.results = { .funcs.encode = results_encode, .arg = &v },
	};

	return pb_transform_encode(kekd_v1_TransformResponse_fields, &pb, out);
}
