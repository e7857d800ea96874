/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk fails under the store: fsync(2), of a file or of the directory, gives EIO once, twice, or
 * until somebody repairs the disk, which is read-only until then; and this at each fsync of the life
 * of a few keys.
 *
 * A change that fails must leave the set as it was. A daemon that starts just then, over the files
 * as they are seen, or over those from before the last rename if the machine crashed, must find
 * the document as it was before the change or as it was to be. With the disk repaired the change goes
 * through, and the store says what the set says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "tests/support/root.h"
#include "tests/unit/scratch.h"

#define FOREVER 1000U

/* Of the fsyncs to come: the first that fails, how many do, and how many there were. */
static struct fault {
	unsigned int at, n, count;
	const char *dir, *before; /* the store, and a copy of it from before the rename */
	bool copied, once;
} fault;

static int in_each(const char *dir, void (*each)(int from, const char *name, int to), int to)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			each(dirfd(d), e->d_name, to);
	return 0;
}

static void remove_one(int from, const char *name, int to _unused_)
{
	ASSERT_EQ(0, unlinkat(from, name, 0));
}

static void copy_one(int from, const char *name, int to)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char text[16384];
	ssize_t n = read(in, text, sizeof(text));

	ASSERT_TRUE(n >= 0 && n < (ssize_t)sizeof(text));
	ASSERT_EQ(n, write(out, text, (size_t)n));
}

static void empty(const char *dir)
{
	EXPECT_OK(in_each(dir, remove_one, -1));
}

/* @to is made what @from is. */
static void copy(const char *from, const char *to)
{
	_cleanup_close_ int dir = -1;

	if (mkdir(to, 0700) < 0)
		empty(to);
	dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, dir);
	ASSERT_OK(in_each(from, copy_one, dir));
}

static void copy_before(void)
{
	copy(fault.dir, fault.before);
	fault.copied = true;
}

static int disk_fsync(int fd _unused_)
{
	fault.count++;
	if (fault.n == 0 || fault.count < fault.at)
		return 0; /* nothing here outlives the machine */
	fault.n--;
	errno = EIO;
	return -1;
}

/* After its first error it is read-only, as ext4 makes it. */
static bool is_readonly(void)
{
	if (fault.n == 0 || fault.count < fault.at)
		return false;
	errno = EROFS;
	return true;
}

static int disk_unlinkat(int dir, const char *name, int flags)
{
	return is_readonly() ? -1 : unlinkat(dir, name, flags);
}

static int disk_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (is_readonly())
		return -1;
	if (fault.n > 0 && fault.count + 1 == fault.at)
		copy_before();
	return renameat(from_dir, from, to_dir, to);
}

#define fsync    disk_fsync
#define renameat disk_renameat
#define unlinkat disk_unlinkat
#include "daemon/keys/store.c" /* instead of the library's */
#undef fsync
#undef renameat
#undef unlinkat

#include "daemon/keys/keyset.h"
#include "tests/unit/alone.h"

#define NAME "primary"

struct life {
	struct key_store *store;
	struct keyset *set;
};

FIXTURE(disk)
{
	struct scratch dir;
	struct root_key *root;
	char store[512], before[512], seen[512];
	struct life life;
	struct keydoc *was; /* the document before the change that is tried */
};

typedef struct ktest_data_of_disk fix;

FIXTURE_SETUP(disk)
{
	ASSERT_OK(test_root(&self->root));
	scratch_make(&self->dir);
	snprintf(self->store, sizeof(self->store), "%s/store", self->dir.path);
	snprintf(self->before, sizeof(self->before), "%s/before", self->dir.path);
	snprintf(self->seen, sizeof(self->seen), "%s/seen", self->dir.path);
	fault.dir = self->store;
	fault.before = self->before;
}

FIXTURE_TEARDOWN(disk)
{
	keydoc_free(self->was);
	scratch_remove(&self->dir);
	root_key_free(self->root);
}

static void open_life(const fix *f, const char *path, struct life *l)
{
	ASSERT_OK(key_store_open(path, &l->store));
	ASSERT_OK(keyset_new(l->store, f->root, "cp-1", &l->set));
	ASSERT_OK(keyset_load(l->set));
}

static void close_life(struct life *l)
{
	keyset_free(l->set);
	key_store_close(l->store);
}

/* One change: a new staged key if @id is NULL, otherwise a step of that key. */
static int change(struct life *l, const uint8_t *id, enum keydoc_change_kind kind)
{
	const struct keyset_key *key;

	return id ? alone_step(l->set, kind, id) : alone_stage(l->set, NAME, &key);
}

/* The set is as it was: the same document, and each key that opens is there. */
static void expect_unchanged(const fix *f)
{
	const struct keydoc *doc = keyset_doc(f->life.set);

	EXPECT_MEMEQ(f->was->hash, SHA256_LEN, doc->hash, SHA256_LEN);
	for (size_t i = 0; i < doc->n_keys; i++) {
		const struct keyset_key *key = keyset_find(f->life.set, doc->keys[i].info.id);

		ASSERT_NOT_NULL(key);
		EXPECT_EQ(doc->keys[i].info.state, key->rec.info.state);
		EXPECT_EQ(key_state_opens(key->rec.info.state), key->why == 0);
	}
}

/* What a daemon finds that starts over @path: the document before the change, or the one after it. */
static void expect_found(const fix *f, const char *path)
{
	const struct keydoc *doc;
	struct life l;

	copy(path, f->seen);
	open_life(f, f->seen, &l);
	doc = keyset_doc(l.set);
	EXPECT_FALSE(keyset_is_previous(l.set));
	if (!doc) {
		EXPECT_ERR(-ENODATA, keyset_why(l.set));
		EXPECT_EQ(0U, f->was->n_keys);
	} else if (memcmp(doc->hash, f->was->hash, sizeof(doc->hash)) != 0) {
		EXPECT_EQ(f->was->generation + 1, doc->generation);
		EXPECT_TRUE(keydoc_covers(doc, f->was, NULL));
	}
	close_life(&l);
}

static void expect_saved(const fix *f)
{
	struct life l;

	copy(f->store, f->seen);
	open_life(f, f->seen, &l);
	ASSERT_NOT_NULL(keyset_doc(l.set));
	EXPECT_MEMEQ(keyset_doc(f->life.set)->hash, SHA256_LEN, keyset_doc(l.set)->hash,
		     SHA256_LEN);
	close_life(&l);
}

/* The change is tried until it is done: it fails as often as the disk does, and nothing shows of that. */
static void must(fix *f, const uint8_t *id, enum keydoc_change_kind kind)
{
	unsigned int tries = 0;
	int r;

	ASSERT_OK(keyset_begin(f->life.set));
	keydoc_free(f->was);
	ASSERT_OK(keydoc_copy(keyset_doc(f->life.set), &f->was));
	for (;;) {
		fault.copied = false;
		r = change(&f->life, id, kind);
		if (r == 0)
			break;
		EXPECT_TRUE(r == -EIO || r == -EROFS);
		ASSERT_LT(tries++, 5U);
		expect_unchanged(f);
		expect_found(f, f->store);
		if (fault.copied)
			expect_found(f, f->before);
		if (fault.n >= FOREVER / 2 || r == -EROFS)
			fault.n = 0; /* repaired */
	}
	expect_saved(f);
}

static const uint8_t *newest(const fix *f)
{
	return list_entry(keyset_list(f->life.set)->prev, struct keyset_key, link)->rec.info.id;
}

static void live(fix *f)
{
	uint8_t a[KEKD_KEY_ID], b[KEKD_KEY_ID];

	must(f, NULL, KEYDOC_STAGE);
	memcpy(a, newest(f), sizeof(a));
	must(f, a, KEYDOC_ACTIVATE);
	must(f, NULL, KEYDOC_STAGE);
	memcpy(b, newest(f), sizeof(b));
	must(f, b, KEYDOC_ACTIVATE);
	must(f, a, KEYDOC_RETIRE);
	must(f, a, KEYDOC_DESTROY);
}

/* One life whose @at-th fsync fails, and @n in all; true if it was reached. */
static bool live_with(fix *f, unsigned int at, unsigned int n)
{
	bool hit;

	fault.count = 0;
	fault.at = at;
	fault.n = 0;
	open_life(f, f->store, &f->life);
	fault.count = 0; /* a new store's own are not counted */
	fault.n = n;
	live(f);
	hit = fault.count >= at;
	fault.n = 0;
	close_life(&f->life);
	empty(f->store);
	return hit;
}

TEST_F_TIMEOUT(disk, fails_at_every_fsync_of_a_life, 300)
{
	static const unsigned int times[] = { 1, 2, FOREVER };
	unsigned int at;

	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		for (at = 1; live_with(self, at, times[i]); at++)
			;
		EXPECT_LE(12U, at - 1); /* two for each of six documents */
	}
}

/* A rotation is two documents: each its file and its directory. */
TEST_F(disk, a_rotation_costs_four)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	fault.n = 0;
	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEYDOC_STAGE));
	memcpy(id, newest(self), sizeof(id));
	ASSERT_OK(change(l, id, KEYDOC_ACTIVATE));
	fault.count = 0;
	ASSERT_OK(change(l, NULL, KEYDOC_STAGE));
	memcpy(id, newest(self), sizeof(id));
	ASSERT_OK(change(l, id, KEYDOC_ACTIVATE));
	EXPECT_EQ(4U, fault.count);
	close_life(l);
}

TEST_HARNESS_MAIN
