/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key is one page of locked memory, object and bytes together: there is no second place to wipe.
 */
#include "daemon/keys/softkey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/base/secmem.h"

struct softkey {
	uint8_t key[KEKD_AES_KEY_MAX];
};

static int softkey_new(struct softkey **ret)
{
	struct softkey *key = secmem_alloc(sizeof(*key));

	if (!key)
		return -ENOMEM;
	*ret = key;
	return 0;
}

int softkey_from_bytes(struct span bytes, struct softkey **ret)
{
	struct softkey *key;
	int r;

	if (bytes.len < 16 || bytes.len > sizeof(key->key))
		return -EINVAL;
	r = softkey_new(&key);
	if (r < 0)
		return r;
	memcpy(key->key, bytes.data, bytes.len);
	*ret = key;
	return 0;
}

void softkey_free(struct softkey *key)
{
	secmem_free(key, sizeof(*key));
}

const uint8_t *softkey_bytes(const struct softkey *key)
{
	return key->key;
}

/* NULL and errno if it cannot be mapped. */
static void *map_shared(int fd, int prot)
{
	void *p = mmap(NULL, sizeof(struct softkey), prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int export_memfd(const struct softkey *key, int *ret_fd)
{
#ifdef SYS_memfd_secret
	_cleanup_close_ int fd = -1;
	void *p;

	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, sizeof(*key)) < 0)
		return -errno;
	p = map_shared(fd, PROT_READ | PROT_WRITE);
	if (!p)
		return -errno;
	memcpy(p, key, sizeof(*key));
	munmap(p, sizeof(*key));
	*ret_fd = move_fd(fd);
	return 0;
#else
	(void)key;
	(void)ret_fd;
	return -ENOSYS;
#endif
}

int softkey_export(const struct softkey *key, int *ret_fd)
{
	_cleanup_close_ int rd = -1, wr = -1;
	int fds[2];

	if (export_memfd(key, ret_fd) == 0)
		return 0;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	rd = fds[0];
	wr = fds[1];
	if (write(wr, key, sizeof(*key)) != (ssize_t)sizeof(*key))
		return -EIO;
	*ret_fd = move_fd(rd);
	return 0;
}

int softkey_import(int fd, struct softkey **ret)
{
	_cleanup_(softkey_freep) struct softkey *key = NULL;
	struct stat st;
	void *p;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = softkey_new(&key);
	if (r < 0)
		return r;
	if (S_ISFIFO(st.st_mode)) {
		if (read(fd, key, sizeof(*key)) != (ssize_t)sizeof(*key))
			return -EINVAL;
	} else if (S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof(*key)) {
		p = map_shared(fd, PROT_READ);
		if (!p) /* EAGAIN: no more can be locked */
			return errno == EAGAIN ? -ENOMEM : -errno;
		memcpy(key, p, sizeof(*key));
		munmap(p, sizeof(*key));
	} else {
		return -EINVAL;
	}
	*ret = move_ptr(key);
	return 0;
}
