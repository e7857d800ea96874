/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is WAITING (no stream yet), OPEN (has a stream), or OVER (told, but its stream is not
 * closed yet). connect(2) on a Unix socket never waits when the socket is non-blocking: it succeeds
 * or fails at once, EAGAIN meaning a full backlog (net/unix/af_unix.c), so it needs no ring
 * operation.
 */
#include "daemon/wire/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/base/log.h"
#include "daemon/wire/conn.h"
#include "daemon/wire/h2mem.h"
#include "daemon/wire/timers.h"

#define BACKOFF_MIN_NS (50ULL * 1000 * 1000)
#define BACKOFF_MAX_NS (2000ULL * 1000 * 1000)
#define TRIES_MAX      5U

enum call_state { CALL_WAITING, CALL_OPEN, CALL_OVER };

struct grpc_client_call {
	struct h2_stream stream;
	struct list link;              /* while waiting */
	struct grpc_client_call *next; /* while idle */
	struct grpc_client *client;
	const char *method;
	struct secbuf request; /* framed; kept until the stream is closed, for another try */
	struct grpc_intake intake;
	struct timeq_node timer;
	uint64_t deadline; /* 0: none */
	enum call_state state;
	unsigned int flags, tries;
	bool content_type;
	int http, status; /* -1: not told */
	char text[GRPC_TEXT_MAX];
	grpc_client_done_fn *done;
	void *ctx;
};

struct grpc_client {
	struct grpc_client_config config;
	struct sockaddr_un addr;
	struct h2mem *mem;
	struct timers timers;
	struct conn_config conn_config;
	struct list awake, waiting;
	struct grpc_client_call *idle; /* call objects, recycled */
	uint32_t calls;
	struct conn *conn; /* NULL: not connected */
	struct h2 *h2;
	struct timeq_node retry;
	uint64_t backoff;
	bool draining; /* the server takes no new call on this connection */
	bool silent;   /* the connection that just ended brought no frame: nothing was processed */
	bool stopping;
	bool asked; /* config.connect's answer is due */
};

static struct grpc_client_call *client_call_of(struct h2_stream *st)
{
	return container_of(st, struct grpc_client_call, stream);
}

/* Call objects. */

static void client_call_fire(struct timeq_node *node);

static struct grpc_client_call *client_call_take(struct grpc_client *client)
{
	struct grpc_client_call *call = client->idle;

	if (call) {
		client->idle = call->next;
		return call;
	}
	call = malloc(sizeof(*call));
	if (call)
		timeq_node_init(&call->timer, client_call_fire);
	return call;
}

static void client_call_give(struct grpc_client_call *call)
{
	struct grpc_client *client = call->client;

	timeq_clear(&client->timers.queue, &call->timer);
	secbuf_release(&call->request);
	grpc_intake_release(&call->intake);
	list_del(&call->link);
	call->next = client->idle;
	client->idle = call;
	client->calls--;
}

/* Take the call away from whoever made it; the object goes when its stream has. */
static void call_over(struct grpc_client_call *call)
{
	bool open = call->state == CALL_OPEN;

	call->state = CALL_OVER;
	if (!open) {
		client_call_give(call);
		return;
	}
	timeq_clear(&call->client->timers.queue, &call->timer);
	grpc_intake_release(&call->intake);
	if (!call->stream.remote_end)
		h2_reset(&call->stream, H2_CANCEL);
	conn_wake(call->client->conn);
}

static void call_finish(struct grpc_client_call *call, enum grpc_status status, const char *text)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	grpc_client_done_fn *done = call->done;
	void *ctx = call->ctx;
	char copy[GRPC_TEXT_MAX];

	if (status == GRPC_OK)
		msg = secbuf_move(&call->intake.msg);
	snprintf(copy, sizeof(copy), "%s", text);
	call_over(call);
	done(ctx, status, copy, &msg);
}

static void client_call_fire(struct timeq_node *node)
{
	call_finish(container_of(node, struct grpc_client_call, timer), GRPC_DEADLINE_EXCEEDED,
		    "deadline exceeded");
}

/* Fields of an answer. */

static int client_number(struct span value)
{
	int n = 0;

	if (value.len == 0 || value.len > 3)
		return -1;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return -1;
		n = n * 10 + (value.data[i] - '0');
	}
	return n;
}

static void on_http_status(struct grpc_client_call *call, struct span value)
{
	call->http = client_number(value);
}

static void client_on_content_type(struct grpc_client_call *call, struct span value)
{
	call->content_type = grpc_content_type(value);
}

static void on_grpc_status(struct grpc_client_call *call, struct span value)
{
	call->status = client_number(value);
}

static void on_grpc_message(struct grpc_client_call *call, struct span value)
{
	grpc_percent_decode(value, call->text);
}

static const struct {
	struct span name;
	void (*take)(struct grpc_client_call *call, struct span value);
} answer_fields[] = {
	{ SPAN_LITERAL(":status"), on_http_status },
	{ SPAN_LITERAL("content-type"), client_on_content_type },
	{ SPAN_LITERAL("grpc-status"), on_grpc_status },
	{ SPAN_LITERAL("grpc-message"), on_grpc_message },
};

/* Events of a stream. */

static void client_ev_field(struct h2_stream *st, struct span name, struct span value)
{
	struct grpc_client_call *call = client_call_of(st);

	for (size_t i = 0; i < ARRAY_SIZE(answer_fields); i++)
		if (span_equal(name, answer_fields[i].name))
			answer_fields[i].take(call, value);
}

static void client_ev_headers(struct h2_stream *st, bool trailer _unused_)
{
	struct grpc_client_call *call = client_call_of(st);

	call->client->backoff = 0;
}

static void client_ev_data(struct h2_stream *st, struct span chunk)
{
	struct grpc_client_call *call = client_call_of(st);
	struct grpc_client *client = call->client;
	int r;

	if (call->state != CALL_OPEN)
		return;
	r = grpc_intake_feed(&call->intake, client->config.pool, client->config.message_bytes,
			     chunk);
	if (r == -EMSGSIZE || r == -ENOBUFS)
		call_finish(call, GRPC_RESOURCE_EXHAUSTED, "answer larger than the limit");
	else if (r == -EEXIST)
		call_finish(call, GRPC_UNIMPLEMENTED, "more than one message in the answer");
	else if (r < 0)
		call_finish(call, GRPC_INTERNAL, "malformed answer");
}

static void client_ev_end(struct h2_stream *st)
{
	struct grpc_client_call *call = client_call_of(st);

	if (call->state != CALL_OPEN)
		return;
	if (call->status > 0)
		call_finish(call, (enum grpc_status)call->status, call->text);
	else if (call->http != 200)
		call_finish(call, grpc_status_of_http(call->http), "the answer is not gRPC");
	else if (call->status < 0 || !call->content_type)
		call_finish(call, GRPC_UNKNOWN, "the answer is not gRPC");
	else if (grpc_intake_end(&call->intake) == -ENOMSG)
		call_finish(call, GRPC_UNIMPLEMENTED, "no message in the answer");
	else if (grpc_intake_end(&call->intake) < 0)
		call_finish(call, GRPC_INTERNAL, "answer cut short");
	else
		call_finish(call, GRPC_OK, "");
}

static bool try_again(const struct grpc_client_call *call, uint32_t error)
{
	const struct grpc_client *client = call->client;

	if (client->stopping || call->tries >= TRIES_MAX)
		return false;
	if (error == H2_REFUSED_STREAM)
		return true;
	return !client->h2 && client->silent && (call->flags & GRPC_WAIT_FOR_READY);
}

static void client_ev_closed(struct h2_stream *st, uint32_t error)
{
	struct grpc_client_call *call = client_call_of(st);
	bool lost = !call->client->h2;

	if (call->state == CALL_OVER) {
		client_call_give(call);
	} else if (try_again(call, error)) {
		call->state = CALL_WAITING;
		call->stream = (struct h2_stream){ 0 };
		call->http = call->status = -1;
		grpc_intake_release(&call->intake);
		list_add_tail(&call->client->waiting, &call->link);
	} else {
		call->state = CALL_WAITING; /* it has no stream to reset any more */
		if (call->client->stopping)
			call_finish(call, GRPC_CANCELLED, "the client was stopped");
		else if (lost)
			call_finish(call, GRPC_UNAVAILABLE, "connection lost");
		else
			call_finish(call, grpc_status_of_reset(error), "the server reset the call");
	}
}

static void ev_goaway(void *ctx)
{
	struct grpc_client *client = ctx;

	client->draining = true;
}

static const struct h2_ops client_ops = {
	.field = client_ev_field,
	.headers = client_ev_headers,
	.data = client_ev_data,
	.end = client_ev_end,
	.closed = client_ev_closed,
	.goaway = ev_goaway,
};

/* The connection. */

static void backoff_next(struct grpc_client *client)
{
	client->backoff = client->backoff == 0 ? BACKOFF_MIN_NS : client->backoff * 2;
	if (client->backoff > BACKOFF_MAX_NS)
		client->backoff = BACKOFF_MAX_NS;
	timeq_set(&client->timers.queue, &client->retry, now_ns() + client->backoff);
}

static void client_conn_closed(void *ctx)
{
	struct grpc_client *client = ctx;
	struct h2 *h2 = move_ptr(client->h2);

	if (!client->draining && !client->stopping)
		backoff_next(client);
	client->draining = false;
	client->silent = h2_frames(h2) == 0;
	h2_free(h2);
	conn_free(move_ptr(client->conn));
}

static void retry_fire(struct timeq_node *node _unused_)
{
	/* The flush at the end of the turn finds the pause over and connects. */
}

/* @fd consumed. */
static int client_adopt(struct grpc_client *client, int socket_fd)
{
	_cleanup_(h2_freep) struct h2 *h2 = NULL;
	_cleanup_close_ int fd = socket_fd;
	int r;

	r = h2_new_client(client->mem, &h2_config_default, &client_ops, client, now_ns(), &h2);
	if (r == 0)
		r = conn_new(&client->conn_config, fd, h2, client, &client->conn);
	if (r < 0)
		return r;
	(void)move_fd(fd);
	client->h2 = move_ptr(h2);
	return 0;
}

/* 0 also when the connection is only asked for: then there is no client->conn yet. */
static int client_connect(struct grpc_client *client)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (client->asked)
		return 0;
	if (client->config.connect) {
		r = client->config.connect(client->config.connect_ctx);
		client->asked = r == 0;
		return r;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&client->addr, sizeof(client->addr)) < 0)
		return -errno;
	return client_adopt(client, move_fd(fd));
}

static void connect_failed(struct grpc_client *client, int r)
{
	char text[GRPC_TEXT_MAX];
	struct list batch;

	snprintf(text, sizeof(text), "cannot connect: %s", errno_text(r));
	backoff_next(client);
	list_init(&batch);
	list_splice_tail(&batch, &client->waiting);
	while (!list_empty(&batch)) {
		struct grpc_client_call *call = list_first(&batch, struct grpc_client_call, link);

		list_del(&call->link);
		if (call->flags & GRPC_WAIT_FOR_READY)
			list_add_tail(&client->waiting, &call->link);
		else
			call_finish(call, GRPC_UNAVAILABLE, text);
	}
}

static void call_send(struct grpc_client_call *call)
{
	struct grpc_client *client = call->client;
	char timeout[16];
	struct h2_field fields[] = {
		H2_FIELD(":method", "POST"),
		H2_FIELD(":scheme", "http"),
		{ SPAN_LITERAL(":path"), span_str(call->method), false },
		H2_FIELD(":authority", "localhost"),
		H2_FIELD("content-type", "application/grpc"),
		H2_FIELD("te", "trailers"),
		{ SPAN_LITERAL("grpc-timeout"), SPAN_NULL, false },
	};
	size_t n = call->deadline ? ARRAY_SIZE(fields) : ARRAY_SIZE(fields) - 1;
	uint64_t now = now_ns();
	int r;

	if (call->deadline) {
		grpc_timeout_format(call->deadline > now ? call->deadline - now : 1, timeout);
		fields[n - 1].value = span_str(timeout);
	}
	list_del(&call->link);
	call->tries++;
	r = h2_request(client->h2, &call->stream, fields, n,
		       span_of(call->request.data, call->request.len));
	if (r == -ECONNRESET && call->tries < TRIES_MAX) {
		/*
		 * After 2^30 calls the connection has no stream ids left, and takes no call any more. Another takes
		 * its place, for this call and all that follow.
		 */
		list_add_tail(&client->waiting, &call->link);
		client->draining = true;
		conn_close(client->conn, "it has no stream left");
		return;
	}
	if (r < 0) {
		call_finish(call, GRPC_UNAVAILABLE, "the connection takes no more calls");
		return;
	}
	call->state = CALL_OPEN;
	conn_wake(client->conn);
}

void grpc_client_connected(struct grpc_client *client, int fd, int r)
{
	client->asked = false;
	if (r == 0 && client->stopping)
		close(fd);
	else if (r == 0)
		r = client_adopt(client, fd);
	if (r < 0 && !client->stopping)
		connect_failed(client, r);
}

static bool may_send(const struct grpc_client *client)
{
	return !list_empty(&client->waiting) && !client->draining && !client->stopping &&
	       !client->asked && !timeq_queued(&client->retry);
}

static void calls_send(struct grpc_client *client)
{
	struct list batch;
	int r;

	if (!may_send(client))
		return;
	r = client->conn ? 0 : client_connect(client);
	if (r < 0) {
		connect_failed(client, r);
		return;
	}
	if (!client->conn)
		return;
	list_init(&batch);
	list_splice_tail(&batch, &client->waiting);
	while (!list_empty(&batch))
		call_send(list_first(&batch, struct grpc_client_call, link));
}

void grpc_client_flush(struct grpc_client *client)
{
	do {
		calls_send(client);
		conn_flush_all(&client->awake);
	} while (may_send(client));
	timers_arm(&client->timers);
	if (client->stopping && !client->conn)
		timers_stop(&client->timers);
}

/* Life. */

int grpc_client_new(const struct grpc_client_config *config, struct grpc_client **ret)
{
	_cleanup_free_ struct grpc_client *client = calloc(1, sizeof(*client));
	const char *path = config->path;
	int r;

	if (!client)
		return -ENOMEM;
	client->config = *config;
	client->config.path = NULL;
	if (!config->connect) {
		if (path[0] == '\0' || path[0] == '@')
			return -EINVAL;
		if (strlen(path) >= sizeof(client->addr.sun_path))
			return -ENAMETOOLONG;
		client->addr.sun_family = AF_UNIX;
		memcpy(client->addr.sun_path, path, strlen(path));
	}
	r = h2mem_new(&client->mem);
	if (r < 0)
		return r;
	timers_init(&client->timers, config->ring);
	client->retry.fire = retry_fire;
	list_init(&client->awake);
	list_init(&client->waiting);
	client->conn_config = (struct conn_config){
		.ring = config->ring,
		.pool = config->pool,
		.timers = &client->timers.queue,
		.awake = &client->awake,
		.out_bytes = config->out_bytes ?: H2_DRAIN_MIN,
		.send_queue = SIZE_MAX,
		.idle_ns = config->idle_ns,
		.closed = client_conn_closed,
	};
	*ret = move_ptr(client);
	return 0;
}

void grpc_client_free(struct grpc_client *client)
{
	if (!client)
		return;
	while (client->idle) {
		struct grpc_client_call *call = client->idle;

		client->idle = call->next;
		free(call);
	}
	h2mem_free(client->mem);
	free(client);
}

void grpc_client_stop(struct grpc_client *client)
{
	client->stopping = true;
	timeq_clear(&client->timers.queue, &client->retry);
	while (!list_empty(&client->waiting))
		call_finish(list_first(&client->waiting, struct grpc_client_call, link),
			    GRPC_CANCELLED, "the client was stopped");
	if (client->conn)
		conn_close(client->conn, "this end needs it no more");
	grpc_client_flush(client);
}

bool grpc_client_idle(const struct grpc_client *client)
{
	return client->stopping && !client->conn && timers_idle(&client->timers);
}

int grpc_client_call_with(struct grpc_client *client, const char *method, struct secbuf *msg,
			  uint64_t timeout_ns, unsigned int flags, grpc_client_done_fn *done,
			  void *ctx, struct grpc_client_call **ret)
{
	struct grpc_client_call *call;

	if (client->calls >= client->config.calls || client->stopping)
		return -ENOBUFS;
	call = client_call_take(client);
	if (!call)
		return -ENOMEM;
	*call = (struct grpc_client_call){
		.client = client,
		.method = method,
		.timer = call->timer,
		.flags = flags,
		.http = -1,
		.status = -1,
		.done = done,
		.ctx = ctx,
		.request = secbuf_move(msg),
	};
	grpc_prefix(call->request.len - GRPC_PREFIX, call->request.data);
	list_init(&call->link);
	client->calls++;
	if (timeout_ns > 0) {
		call->deadline = grpc_deadline(now_ns(), timeout_ns);
		timeq_set(&client->timers.queue, &call->timer, call->deadline);
	}
	list_add_tail(&client->waiting, &call->link);
	if (ret)
		*ret = call;
	return 0;
}

int grpc_client_call(struct grpc_client *client, const char *method, struct span msg,
		     uint64_t timeout_ns, unsigned int flags, grpc_client_done_fn *done, void *ctx,
		     struct grpc_client_call **ret)
{
	_cleanup_secbuf_ struct secbuf request = { 0 };
	int r;

	r = grpc_frame(client->config.pool, msg, &request);
	return r < 0 ? r
		     : grpc_client_call_with(client, method, &request, timeout_ns, flags, done, ctx,
					     ret);
}

void grpc_client_cancel(struct grpc_client_call *call)
{
	call_over(call);
}
