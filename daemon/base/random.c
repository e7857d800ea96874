/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call itself, and not getrandom() of the C library: glibc 2.41 on Linux 6.11 and later
 * answers that one from a buffer in this process (the vDSO's getrandom), which is what random.h rules
 * out. OpenSSL's RAND_bytes() and libbsd's arc4random() keep such a state too. scripts/lint-layers lets
 * nobody else ask, and no other way.
 *
 * Up to 256 bytes come whole once the generator has its seed; a signal may cut short what is longer, or
 * end the wait for the seed: getrandom(2).
 */
#include "daemon/base/random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A test may see, and choose, each answer of the kernel (tests/unit/random.c includes this file). */
#ifndef KEKD_TEST_HOOKS
static inline long random_ask(uint8_t *ret, size_t len)
{
	return syscall(SYS_getrandom, ret, len, 0);
}
#endif

int random_bytes(void *ret, size_t len)
{
	uint8_t *at = ret;

	while (len > 0) {
		long n = random_ask(at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}
