/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootKey.source: command or trusted. The command's standard output is the root key; it goes through a pipe into locked
 * memory, from there over a socketpair into the keeper's, and nowhere else. What the command says on standard
 * error, and how it ended, is for the operator.
 *
 * A running keeper has given up what the command may need: capabilities, files, a TPM. So the command is run by
 * the runner, a child that the keeper forks before it gives anything up. The runner tries the command until the
 * keeper has taken a root key, with pauses that grow to a minute, and at once when the keeper asks. Then it
 * ends: from that moment nobody is left who could have the command run, not even a keeper that was taken over.
 *
 *   runner → keeper   struct rootcmd_msg, after each try
 *   keeper → runner   one byte: what it should do next
 *
 * Either sees by the end of the socketpair that the other is gone. The runner kills the command then.
 *
 * With source: trusted there is no command: the runner reads the file that the TPM has sealed, and what it hands over
 * is no secret. The keeper has the kernel open it, which waits for the TPM: a keeper without a root key serves nobody
 * meanwhile.
 *
 * The command has an environment of our own making, a session keyring and a process group of its own.
 * rootKey.timeout is for all of it: to answer and to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/keyring.h"

#define STDERR_MAX   512
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 60000
#define RUNNER_NAME  "kekd-runner" /* as ps(1) shows it */
#define RUNNER_LINK  3             /* descriptor, in the runner */

#define AGAIN   'a' /* try at once, by the configuration as it is now */
#define REFUSED 'r' /* that was not the root key: try after the pause */

/* How a try has ended. In locked memory, as it may hold the root key. */
struct rootcmd_msg {
	int32_t r; /* 0: bytes are the root key; otherwise "COMMAND: reason", with a NUL */
	uint32_t len;
	uint8_t bytes[SECRET_MAX];
};

static void rootcmd_msg_free(struct rootcmd_msg *m)
{
	secmem_free(m, sizeof(*m));
}
DEFINE_CLEANUP(struct rootcmd_msg *, rootcmd_msg_free);

static _noreturn_ void command_child(char *const *argv, int out, int err)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGPIPE };
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char *env[] = { path, NULL };
	int null;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_DFL);
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

/* Printable ASCII of at most STDERR_MAX bytes on one line, fit for a log, JSON and a status of gRPC. */
static void stderr_take(int fd, char ret[static STDERR_MAX])
{
	ssize_t n = read(fd, ret, STDERR_MAX - 1);

	for (n = n > 0 ? n : 0; n > 0 && ret[n - 1] == '\n'; n--)
		;
	ret[n] = '\0';
	for (char *c = ret; *c; c++)
		*c = *c >= ' ' && *c <= '~' ? *c : *c == '\n' || *c == '\t' ? ' ' : '?';
}

static _printf_(3, 4) void rootcmd_words(struct rootcmd_msg *m, const char *cmd, const char *fmt,
					 ...)
{
	int n = snprintf((char *)m->bytes, sizeof(m->bytes) / 2, "%s: ", cmd);
	size_t at = n < (int)sizeof(m->bytes) / 2 ? (size_t)n : sizeof(m->bytes) / 2 - 1;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf((char *)m->bytes + at, sizeof(m->bytes) - at, fmt, ap);
	va_end(ap);
	m->len = (uint32_t)strlen((char *)m->bytes) + 1;
}

/* Words for a try that gave no root key: @r of reading it, @status of the process. */
static void words_for_end(struct rootcmd_msg *m, const char *cmd, int r, int status,
			  const char *text)
{
	const char *sep = *text ? ": " : "";

	if (r == -ETIME)
		rootcmd_words(m, cmd, "no answer within rootKey.timeout%s%s", sep, text);
	else if (r == -EMSGSIZE)
		rootcmd_words(m, cmd, "must print %d to %d bytes, and printed more", SECRET_MIN,
			      SECRET_MAX);
	else if (WIFSIGNALED(status))
		rootcmd_words(m, cmd, "killed by signal %d%s%s", WTERMSIG(status), sep, text);
	else if (WEXITSTATUS(status) != 0)
		rootcmd_words(m, cmd, "exit status %d%s%s", WEXITSTATUS(status), sep, text);
	else if (r == -EINVAL || r == -ENODATA)
		rootcmd_words(m, cmd, "must print %d to %d bytes, and printed %s%s%s", SECRET_MIN,
			      SECRET_MAX, r == -ENODATA ? "none" : "fewer", sep, text);
	else
		rootcmd_words(m, cmd, "%s", errno_text(r));
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

/* Its standard output is at an end; is the process too? -ETIME, -ECANCELED: the keeper is gone. */
static int end_await(pid_t pid, uint64_t end_ns)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = RUNNER_LINK } };
	uint64_t now;
	int n;

	if (fd < 0)
		return -errno;
	do {
		now = now_ns();
		n = poll(p, 2, now < end_ns ? (int)((end_ns - now) / 1000000) + 1 : 0);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -ETIME;
	return p[1].revents ? -ECANCELED : 0;
}

/* m->r and what belongs to it. -ECANCELED: the keeper is gone. */
static int command_run(const struct config *c, struct rootcmd_msg *m)
{
	_cleanup_secret_ struct secret secret = { 0 };
	_cleanup_close_ int out = -1, err = -1;
	uint64_t end_ns = now_ns() + (uint64_t)c->root_timeout;
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
		command_child(c->root_command.v, outs[1], errs[1]);
	r = pid < 0 ? -errno : 0;
	close(outs[1]);
	close(errs[1]);
	if (r < 0)
		return r;
	r = secret_read(out, RUNNER_LINK, (int)(c->root_timeout / 1000000), &secret);
	ended = r == -ETIME || r == -EMSGSIZE || r == -ECANCELED ? r : end_await(pid, end_ns);
	if (ended < 0) {
		/* The command and what it started. It may not be the leader of its group yet. */
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		r = ended;
	}
	if (r == -ECANCELED)
		return r;
	(void)io_retry(waitpid(pid, &status, 0));
	stderr_take(err, text);
	if (r == 0 && status == 0) {
		memcpy(m->bytes, secret.data, secret.len);
		m->len = (uint32_t)secret.len;
		return 0;
	}
	words_for_end(m, c->root_command.v[0], r, status, text);
	return r < 0 ? r : -EIO;
}

/* As command_run(). */
static int sealed_read(const struct config *c, struct rootcmd_msg *m)
{
	_cleanup_close_ int fd = open(c->root_blob, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : io_retry(read(fd, m->bytes, sizeof(m->bytes)));

	if (n < 0) {
		rootcmd_words(m, c->root_blob, "%s", strerror(errno));
		return -EIO;
	}
	m->len = (uint32_t)n;
	return 0;
}

/* One try, and the keeper hears of it. -ECANCELED: it is gone. */
static int try_once(const struct config *c)
{
	_cleanup_(rootcmd_msg_freep) struct rootcmd_msg *m = secmem_alloc(sizeof(*m));
	const char *cmd = config_root_from(c);
	struct rootcmd_msg poor = { .r = -ENOMEM };

	if (!m) {
		rootcmd_words(&poor, cmd, "no memory could be locked for the root key: %s",
			      errno_text(errno));
		return send(RUNNER_LINK, &poor, sizeof(poor), MSG_NOSIGNAL) < 0 ? -ECANCELED
										: -ENOMEM;
	}
	m->r = c->root_source == CONFIG_ROOT_TRUSTED ? sealed_read(c, m) : command_run(c, m);
	if (m->r < 0 && m->len == 0)
		rootcmd_words(m, cmd, "%s", errno_text(m->r));
	if (m->r == -ECANCELED || send(RUNNER_LINK, m, sizeof(*m), MSG_NOSIGNAL) < 0)
		return -ECANCELED;
	return m->r;
}

/* What the keeper says, 0 after @wait_ms (-1: never); -ECANCELED. */
static int keeper_says(int wait_ms)
{
	struct pollfd p = { .fd = RUNNER_LINK, .events = POLLIN };
	char what;
	int n = (int)io_retry(poll(&p, 1, wait_ms));

	if (n == 0)
		return 0;
	return io_retry(recv(RUNNER_LINK, &what, 1, 0)) == 1 ? what : -ECANCELED;
}

/* @conf consumed. A file that cannot be read now is the keeper's to speak of. */
static struct conf *conf_again(const struct keeper_options *opt, struct conf *conf)
{
	struct conf *next;

	if (conf_load(opt->config_path, &next) < 0)
		return conf;
	if (next->config->root_source == conf->config->root_source) {
		conf_free(conf);
		return next;
	}
	conf_free(next);
	return conf;
}

static void runner(const struct keeper_options *opt, struct conf *conf)
{
	int pause = PAUSE_MIN_MS, r;

	for (;;) {
		r = try_once(conf->config);
		if (r == 0)
			r = keeper_says(-1);
		if (r < 0 && r != -ECANCELED)
			r = REFUSED;
		if (r == REFUSED)
			r = keeper_says(pause);
		if (r == -ECANCELED)
			return;
		pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
		if (r != AGAIN)
			continue;
		conf = conf_again(opt, conf);
		pause = PAUSE_MIN_MS;
	}
}

/* Nothing of the keeper's but the link and the configuration; it speaks to the keeper alone. */
static _noreturn_ void runner_child(struct keeper *k, int link)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_NAME, RUNNER_NAME);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGHUP, SIG_IGN); /* a group of processes may be signalled as a whole */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
	    (link != RUNNER_LINK && dup3(link, RUNNER_LINK, O_CLOEXEC) < 0))
		_exit(EXIT_FAILURE);
	close_range(RUNNER_LINK + 1, ~0U, 0);
	k->conf->config_fd = k->conf->enc_fd = -1;
	runner(k->opt, k->conf);
	_exit(EXIT_SUCCESS);
}

int rootcmd_start(struct keeper *k)
{
	int link[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		runner_child(k, link[1]);
	close(link[1]);
	if (pid < 0) {
		close(link[0]);
		return -errno;
	}
	k->rootcmd_pid = pid;
	k->rootcmd_fd = link[0];
	return 0;
}

/*
 * A root key is taken when all servers can hear of it: one that starts would be waited for, and killed. Nor while a
 * change of the keyset waits for the disk.
 */
int rootcmd_poll_fd(const struct keeper *k)
{
	return k->rootcmd_pid > 0 && !k->changing && server_serving(k) == k->n_workers
		       ? k->rootcmd_fd
		       : -1;
}

static void say_to_runner(struct keeper *k, char what)
{
	if (k->rootcmd_pid > 0 && k->rootcmd_fd >= 0)
		(void)send(k->rootcmd_fd, &what, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool rootcmd_again(struct keeper *k)
{
	say_to_runner(k, AGAIN);
	return k->rootcmd_pid > 0;
}

void rootcmd_end(struct keeper *k)
{
	if (k->rootcmd_pid > 0)
		closep(&k->rootcmd_fd);
	k->rootcmd_fd = -1;
}

void rootcmd_hear(struct keeper *k)
{
	_cleanup_(rootcmd_msg_freep) struct rootcmd_msg *m = secmem_alloc(sizeof(*m));

	/* Without memory for it the message is lost, and said to be. */
	if (!m) {
		char lost;

		(void)recv(k->rootcmd_fd, &lost, 1, MSG_DONTWAIT);
		custody_sealed(k, "no memory can be locked for the root key: %s",
			       errno_text(ENOMEM));
		say_to_runner(k, REFUSED);
	} else if (recv(k->rootcmd_fd, m, sizeof(*m), MSG_DONTWAIT) != sizeof(*m) ||
		   m->len > sizeof(m->bytes)) {
		rootcmd_end(k); /* rootcmd_reaped() says the rest */
		return;
	} else if (m->r < 0) {
		m->bytes[sizeof(m->bytes) - 1] = '\0';
		custody_sealed(k, "%s", (const char *)m->bytes);
	} else if (custody_from_command(k, span_of(m->bytes, m->len)) < 0) {
		say_to_runner(k, REFUSED);
	} else {
		rootcmd_end(k);
	}
	k->rootcmd_tried = true;
	keeper_say_ready(k);
}

/* Who runs the command is gone, and nobody here may start another: a new keeper can. */
void rootcmd_reaped(struct keeper *k, pid_t pid, int status)
{
	if (pid != k->rootcmd_pid)
		return;
	k->rootcmd_pid = 0;
	if (k->stopping || k->sealed == 0)
		return;
	log_error("the process that runs the root key command %s %d; ending, to be started anew",
		  WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
		  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	k->ended = true;
	k->status = EXIT_FAILURE;
}
