/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's system calls. Its filter is inherited by every server it starts, whose own, tighter
 * one comes on top (of all filters the strictest answer counts), so this list holds three things:
 * what the loop needs, what starting a program needs (the dynamic loader maps executable pages), and
 * what a server does until it has locked itself down.
 *
 * What it keeps from a keeper that was taken over: any socket but AF_UNIX and AF_ALG, other
 * processes' memory, namespaces, mounts, modules, BPF, kexec, execve(2) of a path. execveat(2) of a
 * descriptor stays, as that is how a server is started; which files it may open for that is Landlock's.
 *
 * keyctl(2) is allowed by operation. Reading is not forbidden as such, because what is read of an
 * encrypted key is its sealed blob; the root key's serial is, see sandbox_deny_key_read().
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/sys/sandbox_rules.h"

static const int keeper_allowed[] = {
	/* bytes on descriptors */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(pipe2),
	SCMP_SYS(eventfd2),
	SCMP_SYS(memfd_create),
	SCMP_SYS(memfd_secret),
	/* files: configuration and key store; the dynamic loader */
	SCMP_SYS(openat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(fstatfs),
	SCMP_SYS(statfs),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(getdents64),
	SCMP_SYS(getcwd),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(flock),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchown),
	SCMP_SYS(mkdirat),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(linkat),
	SCMP_SYS(umask),
	/* sockets that exist; new ones by rules_socket() */
	SCMP_SYS(bind),
	SCMP_SYS(connect),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(listen),
	SCMP_SYS(shutdown),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	/* waiting */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(signalfd4),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(futex),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(alarm),
	SCMP_SYS(setitimer),
	/* memory */
	SCMP_SYS(mmap),
	SCMP_SYS(mprotect),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(munlock),
	SCMP_SYS(mlockall),
	SCMP_SYS(membarrier),
	SCMP_SYS(mincore),
	/* processes: the server */
	SCMP_SYS(execveat),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	SCMP_SYS(kill),
	SCMP_SYS(tgkill),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(setsid),
	SCMP_SYS(setpgid),
	SCMP_SYS(capget),
	SCMP_SYS(capset),
	SCMP_SYS(prctl),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(seccomp),
	SCMP_SYS(landlock_create_ruleset),
	SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
	SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit),
	SCMP_SYS(setrlimit),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	/* keys; keyctl(2) by rules_keyctl() */
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	/* harmless questions */
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getpgrp),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getresuid),
	SCMP_SYS(getresgid),
	SCMP_SYS(getgroups),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(getcpu),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(times),
	/* signals */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sigaltstack),
};

/* Not here: instantiating other programs' keys, the persistent ring, public-key operations. */
static const int keyctl_allowed[] = {
	KEYCTL_GET_KEYRING_ID, KEYCTL_JOIN_SESSION_KEYRING,
	KEYCTL_UPDATE,         KEYCTL_REVOKE,
	KEYCTL_SETPERM,        KEYCTL_DESCRIBE,
	KEYCTL_CLEAR,          KEYCTL_LINK,
	KEYCTL_UNLINK,         KEYCTL_SEARCH,
	KEYCTL_READ,           KEYCTL_SET_TIMEOUT,
	KEYCTL_INVALIDATE,     KEYCTL_MOVE,
	KEYCTL_CAPABILITIES,
};

static int rules_keyctl(scmp_filter_ctx ctx)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(keyctl_allowed); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(keyctl), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)keyctl_allowed[i], 0));
	return r;
}

static int rules_socket(scmp_filter_ctx ctx)
{
	static const scmp_datum_t families[] = { AF_UNIX, AF_ALG };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(families); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, families[i], 0));
	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
				SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
}

/*
 * fork(2) is clone(2) without any namespace. The flags of clone3(2) are in memory, where seccomp
 * cannot look: ENOSYS makes the C library use clone(2).
 */
static int rules_fork(scmp_filter_ctx ctx)
{
	const scmp_datum_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
					CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r < 0)
		return r;
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
}

/* isatty(3) of the log, and the window size for nothing else; TIOCSTI would type for the operator. */
static int rules_ioctl(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_EQ, TCGETS, 0));
}

int sandbox_seccomp_keeper(void)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, keeper_allowed, ARRAY_SIZE(keeper_allowed));
	if (r == 0)
		r = rules_keyctl(ctx);
	if (r == 0)
		r = rules_socket(ctx);
	if (r == 0)
		r = rules_fork(ctx);
	if (r == 0)
		r = rules_ioctl(ctx);
	return r == 0 ? seccomp_load(ctx) : r;
}

int sandbox_deny_key_read(int32_t serial)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!ctx)
		return -ENOMEM;
	/* The kernel takes the low half of the register: a number with any upper half is this key. */
	r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(keyctl), 2,
			     SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, KEYCTL_READ),
			     SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)serial));
	return r == 0 ? seccomp_load(ctx) : r;
}
