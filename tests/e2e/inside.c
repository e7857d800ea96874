/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside PID list                   the keys of a process's session keyring, "SERIAL DESCRIPTION" a line
 * inside PID call NAME [ARG]...     system call NAME, numbers as arguments, made by that process
 * inside PID last NAME [ARG]...     the same, and the process is left stopped (SIGSTOP)
 * inside PID filtered NAME [ARG]... as call, under the process's own seccomp filter
 *
 * Exit status 1, and the name of the error on standard output, if the call fails.
 *
 * kekd's keys give rights to their possessor alone, so nobody sees them from outside, root
 * included. What an administrator can still do is to make the keeper itself call keyctl(2), by
 * ptrace(2), which a process that is not dumpable allows to CAP_SYS_PTRACE only. The filter of the
 * keeper is out of force meanwhile (PTRACE_O_SUSPEND_SECCOMP needs CAP_SYS_ADMIN).
 *
 * The process is stopped in a system call of its own (one that waits), made to call ours from the same
 * instruction, and goes on with EINTR. On arm64 the kernel has by then put the process before the instruction,
 * or behind it with the result of a call that is not made again (arch/arm64/kernel/signal.c, do_signal()), and
 * does not tell any more which call it was: it goes on as it was stopped.
 */
#include <elf.h>
#include <errno.h>
#include <linux/keyctl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRATCH      4096 /* below the stack pointer and its red zone */
#define SCRATCH_SIZE 2048
#define TRIES        1000

struct inside {
	pid_t pid;
	struct user_regs_struct regs; /* as the process was stopped */
	unsigned long insn;           /* where the instruction of the system call is */
};

static int regs_get(pid_t pid, struct user_regs_struct *ret)
{
	struct iovec io = { ret, sizeof(*ret) };

	return ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

static int regs_set(pid_t pid, struct user_regs_struct *regs)
{
	struct iovec io = { regs, sizeof(*regs) };

	return ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

/* Whether the instruction of a system call, of @size bytes, is at @at. */
static bool is_syscall(pid_t pid, unsigned long at, unsigned long insn, unsigned long size)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, (void *)at, NULL);
	return errno == 0 && ((unsigned long)word & ((1UL << (8 * size)) - 1)) == insn;
}

#if defined(__x86_64__)

static bool in_syscall(struct inside *in)
{
	in->insn = in->regs.rip - 2;
	return is_syscall(in->pid, in->insn, 0x050f, 2) && (long)in->regs.orig_rax >= 0;
}

static void interrupt(struct user_regs_struct *regs)
{
	regs->rax = (unsigned long long)-EINTR;
	regs->orig_rax = (unsigned long long)-1;
}

static void prepare(struct user_regs_struct *regs, unsigned long insn,
		    const unsigned long arg[static 6])
{
	regs->rip = insn;
	regs->orig_rax = (unsigned long long)-1;
	regs->rax = arg[0];
	regs->rdi = arg[1];
	regs->rsi = arg[2];
	regs->rdx = arg[3];
	regs->r10 = arg[4];
	regs->r8 = arg[5];
}

#define RESULT(r) ((long)(r)->rax)
#define STACK(r)  ((r)->rsp)

#elif defined(__aarch64__)

static bool in_syscall(struct inside *in)
{
	const unsigned long svc = 0xd4000001;

	in->insn = in->regs.pc;
	if (is_syscall(in->pid, in->insn, svc, 4))
		return true;
	in->insn -= 4;
	return is_syscall(in->pid, in->insn, svc, 4);
}

static void interrupt(struct user_regs_struct *regs __attribute__((unused)))
{
}

static void prepare(struct user_regs_struct *regs, unsigned long insn,
		    const unsigned long arg[static 6])
{
	regs->pc = insn;
	regs->regs[8] = arg[0];
	for (size_t i = 0; i < 5; i++)
		regs->regs[i] = arg[i + 1];
}

#define RESULT(r) ((long)(r)->regs[0])
#define STACK(r)  ((r)->sp)

#endif

static int stopped(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

/* Stop it in a system call; between two of them it is let go and stopped anew. */
static int enter(pid_t pid, uintptr_t options, struct inside *ret)
{
	bool there = false;
	int r = 0;

	ret->pid = pid;
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | options)) < 0)
		return -errno;
	for (int i = 0; r == 0 && !there && i < TRIES; i++) {
		if (i > 0 && ptrace(PTRACE_CONT, pid, NULL, NULL) < 0)
			return -errno;
		if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
			return -errno;
		r = stopped(pid);
		if (r == 0)
			r = regs_get(pid, &ret->regs);
		there = r == 0 && in_syscall(ret);
	}
	return r == 0 && !there ? -EBUSY : r;
}

static int leave(struct inside *in)
{
	int r;

	interrupt(&in->regs);
	r = regs_set(in->pid, &in->regs);
	if (r < 0)
		return r;
	return ptrace(PTRACE_DETACH, in->pid, NULL, NULL) < 0 ? -errno : 0;
}

static int step(struct inside *in)
{
	if (ptrace(PTRACE_SYSCALL, in->pid, NULL, NULL) < 0)
		return -errno;
	return stopped(in->pid);
}

/* A system call by the process; its result, or -errno of this or that side. */
static long call(struct inside *in, const unsigned long arg[static 6])
{
	struct user_regs_struct regs = in->regs;
	int r;

	prepare(&regs, in->insn, arg);
	r = regs_set(in->pid, &regs);
	if (r == 0)
		r = step(in);
	if (r == 0)
		r = step(in);
	if (r == 0)
		r = regs_get(in->pid, &regs);
	return r < 0 ? r : RESULT(&regs);
}

/* keyctl(2) that fills a buffer; what it wrote is at @ret. */
static long fetch(struct inside *in, unsigned long op, long key, void *ret, size_t size)
{
	unsigned long at = STACK(&in->regs) - SCRATCH;
	struct iovec mine = { ret, size }, theirs = { (void *)(uintptr_t)at, size };
	long n = call(in, (unsigned long[6]){ SYS_keyctl, op, (unsigned long)key, at, size });

	if (n < 0)
		return n;
	return process_vm_readv(in->pid, &mine, 1, &theirs, 1, 0) < 0 ? -errno : n;
}

static long list(struct inside *in, long ring, int depth)
{
	int32_t keys[SCRATCH_SIZE / sizeof(int32_t)];
	char text[SCRATCH_SIZE];
	long n, r;

	n = fetch(in, KEYCTL_READ, ring, keys, sizeof(keys));
	for (long i = 0; i < n / (long)sizeof(int32_t); i++) {
		r = fetch(in, KEYCTL_DESCRIBE, keys[i], text, sizeof(text));
		if (r < 0)
			return r;
		text[sizeof(text) - 1] = '\0';
		printf("%d %s\n", keys[i], text);
		if (depth > 0 && strncmp(text, "keyring;", 8) == 0) {
			r = list(in, keys[i], depth - 1);
			if (r < 0)
				return r;
		}
	}
	return n < 0 ? n : 0;
}

int main(int argc, char **argv)
{
	unsigned long arg[6] = { 0 };
	struct inside in;
	long r;

	if (argc < 3 || argc > 9)
		return 2;
	r = enter((pid_t)atoi(argv[1]),
		  strcmp(argv[2], "filtered") == 0 ? 0 : PTRACE_O_SUSPEND_SECCOMP, &in);
	if (r == 0) {
		if (argc > 3)
			arg[0] = (unsigned long)seccomp_syscall_resolve_name(argv[3]);
		for (int i = 4; i < argc; i++)
			arg[i - 3] = (unsigned long)strtol(argv[i], NULL, 0);
		r = strcmp(argv[2], "list") == 0 ? list(&in, KEY_SPEC_SESSION_KEYRING, 3)
						 : call(&in, arg);
		if (strcmp(argv[2], "last") == 0 && kill(in.pid, SIGSTOP) < 0)
			return 2;
		if (leave(&in) < 0)
			return 2;
	}
	if (r < 0) {
		printf("%s\n", strerrorname_np((int)-r));
		return 1;
	}
	return 0;
}
