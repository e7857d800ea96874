/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk fails under the store: fsync(2), of a file or of the directory, gives EIO once, twice, or
 * until somebody repairs the disk, which is read-only until then; and this at each fsync of the life
 * of a few keys.
 *
 * A change that fails must leave the set as it was. A daemon that starts just then, over the files
 * as they are seen, or over those from before the last rename if the machine crashed, must find
 * every key of the set as it was before the change or as it was to be. With the disk repaired another
 * change goes through, then the same, and after each the store says what the set says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
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

#define NAME     "primary"
#define KEYS_MAX 16

struct life {
	struct key_store *store;
	struct keyset *set;
};

FIXTURE(disk)
{
	struct scratch dir;
	struct soft_root *root;
	char store[512], before[512], seen[512];
	struct life life;
	/* The keys before the change that is tried. */
	struct key_record recs[KEYS_MAX];
	size_t n;
};

typedef struct ktest_data_of_disk fix;

FIXTURE_SETUP(disk)
{
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	scratch_make(&self->dir);
	snprintf(self->store, sizeof(self->store), "%s/store", self->dir.path);
	snprintf(self->before, sizeof(self->before), "%s/before", self->dir.path);
	snprintf(self->seen, sizeof(self->seen), "%s/seen", self->dir.path);
	fault.dir = self->store;
	fault.before = self->before;
}

FIXTURE_TEARDOWN(disk)
{
	scratch_remove(&self->dir);
	soft_root_free(self->root);
}

static void open_life(const fix *f, const char *path, struct life *l)
{
	ASSERT_OK(key_store_open(path, &l->store));
	ASSERT_OK(keyset_new(l->store, NULL, f->root, &l->set));
	ASSERT_OK(keyset_load(l->set));
}

static void close_life(struct life *l)
{
	keyset_free(l->set);
	key_store_close(l->store);
}

static void note(fix *f)
{
	f->n = 0;
	for (const struct list *i = keyset_list(f->life.set)->next; i != keyset_list(f->life.set);
	     i = i->next) {
		ASSERT_LT(f->n, (size_t)KEYS_MAX);
		f->recs[f->n++] = list_entry(i, struct keyset_key, link)->rec;
	}
}

/* As texts, of which a record has one only. */
static void expect_same(const struct key_record *a, const struct key_record *b)
{
	char x[KEY_RECORD_TEXT_MAX], y[KEY_RECORD_TEXT_MAX];
	size_t x_len, y_len;

	ASSERT_OK(key_record_format(a, x, sizeof(x), &x_len));
	ASSERT_OK(key_record_format(b, y, sizeof(y), &y_len));
	EXPECT_MEMEQ(x, x_len, y, y_len);
}

static void expect_unchanged(const fix *f)
{
	size_t n = 0;

	for (const struct list *i = keyset_list(f->life.set)->next; i != keyset_list(f->life.set);
	     i = i->next, n++) {
		const struct keyset_key *key = list_entry(i, struct keyset_key, link);

		ASSERT_LT(n, f->n);
		expect_same(&f->recs[n], &key->rec);
		EXPECT_EQ(keyset_state_opens(key->rec.state), key->why == 0);
	}
	EXPECT_EQ(f->n, n);
}

/* One change: a new key in state @to if @id is NULL, otherwise a step of that key. */
static int change(struct life *l, const uint8_t *id, enum key_state to)
{
	const struct keyset_key *key;

	return id ? keyset_step(l->set, id, to, 0) : keyset_create(l->set, NAME, to, &key);
}

/* What a daemon finds that starts over @path. */
static void expect_found(const fix *f, const char *path, const uint8_t *id, enum key_state to)
{
	const struct fault saved = fault;
	struct life l;

	fault.n = 0; /* only the one disk is ill */
	open_life(f, path, &l);
	EXPECT_EQ(0U, keyset_unreadable(l.set));
	EXPECT_EQ(0U, keyset_missing(l.set));
	EXPECT_OK(keyset_distrust(l.set));
	for (size_t i = 0; i < f->n; i++) {
		const struct key_record *rec = &f->recs[i];
		const struct keyset_key *key = keyset_find(l.set, rec->id);
		bool is_meant = id && memcmp(id, rec->id, KEKD_KEY_ID) == 0;

		ASSERT_NOT_NULL(key);
		EXPECT_EQ(keyset_state_opens(key->rec.state) ? 0 : -EKEYREJECTED, key->why);
		EXPECT_LE(rec->activation, key->rec.activation);
		/* The load itself ends an older activation. */
		EXPECT_TRUE(key->rec.state == rec->state || (is_meant && key->rec.state == to) ||
			    (to == KEY_ACTIVE && rec->state == KEY_ACTIVE &&
			     key->rec.state == KEY_DECRYPT_ONLY));
	}
	close_life(&l);
	fault = saved;
}

static void expect_fine(void *ctx _unused_, const struct keyset_key *key _unused_, int r)
{
	EXPECT_OK(r);
}

/* The store has the keys of the set, as the set has them, and no others. */
static void expect_saved(fix *f)
{
	struct list *keys;
	struct life l;
	size_t n = 0;

	EXPECT_OK(keyset_verify(f->life.set, expect_fine, NULL));
	note(f);
	copy(f->store, f->seen);
	open_life(f, f->seen, &l);
	for (size_t i = 0; i < f->n; i++) {
		const struct keyset_key *key = keyset_find(l.set, f->recs[i].id);

		ASSERT_NOT_NULL(key);
		expect_same(&f->recs[i], &key->rec);
	}
	keys = (struct list *)(uintptr_t)keyset_list(l.set);
	list_for_each (i, keys)
		n++;
	EXPECT_EQ(f->n, n);
	close_life(&l);
}

/*
 * Try it, again while the disk fails, and then on a repaired disk; before that, something else, which
 * must not find the ruins of what failed.
 */
static void must(fix *f, const uint8_t *id, enum key_state to)
{
	bool failed = false;

	note(f);
	for (unsigned int tries = 1; change(&f->life, id, to) < 0; tries++) {
		ASSERT_GE(2U, tries);
		failed = true;
		expect_unchanged(f);
		copy(f->store, f->seen);
		expect_found(f, f->seen, id, to);
		if (fault.copied)
			expect_found(f, f->before, id, to);
		fault.copied = false;
		if (fault.once) /* it is undone already */
			expect_saved(f);
		if (tries == 2)
			fault.n = 0;
		if (fault.n > 0 || !id)
			continue;
		ASSERT_OK(change(&f->life, NULL, KEY_STAGED));
		expect_saved(f);
	}
	if (failed && fault.n == 0)
		expect_saved(f);
}

static const uint8_t *newest(const fix *f)
{
	return list_entry(keyset_list(f->life.set)->prev, struct keyset_key, link)->rec.id;
}

/* Create, stage, activate, retire, reopen, go back, destroy. */
static void live(fix *f)
{
	const uint8_t *a, *b;

	must(f, NULL, KEY_ACTIVE);
	a = newest(f);
	must(f, NULL, KEY_STAGED);
	b = newest(f);
	must(f, b, KEY_ACTIVE);
	must(f, a, KEY_RETIRED);
	must(f, a, KEY_DECRYPT_ONLY);
	must(f, a, KEY_ACTIVE);
	must(f, b, KEY_RETIRED);
	must(f, b, KEY_DESTROYED);
}

/* @n failing fsyncs from the one numbered @at; false if a life has not so many. */
static bool live_with(fix *f, unsigned int at, unsigned int n)
{
	bool failed;

	open_life(f, f->store, &f->life);
	fault.count = 0;
	fault.at = at;
	fault.n = n;
	fault.once = n == 1;
	live(f);
	failed = fault.n != n;
	fault.n = 0;
	must(f, NULL, KEY_STAGED); /* what failed without failing its change is mended before it */
	expect_saved(f);
	close_life(&f->life);
	empty(f->store);
	return failed;
}

TEST_F_TIMEOUT(disk, fails_at_every_fsync_of_a_life, 300)
{
	static const unsigned int many[] = { 1, 2, FOREVER };
	unsigned int at = 0;
	bool failed = true;

	while (failed) {
		at++;
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			failed = live_with(self, at, many[i]);
	}
	fprintf(stderr, "# failed at each of %u fsyncs\n", at - 1);
	EXPECT_LE(50U, at - 1);
}

/* With a mode that others may read a file is not read. */
static void set_mode_of(const fix *f, const char *file, mode_t mode)
{
	_cleanup_close_ int dir = open(f->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ASSERT_EQ(0, fchmodat(dir, file, mode, 0));
}

/* The file of key @id. */
static void set_mode(const fix *f, const uint8_t *id, mode_t mode)
{
	char file[NAME_SIZE];

	file_name(id, file);
	set_mode_of(f, file, mode);
}

static void fail_once(const fix *f, unsigned int at)
{
	fault = (struct fault){ .at = at, .n = 1, .dir = f->store, .before = f->before };
}

/* Bring the file of key @id back from an earlier copy of the store. */
static void bring_back(const fix *f, const uint8_t *id)
{
	_cleanup_close_ int from = open(f->seen, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int to = open(f->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char file[NAME_SIZE];

	file_name(id, file);
	remove_one(to, file, -1);
	copy_one(from, file, to);
}

TEST_F(disk, accept_that_fails_vouches_for_nothing)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	memcpy(id, newest(self), sizeof(id));
	copy(self->store, self->seen);
	ASSERT_OK(change(l, id, KEY_ACTIVE));
	close_life(l);
	bring_back(self, id);

	open_life(self, self->store, l);
	fail_once(self, 1);
	EXPECT_ERR(-EIO, keyset_accept(l->set));
	EXPECT_ERR(-ESTALE, keyset_find(l->set, id)->why);
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	close_life(l);
	open_life(self, self->store, l);
	EXPECT_ERR(-ESTALE, keyset_find(l->set, id)->why);
	ASSERT_OK(keyset_accept(l->set));
	EXPECT_OK(keyset_find(l->set, id)->why);
	close_life(l);
}

/* The key is made, and only the manifest's last word on it missing: it may have been written with. */
TEST_F(disk, made_key_that_is_not_read_once_stays_announced)
{
	const struct keyset_key *other;
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	open_life(self, self->store, l);
	ASSERT_OK(keyset_create(l->set, "other", KEY_ACTIVE, &other));
	fail_once(self, 5);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	EXPECT_EQ(0U, fault.n);
	memcpy(id, newest(self), sizeof(id));
	close_life(l);

	set_mode(self, id, 0644);
	open_life(self, self->store, l);
	EXPECT_EQ(1U, keyset_missing(l->set));
	ASSERT_OK(keyset_create(l->set, "other", KEY_STAGED, &other));
	close_life(l);

	set_mode(self, id, 0600);
	open_life(self, self->store, l);
	ASSERT_NOT_NULL(keyset_find(l->set, id));
	EXPECT_OK(keyset_find(l->set, id)->why);
	EXPECT_EQ(0U, keyset_missing(l->set));
	close_life(l);
}

/* The number that a key had whose file cannot be read is not given to another one. */
TEST_F(disk, unread_active_key_gets_no_rival)
{
	const struct keyset_key *active;
	uint8_t id[KEKD_KEY_ID], staged[KEKD_KEY_ID];
	struct life *l = &self->life;

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	memcpy(id, newest(self), sizeof(id));
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	memcpy(staged, newest(self), sizeof(staged));
	close_life(l);

	set_mode(self, id, 0644);
	open_life(self, self->store, l);
	EXPECT_ERR(-ESTALE, change(l, NULL, KEY_ACTIVE));
	EXPECT_ERR(-ESTALE, change(l, staged, KEY_ACTIVE));
	close_life(l);

	set_mode(self, id, 0600);
	open_life(self, self->store, l);
	ASSERT_OK(keyset_active(l->set, NAME, &active));
	EXPECT_MEMEQ(id, sizeof(id), active->rec.id, sizeof(id));
	close_life(l);
}

/* With nothing of it to be read for once a store is not taken for a new one. */
TEST_F(disk, unread_manifest_is_not_replaced)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	memcpy(id, newest(self), sizeof(id));
	close_life(l);

	set_mode(self, id, 0644);
	set_mode_of(self, KEY_STORE_MANIFEST, 0644);
	open_life(self, self->store, l);
	EXPECT_ERR(-ESTALE, keyset_distrust(l->set));
	EXPECT_ERR(-ESTALE, change(l, NULL, KEY_ACTIVE));
	close_life(l);

	set_mode(self, id, 0600);
	set_mode_of(self, KEY_STORE_MANIFEST, 0600);
	open_life(self, self->store, l);
	EXPECT_OK(keyset_distrust(l->set));
	ASSERT_NOT_NULL(keyset_find(l->set, id));
	EXPECT_OK(keyset_find(l->set, id)->why);
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	close_life(l);
}

/* While there is no root nothing is known of the manifest, and nobody is told to accept anything. */
TEST_F(disk, sealed_set_with_an_unread_file_is_only_sealed)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];
	struct keyset *sealed;

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	memcpy(id, newest(self), sizeof(id));
	set_mode(self, id, 0644);
	ASSERT_OK(keyset_new(l->store, NULL, NULL, &sealed));
	ASSERT_OK(keyset_load(sealed));
	EXPECT_EQ(1U, keyset_unreadable(sealed));
	EXPECT_ERR(-EKEYEXPIRED, keyset_distrust(sealed));
	keyset_free(sealed);
	close_life(l);
}

/* The file of a key that the set could not read is not removed when the same key cannot be taken in. */
TEST_F(disk, adoption_that_fails_removes_no_file_of_before)
{
	const struct keyset_key *key;
	struct life *l = &self->life;
	struct key_record rec;

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	rec = keyset_find(l->set, newest(self))->rec;
	for (unsigned int at = 3; at <= 4; at++) { /* the fsyncs of the key's file */
		close_life(l);
		set_mode(self, rec.id, 0644);
		open_life(self, self->store, l);
		ASSERT_OK(keyset_accept(l->set)); /* without it */
		fail_once(self, at);
		EXPECT_ERR(-EIO, keyset_adopt(l->set, &rec, &key));
		ASSERT_OK(change(l, NULL, KEY_STAGED));
		close_life(l);
		set_mode(self, rec.id, 0600);
		open_life(self, self->store, l);
		ASSERT_OK(keyset_accept(l->set));
		ASSERT_NOT_NULL(keyset_find(l->set, rec.id));
		EXPECT_OK(keyset_find(l->set, rec.id)->why);
	}
	close_life(l);
}

/* A load that has found what was announced says so: from then on the file before is one of an earlier time. */
TEST_F(disk, load_ends_an_announcement)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	memcpy(id, newest(self), sizeof(id));
	copy(self->store, self->seen);
	fail_once(self, 7); /* manifest, two keys, and the manifest's last word */
	ASSERT_OK(change(l, id, KEY_ACTIVE));
	EXPECT_EQ(0U, fault.n);
	close_life(l);

	fault.count = 0;
	open_life(self, self->store, l);
	EXPECT_EQ(
		6U,
		fault.count); /* both files once more, then the manifest: each and its directory */
	EXPECT_EQ(KEY_ACTIVE, keyset_find(l->set, id)->rec.state);
	close_life(l);
	bring_back(self, id);
	open_life(self, self->store, l);
	EXPECT_ERR(-ESTALE, keyset_find(l->set, id)->why);
	close_life(l);
}

/* What was found may be in the kernel's memory alone: until it is surely on disk the other is right, too. */
TEST_F(disk, load_that_cannot_write_ends_no_announcement)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	ASSERT_OK(change(l, NULL, KEY_STAGED));
	memcpy(id, newest(self), sizeof(id));
	copy(self->store, self->seen);
	fail_once(self, 7);
	ASSERT_OK(change(l, id, KEY_ACTIVE));
	close_life(l);

	fail_once(self, 1);
	open_life(self, self->store, l);
	EXPECT_EQ(0U, fault.n);
	close_life(l);
	bring_back(self, id);
	open_life(self, self->store, l);
	EXPECT_OK(keyset_find(l->set, id)->why);
	close_life(l);
}

/* The same of a new key: it may have been written with since that load, so it is missed. */
TEST_F(disk, made_key_that_was_found_is_missed)
{
	struct life *l = &self->life;
	uint8_t id[KEKD_KEY_ID];
	char file[NAME_SIZE];

	open_life(self, self->store, l);
	fail_once(self, 5);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	EXPECT_EQ(0U, fault.n);
	memcpy(id, newest(self), sizeof(id));
	close_life(l);

	open_life(self, self->store, l);
	EXPECT_OK(keyset_find(l->set, id)->why);
	file_name(id, file);
	ASSERT_EQ(0, unlinkat(l->store->dir, file, 0));
	close_life(l);
	open_life(self, self->store, l);
	EXPECT_EQ(1U, keyset_missing(l->set));
	close_life(l);
}

/* Nor is its file refused afterwards, if it was announced: two announcements fit into the manifest. */
TEST_F(disk, adoption_that_fails_keeps_what_was_announced)
{
	const struct keyset_key *key;
	struct life *l = &self->life;
	struct key_record rec;

	open_life(self, self->store, l);
	fail_once(self, 5);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	EXPECT_EQ(0U, fault.n);
	rec = keyset_find(l->set, newest(self))->rec;
	close_life(l);

	set_mode(self, rec.id, 0644);
	open_life(self, self->store, l);
	fail_once(self, 3);
	EXPECT_ERR(-EIO, keyset_adopt(l->set, &rec, &key));
	close_life(l);

	set_mode(self, rec.id, 0600);
	open_life(self, self->store, l);
	ASSERT_NOT_NULL(keyset_find(l->set, rec.id));
	EXPECT_OK(keyset_find(l->set, rec.id)->why);
	close_life(l);
}

/* A key whose file was gone and that another node gives again is missed no more. */
TEST_F(disk, adopted_key_is_missed_no_more)
{
	const struct keyset_key *key;
	struct life *l = &self->life;
	struct key_record rec;
	char file[NAME_SIZE];

	open_life(self, self->store, l);
	ASSERT_OK(change(l, NULL, KEY_ACTIVE));
	rec = keyset_find(l->set, newest(self))->rec;
	file_name(rec.id, file);
	ASSERT_EQ(0, unlinkat(l->store->dir, file, 0));
	close_life(l);

	open_life(self, self->store, l);
	EXPECT_EQ(1U, keyset_missing(l->set));
	ASSERT_OK(keyset_adopt(l->set, &rec, &key));
	EXPECT_EQ(0U, keyset_missing(l->set));
	close_life(l);
}

TEST_HARNESS_MAIN
