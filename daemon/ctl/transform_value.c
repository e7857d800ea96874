/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl transform: one value of etcd, from standard input to standard output, through the daemon's
 * chain. For whole databases use the service itself (daemon/kms/transform.proto), which takes many
 * values in a call.
 */
#include <stdio.h>
#include <sys/un.h>

#include "daemon/base/grpc_status.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/relay.h"
#include "daemon/kms/pb_transform.h"

#define CALL_NS    (UINT64_C(120) * 1000 * 1000 * 1000) /* as bulk.c has it */
#define POOL_BYTES (24 * 1024 * 1024)

static int transform_ask(const struct ctl *ctl, struct secpool *pool, const char *method,
			 const struct transform_value *value, struct secbuf *ret)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	int r;

	r = ctl_transform_socket(ctl, path, sizeof(path), NULL);
	if (r != 0)
		return r;
	r = secpool_get(pool, value->value.len + value->path.len + 1024, &msg);
	if (r == 0)
		r = pb_transform_request_encode(span_str(ctl->resource ? ctl->resource : ""), value,
						1, &msg);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	return relay_call(path, method, &msg, CALL_NS, pool, ret);
}

static int value_show(struct span msg)
{
	struct transform_result result;
	size_t n;

	if (pb_transform_response_decode(msg, &result, 1, &n) < 0 || n != 1)
		return ctl_fail("the answer is not a kekd.v1.TransformResponse of one value");
	if (result.code != GRPC_OK)
		return ctl_fail("refused, %s: %.*s", grpc_status_name((unsigned int)result.code),
				(int)result.message.len, (const char *)result.message.data);
	if (result.stale)
		fputs("kekctl: stale: another key or provider than the first wrote this value\n",
		      stderr);
	if (result.doubtful)
		fputs("kekctl: " DOUBTFUL "\n", stderr);
	return relay_write(result.value);
}

static int transform_run(const struct ctl *ctl, int argc, const char *method)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_secbuf_ struct secbuf in = { 0 }, out = { 0 };
	struct transform_value value;
	int r;

	if (argc != 0 || !ctl->path)
		return ctl_usage("transform reads standard input and needs --path KEY, the value's "
				 "key in etcd");
	if (secpool_new(POOL_BYTES, &pool) < 0)
		return ctl_fail("out of memory");
	r = relay_read(pool, KEKD_VALUE_MAX, &in);
	if (r != 0)
		return r;
	value = (struct transform_value){ span_str(ctl->path), span_of(in.data, in.len) };
	r = transform_ask(ctl, pool, method, &value, &out);
	return r == 0 ? value_show(span_of(out.data, out.len)) : r;
}

int ctl_transform_to(const struct ctl *ctl, int argc, char **argv _unused_)
{
	return transform_run(ctl, argc, "/kekd.v1.Transform/ToStorage");
}

int ctl_transform_from(const struct ctl *ctl, int argc, char **argv _unused_)
{
	return transform_run(ctl, argc, "/kekd.v1.Transform/FromStorage");
}
