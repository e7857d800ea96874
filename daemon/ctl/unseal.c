/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl unseal: the root key from a terminal, without echo, or from a pipe; never from a file or an
 * argument. It goes through locked memory, and from there to the keeper's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ctl.h"

#define SECRET_MAX 1024
#define ROOM       (SECRET_MAX + 2) /* a line's end, and one byte to see that it is too long */

struct buffer {
	uint8_t *data;
	size_t len;
};

static void buffer_free(struct buffer *b)
{
	secmem_free(b->data, ROOM);
}

static int read_until(int fd, bool line, struct buffer *b)
{
	ssize_t n;

	while (b->len < ROOM) {
		n = io_retry(read(fd, b->data + b->len, line ? 1 : ROOM - b->len));
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		b->len += (size_t)n;
		if (line && b->data[b->len - 1] == '\n') {
			b->len--;
			break;
		}
	}
	return b->len > SECRET_MAX ? -EMSGSIZE : 0;
}

static int from_terminal(struct buffer *b)
{
	struct termios old, quiet;
	int r;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return -errno;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs("Root key (not shown): ", stderr);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
		return -errno;
	r = read_until(STDIN_FILENO, true, b);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return r;
}

static int from_pipe(struct buffer *b)
{
	struct stat st;

	if (fstat(STDIN_FILENO, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return -EPERM;
	return read_until(STDIN_FILENO, false, b);
}

int ctl_unseal(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_UNSEAL };
	_cleanup_(buffer_free) struct buffer b = { .data = secmem_alloc(ROOM) };
	struct admin_reply end;
	int r;

	if (argc != 0)
		return ctl_usage(
			"unseal takes no argument: the key comes from a terminal or a pipe");
	if (!b.data)
		return ctl_fail("cannot lock memory for the key: %s", errno_text(errno));
	r = isatty(STDIN_FILENO) ? from_terminal(&b) : from_pipe(&b);
	if (r == -EPERM)
		return ctl_fail("the root key comes from a terminal or a pipe, not from a file");
	if (r == -EMSGSIZE)
		return ctl_fail("a root key has 32 to %d bytes", SECRET_MAX);
	if (r < 0)
		return ctl_fail("cannot take the root key: %s", strerror(-r));
	r = ctl_ask_with(ctl, &(struct ctl_exchange){ .req = &req, .blob = span_of(b.data, b.len) },
			 &end);
	if (r == 0)
		puts("unsealed");
	return r;
}
