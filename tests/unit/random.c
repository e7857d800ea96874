/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes: as many as are asked for, all from the kernel, and no fallback. The kernel's part is
 * played by this file, which sees what it is asked and may answer short, be interrupted, or fail.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How the next answers go. */
static size_t most = SIZE_MAX; /* bytes in one answer */
static unsigned int interrupted;
static int fails;
/* What was asked. */
static unsigned int asked;
static size_t answered;

static long random_ask(uint8_t *ret, size_t len)
{
	long n;

	asked++;
	if (interrupted > 0 || fails != 0) {
		errno = interrupted > 0 ? EINTR : fails;
		interrupted -= interrupted > 0;
		return -1;
	}
	n = syscall(SYS_getrandom, ret, len < most ? len : most, 0);
	answered += (size_t)n;
	return n;
}

#define KEKD_TEST_HOOKS
#include "daemon/base/random.c" /* instead of the library's */

#include "tests/harness/ktest.h"

/* 96 random bits repeat in 1000 with chance 2^-77. */
TEST(never_twice)
{
	static uint8_t seen[1000][12];

	for (size_t i = 0; i < 1000; i++) {
		ASSERT_OK(random_bytes(seen[i], 12));
		for (size_t j = 0; j < i; j++)
			ASSERT_NE(0, memcmp(seen[i], seen[j], 12));
	}
}

/* Once for each request, not a byte more than goes out, and nothing beyond it is written. */
TEST(asks_for_what_it_gives)
{
	uint8_t out[1024];

	for (size_t len = 0; len < sizeof(out); len += 7) {
		asked = 0;
		answered = 0;
		memset(out, 0xa5, sizeof(out));
		ASSERT_OK(random_bytes(out, len));
		ASSERT_EQ(len > 0, asked);
		ASSERT_EQ(len, answered);
		for (size_t i = len; i < sizeof(out); i++)
			ASSERT_EQ(0xa5, out[i]);
	}
}

/* Of more than 256 bytes the kernel may give a part. */
TEST(short_answers)
{
	uint8_t out[1000], zero[10] = { 0 };

	most = 10;
	memset(out, 0, sizeof(out));
	ASSERT_OK(random_bytes(out, sizeof(out)));
	EXPECT_EQ(100, asked);
	for (size_t i = 0; i < sizeof(out); i += sizeof(zero))
		EXPECT_NE(0, memcmp(zero, out + i, sizeof(zero)));
}

TEST(interrupted_answers)
{
	uint8_t out[12];

	interrupted = 3;
	ASSERT_OK(random_bytes(out, sizeof(out)));
	EXPECT_EQ(4, asked);
	EXPECT_EQ(sizeof(out), answered);
}

TEST(no_fallback)
{
	uint8_t out[12];

	fails = ENOSYS;
	EXPECT_ERR(-ENOSYS, random_bytes(out, sizeof(out)));
	EXPECT_EQ(1, asked);
}

TEST_HARNESS_MAIN
