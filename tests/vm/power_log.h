/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of dm-log-writes (Linux, drivers/md/dm-log-writes.c and log-writes.rst in the documentation of
 * device-mapper): every write of a disk with its data, in an order in which a disk with a cache may
 * have them durable. One with FUA comes when it has ended, others just before the flush that they precede.
 */
#ifndef KEKD_TESTS_VM_POWER_LOG_H
#define KEKD_TESTS_VM_POWER_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

enum power_log_flags {
	POWER_LOG_FLUSH = 1,
	POWER_LOG_FUA = 2,
	POWER_LOG_DISCARD = 4,
	POWER_LOG_MARK = 8,
};

/* Points into the log and lives as long. */
struct power_log_entry {
	uint64_t flags;
	uint64_t offset; /* on the disk, in bytes, as the length of the data */
	size_t len;
	const uint8_t *data;
	const char *mark; /* what the message was, up to a NUL */
};

struct power_log;

/* @file is what the log's device was made of, after the device is gone. -EINVAL: not a log. */
int power_log_open(const char *file, struct power_log **ret);
void power_log_close(struct power_log *log);
DEFINE_CLEANUP(struct power_log *, power_log_close);

/* 1 and the next entry, 0 at the end. -EINVAL: the log is cut short. */
int power_log_next(struct power_log *log, struct power_log_entry *ret);

/* Do to the disk's image what the entry did to the disk. */
int power_log_apply(const struct power_log_entry *entry, int image);

#endif
