/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything goes by name below one directory descriptor, never through a symbolic link, and no
 * open can wait (O_NONBLOCK: a FIFO in the place of a key file must not stop the keeper).
 *
 * The blobs are ciphertext, so the checks of owner and mode do not guard a secret: they guard the
 * *choice* of key, since whoever can write here can bring back an old state of a key.
 */
#include "daemon/keys/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"

#define SUFFIX     ".key"
#define TMP        ".tmp"
#define NAME_LEN   (KEKD_KEY_ID_HEX + sizeof(SUFFIX) - 1)
#define NAME_SIZE  (NAME_LEN + 1)
#define FORBIDDEN  (S_IWGRP | S_IRWXO)
#define OPEN_FLAGS (O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/*
 * A test may die between any two steps of a write (tests/unit/crash.c includes this file and says
 * how); otherwise there is nothing here.
 */
#ifndef KEKD_TEST_HOOKS
static inline void durable_step(void)
{
}
#endif

struct key_store {
	int dir;
	char *path; /* for the log */
};

/* One key file as read. */
struct entry {
	char file[NAME_SIZE];
	int r;
	struct key_record rec;
};

struct entries {
	struct entry *all;
	size_t n;
};

static void entries_free(struct entries *e)
{
	free(e->all);
}

static void file_name(const uint8_t id[static KEKD_KEY_ID], char ret[static NAME_SIZE])
{
	key_hex(id, KEKD_KEY_ID, ret);
	memcpy(ret + KEKD_KEY_ID_HEX, SUFFIX, sizeof(SUFFIX));
}

/* ID.key, or with @suffix behind it. */
static bool is_key_name(const char *name, const char *suffix)
{
	uint8_t id[KEKD_KEY_ID];

	return strlen(name) >= NAME_LEN && key_unhex(name, KEKD_KEY_ID_HEX, id, sizeof(id)) == 0 &&
	       strncmp(name + KEKD_KEY_ID_HEX, SUFFIX, sizeof(SUFFIX) - 1) == 0 &&
	       strcmp(name + NAME_LEN, suffix) == 0;
}

/* A file beside the keys, or its temporary one. */
static bool is_beside(const char *name, const char *suffix)
{
	static const char *const names[] = { KEY_STORE_MANIFEST, KEY_STORE_COUNTS };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = strlen(names[i]);

		if (strncmp(name, names[i], len) == 0 && strcmp(name + len, suffix) == 0)
			return true;
	}
	return false;
}

static bool owner_is_fine(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* A stream over the directory with a position of its own, or NULL and errno. */
static DIR *list(const struct key_store *s)
{
	_cleanup_close_ int fd = -1;
	DIR *d;

	fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (d)
		move_fd(fd);
	return d;
}

/* 1 and the next entry that is not a dot entry, 0 at the end. */
static int next_name(DIR *d, const char **ret)
{
	struct dirent *e;

	do {
		errno = 0;
		e = readdir(d);
		if (!e)
			return -errno;
	} while (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
	*ret = e->d_name;
	return 1;
}

static int remove_leftovers(struct key_store *s)
{
	_cleanup_closedir_ DIR *d = list(s);
	const char *name;
	int r;

	if (!d)
		return -errno;
	while ((r = next_name(d, &name)) > 0) {
		if (!is_key_name(name, TMP) && !is_beside(name, TMP))
			continue;
		if (unlinkat(s->dir, name, 0) < 0)
			return -errno;
		log_notice("key store %s: removed %s, left by a write that did not end", s->path,
			   name);
	}
	return r;
}

static int check_dir(const struct key_store *s)
{
	struct stat st;

	if (fstat(s->dir, &st) < 0)
		return -errno;
	if (!owner_is_fine(&st)) {
		log_error("key store %s: belongs to uid %u: chown it to root", s->path, st.st_uid);
		return -EPERM;
	}
	if (st.st_mode & FORBIDDEN) {
		log_error("key store %s: mode %04o lets others in: chmod 0700 it", s->path,
			  st.st_mode & 07777U);
		return -EPERM;
	}
	return 0;
}

/* The directory's own name is durable before the first key in it can be. */
static int make_dir(const char *path)
{
	_cleanup_close_ int dir = -1, parent = -1;

	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	dir = open(path, O_RDONLY | O_DIRECTORY | OPEN_FLAGS);
	if (dir < 0)
		return -errno;
	parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | OPEN_FLAGS);
	if (parent < 0 || fsync(parent) < 0)
		return -errno;
	return 0;
}

/* Without trailing slashes, behind which open(2) would follow a symbolic link after all. */
static char *plain_path(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return strndup(path, len);
}

static int lock_dir(const struct key_store *s)
{
	if (flock(s->dir, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return -errno;
	log_error("key store %s: another kekd has it open", s->path);
	return -EBUSY;
}

int key_store_open(const char *path, struct key_store **ret)
{
	_cleanup_(key_store_closep) struct key_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir = -1;
	s->path = plain_path(path);
	if (!s->path)
		return -ENOMEM;
	r = make_dir(s->path);
	if (r < 0)
		return r;
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | OPEN_FLAGS);
	if (s->dir < 0)
		return -errno;
	r = check_dir(s);
	if (r == 0)
		r = lock_dir(s);
	if (r == 0)
		r = remove_leftovers(s);
	if (r < 0)
		return r;
	*ret = move_ptr(s);
	return 0;
}

void key_store_close(struct key_store *s)
{
	if (!s)
		return;
	closep(&s->dir);
	free(s->path);
	free(s);
}

static int check_file(const struct key_store *s, const char *file, const struct stat *st,
		      size_t max)
{
	const char *why = NULL;
	int r = -EPERM;

	if (!S_ISREG(st->st_mode)) {
		why = "is not a regular file";
		r = -EINVAL;
	} else if (!owner_is_fine(st)) {
		why = "belongs to another user: chown it to root";
	} else if (st->st_mode & FORBIDDEN) {
		why = "is open to others: chmod 0600 it";
	} else if (st->st_nlink != 1) {
		why = "has a second hard link: replace it by a copy of its own";
	} else if (st->st_size > (off_t)max) {
		why = "is too large";
		r = -EFBIG;
	}
	if (!why)
		return 0;
	log_warning("key store: %s/%s %s", s->path, file, why);
	return r;
}

static int read_text(const struct key_store *s, const char *file, char *buf, size_t size,
		     size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	fd = openat(s->dir, file, O_RDONLY | OPEN_FLAGS);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		if (r == -ENOENT)
			return r;
		log_warning("key store: %s/%s cannot be opened: %s", s->path, file, errno_text(r));
		return r;
	}
	r = check_file(s, file, &st, size - 1);
	if (r < 0)
		return r;
	r = io_read_all(fd, buf, size, ret_len);
	if (r < 0)
		log_warning("key store: %s/%s cannot be read: %s", s->path, file, errno_text(r));
	return r;
}

static int read_record(const struct key_store *s, const char *file, struct key_record *ret)
{
	char text[KEY_RECORD_TEXT_MAX + 1], name[NAME_SIZE];
	unsigned int line = 0;
	size_t len = 0;
	int r;

	r = read_text(s, file, text, sizeof(text), &len);
	if (r < 0)
		return r;
	r = key_record_parse(text, len, ret, &line);
	if (r < 0) {
		log_warning("key store: %s/%s:%u: not what a key file says there", s->path, file,
			    line);
		return r;
	}
	file_name(ret->id, name);
	if (strcmp(name, file) != 0) {
		log_warning("key store: %s/%s:2: the id is not the file's name", s->path, file);
		return -EINVAL;
	}
	return 0;
}

/* Usable ones first, by created then id; the rest by name. */
static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if ((x->r < 0) != (y->r < 0))
		return x->r < 0 ? 1 : -1;
	if (x->r == 0 && x->rec.created != y->rec.created)
		return x->rec.created < y->rec.created ? -1 : 1;
	return strcmp(x->file, y->file);
}

static int add_entry(const struct key_store *s, struct entries *e, const char *name)
{
	struct entry *entry;

	if (is_beside(name, ""))
		return 0;
	if (!is_key_name(name, "")) {
		log_warning("key store: %s/%s is not a key file, ignored", s->path, name);
		return 0;
	}
	if (e->n == KEKD_KEYS_MAX) {
		log_error("key store %s: more than %d keys: move old ones away", s->path,
			  KEKD_KEYS_MAX);
		return -E2BIG;
	}
	if (e->n % 16 == 0) {
		entry = reallocarray(e->all, e->n + 16, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		e->all = entry;
	}
	entry = &e->all[e->n++];
	memcpy(entry->file, name, NAME_SIZE);
	entry->r = read_record(s, entry->file, &entry->rec);
	return 0;
}

int key_store_each(struct key_store *s, key_store_each_fn *each, void *ctx)
{
	_cleanup_(entries_free) struct entries e = { 0 };
	_cleanup_closedir_ DIR *d = list(s);
	const char *name;
	int r;

	if (!d)
		return -errno;
	while ((r = next_name(d, &name)) > 0) {
		r = add_entry(s, &e, name);
		if (r < 0)
			break;
	}
	if (r < 0)
		return r;
	if (e.n > 0)
		qsort(e.all, e.n, sizeof(*e.all), compare);
	for (size_t i = 0; i < e.n; i++) {
		r = each(ctx, e.all[i].r < 0 ? NULL : &e.all[i].rec, e.all[i].r, e.all[i].file);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Room for one more file, unless @file is there already. */
static int check_room(const struct key_store *s, const char *file)
{
	_cleanup_closedir_ DIR *d = list(s);
	const char *name;
	size_t n = 0;
	int r;

	if (!d)
		return -errno;
	while ((r = next_name(d, &name)) > 0) {
		if (strcmp(name, file) == 0)
			return 0;
		n += is_key_name(name, "");
	}
	if (r < 0)
		return r;
	return n < KEKD_KEYS_MAX ? 0 : -ENOBUFS;
}

/* A new file, whole and durable under @tmp. */
static int write_tmp(const struct key_store *s, const char *tmp, const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = openat(s->dir, tmp, O_WRONLY | O_CREAT | O_EXCL | OPEN_FLAGS, 0600);
	if (fd < 0)
		return -errno;
	durable_step();
	r = io_write_all(fd, text, len);
	durable_step();
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* What happened to the name @file is to last. */
static int sync_dir(const struct key_store *s, const char *file)
{
	int r = fsync(s->dir) < 0 ? -errno : 0;

	durable_step();
	if (r < 0)
		log_error(
			"key store %s: whether the last change of %s outlives a crash is unknown: %s",
			s->path, file, errno_text(r));
	return r;
}

int key_store_write(struct key_store *s, const char *file, const char *text, size_t len)
{
	char tmp[NAME_SIZE + sizeof(TMP)];
	int r;

	snprintf(tmp, sizeof(tmp), "%s" TMP, file);
	unlinkat(s->dir, tmp, 0); /* of an earlier write whose own removal failed */
	r = write_tmp(s, tmp, text, len);
	durable_step();
	if (r == 0 && renameat(s->dir, tmp, s->dir, file) < 0)
		r = -errno;
	durable_step();
	if (r < 0) {
		unlinkat(s->dir, tmp, 0);
		return r;
	}
	return sync_dir(s, file);
}

int key_store_read(struct key_store *s, const char *file, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = malloc(max + 1);
	size_t len = 0;
	int r;

	if (!text)
		return -ENOMEM;
	r = read_text(s, file, text, max + 1, &len);
	if (r == 0 && len > max)
		r = -EFBIG;
	if (r < 0)
		return r;
	text[len] = '\0';
	*ret = move_ptr(text);
	*ret_len = len;
	return 0;
}

int key_store_put(struct key_store *s, const struct key_record *rec)
{
	char text[KEY_RECORD_TEXT_MAX], file[NAME_SIZE];
	size_t len;
	int r;

	r = key_record_format(rec, text, sizeof(text), &len);
	if (r < 0)
		return r;
	file_name(rec->id, file);
	r = check_room(s, file);
	return r < 0 ? r : key_store_write(s, file, text, len);
}

bool key_store_has(const struct key_store *s, const uint8_t id[static KEKD_KEY_ID])
{
	char file[NAME_SIZE];

	file_name(id, file);
	return faccessat(s->dir, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

int key_store_remove(struct key_store *s, const uint8_t id[static KEKD_KEY_ID])
{
	char file[NAME_SIZE];

	file_name(id, file);
	if (unlinkat(s->dir, file, 0) < 0 && errno != ENOENT)
		return -errno;
	durable_step();
	return sync_dir(s, file); /* also of an earlier removal */
}
