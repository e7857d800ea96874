/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd's database: a snapshot of `etcdctl snapshot save`, which ends in the SHA-256 of all before it,
 * or a copy of a member's `member/snap/db`, which has none.
 *
 * The bucket "key" holds every revision since the last compaction, not every key: under main and sub
 * revision (17 bytes, big-endian; an 18th 't' is a deletion) a mvccpb.KeyValue. Only a key's newest
 * revision counts; older ones are given out too, as what they are. The bucket is walked from its end, so the
 * first one met of a key is its newest, and a set says which keys were met (seen.h).
 *
 * That set is all that grows with the database, 64 bytes a key at most, and it has a bound: the first
 * walk counts the revisions, and where there could be more keys than SNAPSHOT_SEEN_MAX the others take
 * a share of the keys each, chosen by their hash. The file is then walked several times, in the memory
 * of one.
 */
#ifndef KEKD_DUMP_SNAPSHOT_H
#define KEKD_DUMP_SNAPSHOT_H

#include "daemon/dump/dump.h"

#define SNAPSHOT_SEEN_MAX (1024 * 1024) /* keys; 32 MiB */

/* Does the file begin as a database of bbolt does? */
bool snapshot_is(struct span head);
#define SNAPSHOT_HEAD 24

/*
 * Read all. @fd: a regular file, borrowed. @seen_max as above. Errors of dump.h, of pread(2), and what
 * @each returned. @info->done and total count revisions, of all walks.
 *
 * @salvage: NULL, or read what is left, also where the hash is wrong or pages are damaged. What was newest of a
 * key may be lost with a page, and then an older revision is given out for it.
 */
int snapshot_read(int fd, size_t seen_max, const struct dump_salvage *salvage, dump_each_fn *each,
		  void *ctx, struct dump_info *info, struct dump_error *err);

#endif
