/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between fork and exec, in this order:
 *   signals                   the keeper blocks what it reads by signalfd; the server ignores what a
 *                             terminal or a service manager sends to both: the keeper alone says
 *                             when to stop, so that calls in flight are finished
 *   link to descriptor 3      and everything above it closed
 *   uid, gid, capabilities    sandbox_drop_all()
 *   fresh session keyring     the keeper's keys are possessed through its own; as the new uid, so
 *                             that even the empty ring is not root's
 *   parent-death signal       after the change of uid, which would clear it
 *
 * The new program is started from a descriptor (execveat(2) with AT_EMPTY_PATH): only the file's
 * own mode counts, so it also works from a directory that the new uid may not enter.
 */
#include "daemon/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/base/log.h"
#include "daemon/server/link.h"
#include "daemon/sys/keyring.h"
#include "daemon/sys/sandbox.h"

int spawn_self_open(int *ret_exe_fd)
{
	int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_exe_fd = fd;
	return 0;
}

/* What of the environment a server may see. NOTIFY_SOCKET is not in it: only the keeper notifies. */
static const char *const env_kept[] = { "JOURNAL_STREAM=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=" };

static void env_filter(char *env[static ARRAY_SIZE(env_kept) + 1])
{
	size_t n = 0;

	for (char **e = environ; *e; e++)
		for (size_t i = 0; i < ARRAY_SIZE(env_kept); i++)
			if (strncmp(*e, env_kept[i], strlen(env_kept[i])) == 0 &&
			    n < ARRAY_SIZE(env_kept))
				env[n++] = *e;
	env[n] = NULL;
}

/* Moves @link_fd and @exe_fd to 3 and 4 and closes everything else but the standard streams. */
static int descriptors(int link_fd, int exe_fd)
{
	int link_high, exe_high;

	link_high = fcntl(link_fd, F_DUPFD, 10);
	exe_high = fcntl(exe_fd, F_DUPFD, 10);
	if (link_high < 0 || exe_high < 0)
		return -errno;
	if (dup2(link_high, SPAWN_LINK_FD) < 0 || dup3(exe_high, SPAWN_LINK_FD + 1, O_CLOEXEC) < 0)
		return -errno;
	return close_range(SPAWN_LINK_FD + 2, ~0U, 0) < 0 ? -errno : 0;
}

static void signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN); /* stays over exec */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_prepare(int link_fd, int exe_fd, uid_t uid, gid_t gid, pid_t parent)
{
	int r;

	signals();
	r = descriptors(link_fd, exe_fd);
	if (r == 0)
		r = sandbox_drop_all(uid, gid);
	if (r == 0) {
		r = keyring_new_session();
		if (r == -ENOSYS || r == -EPERM)
			r = 0; /* no keyrings at all here (seccomp of a container): nothing to hide */
	}
	if (r == 0)
		r = sandbox_die_with(parent);
	return r;
}

static _noreturn_ void child(int link_fd, int exe_fd, uid_t uid, gid_t gid, pid_t parent)
{
	char *argv[] = { (char *)(uintptr_t)SPAWN_ARGV0, NULL };
	char *env[ARRAY_SIZE(env_kept) + 1];
	int r;

	r = child_prepare(link_fd, exe_fd, uid, gid, parent);
	if (r == 0) {
		env_filter(env);
		syscall(SYS_execveat, SPAWN_LINK_FD + 1, "", argv, env, AT_EMPTY_PATH);
		r = -errno;
	}
	log_error("cannot start the server process: %s", errno_text(r));
	_exit(EXIT_FAILURE);
}

int spawn_server(int exe_fd, uid_t uid, gid_t gid, pid_t *ret_pid, int *ret_link_fd)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	pid_t parent = getpid(), pid;
	int fds[2];
	int r;

	r = link_pair(fds);
	if (r < 0)
		return r;
	ours = fds[0];
	theirs = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(theirs, exe_fd, uid, gid, parent);
	*ret_pid = pid;
	*ret_link_fd = move_fd(ours);
	return 0;
}

static int child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

int spawn_kill(pid_t pid, uid_t uid)
{
	pid_t helper;

	if (kill(pid, SIGKILL) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	helper = fork();
	if (helper < 0)
		return -errno;
	if (helper == 0)
		_exit(setresuid(uid, uid, uid) < 0 || kill(pid, SIGKILL) < 0 ? errno : 0);
	return child_wait(helper);
}
