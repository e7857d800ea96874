/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of the connections that tests/vm/forward_test makes through scripts/vm --forward.
 *
 *   forward_peer stay SOCKET HOW    in the guest: a server; says "listening"
 *   forward_peer serve SOCKET HOW   the same, left in the background; prints its process number
 *   forward_peer HOW SOCKET [ARG]   on the host: one client
 *
 * Every wait ends with what it waits for; nothing here looks at a clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 16384 };

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "forward_peer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void tell(const char *line)
{
	puts(line);
	fflush(stdout);
}

static int unix_socket(const char *path, struct sockaddr_un *ret_addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("socket");
	*ret_addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "%s", path);
	return fd;
}

/* Returns whether the peer took all of it. */
static bool write_all(int fd, const uint8_t *bytes, size_t n)
{
	while (n > 0) {
		ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);

		if (done < 0)
			return false;
		bytes += done;
		n -= (size_t)done;
	}
	return true;
}

/* The bytes of a stream: xorshift32, so that a block lost, doubled or moved is seen. */
static void make_block(uint32_t *state, uint8_t block[static BLOCK])
{
	for (size_t i = 0; i < BLOCK; i++) {
		*state ^= *state << 13;
		*state ^= *state >> 17;
		*state ^= *state << 5;
		block[i] = (uint8_t)*state;
	}
}

/* --- servers, one process per connection ----------------------------------------------------- */

static void serve_echo(int fd)
{
	uint8_t block[BLOCK];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		if (!write_all(fd, block, (size_t)n))
			return;
}

/* Answers only after the client's end has come. */
static void serve_count(int fd)
{
	uint8_t block[BLOCK];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		total += (size_t)n;
	dprintf(fd, "%zu bytes\n", total);
}

/* Tells what it sees of a client that goes away. */
static void serve_watch(int fd)
{
	uint8_t block[BLOCK] = { 0 };

	while (read(fd, block, sizeof(block)) > 0)
		;
	tell("end");
	while (write_all(fd, block, sizeof(block)))
		;
	tell("gone");
}

/* Sends for ever; tells when the client takes no more. */
static void serve_flood(int fd)
{
	uint8_t block[BLOCK] = { 0 };

	while (write_all(fd, block, sizeof(block)))
		;
	tell("gone");
}

static void serve_bye(int fd)
{
	dprintf(fd, "bye\n");
}

static void serve_deaf(int fd)
{
	(void)fd;
	for (;;)
		pause();
}

/* A shell at the connection: what the client sends is run, what it prints is the answer. */
static void serve_shell(int fd)
{
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	execl("/bin/sh", "sh", NULL);
	fail("sh");
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr;
	int listener = unix_socket(path, &addr);

	unlink(path);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(listener, 4) < 0)
		fail(path);
	return listener;
}

static _Noreturn void serve(int listener, void (*serve_one)(int fd))
{
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			fail("accept");
		if (fork() == 0) {
			signal(SIGCHLD, SIG_DFL);
			serve_one(fd);
			exit(0);
		}
		close(fd);
	}
}

/* Leaves the server behind, with what it tells going to SOCKET.log, and prints its number. */
static void serve_behind(const char *path, void (*serve_one)(int fd))
{
	int listener = listen_at(path);
	char log[128];
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid > 0) {
		printf("%d\n", pid);
		return;
	}
	setsid();
	snprintf(log, sizeof(log), "%s.log", path);
	if (!freopen("/dev/null", "r", stdin) || !freopen(log, "a", stdout))
		fail(log);
	serve(listener, serve_one);
}

/* --- clients --------------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un addr;
	int fd = unix_socket(path, &addr);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail(path);
	return fd;
}

static void send_blocks(int fd, uint32_t seed, uint32_t blocks)
{
	uint8_t block[BLOCK];

	for (uint32_t i = 0; i < blocks; i++) {
		make_block(&seed, block);
		if (!write_all(fd, block, sizeof(block)))
			fail("send");
	}
	shutdown(fd, SHUT_WR);
}

static void expect_blocks(int fd, uint32_t seed, uint32_t blocks)
{
	uint8_t wanted[BLOCK], got[BLOCK];

	for (uint32_t i = 0; i < blocks; i++) {
		make_block(&seed, wanted);
		errno = 0;
		if (recv(fd, got, sizeof(got), MSG_WAITALL) != sizeof(got))
			fail("stream ends early");
		if (memcmp(wanted, got, sizeof(got)) != 0)
			fail("stream differs");
	}
	if (recv(fd, got, sizeof(got), 0) != 0)
		fail("stream goes on");
}

/* Sends and receives at the same time; ARG: KiB. */
static void client_echo(int fd, const char *arg)
{
	uint32_t blocks = (uint32_t)(strtoul(arg, NULL, 10) * 1024 / BLOCK);
	uint32_t seed = (uint32_t)getpid();
	int status = 0;
	pid_t writer = fork();

	if (writer == 0) {
		send_blocks(fd, seed, blocks);
		_exit(0);
	}
	expect_blocks(fd, seed, blocks);
	waitpid(writer, &status, 0);
	exit(status != 0);
}

/* Until the server's end of the stream. */
static void copy_answer(int fd)
{
	uint8_t block[BLOCK];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) > 0)
		fwrite(block, 1, (size_t)n, stdout);
	if (n < 0)
		fail("read");
}

/* Sends ARG KiB, ends its half, prints the answer. */
static void client_half(int fd, const char *arg)
{
	send_blocks(fd, 1, (uint32_t)(strtoul(arg, NULL, 10) * 1024 / BLOCK));
	copy_answer(fd);
}

/* Sends its standard input, prints the answer. */
static void client_send(int fd, const char *arg)
{
	uint8_t block[BLOCK];
	ssize_t n;

	(void)arg;
	while ((n = read(STDIN_FILENO, block, sizeof(block))) > 0)
		if (!write_all(fd, block, (size_t)n))
			fail("send");
	shutdown(fd, SHUT_WR);
	copy_answer(fd);
}

/* Sends nothing, prints the answer. */
static void client_read(int fd, const char *arg)
{
	(void)arg;
	copy_answer(fd);
}

/* Sends ARG KiB and closes, without a word of half-closing. */
static void client_close(int fd, const char *arg)
{
	uint8_t block[BLOCK] = { 0 };

	for (unsigned long i = strtoul(arg, NULL, 10) * 1024 / BLOCK; i > 0; i--)
		if (!write_all(fd, block, sizeof(block)))
			fail("send");
	close(fd);
}

/* Reads one byte, tells, and closes. */
static void client_taste(int fd, const char *arg)
{
	uint8_t byte;

	(void)arg;
	if (read(fd, &byte, 1) != 1)
		fail("read");
	close(fd);
}

/* Sends without reading, until the server's end is lost. */
static void client_fill(int fd, const char *arg)
{
	uint8_t block[BLOCK] = { 0 };

	(void)arg;
	while (write_all(fd, block, sizeof(block)))
		;
	tell("ended");
}

static const struct {
	const char *name;
	void (*serve)(int fd);
	void (*client)(int fd, const char *arg);
} ways[] = {
	{ "echo", serve_echo, client_echo }, { "count", serve_count, NULL },
	{ "watch", serve_watch, NULL },      { "flood", serve_flood, NULL },
	{ "bye", serve_bye, NULL },          { "deaf", serve_deaf, NULL },
	{ "shell", serve_shell, NULL },      { "half", NULL, client_half },
	{ "send", NULL, client_send },       { "read", NULL, client_read },
	{ "close", NULL, client_close },     { "taste", NULL, client_taste },
	{ "fill", NULL, client_fill },
};

static int usage(void)
{
	fprintf(stderr, "usage: forward_peer stay|serve SOCKET HOW | HOW SOCKET [ARG]\n");
	return 2;
}

static void run(const char *what, const char *socket_path, const char *arg, size_t way)
{
	if (strcmp(what, "serve") == 0) {
		serve_behind(socket_path, ways[way].serve);
	} else if (strcmp(what, "stay") == 0) {
		int listener = listen_at(socket_path);

		tell("listening");
		serve(listener, ways[way].serve);
	} else {
		ways[way].client(connect_to(socket_path), arg);
	}
}

int main(int argc, char **argv)
{
	bool server = argc == 4 && (strcmp(argv[1], "stay") == 0 || strcmp(argv[1], "serve") == 0);
	const char *arg = argc > 3 ? argv[3] : "0";

	if (argc < 3)
		return usage();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(ways[i].name, server ? arg : argv[1]) != 0)
			continue;
		if (!(server ? ways[i].serve != NULL : ways[i].client != NULL))
			return usage();
		run(argv[1], argv[2], arg, i);
		return 0;
	}
	return usage();
}
