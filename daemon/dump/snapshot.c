/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshot.h. etcd: server/storage/mvcc/revision.go, etcdutl/snapshot/v3_snapshot.go. */
#include "daemon/dump/snapshot.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <sys/stat.h>

#include "daemon/dump/bolt.h"
#include "daemon/dump/pb_kv.h"
#include "daemon/dump/seen.h"

#define REVISION     17
#define TOMBSTONE    18
#define HASH_ALIGN   512 /* a database is whole pages; what is left over is the hash */
#define READ_SIZE    (256 * 1024)
#define MAGIC_OFFSET 16

struct reading {
	dump_each_fn *each;
	void *ctx;
	struct dump_info *info;
	struct dump_error *err;
	struct seen *seen;
	size_t part, parts;
};

bool snapshot_is(struct span head)
{
	static const uint8_t magic[] = { 0xED, 0xDA, 0x0C, 0xED };

	return head.len >= SNAPSHOT_HEAD && memcmp(head.data + MAGIC_OFFSET, magic, 4) == 0;
}

/* SHA-256 of the first @size bytes. */
static int hash_file(int fd, uint64_t size, uint8_t ret[static crypto_hash_sha256_BYTES])
{
	_cleanup_free_ uint8_t *buf = malloc(READ_SIZE);
	crypto_hash_sha256_state state;

	if (!buf)
		return -ENOMEM;
	crypto_hash_sha256_init(&state);
	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < READ_SIZE ? (size_t)(size - at) : READ_SIZE;
		ssize_t n = pread(fd, buf, want, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		crypto_hash_sha256_update(&state, buf, (unsigned long long)n);
		at += (uint64_t)n;
	}
	crypto_hash_sha256_final(&state, ret);
	return 0;
}

/* The hash at the end, if there is one, is checked; *ret_size is the database without it. */
static int check_hash(int fd, uint64_t size, struct dump_info *info, struct dump_error *err,
		      uint64_t *ret_size)
{
	uint8_t said[crypto_hash_sha256_BYTES], seen[crypto_hash_sha256_BYTES];
	uint64_t rest = size % HASH_ALIGN;
	int r;

	if (rest != 0 && (rest != sizeof(said) || size < HASH_ALIGN))
		return dump_fail(err, -EBADMSG, "a snapshot of this size was cut or added to");
	*ret_size = size - rest;
	if (rest == 0)
		return 0;
	if (pread(fd, said, sizeof(said), (off_t)*ret_size) != (ssize_t)sizeof(said))
		return dump_fail(err, -EBADMSG, "the file ends too early");
	r = hash_file(fd, *ret_size, seen);
	if (r < 0)
		return r;
	if (memcmp(said, seen, sizeof(said)) != 0)
		return dump_fail(err, -EBADMSG, "the snapshot was altered: its SHA-256 is wrong");
	info->hashed = true;
	return 0;
}

/* Main revision of a key of the bucket; *ret_deleted: the key was deleted in it. */
static int revision_of(struct reading *rd, struct span key, uint64_t *ret, bool *ret_deleted)
{
	uint64_t main;

	if ((key.len != REVISION && key.len != TOMBSTONE) || key.data[8] != '_' ||
	    (key.len == TOMBSTONE && key.data[REVISION] != 't'))
		return dump_fail(rd->err, -EBADMSG, "damaged database: a key is no revision");
	memcpy(&main, key.data, sizeof(main));
	*ret = be64toh(main);
	*ret_deleted = key.len == TOMBSTONE;
	return 0;
}

static int count_each(void *ctx, struct span key, struct span value _unused_)
{
	struct reading *rd = ctx;
	uint64_t revision = 0;
	bool deleted = false;
	int r = revision_of(rd, key, &revision, &deleted);

	/* The walk goes from the newest: the first revision is the database's. */
	if (r == 0 && rd->info->total++ == 0)
		rd->info->revision = revision;
	return r;
}

static int read_each(void *ctx, struct span key, struct span value)
{
	struct reading *rd = ctx;
	struct dump_value v;
	uint64_t revision = 0;
	bool deleted = false, is_new;
	int r;

	rd->info->done++;
	r = revision_of(rd, key, &revision, &deleted);
	if (r < 0)
		return r;
	if (pb_kv_decode(value, &v) < 0 || v.key.len > DUMP_KEY_MAX ||
	    (!deleted && v.mod_revision != revision))
		return dump_fail(rd->err, -EBADMSG, "damaged database: a value is none of etcd's");
	if (rd->parts > 1 && seen_part(rd->seen, v.key, rd->parts) != rd->part)
		return 0;
	r = seen_add(rd->seen, v.key, &is_new);
	if (r < 0)
		return dump_fail(rd->err, r, "the keys are spread too unevenly");
	if (!is_new || deleted)
		return 0;
	rd->info->values++;
	return rd->each(rd->ctx, &v);
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
		seen_clear(seen);
		r = bolt_walk_back(bolt, bucket, read_each, rd);
	}
	return r;
}

int snapshot_read(int fd, size_t seen_max, dump_each_fn *each, void *ctx, struct dump_info *info,
		  struct dump_error *err)
{
	_cleanup_(bolt_freep) struct bolt *bolt = NULL;
	_cleanup_bolt_bucket_ struct bolt_bucket bucket = { 0 };
	struct reading rd = { .each = each, .ctx = ctx, .info = info, .err = err };
	struct stat st;
	uint64_t size = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	info->database = true;
	r = check_hash(fd, (uint64_t)st.st_size, info, err, &size);
	if (r == 0)
		r = bolt_open(fd, size, err, &bolt);
	if (r == 0)
		r = bolt_bucket_find(bolt, span_str("key"), &bucket);
	if (r == -ENOENT)
		return dump_fail(err, -EBADMSG, "not a database of etcd: it has no bucket \"key\"");
	if (r == 0)
		r = bolt_walk_back(bolt, &bucket, count_each, &rd);
	if (r == 0)
		r = read_parts(&rd, bolt, &bucket, seen_max);
	/* A member's own file may be torn, or lack what etcd had only in its log. */
	info->whole = r == 0 && info->hashed;
	return r;
}
