/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k3s without etcd: its database is SQLite, in which the table "kine" holds a row for each revision of each key
 * (github.com/k3s-io/kine, pkg/drivers/sqlite). SQLite reads it; nothing that the file itself defines is run.
 */
#ifndef KEKD_DUMP_KINE_H
#define KEKD_DUMP_KINE_H

#include "daemon/dump/dump.h"

/* Does the file begin as a database of SQLite does? */
bool kine_is(struct span head);
/*
 * Read all. @path: of the file, beside which lie those that SQLite has of it, as the log of what is newest. Errors
 * of dump.h, and what @each returned; an older revision is given out as past.
 */
int kine_read(const char *path, dump_each_fn *each, void *ctx, struct dump_info *info,
	      struct dump_error *err);

#endif
