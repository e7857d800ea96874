/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database of k3s without etcd, the table "kine" as kine makes it, with one row for each three arguments:
 *
 *	kinegen FILE [KEY VALUE DELETED]...
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] =
	"CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, "
	"deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER, "
	"value BLOB, old_value BLOB);"
	"CREATE INDEX kine_name_id_index ON kine (name, id);";
static const char row[] = "INSERT INTO kine (name, value, deleted) VALUES (?, ?, ?)";

static int put(sqlite3_stmt *stmt, char **arg)
{
	sqlite3_reset(stmt);
	sqlite3_bind_text(stmt, 1, arg[0], -1, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, arg[1], (int)strlen(arg[1]), SQLITE_STATIC);
	sqlite3_bind_int(stmt, 3, atoi(arg[2]));
	return sqlite3_step(stmt) == SQLITE_DONE ? 0 : 1;
}

int main(int argc, char **argv)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	int r;

	if (argc < 2 || argc % 3 != 2) {
		fputs("usage: kinegen FILE [KEY VALUE DELETED]...\n", stderr);
		return 2;
	}
	r = sqlite3_open(argv[1], &db) != SQLITE_OK ||
	    sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, row, -1, &stmt, NULL) != SQLITE_OK;
	for (int i = 2; r == 0 && i < argc; i += 3)
		r = put(stmt, argv + i);
	if (r != 0)
		fprintf(stderr, "kinegen: %s\n", sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return r;
}
