/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/base/refusal.h"

static const char *const names[REFUSALS] = {
	[REFUSAL_CONNECTIONS] = "connections", [REFUSAL_DESCRIPTORS] = "descriptors",
	[REFUSAL_MEMORY] = "memory",           [REFUSAL_CALLS] = "calls",
	[REFUSAL_ANSWERS] = "answers",         [REFUSAL_FRAMES] = "frames",
};

const char *refusal_name(enum refusal why)
{
	return names[why];
}
