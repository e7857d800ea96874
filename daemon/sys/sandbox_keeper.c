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
 * Keys: who gets a serving key read anywhere has its bytes (keys/maker.h), be it the keeper or somebody
 * else whom it lets at the key. So KEYCTL_READ kills, and no key leaves the keeper: not into a keyring
 * that is not its own (add_key(2), linking, moving, a session that others have), not by rights for
 * anybody but its possessor, and no program is called to make one (request_key(2) with a text for it).
 * What an operation does with a key, its arguments say; a number has the kernel's 32 bits.
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

#define LOW(i, value) SCMP_CMP64(i, SCMP_CMP_MASKED_EQ, UINT32_MAX, (scmp_datum_t)(uint32_t)(value))
#define OPERATION(op) SCMP_A0_64(SCMP_CMP_EQ, (op), 0)
/* Rights: the possessor's are the highest byte. */
#define NOT_THE_POSSESSORS 0x00ffffffU

struct key_rule {
	int call;
	unsigned int n;
	struct scmp_arg_cmp arg[2];
};

static int rules_each(scmp_filter_ctx ctx, const struct key_rule *rules, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rules[i].call, rules[i].n,
					   rules[i].arg);
	return r;
}

/* A child's session of its own, which has no name that others could join it by, is for each backend. */
static int rules_keys(scmp_filter_ctx ctx, int32_t ring)
{
	const struct key_rule session[] = {
		{ SCMP_SYS(keyctl),
		  2,
		  { OPERATION(KEYCTL_JOIN_SESSION_KEYRING), SCMP_A1_64(SCMP_CMP_EQ, 0, 0) } },
	};
	const struct key_rule keys[] = {
		{ SCMP_SYS(add_key), 1, { LOW(4, ring) } },
		{ SCMP_SYS(add_key), 1, { LOW(4, KEY_SPEC_SESSION_KEYRING) } },
		{ SCMP_SYS(request_key), 2, { SCMP_A2_64(SCMP_CMP_EQ, 0, 0), LOW(3, 0) } },
		{ SCMP_SYS(keyctl), 2, { OPERATION(KEYCTL_SEARCH), LOW(4, 0) } },
		{ SCMP_SYS(keyctl), 1, { OPERATION(KEYCTL_DESCRIBE) } },
		{ SCMP_SYS(keyctl), 1, { OPERATION(KEYCTL_WATCH_KEY) } },
		{ SCMP_SYS(keyctl), 1, { OPERATION(KEYCTL_UNLINK) } },
		{ SCMP_SYS(keyctl),
		  2,
		  { OPERATION(KEYCTL_SETPERM),
		    SCMP_A2_64(SCMP_CMP_MASKED_EQ, NOT_THE_POSSESSORS, 0) } },
	};
	int r;

	r = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(keyctl), 1, LOW(0, KEYCTL_READ));
	if (r == 0)
		r = rules_each(ctx, session, ARRAY_SIZE(session));
	return r == 0 && ring ? rules_each(ctx, keys, ARRAY_SIZE(keys)) : r;
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

int sandbox_seccomp_keeper(int32_t ring)
{
	_cleanup_(seccomp_releasep) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!ctx)
		return -ENOMEM;
	r = rules_add(ctx, SCMP_ACT_ALLOW, keeper_allowed, ARRAY_SIZE(keeper_allowed));
	if (r == 0)
		r = rules_keys(ctx, ring);
	if (r == 0)
		r = rules_socket(ctx);
	if (r == 0)
		r = rules_fork(ctx);
	/* isatty(3) of the log, and the window size for nothing else; TIOCSTI would type for the operator. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, TCGETS, 0));
	return r == 0 ? seccomp_load(ctx) : r;
}
