/* SPDX-License-Identifier: Apache-2.0 */
/* See kine.h. */
#include "daemon/dump/kine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Each key from its newest row to its oldest. kine has an index of (name, id). */
static const char rows[] = "SELECT name, value, id, deleted FROM kine ORDER BY name, id DESC";

struct kine {
	sqlite3 *db;
	sqlite3_stmt *stmt;
	dump_each_fn *each;
	void *ctx;
	struct dump_info *info;
	struct dump_error *err;
	char last[DUMP_KEY_MAX]; /* the key before */
	size_t last_len;
};

bool kine_is(struct span head)
{
	return span_starts_with(head, span_of("SQLite format 3", sizeof("SQLite format 3")));
}

static int kine_fail(struct kine *k)
{
	return dump_fail(k->err, sqlite3_errcode(k->db) == SQLITE_NOMEM ? -ENOMEM : -EBADMSG,
			 "not a database of k3s, or damaged: SQLite says %s",
			 sqlite3_errmsg(k->db));
}

static int row_take(struct kine *k)
{
	const void *key = sqlite3_column_blob(k->stmt, 0), *value = sqlite3_column_blob(k->stmt, 1);
	int key_len = sqlite3_column_bytes(k->stmt, 0), len = sqlite3_column_bytes(k->stmt, 1);
	sqlite3_int64 id = sqlite3_column_int64(k->stmt, 2);
	struct dump_value v = { .key = span_of(key, (size_t)key_len),
				.value = span_of(value, (size_t)len) };

	if (!key || key_len == 0 || (size_t)key_len > sizeof(k->last) || len > DUMP_VALUE_MAX ||
	    id < 0)
		return dump_fail(k->err, -EMSGSIZE, "a key or value is larger than etcd allows");
	v.mod_revision = (uint64_t)id;
	v.past = span_equal(v.key, span_of(k->last, k->last_len));
	memcpy(k->last, key, (size_t)key_len);
	k->last_len = (size_t)key_len;
	if (v.mod_revision > k->info->revision)
		k->info->revision = v.mod_revision;
	if (sqlite3_column_int(k->stmt, 3) != 0)
		return 0;
	k->info->values += !v.past;
	return k->each(k->ctx, &v);
}

/*
 * Where there is no log SQLite would make one, which stays when it may not write the file. So an URI tells it that the file
 * does not change; characters with a meaning in an URI are escaped (sqlite.org/uri.html).
 */
static int file_open(struct kine *k, const char *path)
{
	char uri[3 * PATH_MAX + 32] = "file:";
	size_t n = strlen(uri);

	if (!k->info->unlogged)
		return sqlite3_open_v2(path, &k->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
				       NULL);
	if (strlen(path) >= PATH_MAX)
		return SQLITE_CANTOPEN;
	for (const char *p = path; *p; p++)
		n += (size_t)sprintf(uri + n, strchr("%?#", *p) ? "%%%02x" : "%c", *p);
	strcpy(uri + n, "?immutable=1");
	return sqlite3_open_v2(uri, &k->db,
			       SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
}

/* A file from anyone: its own functions, triggers and views are not trusted, and every cell is checked. */
static int kine_open(struct kine *k, const char *path)
{
	if (file_open(k, path) != SQLITE_OK)
		return k->db ? kine_fail(k) : -ENOMEM;
	sqlite3_db_config(k->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(k->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(k->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_limit(k->db, SQLITE_LIMIT_LENGTH, 2 * DUMP_VALUE_MAX);
	if (sqlite3_exec(k->db, "PRAGMA cell_size_check = ON", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(k->db, rows, -1, &k->stmt, NULL) != SQLITE_OK)
		return kine_fail(k);
	return 0;
}

/*
 * Does it want a write-ahead log (byte 18 of the header is 2: sqlite.org/fileformat2.html), and there is none? SQLite removes it
 * when the last program has closed the file; a copy of the file alone looks the same. Whoever opens it makes one.
 */
static bool is_unlogged(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char log[PATH_MAX];
	uint8_t version;

	if (fd < 0 || pread(fd, &version, 1, 18) != 1 || version != 2)
		return false;
	return snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log) ||
	       access(log, F_OK) < 0;
}

int kine_read(const char *path, dump_each_fn *each, void *ctx, struct dump_info *info,
	      struct dump_error *err)
{
	_cleanup_free_ struct kine *k = calloc(1, sizeof(*k));
	int step = SQLITE_DONE, r;

	if (!k)
		return -ENOMEM;
	k->each = each;
	k->ctx = ctx;
	k->info = info;
	k->err = err;
	info->database = true;
	info->unlogged = is_unlogged(path);
	r = kine_open(k, path);
	while (r == 0 && (step = sqlite3_step(k->stmt)) == SQLITE_ROW)
		r = row_take(k);
	if (r == 0 && step != SQLITE_DONE)
		r = kine_fail(k);
	sqlite3_finalize(k->stmt);
	sqlite3_close(k->db);
	return r;
}
