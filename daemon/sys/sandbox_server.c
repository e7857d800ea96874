/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's system calls: bytes on descriptors that it has, waiting, memory. On top of the
 * keeper's list, which it inherits (daemon/sys/sandbox_keeper.c).
 *
 * seccomp does not see what a ring does; sys/ring_uring.c restricts the ring itself.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/sys/sandbox_rules.h"

static const int server_allowed[] = {
	/* bytes on descriptors it was given */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockopt),
	/* waiting */
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(timerfd_settime),
	/* memory; executable pages are refused below */
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
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
	SCMP_SYS(rseq),
	SCMP_SYS(membarrier),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
};

static const int server_killed[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(bpf),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(mount),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(pidfd_getfd),
};

int sandbox_seccomp_server(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, server_allowed, ARRAY_SIZE(server_allowed));
	if (r == 0)
		r = rules_add(ctx, SCMP_ACT_KILL_PROCESS, server_killed, ARRAY_SIZE(server_killed));
	if (r == 0)
		r = rules_memory(ctx);
	if (r == 0)
		r = rules_fstat(ctx);
	if (r == 0)
		r = rules_fcntl(ctx);
	/* abort(3) raises a signal to this very thread group; nobody else may be signalled. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return r == 0 ? seccomp_load(ctx) : r;
}
