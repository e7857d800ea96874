/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One write(2) a line, so that lines of two processes on one stderr do not mix. A line is shorter than PIPE_BUF,
 * so a pipe takes all of it or nothing.
 *
 * After log_never_wait() a line that nobody has room for is dropped and counted, and how many were lost stands
 * before the next one that gets through. A socket is asked by MSG_DONTWAIT. A pipe or a terminal is opened
 * anew, so that only this daemon's own descriptor does not block: O_NONBLOCK on the one that was inherited would
 * hold for everybody who shares it. Where that is refused (it belongs to another user) poll(2) is asked first,
 * which fails to see only what another process writes in between. A regular file waits for its disk.
 */
#include "daemon/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SELDOM_NS (UINT64_C(10) * 1000 * 1000 * 1000)

static const char *log_who = "kekd";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;
static int log_pid;
static bool log_drops, log_on_socket;
static uint64_t log_dropped, log_unsaid; /* unsaid: dropped, and no line says so yet */

bool log_debugging;

void log_init(const char *who, enum log_level max)
{
	log_who = who;
	log_max = max;
	log_debugging = max >= LOG_LEVEL_DEBUG;
	log_pid = getpid();
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_never_wait(bool reopen)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	log_drops = true;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	log_on_socket = S_ISSOCK(st.st_mode);
	if (!reopen || (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
}

/* False: the line is lost. */
static bool log_put(const char *line, size_t len)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	if (!log_drops)
		return write(STDERR_FILENO, line, len) >= 0;
	if (log_on_socket)
		n = send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (poll(&p, 1, 0) < 0 || p.revents & (POLLOUT | POLLERR | POLLNVAL))
		n = write(STDERR_FILENO, line, len);
	else
		n = -1;
	return n >= 0;
}

/* "kekd: warning: ", or what the journal has instead. */
static size_t log_head(enum log_level level, char *to, size_t room)
{
	int n;

	if (log_journal)
		n = snprintf(to, room, "<%d>", (int)level);
	else if (level == LOG_LEVEL_DEBUG)
		n = snprintf(to, room, "%s[%d]: debug: ", log_who, log_pid);
	else
		n = snprintf(to, room, "%s: %s", log_who,
			     level <= LOG_LEVEL_ERROR     ? "error: "
			     : level == LOG_LEVEL_WARNING ? "warning: "
							  : "");
	return (size_t)n;
}

void log_say_dropped(void)
{
	char line[160];
	size_t len;

	if (log_unsaid == 0)
		return;
	len = log_head(LOG_LEVEL_WARNING, line, sizeof(line));
	len += (size_t)snprintf(line + len, sizeof(line) - len,
				"%llu lines of this log were lost because its reader did not "
				"keep up\n",
				(unsigned long long)log_unsaid);
	if (log_put(line, len))
		log_unsaid = 0;
}

uint64_t log_lines_dropped(void)
{
	return log_dropped;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	size_t len;
	va_list ap;
	int n;

	if (level > log_max)
		return;
	log_say_dropped();
	len = log_head(level, line, sizeof(line));
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	line[len++] = '\n';
	if (log_put(line, len))
		return;
	log_dropped++;
	log_unsaid++;
}

bool seldom_due(struct seldom *s, uint64_t now)
{
	s->unlogged++;
	if (s->logged_at != 0 && now - s->logged_at < SELDOM_NS)
		return false;
	s->logged_at = now;
	return true;
}

unsigned long long seldom_take(struct seldom *s)
{
	unsigned long long n = s->unlogged;

	s->unlogged = 0;
	return n;
}

const char *errno_text(int e)
{
	static _Thread_local char text[96];
	const char *name;

	if (e < 0)
		e = -e;
	name = strerrorname_np(e);
	snprintf(text, sizeof(text), "%s (%s)", name ? name : "errno", strerrordesc_np(e) ?: "?");
	return text;
}
