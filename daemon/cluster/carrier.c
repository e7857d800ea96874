/* SPDX-License-Identifier: Apache-2.0 */
/* See carrier.h. One table says who may be sent what, and how much of it. */
#include "daemon/cluster/carrier.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/io.h"
#include "daemon/sys/fdpass.h"

static const struct {
	unsigned int to; /* of enum carrier_side */
	uint32_t max;
	bool has_kind;
} types[CARRIER_TYPES] = {
	[CARRIER_SETUP] = { CARRIER_CLUSTER, CARRIER_SETUP_MAX, false },
	[CARRIER_READ] = { CARRIER_CLUSTER, 0, false },
	[CARRIER_PUT] = { CARRIER_CLUSTER, CARRIER_TEXT_MAX, true },
	[CARRIER_ITEM] = { CARRIER_KEEPER, CARRIER_TEXT_MAX, true },
	[CARRIER_DONE] = { CARRIER_KEEPER | CARRIER_READER, CARRIER_WORDS_MAX, false },
	[CARRIER_RANGE] = { CARRIER_CLUSTER, CARRIER_RANGE_MAX, false },
	[CARRIER_ANSWER] = { CARRIER_READER, CARRIER_ANSWER_MAX, false },
};

struct carrier {
	int fd;
	enum carrier_side side;
	struct carrier_head head; /* of the message that comes */
	size_t in_len;            /* of that, head included */
	char *in;                 /* what is behind the head, and a NUL */
	uint8_t *out;
	size_t out_len, out_done;
};

int carrier_new(int fd, enum carrier_side side, struct carrier **ret)
{
	struct carrier *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fd = fd;
	c->side = side;
	*ret = c;
	return 0;
}

void carrier_free(struct carrier *c)
{
	if (!c)
		return;
	free(c->in);
	free(c->out);
	close(c->fd);
	free(c);
}

int carrier_fd(const struct carrier *c)
{
	return c->fd;
}

short carrier_events(const struct carrier *c)
{
	return c->out_done < c->out_len ? POLLIN | POLLOUT : POLLIN;
}

int carrier_put(struct carrier *c, const struct carrier_head *head, struct span body)
{
	struct carrier_head h = *head;
	uint8_t *p = realloc(c->out, c->out_len + sizeof(h) + body.len);

	if (!p)
		return -ENOMEM;
	c->out = p;
	h.length = (uint32_t)body.len;
	memcpy(p + c->out_len, &h, sizeof(h));
	if (body.len > 0)
		memcpy(p + c->out_len + sizeof(h), body.data, body.len);
	c->out_len += sizeof(h) + body.len;
	return 0;
}

int carrier_flush(struct carrier *c)
{
	while (c->out_done < c->out_len) {
		ssize_t n = io_retry(send(c->fd, c->out + c->out_done, c->out_len - c->out_done,
					  MSG_NOSIGNAL | MSG_DONTWAIT));

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_done += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_done = 0;
	return 0;
}

/* May it come here, and be as long? */
static bool is_message(const struct carrier *c)
{
	const struct carrier_head *h = &c->head;

	return h->type > 0 && h->type < CARRIER_TYPES && (types[h->type].to & c->side) &&
	       h->length <= types[h->type].max &&
	       (types[h->type].has_kind ? h->kind == CARRIER_KEYSET || h->kind == CARRIER_ACK
					: h->kind == 0);
}

/* Up to @size bytes of @to in all, of which @done are there. > 0: there they are. */
static int take(struct carrier *c, void *to, size_t done, size_t size)
{
	while (done < size) {
		ssize_t n = io_retry(recv(c->fd, (uint8_t *)to + done, size - done, MSG_DONTWAIT));

		if (n == 0)
			return -ENODATA;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		done += (size_t)n;
		c->in_len += (size_t)n;
	}
	return 1;
}

int carrier_read(struct carrier *c, struct carrier_head *ret, struct span *ret_body)
{
	size_t head = sizeof(c->head);
	int r = 1;

	if (c->in && c->in_len == head + c->head.length) { /* that was given out */
		free(move_ptr(c->in));
		c->in_len = 0;
	}
	if (c->in_len < head)
		r = take(c, &c->head, c->in_len, head);
	if (r <= 0)
		return r;
	if (!c->in) {
		if (!is_message(c))
			return -EPROTO;
		c->in = malloc((size_t)c->head.length + 1);
		if (!c->in)
			return -ENOMEM;
	}
	r = take(c, c->in, c->in_len - head, c->head.length);
	if (r <= 0)
		return r;
	c->in[c->head.length] = '\0';
	*ret = c->head;
	*ret_body = span_of(c->in, c->head.length);
	return 1;
}

int carrier_setup_format(const struct carrier_setup *s, char **ret, size_t *ret_len)
{
	const char *fixed[] = { s->prefix, s->ca ?: "", s->cert ?: "", s->key ?: "" };
	size_t len = 0, done = 0;
	char *text;

	if (s->n_endpoints == 0 || s->n_endpoints > CARRIER_ENDPOINTS_MAX)
		return -ENOBUFS;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		len += strlen(fixed[i]) + 1;
	for (size_t i = 0; i < s->n_endpoints; i++)
		len += strlen(s->endpoints[i]) + 1;
	if (len > CARRIER_SETUP_MAX)
		return -ENOBUFS;
	text = malloc(len);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(fixed) + s->n_endpoints; i++) {
		const char *one =
			i < ARRAY_SIZE(fixed) ? fixed[i] : s->endpoints[i - ARRAY_SIZE(fixed)];

		memcpy(text + done, one, strlen(one) + 1);
		done += strlen(one) + 1;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

/* The next string of *body, which moves behind it; NULL: there is none. */
static const char *take_string(struct span *body)
{
	const char *s = (const char *)body->data;
	const void *end = body->len > 0 ? memchr(s, '\0', body->len) : NULL;

	if (!end)
		return NULL;
	*body = span_skip(*body, (size_t)((const char *)end - s) + 1);
	return s;
}

int carrier_setup_parse(struct span body, struct carrier_setup *ret)
{
	struct carrier_setup s = { 0 };

	s.prefix = take_string(&body);
	s.ca = take_string(&body);
	s.cert = take_string(&body);
	s.key = take_string(&body);
	while (body.len > 0) {
		const char *endpoint = take_string(&body);

		if (!endpoint || s.n_endpoints == CARRIER_ENDPOINTS_MAX)
			return -EPROTO;
		s.endpoints[s.n_endpoints++] = endpoint;
	}
	if (!s.key || s.n_endpoints == 0)
		return -EPROTO;
	*ret = s;
	return 0;
}

int carrier_start(int control, enum carrier_side side, const struct carrier_setup *s,
		  struct carrier **ret)
{
	static const uint8_t byte = 1;
	_cleanup_(carrier_freep) struct carrier *c = NULL;
	_cleanup_close_ int theirs = -1;
	char *text = NULL;
	size_t len = 0;
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	theirs = fds[1];
	r = carrier_new(fds[0], side, &c);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	r = carrier_setup_format(s, &text, &len);
	if (r == 0)
		r = carrier_put(c, &(struct carrier_head){ .type = CARRIER_SETUP },
				span_of(text, len));
	free(text);
	if (r == 0)
		r = fdpass_send(control, &byte, sizeof(byte), &theirs, 1);
	if (r < 0)
		return r;
	*ret = move_ptr(c);
	return 0;
}
