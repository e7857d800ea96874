/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl unseal: the root key from a terminal, without echo, or from a pipe; never from a file or an
 * argument. It goes through locked memory, and from there to the keeper's. A new one is typed twice: nothing
 * could tell a typing error from it.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/ctl/ctl.h"

#define SECRET_MAX      1024
#define FINGERPRINT_HEX 16
#define ROOM            (SECRET_MAX + 2) /* a line's end, and one byte to see that it is too long */

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

static int from_terminal(const char *prompt, struct buffer *b)
{
	struct termios old, quiet;
	int r;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return -errno;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs(prompt, stderr);
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

static int typed_twice(struct buffer *b)
{
	_cleanup_(buffer_free) struct buffer again = { .data = secmem_alloc(ROOM) };
	int r;

	if (!again.data)
		return -errno;
	r = from_terminal("Root key (not shown): ", b);
	if (r == 0)
		r = from_terminal("The same again: ", &again);
	if (r < 0)
		return r;
	return b->len == again.len && ct_equal(b->data, again.data, b->len) ? 0 : -EBADMSG;
}

static int unseal_take(const struct ctl *ctl, struct buffer *b)
{
	int r;

	if (!isatty(STDIN_FILENO))
		r = from_pipe(b);
	else if (ctl->is_new)
		r = typed_twice(b);
	else
		r = from_terminal("Root key (not shown): ", b);
	if (r == -EPERM)
		return ctl_fail("the root key comes from a terminal or a pipe, not from a file");
	if (r == -EBADMSG)
		return ctl_fail("the two differ; nothing was sent");
	if (r == -EMSGSIZE)
		return ctl_fail("a root key has 32 to %d bytes", SECRET_MAX);
	return r < 0 ? ctl_fail("cannot take the root key: %s", strerror(-r)) : 0;
}

int ctl_unseal(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_UNSEAL };
	_cleanup_(buffer_free) struct buffer b = { .data = secmem_alloc(ROOM) };
	const char *hex = ctl->fingerprint; /* the daemon's, or as its administrator has typed it */
	struct admin_reply end;
	size_t len = 0;
	int r;

	if (argc != 0)
		return ctl_usage(
			"unseal takes no argument: the key comes from a terminal or a pipe");
	if (!!ctl->fingerprint + ctl->is_new + ctl->retry > 1)
		return ctl_usage("unseal takes one of --fingerprint, --new and --retry");
	if (!b.data)
		return ctl_fail("cannot lock memory for the key: %s", errno_text(errno));
	if (hex &&
	    (sodium_hex2bin(req.id, sizeof(req.id), hex, strlen(hex), NULL, &len, NULL) != 0 ||
	     strlen(hex) != FINGERPRINT_HEX))
		return ctl_usage(
			"--fingerprint takes %d hexadecimal digits, as `kekctl status` shows them",
			FINGERPRINT_HEX);
	req.flags = (ctl->is_new ? ADMIN_NEW : 0) | (ctl->retry ? ADMIN_RETRY : 0);
	r = ctl->retry ? 0 : unseal_take(ctl, &b);
	if (r == 0)
		r = ctl_ask_with(
			ctl, &(struct ctl_exchange){ .req = &req, .blob = span_of(b.data, b.len) },
			&end);
	if (r == 0)
		puts(ctl->retry ? "the command runs; `kekctl status` says how it ends"
				: "unsealed");
	return r;
}
