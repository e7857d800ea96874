/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit: one JSON object a line, for every operation and every event of a key. Who asked, what, with
 * which key, and how it ended; never a byte of a message or of a key.
 *
 * Lines are collected while a turn of the loop runs and written in one go by audit_flush(), before
 * the answers of that turn leave. What happens when they cannot be written is the configuration's
 * word (`audit.onFailure`):
 *   block  audit_flush() fails and keeps the lines; the caller sends nothing until it succeeds. When
 *          there is no room for more lines audit_add() fails, and what it was about is refused.
 *   drop   the lines are given up and counted; the first line after says how many.
 *
 * A file is appended to, whole lines or, when the disk fills, the rest of one as soon as there is
 * space. journald gets one datagram a line (systemd.journal-fields(7), native protocol).
 */
#ifndef KEKD_OBS_AUDIT_H
#define KEKD_OBS_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

struct audit;

enum audit_target { AUDIT_FILE, AUDIT_JOURNAL };

struct audit_line {
	const char *event; /* "operation", "command", "key" */
	const char *what;  /* "v2.Encrypt", "key rotate", "created" */
	/* Of the request, as its sender wrote them; cut and escaped. Empty ones are left out. */
	struct span uid, resource, path;
	bool asked; /* by a peer; otherwise the next two are left out */
	uid_t peer_uid;
	pid_t peer_pid; /* 0: of another pid namespace, as kekd in a container sees the host's */
	const char *provider;
	const char *key;     /* hash of a key_id, or a key's label; "" or NULL is left out */
	const char *state;   /* of the key */
	const char *custody; /* who has it: keeper_custody(); NULL is left out */
	const char *result;  /* "OK", "EBADMSG" */
	int64_t micros;      /* -1: left out */
};

int audit_new(enum audit_target target, bool drop, struct audit **ret);
void audit_free(struct audit *a);
DEFINE_CLEANUP(struct audit *, audit_free);

/* Where lines go from now on; consumed. A line that was begun in the old file is begun again. */
void audit_set_fd(struct audit *a, int fd);

/* -ENOBUFS: no room, with `block`. All borrowed. */
int audit_add(struct audit *a, const struct audit_line *line);
/* 0: nothing waits. Otherwise why it cannot be written, with `block`; try again later. */
int audit_flush(struct audit *a);
bool audit_stuck(const struct audit *a);

/* Lines written and given up since the last call. */
void audit_counts_take(struct audit *a, uint64_t *ret_lines, uint64_t *ret_dropped);

/* Open the file, or connect to journald. Not blocking for the journal. Caller closes. */
int audit_open(enum audit_target target, const char *path, int *ret_fd);

#endif
