/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bbolt database file, read-only (go.etcd.io/bbolt: page.go, db.go, bucket.go). Pages of a fixed
 * size; two meta pages with a checksum, of which the newer good one counts; a tree of branch and leaf
 * pages for each bucket, the buckets themselves being values of a root tree, or lying whole inside
 * such a value when they are small. A page may run over several page sizes.
 *
 * The file is hostile: it may have been cut, altered or made up. So it is read with pread(2) and never
 * mapped (a mapped file that shrinks is SIGBUS); every offset and length is checked against the page it
 * is in, every page against the file; a tree has a bounded depth, and no page is visited twice in one
 * walk, which ends every cycle. Keys must be in order over the whole walk. The freelist is not looked
 * at: it is about writing.
 */
#ifndef KEKD_DUMP_BOLT_H
#define KEKD_DUMP_BOLT_H

#include "daemon/dump/dump.h"

struct bolt;

/*
 * @fd borrowed for the life of *@ret, @err too. @size: bytes of the database in it. @lenient: walks go on past
 * what is damaged, and keys may be out of order. Caller frees.
 */
int bolt_open(int fd, uint64_t size, bool lenient, struct dump_error *err, struct bolt **ret);
/* From now on a lenient one tells of what it passes over. NULL: no more. Borrowed. */
void bolt_tell(struct bolt *b, const struct dump_salvage *salvage);
/* Has a walk of a lenient one passed over a page, or is there no meta page? */
bool bolt_is_damaged(const struct bolt *b);
/* Is it a database of which not even a meta page is left? */
bool bolt_is_torn(int fd);
void bolt_free(struct bolt *b);
DEFINE_CLEANUP(struct bolt *, bolt_free);

/* A bucket of the root. Zeroed, bolt_bucket_done() does nothing. */
struct bolt_bucket {
	uint64_t root; /* page; 0: inside */
	uint8_t *page; /* its copy if inside; owned */
	size_t len;
};

/*
 * -ENOENT: there is none of that name; a lenient one has looked for it in the tree of the transaction before as
 * well, if that of the last is damaged. Caller calls bolt_bucket_done(). */
int bolt_bucket_find(struct bolt *b, struct span name, struct bolt_bucket *ret);
void bolt_bucket_done(struct bolt_bucket *bucket);
#define _cleanup_bolt_bucket_ _cleanup_(bolt_bucket_done)

/* Borrowed for the call. 0 to go on; anything else ends the walk, which returns it. */
typedef int bolt_each_fn(void *ctx, struct span key, struct span value);

/*
 * All of a bucket's values, from the last key to the first. A bucket inside it is -EBADMSG: etcd has
 * none. Errors of dump.h and of pread(2).
 */
int bolt_walk_back(struct bolt *b, const struct bolt_bucket *bucket, bolt_each_fn *each, void *ctx);

#define BOLT_STRAY_KEY 18 /* longer keys are left out; etcd's revisions are no longer */
/*
 * After a walk: what is in leaf pages that it did not come to, from the last key to the first, whatever bucket it was of and
 * however old it is. @ret_n: how many.
 */
int bolt_strays_back(struct bolt *b, bolt_each_fn *each, void *ctx, size_t *ret_n);

/*
 * How many values bolt_walk_back() and, where it is damaged, bolt_strays_back() may give at most, by what the pages say of
 * themselves: of those that hold values no more than the header is read, unless they may be damaged. Errors as of
 * bolt_walk_back(), but for those of the values.
 */
int bolt_count(struct bolt *b, const struct bolt_bucket *bucket, uint64_t *ret_n);

#endif
