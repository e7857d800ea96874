/* SPDX-License-Identifier: Apache-2.0 */
/* See fdpass.h. */
#include "daemon/sys/fdpass.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"

/* One more than anybody may ask for, so that too many are told from too few that were free. */
union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * (FDPASS_MAX + 1))];
};

/* What fits into the control buffer, which is rounded up. */
#define ROOM ((sizeof(union control) - CMSG_LEN(0)) / sizeof(int))

int fdpass_send(int fd, const void *data, size_t size, const int *fds, size_t n)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { 0 };
	ssize_t sent;

	if (n > FDPASS_MAX)
		return -E2BIG;
	if (n > 0) {
		struct cmsghdr *c = &control.align;

		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	sent = io_retry(sendmsg(fd, &hdr, MSG_NOSIGNAL));
	if (sent < 0)
		return -errno;
	return (size_t)sent == size ? 0 : -EIO;
}

/* All descriptors of @hdr, in @ret. */
static size_t fdpass_take(struct msghdr *hdr, int ret[static ROOM])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(ret + n, CMSG_DATA(c), len);
		n += len / sizeof(int);
	}
	return n;
}

int fdpass_recv(int fd, void *buf, size_t size, size_t *ret_len, int *ret_fds, size_t max,
		size_t *ret_n, bool *ret_lost)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	union control control = { 0 };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	int fds[ROOM];
	ssize_t len;
	size_t n;
	bool lost;

	len = io_retry(recvmsg(fd, &hdr, MSG_CMSG_CLOEXEC));
	if (len < 0)
		return -errno;
	n = fdpass_take(&hdr, fds);
	/* Cut short where there was room in the buffer: for want of descriptors (scm_detach_fds() in net/core/scm.c). */
	lost = n <= max && hdr.msg_flags & MSG_CTRUNC;
	if (n <= max && len > 0 && !(hdr.msg_flags & MSG_TRUNC) && !lost) {
		memcpy(ret_fds, fds, sizeof(int) * n);
		*ret_len = (size_t)len;
		*ret_n = n;
		*ret_lost = false;
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (!lost || len == 0 || hdr.msg_flags & MSG_TRUNC)
		return len == 0 ? -ENODATA : -EPROTO;
	*ret_len = (size_t)len;
	*ret_n = 0;
	*ret_lost = true;
	return 0;
}

void fdspare_use(struct fdspare *spare)
{
	while (spare->n > 0)
		close(spare->fd[--spare->n]);
}

void fdspare_fill(struct fdspare *spare, int fd)
{
	int copy;

	while (spare->n < FDPASS_MAX && (copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
		spare->fd[spare->n++] = copy;
}
