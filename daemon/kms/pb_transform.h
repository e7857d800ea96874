/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of daemon/kms/transform.proto as plain structs. As in pb.h: spans point into the
 * message, unknown fields are skipped, encoding appends to a locked buffer. Errors: -EINVAL not
 * protobuf, -E2BIG more values than asked for, -ENOBUFS no room.
 */
#ifndef KEKD_KMS_PB_TRANSFORM_H
#define KEKD_KMS_PB_TRANSFORM_H

#include "daemon/base/secmem.h"
#include <kekd/span.h>

#define TRANSFORM_VALUES_MAX    1024              /* of one request */
#define TRANSFORM_MESSAGE_BYTES (4 * 1024 * 1024) /* of one request or answer */

struct transform_value {
	struct span path, value;
};

struct transform_result {
	struct span value;
	bool stale, doubtful;
	int32_t code;
	struct span message, provider, key_id;
};

/* @values: room for @max of them. */
int pb_transform_request_decode(struct span msg, struct span *ret_resource,
				struct transform_value *values, size_t max, size_t *ret_n);
int pb_transform_request_encode(struct span resource, const struct transform_value *values,
				size_t n, struct secbuf *out);
int pb_transform_response_decode(struct span msg, struct transform_result *results, size_t max,
				 size_t *ret_n);
int pb_transform_response_encode(const struct transform_result *results, size_t n,
				 struct secbuf *out);

#endif
