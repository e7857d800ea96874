/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of deadlines, which the ring and everything on the wire use: what comes out, and when, however
 * it was filled, moved about and thinned out.
 */
#include "tests/harness/ktest.h"

#include "daemon/base/cleanup.h"
#include "daemon/base/timeq.h"
#include "tests/support/prng.h"

#define NODES 300

struct item {
	struct timeq_node node;
	uint64_t set; /* in which order it was; 0: not queued */
};

struct bed {
	struct timeq q;
	struct item items[NODES];
	uint64_t sets;
};

static void bed_set(struct bed *b, size_t i, uint64_t when)
{
	timeq_set(&b->q, &b->items[i].node, when);
	b->items[i].set = ++b->sets;
}

static void bed_clear(struct bed *b, size_t i)
{
	timeq_clear(&b->q, &b->items[i].node);
	b->items[i].set = 0;
}

/* The one that has to come out next, found the slow way. */
static struct item *earliest(struct bed *b)
{
	struct item *best = NULL;

	for (size_t i = 0; i < NODES; i++) {
		struct item *it = &b->items[i];

		EXPECT_EQ(it->set != 0, timeq_queued(&it->node));
		if (it->set != 0 && (!best || it->node.when < best->node.when ||
				     (it->node.when == best->node.when && it->set < best->set)))
			best = it;
	}
	return best;
}

/* Take one out, as of @now. */
static void bed_take(struct bed *b, uint64_t now)
{
	struct item *due = earliest(b);
	struct timeq_node *node;

	EXPECT_EQ(due ? due->node.when : 0, timeq_next(&b->q));
	node = timeq_take(&b->q, now);
	if (!due || due->node.when > now) {
		EXPECT_NULL(node);
		return;
	}
	ASSERT_EQ(&due->node, node);
	EXPECT_FALSE(timeq_queued(node));
	due->set = 0;
}

/* Few times for many nodes, so that many are equal. */
TEST(takes_the_earliest_whatever_was_done)
{
	static struct bed b;
	struct prng p = { 3 };

	for (size_t round = 0; round < 20000; round++) {
		uint8_t r[4];
		size_t i;

		prng_bytes(&p, r, sizeof(r));
		i = (r[1] | (size_t)r[2] << 8) % NODES;
		if (r[0] < 120)
			bed_set(&b, i, 1 + r[3] % 40);
		else if (r[0] < 190)
			bed_clear(&b, i);
		else
			bed_take(&b, r[3] % 40);
	}
	while (earliest(&b))
		bed_take(&b, UINT64_MAX);
	EXPECT_EQ(0, timeq_next(&b.q));
	EXPECT_NULL(timeq_take(&b.q, UINT64_MAX));
}

static void never(struct timeq_node *node _unused_)
{
	ktest_log("it fired");
	abort();
}

TEST(cleared_does_not_fire)
{
	struct timeq_node a = { .fire = never }, b = { .fire = never };
	struct timeq q = { 0 };

	timeq_clear(&q, &a);
	timeq_set(&q, &a, 1);
	timeq_set(&q, &b, 2);
	timeq_clear(&q, &a);
	timeq_clear(&q, &a);
	EXPECT_FALSE(timeq_queued(&a));
	timeq_expire(&q, 1);
	EXPECT_TRUE(timeq_queued(&b));
	EXPECT_EQ(2, timeq_next(&q));
}

static struct {
	struct timeq q;
	struct timeq_node a, b, c;
	unsigned int fired;
} live;

static void fire_a(struct timeq_node *node)
{
	EXPECT_EQ(&live.a, node);
	EXPECT_FALSE(timeq_queued(node));
	live.fired++;
	timeq_clear(&live.q, &live.b);
	timeq_set(&live.q, &live.c, 1);
	timeq_set(&live.q, &live.a, 10);
}

static void fire_c(struct timeq_node *node)
{
	EXPECT_EQ(&live.c, node);
	live.fired++;
}

/* What fires may take out the next one, bring another forward, and queue itself again. */
TEST(callbacks_may_change_all)
{
	live.a.fire = fire_a;
	live.b.fire = never;
	live.c.fire = fire_c;
	timeq_set(&live.q, &live.c, 20);
	timeq_set(&live.q, &live.a, 1);
	timeq_set(&live.q, &live.b, 2);
	timeq_expire(&live.q, 5);
	EXPECT_EQ(2, live.fired);
	EXPECT_EQ(10, timeq_next(&live.q));
	EXPECT_FALSE(timeq_queued(&live.c));
}

TEST_HARNESS_MAIN
