/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The observer's system calls: take connections from the listener it has, read and write them, tell
 * the time. On top of the keeper's list, which it inherits (daemon/sys/sandbox_keeper.c).
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>

#include "daemon/sys/sandbox_rules.h"

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

int sandbox_seccomp_observer(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, observer_allowed, ARRAY_SIZE(observer_allowed));
	if (r == 0)
		r = rules_memory(ctx);
	if (r == 0)
		r = rules_fstat(ctx);
	if (r == 0)
		r = rules_fcntl(ctx);
	return r == 0 ? seccomp_load(ctx) : r;
}
