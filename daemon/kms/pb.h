/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMS messages (kmsv1.proto, kmsv2.proto) as plain structs. Decoding copies nothing: spans point
 * into the message, which must outlive them. Unknown fields are skipped, of a repeated scalar the
 * last one counts (protobuf encoding guide). Encoding appends to a locked buffer.
 *
 * Errors: -EINVAL not protobuf, or a field has the wrong wire type; -ENOBUFS no room; -ENOMEM.
 */
#ifndef KEKD_KMS_PB_H
#define KEKD_KMS_PB_H

#include "daemon/base/proto.h"
#include "daemon/base/secmem.h"
#include <kekd/span.h>
#include <kekd/upstream.h>

struct kms_request {
	struct span data;    /* plaintext or ciphertext */
	struct span uid;     /* v2; the apiserver's request id, for the audit record */
	struct span key_id;  /* v2 Decrypt */
	struct span version; /* v1 */
	struct annotations
		annotations; /* v2 Decrypt; encoded only: our own ciphertexts have none */
};

struct kms_response {
	struct span data;   /* ciphertext or plaintext */
	struct span key_id; /* v2 Status, Encrypt */
	struct span version;
	struct span healthz;            /* v2 Status */
	struct span runtime_name;       /* v1 Version */
	struct span runtime_version;    /* v1 Version */
	struct annotations annotations; /* v2 Encrypt; decoded only: pb_response_done() frees it */
};

/* One line a message; see pb.c's table. */
enum pb_message {
	PB_V2_STATUS_REQUEST,
	PB_V2_STATUS_RESPONSE,
	PB_V2_ENCRYPT_REQUEST,
	PB_V2_ENCRYPT_RESPONSE,
	PB_V2_DECRYPT_REQUEST,
	PB_V2_DECRYPT_RESPONSE,
	PB_V1_VERSION_REQUEST,
	PB_V1_VERSION_RESPONSE,
	PB_V1_ENCRYPT_REQUEST,
	PB_V1_ENCRYPT_RESPONSE,
	PB_V1_DECRYPT_REQUEST,
	PB_V1_DECRYPT_RESPONSE,
	PB_MESSAGES,
};

int pb_decode_request(enum pb_message which, struct span msg, struct kms_request *ret);
int pb_decode_response(enum pb_message which, struct span msg, struct kms_response *ret);
/* Nothing happens on a zeroed one. */
void pb_response_done(struct kms_response *rsp);
int pb_encode_request(enum pb_message which, const struct kms_request *req, struct secbuf *out);
int pb_encode_response(enum pb_message which, const struct kms_response *rsp, struct secbuf *out);
/*
 * The same of a message whose first field is data, where rsp->data lies in @out already, PB_ROOM behind its
 * end, which is within its capacity.
 */
#define PB_ROOM PROTO_HEAD_MAX
int pb_encode_around(enum pb_message which, const struct kms_response *rsp, struct secbuf *out);

#endif
