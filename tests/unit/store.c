/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store as a directory that others may have touched.
 */
#include "daemon/keys/store.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/wait.h>

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

static struct key_record record(uint8_t id, time_t created)
{
	struct key_record rec = {
		.kind = KEY_KIND_OPENSSL,
		.key_bytes = 32,
		.state = KEY_ACTIVE,
		.activation = 1,
		.created = created,
		.blob = "blob",
	};

	memset(rec.id, id, sizeof(rec.id));
	snprintf(rec.name, sizeof(rec.name), "name%d", id);
	snprintf(rec.label, sizeof(rec.label), "label%d", id);
	return rec;
}

static const char *file_of(uint8_t id)
{
	static char name[64];
	uint8_t bytes[KEKD_KEY_ID];

	memset(bytes, id, sizeof(bytes));
	key_hex(bytes, sizeof(bytes), name);
	strcat(name, ".key");
	return name;
}

struct seen {
	size_t good, bad;
	uint8_t id[8];
	int r[8];
	char file[8][64];
};

static int see(void *ctx, const struct key_record *rec, int r, const char *file)
{
	struct seen *s = ctx;

	if (rec) {
		EXPECT_EQ(0U, s->bad);
		if (s->good < 8)
			s->id[s->good] = rec->id[0];
		s->good++;
		return 0;
	}
	if (s->bad < 8) {
		s->r[s->bad] = r;
		snprintf(s->file[s->bad], sizeof(s->file[0]), "%s", file);
	}
	s->bad++;
	return 0;
}

static void put(struct key_store *s, uint8_t id, time_t created)
{
	struct key_record rec = record(id, created);

	ASSERT_OK(key_store_put(s, &rec));
}

TEST_F(store, empty)
{
	struct seen seen = { 0 };

	ASSERT_OK(key_store_each(self->s, see, &seen));
	EXPECT_EQ(0U, seen.good + seen.bad);
}

TEST_F(store, sorted_by_age_then_id)
{
	struct seen seen = { 0 };

	put(self->s, 4, 100);
	put(self->s, 1, 300);
	put(self->s, 3, 200);
	put(self->s, 2, 200);
	ASSERT_OK(key_store_each(self->s, see, &seen));
	ASSERT_EQ(4U, seen.good);
	EXPECT_EQ(4, seen.id[0]);
	EXPECT_EQ(2, seen.id[1]);
	EXPECT_EQ(3, seen.id[2]);
	EXPECT_EQ(1, seen.id[3]);
}

static int keep(void *ctx, const struct key_record *rec, int r, const char *file)
{
	(void)file;
	EXPECT_OK(r);
	*(struct key_record *)ctx = *rec;
	return 0;
}

TEST_F(store, survives_reopening_and_replaces)
{
	struct key_record rec = record(1, 100), back = { 0 };
	struct stat st;

	ASSERT_OK(key_store_put(self->s, &rec));
	rec.state = KEY_DECRYPT_ONLY;
	ASSERT_OK(key_store_put(self->s, &rec));
	key_store_close(self->s);
	self->s = NULL;
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
	ASSERT_OK(key_store_each(self->s, keep, &back));
	EXPECT_MEMEQ(&rec, sizeof(rec), &back, sizeof(back));
	ASSERT_EQ(0, stat(scratch_path(&self->dir, file_of(1)), &st));
	EXPECT_EQ(0600U, st.st_mode & 07777);
}

static int stop(void *ctx, const struct key_record *rec, int r, const char *file)
{
	(void)rec;
	(void)r;
	(void)file;
	++*(int *)ctx;
	return -ECANCELED;
}

TEST_F(store, callback_ends_the_walk)
{
	int calls = 0;

	put(self->s, 1, 100);
	put(self->s, 2, 100);
	EXPECT_ERR(-ECANCELED, key_store_each(self->s, stop, &calls));
	EXPECT_EQ(1, calls);
}

TEST_F(store, bad_record_is_not_written)
{
	struct key_record rec = record(1, 100);

	put(self->s, 1, 100);
	rec.blob[0] = '\n';
	EXPECT_ERR(-EINVAL, key_store_put(self->s, &rec));
	rec.blob[0] = 'b';
	rec.activation = 0;
	EXPECT_ERR(-EINVAL, key_store_put(self->s, &rec));
	EXPECT_TRUE(scratch_has(&self->dir, file_of(1)));
}

/* One bad file of each kind, and two good ones that do not suffer. */
TEST_F(store, bad_files_do_not_hide_good_ones)
{
	static const char junk[KEY_RECORD_TEXT_MAX + 1] = "kekd-key 2\n";
	struct seen seen = { 0 };

	put(self->s, 1, 100);
	put(self->s, 2, 200);
	scratch_write(&self->dir, file_of(3), junk, 11);
	scratch_write(&self->dir, file_of(4), junk, sizeof(junk));
	put(self->s, 5, 300);
	ASSERT_EQ(0, chmod(scratch_path(&self->dir, file_of(5)), 0604));
	ASSERT_EQ(0, symlink(file_of(1), scratch_path(&self->dir, file_of(6))));
	ASSERT_EQ(0, mkfifo(scratch_path(&self->dir, file_of(7)), 0600));
	put(self->s, 8, 300);
	ASSERT_EQ(0, rename(scratch_path(&self->dir, file_of(8)),
			    scratch_path(&self->dir, file_of(9))));
	ASSERT_OK(key_store_each(self->s, see, &seen));
	ASSERT_EQ(2U, seen.good);
	EXPECT_EQ(1, seen.id[0]);
	EXPECT_EQ(2, seen.id[1]);
	ASSERT_EQ(6U, seen.bad);
	EXPECT_STREQ(file_of(3), seen.file[0]);
	EXPECT_ERR(-EINVAL, seen.r[0]);
	EXPECT_ERR(-EFBIG, seen.r[1]);
	EXPECT_ERR(-EPERM, seen.r[2]);
	EXPECT_ERR(-ELOOP, seen.r[3]);
	EXPECT_ERR(-EINVAL, seen.r[4]);
	EXPECT_STREQ(file_of(9), seen.file[5]);
	EXPECT_ERR(-EINVAL, seen.r[5]);
}

TEST_F(store, foreign_owner_and_hard_link)
{
	struct seen seen = { 0 };

	if (geteuid() != 0)
		SKIP("needs root to give a file away");
	put(self->s, 1, 100);
	put(self->s, 2, 100);
	ASSERT_EQ(0, chown(scratch_path(&self->dir, file_of(1)), 65534, 65534));
	ASSERT_EQ(0, link(scratch_path(&self->dir, file_of(2)),
			  scratch_path(&self->dir, "elsewhere")));
	ASSERT_OK(key_store_each(self->s, see, &seen));
	EXPECT_EQ(0U, seen.good);
	ASSERT_EQ(2U, seen.bad);
	EXPECT_ERR(-EPERM, seen.r[0]);
	EXPECT_ERR(-EPERM, seen.r[1]);
}

TEST_F(store, unknown_files_are_left_alone)
{
	static const char *const names[] = {
		"README",
		".hidden",
		"x.key",
		"00000000000000000000000000000000.keys",
		"0000000000000000000000000000000G.key",
		"00000000000000000000000000000000.tmp",
	};
	struct seen seen = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		scratch_write(&self->dir, names[i], "x", 1);
	put(self->s, 1, 100);
	ASSERT_OK(key_store_each(self->s, see, &seen));
	EXPECT_EQ(1U, seen.good);
	EXPECT_EQ(0U, seen.bad);
	key_store_close(self->s);
	self->s = NULL;
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_TRUE(scratch_has(&self->dir, names[i]));
}

TEST_F(store, leftovers_of_a_crash_are_removed)
{
	char tmp[80];

	snprintf(tmp, sizeof(tmp), "%s.tmp", file_of(1));
	scratch_write(&self->dir, tmp, "kekd-key 1\n", 11);
	/* An earlier write of this process that failed is no obstacle either. */
	put(self->s, 1, 100);
	EXPECT_FALSE(scratch_has(&self->dir, tmp));
	scratch_write(&self->dir, tmp, "kekd-key 1\n", 11);
	key_store_close(self->s);
	self->s = NULL;
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
	EXPECT_FALSE(scratch_has(&self->dir, tmp));
	EXPECT_TRUE(scratch_has(&self->dir, file_of(1)));
}

/* The disk is full in the middle of the new file: it goes, the old one stands. */
TEST_F(store, failed_write_leaves_the_old_file)
{
	struct key_record rec = record(1, 100), back;
	char tmp[80];

	put(self->s, 1, 100);
	rec.activation = 2;
	scratch_limit_files(100);
	EXPECT_ERR(-EFBIG, key_store_put(self->s, &rec));
	scratch_limit_files(RLIM_INFINITY);
	snprintf(tmp, sizeof(tmp), "%s.tmp", file_of(1));
	EXPECT_FALSE(scratch_has(&self->dir, tmp));
	ASSERT_OK(key_store_each(self->s, keep, &back));
	EXPECT_EQ(1U, back.activation);
}

/* Something in the way that a write must not remove. */
TEST_F(store, blocked_write_leaves_the_old_file)
{
	struct key_record rec = record(1, 100), back;
	char tmp[80];

	put(self->s, 1, 100);
	snprintf(tmp, sizeof(tmp), "%s.tmp", file_of(1));
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, tmp), 0700));
	rec.activation = 2;
	EXPECT_ERR(-EEXIST, key_store_put(self->s, &rec));
	ASSERT_EQ(0, rmdir(scratch_path(&self->dir, tmp)));
	ASSERT_OK(key_store_each(self->s, keep, &back));
	EXPECT_EQ(1U, back.activation);
}

TEST_F(store, is_locked)
{
	struct key_store *second = NULL;

	EXPECT_ERR(-EBUSY, key_store_open(self->dir.path, &second));
	EXPECT_NULL(second);
	key_store_close(self->s);
	self->s = NULL;
	ASSERT_OK(key_store_open(self->dir.path, &self->s));
}

TEST_F(store, too_many_are_refused)
{
	struct key_record rec = record(1, 100);
	struct seen seen = { 0 };

	for (unsigned int i = 0; i < KEKD_KEYS_MAX; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%032x.key", i);
		scratch_write(&self->dir, name, "x", 1);
	}
	EXPECT_ERR(-ENOBUFS, key_store_put(self->s, &rec));
	/* Replacing one of them is not adding one. */
	memset(rec.id, 0, sizeof(rec.id));
	EXPECT_OK(key_store_put(self->s, &rec));
	ASSERT_OK(key_store_each(self->s, see, &seen));
	EXPECT_EQ(1U, seen.good);
	EXPECT_EQ((size_t)KEKD_KEYS_MAX - 1, seen.bad);
	scratch_write(&self->dir, file_of(0xff), "x", 1);
	seen = (struct seen){ 0 };
	EXPECT_ERR(-E2BIG, key_store_each(self->s, see, &seen));
	EXPECT_EQ(0U, seen.good + seen.bad);
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
