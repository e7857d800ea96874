/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket, as a client may use it: any bytes, in pieces. The first byte says in how large ones. What
 * is taken for a request has the length that its verb allows and an ended name; what is not is answered in
 * words, and the connection ends with that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/keeper/admin_client.h"

#define ROOM     64
#define SENT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Odd verbs take something, every fourth a secret. */
static int room(uint32_t verb, struct admin_room *ret)
{
	if (verb == 0 || verb >= ADMIN_VERBS)
		return -EOPNOTSUPP;
	*ret = (struct admin_room){ verb % 2 ? ROOM : 0, verb % 4 == 1 };
	return 0;
}

static int answer(struct admin_client *c)
{
	const struct admin_request *req = admin_client_request(c);
	struct span blob = admin_client_blob(c);
	int r;

	require(req->version == ADMIN_VERSION && req->verb > 0 && req->verb < ADMIN_VERBS);
	require(blob.len <= (req->verb % 2 ? ROOM : 0));
	require(req->length == sizeof(*req) - sizeof(struct admin_head) + blob.len);
	require(memchr(req->name, '\0', sizeof(req->name)) != NULL);
	r = admin_client_put(c, ADMIN_TEXT, 0, blob.data, blob.len);
	if (r == 0)
		r = admin_client_put(c, ADMIN_END, 0, "", 0);
	admin_client_done(c, 0);
	return r;
}

/* As the keeper's loop: all that is there is taken. */
static int serve(struct admin_client *c)
{
	int r;

	do {
		r = admin_client_read(c, 1);
		if (r > 0 && answer(c) < 0)
			return -ENOBUFS;
		if (r >= 0 && admin_client_flush(c) < 0)
			return -ENODATA;
	} while (r > 0);
	return r;
}

static void drain(int fd)
{
	char buf[4096];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admin_client *c;
	size_t piece, n;
	int fd[2], r = 0;

	if (size < 2 || size > SENT_MAX)
		return 0;
	piece = (size_t)data[0] + 1;
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0);
	require(admin_client_new(fd[0], room, &c) == 0);
	for (size_t at = 1; r >= 0 && at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		require(send(fd[1], data + at, n, MSG_NOSIGNAL) == (ssize_t)n);
		r = serve(c);
		drain(fd[1]);
	}
	admin_client_free(c);
	close(fd[1]);
	return 0;
}
