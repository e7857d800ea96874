/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of a test's own under $TMPDIR, removed with all that is in it.
 */
#ifndef KEKD_TESTS_UNIT_SCRATCH_H
#define KEKD_TESTS_UNIT_SCRATCH_H

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

struct scratch {
	char path[256];
};

static inline void scratch_make(struct scratch *s)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(s->path, sizeof(s->path), "%s/kekd-test.XXXXXX", tmp ? tmp : "/tmp");
	ASSERT_NOT_NULL(mkdtemp(s->path));
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type,
				     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void scratch_remove(struct scratch *s)
{
	EXPECT_EQ(0, nftw(s->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS));
}

/* The path of @name in it; static, good until the next call but three. */
static inline const char *scratch_path(const struct scratch *s, const char *name)
{
	static char paths[4][512];
	static unsigned int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", s->path, name);
	return p;
}

static inline void scratch_write(const struct scratch *s, const char *name, const char *text,
				 size_t len)
{
	int fd = open(scratch_path(s, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ASSERT_LE(0, fd);
	ASSERT_EQ(len, (size_t)write(fd, text, len));
	close(fd);
}

/* From now on no file of this process may grow beyond @size: -EFBIG, like a full disk. */
static inline void scratch_limit_files(rlim_t size)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &limit));
	limit.rlim_cur = size;
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
}

static inline bool scratch_has(const struct scratch *s, const char *name)
{
	struct stat st;

	return lstat(scratch_path(s, name), &st) == 0;
}

#endif
