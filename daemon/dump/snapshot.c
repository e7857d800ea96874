/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshot.h. etcd: server/storage/mvcc/revision.go, etcdutl/snapshot/v3_snapshot.go. */
#include "daemon/dump/snapshot.h"

#include <endian.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "daemon/dump/bolt.h"
#include "daemon/dump/pb_kv.h"
#include "daemon/dump/seen.h"

#define REVISION   17
#define TOMBSTONE  18
#define HASH_ALIGN 512 /* a database is whole pages; what is left over is the hash */
#define HASH_LEN   32  /* SHA-256 */
#define READ_SIZE  (256 * 1024)
/*
 * Of pages. malloc(3) gives a large block 16 bytes after one, where AMD's "rep movsb" out of the page cache takes three times
 * as long, as the target seems to overlap the source (glibc's bug 30994; measured).
 */
#define READ_ALIGN   4096
#define MAGIC_OFFSET 16

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);

struct reading {
	dump_each_fn *each;
	void *ctx;
	struct dump_info *info;
	struct dump_error *err;
	struct seen *seen;
	size_t part, parts;
	const struct dump_salvage *salvage;
	bool stray; /* what is read is in no tree any more */
};

/* Words for what is damaged, or told and passed over. */
static int snapshot_lost(struct reading *rd, const char *what)
{
	if (!rd->salvage)
		return dump_fail(rd->err, -EBADMSG, "%s", what);
	/* Of several walks the first has told it. */
	if (rd->part == 0)
		rd->salvage->lost(rd->salvage->ctx, what);
	return 0;
}

bool snapshot_is(struct span head)
{
	static const uint8_t magic[] = { 0xED, 0xDA, 0x0C, 0xED };

	return head.len >= SNAPSHOT_HEAD && memcmp(head.data + MAGIC_OFFSET, magic, 4) == 0;
}

/* SHA-256 of the first @size bytes: libcrypto's, which has the instructions of the CPU for it. */
static int hash_file(int fd, uint64_t size, uint8_t ret[static HASH_LEN])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *buf = aligned_alloc(READ_ALIGN, READ_SIZE);

	if (!buf || !ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
		return -ENOMEM;
	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < READ_SIZE ? (size_t)(size - at) : READ_SIZE;
		ssize_t n = pread(fd, buf, want, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		if (!EVP_DigestUpdate(ctx, buf, (size_t)n))
			return -EIO;
		at += (uint64_t)n;
	}
	return EVP_DigestFinal_ex(ctx, ret, NULL) ? 0 : -EIO;
}

/* The hash at the end, if there is one, is checked; *ret_size is the database without it. */
static int check_hash(struct reading *rd, int fd, uint64_t size, uint64_t *ret_size)
{
	uint8_t said[HASH_LEN], seen[HASH_LEN];
	uint64_t rest = size % HASH_ALIGN;
	int r;

	*ret_size = size - rest;
	if (rest == 0)
		return 0;
	if (rest != sizeof(said) || size < HASH_ALIGN)
		return snapshot_lost(rd, "a snapshot of this size was cut or added to");
	if (pread(fd, said, sizeof(said), (off_t)*ret_size) != (ssize_t)sizeof(said))
		return dump_fail(rd->err, -EBADMSG, "the file ends too early");
	r = hash_file(fd, *ret_size, seen);
	if (r == -EIO)
		return snapshot_lost(rd, "the file cannot be read as a whole");
	if (r < 0)
		return r;
	if (memcmp(said, seen, sizeof(said)) != 0)
		return snapshot_lost(rd, "the snapshot was altered: its SHA-256 is wrong");
	rd->info->hashed = true;
	return 0;
}

/* Main revision of a key of the bucket; *ret_deleted: the key was deleted in it. False: it is none. */
static bool revision_of(struct span key, uint64_t *ret, bool *ret_deleted)
{
	uint64_t main;

	if ((key.len != REVISION && key.len != TOMBSTONE) || key.data[8] != '_' ||
	    (key.len == TOMBSTONE && key.data[REVISION] != 't'))
		return false;
	memcpy(&main, key.data, sizeof(main));
	*ret = be64toh(main);
	*ret_deleted = key.len == TOMBSTONE;
	return true;
}

static int read_each(void *ctx, struct span key, struct span value)
{
	struct reading *rd = ctx;
	struct dump_value v;
	uint64_t revision = 0;
	bool deleted = false, is_new;
	int r;

	rd->info->done++;
	if (!revision_of(key, &revision, &deleted))
		return rd->stray ? 0 : snapshot_lost(rd, "damaged database: a key is no revision");
	if (pb_kv_decode(value, &v) < 0 || v.key.len > DUMP_KEY_MAX ||
	    (!deleted && v.mod_revision != revision))
		return rd->stray ? 0
				 : snapshot_lost(rd, "damaged database: a value is none of etcd's");
	if (revision > rd->info->revision)
		rd->info->revision = revision;
	if (rd->parts > 1 && seen_part(rd->seen, v.key, rd->parts) != rd->part)
		return 0;
	r = seen_add(rd->seen, v.key, &is_new);
	if (r < 0)
		return dump_fail(rd->err, r, "the keys are spread too unevenly");
	if (deleted)
		return 0;
	v.past = !is_new;
	rd->info->values += is_new;
	return rd->each(rd->ctx, &v);
}

/* With what no tree leads to any more, where something is lost. */
static int walk_all(struct reading *rd, struct bolt *bolt, const struct bolt_bucket *bucket)
{
	int r = bolt_walk_back(bolt, bucket, read_each, rd);
	size_t n = 0;

	if (r != 0 || !bolt_is_damaged(bolt))
		return r;
	rd->stray = true;
	r = bolt_strays_back(bolt, read_each, rd, &n);
	rd->stray = false;
	if (r == 0 && n > 0 && rd->part == 0)
		return snapshot_lost(
			rd, "the way to some pages: what is in them was opened and may be older "
			    "than what was lost");
	return r;
}

/* A share has at most half of what the set can hold, on average: its size varies a little. */
static int read_parts(struct reading *rd, struct bolt *bolt, const struct bolt_bucket *bucket,
		      size_t seen_max)
{
	_cleanup_(seen_freep) struct seen *seen = NULL;
	uint64_t revisions = rd->info->total;
	int r;

	rd->parts = revisions <= seen_max ? 1 : (size_t)(revisions / (seen_max / 2 + 1) + 1);
	r = seen_new(rd->parts == 1 ? (size_t)revisions + 1 : seen_max, &seen);
	if (r < 0)
		return r;
	rd->seen = seen;
	rd->info->total *= rd->parts;
	for (rd->part = 0; r == 0 && rd->part < rd->parts; rd->part++) {
		bolt_tell(bolt, rd->part == 0 ? rd->salvage : NULL);
		seen_clear(seen);
		r = walk_all(rd, bolt, bucket);
	}
	return r;
}

int snapshot_read(int fd, size_t seen_max, const struct dump_salvage *salvage, dump_each_fn *each,
		  void *ctx, struct dump_info *info, struct dump_error *err)
{
	_cleanup_(bolt_freep) struct bolt *bolt = NULL;
	_cleanup_bolt_bucket_ struct bolt_bucket bucket = { 0 };
	struct reading rd = {
		.each = each, .ctx = ctx, .info = info, .err = err, .salvage = salvage
	};
	struct stat st;
	uint64_t size = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	info->database = true;
	r = check_hash(&rd, fd, (uint64_t)st.st_size, &size);
	if (r == 0)
		r = bolt_open(fd, size, salvage != NULL, err, &bolt);
	if (r == 0)
		r = bolt_bucket_find(bolt, span_str("key"), &bucket);
	if (r == -ENOENT && salvage && bolt_is_damaged(bolt))
		r = 0;
	if (r == -ENOENT)
		return dump_fail(err, -EBADMSG, "not a database of etcd: it has no bucket \"key\"");
	if (r == 0)
		r = bolt_count(bolt, &bucket, &info->total);
	if (r == 0)
		r = read_parts(&rd, bolt, &bucket, seen_max);
	/* A member's own file may be torn, or lack what etcd had only in its log. */
	info->whole = r == 0 && info->hashed;
	return r;
}
