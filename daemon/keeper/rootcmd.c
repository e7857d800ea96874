/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootKey.source: command. The command's standard output is the root secret; it goes through a
 * pipe into locked memory and nowhere else. What it says on standard error, and how it ended, is
 * for the operator's log.
 *
 * The command runs before any capability is dropped (it may need a TPM) with an environment of our
 * own making, a session keyring and a process group of its own. rootKey.timeout is for all of it: to
 * answer and to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/keyring.h"

#define STDERR_MAX 1024

static _noreturn_ void rootcmd_child(char *const *argv, int out, int err)
{
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { path, NULL };
	sigset_t none;
	int null;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	keyring_new_session(); /* -ENOSYS without keyrings: then there is nothing to inherit */
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	close_range(3, ~0U, 0);
	execve(argv[0], argv, env);
	dprintf(2, "%s", errno_text(errno));
	_exit(127);
}

/* Printable text of at most STDERR_MAX bytes, line ends as spaces. */
static void stderr_take(int fd, char ret[static STDERR_MAX])
{
	ssize_t n = read(fd, ret, STDERR_MAX - 1);

	ret[n > 0 ? n : 0] = '\0';
	for (char *c = ret; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = ' ';
}

static int end_report(const char *cmd, int status, int r, const char *text)
{
	const char *sep = *text ? ": " : "";

	if (r == -ETIME)
		log_error("root key command %s: no answer within rootKey.timeout%s%s", cmd, sep,
			  text);
	else if (r == -EMSGSIZE)
		log_error("root key command %s: must print %d to %d bytes, and printed more", cmd,
			  SECRET_MIN, SECRET_MAX);
	else if (WIFSIGNALED(status))
		log_error("root key command %s: killed by signal %d%s%s", cmd, WTERMSIG(status),
			  sep, text);
	else if (WEXITSTATUS(status) != 0)
		log_error("root key command %s: exit status %d%s%s", cmd, WEXITSTATUS(status), sep,
			  text);
	else if (r == -EINVAL || r == -ENODATA)
		log_error("root key command %s: must print %d to %d bytes, and printed %s", cmd,
			  SECRET_MIN, SECRET_MAX, r == -ENODATA ? "none" : "fewer");
	else if (r < 0)
		log_error("root key command %s: %s", cmd, errno_text(r));
	else
		return 0;
	return r < 0 ? r : -EIO;
}

static int pipes_make(int out[static 2], int err[static 2])
{
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC | O_NONBLOCK) < 0) {
		int e = errno;

		close(out[0]);
		close(out[1]);
		return -e;
	}
	return 0;
}

/* Its standard output is at an end; is the process too? -ETIME. */
static int end_await(pid_t pid, uint64_t end_ns)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t now;
	int n;

	if (fd < 0)
		return -errno;
	do {
		now = now_ns();
		n = poll(&p, 1, now < end_ns ? (int)((end_ns - now) / 1000000) + 1 : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n < 0 ? -errno : -ETIME;
}

/* The command and what it started. It may not be the leader of its group yet. */
static void command_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

int root_command_run(char *const *argv, int64_t timeout_ns, struct secret *ret)
{
	_cleanup_secret_ struct secret secret = { 0 };
	_cleanup_close_ int out = -1, err = -1;
	uint64_t end_ns = now_ns() + (uint64_t)timeout_ns;
	int outs[2], errs[2], status = 0, ended, r;
	char text[STDERR_MAX];
	pid_t pid;

	r = pipes_make(outs, errs);
	if (r < 0)
		return r;
	out = outs[0];
	err = errs[0];
	pid = fork();
	if (pid == 0)
		rootcmd_child(argv, outs[1], errs[1]);
	r = pid < 0 ? -errno : 0;
	close(outs[1]);
	close(errs[1]);
	if (r < 0)
		return r;
	r = secret_read(out, (int)(timeout_ns / 1000000), &secret);
	ended = r == -ETIME || r == -EMSGSIZE ? r : end_await(pid, end_ns);
	if (ended < 0) {
		command_kill(pid);
		r = ended;
	}
	(void)io_retry(waitpid(pid, &status, 0));
	stderr_take(err, text);
	r = end_report(argv[0], status, r, text);
	if (r < 0)
		return r;
	*ret = secret;
	secret = (struct secret){ 0 };
	return 0;
}
