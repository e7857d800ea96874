/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflight SOCKET: a KMS v2 Status call that is under way for as long as the server does not stop.
 *
 * The request's headers and the first bytes of its message are sent; a PING that the server answers
 * proves that it has read them. Then "held" is printed. When the server says GOAWAY the rest of the
 * message follows. Exit status 0 if the answer comes after all.
 *
 * HTTP/2 frames by hand (RFC 9113 §4.1), header fields as literals without Huffman coding (RFC
 * 7541 §6.2.2): a library would not leave a message half sent.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/base/cleanup.h"

#define WAIT_MS     60000
#define PAYLOAD_MAX 16384

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { END_STREAM = 0x1, ACK = 0x1, END_HEADERS = 0x4 };

struct frame {
	uint8_t type, flags;
	uint32_t stream, len;
	uint8_t payload[PAYLOAD_MAX];
};

static int send_all(int fd, const void *data, size_t len)
{
	return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EIO;
}

static int frame_send(int fd, uint8_t type, uint8_t flags, uint8_t stream, const void *payload,
		      size_t len)
{
	uint8_t head[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags };
	int r;

	head[8] = stream;
	r = send_all(fd, head, sizeof(head));
	return r == 0 && len > 0 ? send_all(fd, payload, len) : r;
}

static int recv_all(int fd, void *data, size_t len)
{
	for (size_t got = 0; got < len;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, WAIT_MS) <= 0)
			return -ETIME;
		n = recv(fd, (uint8_t *)data + got, len - got, 0);
		if (n <= 0)
			return n == 0 ? -ENODATA : -errno;
		got += (size_t)n;
	}
	return 0;
}

static int frame_recv(int fd, struct frame *ret)
{
	uint8_t head[9];
	int r;

	r = recv_all(fd, head, sizeof(head));
	if (r < 0)
		return r;
	ret->len = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
	ret->type = head[3];
	ret->flags = head[4];
	ret->stream = head[8]; /* ours is stream 1 */
	return ret->len <= PAYLOAD_MAX ? recv_all(fd, ret->payload, ret->len) : -EMSGSIZE;
}

/* The next frame of type @type; others go by. Settings and pings of the server are answered. */
static int frame_await(int fd, uint8_t type, struct frame *ret)
{
	int r;

	while ((r = frame_recv(fd, ret)) == 0) {
		if ((ret->type == SETTINGS || ret->type == PING) && !(ret->flags & ACK))
			r = frame_send(fd, ret->type, ACK, 0, ret->payload,
				       ret->type == PING ? ret->len : 0);
		else if (ret->type == type)
			return 0;
		if (r < 0)
			return r;
	}
	return r;
}

static size_t field_put(uint8_t *to, const char *name, const char *value)
{
	size_t n = 0;

	to[n++] = 0x00;
	to[n++] = (uint8_t)strlen(name); /* below 127: one byte */
	memcpy(to + n, name, strlen(name));
	n += strlen(name);
	to[n++] = (uint8_t)strlen(value);
	memcpy(to + n, value, strlen(value));
	return n + strlen(value);
}

static int headers_send(int fd)
{
	static const char *const fields[][2] = {
		{ ":method", "POST" },         { ":scheme", "http" },
		{ ":authority", "localhost" }, { ":path", "/v2.KeyManagementService/Status" },
		{ "te", "trailers" },          { "content-type", "application/grpc" },
	};
	uint8_t block[512];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		n += field_put(block + n, fields[i][0], fields[i][1]);
	return frame_send(fd, HEADERS, END_HEADERS, 1, block, n);
}

/* An empty message: 5 bytes of prefix, of which @from … @to are sent now. */
static int message_send(int fd, size_t from, size_t to, uint8_t flags)
{
	static const uint8_t message[5];

	return frame_send(fd, DATA, flags, 1, message + from, to - from);
}

static int call_begin(int fd)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct frame f;
	int r;

	r = send_all(fd, preface, strlen(preface));
	if (r == 0)
		r = frame_send(fd, SETTINGS, 0, 0, NULL, 0);
	if (r == 0)
		r = headers_send(fd);
	if (r == 0)
		r = message_send(fd, 0, 2, 0);
	if (r == 0)
		r = frame_send(fd, PING, 0, 0, "in time?", 8);
	if (r == 0)
		r = frame_await(fd, PING, &f);
	return r;
}

/* The rest of the message; then the answer, which is not empty, and the end of the stream. */
static int call_end(int fd)
{
	struct frame f;
	int r;

	r = message_send(fd, 2, 5, END_STREAM);
	if (r == 0)
		r = frame_await(fd, DATA, &f);
	if (r == 0 && f.len <= 5)
		r = -EBADMSG;
	while (r == 0 && !(f.flags & END_STREAM))
		r = frame_await(fd, HEADERS, &f);
	return r;
}

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return -EINVAL;
	memcpy(addr.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_close_ int fd = -1;
	struct frame f;
	int r;

	r = argc == 2 ? connect_to(argv[1], &fd) : -EINVAL;
	if (r == 0)
		r = call_begin(fd);
	if (r == 0) {
		puts("held");
		fflush(stdout);
		r = frame_await(fd, GOAWAY, &f);
	}
	if (r == 0)
		r = call_end(fd);
	if (r < 0)
		fprintf(stderr, "inflight: %s\n", strerror(-r));
	return r < 0;
}
