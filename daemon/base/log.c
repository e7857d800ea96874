/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One write(2) a line, so that lines of two processes on one stderr do not mix.
 */
#include "daemon/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *log_who = "kekd";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_journal;
static int log_pid;

bool log_debugging;

void log_init(const char *who, enum log_level max)
{
	log_who = who;
	log_max = max;
	log_debugging = max >= LOG_LEVEL_DEBUG;
	log_pid = getpid();
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	size_t len;
	va_list ap;
	int n;

	if (level > log_max)
		return;
	if (log_journal)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	else if (level == LOG_LEVEL_DEBUG)
		n = snprintf(line, sizeof(line), "%s[%d]: debug: ", log_who, log_pid);
	else
		n = snprintf(line, sizeof(line), "%s: %s", log_who,
			     level <= LOG_LEVEL_ERROR     ? "error: "
			     : level == LOG_LEVEL_WARNING ? "warning: "
							  : "");
	len = (size_t)n;
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n > 0)
		len += (size_t)n < sizeof(line) - len - 1 ? (size_t)n : sizeof(line) - len - 2;
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody is left to tell */
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
