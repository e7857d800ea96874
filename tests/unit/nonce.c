/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nonce source: no byte twice, nothing after a fork, no fallback.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/crypto/nonce.h"
#include "tests/harness/ktest.h"

FIXTURE(nonce)
{
	struct nonce_source *src;
};

FIXTURE_SETUP(nonce)
{
	ASSERT_OK(nonce_source_new(&self->src));
}

FIXTURE_TEARDOWN(nonce)
{
	nonce_source_free(self->src);
}

/* Over many refills, in both lengths mixed: 96 random bits repeat in 1000 with chance 2^-77. */
TEST_F(nonce, never_twice)
{
	static uint8_t seen[1000][12];

	for (size_t i = 0; i < 1000; i++) {
		uint8_t out[NONCE_MAX];

		ASSERT_OK(nonce_get(self->src, out, i % 3 == 0 ? 16 : 12));
		memcpy(seen[i], out, 12);
		for (size_t j = 0; j < i; j++)
			ASSERT_NE(0, memcmp(seen[i], seen[j], 12));
	}
}

TEST_F(nonce, exact_length)
{
	uint8_t out[NONCE_MAX + 1];
	bool touched = false;

	for (unsigned int i = 0; i < 64; i++) {
		memset(out, 0xa5, sizeof(out));
		ASSERT_OK(nonce_get(self->src, out, 12));
		ASSERT_EQ(0xa5, out[12]);
		touched |= out[11] != 0xa5;
	}
	EXPECT_TRUE(touched);
	EXPECT_ERR(-EINVAL, nonce_get(self->src, out, 0));
	EXPECT_ERR(-EINVAL, nonce_get(self->src, out, NONCE_MAX + 1));
}

/* The child is refused, also after the parent has refilled; the parent goes on. */
TEST_F(nonce, not_after_fork)
{
	uint8_t out[12];
	int status;
	pid_t pid;

	ASSERT_OK(nonce_get(self->src, out, sizeof(out)));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		memset(out, 0xa5, sizeof(out));
		EXPECT_ERR(-ESTALE, nonce_get(self->src, out, sizeof(out)));
		EXPECT_EQ(0xa5, out[0]);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_OK(nonce_get(self->src, out, sizeof(out)));
}

TEST_HARNESS_MAIN
