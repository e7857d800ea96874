/* SPDX-License-Identifier: Apache-2.0 */
/* A log that nobody reads: lines are lost, counted, and said to be; nothing waits. */
#include "daemon/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

#define LINES 2000 /* more than a pipe or a socket holds */

FIXTURE(log)
{
	int end[2]; /* what reads, what stderr is */
	int saved;
};

FIXTURE_VARIANT(log)
{
	bool socket, reopen;
};

FIXTURE_VARIANT_ADD(log, pipe){
	.socket = false,
};

FIXTURE_VARIANT_ADD(log, pipe_of_its_own){
	.reopen = true,
};

FIXTURE_VARIANT_ADD(log, socket){
	.socket = true,
};

FIXTURE_SETUP(log)
{
	if (variant->socket)
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->end));
	else
		ASSERT_EQ(0, pipe2(self->end, O_CLOEXEC));
	self->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	ASSERT_GE(self->saved, 0);
	log_init("test", LOG_LEVEL_INFO);
	ASSERT_EQ(STDERR_FILENO, dup2(self->end[1], STDERR_FILENO));
	log_never_wait(variant->reopen);
	for (int i = 0; i < LINES; i++)
		log_warning("line %d, and some more text, so that it is of the usual length", i);
}

FIXTURE_TEARDOWN(log)
{
	dup2(self->saved, STDERR_FILENO);
	close(self->saved);
	close(self->end[0]);
	close(self->end[1]);
}

/* All lines that are there. */
static size_t read_lines(int fd, char last[static 4096])
{
	static char text[1 << 20];
	size_t len = 0, n = 0;
	ssize_t got;
	char *line, *rest;

	EXPECT_EQ(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	while ((got = read(fd, text + len, sizeof(text) - len - 1)) > 0)
		len += (size_t)got;
	EXPECT_ERR(-EAGAIN, -errno);
	text[len] = '\0';
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		snprintf(last, 4096, "%s", line);
		n++;
	}
	return n;
}

TEST_F(log, lost_and_said)
{
	uint64_t dropped = log_lines_dropped();
	char last[4096] = "", want[128];

	EXPECT_GT(dropped, 0);
	/* Those that got through are whole. */
	EXPECT_EQ(LINES, read_lines(self->end[0], last) + dropped);
	snprintf(
		want, sizeof(want),
		"test: warning: %llu lines of this log were lost because its reader did not keep up",
		(unsigned long long)dropped);
	log_say_dropped();
	EXPECT_EQ(1, read_lines(self->end[0], last));
	EXPECT_STREQ(want, last);
	log_notice("on");
	EXPECT_EQ(1, read_lines(self->end[0], last));
	EXPECT_STREQ("test: on", last);
	EXPECT_EQ(dropped, log_lines_dropped());
}

/* Whoever shares the pipe is not made to fail by it. */
TEST_F(log, of_others_is_as_it_was)
{
	EXPECT_EQ(0, fcntl(self->end[1], F_GETFL) & O_NONBLOCK);
}

TEST_HARNESS_MAIN
