/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection is OPEN, then possibly ENDING (the session has ended; what it still says is sent,
 * nothing is read), then CLOSING (both operations are being cancelled), then gone.
 *
 * A read takes READ_FEW, though more may be there: the answers to what it brought then go out while the
 * client has still to be read, and both sides work at once. One read for everything makes them take turns
 * instead: a client with 64 calls open, and so 8 KiB to say, got half as many through. Larger reads
 * would make larger runs of the cipher: with 16 KiB, 64 Decrypts at a time take 2.4 % fewer
 * instructions with the backend `kernel` and 0.7 % with `openssl` (tests/bench/serve in a guest, 6.12).
 * And what is read of one connection in a turn is what the others wait for (tests/unit/fair.c). Only when
 * the rest of one frame is longer than that, the read is too: no answer can be made of less.
 *
 * close(2) on a Unix socket does not take back what was sent: the peer reads it to the end
 * (net/unix/af_unix.c), so no lingering is needed after the last send.
 */
#include "daemon/wire/conn.h"

#include <errno.h>

#include <kekd/limits.h>

#define IN_BYTES (16U * 1024)
#define READ_FEW (4U * 1024)
_Static_assert(IN_BYTES + H2_DRAIN_MIN <= KEKD_CONNECTION_LOCKED, "both buffers of a server's");

enum conn_state { CONN_OPEN, CONN_ENDING, CONN_CLOSING };

struct conn {
	const struct conn_config *config;
	struct list link; /* on config->awake */
	struct h2 *h2;
	void *ctx;
	int fd;
	enum conn_state state;
	const char *why; /* it ends; static, the first of several reasons */
	int why_r;
	struct ring_op rx, tx;
	struct secbuf in, out;
	size_t heard;               /* of in: handed over */
	size_t sent;                /* of out */
	struct timeq_node rx_stall; /* half a frame is there */
	struct timeq_node tx_stall; /* a send is in flight */
	uint64_t frames;            /* complete when rx_stall was set */
};

void conn_wake(struct conn *c)
{
	if (!list_linked(&c->link))
		list_add_tail(c->config->awake, &c->link);
}

bool conn_sending(const struct conn *c)
{
	return ring_op_busy(&c->tx);
}

static void ends(struct conn *c, const char *why, int r)
{
	if (c->why)
		return;
	c->why = why;
	c->why_r = r < 0 ? r : 0;
}

const char *conn_why(const struct conn *c, int *ret_r)
{
	*ret_r = c->why_r;
	return c->why;
}

void conn_close(struct conn *c, const char *why)
{
	ends(c, why, 0);
	if (c->state == CONN_CLOSING)
		return;
	c->state = CONN_CLOSING;
	timeq_clear(c->config->timers, &c->rx_stall);
	timeq_clear(c->config->timers, &c->tx_stall);
	ring_cancel(c->config->ring, &c->rx);
	ring_cancel(c->config->ring, &c->tx);
	conn_wake(c);
}

/* Reading. */

static void rx_watch(struct conn *c)
{
	struct timeq *timers = c->config->timers;

	if (!h2_midway(c->h2)) {
		timeq_clear(timers, &c->rx_stall);
		return;
	}
	if (timeq_queued(&c->rx_stall) && c->frames == h2_frames(c->h2))
		return;
	c->frames = h2_frames(c->h2);
	timeq_set(timers, &c->rx_stall, ring_now(c->config->ring) + c->config->idle_ns);
}

static bool conn_waits_for_room(const struct conn *c)
{
	return c->state == CONN_OPEN && c->in.len > 0;
}

/* Hand over what was read, as far as there is room. True if that was something. */
static bool conn_hear(struct conn *c)
{
	size_t before = c->heard;
	int r = 0;

	if (!conn_waits_for_room(c))
		return false;
	while (r == 0 && c->state == CONN_OPEN && c->heard < c->in.len) {
		struct span next = span_of(c->in.data + c->heard, c->in.len - c->heard);

		if (c->config->room)
			next.len = c->config->room(c->ctx, next, ring_op_busy(&c->tx));
		if (next.len == 0)
			return c->heard != before;
		r = h2_feed(c->h2, next, ring_now(c->config->ring));
		c->heard += next.len;
	}
	if (r < 0) {
		ends(c, "its HTTP/2 cannot go on", r);
		c->state = CONN_ENDING;
		timeq_clear(c->config->timers, &c->rx_stall);
	}
	secmem_wipe(c->in.data, c->in.len);
	c->in.len = c->heard = 0;
	return true;
}

static void rx_start(struct conn *c)
{
	h2_hold(c->h2, conn_waits_for_room(c), ring_now(c->config->ring));
	if (c->state != CONN_OPEN || ring_op_busy(&c->rx))
		return;
	/*
	 * A long backlog stops reading only while a send is in flight: bytes that wait for the peer's flow-control
	 * window instead can only be freed by reading.
	 */
	if ((ring_op_busy(&c->tx) &&
	     h2_backlog(c->h2) + (c->out.len - c->sent) > c->config->send_queue) ||
	    conn_waits_for_room(c)) {
		timeq_clear(c->config->timers, &c->rx_stall); /* this side does not read */
		return;
	}
	rx_watch(c);
	ring_recv(c->config->ring, &c->rx, c->fd, c->in.data,
		  h2_owed(c->h2) > READ_FEW ? IN_BYTES : READ_FEW);
}

static void rx_done(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct conn *c = container_of(op, struct conn, rx);

	if (c->state == CONN_CLOSING || res <= 0) {
		ends(c, res < 0 ? "reading failed" : "its peer closed it", res);
		conn_close(c, c->why);
		conn_wake(c);
		return;
	}
	if (c->state == CONN_OPEN)
		c->in.len = (size_t)res;
	else
		secmem_wipe(c->in.data, (size_t)res);
	(void)conn_hear(c);
	conn_wake(c);
	rx_start(c);
}

/* Sending. */

static void tx_start(struct conn *c)
{
	timeq_set(c->config->timers, &c->tx_stall, ring_now(c->config->ring) + c->config->idle_ns);
	ring_send(c->config->ring, &c->tx, c->fd, c->out.data + c->sent, c->out.len - c->sent);
}

static void tx_done(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct conn *c = container_of(op, struct conn, tx);

	if (c->state == CONN_CLOSING || res <= 0) {
		ends(c, "sending failed", res);
		conn_close(c, c->why);
		conn_wake(c);
		return;
	}
	c->sent += (size_t)res;
	if (c->sent < c->out.len) {
		tx_start(c);
		return;
	}
	timeq_clear(c->config->timers, &c->tx_stall);
	secmem_wipe(c->out.data, c->out.len);
	c->out.len = c->sent = 0;
	conn_wake(c);
}

/* True if it handed over what had waited for room. */
static bool conn_flush(struct conn *c)
{
	bool more = conn_hear(c); /* first: this send takes along what that refuses */
	int r;

	if (c->state != CONN_CLOSING && !ring_op_busy(&c->tx)) {
		r = h2_drain(c->h2, &c->out);
		if (r < 0) {
			ends(c, "its HTTP/2 cannot go on", r);
			c->state = CONN_ENDING;
		}
		if (c->out.len > 0)
			tx_start(c);
		else if (c->state == CONN_ENDING || h2_finished(c->h2))
			conn_close(c, "all that it began is done");
	}
	rx_start(c);
	return more;
}

bool conn_flush_all(struct list *awake)
{
	struct list waiting;
	bool more = false;

	list_init(&waiting);
	while (!list_empty(awake)) {
		struct conn *c = list_first(awake, struct conn, link);

		list_del(&c->link);
		more |= conn_flush(c);
		list_del(&c->link);
		if (c->state == CONN_CLOSING && !ring_op_busy(&c->rx) && !ring_op_busy(&c->tx)) {
			close(move_fd(c->fd));
			c->config->closed(c->ctx);
		} else if (conn_waits_for_room(c)) {
			list_add_tail(&waiting, &c->link);
		}
	}
	list_splice_tail(awake, &waiting);
	return more;
}

/* Life. */

static void stalled(struct conn *c, const char *what)
{
	if (c->config->stalled)
		c->config->stalled(c->ctx, what);
	conn_close(c, "its peer did not move");
}

static void rx_stalled(struct timeq_node *node)
{
	stalled(container_of(node, struct conn, rx_stall), "finished the frame that it began");
}

static void tx_stalled(struct timeq_node *node)
{
	stalled(container_of(node, struct conn, tx_stall), "read what is there for it");
}

static void conn_release(struct conn *c)
{
	secbuf_release(&c->in);
	secbuf_release(&c->out);
	timeq_clear(c->config->timers, &c->rx_stall);
	timeq_clear(c->config->timers, &c->tx_stall);
}

int conn_new(const struct conn_config *config, int fd, struct h2 *h2, void *ctx, struct conn **ret)
{
	_cleanup_free_ struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->config = config;
	c->h2 = h2;
	c->ctx = ctx;
	c->fd = fd;
	c->rx.done = rx_done;
	c->tx.done = tx_done;
	c->rx_stall.fire = rx_stalled;
	c->tx_stall.fire = tx_stalled;
	list_init(&c->link);
	r = secpool_get(config->pool, IN_BYTES, &c->in);
	if (r == 0)
		r = secpool_get(config->pool, config->out_bytes, &c->out);
	if (r < 0) {
		conn_release(c);
		return r;
	}
	conn_wake(c);
	*ret = move_ptr(c);
	return 0;
}

void conn_free(struct conn *c)
{
	list_del(&c->link);
	conn_release(c);
	free(c);
}
