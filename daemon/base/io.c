/* SPDX-License-Identifier: Apache-2.0 */
/* See io.h. */
#include "daemon/base/io.h"

#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

int io_read_all(int fd, void *buf, size_t size, size_t *ret_len)
{
	uint8_t *to = buf;
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = io_retry(read(fd, to + len, size - len));
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return 0;
}

int io_read_exactly(int fd, void *buf, size_t size)
{
	size_t len = 0;
	int r = io_read_all(fd, buf, size, &len);

	return r == 0 && len < size ? -ENODATA : r;
}

int io_pread_exactly(int fd, void *buf, size_t size, uint64_t offset)
{
	uint8_t *to = buf;
	size_t len = 0;
	ssize_t n;

	while (len < size) {
		n = io_retry(pread(fd, to + len, size - len, (off_t)(offset + len)));
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		len += (size_t)n;
	}
	return 0;
}

int io_write_all(int fd, const void *data, size_t size)
{
	const uint8_t *from = data;
	ssize_t n;

	while (size > 0) {
		n = io_retry(write(fd, from, size));
		if (n < 0)
			return -errno;
		from += n;
		size -= (size_t)n;
	}
	return 0;
}

int io_send_all(int fd, const void *data, size_t size)
{
	const uint8_t *from = data;
	ssize_t n;

	while (size > 0) {
		n = io_retry(send(fd, from, size, MSG_NOSIGNAL));
		if (n < 0)
			return -errno;
		from += n;
		size -= (size_t)n;
	}
	return 0;
}

int io_sync_folder(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}
