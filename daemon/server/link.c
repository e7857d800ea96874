/* SPDX-License-Identifier: Apache-2.0 */
/* See link.h. SEQPACKET keeps message boundaries, so there is no framing and no partial read. */
#include "daemon/server/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/cleanup.h"

int link_pair(int ret_fds[static 2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * LINK_FDS)];
};

int link_send(int fd, const struct link_msg *msg, const struct link_fds *fds)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = sizeof(*msg) };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_control control = { 0 };
	struct cmsghdr *c;
	ssize_t n;

	if (fds && fds->n > 0) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(sizeof(int) * fds->n);
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * fds->n);
		memcpy(CMSG_DATA(c), fds->fd, sizeof(int) * fds->n);
	}
	do {
		n = sendmsg(fd, &hdr, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*msg) ? 0 : -EIO;
}

static void fds_from_control(struct msghdr *hdr, struct link_fds *ret)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);

	ret->n = 0;
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return;
	ret->n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(ret->fd, CMSG_DATA(c), sizeof(int) * ret->n);
}

int link_recv(int fd, struct link_msg *ret, struct link_fds *ret_fds)
{
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	union fd_control control = { 0 };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	struct link_fds fds;
	ssize_t n;

	do {
		n = recvmsg(fd, &hdr, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fds_from_control(&hdr, &fds);
	if (n == (ssize_t)sizeof(*ret) && !(hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		ret->name[sizeof(ret->name) - 1] = '\0';
		ret->label[sizeof(ret->label) - 1] = '\0';
		ret->text[sizeof(ret->text) - 1] = '\0';
		*ret_fds = fds;
		return 0;
	}
	link_fds_close(&fds);
	return n == 0 ? -ENODATA : -EPROTO;
}

void link_fds_close(struct link_fds *fds)
{
	for (unsigned int i = 0; i < fds->n; i++)
		closep(&fds->fd[i]);
	fds->n = 0;
}

int link_fds_take(struct link_fds *fds, unsigned int i)
{
	return i < fds->n ? move_fd(fds->fd[i]) : -1;
}

void link_from_record(struct link_msg *msg, const struct key_record *rec)
{
	memcpy(msg->id, rec->id, sizeof(msg->id));
	memcpy(msg->name, rec->name, sizeof(msg->name));
	memcpy(msg->label, rec->label, sizeof(msg->label));
	msg->activation = rec->activation;
	msg->state = rec->state;
	msg->kind = rec->kind;
	msg->key_bytes = rec->key_bytes;
	msg->secretbox = rec->secretbox;
}

void link_to_record(const struct link_msg *msg, struct key_record *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->id, msg->id, sizeof(ret->id));
	memcpy(ret->name, msg->name, sizeof(ret->name));
	memcpy(ret->label, msg->label, sizeof(ret->label));
	ret->activation = msg->activation;
	ret->kind = msg->kind < KEY_KINDS ? (enum key_kind)msg->kind : KEY_KIND_ENCRYPTED;
	ret->key_bytes = msg->key_bytes;
	ret->secretbox = msg->secretbox;
	ret->state = msg->state < KEY_STATES ? (enum key_state)msg->state : KEY_RETIRED;
}
