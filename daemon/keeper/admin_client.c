/* SPDX-License-Identifier: Apache-2.0 */
/* See admin_client.h. */
#include "daemon/keeper/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/io.h"
#include "daemon/base/secmem.h"
#include "daemon/sys/listener.h"

#define BODY_MIN  (sizeof(struct admin_request) - sizeof(struct admin_head))
#define QUEUE_MIN 4096

struct admin_client {
	int fd;
	admin_room_fn *room;
	struct op_peer peer;
	uint64_t since_ns; /* busy since then, or 0 */
	bool ending;       /* when the queue is empty */

	/* The request: its head, and with that the room for all of it. */
	struct admin_head head;
	size_t len;
	uint8_t *in; /* NULL until the head is there */
	size_t in_size;
	bool secret;

	/* The answer. */
	uint8_t *out;
	size_t out_len, out_done, out_size;
};

int admin_client_new(int fd, admin_room_fn *room, struct admin_client **ret)
{
	_cleanup_free_ struct admin_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = peer_cred(fd, &c->peer);
	if (r < 0)
		return r;
	c->fd = fd;
	c->room = room;
	*ret = move_ptr(c);
	return 0;
}

static void request_wipe(struct admin_client *c)
{
	if (c->secret)
		secmem_free(c->in, c->in_size);
	else
		free(c->in);
	c->in = NULL;
	c->len = c->in_size = 0;
	c->secret = false;
}

void admin_client_done(struct admin_client *c, uint64_t now)
{
	request_wipe(c);
	c->since_ns = now;
}

void admin_client_free(struct admin_client *c)
{
	if (!c)
		return;
	request_wipe(c);
	free(c->out);
	close(c->fd);
	free(c);
}

int admin_client_fd(const struct admin_client *c)
{
	return c->fd;
}

const struct op_peer *admin_client_peer(const struct admin_client *c)
{
	return &c->peer;
}

static bool has_queued(const struct admin_client *c)
{
	return c->out_done < c->out_len;
}

short admin_client_events(const struct admin_client *c)
{
	return has_queued(c) ? POLLOUT : POLLIN;
}

bool admin_client_busy(const struct admin_client *c)
{
	return c->len > 0 || has_queued(c);
}

bool admin_client_waits(const struct admin_client *c)
{
	return c->in && c->len == c->in_size;
}

bool admin_client_late(const struct admin_client *c, uint64_t now)
{
	return admin_client_busy(c) && !admin_client_waits(c) &&
	       now - c->since_ns > ADMIN_CLIENT_NS;
}

/* No further request can be told from what follows this one: the connection ends with the answer. */
static int client_refuse(struct admin_client *c, int r, const char *text)
{
	c->ending = true;
	return admin_client_put(c, ADMIN_END, r, text, strlen(text));
}

/* 1: there is room for the request. 0: it was refused. */
static int client_make_room(struct admin_client *c)
{
	const struct admin_head *head = &c->head;
	struct admin_room room;

	if (head->version != ADMIN_VERSION)
		return client_refuse(c, -EPROTO, "kekctl and kekd are of different versions");
	if (c->room(head->type, &room) < 0)
		return client_refuse(c, -EOPNOTSUPP, "this kekd does not know that command");
	if (head->length < BODY_MIN)
		return client_refuse(c, -EPROTO, "the request is too short to be one");
	if (head->length - BODY_MIN > room.bytes)
		return client_refuse(c, -EMSGSIZE, "the request is longer than that command takes");
	c->in_size = sizeof(*head) + head->length;
	c->in = room.secret ? secmem_alloc(c->in_size) : malloc(c->in_size);
	if (!c->in)
		return client_refuse(c, -ENOMEM, "the daemon has no memory for the request");
	c->secret = room.secret;
	memcpy(c->in, head, sizeof(*head));
	return 1;
}

/* Up to @size bytes of the request in all; > 0: there they are. */
static int admin_take(struct admin_client *c, uint8_t *to, size_t size)
{
	while (c->len < size) {
		ssize_t n = io_retry(recv(c->fd, to + c->len, size - c->len, MSG_DONTWAIT));

		if (n == 0)
			return -ENODATA;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->len += (size_t)n;
	}
	return 1;
}

int admin_client_read(struct admin_client *c, uint64_t now)
{
	struct admin_request *req;
	int r = 1;

	if (c->len == 0)
		c->since_ns = now;
	if (!c->in)
		r = admin_take(c, (uint8_t *)&c->head, sizeof(c->head));
	if (r > 0 && !c->in)
		r = client_make_room(c);
	if (r > 0)
		r = admin_take(c, c->in, c->in_size);
	if (r > 0) {
		req = (struct admin_request *)(void *)c->in;
		req->name[sizeof(req->name) - 1] = '\0';
	}
	return r;
}

const struct admin_request *admin_client_request(const struct admin_client *c)
{
	return (const struct admin_request *)(const void *)c->in;
}

struct span admin_client_blob(const struct admin_client *c)
{
	size_t before = sizeof(struct admin_request);

	return c->in ? span_of(c->in + before, c->in_size - before) : SPAN_NULL;
}

static int queue_reserve(struct admin_client *c, size_t more)
{
	size_t size = c->out_size > 0 ? c->out_size : QUEUE_MIN;
	uint8_t *p;

	while (size < c->out_len + more)
		size *= 2;
	if (size > ADMIN_CLIENT_QUEUED)
		return -ENOBUFS;
	if (size == c->out_size)
		return 0;
	p = realloc(c->out, size);
	if (!p)
		return -ENOMEM;
	c->out = p;
	c->out_size = size;
	return 0;
}

int admin_client_put(struct admin_client *c, enum admin_reply_type type, int word, const void *data,
		     size_t len)
{
	struct admin_head head = {
		.length = (uint32_t)len,
		.version = ADMIN_VERSION,
		.type = type,
		.word = word,
	};
	int r;

	if (len > ADMIN_BODY_MAX)
		return -ENOBUFS;
	r = queue_reserve(c, sizeof(head) + len);
	if (r < 0)
		return r;
	memcpy(c->out + c->out_len, &head, sizeof(head));
	if (len > 0)
		memcpy(c->out + c->out_len + sizeof(head), data, len);
	c->out_len += sizeof(head) + len;
	return 0;
}

int admin_client_flush(struct admin_client *c)
{
	while (has_queued(c)) {
		ssize_t n = io_retry(send(c->fd, c->out + c->out_done, c->out_len - c->out_done,
					  MSG_NOSIGNAL | MSG_DONTWAIT));

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_done += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_done = c->out_size = 0;
	return c->ending ? -ENODATA : 0;
}
