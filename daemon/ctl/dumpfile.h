/* SPDX-License-Identifier: Apache-2.0 */
/* Where scan and open read from: a pipe or a file, JSON of etcdctl, a snapshot, or a database of k3s. */
#ifndef KEKD_CTL_DUMPFILE_H
#define KEKD_CTL_DUMPFILE_H

#include "daemon/dump/dump.h"

struct dumpfile {
	struct dump_info info;
	const char *source; /* "etcdctl", "snapshot", "kine" or "value"; set by reading */
	/*
	 * Set by the caller, NULL or a key of etcd: what is read may then also be the stored value of that
	 * key alone (dump/single.h). One that ends with a newline of which it is not known whose it is, is given
	 * twice: with it and without.
	 */
	const char *single;
	const struct dump_salvage *salvage; /* set by the caller; NULL: damage is an error */
};

/*
 * Read @path, NULL or "-" being standard input, which must not be a terminal. With @progress a bar on
 * standard error if that is a terminal. @each as for the readers; 0 of it goes on, and what else it
 * returns is returned (it has said why). 1: an error, said. *@file: but for what the caller sets it is zeroed
 * first.
 */
int dumpfile_read(const char *path, bool progress, dump_each_fn *each, void *ctx,
		  struct dumpfile *file);

#endif
