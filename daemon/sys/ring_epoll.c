/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll twin: an operation is tried with a plain, never blocking system call at the next turn;
 * if the kernel says EAGAIN it waits for readiness and is tried again.
 *
 * Invariants:
 * - Every fd has a slot with at most one reading and one writing operation. An operation holds its
 *   slot from its start until its result is known. Exchanges never wait and have no slot.
 * - Registrations are one-shot (EPOLLONESHOT): `armed` holds the events the kernel was asked for and
 *   has not reported, and is not zero only while an operation waits for them. Nothing has to be
 *   told when an fd is closed, and a number that comes back as another file is registered anew.
 *   (epoll(7): a registration belongs to the open file, so after a close it may linger on while
 *   another process holds that file, but unarmed.)
 * - A turn tries each queued operation once and takes at most EVENTS_MAX events; an accept takes one
 *   connection a turn. So no fd can starve another.
 */
#include "daemon/sys/ring_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>

#define EVENTS_MAX 64

enum { STAGE_NEW, STAGE_QUEUED, STAGE_WAITING };
enum { SIDE_IN, SIDE_OUT, SIDES };

struct slot {
	struct ring_op *op[SIDES];
	uint32_t armed;
	bool known; /* a registration existed for this number; only a hint which call to try first */
};

struct epoll_ring {
	struct ring ring;
	int epoll_fd;
	struct slot *slots; /* indexed by fd */
	size_t slots_len;
	struct list queue;
	struct epoll_event
		events[EVENTS_MAX]; /* of a turn; not on its stack, which is zeroed first */
};

static struct epoll_ring *epoll_of(struct ring *ring)
{
	return container_of(ring, struct epoll_ring, ring);
}

/* EPOLLERR and EPOLLHUP are always reported; naming them keeps the mask of a waiting op from being 0. */
static uint32_t op_events(const struct ring_op *op)
{
	switch (op->kind) {
	case RING_OP_SEND:
		return EPOLLOUT | EPOLLERR | EPOLLHUP;
	case RING_OP_POLL:
	case RING_OP_WATCH:
		return op->events | EPOLLERR | EPOLLHUP; /* epoll_ctl(2): the bits are poll(2)'s */
	default:
		return EPOLLIN | EPOLLERR | EPOLLHUP;
	}
}

static unsigned int op_side(const struct ring_op *op)
{
	return op_events(op) == (EPOLLOUT | EPOLLERR | EPOLLHUP) ? SIDE_OUT : SIDE_IN;
}

static struct slot *slot_of(struct epoll_ring *e, const struct ring_op *op)
{
	return &e->slots[op->fd];
}

static int slots_grow(struct epoll_ring *e, size_t want)
{
	size_t len = e->slots_len ? e->slots_len : 64;
	struct slot *slots;

	while (len < want)
		len *= 2;
	slots = reallocarray(e->slots, len, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = e->slots_len; i < len; i++)
		slots[i] = (struct slot){ 0 };
	e->slots = slots;
	e->slots_len = len;
	return 0;
}

static int slot_take(struct epoll_ring *e, struct ring_op *op)
{
	int r;

	if (op->fd < 0)
		return -EBADF;
	if ((size_t)op->fd >= e->slots_len) {
		r = slots_grow(e, (size_t)op->fd + 1);
		if (r < 0)
			return r;
	}
	assert(!slot_of(e, op)->op[op_side(op)]);
	slot_of(e, op)->op[op_side(op)] = op;
	return 0;
}

static void op_finish(struct epoll_ring *e, struct ring_op *op, int res)
{
	if (op->kind != RING_OP_EXCHANGE)
		slot_of(e, op)->op[op_side(op)] = NULL;
	ring_done(&e->ring, op, res);
}

/*
 * accept(2) has no MSG_DONTWAIT, and readiness is no promise when another process shares the
 * listener: only a non-blocking listener cannot hold us up.
 */
static int set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static ssize_t try_accept(struct ring_op *op)
{
	return accept4(op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static ssize_t try_recv(struct ring_op *op)
{
	return recv(op->fd, op->data.in, op->data.len, MSG_DONTWAIT);
}

static ssize_t try_send(struct ring_op *op)
{
	return send(op->fd, op->data.out, op->data.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t try_poll(struct ring_op *op)
{
	struct pollfd p = { .fd = op->fd, .events = (short)op->events };
	int n = poll(&p, 1, 0);

	if (n <= 0) {
		errno = n == 0 ? EAGAIN : errno;
		return -1;
	}
	if (p.revents & POLLNVAL) {
		errno = EBADF;
		return -1;
	}
	return (unsigned short)p.revents;
}

static ssize_t (*const try_call[])(struct ring_op *op) = {
	[RING_OP_ACCEPT] = try_accept, [RING_OP_RECV] = try_recv,  [RING_OP_SEND] = try_send,
	[RING_OP_POLL] = try_poll,     [RING_OP_WATCH] = try_poll, /* ends each time */
};

/* Ask for what the slot's waiting operations need. -EPERM: a file that cannot be waited for. */
static int slot_arm(struct epoll_ring *e, int fd)
{
	struct slot *s = &e->slots[fd];
	struct epoll_event ev = { .events = EPOLLONESHOT, .data.fd = fd };
	uint32_t want = 0;

	for (int i = 0; i < SIDES; i++)
		if (s->op[i] && s->op[i]->stage == STAGE_WAITING)
			want |= op_events(s->op[i]);
	if (want == s->armed)
		return 0;
	ev.events |= want;
	e->ring.stats.enters++;
	if (epoll_ctl(e->epoll_fd, s->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0) {
		if (errno != ENOENT && errno != EEXIST)
			return -errno;
		s->known = !s->known;
		e->ring.stats.enters++;
		if (epoll_ctl(e->epoll_fd, s->known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
			return -errno;
	}
	s->known = true;
	s->armed = want;
	return 0;
}

/* Try @op; its result is known or it waits afterwards. */
static void op_advance(struct epoll_ring *e, struct ring_op *op)
{
	ssize_t n;
	int r;

	if (op->kind == RING_OP_EXCHANGE) {
		/* The same calls as the io_uring twin's two submissions. */
		e->ring.stats.enters += 2;
		op_finish(e, op, ring_exchange_plain(op));
		return;
	}
	do {
		e->ring.stats.enters++;
		n = try_call[op->kind](op);
	} while (n < 0 && errno == EINTR);
	r = n < 0 ? -errno : (int)n;
	if (r == -EAGAIN) {
		op->stage = STAGE_WAITING;
		r = slot_arm(e, op->fd);
		if (r == 0)
			return;
	}
	op_finish(e, op, r);
}

static void epoll_start(struct ring *ring, struct ring_op *op)
{
	struct epoll_ring *e = epoll_of(ring);
	int r = 0;

	if (op->kind == RING_OP_ACCEPT && op->stage == STAGE_NEW)
		r = set_nonblock(op->fd);
	if (r == 0 && op->kind != RING_OP_EXCHANGE)
		r = slot_take(e, op);
	if (r < 0) {
		ring_done(ring, op, r);
		return;
	}
	op->stage = STAGE_QUEUED;
	list_add_tail(&e->queue, &op->link);
}

static void epoll_cancel(struct ring *ring, struct ring_op *op)
{
	struct epoll_ring *e = epoll_of(ring);

	if (op->stage == STAGE_WAITING)
		slot_of(e, op)->armed = 0; /* may fire once, for nobody: harmless */
	list_del(&op->link);
	op_finish(e, op, -ECANCELED);
}

static void take_event(struct epoll_ring *e, const struct epoll_event *ev)
{
	int fd = ev->data.fd;
	struct slot *s = &e->slots[fd];

	s->armed = 0;
	for (int i = 0; i < SIDES; i++) {
		struct ring_op *op = s->op[i];

		if (op && op->stage == STAGE_WAITING && (ev->events & op_events(op))) {
			op->stage = STAGE_QUEUED;
			op_advance(e, op);
		}
	}
	/* The event disarmed the other side too. It was armed before, so this can hardly fail. */
	for (int i = 0; i < SIDES; i++) {
		struct ring_op *op = s->op[i];
		int r = op && op->stage == STAGE_WAITING ? slot_arm(e, fd) : 0;

		if (r < 0)
			op_finish(e, op, r);
	}
}

static int epoll_turn(struct ring *ring, int64_t timeout_ns)
{
	struct epoll_ring *e = epoll_of(ring);
	struct list batch = LIST_INIT(batch);
	int64_t ms;
	int n;

	list_splice_tail(&batch, &e->queue);
	while (!list_empty(&batch)) {
		struct ring_op *op = list_first(&batch, struct ring_op, link);

		list_del(&op->link);
		op_advance(e, op);
	}
	if (!list_empty(&ring->done))
		timeout_ns = 0;
	/* Rounded up: a timer may be late by a millisecond, never early. */
	ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
	ring->stats.enters++;
	n = epoll_wait(e->epoll_fd, e->events, EVENTS_MAX, ms < INT_MAX ? (int)ms : INT_MAX);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		take_event(e, &e->events[i]);
	return 0;
}

static void epoll_free(struct ring *ring)
{
	struct epoll_ring *e = epoll_of(ring);

	close(e->epoll_fd);
	free(e->slots);
	free(e);
}

static const struct ring_twin epoll_twin = {
	.name = "epoll",
	.free = epoll_free,
	.start = epoll_start,
	.cancel = epoll_cancel,
	.wait = epoll_turn,
};

int ring_epoll_new(struct ring **ret)
{
	struct epoll_ring *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	ring_init(&e->ring, &epoll_twin);
	list_init(&e->queue);
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll_fd < 0) {
		r = -errno;
		free(e);
		return r;
	}
	*ret = &e->ring;
	return 0;
}
