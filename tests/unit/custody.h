/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of key custody share: a session of their own with one ring, keyctl(2) as an
 * attacker inside the keeper would call it, and a look around for what this kernel offers.
 */
#ifndef KEKD_TESTS_UNIT_CUSTODY_H
#define KEKD_TESTS_UNIT_CUSTODY_H

#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/keyring.h"
#include "tests/harness/ktest.h"

/* include/linux/key.h */
#define TEST_POS_VIEW   0x01000000UL
#define TEST_POS_ALL    0x3f000000UL
#define TEST_ALL_RIGHTS 0x3f3f3f3fUL

static inline long test_keyctl(int op, unsigned long a, unsigned long b, unsigned long c,
			       unsigned long d)
{
	long r = syscall(SYS_keyctl, op, a, b, c, d);

	return r < 0 ? -errno : r;
}

/* 0 or -errno of a keyctl(2) on @key with two more arguments. */
static inline int test_on_key(int op, key_serial key, unsigned long b, unsigned long c)
{
	long r = test_keyctl(op, (unsigned long)key, b, c, 0);

	return r < 0 ? (int)r : 0;
}

static inline int test_update(key_serial key, const char *payload)
{
	return test_on_key(KEYCTL_UPDATE, key, (unsigned long)payload, strlen(payload));
}

/* Keys linked in @ring. */
static inline size_t test_ring_count(key_serial ring)
{
	long n = test_keyctl(KEYCTL_READ, (unsigned long)ring, 0, 0, 0);

	return n < 0 ? SIZE_MAX : (size_t)n / sizeof(key_serial);
}

/* A session and a ring; skips where there are no keyrings. */
static inline key_serial test_ring(void)
{
	key_serial ring;

	SKIP_UNLESS("keyring", keyring_new_session() == 0, "no kernel keyrings here");
	ASSERT_OK(keyring_new("kekd-test", &ring));
	return ring;
}

static inline void test_need_afalg(void)
{
	int fd, r = afalg_bind("skcipher", "ecb(aes)", &fd);

	SKIP_UNLESS("afalg", r == 0, "no AF_ALG with ecb(aes) here");
	close(fd);
}

/* Skips also where AF_ALG cannot take a key by serial. */
static inline void test_need_serial(key_serial ring)
{
	static const uint8_t key[32] = { 1 };
	key_serial serial;
	int fd, r;

	test_need_afalg();
	ASSERT_OK(keyring_add_user(ring, "probe", span_of(key, sizeof(key)), &serial));
	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &fd));
	r = afalg_set_key(fd, serial);
	close(fd);
	ASSERT_OK(keyring_unlink(ring, serial));
	SKIP_UNLESS("afalg", r != -ENOPROTOOPT, "no keying by serial before Linux 6.2");
	ASSERT_OK(r);
}

/* Run @body(@ctx) in a child; its checks count. */
static inline void test_in_child(void (*body)(void *ctx), void *ctx)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (pid == 0) {
		body(ctx);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Another uid, no capability, no key. */
static inline void test_become_nobody(void)
{
	ASSERT_EQ(0, setresgid(65534, 65534, 65534));
	ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	ASSERT_OK(keyring_new_session());
}

#endif
