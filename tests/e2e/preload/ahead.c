/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: CLOCK_MONOTONIC is ahead by the nanoseconds that the file $KEKD_AHEAD has, eight bytes in the
 * machine's order. It is mapped before a sandbox forbids that, and a test writes it when it likes.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000

typedef int clock_gettime_fn(clockid_t id, struct timespec *ts);

static const volatile uint64_t *ahead;
static clock_gettime_fn *real;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("KEKD_AHEAD");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at;

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*ahead), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		ahead = at;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = real(id, ts);

	if (r == 0 && id == CLOCK_MONOTONIC && ahead) {
		uint64_t ns = (uint64_t)ts->tv_nsec + *ahead;

		ts->tv_sec += (time_t)(ns / NS_PER_S);
		ts->tv_nsec = (long)(ns % NS_PER_S);
	}
	return r;
}
