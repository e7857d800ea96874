/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl backup FILE, backup verify FILE, restore FILE: a backup is the keyset document, ciphertext under
 * the root key, which must not lie where the backup lies, and an acknowledgement that says how often each key was
 * used. What a restore may do is the keeper's to decide: it tests the file against its root key before it changes
 * anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

static int backup_write_tmp(const char *tmp, const char *text, size_t len)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return ctl_fail("%s: %s", tmp, strerror(errno));
	r = io_write_all(fd, text, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? ctl_fail("%s: %s", tmp, strerror(-r)) : 0;
}

/*
 * Not over a file that is there: it may be the only good backup. So link(2), or where a file system has no hard links
 * (FAT) the rename that does as much.
 */
static int put_in_place(const char *tmp, const char *path)
{
	int r = link(tmp, path) < 0 ? -errno : 0;

	if (r == -EPERM || r == -EOPNOTSUPP || r == -ENOSYS)
		r = renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) < 0 ? -errno : 0;
	if (r < 0)
		return r == -EEXIST ? ctl_fail("%s: is there already; give another name", path)
				    : ctl_fail("%s: %s", path, strerror(-r));
	r = io_sync_folder(path);
	return r < 0 ? ctl_fail("%s: whether it outlives a crash is unknown: %s", path,
				strerror(-r))
		     : 0;
}

struct count {
	const struct ctl *ctl;
	size_t keys, bad;
	bool quiet;
};

static void count_key(void *ctx, const struct board_key *key)
{
	struct count *n = ctx;

	n->keys++;
	n->bad += key->usable != 0;
	if (!n->quiet || key->usable != 0)
		printf("%-7s %-12s %s%s%s\n", key->usable == 0 ? "opens" : "FAILS",
		       key_state_name(key->info.state), key->info.label,
		       key->usable == 0 ? "" : ": ",
		       key->usable == 0 ? "" : errno_text(key->usable));
}

static int verify(const struct ctl *ctl, struct span text, struct count *n)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_BACKUP_VERIFY };
	const struct ctl_exchange x = { .req = &req, .blob = text, .each = count_key, .ctx = n };
	struct admin_reply end;

	return ctl_ask_with(ctl, &x, &end);
}

static int backup_save(const struct ctl *ctl, const char *path, const char *tmp)
{
	struct admin_request req = { .version = ADMIN_VERSION,
				     .verb = ADMIN_KEYSET_EXPORT,
				     .flags = ADMIN_BACKUP };
	struct count n = { .ctl = ctl, .quiet = true };
	_cleanup_free_ char *text = NULL;
	struct admin_reply end;
	size_t len = 0;
	const struct ctl_exchange x = { .req = &req, .ret_text = &text, .ret_len = &len };
	int r;

	r = ctl_ask_with(ctl, &x, &end);
	if (r == 0)
		r = backup_write_tmp(tmp, text, len);
	if (r == 0 && verify(ctl, span_of(text, len), &n) != 0)
		r = ctl_fail("nothing was saved: a backup with keys that do not open is none");
	if (r == 0)
		r = put_in_place(tmp, path);
	if (r == 0)
		printf("%zu keys in %s, sealed; the root key is not among them\n", n.keys, path);
	return r;
}

int ctl_backup(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_free_ char *tmp = NULL;
	int r;

	if (argc != 1)
		return ctl_usage("backup takes a file, which must not exist");
	if (asprintf(&tmp, "%s.tmp-%d", argv[0], getpid()) < 0) {
		tmp = NULL;
		return ctl_fail("out of memory");
	}
	if (access(argv[0], F_OK) == 0)
		return ctl_fail("%s: is there already; give another name", argv[0]);
	r = backup_save(ctl, argv[0], tmp);
	unlink(tmp);
	return r;
}

static int backup_read(const char *path, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (strcmp(path, "-") == 0)
		return ctl_read_text(STDIN_FILENO, "standard input", ret, ret_len);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return ctl_fail("%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return ctl_fail("%s: a folder; a backup of this version is one file", path);
	return ctl_read_text(fd, path, ret, ret_len);
}

int ctl_backup_verify(const struct ctl *ctl, int argc, char **argv)
{
	struct count n = { .ctl = ctl };
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	if (argc != 1)
		return ctl_usage("backup verify takes a file that kekctl backup has made, or -");
	r = backup_read(argv[0], &text, &len);
	if (r == 0)
		r = verify(ctl, span_of(text, len), &n);
	if (r == 0)
		printf("all %zu keys of the backup open under this daemon's root key\n", n.keys);
	return r;
}

int ctl_restore(const struct ctl *ctl, int argc, char **argv)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_RESTORE };
	struct count n = { .ctl = ctl, .quiet = true };
	_cleanup_free_ char *text = NULL;
	struct admin_reply end;
	size_t len = 0;
	int r;

	if (argc != 1)
		return ctl_usage("restore takes a file that kekctl backup has made, or -");
	r = backup_read(argv[0], &text, &len);
	if (r != 0)
		return r;
	req.flags = (ctl->dry_run ? ADMIN_DRY_RUN : 0U) | (ctl->alone ? ADMIN_ALONE : 0U);
	const struct ctl_exchange x = {
		.req = &req, .blob = span_of(text, len), .each = count_key, .ctx = &n
	};

	r = ctl_ask_with(ctl, &x, &end);
	if (r == 0 && *end.text)
		puts(end.text);
	return r;
}
