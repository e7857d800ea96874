/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store where a file system has no hard links, and where a disk that has become read-only keeps what a
 * crash left: the two system calls fail when a test says so.
 */
#include <errno.h>
#include <unistd.h>

static int link_errno, unlink_errno;

static int test_linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
	if (link_errno != 0) {
		errno = link_errno;
		return -1;
	}
	return linkat(dir, from, to_dir, to, flags);
}

static int test_unlinkat(int dir, const char *name, int flags)
{
	if (unlink_errno != 0) {
		errno = unlink_errno;
		return -1;
	}
	return unlinkat(dir, name, flags);
}

#define linkat   test_linkat
#define unlinkat test_unlinkat
#include "daemon/keys/store.c"
#undef linkat
#undef unlinkat

#include "tests/harness/ktest.h"
#include "tests/unit/scratch.h"

FIXTURE(nolinks)
{
	struct scratch dir;
	struct key_store *store;
};

FIXTURE_SETUP(nolinks)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(key_store_write(self->store, KEY_STORE_KEYSET, "first", 5));
}

FIXTURE_TEARDOWN(nolinks)
{
	unlink_errno = 0;
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

static void expect_text(struct ktest_data_of_nolinks *self, const char *file, const char *want)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	ASSERT_OK(key_store_read(self->store, file, 100, &text, &len));
	EXPECT_STREQ(want, text);
}

TEST_F(nolinks, none_on_this_file_system)
{
	static const int kinds[] = { EPERM, EOPNOTSUPP, ENOSYS, EMLINK };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		link_errno = kinds[i];
		ASSERT_OK(key_store_write(self->store, KEY_STORE_KEYSET, "second", 6));
		expect_text(self, KEY_STORE_KEYSET, "second");
		EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_PREV TMP));
		ASSERT_OK(key_store_write(self->store, KEY_STORE_KEYSET, "third", 5));
		expect_text(self, KEY_STORE_PREV, "second");
	}
	link_errno = EIO;
	EXPECT_ERR(-EIO, key_store_write(self->store, KEY_STORE_KEYSET, "fourth", 6));
	expect_text(self, KEY_STORE_KEYSET, "third");
}

/* What is there can be read, whichever of the names a crash has left. */
TEST_F(nolinks, left_on_a_read_only_disk)
{
	static const char *const left[] = { KEY_STORE_PREV, KEY_STORE_PREV TMP };

	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		ASSERT_EQ(0, link(scratch_path(&self->dir, KEY_STORE_KEYSET),
				  scratch_path(&self->dir, left[i])));
		key_store_close(move_ptr(self->store));
		unlink_errno = EROFS;
		ASSERT_OK(key_store_open(self->dir.path, &self->store));
		expect_text(self, KEY_STORE_KEYSET, "first");
		unlink_errno = 0;
		ASSERT_EQ(0, unlink(scratch_path(&self->dir, left[i])));
	}
	ASSERT_EQ(0, link(scratch_path(&self->dir, KEY_STORE_KEYSET),
			  scratch_path(&self->dir, "another")));
	EXPECT_ERR(-EPERM,
		   check_file(self->store, KEY_STORE_KEYSET,
			      &(struct stat){ .st_mode = S_IFREG | 0600, .st_nlink = 2 }, 100));
}

TEST_HARNESS_MAIN
