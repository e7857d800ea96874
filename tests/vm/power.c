/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine loses its power, and the disk fails, is full or becomes read-only, under a key store on a
 * real file system of a real kernel: ext4 and xfs.
 *
 * Power: the file system lies on dm-log-writes, which keeps every write in an order in which a disk with a
 * volatile cache may have them durable. Keys live through a whole life, and each change that has
 * succeeded leaves a mark in the log, for the document that was promised by that. Then the log is played
 * back, and at each mark, flush and FUA write the disk is mounted as by a machine that starts again. The
 * store must open, with the promised document or the next one, never the previous file, with every key,
 * and take the next change. Between two flushes a disk may write in any order, so of the writes between them
 * also each alone is made, and each alone left out. Not covered: other choices of them, sectors that are
 * torn, disks that lie about a flush, and a loss of power while the machine recovers from one.
 *
 * That it can fail is tested too: with one of the store's fsyncs left out, promises are broken. ext4 is
 * mounted with noauto_da_alloc, as otherwise it writes the data of a file that is renamed over another
 * one by itself.
 *
 * Failure: from one step of a write on, the disk gives EIO for all that is written to it (dm-flakey), or is
 * read-only, or an ext4 is so full that the step has no room. The change must be refused with words,
 * nothing be lost, and the change go through when the disk is repaired.
 *
 * Only in a guest of scripts/vm, as this loads modules and mounts.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/keys/store.h"

/* The steps of writing a keyset, in their order. */
enum step { NOTHING, CREATE, WRITE, SYNC_FILE, LINK, KEEP, RENAME, SYNC_DIR, STEPS };

static const char *const step_names[STEPS] = {
	"nothing", "create",
	"write",   "fsync of the file",
	"link",    "rename of the link",
	"rename",  "fsync of the directory",
};

/* Before the step @at, @then is called, once; @omit is left out; @failed is the last that failed. */
static struct {
	enum step at, omit, failed;
	void (*then)(void *ctx);
	void *ctx;
} hook;

static void before_step(enum step step)
{
	if (step != hook.at)
		return;
	hook.at = NOTHING;
	hook.then(hook.ctx);
}

static int after_step(enum step step, int r)
{
	if (r < 0)
		hook.failed = step;
	return r;
}

static enum step sync_step(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? SYNC_DIR : SYNC_FILE;
}

static int power_openat(int dir, const char *name, int flags, mode_t mode)
{
	if (!(flags & O_CREAT))
		return openat(dir, name, flags);
	before_step(CREATE);
	return after_step(CREATE, openat(dir, name, flags, mode));
}

static int power_write_all(int fd, const void *data, size_t size)
{
	before_step(WRITE);
	return after_step(WRITE, io_write_all(fd, data, size));
}

static int power_fsync(int fd)
{
	enum step step = sync_step(fd);

	before_step(step);
	return step == hook.omit ? 0 : after_step(step, fsync(fd));
}

static int power_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	before_step(LINK);
	return after_step(LINK, linkat(from_dir, from, to_dir, to, flags));
}

static int power_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	enum step step = strcmp(to, KEY_STORE_PREV) == 0 ? KEEP : RENAME;

	before_step(step);
	return after_step(step, renameat(from_dir, from, to_dir, to));
}

#define OPENAT_(dir, name, flags, mode, ...) power_openat(dir, name, flags, mode)
#define openat(...)                          OPENAT_(__VA_ARGS__, 0, 0)
#define io_write_all                         power_write_all
#define fsync                                power_fsync
#define linkat                               power_linkat
#define renameat                             power_renameat
#include "daemon/keys/store.c" /* instead of the library's */
#undef openat
#undef io_write_all
#undef fsync
#undef linkat
#undef renameat

#include "daemon/keys/keyset.h"
#include "tests/support/root.h"
#include "tests/unit/alone.h"
#include "tests/unit/scratch.h"
#include "tests/vm/power_disk.h"
#include "tests/vm/power_log.h"

#define NAME       "primary"
#define LOG_SIZE   ((off_t)256 << 20)
#define PROMISES   32
#define EPOCH_MAX  1024
#define EXT4_CALM  "noauto_da_alloc,commit=3600"
#define XFS_PERIOD "/proc/sys/fs/xfs/xfssyncd_centisecs"

/* What a user was told is durable. */
struct promise {
	uint64_t generation;
	uint8_t hash[SHA256_LEN];
};

struct life {
	struct key_store *store;
	struct keyset *set;
};

FIXTURE(power)
{
	struct scratch dir; /* a tmpfs: disk, copies of it, log, and the mount point */
	struct root_key *root;
	char name
		[32]; /* of device-mapper's device; one for each test, as one that failed may leave it */
	char disk[512], state[512], epoch[512], log[512], mnt[512], keys[512];
	uint64_t sectors;
	char lower[DISK_PATH], device[DISK_PATH]; /* the loop device, and what lies above it */
	struct life life;
	struct promise promises[PROMISES];
	size_t n_promises;
	uint8_t node[KEYDOC_NODE];
	size_t states;
	struct keydoc *was; /* the document before the change that is tried */
};

typedef struct ktest_data_of_power fix;

/* @calm: mount options with which nothing is written because of the time alone. */
FIXTURE_VARIANT(power)
{
	const char *type, *calm;
	const char *const mkfs[16];
	off_t size;
};

typedef struct ktest_variant_of_power variant_of;

FIXTURE_VARIANT_ADD(power, ext4){
	.type = "ext4",
	.calm = EXT4_CALM,
	.size = 32 << 20,
	.mkfs = { "mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-E",
		  "lazy_itable_init=0,lazy_journal_init=0" },
};

/* mkfs.xfs makes none that is smaller. */
FIXTURE_VARIANT_ADD(power, xfs){
	.type = "xfs",
	.calm = "",
	.size = 320 << 20,
	.mkfs = { "mkfs.xfs", "-q", "-K" },
};

/* Runs a program of the host to its end. */
static void run(const char *const argv[])
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (status != 0)
		ktest_log("%s: status %#x", argv[0], (unsigned int)status);
	ASSERT_EQ(0, status);
}

static bool in_a_guest(void)
{
	_cleanup_close_ int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	char line[4096] = "";
	size_t len;

	return fd >= 0 && io_read_all(fd, line, sizeof(line) - 1, &len) == 0 &&
	       strstr(line, " kekd_job=");
}

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_OK(io_write_all(fd, text, strlen(text)));
}

static void make_file(const char *path, off_t size)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, size));
}

static void make_paths(fix *f)
{
	snprintf(f->name, sizeof(f->name), "kekd-power-%d", getpid());
	snprintf(f->disk, sizeof(f->disk), "%s/disk", f->dir.path);
	snprintf(f->state, sizeof(f->state), "%s/state", f->dir.path);
	snprintf(f->epoch, sizeof(f->epoch), "%s/epoch", f->dir.path);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir.path);
	snprintf(f->mnt, sizeof(f->mnt), "%s/mnt", f->dir.path);
	snprintf(f->keys, sizeof(f->keys), "%s/mnt/keys", f->dir.path);
}

/* mkfs @argv and the name of the disk. */
static void make_disk(fix *f, const char *const mkfs[], off_t size)
{
	const char *argv[17] = { 0 };
	size_t n = 0;

	f->sectors = (uint64_t)size / DISK_SECTOR;
	make_file(f->epoch, size);
	while (mkfs[n]) {
		argv[n] = mkfs[n];
		n++;
	}
	argv[n] = f->epoch;
	run(argv);
	ASSERT_OK(disk_copy(f->epoch, f->disk)); /* without the zeros of an empty journal */
}

static void set_up(fix *f, const variant_of *v)
{
	static const char *const modprobe[] = { "modprobe", "-a",        "loop",
						"dm-mod",   "dm-flakey", "dm-log-writes",
						"ext4",     "xfs",       NULL };
	static const uint8_t secret[32] = "a root that outlives the power ";

	SKIP_UNLESS("guest", in_a_guest(),
		    "it loads modules and mounts: only in a guest of scripts/vm");
	ASSERT_OK(root_key_new_in_memory(span_of(secret, sizeof(secret)), &f->root));
	scratch_make(&f->dir);
	ASSERT_EQ(0, mount("tmpfs", f->dir.path, "tmpfs", 0, "size=800m"));
	make_paths(f);
	ASSERT_EQ(0, mkdir(f->mnt, 0755));
	run(modprobe);
	put(XFS_PERIOD, "720000");
	make_disk(f, v->mkfs, v->size);
}

/* What a test that failed has left goes with the guest. */
static void tear_down(fix *f)
{
	keydoc_free(f->was);
	EXPECT_EQ(0, umount(f->dir.path));
	scratch_remove(&f->dir);
	root_key_free(f->root);
}

FIXTURE_SETUP(power)
{
	set_up(self, variant);
}

FIXTURE_TEARDOWN(power)
{
	tear_down(self);
}

/* --- a life ---------------------------------------------------------------------------------- */

static void open_life(fix *f)
{
	ASSERT_OK(key_store_open(f->keys, &f->life.store));
	ASSERT_OK(keyset_new(f->life.store, f->root, "cp-1", &f->life.set));
	ASSERT_OK(keyset_load(f->life.set));
}

static void close_life(fix *f)
{
	keyset_free(f->life.set);
	key_store_close(f->life.store);
}

/* As alone_step() with the words of a refusal; @id NULL stages a new key. */
static int change(fix *f, enum keydoc_change_kind kind, const uint8_t *id,
		  struct keydoc_refusal *why)
{
	struct keydoc_change what = { .kind = kind, .vouched = true, .forced = true };
	const struct keyset_key *key;
	struct keyack *ack;
	int r;

	ASSERT_OK(keyset_begin(f->life.set));
	ack = alone_ack(f->life.set);
	if (id) {
		memcpy(what.id, id, sizeof(what.id));
		r = keyset_change(f->life.set, &what,
				  &(struct keydoc_heard){
					  .acks = (const struct keyack *const *)&ack, .n = 1 },
				  why, NULL, NULL);
	} else {
		r = keyset_stage(f->life.set, NAME,
				 &(struct keydoc_heard){ .acks = (const struct keyack *const *)&ack,
							 .n = 1 },
				 why, NULL, NULL, &key);
	}
	keyack_free(ack);
	return r;
}

static const uint8_t *newest(const fix *f)
{
	return list_entry(keyset_list(f->life.set)->prev, struct keyset_key, link)->rec.info.id;
}

/* A change that succeeds, and the promise that follows from that. */
static void promise(fix *f, enum keydoc_change_kind kind, const uint8_t *id)
{
	struct promise *p = &f->promises[f->n_promises];
	struct keydoc_refusal why;
	const struct keydoc *doc;
	char mark[64];

	ASSERT_LT(f->n_promises, ARRAY_SIZE(f->promises));
	ASSERT_OK(change(f, kind, id, &why));
	doc = keyset_doc(f->life.set);
	p->generation = doc->generation;
	memcpy(p->hash, doc->hash, sizeof(p->hash));
	snprintf(mark, sizeof(mark), "mark %zu", f->n_promises++);
	ASSERT_OK(disk_dm_message(f->name, mark));
}

/* Create, rotate, go back, retire, reopen, destroy, give up. */
static void live(fix *f)
{
	uint8_t a[KEKD_KEY_ID], b[KEKD_KEY_ID];

	promise(f, KEYDOC_STAGE, NULL);
	memcpy(a, newest(f), sizeof(a));
	promise(f, KEYDOC_ACTIVATE, a);
	promise(f, KEYDOC_STAGE, NULL);
	memcpy(b, newest(f), sizeof(b));
	promise(f, KEYDOC_ACTIVATE, b);
	promise(f, KEYDOC_RETIRE, a);
	promise(f, KEYDOC_REOPEN, a);
	promise(f, KEYDOC_RETIRE, a);
	promise(f, KEYDOC_DESTROY, a);
	promise(f, KEYDOC_STAGE, NULL);
	promise(f, KEYDOC_GIVE_UP, newest(f));
}

/* @omit: the step that the store leaves out, from its first document on. */
static void record(fix *f, const variant_of *v, enum step omit)
{
	char data[DISK_PATH], log[DISK_PATH], params[128];
	_cleanup_close_ int data_fd = -1, log_fd = -1;

	ASSERT_OK(disk_copy(f->disk, f->state));
	make_file(f->log, LOG_SIZE);
	data_fd = disk_loop(f->state, data);
	log_fd = disk_loop(f->log, log);
	ASSERT_LE(0, data_fd);
	ASSERT_LE(0, log_fd);
	snprintf(params, sizeof(params), "%s %s", data, log);
	ASSERT_OK(disk_dm_create(f->name, f->sectors, "log-writes", params, f->device));
	ASSERT_EQ(0, mount(f->device, f->mnt, v->type, 0, v->calm));
	open_life(f);
	memcpy(f->node, keyset_self(f->life.set)->id, sizeof(f->node));
	hook.omit = omit;
	live(f);
	hook.omit = NOTHING;
	ASSERT_OK(disk_dm_message(f->name, "mark end"));
	close_life(f);
	ASSERT_EQ(0, umount(f->mnt));
	ASSERT_OK(disk_dm_remove(f->name));
}

/* --- power loss ------------------------------------------------------------------------------ */

static void count_bad(void *ctx, const struct key_record *rec _unused_, int r)
{
	size_t *bad = ctx;

	*bad += r < 0;
}

/* NULL, or how a promise is broken. @promised: so many were made. */
static const char *judge_set(const fix *f, const struct keyset *set, size_t promised)
{
	const struct keydoc *doc = keyset_doc(set);
	const struct promise *p;
	size_t bad = 0;

	if (keyset_is_previous(set))
		return "the previous document is in use";
	if (!doc)
		return promised == 0 && keyset_why(set) == -ENODATA ? NULL : "there is no document";
	p = promised > 0 ? &f->promises[promised - 1] : &f->promises[0];
	if (doc->generation < p->generation)
		return "the document is older than the promised one";
	if (memcmp(doc->hash, p->hash, sizeof(p->hash)) != 0 &&
	    (promised == f->n_promises || memcmp(doc->hash, p[promised > 0].hash, SHA256_LEN) != 0))
		return "the document is neither the promised one nor the next";
	if (memcmp(keyset_self(set)->id, f->node, sizeof(f->node)) != 0)
		return "the node is another";
	if (keyset_verify(set, count_bad, &bad) < 0 || bad > 0)
		return "a key does not open";
	return NULL;
}

static const char *judge(fix *f, size_t promised)
{
	struct keydoc_refusal why;
	const char *bad;
	int r;

	if (key_store_open(f->keys, &f->life.store) < 0)
		return "the store does not open";
	if (keyset_new(f->life.store, f->root, "cp-1", &f->life.set) < 0) {
		key_store_close(f->life.store);
		return "the node id is lost";
	}
	ASSERT_OK(keyset_load(f->life.set));
	bad = judge_set(f, f->life.set, promised);
	if (!bad) {
		r = change(f, KEYDOC_STAGE, NULL, &why);
		if (r < 0 && r != -EALREADY)
			bad = "life does not go on";
	}
	close_life(f);
	return bad;
}

/* The machine starts again with the disk as it is in @image, which stays. */
static const char *start_again(fix *f, const variant_of *v, const char *image, size_t promised)
{
	_cleanup_close_ int fd = -1;
	const char *bad;

	f->states++;
	ASSERT_OK(disk_copy(image, f->state));
	fd = disk_loop(f->state, f->lower);
	ASSERT_LE(0, fd);
	if (mount(f->lower, f->mnt, v->type, 0, v->calm) < 0)
		return "the file system does not mount";
	bad = judge(f, promised);
	ASSERT_EQ(0, umount(f->mnt));
	return bad;
}

/* Writes that no flush has made durable yet: they are on the disk in any choice. */
struct epoch {
	struct power_log_entry writes[EPOCH_MAX];
	size_t n;
};

/* Of the epoch only the write @i was made, or all but that one. */
static const char *start_with_part(fix *f, const variant_of *v, const struct epoch *e, size_t i,
				   bool only, size_t promised)
{
	_cleanup_close_ int image = -1;

	ASSERT_OK(disk_copy(f->disk, f->epoch));
	image = open(f->epoch, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, image);
	for (size_t j = 0; j < e->n; j++)
		if ((i == j) == only)
			ASSERT_OK(power_log_apply(&e->writes[j], image));
	return start_again(f, v, f->epoch, promised);
}

/* The epoch has ended: the disk has all of it. */
static const char *end_epoch(fix *f, const variant_of *v, struct epoch *e, int image,
			     size_t promised)
{
	const char *bad = NULL;

	for (size_t i = 0; !bad && i < e->n && e->n > 1; i++) {
		bad = start_with_part(f, v, e, i, true, promised);
		if (!bad && e->n > 2) /* of two, the other one alone is the same */
			bad = start_with_part(f, v, e, i, false, promised);
	}
	for (size_t i = 0; i < e->n; i++)
		ASSERT_OK(power_log_apply(&e->writes[i], image));
	e->n = 0;
	return bad;
}

/* Play back until a promise is broken, or the last was made. */
static const char *play(fix *f, const variant_of *v, struct power_log *log, struct epoch *e)
{
	_cleanup_close_ int image = open(f->disk, O_RDWR | O_CLOEXEC);
	struct power_log_entry entry;
	const char *bad = NULL;
	size_t promised = 0;

	ASSERT_LE(0, image);
	while (!bad) {
		ASSERT_EQ(1, power_log_next(log, &entry));
		if (entry.flags & POWER_LOG_MARK) {
			if (strcmp(entry.mark, "end") == 0)
				break;
			ASSERT_EQ(promised, strtoull(entry.mark, NULL, 10));
			promised++;
		} else if (!(entry.flags & (POWER_LOG_FLUSH | POWER_LOG_FUA))) {
			ASSERT_LT(e->n, ARRAY_SIZE(e->writes));
			e->writes[e->n++] = entry;
			continue;
		}
		if (entry.flags & POWER_LOG_FLUSH)
			bad = end_epoch(f, v, e, image, promised);
		ASSERT_OK(power_log_apply(&entry, image));
		if (!bad)
			bad = start_again(f, v, f->disk, promised);
	}
	if (bad)
		ktest_log("state %zu, promise %zu: LOST: %s", f->states, promised, bad);
	else
		EXPECT_EQ(f->n_promises, promised);
	return bad;
}

static const char *lose_power(fix *f, const variant_of *v, enum step omit)
{
	_cleanup_(power_log_closep) struct power_log *log = NULL;
	_cleanup_free_ struct epoch *e = calloc(1, sizeof(*e));
	const char *bad;

	ASSERT_NOT_NULL(e);
	record(f, v, omit);
	ASSERT_OK(power_log_open(f->log, &log));
	bad = play(f, v, log, e);
	ktest_log("%zu states of %zu changes", f->states, f->n_promises);
	return bad;
}

TEST_F_TIMEOUT(power, no_promise_is_broken, 300)
{
	EXPECT_STREQ(NULL, lose_power(self, variant, NOTHING));
	EXPECT_LE(30U, self->states);
}

TEST_F_TIMEOUT(power, without_fsync_of_the_file_one_is, 300)
{
	EXPECT_NOT_NULL(lose_power(self, variant, SYNC_FILE));
}

TEST_F_TIMEOUT(power, without_fsync_of_the_directory_one_is, 300)
{
	EXPECT_NOT_NULL(lose_power(self, variant, SYNC_DIR));
}

/* --- a disk that fails ----------------------------------------------------------------------- */

static void mount_disk(fix *f, const variant_of *v)
{
	ASSERT_EQ(0, mount(f->device, f->mnt, v->type, 0, v->calm));
	open_life(f);
}

static void unmount_disk(fix *f)
{
	close_life(f);
	ASSERT_EQ(0, umount(f->mnt));
}

/* Whatever is written gives EIO, from now on: dm-flakey, up for 0 seconds and down for the rest. */
static void break_disk(void *ctx)
{
	fix *f = ctx;
	char params[64];

	snprintf(params, sizeof(params), "%s 0 0 60 1 error_writes", f->lower);
	ASSERT_OK(disk_dm_replace(f->name, f->sectors, "flakey", params));
}

static void mend_disk(fix *f)
{
	char params[64];

	snprintf(params, sizeof(params), "%s 0", f->lower);
	ASSERT_OK(disk_dm_replace(f->name, f->sectors, "linear", params));
}

/* The set is as it was: the same document, and each key opens that did. */
static void expect_unchanged(const fix *f)
{
	const struct keydoc *doc = keyset_doc(f->life.set);
	size_t bad = 0;

	EXPECT_MEMEQ(f->was->hash, SHA256_LEN, doc->hash, SHA256_LEN);
	EXPECT_OK(keyset_verify_doc(f->life.set, doc, count_bad, &bad));
	EXPECT_EQ(0U, bad);
}

static void note_document(fix *f)
{
	keydoc_free(f->was);
	ASSERT_OK(keydoc_copy(keyset_doc(f->life.set), &f->was));
}

static int refused(fix *f, enum keydoc_change_kind kind, const uint8_t *id,
		   struct keydoc_refusal *why)
{
	int r;

	*why = (struct keydoc_refusal){ 0 };
	hook.failed = NOTHING;
	r = change(f, kind, id, why);
	if (r < 0) {
		EXPECT_EQ(r, why->r);
		expect_unchanged(f);
	}
	return r;
}

/* A key that can be made the active one. */
static void other_key(const fix *f, uint8_t ret_id[static KEKD_KEY_ID])
{
	const struct keydoc *doc = keyset_doc(f->life.set);

	for (size_t i = 0; i < doc->n_keys; i++)
		if (doc->keys[i].info.state == KEY_DECRYPT_ONLY)
			memcpy(ret_id, doc->keys[i].info.id, KEKD_KEY_ID);
}

static void two_keys(fix *f)
{
	for (int i = 0; i < 2; i++) {
		struct keydoc_refusal why;

		ASSERT_OK(change(f, KEYDOC_STAGE, NULL, &why));
		ASSERT_OK(change(f, KEYDOC_ACTIVATE, newest(f), &why));
	}
}

static const char in_doubt[] =
	"the keyset cannot be written: EIO (Input/output error). Look after the disk; the change is "
	"not in force, and may be found done after a restart";
static const char read_only[] = "the key store is on a read-only file system; nothing was changed";

/* What a restart finds is the document before the change, or the one that was refused. */
static void expect_found(const fix *f)
{
	const struct keydoc *doc = keyset_doc(f->life.set);

	ASSERT_NOT_NULL(doc);
	EXPECT_FALSE(keyset_is_previous(f->life.set));
	if (memcmp(doc->hash, f->was->hash, sizeof(doc->hash)) != 0) {
		EXPECT_EQ(f->was->generation + 1, doc->generation);
		EXPECT_TRUE(keydoc_covers(doc, f->was, NULL));
	}
}

/*
 * An error of the file's data is told to the store and to nobody else; one of the directory's is the
 * journal's, and ends what the file system writes until it is mounted again.
 */
static void fail_at(fix *f, const variant_of *v, enum step step)
{
	bool survives = step <= SYNC_FILE;
	uint8_t id[KEKD_KEY_ID];
	struct keydoc_refusal why;
	int r;

	ktest_log("the disk fails before the %s", step_names[step]);
	note_document(f);
	other_key(f, id);
	hook.at = step;
	EXPECT_ERR(-EIO, refused(f, KEYDOC_ACTIVATE, id, &why));
	EXPECT_STREQ(in_doubt, why.text);
	EXPECT_EQ(survives ? SYNC_FILE : SYNC_DIR, hook.failed);
	r = refused(f, KEYDOC_ACTIVATE, id, &why);
	EXPECT_TRUE(r == -EIO || r == -EROFS);
	EXPECT_STREQ(r == -EROFS ? read_only : in_doubt, why.text);
	mend_disk(f);
	r = refused(f, KEYDOC_ACTIVATE, id, &why);
	EXPECT_EQ(survives, r == 0);
	if (r == 0)
		note_document(f);
	unmount_disk(f);
	mount_disk(f, v);
	expect_found(f);
	other_key(f, id);
	EXPECT_OK(change(f, KEYDOC_ACTIVATE, id, &why));
}

TEST_F_TIMEOUT(power, a_disk_that_fails_at_each_step, 300)
{
	_cleanup_close_ int fd = disk_loop(self->disk, self->lower);
	char params[64];

	ASSERT_LE(0, fd);
	snprintf(params, sizeof(params), "%s 0", self->lower);
	ASSERT_OK(disk_dm_create(self->name, self->sectors, "linear", params, self->device));
	hook.then = break_disk;
	hook.ctx = self;
	mount_disk(self, variant);
	two_keys(self);
	for (enum step step = CREATE; step < STEPS; step++)
		fail_at(self, variant, step);
	unmount_disk(self);
	ASSERT_OK(disk_dm_remove(self->name));
}

/* --- a disk that becomes read-only ----------------------------------------------------------- */

static void make_read_only(void *ctx)
{
	fix *f = ctx;

	ASSERT_EQ(0, mount(NULL, f->mnt, NULL, MS_REMOUNT | MS_RDONLY, NULL));
}

/* A write that did not end cannot be cleaned up; a machine that starts then has its keys all the same. */
static void read_only_at(fix *f, enum step step)
{
	uint8_t id[KEKD_KEY_ID];
	struct keydoc_refusal why;
	size_t bad = 0;

	ktest_log("the disk is read-only before the %s", step_names[step]);
	note_document(f);
	other_key(f, id);
	hook.at = step;
	for (int i = 0; i < 2; i++) {
		EXPECT_ERR(-EROFS, refused(f, KEYDOC_ACTIVATE, id, &why));
		EXPECT_STREQ(read_only, why.text);
		EXPECT_OK(keyset_verify(f->life.set, count_bad, &bad));
	}
	close_life(f);
	open_life(f);
	ASSERT_NOT_NULL(keyset_doc(f->life.set));
	EXPECT_FALSE(keyset_is_previous(f->life.set));
	expect_unchanged(f);
	EXPECT_ERR(-EROFS, refused(f, KEYDOC_ACTIVATE, id, &why));
	EXPECT_STREQ(read_only, why.text);
	ASSERT_EQ(0, mount(NULL, f->mnt, NULL, MS_REMOUNT, NULL));
	EXPECT_OK(change(f, KEYDOC_ACTIVATE, id, &why));
	EXPECT_OK(keyset_verify(f->life.set, count_bad, &bad));
	EXPECT_EQ(0U, bad);
}

/* Between the steps at which the store has no file open for writing, as then the kernel refuses it. */
TEST_F_TIMEOUT(power, a_disk_that_becomes_read_only, 120)
{
	static const enum step steps[] = { CREATE, LINK, KEEP, RENAME };
	_cleanup_close_ int fd = disk_loop(self->disk, self->device);

	ASSERT_LE(0, fd);
	hook.then = make_read_only;
	hook.ctx = self;
	mount_disk(self, variant);
	two_keys(self);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		read_only_at(self, steps[i]);
	unmount_disk(self);
}

/* --- a disk that is full --------------------------------------------------------------------- */

#define FULL_BLOCK 1024
#define FULL_NAMES 1000

/*
 * A small ext4 with blocks of 1 KiB, one file that takes them, and names in the key store's directory that
 * take the room for names there: in a directory without an index that is a matter of bytes.
 */
static const struct ktest_variant_of_power small_ext4 = {
	.type = "ext4",
	.calm = EXT4_CALM,
	.size = 4 << 20,
	.mkfs = { "mkfs.ext4", "-q", "-b", "1024", "-N", "64", "-m", "0", "-J", "size=1", "-O",
		  "^dir_index,^resize_inode" },
};

FIXTURE(full)
{
	struct ktest_data_of_power power;
	int filler; /* the file */
	off_t size;
	unsigned int n_names;
	bool seen[STEPS];
};

typedef struct ktest_data_of_full full;

FIXTURE_SETUP(full)
{
	_cleanup_close_ int fd = -1;
	fix *f = &self->power;

	set_up(f, &small_ext4);
	fd = disk_loop(f->disk, f->device);
	ASSERT_LE(0, fd);
	mount_disk(f, &small_ext4);
	two_keys(f);
	self->filler = openat(f->life.store->dir, "../filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->filler);
}

FIXTURE_TEARDOWN(full)
{
	close(self->filler);
	unmount_disk(&self->power);
	tear_down(&self->power);
}

static void take_blocks(full *f)
{
	for (off_t n = 1 << 20; n >= FULL_BLOCK; n /= 2)
		while (fallocate(f->filler, 0, f->size, n) == 0)
			f->size += n;
	ASSERT_EQ(ENOSPC, errno);
}

/* Blocks can be used again when the journal says that they are free. */
static void give_blocks(full *f, off_t n)
{
	f->size -= n * FULL_BLOCK;
	ASSERT_EQ(0, ftruncate(f->filler, f->size));
	ASSERT_EQ(0, syncfs(f->filler));
}

static const char *name_of(unsigned int i)
{
	static char name[16];

	snprintf(name, sizeof(name), "f%03u", i);
	return name;
}

static void take_names(full *f)
{
	int dir = f->power.life.store->dir;

	while (linkat(dir, "../filler", dir, name_of(f->n_names), 0) == 0)
		ASSERT_LT(f->n_names++, FULL_NAMES);
	ASSERT_EQ(ENOSPC, errno);
}

static void give_names(full *f, unsigned int n)
{
	while (n-- > 0)
		ASSERT_EQ(0, unlinkat(f->power.life.store->dir, name_of(--f->n_names), 0));
	ASSERT_EQ(0, syncfs(f->filler));
}

/* Refused for want of room, and nothing has come of it; or done. */
static int try(full *f)
{
	fix *p = &f->power;
	uint8_t id[KEKD_KEY_ID];
	struct keydoc_refusal why;
	size_t bad = 0;
	int r;

	note_document(p);
	other_key(p, id);
	r = refused(p, KEYDOC_ACTIVATE, id, &why);
	EXPECT_OK(keyset_verify(p->life.set, count_bad, &bad));
	EXPECT_EQ(0U, bad);
	if (r == 0)
		return 0;
	EXPECT_ERR(-ENOSPC, r);
	EXPECT_STREQ("no space left where the key store is; nothing was changed", why.text);
	f->seen[hook.failed] = true;
	return r;
}

/* With room for @n names of the filler's, block after block is given until the change succeeds. */
static void try_with_names(full *f, unsigned int n)
{
	/* So that the link needs a name for good. */
	ASSERT_EQ(0, unlinkat(f->power.life.store->dir, KEY_STORE_PREV, 0));
	take_blocks(f);
	take_names(f);
	give_names(f, n);
	for (int i = 0; try(f) < 0; i++) {
		ASSERT_LT(i, 16);
		give_blocks(f, 1);
	}
}

TEST_F_TIMEOUT(full, no_room_for_a_step, 120)
{
	for (unsigned int names = 0; names < 8; names++)
		try_with_names(self, names);
	for (enum step step = CREATE; step < STEPS; step++)
		ktest_log("no room for the %s: %s", step_names[step],
			  self->seen[step] ? "refused" : "does not happen");
	EXPECT_TRUE(self->seen[CREATE]);
	EXPECT_TRUE(self->seen[WRITE]);
	EXPECT_TRUE(self->seen[LINK]);
	EXPECT_TRUE(self->seen[KEEP]);
}

TEST_F_TIMEOUT(full, no_inode_is_left, 120)
{
	int dir = self->power.life.store->dir, fd;
	char name[32];
	int n = 0;

	for (;; n++) {
		snprintf(name, sizeof(name), "../inode%d", n);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	ASSERT_EQ(ENOSPC, errno);
	EXPECT_ERR(-ENOSPC, try(self));
	EXPECT_TRUE(self->seen[CREATE]);
	snprintf(name, sizeof(name), "../inode%d", n - 1);
	ASSERT_EQ(0, unlinkat(dir, name, 0));
	EXPECT_OK(try(self));
}

TEST_HARNESS_MAIN
