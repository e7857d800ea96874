/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC's status codes, which wire speaks and obs counts. google.golang.org/grpc/codes and the gRPC
 * project's statuscodes.md have the same numbers.
 */
#ifndef KEKD_BASE_GRPC_STATUS_H
#define KEKD_BASE_GRPC_STATUS_H

#define GRPC_STATUSES 17 /* 0 … 16 */

/* Those that kekd has a use for. */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
};

/* "DATA_LOSS"; "UNKNOWN" for a number gRPC does not have. Static. */
const char *grpc_status_name(unsigned int status);

#endif
