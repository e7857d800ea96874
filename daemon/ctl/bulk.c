/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch is a request being gathered (OPEN), sent (FLYING) or answered (READY). Those that were sent
 * stand in one queue and are delivered from its head, so the order holds whatever the server does.
 *
 * Opening a value a second time does no harm, so a request that was lost on the way is sent again, a few
 * times. A request that the server has no room for is sent again, when an answer to another has made room; so
 * is one with such a value in it: "try again" says nothing about a value. A value that is alone and still
 * refused is too large.
 */
#include "daemon/ctl/bulk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/wire/client.h"

#define BATCH_VALUES 128
#define BATCH_BYTES  (256 * 1024)
#define FLIGHTS      6 /* in 32 MiB of the server: request, values, answer and frame of each */
#define FLIGHT_BYTES (6 * 1024 * 1024) /* of values: of those that fill a request fewer are sent */
#define GATHERING    8                 /* resources at a time */
#define SLOTS        (FLIGHTS + GATHERING)
#define TRIES_MAX    20U
#define TRIES_LOST   3U
#define CALL_NS      (UINT64_C(120) * 1000 * 1000 * 1000)
#define POOL_BYTES   (64 * 1024 * 1024)
#define RESOURCE_MAX 320
/* Of a send: a quarter of the wake-ups of 16 KiB, and the socket has room for more than one (net.core.wmem_default). */
#define OUT_BYTES (64 * 1024)

enum batch_state { BATCH_FREE, BATCH_OPEN, BATCH_FLYING, BATCH_READY };

struct bulk_conn {
	struct grpc_client *client;
	unsigned int flying;
};

struct batch {
	struct bulk *bulk;
	struct bulk_conn *conn; /* that it flies on, or flew last */
	struct list link;       /* of the queue */
	enum batch_state state;
	unsigned int tries;
	char resource[RESOURCE_MAX];
	uint8_t *data; /* paths and values */
	size_t len, room, n;
	size_t at, part; /* of them: done, and in the request that is under way */
	struct transform_value v[BATCH_VALUES];
	void *tag[BATCH_VALUES];
	enum grpc_status status;
	char text[GRPC_TEXT_MAX];
	struct secbuf answer;
};

struct bulk {
	struct secpool *pool;
	struct ring *ring;
	struct bulk_conn conns[FLIGHTS];
	unsigned int n_conns, turn;
	const char *method;
	bulk_done_fn *done;
	void *ctx;
	struct list queue;            /* sent, oldest first */
	unsigned int flying, flights; /* under way, and how many may be */
	size_t flying_bytes;
	struct batch batches[SLOTS];
	struct transform_result results[BATCH_VALUES];
	char why[GRPC_TEXT_MAX + 64];
};

static int fail(struct bulk *b, int r, const char *text)
{
	snprintf(b->why, sizeof(b->why), "%s", text);
	return r;
}

const char *bulk_why(const struct bulk *b)
{
	return b->why;
}

static int conns_new(struct bulk *b, const char *socket, unsigned int n)
{
	const struct grpc_client_config config = {
		.ring = b->ring,
		.pool = b->pool,
		.path = socket,
		.message_bytes = TRANSFORM_MESSAGE_BYTES,
		.calls = 4 * FLIGHTS, /* one that is over may still wait for its stream's end */
		.out_bytes = OUT_BYTES,
		.idle_ns = grpc_limits_default.idle_ns,
	};
	int r = 0;

	while (r == 0 && b->n_conns < n && b->n_conns < FLIGHTS) {
		r = grpc_client_new(&config, &b->conns[b->n_conns].client);
		b->n_conns += r == 0;
	}
	return r;
}

int bulk_new(const char *socket, const char *method, unsigned int connections, bulk_done_fn *done,
	     void *ctx, struct bulk **ret)
{
	_cleanup_(bulk_freep) struct bulk *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->method = method;
	b->done = done;
	b->ctx = ctx;
	b->flights = FLIGHTS;
	list_init(&b->queue);
	for (size_t i = 0; i < SLOTS; i++)
		b->batches[i].bulk = b;
	r = secpool_new(POOL_BYTES, &b->pool);
	if (r == 0)
		r = ring_new(RING_EPOLL, 64, &b->ring);
	if (r == 0)
		r = conns_new(b, socket, connections);
	if (r == 0)
		*ret = move_ptr(b);
	return r;
}

/* Calls that are under way end with CANCELLED, so nothing refers to a batch afterwards. */
static void conn_end(struct bulk *b, struct bulk_conn *conn)
{
	grpc_client_stop(conn->client);
	while (!grpc_client_idle(conn->client)) {
		if (ring_turn(b->ring, false) < 0)
			break;
		grpc_client_flush(conn->client);
	}
	grpc_client_free(conn->client);
}

void bulk_free(struct bulk *b)
{
	if (!b)
		return;
	for (unsigned int i = 0; i < b->n_conns; i++)
		conn_end(b, &b->conns[i]);
	for (size_t i = 0; i < SLOTS; i++) {
		secbuf_release(&b->batches[i].answer);
		free(b->batches[i].data);
	}
	ring_free(b->ring);
	secpool_free(b->pool);
	free(b);
}

static void batch_done(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct batch *batch = ctx;

	batch->state = BATCH_READY;
	batch->bulk->flying--;
	batch->conn->flying--;
	batch->bulk->flying_bytes -= batch->len;
	batch->status = status;
	snprintf(batch->text, sizeof(batch->text), "%s", text);
	batch->answer = secbuf_move(msg);
}

/* The connection with the fewest calls under way; among equals the next in turn. */
static struct bulk_conn *idlest(struct bulk *b)
{
	unsigned int best = ++b->turn % b->n_conns;

	for (unsigned int i = 0; i < b->n_conns; i++)
		if (b->conns[i].flying < b->conns[best].flying)
			best = i;
	return &b->conns[best];
}

static int batch_call(struct batch *batch)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	struct bulk *b = batch->bulk;
	struct bulk_conn *conn = idlest(b);
	int r;

	r = secpool_get(b->pool, GRPC_PREFIX + batch->len + batch->part * 32 + RESOURCE_MAX, &msg);
	if (r == 0) {
		msg.len = GRPC_PREFIX;
		r = pb_transform_request_encode(span_str(batch->resource), batch->v + batch->at,
						batch->part, &msg);
	}
	if (r == 0)
		r = grpc_client_call_with(conn->client, b->method, &msg, CALL_NS, 0, batch_done,
					  batch, NULL);
	if (r < 0)
		return fail(b, r,
			    r == -ENOBUFS ? "no locked memory; raise RLIMIT_MEMLOCK (ulimit -l)"
					  : errno_text(r));
	batch->state = BATCH_FLYING;
	batch->conn = conn;
	conn->flying++;
	b->flying++;
	b->flying_bytes += batch->len;
	return 0;
}

static int batch_again(struct batch *batch)
{
	batch->tries++;
	secbuf_release(&batch->answer);
	return batch_call(batch);
}

static bool is_overload(const struct bulk *b, const struct batch *batch, size_t n)
{
	if (batch->status != GRPC_OK)
		return batch->status == GRPC_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < n; i++)
		if (b->results[i].code == GRPC_RESOURCE_EXHAUSTED)
			return true;
	return false;
}

static int answer_read(struct bulk *b, const struct batch *batch)
{
	size_t n = 0;

	/* All values of a request that was refused as a whole fail with its words. */
	if (batch->status != GRPC_OK) {
		for (size_t i = 0; i < batch->part; i++)
			b->results[i] = (struct transform_result){
				.code = (int32_t)batch->status,
				.message = span_str(batch->text),
			};
		return 0;
	}
	if (pb_transform_response_decode(span_of(batch->answer.data, batch->answer.len), b->results,
					 BATCH_VALUES, &n) < 0 ||
	    n != batch->part)
		return fail(b, -EPROTO, "the answer is not a kekd.v1.TransformResponse");
	return 0;
}

/*
 * The daemon has no room, perhaps because of this program's other requests. So fewer fly at a time from now on, and this
 * one waits until no other is under way; if it is refused even then, half of it is sent. 1: not yet.
 */
static int overloaded(struct bulk *b, struct batch *batch)
{
	if (b->flying > 0)
		return 1;
	b->flights = b->flights > 1 ? b->flights / 2 : 1;
	if (batch->tries > 0)
		batch->part = (batch->part + 1) / 2;
	return batch_again(batch);
}

/* Send the rest of a batch that was too much at once; without a rest the batch is free. */
static int batch_next(struct batch *batch)
{
	batch->at += batch->part;
	if (batch->at == batch->n) {
		secbuf_release(&batch->answer);
		list_del(&batch->link);
		batch->state = BATCH_FREE;
		batch->n = batch->len = batch->at = batch->part = 0;
		batch->tries = 0;
		return 0;
	}
	if (batch->part > batch->n - batch->at)
		batch->part = batch->n - batch->at;
	batch->tries = 0;
	secbuf_release(&batch->answer);
	return batch_call(batch);
}

/* Deliver the head of the queue, which has its answer. 1: it stays the head for now. */
static int batch_deliver(struct bulk *b, struct batch *batch)
{
	int r;

	/* The service itself is out of reach, whatever the values. */
	if (batch->status != GRPC_OK && batch->status != GRPC_INVALID_ARGUMENT &&
	    batch->status != GRPC_RESOURCE_EXHAUSTED)
		return batch->tries < TRIES_LOST ? batch_again(batch) : fail(b, -EIO, batch->text);
	r = answer_read(b, batch);
	if (r < 0)
		return r;
	if (is_overload(b, batch, batch->part) && batch->tries < TRIES_MAX)
		return overloaded(b, batch);
	if (is_overload(b, batch, batch->part) && batch->part > 1)
		return fail(b, -EBUSY, "the daemon is overloaded; try again");
	for (size_t i = 0; r == 0 && i < batch->part; i++)
		r = b->done(b->ctx, batch->tag[batch->at + i], batch->v[batch->at + i].path,
			    &b->results[i]);
	return r == 0 ? batch_next(batch) : r;
}

static void conns_flush(struct bulk *b)
{
	for (unsigned int i = 0; i < b->n_conns; i++)
		grpc_client_flush(b->conns[i].client);
}

static int bulk_turn(struct bulk *b, bool nowait)
{
	int r;

	conns_flush(b);
	r = ring_turn(b->ring, nowait);
	if (r < 0)
		return fail(b, r, errno_text(r));
	conns_flush(b);
	r = 0;
	while (r == 0 && !list_empty(&b->queue)) {
		struct batch *head = list_first(&b->queue, struct batch, link);

		if (head->state != BATCH_READY)
			break;
		r = batch_deliver(b, head);
	}
	return r < 0 ? r : 0;
}

/* Turn until it may fly, and send it, behind all that were sent before. */
static int batch_close(struct batch *batch)
{
	struct bulk *b = batch->bulk;
	int r = bulk_turn(b, true);

	while (r == 0 && (b->flying >= b->flights ||
			  (b->flying > 0 && b->flying_bytes + batch->len > FLIGHT_BYTES)))
		r = bulk_turn(b, false);
	if (r < 0)
		return r;
	list_add_tail(&b->queue, &batch->link);
	batch->part = batch->n;
	r = batch_call(batch);
	return r == 0 ? bulk_turn(b, true) : r;
}

static struct batch *bulk_find(struct bulk *b, enum batch_state state, const char *resource)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (b->batches[i].state == state &&
		    (!resource || strcmp(b->batches[i].resource, resource) == 0))
			return &b->batches[i];
	return NULL;
}

/* Find an empty batch. While there is none, an open one is sent, or an answer is waited for. */
static int batch_get(struct bulk *b, const char *resource, struct batch **ret)
{
	struct batch *batch;
	int r = 0;

	while (r == 0 && !(batch = bulk_find(b, BATCH_FREE, NULL))) {
		struct batch *open = bulk_find(b, BATCH_OPEN, NULL);

		r = open ? batch_close(open) : bulk_turn(b, false);
	}
	if (r != 0)
		return r;
	if (!batch->data) {
		batch->data = malloc(BATCH_BYTES);
		if (!batch->data)
			return fail(b, -ENOMEM, "out of memory");
		batch->room = BATCH_BYTES;
	}
	snprintf(batch->resource, sizeof(batch->resource), "%s", resource);
	batch->state = BATCH_OPEN;
	*ret = batch;
	return 0;
}

/* Copy; the first value of a batch may be larger than batches are. */
static int batch_put(struct batch *batch, struct span path, struct span value, void *tag)
{
	size_t need = path.len + value.len;
	uint8_t *p;

	if (batch->n == 0 && need > batch->room) {
		p = realloc(batch->data, need);
		if (!p)
			return fail(batch->bulk, -ENOMEM, "out of memory");
		batch->data = p;
		batch->room = need;
	}
	p = batch->data + batch->len;
	memcpy(p, path.data, path.len);
	if (value.len > 0)
		memcpy(p + path.len, value.data, value.len);
	batch->v[batch->n] =
		(struct transform_value){ span_of(p, path.len), span_of(p + path.len, value.len) };
	batch->tag[batch->n++] = tag;
	batch->len += need;
	return 0;
}

int bulk_add(struct bulk *b, const char *resource, struct span path, struct span value, void *tag)
{
	struct batch *batch = bulk_find(b, BATCH_OPEN, resource);
	const struct transform_result too_large = {
		.code = GRPC_RESOURCE_EXHAUSTED,
		.message = span_str("larger than kekd takes"),
	};
	size_t need = path.len + value.len;
	int r = 0;

	if (value.len > BULK_VALUE_MAX)
		return b->done(b->ctx, tag, path, &too_large);
	if (batch &&
	    (batch->len > BATCH_BYTES ||
	     (batch->n > 0 && (batch->n >= BATCH_VALUES || need > BATCH_BYTES - batch->len)))) {
		r = batch_close(batch);
		batch = NULL;
	}
	if (r == 0 && !batch)
		r = batch_get(b, resource, &batch);
	return r == 0 ? batch_put(batch, path, value, tag) : r;
}

int bulk_finish(struct bulk *b)
{
	struct batch *batch;
	int r = 0;

	while (r == 0 && (batch = bulk_find(b, BATCH_OPEN, NULL)))
		r = batch_close(batch);
	while (r == 0 && !list_empty(&b->queue))
		r = bulk_turn(b, false);
	return r;
}
