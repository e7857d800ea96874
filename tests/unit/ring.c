/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's contract. Every test runs on both twins and must see the same.
 */
#include "daemon/sys/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_alg.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/harness/ktest.h"

/* An operation and what its callback was told. */
struct probe {
	struct ring_op op;
	int calls;
	int res;
	unsigned int flags;
	int fds[64]; /* of an accept */
	int n_fds;
	void (*then)(struct probe *p);
	void *arg;
};

static void note(struct ring_op *op, int res, unsigned int flags)
{
	struct probe *p = container_of(op, struct probe, op);

	p->calls++;
	p->res = res;
	p->flags = flags;
	if (flags & RING_MORE)
		p->fds[p->n_fds++] = res;
	if (p->then)
		p->then(p);
}

#define PROBE                   \
	{                       \
		.op.done = note \
	}

FIXTURE(ring)
{
	struct ring *ring;
	int stream[2], packet[2];
};
FIXTURE_VARIANT(ring)
{
	enum ring_kind kind;
	const char *name;
};
FIXTURE_VARIANT_ADD(ring, io_uring){ RING_IO_URING, "io_uring" };
FIXTURE_VARIANT_ADD(ring, epoll){ RING_EPOLL, "epoll" };

FIXTURE_SETUP(ring)
{
	int r = ring_new(variant->kind, 64, &self->ring);

	SKIP_UNLESS("io_uring", variant->kind != RING_IO_URING || r == 0, "the kernel refuses it");
	ASSERT_OK(r);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->stream));
	ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, self->packet));
}

FIXTURE_TEARDOWN(ring)
{
	ring_free(self->ring);
	for (int i = 0; i < 2; i++) {
		closep(&self->stream[i]);
		closep(&self->packet[i]);
	}
}

/* Turn until @p has been called @calls times. The test's time-out is the only limit. */
static void turn_until(struct ring *ring, const struct probe *p, int calls)
{
	while (p->calls < calls)
		ASSERT_OK(ring_turn(ring, false));
}

/* All that can happen without anybody else doing anything has happened. */
static void settle(struct ring *ring)
{
	for (int i = 0; i < 4; i++)
		ASSERT_OK(ring_turn(ring, true));
}

static void set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	ASSERT_GE(flags, 0);
	ASSERT_OK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

/* Write to @fd until the kernel takes no more. */
static void fill(int fd)
{
	char block[4096] = { 0 };

	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	while (send(fd, block, 1, MSG_DONTWAIT) > 0)
		;
	ASSERT_EQ(EAGAIN, errno);
}

static size_t drain(int fd)
{
	char block[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, block, sizeof(block), MSG_DONTWAIT)) > 0)
		total += (size_t)n;
	return total;
}

/* A listener with a name the kernel makes up, and its address. */
static int listen_anywhere(struct sockaddr_un *addr, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*len = sizeof(*addr);
	ASSERT_GE(fd, 0);
	ASSERT_OK(bind(fd, (struct sockaddr *)addr, sizeof(sa_family_t)));
	ASSERT_OK(listen(fd, 64));
	ASSERT_OK(getsockname(fd, (struct sockaddr *)addr, len));
	return fd;
}

static int connect_to(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_GE(fd, 0);
	ASSERT_OK(connect(fd, (const struct sockaddr *)addr, len));
	return fd;
}

TEST_F(ring, names_itself)
{
	struct probe p = PROBE;

	EXPECT_STREQ(variant->name, ring_name(self->ring));
	EXPECT_STREQ("", ring_why(self->ring));
	EXPECT_FALSE(ring_op_busy(&p.op));
}

TEST(sizes_are_powers_of_two)
{
	struct ring *ring = NULL;

	EXPECT_ERR(-EINVAL, ring_new(RING_AUTO, 0, &ring));
	EXPECT_ERR(-EINVAL, ring_new(RING_AUTO, 1, &ring));
	EXPECT_ERR(-EINVAL, ring_new(RING_EPOLL, 48, &ring));
	EXPECT_NULL(ring);
}

static void accept_many(struct ring *ring, bool nonblock)
{
	struct probe p = PROBE;
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client[5];
	char c;

	set_nonblock(listener, nonblock);
	ring_accept(ring, &p.op, listener);
	settle(ring);
	EXPECT_EQ(0, p.calls);
	for (int i = 0; i < 5; i++) {
		client[i] = connect_to(&addr, len);
		if (i >= 2) /* 0, 1 and 2 are waiting together, 3 and 4 come one by one */
			turn_until(ring, &p, i + 1);
	}
	EXPECT_EQ(5, p.n_fds);
	EXPECT_TRUE(ring_op_busy(&p.op));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(FD_CLOEXEC, fcntl(p.fds[i], F_GETFD));
		c = (char)i;
		EXPECT_EQ(1, send(client[i], &c, 1, 0));
		EXPECT_EQ(1, recv(p.fds[i], &c, 1, 0));
		EXPECT_EQ(i, c);
		close(client[i]);
		close(p.fds[i]);
	}
	ring_cancel(ring, &p.op);
	turn_until(ring, &p, 6);
	EXPECT_ERR(-ECANCELED, p.res);
	EXPECT_EQ(0, p.flags);
	EXPECT_FALSE(ring_op_busy(&p.op));
	close(listener);
}

TEST_F(ring, accept)
{
	accept_many(self->ring, false);
}

TEST_F(ring, accept_on_nonblocking_listener)
{
	accept_many(self->ring, true);
}

static void cancel_arg(struct probe *p)
{
	if (p->n_fds == 1 && (p->flags & RING_MORE))
		ring_cancel(p->arg, &p->op);
}

/* Whatever has been accepted by then is handed out before the end. */
TEST_F(ring, accept_cancelled_in_its_callback)
{
	struct probe p = { .op.done = note, .then = cancel_arg, .arg = self->ring };
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client[3];

	for (int i = 0; i < 3; i++)
		client[i] = connect_to(&addr, len);
	ring_accept(self->ring, &p.op, listener);
	while (ring_op_busy(&p.op))
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_ERR(-ECANCELED, p.res);
	EXPECT_EQ(0, p.flags);
	EXPECT_GE(p.n_fds, 1);
	EXPECT_EQ(p.n_fds + 1, p.calls);
	for (int i = 0; i < p.n_fds; i++)
		close(p.fds[i]);
	for (int i = 0; i < 3; i++)
		close(client[i]);
	close(listener);
}

TEST_F(ring, accept_without_descriptors)
{
	struct rlimit limit, none = { 0, 0 };
	struct probe p = PROBE;
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client = connect_to(&addr, len);

	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	none.rlim_max = limit.rlim_max;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
	ring_accept(self->ring, &p.op, listener);
	turn_until(self->ring, &p, 1);
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_ERR(-EMFILE, p.res);
	EXPECT_EQ(0, p.flags);
	ring_accept(self->ring, &p.op, listener);
	turn_until(self->ring, &p, 2);
	EXPECT_EQ(1, p.n_fds);
	ring_cancel(self->ring, &p.op);
	turn_until(self->ring, &p, 3);
	close(p.fds[0]);
	close(client);
	close(listener);
}

TEST_F(ring, wrong_descriptors)
{
	struct probe a = PROBE, b = PROBE, c = PROBE, d = PROBE, e = PROBE;
	char buf[1] = { 0 };
	int event = eventfd(0, EFD_CLOEXEC);

	ring_accept(self->ring, &a.op, self->stream[0]);
	ring_recv(self->ring, &b.op, -1, buf, 1);
	ring_recv(self->ring, &c.op, event, buf, 1);
	ring_poll(self->ring, &d.op, 1 << 19, POLLIN);
	ring_send(self->ring, &e.op, 1 << 18, buf, 1);
	turn_until(self->ring, &a, 1);
	turn_until(self->ring, &b, 1);
	turn_until(self->ring, &c, 1);
	turn_until(self->ring, &d, 1);
	turn_until(self->ring, &e, 1);
	EXPECT_ERR(-EINVAL, a.res);
	EXPECT_ERR(-EBADF, b.res);
	EXPECT_ERR(-ENOTSOCK, c.res);
	EXPECT_ERR(-EBADF, d.res);
	EXPECT_ERR(-EBADF, e.res);
	close(event);
}

static void recv_waits(struct ring *ring, int pair[2], bool nonblock)
{
	struct probe p = PROBE;
	char buf[8] = { 0 };

	set_nonblock(pair[0], nonblock);
	ring_recv(ring, &p.op, pair[0], buf, sizeof(buf));
	settle(ring);
	EXPECT_EQ(0, p.calls);
	EXPECT_TRUE(ring_op_busy(&p.op));
	ASSERT_EQ(3, send(pair[1], "abc", 3, 0));
	turn_until(ring, &p, 1);
	EXPECT_EQ(3, p.res);
	EXPECT_STREQ("abc", buf);
	EXPECT_FALSE(ring_op_busy(&p.op));
}

TEST_F(ring, recv)
{
	recv_waits(self->ring, self->stream, false);
	recv_waits(self->ring, self->stream, true);
	recv_waits(self->ring, self->packet, false);
}

static void send_waits(struct ring *ring, int pair[2], bool nonblock)
{
	struct probe p = PROBE;

	set_nonblock(pair[0], nonblock);
	fill(pair[0]);
	ring_send(ring, &p.op, pair[0], "x", 1);
	settle(ring);
	EXPECT_EQ(0, p.calls);
	drain(pair[1]);
	turn_until(ring, &p, 1);
	EXPECT_EQ(1, p.res);
	EXPECT_EQ(1, drain(pair[1]));
}

TEST_F(ring, send)
{
	send_waits(self->ring, self->stream, false);
	send_waits(self->ring, self->stream, true);
}

TEST_F(ring, send_takes_a_part)
{
	size_t size = 8U << 20, got = 0;
	_cleanup_free_ char *big = calloc(1, size);
	struct probe p = PROBE;

	ASSERT_NOT_NULL(big);
	set_nonblock(self->stream[0], true);
	ring_send(self->ring, &p.op, self->stream[0], big, size);
	turn_until(self->ring, &p, 1);
	EXPECT_GT(p.res, 0);
	EXPECT_LT(p.res, size);
	for (size_t n = drain(self->stream[1]); n > 0; n = drain(self->stream[1]))
		got += n;
	EXPECT_EQ(p.res, got);
}

TEST_F(ring, end_of_stream)
{
	struct probe in = PROBE, out = PROBE;
	char c;

	close(self->stream[1]);
	self->stream[1] = -1;
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	ring_send(self->ring, &out.op, self->stream[0], "x", 1);
	turn_until(self->ring, &in, 1);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(0, in.res);
	EXPECT_ERR(-EPIPE, out.res); /* and no SIGPIPE */
}

/* A reader and a writer that both wait on one fd do not take each other's events. */
TEST_F(ring, both_directions)
{
	struct probe in = PROBE, out = PROBE;
	char c = 0;

	fill(self->stream[0]);
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	ring_send(self->ring, &out.op, self->stream[0], "x", 1);
	settle(self->ring);
	ASSERT_EQ(1, send(self->stream[1], "1", 1, 0));
	turn_until(self->ring, &in, 1);
	EXPECT_EQ('1', c);
	EXPECT_EQ(0, out.calls);
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	settle(self->ring);
	drain(self->stream[1]);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(1, out.res);
	EXPECT_EQ(1, in.calls);
	ASSERT_EQ(1, send(self->stream[1], "2", 1, 0));
	turn_until(self->ring, &in, 2);
	EXPECT_EQ('2', c);
}

/* The number of a closed fd comes back as another file while the ring still remembers the first. */
TEST_F(ring, descriptor_reused)
{
	struct probe p = PROBE;
	int other[2], lingering = dup(self->stream[0]);
	char c = 0;

	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	settle(self->ring);
	ring_cancel(self->ring, &p.op);
	turn_until(self->ring, &p, 1);
	EXPECT_ERR(-ECANCELED, p.res);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other));
	ASSERT_EQ(self->stream[0], dup3(other[0], self->stream[0], O_CLOEXEC));
	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	ASSERT_EQ(1, send(self->stream[1], "-", 1, 0)); /* to the file that is gone from here */
	settle(self->ring);
	EXPECT_EQ(1, p.calls);
	ASSERT_EQ(1, send(other[1], "+", 1, 0));
	turn_until(self->ring, &p, 2);
	EXPECT_EQ(1, p.res);
	EXPECT_EQ('+', c);
	close(lingering);
	close(other[0]);
	close(other[1]);
}

/* Start one operation of each kind that waits. */
struct waiting {
	struct probe recv, recvmsg, send, sendmsg, poll, accept, timer;
	struct iovec iov;
	struct msghdr in, out;
	int listener, event, pair[2], extra[2];
	char buf[2][4];
};

static void waiting_start(struct waiting *w, struct ring *ring, int pair[2])
{
	struct sockaddr_un addr;
	socklen_t len;

	*w = (struct waiting){ .recv = PROBE,
			       .recvmsg = PROBE,
			       .send = PROBE,
			       .sendmsg = PROBE,
			       .poll = PROBE,
			       .accept = PROBE,
			       .timer = PROBE };
	w->listener = listen_anywhere(&addr, &len);
	w->event = eventfd(0, EFD_CLOEXEC);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->extra));
	fill(pair[0]);
	fill(w->extra[0]);
	w->iov = (struct iovec){ w->buf[1], 4 };
	w->in = w->out = (struct msghdr){ .msg_iov = &w->iov, .msg_iovlen = 1 };
	ring_recv(ring, &w->recv.op, pair[0], w->buf[0], 4);
	ring_send(ring, &w->send.op, pair[0], "x", 1);
	ring_recvmsg(ring, &w->recvmsg.op, w->extra[0], &w->in);
	ring_sendmsg(ring, &w->sendmsg.op, w->extra[0], &w->out);
	ring_poll(ring, &w->poll.op, w->event, POLLIN);
	ring_accept(ring, &w->accept.op, w->listener);
	ring_timer(ring, &w->timer.op, UINT64_MAX);
}

static void waiting_cancel(struct waiting *w, struct ring *ring)
{
	struct probe *all[] = { &w->recv, &w->recvmsg, &w->send, &w->sendmsg,
				&w->poll, &w->accept,  &w->timer };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_TRUE(ring_op_busy(&all[i]->op));
		ring_cancel(ring, &all[i]->op);
		EXPECT_EQ(0, all[i]->calls);
		ring_cancel(ring, &all[i]->op); /* twice is once */
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		turn_until(ring, all[i], 1);
		EXPECT_ERR(-ECANCELED, all[i]->res);
		EXPECT_FALSE(ring_op_busy(&all[i]->op));
	}
	settle(ring);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		EXPECT_EQ(1, all[i]->calls);
	close(w->listener);
	close(w->event);
	close(w->extra[0]);
	close(w->extra[1]);
}

TEST_F(ring, cancel_waiting)
{
	struct waiting w;

	waiting_start(&w, self->ring, self->stream);
	settle(self->ring);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_before_the_first_turn)
{
	struct waiting w;

	waiting_start(&w, self->ring, self->stream);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_waiting_on_nonblocking)
{
	struct waiting w;

	set_nonblock(self->stream[0], true);
	waiting_start(&w, self->ring, self->stream);
	set_nonblock(w.extra[0], true);
	set_nonblock(w.listener, true);
	settle(self->ring);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_idle)
{
	struct probe p = PROBE;

	ring_cancel(self->ring, &p.op);
	settle(self->ring);
	EXPECT_EQ(0, p.calls);
}

struct duel {
	struct ring *ring;
	struct probe *victim;
	int fd;
	char *buf;
};

static void cancel_victim(struct probe *p)
{
	struct duel *d = p->arg;

	ring_cancel(d->ring, &d->victim->op);
}

static void start_over(struct probe *p)
{
	struct duel *d = p->arg;

	if (p->calls == 1)
		ring_recv(d->ring, &p->op, d->fd, d->buf, 1);
}

/*
 * A cancel that comes when the result is there already must not hit the next operation, which the
 * victim's callback starts in the same place.
 */
TEST_F(ring, cancel_does_not_hit_the_successor)
{
	char a = 0, b = 0;
	struct probe victim = { .op.done = note, .then = start_over };
	struct duel d = { self->ring, &victim, self->packet[0], &b };
	struct probe killer = { .op.done = note, .then = cancel_victim, .arg = &d };

	victim.arg = &d;
	ring_recv(self->ring, &killer.op, self->stream[0], &a, 1);
	ring_recv(self->ring, &victim.op, self->packet[0], &b, 1);
	ASSERT_EQ(1, send(self->stream[1], "k", 1, 0));
	ASSERT_EQ(1, send(self->packet[1], "v", 1, 0));
	turn_until(self->ring, &victim, 1);
	EXPECT_EQ(1, killer.calls);
	EXPECT_EQ(1, victim.res);
	settle(self->ring);
	EXPECT_EQ(1, victim.calls);
	EXPECT_TRUE(ring_op_busy(&victim.op));
	ASSERT_EQ(1, send(self->packet[1], "w", 1, 0));
	turn_until(self->ring, &victim, 2);
	EXPECT_EQ(1, victim.res);
	EXPECT_EQ('w', b);
}

struct sequence {
	int seen[2048];
	int n;
};

static void record(struct probe *p)
{
	struct sequence *s = p->arg;

	s->seen[s->n++] = p->n_fds; /* the probe's number */
}

TEST_F(ring, timers_in_order)
{
	static const int at_ms[] = { 7, 3, 9, 3, 1, 3, 5 };
	static const int order[] = { 4, 1, 3, 5, 6, 0, 2 };
	struct probe p[ARRAY_SIZE(at_ms)];
	struct sequence s = { .n = 0 };
	uint64_t start = now_ns();

	for (int i = 0; i < (int)ARRAY_SIZE(p); i++) {
		p[i] = (struct probe){ .op.done = note, .then = record, .arg = &s, .n_fds = i };
		ring_timer(self->ring, &p[i].op, start + (uint64_t)at_ms[i] * 1000000);
	}
	turn_until(self->ring, &p[2], 1);
	EXPECT_GE(now_ns(), start + 9000000);
	EXPECT_EQ(ARRAY_SIZE(order), s.n);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		EXPECT_EQ(order[i], s.seen[i]);
		EXPECT_EQ(1, p[i].calls);
		EXPECT_OK(p[i].res);
	}
}

/* Many timers, half of them cancelled, in an order that visits all parts of the heap. */
TEST_F(ring, timers_many)
{
	enum { N = 2000 };
	_cleanup_free_ struct probe *p = calloc(N, sizeof(*p));
	struct sequence s = { .n = 0 };
	uint64_t base = now_ns() - 1000000, last = 0;
	uint32_t x = 1;

	ASSERT_NOT_NULL(p);
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe){ .op.done = note, .then = record, .arg = &s, .n_fds = i };
		x = x * 1664525 + 1013904223;
		ring_timer(self->ring, &p[i].op, base + (x >> 16) % 500);
	}
	for (int i = 0; i < N; i += 2)
		ring_cancel(self->ring, &p[(i * 7) % N].op);
	while (s.n < N)
		ASSERT_OK(ring_turn(self->ring, false));
	for (int i = 0, fired = 0; i < N; i++) {
		struct probe *q = &p[s.seen[i]];

		EXPECT_EQ(1, q->calls);
		EXPECT_ERR(s.seen[i] % 2 ? 0 : -ECANCELED, q->res);
		if (q->res < 0)
			continue;
		EXPECT_GE(q->op.timer.when, last);
		if (fired++ > 0 && q->op.timer.when == last)
			EXPECT_GT(s.seen[i], x);
		last = q->op.timer.when;
		x = (uint32_t)s.seen[i];
	}
}

static void again_now(struct probe *p)
{
	ring_timer(p->arg, &p->op, 0);
}

/* A timer that is always due does not keep the sockets waiting. */
TEST_F(ring, timer_restarted_for_ever)
{
	struct probe timer = { .op.done = note, .then = again_now, .arg = self->ring };
	struct probe in = PROBE;
	char c;

	ring_timer(self->ring, &timer.op, 0);
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_EQ(1, timer.calls);
	ASSERT_EQ(1, send(self->stream[1], "x", 1, 0));
	turn_until(self->ring, &in, 1);
	timer.then = NULL;
	settle(self->ring);
}

/* Cancelled by a callback of the very turn it expired in: the callback hears of the cancel. */
TEST_F(ring, timer_cancelled_when_due)
{
	struct probe victim = PROBE;
	struct duel d = { .ring = self->ring, .victim = &victim };
	struct probe killer = { .op.done = note, .then = cancel_victim, .arg = &d };

	ring_timer(self->ring, &killer.op, 0);
	ring_timer(self->ring, &victim.op, 1);
	turn_until(self->ring, &victim, 1);
	EXPECT_EQ(1, killer.calls);
	EXPECT_ERR(-ECANCELED, victim.res);
}

struct player {
	struct probe in, out;
	struct ring *ring;
	int fd, left;
	char ball;
};

static void hit(struct probe *p)
{
	struct player *me = p->arg;

	EXPECT_EQ(1, p->res);
	if (me->left-- > 0)
		ring_send(me->ring, &me->out.op, me->fd, &me->ball, 1);
}

static void await(struct probe *p)
{
	struct player *me = p->arg;

	if (me->left > 0)
		ring_recv(me->ring, &me->in.op, me->fd, &me->ball, 1);
}

TEST_F(ring, restart_in_callback)
{
	struct player side[2];

	for (int i = 0; i < 2; i++) {
		side[i] =
			(struct player){ .ring = self->ring, .fd = self->stream[i], .left = 1000 };
		side[i].in = (struct probe){ .op.done = note, .then = hit, .arg = &side[i] };
		side[i].out = (struct probe){ .op.done = note, .then = await, .arg = &side[i] };
		ring_recv(self->ring, &side[i].in.op, side[i].fd, &side[i].ball, 1);
	}
	ASSERT_EQ(1, send(self->stream[0], "o", 1, 0));
	turn_until(self->ring, &side[1].out, 1000);
	EXPECT_EQ(1000, side[1].in.calls);
	EXPECT_GE(side[0].in.calls, 999);
	EXPECT_EQ('o', side[1].ball);
	if (ring_op_busy(&side[0].in.op)) {
		ring_cancel(self->ring, &side[0].in.op);
		settle(self->ring);
	}
}

/* Two submissions at a time, eight completions, and thousands of operations at once. */
TEST_F(ring, more_operations_than_the_ring_holds)
{
	enum { PAIRS = 400, ROUNDS = 3 };
	struct rlimit limit;
	_cleanup_free_ struct probe *p = calloc(PAIRS * 4, sizeof(*p));
	_cleanup_free_ char *buf = calloc(PAIRS * 2, 1);
	struct ring *ring;
	int fd[PAIRS][2];

	ASSERT_TRUE(p && buf);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	ASSERT_OK(ring_new(variant->kind, 2, &ring));
	for (int i = 0; i < PAIRS; i++)
		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd[i]));
	for (int i = 0; i < PAIRS * 4; i++)
		p[i].op.done = note;
	for (int round = 1; round <= ROUNDS; round++) {
		for (int i = 0; i < PAIRS * 2; i++) {
			ring_recv(ring, &p[2 * i].op, fd[i / 2][i % 2], &buf[i], 1);
			ring_send(ring, &p[2 * i + 1].op, fd[i / 2][i % 2], "z", 1);
		}
		for (int i = 0; i < PAIRS * 4; i++) {
			turn_until(ring, &p[i], round);
			EXPECT_EQ(1, p[i].res);
		}
	}
	for (int i = 0; i < PAIRS * 2; i++)
		ring_recv(ring, &p[i].op, fd[i / 2][i % 2], &buf[i], 1);
	for (int i = 0; i < PAIRS * 2; i++)
		ring_cancel(ring, &p[i].op);
	for (int i = 0; i < PAIRS * 2; i++) {
		turn_until(ring, &p[i], ROUNDS + 1);
		EXPECT_ERR(-ECANCELED, p[i].res);
	}
	ring_free(ring);
	for (int i = 0; i < PAIRS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
}

TEST_F(ring, passes_descriptors)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} out = { 0 }, in = { 0 };
	char word[4] = "fd!", got[4] = { 0 };
	struct iovec iov_out = { word, 4 }, iov_in = { got, 4 };
	struct msghdr send = { .msg_iov = &iov_out,
			       .msg_iovlen = 1,
			       .msg_control = &out,
			       .msg_controllen = sizeof(out) };
	struct msghdr recv = { .msg_iov = &iov_in,
			       .msg_iovlen = 1,
			       .msg_control = &in,
			       .msg_controllen = sizeof(in) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&send);
	struct probe a = PROBE, b = PROBE;
	int fd = eventfd(42, 0), passed = -1;
	uint64_t value = 0;

	*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ring_recvmsg(self->ring, &b.op, self->packet[1], &recv);
	settle(self->ring);
	ring_sendmsg(self->ring, &a.op, self->packet[0], &send);
	turn_until(self->ring, &a, 1);
	turn_until(self->ring, &b, 1);
	EXPECT_EQ(4, a.res);
	EXPECT_EQ(4, b.res);
	EXPECT_STREQ("fd!", got);
	c = CMSG_FIRSTHDR(&recv);
	ASSERT_NOT_NULL(c);
	ASSERT_EQ(SCM_RIGHTS, c->cmsg_type);
	memcpy(&passed, CMSG_DATA(c), sizeof(passed));
	EXPECT_EQ(FD_CLOEXEC, fcntl(passed, F_GETFD));
	EXPECT_EQ(8, read(passed, &value, 8));
	EXPECT_EQ(42, value);
	close(passed);
	close(fd);
}

TEST_F(ring, poll)
{
	struct probe in = PROBE, out = PROBE, hup = PROBE;
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t one = 1;

	ring_poll(self->ring, &in.op, event, POLLIN);
	ring_poll(self->ring, &out.op, self->stream[0], POLLOUT);
	ring_poll(self->ring, &hup.op, self->packet[0], 0);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(POLLOUT, out.res);
	settle(self->ring);
	EXPECT_EQ(0, in.calls);
	EXPECT_EQ(0, hup.calls);
	ASSERT_EQ(8, write(event, &one, 8));
	close(self->packet[1]);
	self->packet[1] = -1;
	turn_until(self->ring, &in, 1);
	turn_until(self->ring, &hup, 1);
	EXPECT_EQ(POLLIN, in.res);
	EXPECT_TRUE(hup.res & POLLHUP);
	close(event);
}

/* An exchange of four bytes for four; the answer, if any, lies ready. */
static int exchange(struct ring *ring, int fd, const char *out, size_t out_len, void *in,
		    size_t in_len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)out, out_len / 2 },
				{ (void *)(uintptr_t)(out + out_len / 2), out_len - out_len / 2 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct probe p = PROBE;

	ring_exchange(ring, &p.op, fd, &msg, in, in_len);
	ring_cancel(ring, &p.op); /* has no effect */
	ASSERT_OK(ring_turn(ring, false));
	turn_until(ring, &p, 1);
	EXPECT_EQ(0, p.flags);
	EXPECT_EQ(1, p.calls);
	return p.res;
}

TEST_F(ring, exchange)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	EXPECT_OK(exchange(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_STREQ("pong", in);
	EXPECT_EQ(4, recv(self->packet[1], in, sizeof(in), MSG_DONTWAIT));
	EXPECT_STREQ("ping", in);
}

TEST_F(ring, exchange_short_answer)
{
	char in[8] = { 0 };

	ASSERT_EQ(3, send(self->packet[1], "pon", 3, 0));
	EXPECT_ERR(-EIO, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

/* Nothing hangs when there is no answer, as on an op socket whose send has failed. */
TEST_F(ring, exchange_no_answer)
{
	char in[8] = { 0 };

	EXPECT_ERR(-EAGAIN, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

TEST_F(ring, exchange_send_fails)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	close(self->packet[1]);
	self->packet[1] = -1;
	EXPECT_ERR(-EPIPE, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
	EXPECT_ERR(-EBADF, exchange(self->ring, -1, "ping", 4, in, 4));
}

TEST_F(ring, exchange_send_would_wait)
{
	char in[8] = { 0 };

	ASSERT_EQ(4, send(self->packet[1], "pong", 4, 0));
	fill(self->packet[0]);
	EXPECT_ERR(-EAGAIN, exchange(self->ring, self->packet[0], "ping", 4, in, 4));
}

TEST_F(ring, exchange_short_send)
{
	size_t size = 8U << 20;
	_cleanup_free_ char *big = calloc(1, size);
	char in[8] = { 0 };

	ASSERT_NOT_NULL(big);
	ASSERT_EQ(4, send(self->stream[1], "pong", 4, 0));
	EXPECT_ERR(-EIO, exchange(self->ring, self->stream[0], big, size, in, 4));
}

/* What the design is about: one crossing for all operations of a turn. */
TEST_F(ring, one_enter_for_many)
{
	enum { N = 16 };
	struct probe p[N];
	struct iovec iov = { (void *)(uintptr_t) "ping", 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ring_stats before, after;
	int fd[N][2];
	char in[N][4];

	for (int i = 0; i < N; i++) {
		ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd[i]));
		ASSERT_EQ(4, send(fd[i][1], "pong", 4, 0));
		p[i] = (struct probe)PROBE;
	}
	ring_stats(self->ring, &before);
	for (int i = 0; i < N; i++)
		ring_exchange(self->ring, &p[i].op, fd[i][0], &msg, in[i], 4);
	ASSERT_OK(ring_turn(self->ring, false));
	ring_stats(self->ring, &after);
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(1, p[i].calls);
		EXPECT_OK(p[i].res);
		EXPECT_MEMEQ("pong", 4, in[i], 4);
		close(fd[i][0]);
		close(fd[i][1]);
	}
	EXPECT_EQ(N, after.submissions - before.submissions);
	EXPECT_EQ(N, after.completions - before.completions);
	EXPECT_EQ(variant->kind == RING_IO_URING ? 1 : 2 * N + 1, after.enters - before.enters);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST_F(ring, signals_are_no_error)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct probe p = PROBE;
	pid_t child;

	ASSERT_OK(sigaction(SIGUSR1, &sa, NULL));
	ring_timer(self->ring, &p.op, now_ns() + 20000000);
	child = fork();
	if (child == 0) {
		while (kill(getppid(), SIGUSR1) == 0 && getppid() != 1)
			usleep(500);
		_exit(0);
	}
	turn_until(self->ring, &p, 1);
	EXPECT_OK(p.res);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TEST_F(ring, freed_with_its_descriptors)
{
	int before = dup(0), after;
	struct ring *ring;

	close(before);
	for (int i = 0; i < 50; i++) {
		ASSERT_OK(ring_new(variant->kind, 8, &ring));
		ring_free(ring);
	}
	after = dup(0);
	close(after);
	EXPECT_EQ(before, after);
}

/* Make io_uring_setup fail with @error from here on. */
static void forbid_io_uring(unsigned int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	ASSERT_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ASSERT_OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static void refused_with(int error)
{
	struct ring *ring = NULL;
	int fd, next;

	forbid_io_uring((unsigned int)error);
	fd = dup(0);
	EXPECT_ERR(-error, ring_new(RING_IO_URING, 8, &ring));
	EXPECT_NULL(ring);
	ASSERT_OK(ring_new(RING_AUTO, 8, &ring));
	EXPECT_STREQ("epoll", ring_name(ring));
	EXPECT_NOT_NULL(strstr(ring_why(ring), strerrorname_np(error)));
	EXPECT_NOT_NULL(strstr(ring_why(ring), "seccomp"));
	ring_free(ring);
	next = dup(0);
	EXPECT_EQ(fd + 1, next);
	close(fd);
	close(next);
}

TEST(refused_by_policy)
{
	char c = '0';
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && (read(fd, &c, 1) != 1 || c != '0'))
		SKIP("kernel.io_uring_disabled is set, and would be named instead of seccomp");
	closep(&fd);
	refused_with(EPERM);
}

TEST(refused_as_unknown)
{
	refused_with(ENOSYS);
}

TEST(auto_is_io_uring_where_it_works)
{
	struct ring *ring;
	int r = ring_new(RING_IO_URING, 8, &ring);

	SKIP_UNLESS("io_uring", r == 0, "the kernel refuses it");
	ring_free(ring);
	ASSERT_OK(ring_new(RING_AUTO, 8, &ring));
	EXPECT_STREQ("io_uring", ring_name(ring));
	EXPECT_STREQ("", ring_why(ring));
	ring_free(ring);
}

/* FIPS 197, appendix C.3: AES-256. */
static const uint8_t fips_key[32] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
				      0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
				      0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
				      0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };
static const uint8_t fips_in[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				     0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
static const uint8_t fips_out[16] = { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
				      0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89 };

/* An op socket of ecb(aes) under the test's key; skips the test where there is no AF_ALG. */
static int afalg_op(int *ret_tfm)
{
	struct sockaddr_alg addr = { .salg_family = AF_ALG,
				     .salg_type = "skcipher",
				     .salg_name = "ecb(aes)" };
	int tfm = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), op;

	SKIP_UNLESS("afalg", tfm >= 0, "no AF_ALG in this kernel");
	ASSERT_OK(bind(tfm, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_OK(setsockopt(tfm, SOL_ALG, ALG_SET_KEY, fips_key, sizeof(fips_key)));
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	ASSERT_GE(op, 0);
	*ret_tfm = tfm;
	return op;
}

/* The message of one encryption. */
struct alg_msg {
	struct msghdr hdr;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(uint32_t))];
	} control;
};

static void alg_msg_init(struct alg_msg *m, const void *in, size_t len)
{
	uint32_t encrypt = ALG_OP_ENCRYPT;
	struct cmsghdr *c;

	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){ (void *)(uintptr_t)in, len };
	m->hdr = (struct msghdr){ .msg_iov = &m->iov,
				  .msg_iovlen = 1,
				  .msg_control = &m->control,
				  .msg_controllen = sizeof(m->control) };
	c = CMSG_FIRSTHDR(&m->hdr);
	*c = (struct cmsghdr){ CMSG_LEN(sizeof(encrypt)), SOL_ALG, ALG_SET_OP };
	memcpy(CMSG_DATA(c), &encrypt, sizeof(encrypt));
}

static int afalg_exchange(struct ring *ring, int op_fd, const void *in, size_t in_len, void *out,
			  size_t out_len)
{
	struct probe p = PROBE;
	struct alg_msg m;

	alg_msg_init(&m, in, in_len);
	ring_exchange(ring, &p.op, op_fd, &m.hdr, out, out_len);
	turn_until(ring, &p, 1);
	return p.res;
}

TEST_F(ring, exchange_afalg)
{
	uint8_t out[16] = { 0 };
	int tfm, op = afalg_op(&tfm);

	for (int i = 0; i < 3; i++) {
		memset(out, 0, sizeof(out));
		EXPECT_OK(afalg_exchange(self->ring, op, fips_in, 16, out, 16));
		EXPECT_MEMEQ(fips_out, 16, out, 16);
	}
	close(op);
	close(tfm);
}

TEST_F(ring, exchange_afalg_many_in_one_turn)
{
	enum { N = 24 };
	struct probe p[N];
	struct alg_msg m[N];
	uint8_t out[N][16];
	int tfm, op[N];

	op[0] = afalg_op(&tfm);
	for (int i = 0; i < N; i++) {
		p[i] = (struct probe)PROBE;
		if (i > 0)
			op[i] = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
		alg_msg_init(&m[i], fips_in, 16);
		ring_exchange(self->ring, &p[i].op, op[i], &m[i].hdr, out[i], 16);
	}
	ASSERT_OK(ring_turn(self->ring, false));
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(1, p[i].calls);
		EXPECT_OK(p[i].res);
		EXPECT_MEMEQ(fips_out, 16, out[i], 16);
		close(op[i]);
	}
	close(tfm);
}

TEST_F(ring, exchange_afalg_largest_run)
{
	enum { BLOCKS = 4096 };
	_cleanup_free_ uint8_t *in = calloc(BLOCKS, 16), *out = calloc(BLOCKS, 16);
	int tfm, op = afalg_op(&tfm);

	ASSERT_TRUE(in && out);
	for (size_t i = 0; i < BLOCKS; i++)
		memcpy(in + 16 * i, fips_in, 16);
	EXPECT_OK(afalg_exchange(self->ring, op, in, BLOCKS * 16, out, BLOCKS * 16));
	for (size_t i = 0; i < BLOCKS; i++)
		ASSERT_MEMEQ(fips_out, 16, out + 16 * i, 16);
	close(op);
	close(tfm);
}

/* A blocking call would wait for ever on each of these (kernel facts, traps). */
TEST_F(ring, exchange_afalg_never_waits)
{
	size_t size = 8U << 20;
	_cleanup_free_ uint8_t *big = calloc(1, size);
	struct probe p = PROBE;
	struct alg_msg m;
	uint8_t out[32];
	int tfm, op = afalg_op(&tfm), r;

	ASSERT_NOT_NULL(big);
	EXPECT_ERR(-EIO, afalg_exchange(self->ring, op, big, size, out, 16)); /* short send */
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	EXPECT_ERR(-EIO, afalg_exchange(self->ring, op, fips_in, 16, out, 32)); /* short answer */
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	r = afalg_exchange(self->ring, op, fips_in, 15, out, 15); /* no whole block */
	EXPECT_LT(r, 0);
	close(op);
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	alg_msg_init(&m, fips_in, 16);
	CMSG_FIRSTHDR(&m.hdr)->cmsg_type = 99; /* the send fails */
	ring_exchange(self->ring, &p.op, op, &m.hdr, out, 16);
	turn_until(self->ring, &p, 1);
	EXPECT_ERR(-EINVAL, p.res);
	close(op);
	close(tfm);
}

TEST_HARNESS_MAIN
