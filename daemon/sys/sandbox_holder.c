/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder's system calls (crypto/holder.h): to hear a bell, to ring one, and to end. Everything else kills it.
 * What it may read and write is what descriptors it has: the ends of three pipes.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>

#include "daemon/sys/sandbox_rules.h"

static const int holder_allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

int sandbox_seccomp_holder(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, holder_allowed, ARRAY_SIZE(holder_allowed));
	return r == 0 ? seccomp_load(ctx) : r;
}
