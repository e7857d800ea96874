/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors beside a message: all that were asked for come, and of others none stays open. */
#include "daemon/sys/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

FIXTURE(fdpass)
{
	int end[2];
	int fds[FDPASS_MAX];
};

FIXTURE_SETUP(fdpass)
{
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->end));
	for (size_t i = 0; i < FDPASS_MAX; i++)
		self->fds[i] = self->end[0];
}

FIXTURE_TEARDOWN(fdpass)
{
	close(self->end[0]);
	close(self->end[1]);
}

static size_t fds_open(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST_F(fdpass, each_number_against_each_bound)
{
	int got[FDPASS_MAX];
	size_t before = fds_open();

	for (size_t n = 0; n <= FDPASS_MAX; n++)
		for (size_t max = 0; max <= FDPASS_MAX; max++) {
			size_t len = 0, n_got = 0;
			char text[8];
			bool lost;
			int r;

			ASSERT_OK(fdpass_send(self->end[0], "abc", 3, self->fds, n));
			r = fdpass_recv(self->end[1], text, sizeof(text), &len, got, max, &n_got,
					&lost);
			if (n > max) {
				EXPECT_ERR(-EPROTO, r);
				EXPECT_EQ(before, fds_open());
				continue;
			}
			EXPECT_OK(r);
			EXPECT_EQ(3, len);
			EXPECT_EQ(n, n_got);
			EXPECT_EQ(before + n, fds_open());
			for (size_t i = 0; i < n_got; i++) {
				EXPECT_EQ(FD_CLOEXEC, fcntl(got[i], F_GETFD));
				close(got[i]);
			}
		}
}

TEST_F(fdpass, message_that_is_too_long)
{
	size_t before = fds_open(), len, n;
	bool lost;
	char text[2];
	int got[2];

	ASSERT_OK(fdpass_send(self->end[0], "abc", 3, self->fds, 2));
	EXPECT_ERR(-EPROTO, fdpass_recv(self->end[1], text, sizeof(text), &len, got, 2, &n, &lost));
	EXPECT_EQ(before, fds_open());
}

/* More than anybody asks for: what does not fit the kernel closes, the rest is closed here. */
TEST_F(fdpass, more_than_there_is_room_for)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 3 * FDPASS_MAX)];
	} control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int) * 3 * FDPASS_MAX),
				 .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = control.buf, .iov_len = 3 };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	size_t before = fds_open(), len, n;
	int *passed = (int *)(void *)CMSG_DATA(&control.align);
	bool lost;
	int got[FDPASS_MAX];
	char text[8];

	for (size_t i = 0; i < 3 * FDPASS_MAX; i++)
		passed[i] = self->end[0];
	ASSERT_EQ(3, sendmsg(self->end[0], &hdr, 0));
	EXPECT_ERR(-EPROTO,
		   fdpass_recv(self->end[1], text, sizeof(text), &len, got, FDPASS_MAX, &n, &lost));
	EXPECT_EQ(before, fds_open());
	EXPECT_ERR(-E2BIG, fdpass_send(self->end[0], "abc", 3, self->fds, FDPASS_MAX + 1));
}

/* Every other descriptor is in use: the message comes, what was with it does not, and with spare ones it does. */
TEST_F(fdpass, none_is_free)
{
	size_t len, n = 9;
	struct fdspare spare = { 0 };
	struct rlimit limit;
	int got[FDPASS_MAX];
	char text[8];
	bool lost;

	fdspare_fill(&spare, self->end[0]);
	EXPECT_EQ(FDPASS_MAX, spare.n);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = 64;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(self->end[0]) >= 0)
		;
	ASSERT_OK(fdpass_send(self->end[0], "abc", 3, self->fds, 1));
	ASSERT_OK(fdpass_recv(self->end[1], text, sizeof(text), &len, got, FDPASS_MAX, &n, &lost));
	if (!lost) /* Valgrind says that there is none, and the kernel has more. */
		SKIP("the limit of open files is not the kernel's own");
	for (size_t i = 1; i <= FDPASS_MAX; i++) {
		ASSERT_OK(fdpass_send(self->end[0], "abc", 3, self->fds, i));
		ASSERT_OK(fdpass_recv(self->end[1], text, sizeof(text), &len, got, FDPASS_MAX, &n,
				      &lost));
		EXPECT_TRUE(lost);
		EXPECT_EQ(0, n);
		EXPECT_MEMEQ("abc", 3, text, len);
	}
	ASSERT_OK(fdpass_send(self->end[0], "abc", 3, self->fds, 3));
	fdspare_use(&spare);
	ASSERT_OK(fdpass_recv(self->end[1], text, sizeof(text), &len, got, FDPASS_MAX, &n, &lost));
	EXPECT_FALSE(lost);
	EXPECT_EQ(3, n);
	fdspare_fill(&spare, self->end[0]);
	EXPECT_EQ(FDPASS_MAX - 3, spare.n);
	/* Nothing to lose. */
	ASSERT_OK(fdpass_send(self->end[0], "abc", 3, NULL, 0));
	ASSERT_OK(fdpass_recv(self->end[1], text, sizeof(text), &len, got, FDPASS_MAX, &n, &lost));
	EXPECT_FALSE(lost);
}

TEST_F(fdpass, other_end_is_gone)
{
	size_t len, n;
	bool lost;
	char text[8];
	int got[1];

	ASSERT_EQ(0, shutdown(self->end[0], SHUT_WR));
	EXPECT_ERR(-ENODATA,
		   fdpass_recv(self->end[1], text, sizeof(text), &len, got, 1, &n, &lost));
	ASSERT_EQ(0, shutdown(self->end[1], SHUT_RDWR));
	EXPECT_ERR(-EPIPE, fdpass_send(self->end[1], "abc", 3, NULL, 0));
}

TEST_HARNESS_MAIN
