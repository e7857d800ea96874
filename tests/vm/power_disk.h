/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block devices for a test that runs as root in a guest: files as disks (loop), and what device-mapper puts
 * above them. By ioctl(2) and not dmsetup(8), which waits for a udevd that a guest does not have; devtmpfs
 * makes the nodes /dev/dm-N and /dev/loopN by itself.
 *
 * Functions return 0 or -errno, unless said otherwise. Names of device-mapper devices are the caller's.
 */
#ifndef KEKD_TESTS_VM_POWER_DISK_H
#define KEKD_TESTS_VM_POWER_DISK_H

#include <stdint.h>

#define DISK_SECTOR 512
#define DISK_PATH   32

/*
 * @file as a block device at ret_path. Returns a descriptor, the caller's to close: the device is gone
 * with it, or with the last mount or table that uses it.
 */
int disk_loop(const char *file, char ret_path[static DISK_PATH]);

/* One target over @sectors, with @params in dmsetup's form. */
int disk_dm_create(const char *name, uint64_t sectors, const char *target, const char *params,
		   char ret_path[static DISK_PATH]);
/*
 * Another target in its place. The file system above is not asked to write what it has first, as it
 * would be by `dmsetup suspend`.
 */
int disk_dm_replace(const char *name, uint64_t sectors, const char *target, const char *params);
int disk_dm_message(const char *name, const char *text);
int disk_dm_remove(const char *name);

/* A new file @to with what @from holds; blocks of zeros become holes. */
int disk_copy(const char *from, const char *to);

#endif
