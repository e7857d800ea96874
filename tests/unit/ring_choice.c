/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which twin ring_new() chooses, and what it says when the kernel refuses.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/unit/ring_probe.h"

TEST(sizes_are_powers_of_two)
{
	struct ring *ring = NULL;

	EXPECT_ERR(-EINVAL, ring_new(RING_AUTO, 0, &ring));
	EXPECT_ERR(-EINVAL, ring_new(RING_AUTO, 1, &ring));
	EXPECT_ERR(-EINVAL, ring_new(RING_EPOLL, 48, &ring));
	EXPECT_NULL(ring);
}

/* Make io_uring_setup fail with @error from here on. */
static void forbid_io_uring(unsigned int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	ASSERT_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ASSERT_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static void refused_with(int error)
{
	struct ring *ring = NULL;
	int fd, next;

	forbid_io_uring((unsigned int)error);
	fd = dup(0);
	EXPECT_ERR(-error, ring_new(RING_IO_URING, 8, &ring));
	EXPECT_NULL(ring);
	ASSERT_OK(ring_new(RING_AUTO, 8, &ring));
	EXPECT_STREQ("epoll", ring_name(ring));
	EXPECT_NOT_NULL(strstr(ring_why(ring), strerrorname_np(error)));
	EXPECT_NOT_NULL(strstr(ring_why(ring), "seccomp"));
	ring_free(ring);
	next = dup(0);
	EXPECT_EQ(fd + 1, next);
	close(fd);
	close(next);
}

TEST(refused_by_policy)
{
	char c = '0';
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && (read(fd, &c, 1) != 1 || c != '0'))
		SKIP("kernel.io_uring_disabled is set, and would be named instead of seccomp");
	closep(&fd);
	refused_with(EPERM);
}

TEST(refused_as_unknown)
{
	refused_with(ENOSYS);
}

TEST(auto_is_io_uring_where_it_works)
{
	struct ring *ring;
	int r = ring_new(RING_IO_URING, 8, &ring);

	SKIP_UNLESS("io_uring", r == 0, "the kernel refuses it");
	ring_free(ring);
	ASSERT_OK(ring_new(RING_AUTO, 8, &ring));
	EXPECT_STREQ("io_uring", ring_name(ring));
	EXPECT_STREQ("", ring_why(ring));
	ring_free(ring);
}

TEST_HARNESS_MAIN
