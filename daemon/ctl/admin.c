/* SPDX-License-Identifier: Apache-2.0 */
/* See admin.h. */
#include "daemon/ctl/admin.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/io.h"
#include "daemon/sys/ring.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

int admin_connect(const char *path, uint64_t timeout_ns, int *ret_fd)
{
	struct timeval wait = { .tv_sec = (time_t)(timeout_ns / NS_PER_S),
				.tv_usec = (suseconds_t)(timeout_ns % NS_PER_S / 1000) };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* It holds for connect(2) too, which waits as long as the backlog is full. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	if (io_retry(connect(fd, (struct sockaddr *)&addr, sizeof(addr))) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

/* Until @fd is ready for @events; @end_ns 0: no bound. -ETIMEDOUT. */
static int admin_await(int fd, short events, uint64_t end_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	int wait_ms = -1, n;

	do {
		if (end_ns != 0) {
			uint64_t now = now_ns();

			wait_ms = now < end_ns ? (int)((end_ns - now) / NS_PER_MS) + 1 : 0;
		}
		n = poll(&p, 1, wait_ms);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n > 0 ? 0 : -ETIMEDOUT;
}

static uint64_t end_of(uint64_t timeout_ns)
{
	return timeout_ns == 0 ? 0 : now_ns() + timeout_ns;
}

static int send_all(int fd, uint64_t end_ns, struct span s)
{
	while (s.len > 0) {
		ssize_t n = io_retry(send(fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT));
		int r = 0;

		if (n < 0 && errno == EAGAIN)
			r = admin_await(fd, POLLOUT, end_ns);
		else if (n < 0)
			r = -errno;
		if (r < 0)
			return r;
		if (n > 0)
			s = span_of(s.data + n, s.len - (size_t)n);
	}
	return 0;
}

int admin_send(int fd, uint64_t timeout_ns, const struct admin_request *req, struct span blob)
{
	struct admin_request whole = *req;
	uint64_t end_ns = end_of(timeout_ns);
	int r;

	if (blob.len > ADMIN_BODY_MAX - sizeof(*req))
		return -EMSGSIZE;
	whole.length = (uint32_t)(sizeof(*req) - sizeof(struct admin_head) + blob.len);
	r = send_all(fd, end_ns, span_of(&whole, sizeof(whole)));
	return r == 0 ? send_all(fd, end_ns, blob) : r;
}

static int recv_all(int fd, uint64_t end_ns, void *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = io_retry(recv(fd, (char *)buf + len, size - len, MSG_DONTWAIT));
		int r = 0;

		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno == EAGAIN)
			r = admin_await(fd, POLLIN, end_ns);
		else if (n < 0)
			r = -errno;
		if (r < 0)
			return r;
		len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* What a message of this type has to be as long as; 0: any length. */
static size_t length_of(uint32_t type)
{
	switch (type) {
	case ADMIN_KEY:
		return sizeof(struct board_key);
	case ADMIN_STATUS_REPLY:
		return sizeof(struct admin_status);
	case ADMIN_METRICS_REPLY:
		return sizeof(struct metrics);
	case ADMIN_MEMBER:
		return sizeof(struct admin_member);
	case ADMIN_CLUSTER:
		return sizeof(struct admin_cluster);
	case ADMIN_MEMBER_KEY:
		return sizeof(struct admin_member_key);
	case ADMIN_MARK:
		return sizeof(struct admin_mark);
	default:
		return 0;
	}
}

int admin_recv(int fd, uint64_t timeout_ns, struct admin_message *ret)
{
	_cleanup_(admin_message_clear) struct admin_message m = { 0 };
	uint64_t end_ns = end_of(timeout_ns);
	size_t length;
	int r;

	r = recv_all(fd, end_ns, &m.head, sizeof(m.head));
	if (r < 0)
		return r;
	/* END is the same in every version, so that what is wrong can be said. */
	if (m.head.version != ADMIN_VERSION && m.head.type != ADMIN_END)
		return -EPROTO;
	length = length_of(m.head.type);
	if (m.head.length > ADMIN_BODY_MAX || (length > 0 && m.head.length != length))
		return -EPROTO;
	m.data = malloc((size_t)m.head.length + 1);
	if (!m.data)
		return -ENOMEM;
	r = recv_all(fd, end_ns, m.data, m.head.length);
	if (r < 0)
		return r;
	m.data[m.head.length] = '\0';
	*ret = m;
	m.data = NULL;
	return 0;
}

void admin_message_clear(struct admin_message *m)
{
	free(m->data);
	*m = (struct admin_message){ 0 };
}
