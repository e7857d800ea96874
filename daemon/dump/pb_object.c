/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See object.h. A map is a repeated message {key, value}; each entry is given out as it is met. Field numbers:
 * k8s.io/apimachinery, pkg/runtime/generated.proto and pkg/apis/meta/v1/generated.proto; k8s.io/api,
 * core/v1/generated.proto.
 */
#include "daemon/dump/object.h"

#include <errno.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/proto.h"
#include "daemon/chain/codec.h"

#define MAGIC_LEN 4U /* "k8s" NUL */

enum { UNKNOWN_TYPE_META = 1, UNKNOWN_RAW = 2 };
enum { TYPE_META_API_VERSION = 1, TYPE_META_KIND = 2 };
enum { OBJECT_METADATA = 1 }; /* of each kind */
enum { METADATA_NAME = 1, METADATA_NAMESPACE = 3 };
enum { SECRET_DATA = 2, SECRET_TYPE = 3 };
enum { CONFIG_MAP_DATA = 2, CONFIG_MAP_BINARY_DATA = 3 };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

struct entries {
	object_field_fn *each;
	void *ctx;
};

/* A message of which two fields are looked at, both of bytes. What is not there is left as it is. */
static int pair_decode(struct span msg, uint32_t first, struct span *ret_first, uint32_t second,
		       struct span *ret_second)
{
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number == first)
			r = proto_bytes(&f, ret_first);
		else if (f.number == second)
			r = proto_bytes(&f, ret_second);
		if (r < 0)
			return r;
	}
	return r;
}

static int entry_take(const struct proto_field *f, const struct entries *e)
{
	struct span msg, name = SPAN_NULL, value = SPAN_NULL;
	int r = proto_bytes(f, &msg);

	if (r == 0)
		r = pair_decode(msg, ENTRY_KEY, &name, ENTRY_VALUE, &value);
	return r == 0 && e->each ? e->each(e->ctx, name, value) : r;
}

static int metadata_take(const struct proto_field *f, struct object *o)
{
	struct span msg;
	int r = proto_bytes(f, &msg);

	return r < 0 ? r : pair_decode(msg, METADATA_NAME, &o->name, METADATA_NAMESPACE, &o->ns);
}

static int secret_field(const struct proto_field *f, const struct entries *e, struct object *o)
{
	switch (f->number) {
	case OBJECT_METADATA:
		return metadata_take(f, o);
	case SECRET_DATA:
		return entry_take(f, e);
	case SECRET_TYPE:
		return proto_bytes(f, &o->type);
	}
	return 0;
}

static int config_map_field(const struct proto_field *f, const struct entries *e, struct object *o)
{
	switch (f->number) {
	case OBJECT_METADATA:
		return metadata_take(f, o);
	case CONFIG_MAP_DATA:
	case CONFIG_MAP_BINARY_DATA:
		return entry_take(f, e);
	}
	return 0;
}

static const struct pb_kind {
	const char *kind;
	int (*field)(const struct proto_field *f, const struct entries *e, struct object *o);
} kinds[] = {
	{ "Secret", secret_field },
	{ "ConfigMap", config_map_field },
};

static int unknown_decode(struct span plain, struct object *o, struct span *raw)
{
	struct span msg, meta;
	struct proto_field f;
	int r;

	if (codec_form_of(plain) != CODEC_PROTOBUF)
		return -EINVAL;
	msg = span_skip(plain, MAGIC_LEN);
	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number == UNKNOWN_RAW)
			r = proto_bytes(&f, raw);
		else if (f.number == UNKNOWN_TYPE_META)
			r = proto_bytes(&f, &meta)
				    ?: pair_decode(meta, TYPE_META_API_VERSION, &o->api_version,
						   TYPE_META_KIND, &o->kind);
		if (r < 0)
			return r;
	}
	return r;
}

int object_type(struct span plain, struct object *ret)
{
	struct object o = { 0 };
	struct span raw;
	int r = unknown_decode(plain, &o, &raw);

	if (r == 0)
		*ret = o;
	return r;
}

int object_decode(struct span plain, object_field_fn *each, void *ctx, struct object *ret)
{
	const struct entries e = { .each = each, .ctx = ctx };
	struct object o = { 0 };
	struct span raw = SPAN_NULL;
	const struct pb_kind *kind = NULL;
	struct proto_field f;
	int r = unknown_decode(plain, &o, &raw);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && span_equal(o.api_version, span_str("v1")); i++)
		if (span_equal(o.kind, span_str(kinds[i].kind)))
			kind = &kinds[i];
	r = kind ? 0 : -EOPNOTSUPP;
	while (kind && r == 0 && (r = proto_next(&raw, &f)) > 0)
		r = kind->field(&f, &e, &o);
	if (r == 0 || r == -EOPNOTSUPP)
		*ret = o;
	return r;
}
