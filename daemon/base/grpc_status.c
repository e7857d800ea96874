/* SPDX-License-Identifier: Apache-2.0 */
/* One table, so that a status has the same name in an error message and in a metric. */
#include "daemon/base/grpc_status.h"

static const char *const names[GRPC_STATUSES] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

const char *grpc_status_name(unsigned int status)
{
	return names[status < GRPC_STATUSES ? status : GRPC_UNKNOWN];
}
