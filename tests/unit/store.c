/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store as a directory that others may have touched.
 */
#include "daemon/keys/store.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX 64

static const char *const files[] = {
	KEY_STORE_KEYSET, KEY_STORE_PREV, KEY_STORE_NODE, KEY_STORE_COUNTS, KEY_STORE_ESCROW,
};

FIXTURE(store)
{
	struct scratch dir;
	struct key_store *s;
};

FIXTURE_SETUP(store)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
}

FIXTURE_TEARDOWN(store)
{
	key_store_close(self->s);
	scratch_remove(&self->dir);
}

static void put(struct key_store *s, const char *file, const char *text)
{
	ASSERT_OK(key_store_write(s, file, text, strlen(text)));
}

/* The file is there, whole, and says @text. */
static void expect_text(struct key_store *s, const char *file, const char *text)
{
	_cleanup_free_ char *seen = NULL;
	size_t len;

	ASSERT_OK(key_store_read(s, file, MAX, &seen, &len));
	EXPECT_MEMEQ(text, strlen(text), seen, len);
	EXPECT_EQ('\0', seen[len]);
}

static void expect_refused(struct key_store *s, const char *file, int error)
{
	size_t len = 77;
	char *text = NULL;

	EXPECT_ERR(error, key_store_read(s, file, MAX, &text, &len));
	EXPECT_NULL(text);
	EXPECT_EQ(77U, len);
}

static void open_again(struct ktest_data_of_store *self)
{
	key_store_close(self->s);
	self->s = NULL;
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
}

static ino_t inode(const struct scratch *dir, const char *file)
{
	struct stat st;

	ASSERT_EQ(0, lstat(scratch_path(dir, file), &st));
	return st.st_ino;
}

TEST_F(store, empty)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		expect_refused(self->s, files[i], -ENOENT);
	EXPECT_STREQ(self->dir.path, key_store_path(self->s));
}

TEST_F(store, survives_reopening_and_replaces)
{
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		put(self->s, files[i], "the first, and longer");
		put(self->s, files[i], "the second");
		expect_text(self->s, files[i], "the second");
		open_again(self);
		expect_text(self->s, files[i], "the second");
		ASSERT_EQ(0, stat(scratch_path(&self->dir, files[i]), &st));
		EXPECT_EQ(0600U, st.st_mode & 07777);
		EXPECT_EQ(1U, st.st_nlink);
	}
}

TEST_F(store, room_of_a_reader)
{
	static const char text[MAX + 2] = { [0 ... MAX] = 'x' };

	ASSERT_OK(key_store_write(self->s, KEY_STORE_COUNTS, "", 0));
	expect_text(self->s, KEY_STORE_COUNTS, "");
	ASSERT_OK(key_store_write(self->s, KEY_STORE_COUNTS, text, MAX));
	expect_text(self->s, KEY_STORE_COUNTS, text + 1);
	ASSERT_OK(key_store_write(self->s, KEY_STORE_COUNTS, text, MAX + 1));
	expect_refused(self->s, KEY_STORE_COUNTS, -EFBIG);
}

/* What the keyset was is under the other name from then on; other files leave nothing behind. */
TEST_F(store, the_keyset_before_is_kept)
{
	ino_t first;

	put(self->s, KEY_STORE_KEYSET, "one");
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_PREV));
	first = inode(&self->dir, KEY_STORE_KEYSET);
	put(self->s, KEY_STORE_KEYSET, "two");
	expect_text(self->s, KEY_STORE_PREV, "one");
	EXPECT_EQ(first, inode(&self->dir, KEY_STORE_PREV));
	put(self->s, KEY_STORE_NODE, "a");
	put(self->s, KEY_STORE_NODE, "b");
	put(self->s, KEY_STORE_COUNTS, "a");
	put(self->s, KEY_STORE_COUNTS, "b");
	put(self->s, KEY_STORE_KEYSET, "three");
	expect_text(self->s, KEY_STORE_KEYSET, "three");
	expect_text(self->s, KEY_STORE_PREV, "two");
	open_again(self);
	expect_text(self->s, KEY_STORE_PREV, "two");
}

/* A crash between the two renames: both names are of one file. It can be read, and the next start ends it. */
TEST_F(store, second_name_of_the_keyset)
{
	put(self->s, KEY_STORE_KEYSET, "one");
	ASSERT_EQ(0, link(scratch_path(&self->dir, KEY_STORE_KEYSET),
			  scratch_path(&self->dir, KEY_STORE_PREV)));
	expect_text(self->s, KEY_STORE_KEYSET, "one");
	open_again(self);
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_PREV));
	expect_text(self->s, KEY_STORE_KEYSET, "one");
	put(self->s, KEY_STORE_KEYSET, "two");
	expect_text(self->s, KEY_STORE_PREV, "one");
}

/* The same while this process lives on: its next write ends what the last one began. */
TEST_F(store, second_name_after_a_write_that_failed)
{
	put(self->s, KEY_STORE_KEYSET, "one");
	ASSERT_EQ(0, link(scratch_path(&self->dir, KEY_STORE_KEYSET),
			  scratch_path(&self->dir, KEY_STORE_PREV)));
	put(self->s, KEY_STORE_KEYSET, "two");
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_PREV ".tmp"));
	expect_text(self->s, KEY_STORE_KEYSET, "two");
	expect_text(self->s, KEY_STORE_PREV, "one");
}

/* One bad file of each kind; the next one does not suffer. */
TEST_F(store, bad_files)
{
	static const char junk[MAX + 1] = "junk";

	put(self->s, KEY_STORE_NODE, "good");
	scratch_write(&self->dir, KEY_STORE_COUNTS, junk, sizeof(junk));
	expect_refused(self->s, KEY_STORE_COUNTS, -EFBIG);
	scratch_write(&self->dir, KEY_STORE_COUNTS, junk, 4);
	expect_text(self->s, KEY_STORE_COUNTS, "junk");
	ASSERT_EQ(0, chmod(scratch_path(&self->dir, KEY_STORE_COUNTS), 0604));
	expect_refused(self->s, KEY_STORE_COUNTS, -EPERM);
	ASSERT_EQ(0, chmod(scratch_path(&self->dir, KEY_STORE_COUNTS), 0660));
	expect_refused(self->s, KEY_STORE_COUNTS, -EPERM);
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, KEY_STORE_COUNTS)));
	ASSERT_EQ(0, symlink(KEY_STORE_NODE, scratch_path(&self->dir, KEY_STORE_COUNTS)));
	expect_refused(self->s, KEY_STORE_COUNTS, -ELOOP);
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, KEY_STORE_COUNTS)));
	ASSERT_EQ(0, mkfifo(scratch_path(&self->dir, KEY_STORE_COUNTS), 0600));
	expect_refused(self->s, KEY_STORE_COUNTS, -EINVAL);
	put(self->s, KEY_STORE_COUNTS, "well again");
	expect_text(self->s, KEY_STORE_COUNTS, "well again");
	expect_text(self->s, KEY_STORE_NODE, "good");
}

TEST_F(store, foreign_owner_and_hard_link)
{
	if (geteuid() != 0)
		SKIP("needs root to give a file away");
	put(self->s, KEY_STORE_KEYSET, "one");
	put(self->s, KEY_STORE_NODE, "one");
	ASSERT_EQ(0, chown(scratch_path(&self->dir, KEY_STORE_KEYSET), 65534, 65534));
	ASSERT_EQ(0, link(scratch_path(&self->dir, KEY_STORE_NODE),
			  scratch_path(&self->dir, "elsewhere")));
	expect_refused(self->s, KEY_STORE_KEYSET, -EPERM);
	expect_refused(self->s, KEY_STORE_NODE, -EPERM);
}

TEST_F(store, unknown_files_are_left_alone)
{
	static const char *const names[] = {
		"README",
		".hidden",
		"x.key",
		"x.tmp",
		"keyset.old",
		"keyset.tmp.tmp",
		"keysettmp",
		"00000000000000000000000000000000.keys",
		"0000000000000000000000000000000G.key",
		"0000000000000000000000000000000.key",
		"manifest.old",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		scratch_write(&self->dir, names[i], "x", 1);
	put(self->s, KEY_STORE_KEYSET, "one");
	open_again(self);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_TRUE(scratch_has(&self->dir, names[i]));
}

TEST_F(store, leftovers_of_a_crash_are_removed)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char tmp[32];

		snprintf(tmp, sizeof(tmp), "%s.tmp", files[i]);
		scratch_write(&self->dir, tmp, "half", 4);
		/* An earlier write of this process that failed is no obstacle either. */
		put(self->s, files[i], "whole");
		EXPECT_FALSE(scratch_has(&self->dir, tmp));
		scratch_write(&self->dir, tmp, "half", 4);
		open_again(self);
		EXPECT_FALSE(scratch_has(&self->dir, tmp));
		expect_text(self->s, files[i], "whole");
	}
}

/* The disk is full in the middle of the new file: it goes, the old ones stand. */
TEST_F(store, failed_write_leaves_the_old_files)
{
	put(self->s, KEY_STORE_KEYSET, "one");
	put(self->s, KEY_STORE_KEYSET, "two");
	scratch_limit_files(2);
	EXPECT_ERR(-EFBIG, key_store_write(self->s, KEY_STORE_KEYSET, "three", 5));
	scratch_limit_files(RLIM_INFINITY);
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_KEYSET ".tmp"));
	expect_text(self->s, KEY_STORE_KEYSET, "two");
	expect_text(self->s, KEY_STORE_PREV, "one");
}

/* Something in the way that a write must not remove. */
TEST_F(store, blocked_write_leaves_the_old_file)
{
	put(self->s, KEY_STORE_KEYSET, "one");
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, KEY_STORE_KEYSET ".tmp"), 0700));
	EXPECT_ERR(-EISDIR, key_store_write(self->s, KEY_STORE_KEYSET, "two", 3));
	ASSERT_EQ(0, rmdir(scratch_path(&self->dir, KEY_STORE_KEYSET ".tmp")));
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, KEY_STORE_PREV), 0700));
	EXPECT_ERR(-EISDIR, key_store_write(self->s, KEY_STORE_KEYSET, "two", 3));
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_KEYSET ".tmp"));
	ASSERT_EQ(0, rmdir(scratch_path(&self->dir, KEY_STORE_PREV)));
	open_again(self);
	expect_text(self->s, KEY_STORE_KEYSET, "one");
}

TEST_F(store, is_locked)
{
	struct key_store *second = NULL;

	EXPECT_ERR(-EBUSY, key_store_open(self->dir.path, &second));
	EXPECT_NULL(second);
	open_again(self);
}

/* A child of a daemon that was killed has the lock as long as it writes. */
TEST_F(store, is_locked_for_a_moment)
{
	const struct timespec moment = { .tv_nsec = 300 * 1000 * 1000 };
	pid_t child = fork();

	ASSERT_LE(0, child);
	if (child == 0) {
		nanosleep(&moment, NULL);
		_exit(0);
	}
	key_store_close(self->s);
	self->s = NULL;
	EXPECT_OK(key_store_open(self->dir.path, &self->s));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
}

/* It names the file and what to do, and touches nothing. */
TEST_F(store, old_form_is_refused)
{
	static const char *const names[] = {
		"manifest",
		"0123456789abcdef0123456789abcdef.key",
	};
	struct key_store *s = NULL;
	int fd = memfd_create("log", MFD_CLOEXEC);
	char said[1024] = "";

	key_store_close(self->s);
	self->s = NULL;
	ASSERT_LE(0, dup2(fd, STDERR_FILENO));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		scratch_write(&self->dir, names[i], "x", 1);
		EXPECT_ERR(-EUCLEAN, key_store_open(self->dir.path, &s));
		EXPECT_NULL(s);
		EXPECT_TRUE(scratch_has(&self->dir, names[i]));
		ASSERT_LE(0, pread(fd, said, sizeof(said) - 1, 0));
		EXPECT_NOT_NULL(strstr(said, names[i]));
		ASSERT_EQ(0, unlink(scratch_path(&self->dir, names[i])));
	}
	EXPECT_NOT_NULL(strstr(said, "kekd 0.1"));
	EXPECT_NOT_NULL(strstr(said, "move the directory's files away"));
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
	close(fd);
}

FIXTURE(place)
{
	struct scratch dir;
};

FIXTURE_SETUP(place)
{
	scratch_make(&self->dir);
}

FIXTURE_TEARDOWN(place)
{
	scratch_remove(&self->dir);
}

TEST_F(place, is_made)
{
	_cleanup_(key_store_closep) struct key_store *s = NULL;
	struct stat st;

	ASSERT_OK(key_store_open(scratch_path(&self->dir, "new/"), &s));
	ASSERT_EQ(0, stat(scratch_path(&self->dir, "new"), &st));
	EXPECT_EQ(0700U, st.st_mode & 07777);
}

TEST_F(place, is_made_below_what_is_there_only)
{
	struct key_store *s = NULL;

	EXPECT_ERR(-ENOENT, key_store_open(scratch_path(&self->dir, "not/there"), &s));
	EXPECT_NULL(s);
}

TEST_F(place, is_a_directory_and_no_link)
{
	struct key_store *s = NULL;

	scratch_write(&self->dir, "file", "x", 1);
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, "real"), 0700));
	ASSERT_EQ(0, symlink("real", scratch_path(&self->dir, "link")));
	EXPECT_ERR(-ENOTDIR, key_store_open(scratch_path(&self->dir, "file"), &s));
	EXPECT_ERR(-ENOTDIR, key_store_open(scratch_path(&self->dir, "link"), &s));
	EXPECT_ERR(-ENOTDIR, key_store_open(scratch_path(&self->dir, "link//"), &s));
	EXPECT_NULL(s);
}

TEST_F(place, is_closed_to_others)
{
	static const mode_t modes[] = { 0720, 0704, 0701, 0702, 01777 };
	const char *path = scratch_path(&self->dir, "store");
	struct key_store *s = NULL;

	ASSERT_EQ(0, mkdir(path, 0700));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		ASSERT_EQ(0, chmod(path, modes[i]));
		EXPECT_ERR(-EPERM, key_store_open(path, &s));
	}
	ASSERT_EQ(0, chmod(path, 0750));
	ASSERT_OK(key_store_open(path, &s));
	key_store_close(s);
}

TEST_F(place, belongs_to_us)
{
	const char *path = scratch_path(&self->dir, "store");
	struct key_store *s = NULL;

	if (geteuid() != 0)
		SKIP("needs root to give a directory away");
	ASSERT_EQ(0, mkdir(path, 0700));
	ASSERT_EQ(0, chown(path, 65534, 65534));
	EXPECT_ERR(-EPERM, key_store_open(path, &s));
	EXPECT_NULL(s);
}

TEST_HARNESS_MAIN
