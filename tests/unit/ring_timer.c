/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's timers: order, cancelling, and that they starve nobody.
 */
#include "tests/unit/ring_probe.h"

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

/* A turn does not sleep on a result that is there already. */
TEST_F(ring, timer_cancelled_alone)
{
	struct probe p = PROBE;

	ring_timer(self->ring, &p.op, UINT64_MAX);
	ASSERT_OK(ring_turn(self->ring, true));
	ring_cancel(self->ring, &p.op);
	ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_EQ(1, p.calls);
	EXPECT_ERR(-ECANCELED, p.res);
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

TEST_HARNESS_MAIN
