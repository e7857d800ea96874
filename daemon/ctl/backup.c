/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl backup DIR, kekctl restore DIR: the records of all keys as files, with a list of digests
 * that sha256sum(1) checks. Ciphertext only: what is in DIR opens under the root key and under
 * nothing else, so it may lie where other backups lie, and the root key must not lie there with it.
 *
 * Restore gives a running daemon every key that it has not got, in the state of the backup, and
 * makes active what was active, under the number that it had. Keys that the daemon has stay as they
 * are: an old backup does not turn a rotation back.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"

#define SUMS     "SHA256SUMS"
#define TEXT_MAX 2048 /* more than a record has */
#define HASH_HEX (2 * crypto_hash_sha256_BYTES + 1)

static int file_write(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = -1;
	size_t len = strlen(text);

	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return ctl_fail("%s: %s", name, errno_text(errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		return ctl_fail("%s: %s", name, errno_text(errno));
	return 0;
}

static int file_read(int dir, const char *name, char *ret, size_t size)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ctl_fail("%s: %s", name, errno_text(errno));
	n = read(fd, ret, size - 1);
	if (n < 0)
		return ctl_fail("%s: %s", name, errno_text(errno));
	ret[n] = '\0';
	return 0;
}

static void hash_hex(const char *text, char ret[static HASH_HEX])
{
	unsigned char h[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(h, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(ret, HASH_HEX, h, sizeof(h));
}

static int save_key(const struct ctl *ctl, int dir, const struct admin_key *key, FILE *sums)
{
	char name[KEKD_KEY_ID_HEX + sizeof(".key")], hash[HASH_HEX];
	_cleanup_free_ char *record = NULL;
	int r;

	r = ctl_record_get(ctl, key->id, &record);
	if (r != 0)
		return r;
	sodium_bin2hex(name, sizeof(name), key->id, sizeof(key->id));
	strcat(name, ".key");
	hash_hex(record, hash);
	fprintf(sums, "%s  %s\n", hash, name);
	return file_write(dir, name, record);
}

/* The list is written last: a backup without it is not one. */
static int save_all(const struct ctl *ctl, int dir, const struct ctl_keys *keys)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *sums = open_memstream(&text, &len);
	int r = 0;

	if (!sums)
		return ctl_fail("out of memory");
	for (size_t i = 0; r == 0 && i < keys->n; i++)
		r = save_key(ctl, dir, &keys->v[i], sums);
	if (fclose(sums) != 0)
		return ctl_fail("out of memory");
	if (r == 0)
		r = file_write(dir, SUMS, text);
	if (r == 0 && fsync(dir) < 0)
		r = ctl_fail("cannot make the backup durable: %s", errno_text(errno));
	return r;
}

/* A key whose file is gone is none of those that were saved; one of an earlier time was saved as it is. */
static void say_if_incomplete(const struct ctl *ctl)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_VERIFY };
	struct admin_reply end;

	if (ctl_ask_quiet(ctl, &req, &end) != 0 || end.r == 0)
		return;
	fprintf(stderr,
		"kekctl: warning: the backup may lack keys: %s; see `kekctl key verify`, and keep "
		"older backups\n",
		end.text);
}

int ctl_backup(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };
	_cleanup_close_ int dir = -1;
	int r;

	if (argc != 1)
		return ctl_usage("backup takes a directory, which must not exist");
	r = ctl_keys_get(ctl, &keys);
	if (r != 0)
		return r;
	if (mkdir(argv[0], 0700) < 0)
		return ctl_fail("%s: %s", argv[0], errno_text(errno));
	dir = open(argv[0], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return ctl_fail("%s: %s", argv[0], errno_text(errno));
	r = save_all(ctl, dir, &keys);
	if (r != 0)
		return r;
	printf("%zu keys in %s, sealed; the root key is not among them\n", keys.n, argv[0]);
	say_if_incomplete(ctl);
	return 0;
}

/* One line of the list, and the file that it names if the digest holds; 1 (said), -1 at the end. */
static int next_file(FILE *sums, int dir, char ret_text[static TEXT_MAX])
{
	char want[HASH_HEX], name[KEKD_KEY_ID_HEX + sizeof(".key")], have[HASH_HEX];
	int n = fscanf(sums, "%64s %36s", want, name);

	if (n == EOF)
		return ferror(sums) ? ctl_fail(SUMS ": cannot be read") : -1;
	if (n != 2 || strchr(name, '/'))
		return ctl_fail(SUMS ": not a list that kekctl backup has made");
	if (file_read(dir, name, ret_text, TEXT_MAX) != 0)
		return 1;
	hash_hex(ret_text, have);
	if (strcmp(want, have) != 0)
		return ctl_fail("%s: is not what was saved: its digest is another one", name);
	return 0;
}

typedef int record_fn(const struct ctl *ctl, const char *text);

/* All files of the backup in turn; 0 or 1 (said). */
static int each_file(const struct ctl *ctl, int dir, record_fn *fn)
{
	_cleanup_fclose_ FILE *sums = NULL;
	char text[TEXT_MAX];
	int fd, r;

	fd = openat(dir, SUMS, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ctl_fail(SUMS ": %s; not a whole backup", errno_text(errno));
	sums = fdopen(fd, "r");
	if (!sums) {
		close(fd);
		return ctl_fail("out of memory");
	}
	while ((r = next_file(sums, dir, text)) == 0) {
		r = fn(ctl, text);
		if (r != 0)
			break;
	}
	return r < 0 ? 0 : r;
}

static int check_only(const struct ctl *ctl _unused_, const char *text _unused_)
{
	return 0;
}

static bool says(const char *text, const char *line)
{
	return strstr(text, line) != NULL;
}

static int give(const struct ctl *ctl, const char *text)
{
	struct admin_reply end;

	if (says(text, "\nstate destroyed\n"))
		return 0;
	return ctl_record_put(ctl, text, &end);
}

static int make_active(const struct ctl *ctl, const char *text)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_ACTIVATE };
	const char *id = strstr(text, "\nid "), *number = strstr(text, "\nactivation ");
	struct admin_reply end;
	size_t len = 0;

	if (!says(text, "\nstate active\n"))
		return 0;
	if (!id || !number || sscanf(number, "\nactivation %u\n", &req.activation) != 1 ||
	    sodium_hex2bin(req.id, sizeof(req.id), id + 4, KEKD_KEY_ID_HEX, NULL, &len, NULL) != 0)
		return ctl_fail("a record of the backup has no id or number");
	if (ctl_ask_quiet(ctl, &req, &end) != 0)
		return 1;
	/* -ESTALE: the daemon has gone on since, and that is right. */
	if (end.r < 0 && end.r != -EALREADY && end.r != -ESTALE)
		return ctl_fail("%s", end.text);
	return 0;
}

/* A key that the daemon has is not written over, and one of them may be all that is wrong. */
static int none_refused(const struct ctl *ctl)
{
	_cleanup_(ctl_keys_clear) struct ctl_keys keys = { 0 };
	int r = ctl_keys_get(ctl, &keys);

	for (size_t i = 0; i < keys.n; i++)
		if (keys.v[i].usable == -ESTALE)
			r = ctl_fail("%s is still refused: its file is not the one that was "
				     "written last; put that one into the key store while kekd "
				     "is stopped, or see `kekctl key accept`",
				     keys.v[i].label);
	return r;
}

int ctl_restore(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_close_ int dir = -1;
	int r;

	if (argc != 1)
		return ctl_usage("restore takes a directory that kekctl backup has made");
	dir = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ctl_fail("%s: %s", argv[0], errno_text(errno));
	r = each_file(ctl, dir, check_only);
	if (r == 0 && ctl->dry_run)
		return puts("the backup is whole; nothing was changed") < 0;
	if (r == 0)
		r = each_file(ctl, dir, give);
	if (r == 0)
		r = each_file(ctl, dir, make_active);
	if (r == 0)
		r = none_refused(ctl);
	if (r == 0)
		puts("restored; kekctl key verify proves that all keys open");
	return r;
}
