/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes over what gives and takes in pieces, and with signals in between. */
#include "daemon/base/io.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

#define MUCH ((size_t)256 * 1024) /* more than a pipe holds */

static uint8_t out[MUCH], in[MUCH + 1];

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal each millisecond, whose handler does not restart what it interrupts. */
static void interrupt_often(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval each = { { 0, 1000 }, { 0, 1000 } };

	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &each, NULL));
}

static void fill(void)
{
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
}

/* The writer waits for the reader, who is slow, so that both are interrupted in their calls. */
TEST(through_a_pipe_with_signals)
{
	size_t len = 0;
	int fd[2];
	pid_t pid;

	fill();
	ASSERT_EQ(0, pipe(fd));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		close(fd[0]);
		interrupt_often();
		_exit(io_write_all(fd[1], out, sizeof(out)) == 0 ? 0 : 1);
	}
	close(fd[1]);
	interrupt_often();
	EXPECT_OK(io_read_all(fd[0], in, sizeof(in), &len));
	EXPECT_EQ(sizeof(out), len);
	EXPECT_EQ(0, memcmp(in, out, sizeof(out)));
	close(fd[0]);
	EXPECT_EQ(pid, io_retry(waitpid(pid, NULL, 0)));
}

TEST(read_all_stops_at_its_size)
{
	int fd = memfd_create("io", MFD_CLOEXEC);
	size_t len = 0;

	ASSERT_OK(io_write_all(fd, "abcdef", 6));
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_OK(io_read_all(fd, in, 4, &len));
	EXPECT_EQ(4, len);
	EXPECT_OK(io_read_all(fd, in, 4, &len));
	EXPECT_EQ(2, len);
	EXPECT_OK(io_read_all(fd, in, 4, &len));
	EXPECT_EQ(0, len);
	close(fd);
}

TEST(exactly_or_not)
{
	int fd = memfd_create("io", MFD_CLOEXEC);

	ASSERT_OK(io_write_all(fd, "abcdef", 6));
	EXPECT_OK(io_pread_exactly(fd, in, 3, 3));
	EXPECT_EQ(0, memcmp(in, "def", 3));
	EXPECT_ERR(-ENODATA, io_pread_exactly(fd, in, 4, 3));
	ASSERT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_OK(io_read_exactly(fd, in, 6));
	EXPECT_ERR(-ENODATA, io_read_exactly(fd, in, 1));
	EXPECT_ERR(-EBADF, io_read_exactly(-1, in, 1));
	EXPECT_ERR(-EBADF, io_write_all(-1, in, 1));
	close(fd);
}

/* SIGPIPE would end this process. */
TEST(send_to_nobody)
{
	int fd[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	EXPECT_OK(io_send_all(fd[0], out, 100));
	close(fd[1]);
	EXPECT_ERR(-EPIPE, io_send_all(fd[0], out, 100));
	close(fd[0]);
}

TEST_HARNESS_MAIN
