/* SPDX-License-Identifier: Apache-2.0 */
/* See pb_kv.h. Field numbers: etcd, api/mvccpb/kv.proto. */
#include "daemon/dump/pb_kv.h"

#include <errno.h>

#include "daemon/base/proto.h"

enum { KV_KEY = 1, KV_CREATE_REVISION = 2, KV_MOD_REVISION = 3, KV_VERSION = 4, KV_VALUE = 5 };

static int kv_field(const struct proto_field *f, struct dump_value *v)
{
	uint64_t unused;

	switch (f->number) {
	case KV_KEY:
		return proto_bytes(f, &v->key);
	case KV_MOD_REVISION:
		return proto_number(f, &v->mod_revision);
	case KV_CREATE_REVISION:
	case KV_VERSION:
		return proto_number(f, &unused);
	case KV_VALUE:
		return proto_bytes(f, &v->value);
	}
	return 0;
}

int pb_kv_decode(struct span msg, struct dump_value *ret)
{
	struct dump_value v = { 0 };
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		r = kv_field(&f, &v);
		if (r < 0)
			return r;
	}
	if (r < 0 || v.key.len == 0 || v.mod_revision > INT64_MAX)
		return -EINVAL;
	*ret = v;
	return 0;
}
