/* SPDX-License-Identifier: Apache-2.0 */
/* See object.h. A map is a repeated message {key, value}; each entry is given out as it is met. */
#include "daemon/dump/object.h"

#include <errno.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/pbspan.h"
#include "daemon/dump/dump.pb.h"

static const uint8_t magic[] = { 'k', '8', 's', 0 };

struct entries {
	object_field_fn *each;
	void *ctx;
	int r; /* of each */
};

bool object_is_protobuf(struct span plain)
{
	return span_starts_with(plain, span_of(magic, sizeof(magic)));
}

static pb_callback_t pb_object_into(struct span *s)
{
	return (pb_callback_t){ .funcs.decode = pbspan_take, .arg = s };
}

static bool give(struct entries *e, struct span name, struct span value)
{
	if (e->each)
		e->r = e->each(e->ctx, name, value);
	return e->r == 0;
}

static bool take_secret(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct span name = SPAN_NULL, value = SPAN_NULL;
	kekd_dump_Secret_DataEntry pb = { .key = pb_object_into(&name),
					  .value = pb_object_into(&value) };

	return pb_decode(stream, kekd_dump_Secret_DataEntry_fields, &pb) && give(*arg, name, value);
}

static bool take_text(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct span name = SPAN_NULL, value = SPAN_NULL;
	kekd_dump_ConfigMap_DataEntry pb = { .key = pb_object_into(&name),
					     .value = pb_object_into(&value) };

	return pb_decode(stream, kekd_dump_ConfigMap_DataEntry_fields, &pb) &&
	       give(*arg, name, value);
}

static bool take_binary(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct span name = SPAN_NULL, value = SPAN_NULL;
	kekd_dump_ConfigMap_BinaryDataEntry pb = { .key = pb_object_into(&name),
						   .value = pb_object_into(&value) };

	return pb_decode(stream, kekd_dump_ConfigMap_BinaryDataEntry_fields, &pb) &&
	       give(*arg, name, value);
}

static int pb_object_decode(struct span msg, const pb_msgdesc_t *desc, void *pb,
			    const struct entries *e)
{
	struct pbspan c = { .msg = msg };
	pb_istream_t stream = pbspan_stream(&c);

	if (pb_decode(&stream, desc, pb))
		return 0;
	return e && e->r != 0 ? e->r : -EINVAL;
}

static int decode_secret(struct span raw, struct entries *e, struct object *o)
{
	kekd_dump_Secret pb = {
		.metadata = { .name = pb_object_into(&o->name),
			      .namespace = pb_object_into(&o->ns) },
		.data = { .funcs.decode = take_secret, .arg = e },
		.type = pb_object_into(&o->type),
	};

	return pb_object_decode(raw, kekd_dump_Secret_fields, &pb, e);
}

static int decode_config_map(struct span raw, struct entries *e, struct object *o)
{
	kekd_dump_ConfigMap pb = {
		.metadata = { .name = pb_object_into(&o->name),
			      .namespace = pb_object_into(&o->ns) },
		.data = { .funcs.decode = take_text, .arg = e },
		.binary_data = { .funcs.decode = take_binary, .arg = e },
	};

	return pb_object_decode(raw, kekd_dump_ConfigMap_fields, &pb, e);
}

static const struct {
	const char *kind;
	int (*decode)(struct span raw, struct entries *e, struct object *o);
} kinds[] = {
	{ "Secret", decode_secret },
	{ "ConfigMap", decode_config_map },
};

int object_decode(struct span plain, object_field_fn *each, void *ctx, struct object *ret)
{
	struct entries e = { .each = each, .ctx = ctx };
	struct object o = { 0 };
	struct span raw = SPAN_NULL;
	kekd_dump_Unknown pb = {
		.type_meta = { .api_version = pb_object_into(&o.api_version),
			       .kind = pb_object_into(&o.kind) },
		.raw = pb_object_into(&raw),
	};
	int r;

	if (!object_is_protobuf(plain))
		return -EINVAL;
	r = pb_object_decode(span_skip(plain, sizeof(magic)), kekd_dump_Unknown_fields, &pb, NULL);
	if (r < 0)
		return r;
	r = -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && span_equal(o.api_version, span_str("v1")); i++)
		if (span_equal(o.kind, span_str(kinds[i].kind)))
			r = kinds[i].decode(raw, &e, &o);
	if (r == 0 || r == -EOPNOTSUPP)
		*ret = o;
	return r;
}
