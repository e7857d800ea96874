/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See terminal.h. The screen is emptied by ED 0 (from here to its end): some terminals move what ED 2 removes into the
 * scrollback. A console without an alternate screen ignores those two sequences, and is emptied all the same.
 */
#include "daemon/ctl/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "daemon/base/io.h"

#define SCREEN_ALTERNATE "\033[?1049h"
#define SCREEN_NORMAL    "\033[?1049l"
#define SCREEN_EMPTY     "\033[H\033[J"
#define CTRL_C           3

struct terminal {
	int fd, signal_fd;
	sigset_t before;
	struct termios was;
};

static void write_text(int fd, const char *text)
{
	(void)io_write_all(fd, text, strlen(text));
}

static int signals_take(struct terminal *t)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		sigaddset(&set, all[i]);
	if (sigprocmask(SIG_BLOCK, &set, &t->before) < 0)
		return -errno;
	sigdelset(&set, SIGTSTP); /* waits until the terminal is put back */
	t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return t->signal_fd < 0 ? -errno : 0;
}

int terminal_open(struct terminal **ret)
{
	struct terminal *t = calloc(1, sizeof(*t));
	struct termios raw;
	int r;

	if (!t)
		return -ENOMEM;
	t->signal_fd = -1;
	t->fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (t->fd < 0 || tcgetattr(t->fd, &t->was) < 0) {
		closep(&t->fd);
		free(t);
		return -ENXIO;
	}
	r = signals_take(t);
	/* Keys as they come: no echo, no line, no signal. */
	raw = t->was;
	raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (r == 0 && tcsetattr(t->fd, TCSAFLUSH, &raw) < 0)
		r = -errno;
	if (r < 0) {
		terminal_close(t);
		return r;
	}
	write_text(t->fd, SCREEN_ALTERNATE);
	terminal_clear(t);
	*ret = t;
	return 0;
}

void terminal_close(struct terminal *t)
{
	if (!t)
		return;
	terminal_clear(t);
	write_text(t->fd, SCREEN_NORMAL);
	/* What was typed and not read is thrown away: the shell must not get it. */
	tcsetattr(t->fd, TCSAFLUSH, &t->was);
	closep(&t->signal_fd);
	sigprocmask(SIG_SETMASK, &t->before, NULL);
	close(t->fd);
	free(t);
}

void terminal_clear(struct terminal *t)
{
	write_text(t->fd, SCREEN_EMPTY);
}

void terminal_say(struct terminal *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(t->fd, fmt, ap);
	va_end(ap);
}

void terminal_put(struct terminal *t, struct span text)
{
	(void)io_write_all(t->fd, text.data, text.len);
}

int terminal_key(struct terminal *t, uint8_t *ret)
{
	struct pollfd p[] = { { .fd = t->fd, .events = POLLIN },
			      { .fd = t->signal_fd, .events = POLLIN } };
	ssize_t n;

	if (io_retry(poll(p, ARRAY_SIZE(p), -1)) < 0)
		return -errno;
	if (p[1].revents)
		return -EINTR;
	n = io_retry(read(t->fd, ret, 1));
	if (n <= 0)
		return -ENODATA;
	return *ret == CTRL_C ? -EINTR : 0;
}
