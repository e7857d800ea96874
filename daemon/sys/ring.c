/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the ring that both twins share: starting and cancelling, timers, the order of a turn,
 * and the delivery of results.
 *
 * Invariants:
 * - A callback runs with its operation already idle (or, with RING_MORE, already going on), so that
 *   it may start, cancel or give away anything, its own operation included.
 * - ring_turn() decides which local results it will deliver before it runs the first callback; what
 *   a callback makes ready waits for the next turn. So a turn's work is bounded, and a callback that
 *   restarts an expired timer for ever cannot starve the sockets.
 */
#include "daemon/sys/ring_impl.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "daemon/base/log.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

int64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

uint64_t ring_now(struct ring *ring)
{
	if (ring->now == 0)
		ring->now = now_ns();
	return ring->now;
}

void ring_init(struct ring *ring, const struct ring_twin *twin)
{
	ring->twin = twin;
	list_init(&ring->done);
}

int ring_new(enum ring_kind want, unsigned int entries, struct ring **ret)
{
	char why[256];
	int r;

	if (entries < 2 || (entries & (entries - 1)) != 0)
		return -EINVAL;
	if (want == RING_EPOLL)
		return ring_epoll_new(ret);
	r = ring_uring_new(entries, ret);
	if (r == 0)
		return 0;
	ring_uring_explain(r, why, sizeof(why));
	if (want == RING_AUTO) {
		r = ring_epoll_new(ret);
		if (r == 0)
			snprintf((*ret)->why, sizeof((*ret)->why), "%s", why);
		return r;
	}
	log_error("ring: io_uring was asked for, but %s", why);
	return r;
}

void ring_free(struct ring *ring)
{
	if (ring)
		ring->twin->free(ring);
}

const char *ring_name(const struct ring *ring)
{
	return ring->twin->name;
}

const char *ring_why(const struct ring *ring)
{
	return ring->why;
}

void ring_stats(const struct ring *ring, struct ring_stats *ret)
{
	*ret = ring->stats;
}

static void op_begin(struct ring *ring, struct ring_op *op, enum ring_op_kind kind, int fd)
{
	assert(op->done && !ring_op_busy(op));
	list_init(&op->link);
	op->kind = (uint8_t)kind;
	op->state = RING_STATE_TWIN;
	op->stage = 0;
	op->cancelled = false;
	op->fd = fd;
	ring->stats.submissions++;
}

void ring_accept(struct ring *ring, struct ring_op *op, int listen_fd)
{
	op_begin(ring, op, RING_OP_ACCEPT, listen_fd);
	ring->twin->start(ring, op);
}

void ring_accept_in_turns(struct ring *ring)
{
	ring->accept_in_turns = true;
}

void ring_recv(struct ring *ring, struct ring_op *op, int fd, void *buf, size_t len)
{
	op_begin(ring, op, RING_OP_RECV, fd);
	op->data.in = buf;
	op->data.len = len;
	ring->twin->start(ring, op);
}

void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *buf, size_t len)
{
	op_begin(ring, op, RING_OP_SEND, fd);
	op->data.out = buf;
	op->data.len = len;
	ring->twin->start(ring, op);
}

void ring_poll(struct ring *ring, struct ring_op *op, int fd, short events)
{
	op_begin(ring, op, RING_OP_POLL, fd);
	op->events = (unsigned short)events;
	ring->twin->start(ring, op);
}

void ring_watch(struct ring *ring, struct ring_op *op, int fd, short events)
{
	op_begin(ring, op, RING_OP_WATCH, fd);
	op->events = (unsigned short)events;
	ring->twin->start(ring, op);
}

void ring_timer(struct ring *ring, struct ring_op *op, uint64_t when_ns)
{
	op_begin(ring, op, RING_OP_TIMER, -1);
	op->state = RING_STATE_TIMER;
	op->timer = (struct timeq_node){ 0 };
	timeq_set(&ring->timers, &op->timer, when_ns);
}

static void exchange_set(struct ring_op *op, const struct msghdr *msg, void *buf, size_t len)
{
	op->exchange.msg = msg;
	op->exchange.buf = buf;
	op->exchange.send_len = 0;
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		op->exchange.send_len += msg->msg_iov[i].iov_len;
	op->exchange.len = len;
}

void ring_exchange(struct ring *ring, struct ring_op *op, int fd, const struct msghdr *msg,
		   void *buf, size_t len)
{
	op_begin(ring, op, RING_OP_EXCHANGE, fd);
	exchange_set(op, msg, buf, len);
	ring->twin->start(ring, op);
}

int ring_exchange_now(struct ring *ring, int fd, const struct msghdr *msg, void *buf, size_t len)
{
	struct ring_op op = { .fd = fd };

	exchange_set(&op, msg, buf, len);
	ring->stats.direct++;
	return ring_exchange_plain(&op);
}

/*
 * MSG_DONTWAIT in both halves, for the reasons that ring_uring.c gives: what cannot be had at once is
 * an error, and a failed send leaves no receive that waits for ever.
 */
int ring_exchange_plain(struct ring_op *op)
{
	const struct msghdr *msg = op->exchange.msg;
	ssize_t n;

	if (ring_msg_is_bytes(msg))
		n = send(op->fd, msg->msg_iov->iov_base, msg->msg_iov->iov_len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = sendmsg(op->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	op->exchange.sent = n < 0 ? -errno : (int)n;
	n = recv(op->fd, op->exchange.buf, op->exchange.len, MSG_DONTWAIT);
	op->exchange.got = n < 0 ? -errno : (int)n;
	return ring_exchange_result(op);
}

int ring_exchange_result(const struct ring_op *op)
{
	if (op->exchange.sent < 0)
		return op->exchange.sent;
	if ((size_t)op->exchange.sent != op->exchange.send_len)
		return -EIO;
	if (op->exchange.got < 0)
		return op->exchange.got;
	return (size_t)op->exchange.got == op->exchange.len ? 0 : -EIO;
}

void ring_done(struct ring *ring, struct ring_op *op, int res)
{
	op->state = RING_STATE_DONE;
	op->res = res;
	list_add_tail(&ring->done, &op->link);
}

void ring_cancel(struct ring *ring, struct ring_op *op)
{
	if (!ring_op_busy(op) || op->cancelled || op->kind == RING_OP_EXCHANGE)
		return;
	op->cancelled = true;
	if (op->state == RING_STATE_TWIN) {
		ring->twin->cancel(ring, op);
	} else if (op->state == RING_STATE_TIMER) {
		timeq_clear(&ring->timers, &op->timer);
		ring_done(ring, op, -ECANCELED);
	} else if (op->kind == RING_OP_TIMER) {
		op->res = -ECANCELED;
	}
}

void ring_deliver_more(struct ring *ring, struct ring_op *op, int res)
{
	ring->stats.completions++;
	op->done(op, res, RING_MORE);
}

void ring_deliver(struct ring *ring, struct ring_op *op, int res)
{
	if (op->kind == RING_OP_ACCEPT && res >= 0 && !ring->accept_in_turns) {
		op->state = RING_STATE_TWIN;
		if (op->cancelled)
			ring_done(ring, op, -ECANCELED);
		else
			ring->twin->start(ring, op);
		ring_deliver_more(ring, op, res);
		return;
	}
	op->state = RING_STATE_IDLE;
	ring->stats.completions++;
	op->done(op, res, 0);
}

/* How long this turn may sleep: 0, -1 for ever, or nanoseconds to the nearest timer. */
static int64_t turn_timeout(const struct ring *ring, bool nowait)
{
	uint64_t now, when;

	if (nowait || !list_empty(&ring->done))
		return 0;
	if (!ring->timers.root)
		return -1;
	when = timeq_next(&ring->timers);
	now = now_ns();
	if (when <= now)
		return 0;
	return when - now < INT64_MAX ? (int64_t)(when - now) : INT64_MAX;
}

int ring_turn(struct ring *ring, bool nowait)
{
	struct list batch = LIST_INIT(batch);
	struct timeq_node *node;
	int r;

	assert(!ring->turning);
	r = ring->twin->wait(ring, turn_timeout(ring, nowait));
	ring->now = 0;
	if (r < 0)
		return r;
	while (ring->timers.root && (node = timeq_take(&ring->timers, ring_now(ring))))
		ring_done(ring, container_of(node, struct ring_op, timer), 0);
	ring->turning = true;
	list_splice_tail(&batch, &ring->done);
	if (ring->twin->reap)
		ring->twin->reap(ring);
	while (!list_empty(&batch)) {
		struct ring_op *op = list_first(&batch, struct ring_op, link);

		list_del(&op->link);
		ring_deliver(ring, op, op->res);
	}
	ring->turning = false;
	return 0;
}
