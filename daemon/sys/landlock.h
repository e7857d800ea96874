/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock (landlock(7)): which files a process may still touch, whatever its uid. Inherited by
 * fork and exec; nothing gives a right back.
 */
#ifndef KEKD_SYS_LANDLOCK_H
#define KEKD_SYS_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum landlock_right {
	LANDLOCK_READ = 1,   /* read files and directories */
	LANDLOCK_STORE = 2,  /* read, write, make and remove files */
	LANDLOCK_EXEC = 4,   /* read and execute */
	LANDLOCK_SOCKET = 8, /* make sockets */
};

/* A file or a directory with all below it; @path is used, or the borrowed @fd if it is NULL. */
struct landlock_path {
	const char *path;
	int fd;
	unsigned int rights;
};

/*
 * From now on this process may touch @paths only as they say, and nothing else in any file system;
 * no TCP where the kernel can forbid it (6.7), no signal to a process outside (6.12), and, if
 * @no_abstract, no abstract Unix socket from outside (6.12). Paths that do not exist are left out.
 * Needs no_new_privs or CAP_SYS_ADMIN. -EOPNOTSUPP: this kernel has no Landlock, or has it turned
 * off; any other error leaves the process as it was.
 */
int landlock_restrict(const struct landlock_path *paths, size_t n, bool no_abstract);
/* The same, and TCP connections to @ports are left. */
int landlock_restrict_but(const struct landlock_path *paths, size_t n, const uint16_t *ports,
			  size_t n_ports);

#endif
