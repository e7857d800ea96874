/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshots.h. */
#include "daemon/ctl/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/ctl/scan.h"
#include "daemon/dump/snapshot.h"

/* What `etcdctl snapshot save` calls a file that it has not finished. */
#define PART ".part"

/* Its file's time; 0: it is no database of etcd. */
static time_t snapshot_made(int dir, const char *name)
{
	_cleanup_close_ int fd =
		openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	uint8_t head[SNAPSHOT_HEAD];
	size_t n = strlen(name), part = strlen(PART), len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (n >= part && strcmp(name + n - part, PART) == 0)
		return 0;
	if (io_read_all(fd, head, sizeof(head), &len) < 0 || !snapshot_is(span_of(head, len)))
		return 0;
	return st.st_mtime > 0 ? st.st_mtime : 1;
}

static int newest_find(DIR *dir, const char *folder, struct snapshot_file *ret)
{
	const struct dirent *e;

	while ((e = readdir(dir))) {
		time_t made = snapshot_made(dirfd(dir), e->d_name);

		if (made == 0 || made < ret->made)
			continue;
		if (snprintf(ret->path, sizeof(ret->path), "%s/%s", folder, e->d_name) >=
		    (int)sizeof(ret->path))
			return ctl_fail("%s: the names in it are too long", folder);
		ret->made = made;
	}
	if (ret->made == 0)
		return ctl_fail(
			"%s: no snapshot of etcd is in it: `etcdctl snapshot save` makes one",
			folder);
	return 0;
}

int snapshots_newest(const char *folder, struct snapshot_file *ret)
{
	DIR *dir = opendir(folder);
	int r;

	*ret = (struct snapshot_file){ 0 };
	if (!dir)
		return ctl_fail("%s: %s", folder, errno_text(errno));
	r = newest_find(dir, folder, ret);
	closedir(dir);
	return r;
}

static void proof_gauge(FILE *f, const char *name, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* A scan that did not come to its end gives no numbers of values. */
static void snapshots_print(FILE *f, const struct scan *s, int status,
			    const struct snapshot_file *file)
{
	static const enum verdict shown[] = { VERDICT_CURRENT, VERDICT_STALE, VERDICT_PLAINTEXT,
					      VERDICT_UNREADABLE };

	proof_gauge(f, "kekd_snapshot_verify_status",
		    "How the scan of the newest snapshot of etcd ended, as kekctl scan does.");
	fprintf(f, "kekd_snapshot_verify_status %d\n", status);
	proof_gauge(f, "kekd_snapshot_verify_time_seconds", "When that was.");
	fprintf(f, "kekd_snapshot_verify_time_seconds %lld\n", (long long)time(NULL));
	proof_gauge(f, "kekd_snapshot_time_seconds",
		    "The time of that snapshot's file; 0: there is none.");
	fprintf(f, "kekd_snapshot_time_seconds %lld\n", (long long)file->made);
	proof_gauge(f, "kekd_snapshot_values", "Values in it, by what the scan says of them.");
	for (size_t i = 0; s->ended && i < ARRAY_SIZE(shown); i++)
		fprintf(f, "kekd_snapshot_values{verdict=\"%s\"} %" PRIu64 "\n",
			verdict_name(shown[i]), s->report.n_all[shown[i]]);
}

int snapshots_textfile(const struct scan *s, int status, const struct snapshot_file *file,
		       const char *path)
{
	_cleanup_free_ char *text = NULL, *temporary = NULL;
	_cleanup_close_ int fd = -1;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return ctl_fail("out of memory");
	snapshots_print(f, s, status, file);
	if (fclose(f) != 0 || asprintf(&temporary, "%s.new", path) < 0)
		return ctl_fail("out of memory");
	if (unlink(temporary) < 0 && errno != ENOENT)
		return ctl_fail("%s: %s", temporary, errno_text(errno));
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || io_write_all(fd, text, len) < 0 ||
	    rename(temporary, path) < 0)
		return ctl_fail("%s: %s", path, errno_text(errno));
	return 0;
}
