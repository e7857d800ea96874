/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root secrets on their way, and keys for secretbox.
 */
#include "daemon/keys/secret.h"
#include "daemon/keys/softkey.h"
#include "tests/harness/ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe that holds @len bytes and ends, or stays open if @wr is given. */
static int pipe_with(size_t len, int *wr)
{
	static const uint8_t bytes[2 * SECRET_MAX] = "some secret";
	int fds[2];

	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	ASSERT_EQ(len, (size_t)write(fds[1], bytes, len));
	if (wr)
		*wr = fds[1];
	else
		close(fds[1]);
	return fds[0];
}

TEST(secret_lengths)
{
	static const struct {
		size_t len;
		int r;
	} cases[] = {
		{ 0, -ENODATA },
		{ 1, -EINVAL },
		{ SECRET_MIN - 1, -EINVAL },
		{ SECRET_MIN, 0 },
		{ SECRET_MAX, 0 },
		{ SECRET_MAX + 1, -EMSGSIZE },
		{ 2 * SECRET_MAX, -EMSGSIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_secret_ struct secret s = { 0 };
		_cleanup_close_ int fd = pipe_with(cases[i].len, NULL);

		EXPECT_ERR(cases[i].r, secret_read(fd, -1, -1, &s));
		EXPECT_EQ(cases[i].r == 0 ? cases[i].len : 0, s.len);
	}
}

TEST(secret_needs_an_end)
{
	struct secret s = { 0 };
	int wr, fd = pipe_with(SECRET_MIN, &wr);

	EXPECT_ERR(-ETIME, secret_read(fd, -1, 0, &s));
	EXPECT_NULL(s.data);
	close(wr);
	close(fd);
}

/* It may say something meanwhile; only its end counts. */
TEST(secret_is_for_nobody)
{
	struct secret s = { 0 };
	int wr, peer[2], fd = pipe_with(SECRET_MIN, &wr);

	ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, peer));
	ASSERT_EQ(1, send(peer[1], "a", 1, MSG_NOSIGNAL));
	EXPECT_ERR(-ETIME, secret_read(fd, peer[0], 0, &s));
	close(peer[1]);
	EXPECT_ERR(-ECANCELED, secret_read(fd, peer[0], -1, &s));
	EXPECT_NULL(s.data);
	close(peer[0]);
	close(wr);
	close(fd);
}

TEST(secret_is_not_read_from_a_file)
{
	char path[] = "/tmp/kekd-test.XXXXXX";
	struct secret s = { 0 };
	int fd = mkstemp(path);

	ASSERT_LE(0, fd);
	unlink(path);
	EXPECT_ERR(-EPERM, secret_read(fd, -1, -1, &s));
	close(fd);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	EXPECT_ERR(-EPERM, secret_read(fd, -1, -1, &s));
	close(fd);
	EXPECT_NULL(s.data);
}

TEST(secret_random_differs)
{
	_cleanup_secret_ struct secret a = { 0 }, b = { 0 };

	ASSERT_OK(secret_random(SECRET_MIN, &a));
	ASSERT_OK(secret_random(SECRET_MIN, &b));
	EXPECT_EQ((size_t)SECRET_MIN, a.len);
	EXPECT_NE(0, memcmp(a.data, b.data, SECRET_MIN));
	EXPECT_ERR(-EINVAL, secret_random(SECRET_MIN - 1, &b));
	EXPECT_ERR(-EINVAL, secret_random(SECRET_MAX + 1, &b));
}

FIXTURE(softkey)
{
	struct softkey *key;
};

FIXTURE_SETUP(softkey)
{
	static const uint8_t bytes[KEKD_AES_KEY_MAX] = "a key of 32 bytes, for secretbox";

	ASSERT_OK(softkey_from_bytes(span_of(bytes, sizeof(bytes)), &self->key));
}

FIXTURE_TEARDOWN(softkey)
{
	softkey_free(self->key);
}

TEST_F(softkey, travels_as_a_descriptor)
{
	struct softkey *there = NULL;
	int fd;

	ASSERT_OK(softkey_export(self->key, &fd));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	ASSERT_OK(softkey_import(fd, &there));
	EXPECT_TRUE(softkey_bytes(there) != softkey_bytes(self->key));
	EXPECT_MEMEQ(softkey_bytes(self->key), 32, softkey_bytes(there), 32);
	softkey_free(there);
	close(fd);
}

TEST_F(softkey, travels_by_memfd_secret_where_there_is_one)
{
	struct stat st;
	int fd;

	ASSERT_OK(softkey_export(self->key, &fd));
	ASSERT_EQ(0, fstat(fd, &st));
	close(fd);
	SKIP_UNLESS("memfd_secret", S_ISREG(st.st_mode), "no memfd_secret here");
	EXPECT_EQ(32, st.st_size);
}

TEST(import_refuses_what_export_did_not_make)
{
	struct softkey *key = NULL;
	int fd = pipe_with(31, NULL);

	EXPECT_ERR(-EINVAL, softkey_import(fd, &key));
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	EXPECT_ERR(-EINVAL, softkey_import(fd, &key));
	close(fd);
	EXPECT_NULL(key);
}

TEST_HARNESS_MAIN
