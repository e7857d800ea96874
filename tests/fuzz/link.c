/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link between keeper and server, as a server that was taken over may use it: a packet of any
 * length with any number of descriptors. The first byte says how many, and whether the rest is
 * stretched to the length of a message. What is accepted has the right length and ended strings,
 * and no descriptor stays behind.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/server/link.h"

#define FDS_MAX 7
#define STRETCH 0x80

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void send_packet(int fd, const void *data, size_t len, unsigned int n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n_fds > 0) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		for (unsigned int i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	}
	require(sendmsg(fd, &hdr, MSG_NOSIGNAL) == (ssize_t)len);
}

static bool ended(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

static void require_sound(const struct link_msg *msg)
{
	require(ended(msg->key.name, sizeof(msg->key.name)) &&
		ended(msg->key.label, sizeof(msg->key.label)) &&
		ended(msg->text, sizeof(msg->text)));
	require(msg->key.state < KEY_STATES && msg->key.kind < KEY_KINDS);
}

/* The lowest free descriptor tells whether one was left open. */
static int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	require(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t packet[2 * sizeof(struct link_msg)];
	struct link_msg msg;
	struct link_fds got = { 0 };
	int fds[2], before;
	unsigned int n;
	size_t len;

	if (size < 2)
		return 0;
	n = data[0] & FDS_MAX;
	len = size - 1 < sizeof(packet) ? size - 1 : sizeof(packet);
	memset(packet, 0, sizeof(packet));
	memcpy(packet, data + 1, len);
	if (data[0] & STRETCH)
		len = sizeof(msg);
	require(link_pair(fds) == 0);
	before = lowest_free();
	send_packet(fds[0], packet, len, n);
	if (link_recv(fds[1], &msg, &got) == 0) {
		require(len == sizeof(msg) && got.n == n && n <= LINK_FDS);
		require_sound(&msg);
		link_fds_close(&got);
	} else {
		memcpy(&msg, packet, sizeof(msg));
		require(len != sizeof(msg) || n > LINK_FDS || key_info_check(&msg.key) < 0);
	}
	require(lowest_free() == before);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
