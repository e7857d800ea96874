/* SPDX-License-Identifier: Apache-2.0 */
/* The rest of a test without any capability, whoever runs it. */
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

static inline void caps_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	ASSERT_EQ(0, syscall(SYS_capset, &head, none));
}
