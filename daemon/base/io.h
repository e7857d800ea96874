/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole reads and writes. A signal interrupts none of them: what it has broken off is taken up again, as a
 * daemon whose signals come by signalfd(2) and a tool that wants to be ended have no use for EINTR.
 */
#ifndef KEKD_BASE_IO_H
#define KEKD_BASE_IO_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

/* The value of @call, a system call that says -1 and errno, repeated while a signal interrupts it. */
#define io_retry(call)                                   \
	({                                               \
		ssize_t io_retry_;                       \
		do                                       \
			io_retry_ = (call);              \
		while (io_retry_ < 0 && errno == EINTR); \
		io_retry_;                               \
	})

/*
 * Each takes a blocking @fd, which is borrowed, and gives 0 or -errno.
 * io_read_all: up to @size bytes; fewer than @size only at the end of file.
 * io_read_exactly, io_pread_exactly: @size bytes. -ENODATA: the file ends before.
 * io_write_all: all of @data. io_send_all: the same to a socket, without SIGPIPE.
 */
int io_read_all(int fd, void *buf, size_t size, size_t *ret_len);
int io_read_exactly(int fd, void *buf, size_t size);
int io_pread_exactly(int fd, void *buf, size_t size, uint64_t offset);
int io_write_all(int fd, const void *data, size_t size);
int io_send_all(int fd, const void *data, size_t size);

/* fsync(2) of the folder that @path is in, so that the name outlives a crash. -ENOMEM, errors of open(2) and fsync(2). */
int io_sync_folder(const char *path);

#endif
