/* SPDX-License-Identifier: Apache-2.0 */
/* scan of the newest snapshot in a folder, and its outcome for Prometheus: what kekd-verify.timer runs. */
#ifndef KEKD_CTL_SNAPSHOTS_H
#define KEKD_CTL_SNAPSHOTS_H

#include <limits.h>
#include <time.h>

struct scan;

struct snapshot_file {
	char path[PATH_MAX];
	time_t made; /* its file's time, for people and alerts; 0: there is none */
};

/*
 * The newest of the databases of etcd in @folder by their files' times; of links, and of what etcdctl is still writing,
 * nothing is taken. 0 or 1 (said), also when there is none.
 */
int snapshots_newest(const char *folder, struct snapshot_file *ret);
/* Metrics of the scan that ended with @status to @path, in the place of what was there at once. 0 or 1 (said). */
int snapshots_textfile(const struct scan *s, int status, const struct snapshot_file *file,
		       const char *path);

#endif
