/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The observer's system calls: take connections from the listener it has, read and write them, tell
 * the time. On top of the keeper's list, which it inherits (daemon/sys/sandbox_keeper.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "daemon/base/cleanup.h"
#include "daemon/sys/sandbox.h"

static const int observer_allowed[] = {
	/* connections */
	SCMP_SYS(accept4),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(shutdown),
	SCMP_SYS(setsockopt), /* TCP_NODELAY, TCP_CORK */
	SCMP_SYS(getsockopt),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	/* waiting */
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(futex),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	/* memory; executable pages are refused below */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	/* itself */
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(sigaltstack),
};

/* glibc 2.33 to 2.38 does fstat(3) by name. */
static int rules_with_arguments(scmp_filter_ctx ctx)
{
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
				     SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH, 0));
	return r;
}

static void filter_release(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

int sandbox_seccomp_observer(void)
{
	_cleanup_(filter_release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = 0;

	if (!ctx)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(observer_allowed); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, observer_allowed[i], 0);
	if (r == 0)
		r = rules_with_arguments(ctx);
	return r == 0 ? seccomp_load(ctx) : r;
}
