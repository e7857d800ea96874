/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kms_status SOCKET: one KMS v2 Status call, as kube-apiserver makes it every minute. Prints the
 * version, healthz and key_id, or the gRPC status and its text; exit status 0 or 1.
 */
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

#define CALL_NS UINT64_C(30000000000)

int main(int argc, char **argv)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	struct grpc_outcome out;
	struct kms_response rsp;
	int r;

	if (argc != 2 || secpool_new(1024 * 1024, &pool) < 0)
		return 2;
	r = grpc_client_call_sync(argv[1], "/v2.KeyManagementService/Status", span_str(""), CALL_NS,
				  pool, &out);
	if (r < 0) {
		printf("%s\n", errno_text(r));
		return 1;
	}
	if (out.status != GRPC_OK) {
		printf("%s: %s\n", grpc_status_name(out.status), out.text);
		secbuf_release(&out.msg);
		return 1;
	}
	r = pb_decode_response(PB_V2_STATUS_RESPONSE, span_of(out.msg.data, out.msg.len), &rsp);
	if (r == 0)
		printf("%.*s %.*s %.*s\n", (int)rsp.version.len, (const char *)rsp.version.data,
		       (int)rsp.healthz.len, (const char *)rsp.healthz.data, (int)rsp.key_id.len,
		       (const char *)rsp.key_id.data);
	secbuf_release(&out.msg);
	return r < 0;
}
