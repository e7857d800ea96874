// SPDX-License-Identifier: Apache-2.0
/*
 * How many requests are under way, against servers that are a formula: one that answers @busy at once in a
 * millisecond each, and makes what is more wait.
 */
#include "daemon/ctl/pace.h"
#include "tests/harness/ktest.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

/* @rounds answers for each that may be under way. */
static void serve(struct pace *p, unsigned int busy, unsigned int rounds)
{
	for (unsigned int i = 0; i < 4 * rounds; i++) {
		unsigned int flying = p->window;
		uint64_t took = flying > busy ? MS * 20 * flying / busy : MS * 20;

		for (unsigned int k = 1; k <= flying; k++)
			pace_begun(p, k, 0);
		for (unsigned int k = 0; k < flying; k++)
			pace_answered(p, took);
	}
}

TEST(grows_while_nothing_waits)
{
	struct pace p;

	pace_init(&p, 64, 0);
	serve(&p, 1000, 10);
	EXPECT_EQ(p.window, 64U);
}

TEST(settles_where_a_queue_begins)
{
	struct pace p;

	pace_init(&p, 64, 0);
	serve(&p, 8, 50);
	EXPECT_GE(p.window, 8U);
	EXPECT_LE(p.window, 32U);
}

TEST(a_server_that_becomes_slow)
{
	struct pace p;

	pace_init(&p, 64, 0);
	serve(&p, 1000, 10);
	serve(&p, 4, 50);
	EXPECT_LE(p.window, 12U);
	serve(&p, 1000, 200);
	EXPECT_EQ(p.window, 64U);
}

/* Not even over hours is a queue that was always there taken for the server's speed. */
TEST(does_not_get_used_to_a_queue)
{
	struct pace p;

	pace_init(&p, 64, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		serve(&p, 8, 50);
		ASSERT_LE(p.window, 32U);
	}
	EXPECT_LE(p.best, 20 * MS);
}

TEST(trouble_halves_and_many_at_once_are_one)
{
	struct pace p;

	pace_init(&p, 64, 0);
	serve(&p, 1000, 10);
	for (unsigned int i = 0; i < 64; i++)
		pace_trouble(&p, 10 * SECOND + i);
	EXPECT_EQ(p.window, 32U);
	for (unsigned int i = 0; i < 10; i++)
		pace_trouble(&p, (11 + i) * SECOND);
	EXPECT_EQ(p.window, 1U);
	EXPECT_TRUE(pace_may(&p, 0, 30 * SECOND));
	EXPECT_FALSE(pace_may(&p, 1, 30 * SECOND));
}

/* However late it is asked, and however long nothing was to be done. */
TEST(never_more_than_the_rate)
{
	unsigned int begun = 0, after = 0;
	struct pace p;

	pace_init(&p, 64, 300);
	for (uint64_t t = SECOND; t < 3 * SECOND; t += MS / 3)
		if ((t / MS) % 40 > 1 && pace_may(&p, 0, t)) {
			pace_begun(&p, 1, t);
			begun++;
		}
	EXPECT_LE(begun, 601U);
	EXPECT_GE(begun, 500U);
	for (uint64_t t = 60 * SECOND; t < 61 * SECOND; t += MS / 3)
		if (pace_may(&p, 0, t)) {
			pace_begun(&p, 1, t);
			after++;
		}
	EXPECT_LE(after, 301U);
}

/* Fewer under way than may be, as a rate is kept, say nothing about more. */
TEST(does_not_grow_unused)
{
	struct pace p;

	pace_init(&p, 64, 0);
	for (unsigned int i = 0; i < 1000; i++) {
		pace_begun(&p, 1, 0);
		pace_answered(&p, 20 * MS);
	}
	EXPECT_EQ(p.window, 4U);
}

TEST_HARNESS_MAIN
