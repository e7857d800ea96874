/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/power_log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC   0x6a736677736872ULL
#define VERSION 1

/* All numbers are little-endian; each struct has a sector of its own, in which a mark's text follows it. */
struct super {
	uint64_t magic, version, n_entries;
	uint32_t sector_size;
};

struct entry {
	uint64_t sector, n_sectors, flags, data_len;
};

struct power_log {
	uint8_t *text;
	size_t size, at, sector_size;
	uint64_t left;
};

static int read_super(struct power_log *log)
{
	const struct super *super = (const void *)log->text;

	if (log->size < sizeof(*super) || le64toh(super->magic) != MAGIC ||
	    le64toh(super->version) != VERSION || le32toh(super->sector_size) < sizeof(*super))
		return -EINVAL;
	log->left = le64toh(super->n_entries);
	log->sector_size = le32toh(super->sector_size);
	log->at = log->sector_size;
	return 0;
}

int power_log_open(const char *file, struct power_log **ret)
{
	_cleanup_(power_log_closep) struct power_log *log = calloc(1, sizeof(*log));
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *text;
	int r;

	if (!log)
		return -ENOMEM;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED)
		return -errno;
	log->text = text;
	log->size = (size_t)st.st_size;
	r = read_super(log);
	if (r < 0)
		return r;
	*ret = move_ptr(log);
	return 0;
}

void power_log_close(struct power_log *log)
{
	if (!log)
		return;
	if (log->text)
		munmap(log->text, log->size);
	free(log);
}

int power_log_next(struct power_log *log, struct power_log_entry *ret)
{
	const struct entry *entry = (const void *)(log->text + log->at);
	uint64_t flags, len;

	if (log->left == 0)
		return 0;
	if (log->size - log->at < log->sector_size)
		return -EINVAL;
	flags = le64toh(entry->flags);
	len = le64toh(entry->n_sectors) * log->sector_size;
	log->at += log->sector_size;
	if (flags & POWER_LOG_DISCARD ? len > SIZE_MAX : len > log->size - log->at)
		return -EINVAL;
	ret->flags = flags;
	ret->offset = le64toh(entry->sector) * log->sector_size;
	ret->len = (size_t)len;
	ret->data = log->text + log->at;
	ret->mark = (const char *)(entry + 1);
	if (!(flags & POWER_LOG_DISCARD))
		log->at += ret->len;
	log->left--;
	return 1;
}

int power_log_apply(const struct power_log_entry *entry, int image)
{
	if (entry->flags & POWER_LOG_MARK || entry->len == 0)
		return 0;
	if (entry->flags & POWER_LOG_DISCARD)
		return fallocate(image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)entry->offset, (off_t)entry->len) < 0
			       ? -errno
			       : 0;
	if (pwrite(image, entry->data, entry->len, (off_t)entry->offset) != (ssize_t)entry->len)
		return -EIO;
	return 0;
}
