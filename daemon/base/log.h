/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operator's log: one line an event on stderr, prefixed with a journald priority (<3>, sd-daemon(3))
 * when stderr is the journal ($JOURNAL_STREAM) and with the process's name otherwise. Quiet by
 * design: nothing per request. Never a key, a request byte or a rejected value.
 *
 * --debug adds lines of level debug at each boundary that a request or a key crosses: connections,
 * messages of the link, steps of keys and of a reload, timers that did something, sums over the engine's
 * runs. The same rules hold for them. They name the process's pid, as there may be several servers.
 */
#ifndef KEKD_BASE_LOG_H
#define KEKD_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* @who is borrowed for ever ("kekd", "kekd-server"). */
void log_init(const char *who, enum log_level max);
/*
 * For a daemon: from now on a line that stderr does not take at once is dropped. @reopen: give this process, and
 * those that it starts, a descriptor of their own that does not block.
 */
void log_never_wait(bool reopen);
/* How many lines were lost, if that has not been said and can be. Before each line, and as time passes. */
void log_say_dropped(void);
/* Since the start. */
uint64_t log_lines_dropped(void);
/* True with --debug. Read by all, set by log_init() alone. */
extern bool log_debugging;
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)

/* One branch that is not taken, and no argument is evaluated, without --debug. */
#define log_debug(...)                                          \
	do {                                                    \
		if (__builtin_expect(log_debugging, false))     \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

/* A line that comes again and again: once in ten seconds, with how often it was due. All zero at first. */
struct seldom {
	uint64_t logged_at, unlogged;
};
/* @now: CLOCK_MONOTONIC in ns. Counts; true if the line is to be written now. */
bool seldom_due(struct seldom *s, uint64_t now);
/* How often it was due since the last such line, which is this one. */
unsigned long long seldom_take(struct seldom *s);

/* "EKEYREVOKED (Key has been revoked)" of a positive or negative errno; static per-thread buffer. */
const char *errno_text(int e);

#endif
