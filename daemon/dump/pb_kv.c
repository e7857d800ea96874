/* SPDX-License-Identifier: Apache-2.0 */
/* See pb_kv.h. */
#include "daemon/dump/pb_kv.h"

#include <errno.h>

#include "daemon/base/pbspan.h"
#include "daemon/dump/dump.pb.h"

int pb_kv_decode(struct span msg, struct dump_value *ret)
{
	struct dump_value v = { 0 };
	struct pbspan c = { .msg = msg };
	pb_istream_t stream = pbspan_stream(&c);
	kekd_dump_KeyValue pb = {
		.key = { .funcs.decode = pbspan_take, .arg = &v.key },
		.value = { .funcs.decode = pbspan_take, .arg = &v.value },
	};

	if (!pb_decode(&stream, kekd_dump_KeyValue_fields, &pb) || v.key.len == 0 ||
	    pb.mod_revision < 0)
		return -EINVAL;
	v.mod_revision = (uint64_t)pb.mod_revision;
	*ret = v;
	return 0;
}
