/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap LISTEN TARGET UP DOWN: stands between clients and a Unix socket. Connects each client of the
 * socket LISTEN to the socket TARGET, one after the other, and writes every byte that went from the
 * client to UP and every byte that came back to DOWN, which are files or fifos. Says "ready" when
 * it listens. SIGTERM kills it: nothing is buffered.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/base/cleanup.h"

#define PIECE (64 * 1024)

static int unix_socket(const char *path, bool listening)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	strcpy(addr.sun_path, path);
	if (listening ? bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 8) < 0
		      : connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -1;
	return move_fd(fd);
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* False at the end of the stream. */
static bool pass(int from, int to, int copy)
{
	static uint8_t piece[PIECE];
	ssize_t n = read(from, piece, sizeof(piece));

	return n > 0 && write_all(copy, piece, (size_t)n) && write_all(to, piece, (size_t)n);
}

static void relay(int client, int server, int up, int down)
{
	struct pollfd p[2] = { { .fd = client, .events = POLLIN },
			       { .fd = server, .events = POLLIN } };

	while (poll(p, 2, -1) > 0) {
		if (p[0].revents && !pass(client, server, up))
			return;
		if (p[1].revents && !pass(server, client, down))
			return;
	}
}

static void serve(int listening, const char *target, int up, int down)
{
	for (;;) {
		_cleanup_close_ int client = -1, server = -1;

		client = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			return;
		server = unix_socket(target, false);
		if (server < 0)
			perror(target);
		else
			relay(client, server, up, down);
	}
}

int main(int argc, char **argv)
{
	_cleanup_close_ int listening = -1, up = -1, down = -1;

	if (argc != 5) {
		fputs("usage: tap LISTEN TARGET UP DOWN\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	up = open(argv[3], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	down = open(argv[4], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	listening = unix_socket(argv[1], true);
	if (up < 0 || down < 0 || listening < 0) {
		perror("tap");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	serve(listening, argv[2], up, down);
	return 0;
}
