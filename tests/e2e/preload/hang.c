/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: fsync(2) does not return while the first byte of the file $KEKD_HANG is '1'. It is mapped before
 * a sandbox forbids that, and a test writes it when it likes.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile char *hang;
static int (*real)(int fd);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("KEKD_HANG");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *at;

	*(void **)&real = dlsym(RTLD_NEXT, "fsync");
	if (fd < 0)
		return;
	at = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at != MAP_FAILED)
		hang = at;
}

int fsync(int fd)
{
	const struct timespec moment = { .tv_nsec = 10000000 };

	while (hang && *hang == '1')
		nanosleep(&moment, NULL);
	return real(fd);
}
