/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between fork and exec, in this order:
 *   signals                   the keeper blocks what it reads by signalfd; the server ignores what a
 *                             terminal or a service manager sends to both: the keeper alone says
 *                             when to stop, so that calls in flight are finished
 *   its descriptors from 3 on  and everything above them closed
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
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/crypto/holder.h"
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

int spawn_beside_open(const char *name, int *ret_exe_fd)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;
	int fd;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + strlen(name) >= sizeof(path))
		return -ENAMETOOLONG;
	strcpy(slash + 1, name);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_exe_fd = fd;
	return 0;
}

/* What of the environment a server may see. NOTIFY_SOCKET is not in it: only the keeper notifies. */
static const char *const env_kept[] = { "JOURNAL_STREAM=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=" };

/*
 * And this, for glibc 2.35 and later: no restartable sequences. Nobody here asks on which CPU he runs, and the kernel would
 * write it down for him whenever it has switched to him, which is at each message of a holder.
 */
static char env_no_rseq[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";

#define ENV_MAX (ARRAY_SIZE(env_kept) + 2)

static void spawn_env_filter(char *env[static ENV_MAX])
{
	size_t n = 0;

	env[n++] = env_no_rseq;
	for (char **e = environ; *e; e++)
		for (size_t i = 0; i < ARRAY_SIZE(env_kept); i++)
			if (strncmp(*e, env_kept[i], strlen(env_kept[i])) == 0 && n < ENV_MAX - 1)
				env[n++] = *e;
	env[n] = NULL;
}

#define FDS_MAX HOLDER_FDS

/* What is started, and as whom. */
struct program {
	const char *argv0;
	int fds[FDS_MAX]; /* become 3, 4, … */
	int n_fds, exe_fd;
	uid_t uid;
	gid_t gid;
};

/* Moves the descriptors to 3 and on, the program's file behind them, and closes all others. */
static int descriptors(const struct program *p, int *ret_exe_fd)
{
	int high[FDS_MAX + 1], last = SPAWN_LINK_FD + p->n_fds;

	for (int i = 0; i <= p->n_fds; i++) {
		high[i] = fcntl(i < p->n_fds ? p->fds[i] : p->exe_fd, F_DUPFD, 10);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < p->n_fds; i++)
		if (dup2(high[i], SPAWN_LINK_FD + i) < 0)
			return -errno;
	if (dup3(high[p->n_fds], last, O_CLOEXEC) < 0)
		return -errno;
	*ret_exe_fd = last;
	return close_range((unsigned int)last + 1, ~0U, 0) < 0 ? -errno : 0;
}

static int child_prepare(const struct program *p, pid_t parent, int *ret_exe_fd)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t none;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN); /* stays over exec */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	r = descriptors(p, ret_exe_fd);
	if (r == 0)
		r = sandbox_drop_all(p->uid, p->gid);
	if (r == 0) {
		r = keyring_new_session();
		if (r == -ENOSYS || r == -EPERM)
			r = 0; /* no keyrings at all here (seccomp of a container): nothing to hide */
	}
	if (r == 0)
		r = sandbox_die_with(parent);
	return r;
}

static _noreturn_ void spawn_child(const struct program *p, pid_t parent)
{
	char debug[] = SPAWN_DEBUG;
	char *argv[] = { (char *)(uintptr_t)p->argv0, log_debugging ? debug : NULL, NULL };
	char *env[ENV_MAX];
	int exe_fd = -1, r;

	r = child_prepare(p, parent, &exe_fd);
	if (r == 0) {
		spawn_env_filter(env);
		syscall(SYS_execveat, exe_fd, "", argv, env, AT_EMPTY_PATH);
		r = -errno;
	}
	log_error("cannot start %s: %s", p->argv0, errno_text(r));
	_exit(EXIT_FAILURE);
}

static int spawn(const struct program *p, pid_t *ret_pid)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		spawn_child(p, parent);
	*ret_pid = pid;
	return 0;
}

int spawn_server(int exe_fd, uid_t uid, gid_t gid, pid_t *ret_pid, int *ret_link_fd)
{
	struct program p = {
		.argv0 = SPAWN_ARGV0, .n_fds = 1, .exe_fd = exe_fd, .uid = uid, .gid = gid
	};
	_cleanup_close_ int ours = -1, theirs = -1;
	int fds[2];
	int r;

	r = link_pair(fds);
	if (r < 0)
		return r;
	ours = fds[0];
	theirs = p.fds[0] = fds[1];
	r = spawn(&p, ret_pid);
	if (r < 0)
		return r;
	*ret_link_fd = move_fd(ours);
	return 0;
}

int spawn_observer(int exe_fd, uid_t uid, gid_t gid, const int fds[static 3], pid_t *ret_pid)
{
	const struct program p = { .argv0 = SPAWN_OBSERVER,
				   .fds = { fds[0], fds[1], fds[2] },
				   .n_fds = 3,
				   .exe_fd = exe_fd,
				   .uid = uid,
				   .gid = gid };

	return spawn(&p, ret_pid);
}

int spawn_cluster(int exe_fd, uid_t uid, gid_t gid, int control, pid_t *ret_pid)
{
	const struct program p = { .argv0 = SPAWN_CLUSTER,
				   .fds = { control },
				   .n_fds = 1,
				   .exe_fd = exe_fd,
				   .uid = uid,
				   .gid = gid };

	return spawn(&p, ret_pid);
}

int spawn_holder(int exe_fd, uid_t uid, gid_t gid, const int fds[static HOLDER_FDS], pid_t *ret_pid)
{
	struct program p = {
		.argv0 = HOLDER_NAME, .n_fds = HOLDER_FDS, .exe_fd = exe_fd, .uid = uid, .gid = gid
	};

	_Static_assert(HOLDER_BELL == SPAWN_LINK_FD, "it is told where its descriptors are");
	memcpy(p.fds, fds, sizeof(p.fds));
	return spawn(&p, ret_pid);
}

int spawn_kill(pid_t pid, uid_t uid)
{
	pid_t helper;
	int status;

	if (kill(pid, SIGKILL) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	helper = fork();
	if (helper < 0)
		return -errno;
	if (helper == 0)
		_exit(setresuid(uid, uid, uid) < 0 || kill(pid, SIGKILL) < 0 ? errno : 0);
	if (io_retry(waitpid(helper, &status, 0)) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}
