/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl unseal: the root key from a terminal, without echo, or from a pipe; never from a file or an
 * argument. It goes through locked memory into a pipe of our own, and the keeper gets that pipe's
 * other end: the admin protocol itself carries no secret.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

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
		n = read(fd, b->data + b->len, line ? 1 : ROOM - b->len);
		if (n < 0 && errno == EINTR)
			continue;
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

/* Fits into any pipe, so the write cannot wait. */
static int pipe_of(const struct buffer *b, int *ret_fd)
{
	_cleanup_close_ int in = -1, out = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	out = fds[0];
	in = fds[1];
	if (write(in, b->data, b->len) != (ssize_t)b->len)
		return -EIO;
	*ret_fd = move_fd(out);
	return 0;
}

int ctl_unseal(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_UNSEAL };
	_cleanup_(buffer_free) struct buffer b = { .data = secmem_alloc(ROOM) };
	_cleanup_close_ int fd = -1;
	struct admin_reply end;
	int r;

	if (argc != 0)
		return ctl_usage(
			"unseal takes no argument: the key comes from a terminal or a pipe");
	if (!b.data)
		return ctl_fail("cannot lock memory for the key: %s", errno_text(errno));
	r = isatty(STDIN_FILENO) ? from_terminal(&b) : from_pipe(&b);
	if (r == 0)
		r = pipe_of(&b, &fd);
	if (r == -EPERM)
		return ctl_fail("the root key comes from a terminal or a pipe, not from a file");
	if (r < 0)
		return ctl_fail("cannot take the root key: %s", errno_text(r));
	r = ctl_ask_fd(ctl, &req, fd, &end);
	if (r == 0)
		puts("unsealed");
	return r;
}
