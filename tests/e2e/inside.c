/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside PID list             the keys of a process's session keyring, "SERIAL DESCRIPTION" a line
 * inside PID call NR [ARG]... system call NR, numbers as arguments, made by that process
 * inside PID last NR [ARG]... the same, and the process is left stopped (SIGSTOP)
 *
 * Exit status 1, and the name of the error on standard output, if the call fails.
 *
 * kekd's keys give rights to their possessor alone, so nobody sees them from outside, root
 * included. What an administrator can still do is to make the keeper itself call keyctl(2), by
 * ptrace(2), which a process that is not dumpable allows to CAP_SYS_PTRACE only. x86-64.
 *
 * The process is stopped in a system call of its own (one that waits), made to call ours from the
 * same instruction, and goes on with EINTR.
 */
#include <errno.h>
#include <linux/keyctl.h>
#include <signal.h>
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

#define SYSCALL_INSN 0x050fU
#define SCRATCH      4096 /* below the stack pointer and its red zone */
#define SCRATCH_SIZE 2048
#define TRIES        1000

struct inside {
	pid_t pid;
	struct user_regs_struct regs; /* as the process was stopped */
};

static int stopped(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

static int at_syscall(struct inside *in)
{
	long word;

	if (ptrace(PTRACE_GETREGS, in->pid, NULL, &in->regs) < 0)
		return -errno;
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, in->pid, (void *)(uintptr_t)(in->regs.rip - 2), NULL);
	if (word == -1 && errno != 0)
		return -errno;
	return (word & 0xffff) == SYSCALL_INSN && (long)in->regs.orig_rax >= 0;
}

/* Stop it in a system call; between two of them it is let go and stopped anew. */
static int enter(pid_t pid, struct inside *ret)
{
	int r = 0;

	ret->pid = pid;
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) < 0)
		return -errno;
	for (int i = 0; r == 0 && i < TRIES; i++) {
		if (i > 0 && ptrace(PTRACE_CONT, pid, NULL, NULL) < 0)
			return -errno;
		if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
			return -errno;
		r = stopped(pid);
		if (r == 0)
			r = at_syscall(ret);
	}
	return r > 0 ? 0 : r == 0 ? -EBUSY : r;
}

static int leave(struct inside *in)
{
	in->regs.rax = (unsigned long long)-EINTR;
	in->regs.orig_rax = (unsigned long long)-1;
	if (ptrace(PTRACE_SETREGS, in->pid, NULL, &in->regs) < 0 ||
	    ptrace(PTRACE_DETACH, in->pid, NULL, NULL) < 0)
		return -errno;
	return 0;
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

	regs.rip -= 2;
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = arg[0];
	regs.rdi = arg[1];
	regs.rsi = arg[2];
	regs.rdx = arg[3];
	regs.r10 = arg[4];
	regs.r8 = arg[5];
	if (ptrace(PTRACE_SETREGS, in->pid, NULL, &regs) < 0)
		return -errno;
	r = step(in);
	if (r == 0)
		r = step(in);
	if (r < 0)
		return r;
	if (ptrace(PTRACE_GETREGS, in->pid, NULL, &regs) < 0)
		return -errno;
	return (long)regs.rax;
}

/* keyctl(2) that fills a buffer; what it wrote is at @ret. */
static long fetch(struct inside *in, unsigned long op, long key, void *ret, size_t size)
{
	unsigned long at = in->regs.rsp - SCRATCH;
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
	r = enter((pid_t)atoi(argv[1]), &in);
	if (r == 0) {
		for (int i = 3; i < argc; i++)
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
