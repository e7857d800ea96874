/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything goes by name below one directory descriptor, never through a symbolic link, and no
 * open can wait (O_NONBLOCK: a FIFO in the place of a file must not stop the keeper).
 *
 * What lies here is ciphertext, so the checks of owner and mode do not guard a secret: they guard the
 * *choice* of key, since whoever can write here can bring back an old keyset.
 */
#include "daemon/keys/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"

#define TMP        ".tmp"
#define COPY_MAX   (1 << 20)
#define FILE_SIZE  32 /* any of our names, with TMP and NUL */
#define FORBIDDEN  (S_IWGRP | S_IRWXO)
#define CHILD_DIR  3
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
	bool keep_prev;
	key_store_write_fn *write; /* NULL: this process does */
	void *write_ctx;
};

static const char *const files[] = {
	KEY_STORE_KEYSET, KEY_STORE_PREV, KEY_STORE_NODE, KEY_STORE_COUNTS, KEY_STORE_ESCROW,
};

static bool is_leftover(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		size_t len = strlen(files[i]);

		if (strncmp(name, files[i], len) == 0 && strcmp(name + len, TMP) == 0)
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

static bool is_same_file(const struct key_store *s, const char *a, const char *b)
{
	struct stat x, y;

	return fstatat(s->dir, a, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(s->dir, b, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* On a disk that is read-only it stays: what there is can be read all the same. */
static void remove_leftover(const struct key_store *s, const char *name)
{
	if (unlinkat(s->dir, name, 0) < 0)
		log_warning("key store %s: cannot remove %s, left by a write that did not end: %s",
			    s->path, name, errno_text(errno));
	else
		log_notice("key store %s: removed %s, left by a write that did not end", s->path,
			   name);
}

/* What a write left that did not end, and the second name that the keyset has in the midst of one. */
static int clean_up(struct key_store *s)
{
	_cleanup_closedir_ DIR *d = list(s);
	const char *name = NULL;
	int r;

	if (!d)
		return -errno;
	while ((r = next_name(d, &name)) > 0) {
		/* A file of kekd 0.1's store: "manifest", or a key's, 32 hex digits and ".key". */
		if (strcmp(name, "manifest") == 0 ||
		    (strspn(name, "0123456789abcdef") == 32 && strcmp(name + 32, ".key") == 0)) {
			log_error(
				"key store %s: %s is a file of kekd 0.1's form, which this version "
				"does not read: move the directory's files away",
				s->path, name);
			return -EUCLEAN;
		}
		if (!is_leftover(name))
			continue;
		remove_leftover(s, name);
	}
	if (r == 0 && is_same_file(s, KEY_STORE_KEYSET, KEY_STORE_PREV))
		remove_leftover(s, KEY_STORE_PREV);
	return r;
}

static int store_check_dir(const struct key_store *s)
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

#define LOCK_TRIES    40
#define LOCK_PAUSE_NS (50 * 1000 * 1000)

/* A daemon that was killed may leave a child that is writing its last text, and ends in a moment. */
static int lock_dir(int dir)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

int key_store_open(const char *path, struct key_store **ret)
{
	_cleanup_(key_store_closep) struct key_store *s = calloc(1, sizeof(*s));
	size_t len = strlen(path);
	int r;

	if (!s)
		return -ENOMEM;
	s->dir = -1;
	/* Without trailing slashes, behind which open(2) would follow a symbolic link after all. */
	while (len > 1 && path[len - 1] == '/')
		len--;
	s->path = strndup(path, len);
	if (!s->path)
		return -ENOMEM;
	r = make_dir(s->path);
	if (r < 0)
		return r;
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | OPEN_FLAGS);
	if (s->dir < 0)
		return -errno;
	r = store_check_dir(s);
	if (r == 0)
		r = lock_dir(s->dir);
	if (r == -EBUSY)
		log_error("key store %s: another kekd has it open", s->path);
	if (r == 0)
		r = clean_up(s);
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

/*
 * How many names a file may have: one, but the keyset has up to three in the midst of a write, and keeps
 * them if that did not end because the disk was full or became read-only.
 */
static nlink_t names_of(const struct key_store *s, const struct stat *st)
{
	static const char *const names[] = { KEY_STORE_KEYSET, KEY_STORE_PREV, KEY_STORE_PREV TMP };
	struct stat other;
	nlink_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (fstatat(s->dir, names[i], &other, AT_SYMLINK_NOFOLLOW) == 0 &&
		    other.st_dev == st->st_dev && other.st_ino == st->st_ino)
			n++;
	return n > 0 ? n : 1;
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
	} else if (st->st_nlink != names_of(s, st)) {
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

/* A new file, whole and durable under @tmp. */
static int store_write_tmp(const struct key_store *s, const char *tmp, const char *text, size_t len)
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

/* For file systems without hard links. 1: done. @r: why there is no link. */
static int copy_instead(struct key_store *s, const char *tmp, int r)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (r != -EPERM && r != -EOPNOTSUPP && r != -ENOSYS && r != -EMLINK)
		return r;
	r = key_store_read(s, KEY_STORE_KEYSET, COPY_MAX, &text, &len);
	if (r == 0)
		r = store_write_tmp(s, tmp, text, len);
	if (r < 0)
		unlinkat(s->dir, tmp, 0);
	return r < 0 ? r : 1;
}

/*
 * A second name for the keyset as it is, so that there is a whole one under its own name at every moment.
 */
static int keep_previous(struct key_store *s)
{
	static const char tmp[] = KEY_STORE_PREV TMP;
	int r;

	unlinkat(s->dir, tmp, 0);
	if (linkat(s->dir, KEY_STORE_KEYSET, s->dir, tmp, 0) < 0) {
		r = errno == ENOENT ? 0 : copy_instead(s, tmp, -errno);
		if (r <= 0)
			return r;
	}
	durable_step();
	if (renameat(s->dir, tmp, s->dir, KEY_STORE_PREV) < 0)
		return -errno;
	/* rename(2) of two names of one file does nothing: the temporary one is still there then. */
	unlinkat(s->dir, tmp, 0);
	durable_step();
	return 0;
}

static bool is_keyset_file(const char *file)
{
	return strcmp(file, KEY_STORE_KEYSET) == 0;
}

static int store_write(struct key_store *s, const char *file, const char *text, size_t len)
{
	bool is_keyset = is_keyset_file(file);
	char tmp[FILE_SIZE];
	int r;

	snprintf(tmp, sizeof(tmp), "%s" TMP, file);
	/* Of an earlier write whose own removal failed; open(2) would say of it that it exists, and not why. */
	if (unlinkat(s->dir, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	r = store_write_tmp(s, tmp, text, len);
	durable_step();
	if (r == 0 && is_keyset && !s->keep_prev)
		r = keep_previous(s);
	if (r == 0 && renameat(s->dir, tmp, s->dir, file) < 0)
		r = -errno;
	durable_step();
	if (r < 0) {
		unlinkat(s->dir, tmp, 0);
		return r;
	}
	if (is_keyset)
		s->keep_prev = false;
	/* What happened to the name is to last. */
	r = fsync(s->dir) < 0 ? -errno : 0;
	durable_step();
	if (r < 0)
		log_error(
			"key store %s: whether the last change of %s outlives a crash is unknown: %s",
			s->path, file, errno_text(r));
	return r;
}

int key_store_write(struct key_store *s, const char *file, const char *text, size_t len)
{
	if (s->write && is_keyset_file(file))
		return s->write(s->write_ctx, file, text, len);
	return store_write(s, file, text, len);
}

void key_store_set_write(struct key_store *s, key_store_write_fn *write, void *ctx)
{
	s->write = write;
	s->write_ctx = ctx;
}

/* Links, clients and pipes would otherwise outlive the keeper in a child that hangs. */
static _noreturn_ void write_child(struct key_store *s, const char *file, const char *text,
				   size_t len)
{
	int r = 0;

	if (s->dir != CHILD_DIR && dup2(s->dir, CHILD_DIR) < 0)
		r = -errno;
	s->dir = CHILD_DIR;
	if (r == 0 && close_range(CHILD_DIR + 1, ~0U, 0) < 0)
		r = -errno;
	if (r == 0)
		r = store_write(s, file, text, len);
	_exit(-r);
}

int key_store_write_begin(struct key_store *s, const char *file, const char *text, size_t len,
			  pid_t *ret_pid)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		write_child(s, file, text, len);
	*ret_pid = pid;
	return 0;
}

int key_store_write_ended(struct key_store *s, const char *file, int status)
{
	int r = WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;

	if (r == 0 && is_keyset_file(file))
		s->keep_prev = false;
	return r;
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

void key_store_keep_prev(struct key_store *s)
{
	s->keep_prev = true;
}

const char *key_store_path(const struct key_store *s)
{
	return s->path;
}
