/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup (GNU attribute cleanup). A value that leaves its scope by another way is
 * taken out of the variable with move_ptr() or move_fd(), so that ownership is seen to move.
 */
#ifndef KEKD_BASE_CLEANUP_H
#define KEKD_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _unused_       __attribute__((unused))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _noreturn_     __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define DEFINE_CLEANUP(type, func)          \
	static inline void func##p(type *p) \
	{                                   \
		if (*p)                     \
			func(*p);           \
	}                                   \
	struct func##_needs_a_semicolon

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose);
DEFINE_CLEANUP(DIR *, closedir);

#define _cleanup_free_     _cleanup_(freep)
#define _cleanup_close_    _cleanup_(closep)
#define _cleanup_fclose_   _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

#define move_ptr(p)                            \
	({                                     \
		__typeof__(p) move_ptr_ = (p); \
		(p) = NULL;                    \
		move_ptr_;                     \
	})

static inline int move_fd_(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}
#define move_fd(fd) move_fd_(&(fd))

#endif
