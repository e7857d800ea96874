/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of etcd, whatever form it has: values one after the other, in the reader's memory.
 *
 * Two readers produce it, etcdjson.h (etcdctl's JSON, from a pipe) and snapshot.h (etcd's database
 * file). Both trust nothing they read: what is not exactly as it should be is -EBADMSG, or -EMSGSIZE
 * beyond the bounds below, with words in a struct dump_error. Neither needs memory that grows with
 * the dump.
 */
#ifndef KEKD_DUMP_DUMP_H
#define KEKD_DUMP_DUMP_H

#include <stdint.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

/* etcd's own bound is 1.5 MiB a request, and it advises against raising it above 10 MiB; bytes. */
#define DUMP_VALUE_MAX (10 * 1024 * 1024)
#define DUMP_KEY_MAX   (64 * 1024)

struct dump_value {
	struct span key, value;
	uint64_t mod_revision; /* 0: not told */
	bool past;             /* overwritten since, or its key was deleted; not counted in info */
	bool alone;            /* it is no dump but this value, maybe in two readings */
};

/* Borrowed for the call. 0 to go on; anything else ends the reading, which returns it. */
typedef int dump_each_fn(void *ctx, const struct dump_value *value);

/* What the dump says of itself; zero: it does not. */
struct dump_info {
	uint64_t cluster_id, member_id, revision;
	uint64_t values;      /* given to each */
	uint64_t done, total; /* of the way, for a progress bar; total 0: not known */
	bool whole;           /* every key of etcd at that revision, and nothing has cut it short */
	bool truncated;       /* the dump says itself that there are more keys */
	bool database;        /* a file of etcd's own, not what etcdctl printed */
	bool unlogged; /* a database of k3s, of which a log that has to lie beside it may be lost */
	bool hashed;   /* a snapshot that carries the right SHA-256 of itself */
};

/* Zero-initialised means none. */
struct dump_error {
	char text[256]; /* printable */
};

/*
 * For who wants what is left of a damaged dump: told of each part that cannot be read, in words, and the reading
 * goes on. Borrowed.
 */
struct dump_salvage {
	void (*lost)(void *ctx, const char *what);
	void *ctx;
};

/* Keep the first error's words. Returns @r. */
int dump_fail(struct dump_error *err, int r, const char *fmt, ...) _printf_(3, 4);

#endif
