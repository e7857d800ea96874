/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of shares, on a bound of two levels as connections and calls have it. */
#include "daemon/base/share.h"

#include "tests/harness/ktest.h"

#define MAX   8192U
#define USERS 12
#define SMALL (MAX / 64)

/* Take one at a time until it is refused; how many @s holds then. */
static size_t take_all(struct share *s)
{
	while (share_take(s, 1))
		;
	return s->used;
}

TEST(whole)
{
	struct share whole = { .max = 3 };

	EXPECT_EQ(3, share_room(&whole));
	EXPECT_FALSE(share_take(&whole, 4));
	EXPECT_TRUE(share_take(&whole, 3));
	EXPECT_FALSE(share_take(&whole, 1));
	share_give(&whole, 2);
	EXPECT_EQ(1, whole.used);
	EXPECT_EQ(2, share_room(&whole));
}

/* A bound that is lower than what is held, as after a change, has no room. */
TEST(lowered_bound)
{
	struct share whole = { .max = 3, .used = 5 };

	EXPECT_EQ(0, share_room(&whole));
}

/* Three eighths; and a seventh for one connection, as long as there is no other. */
TEST(one_greedy)
{
	struct share whole = { .max = MAX }, user = { .above = &whole };
	struct share connection = { .above = &user };
	size_t n;

	n = take_all(&connection);
	EXPECT_LE(MAX / 8, n);
	EXPECT_GE(MAX / 7, n);
	EXPECT_EQ(n, user.used);
	EXPECT_EQ(3 * MAX / 8, take_all(&user));
	EXPECT_EQ(3 * MAX / 8, whole.used);
}

static bool roughly(size_t expected, size_t seen)
{
	return EXPECT_LE(expected - 1, seen) && EXPECT_GE(expected + 1, seen);
}

/* At once they get the same; whoever comes next gets something all the same. */
TEST(many_greedy_at_once)
{
	struct share whole = { .max = MAX }, users[USERS], next = { .above = &whole };

	for (size_t i = 0; i < USERS; i++)
		users[i] = (struct share){ .above = &whole };
	for (size_t turn = 0; turn < MAX; turn++)
		for (size_t i = 0; i < USERS; i++)
			share_take(&users[i], 1);
	for (size_t i = 0; i < USERS; i++)
		roughly(3 * MAX / 4 / (USERS + 1), users[i].used);
	EXPECT_LE(SMALL, take_all(&next));
}

/* One after the other, the first get most and the reserve is for the others. */
TEST(many_greedy_one_after_the_other)
{
	struct share whole = { .max = MAX }, users[USERS], next = { .above = &whole };

	for (size_t i = 0; i < USERS; i++) {
		users[i] = (struct share){ .above = &whole };
		EXPECT_LE(SMALL, take_all(&users[i]));
	}
	EXPECT_EQ(SMALL, take_all(&next));
}

/* The connections of one user share what is the user's; other users are not concerned. */
TEST(many_greedy_connections)
{
	struct share whole = { .max = MAX }, user = { .above = &whole },
		     other = { .above = &whole };
	struct share connections[USERS], next = { .above = &user };

	for (size_t i = 0; i < USERS; i++) {
		connections[i] = (struct share){ .above = &user };
		EXPECT_LT(0, take_all(&connections[i]));
	}
	EXPECT_GE(3 * MAX / 8, user.used);
	EXPECT_TRUE(share_take(&next, 1));
	EXPECT_LE(MAX / 6, take_all(&other));
}

TEST(the_last_one_is_for_who_has_none)
{
	struct share whole = { .max = 1 }, a = { .above = &whole }, b = { .above = &whole };

	EXPECT_TRUE(share_take(&a, 1));
	EXPECT_FALSE(share_take(&b, 1));
	share_give(&a, 1);
	EXPECT_TRUE(share_take(&b, 1));
	whole.max = 2;
	EXPECT_FALSE(share_take(&b, 1));
	EXPECT_TRUE(share_take(&a, 1));
}

TEST_HARNESS_MAIN
