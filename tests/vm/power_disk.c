/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/power_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

#define TEXT  256
#define BLOCK 4096

/* -EBUSY: somebody else was quicker to take the free one. */
static int take_free_loop(int control, int backing, char ret_path[static DISK_PATH])
{
	struct loop_config config = { .fd = (uint32_t)backing,
				      .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	_cleanup_close_ int fd = -1;
	int n = ioctl(control, LOOP_CTL_GET_FREE);

	if (n < 0)
		return -errno;
	snprintf(ret_path, DISK_PATH, "/dev/loop%d", n);
	fd = open(ret_path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	return move_fd(fd);
}

int disk_loop(const char *file, char ret_path[static DISK_PATH])
{
	_cleanup_close_ int control = -1, backing = -1;
	int r;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	backing = open(file, O_RDWR | O_CLOEXEC);
	if (control < 0 || backing < 0)
		return -errno;
	do
		r = take_free_loop(control, backing, ret_path);
	while (r == -EBUSY);
	return r;
}

/* What follows the head depends on the request: a table of one target, or a message. */
struct request {
	struct dm_ioctl head;
	union {
		struct {
			struct dm_target_spec spec;
			char params[TEXT];
		} table;
		struct {
			uint64_t sector;
			char text[TEXT];
		} message;
	};
};

static int dm_call(unsigned long cmd, const char *name, uint32_t flags, struct request *req)
{
	_cleanup_close_ int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	req->head.version[0] = DM_VERSION_MAJOR;
	req->head.data_size = sizeof(*req);
	req->head.data_start = sizeof(req->head);
	req->head.flags = flags;
	snprintf(req->head.name, sizeof(req->head.name), "%s", name);
	return ioctl(fd, cmd, req) < 0 ? -errno : 0;
}

static int dm_load(const char *name, uint64_t sectors, const char *target, const char *params)
{
	struct request req = { .head.target_count = 1 };

	req.table.spec.length = sectors;
	snprintf(req.table.spec.target_type, sizeof(req.table.spec.target_type), "%s", target);
	snprintf(req.table.params, sizeof(req.table.params), "%s", params);
	return dm_call(DM_TABLE_LOAD, name, 0, &req);
}

/* 0: the table that was loaded last is in use from now on. */
static int dm_suspend(const char *name, uint32_t flags)
{
	struct request req = { 0 };

	return dm_call(DM_DEV_SUSPEND, name, flags, &req);
}

int disk_dm_create(const char *name, uint64_t sectors, const char *target, const char *params,
		   char ret_path[static DISK_PATH])
{
	struct request req = { 0 };
	int r;

	r = dm_call(DM_DEV_CREATE, name, 0, &req);
	if (r < 0)
		return r;
	snprintf(ret_path, DISK_PATH, "/dev/dm-%u", minor(req.head.dev));
	r = dm_load(name, sectors, target, params);
	if (r == 0)
		r = dm_suspend(name, 0);
	if (r < 0)
		disk_dm_remove(name);
	return r;
}

int disk_dm_replace(const char *name, uint64_t sectors, const char *target, const char *params)
{
	int r = dm_load(name, sectors, target, params);

	if (r == 0)
		r = dm_suspend(name, DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG);
	return r < 0 ? r : dm_suspend(name, 0);
}

int disk_dm_message(const char *name, const char *text)
{
	struct request req = { 0 };

	snprintf(req.message.text, sizeof(req.message.text), "%s", text);
	return dm_call(DM_TARGET_MSG, name, 0, &req);
}

int disk_dm_remove(const char *name)
{
	struct request req = { 0 };

	return dm_call(DM_DEV_REMOVE, name, 0, &req);
}

static int copy_block(int from, int to, off_t at)
{
	static const char zeros[BLOCK];
	char block[BLOCK];
	ssize_t n = pread(from, block, sizeof(block), at);

	if (n < 0)
		return -errno;
	if (memcmp(block, zeros, (size_t)n) != 0 && pwrite(to, block, (size_t)n, at) != n)
		return -EIO;
	return 0;
}

int disk_copy(const char *from, const char *to)
{
	_cleanup_close_ int in = -1, out = -1;
	off_t data, hole = 0;
	struct stat st;
	int r = 0;

	in = open(from, O_RDONLY | O_CLOEXEC);
	unlink(to);
	out = open(to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (in < 0 || out < 0 || fstat(in, &st) < 0 || ftruncate(out, st.st_size) < 0)
		return -errno;
	while (r == 0 && (data = lseek(in, hole, SEEK_DATA)) >= 0) {
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		for (; r == 0 && data < hole; data += BLOCK)
			r = copy_block(in, out, data);
	}
	return r;
}
