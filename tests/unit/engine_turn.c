/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a turn costs: a lone run is offered to be answered at once, several runs are not, and over
 * AF_ALG the first is two system calls and the others are one. By counters, never by time.
 */
#include <errno.h>
#include <string.h>

#include "tests/harness/ktest.h"
#include "tests/support/cipher_bed.h"

#define MSGS 64

static const uint8_t key_a[32] = "a public key for the tests only";

FIXTURE(turn)
{
	struct bed bed;
	struct prng prng;
	struct msg msg[MSGS];
	unsigned int n;
};

FIXTURE_SETUP(turn)
{
	struct engine_config config = bed_config();

	self->prng.state = 7;
	ASSERT_OK(bed_open(&self->bed, BED_FAKE, &config));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(i, bed_add_key(&self->bed, key_a, sizeof(key_a)));
		self->bed.fakes[i]->prompt = true;
	}
}

FIXTURE_TEARDOWN(turn)
{
	bed_close(&self->bed);
	for (unsigned int i = 0; i < self->n; i++)
		msg_free(&self->msg[i]);
}

static struct msg *submit(struct ktest_data_of_turn *self, unsigned int key, enum engine_mode mode,
			  size_t len)
{
	struct msg *m = &self->msg[self->n++];

	msg_random(m, &self->prng, self->bed.keys[key], key_a, sizeof(key_a), mode, len, 21);
	ASSERT_OK(engine_submit(self->bed.engine, &m->job));
	return m;
}

static bool all_right(const struct ktest_data_of_turn *self)
{
	for (unsigned int i = 0; i < self->n; i++)
		if (!msg_right(&self->msg[i]))
			return false;
	return true;
}

/* Never from submit, but with the flush. */
TEST_F(turn, lone_run_is_answered_in_its_flush)
{
	struct msg *m = submit(self, 0, ENGINE_GCM_SEAL, 32);

	EXPECT_EQ(0, m->called);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	EXPECT_TRUE(msg_right(m));
	EXPECT_TRUE(engine_idle(self->bed.engine));
}

/* Many messages are one run too. */
TEST_F(turn, lone_run_of_many)
{
	for (int i = 0; i < MSGS; i++)
		submit(self, 0, i % 2 ? ENGINE_GCM_OPEN : ENGINE_GCM_SEAL, 48);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	EXPECT_TRUE(all_right(self));
	EXPECT_EQ(1, self->bed.fakes[0]->alone);
}

TEST_F(turn, lone_run_is_wiped)
{
	static const uint8_t zeros[3 * KEKD_AES_BLOCK];

	submit(self, 0, ENGINE_GCM_SEAL, 20);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	ASSERT_NOT_NULL(self->bed.fakes[0]->last_out);
	EXPECT_MEMEQ(zeros, sizeof(zeros), self->bed.fakes[0]->last_out, sizeof(zeros));
}

/* They are to go in one crossing, all of them. */
TEST_F(turn, runs_of_several_keys_are_not_alone)
{
	for (unsigned int i = 0; i < 3; i++)
		submit(self, i, ENGINE_GCM_SEAL, 32);
	engine_flush(self->bed.engine);
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_EQ(1, self->bed.fakes[i]->started);
		EXPECT_EQ(0, self->bed.fakes[i]->alone);
		EXPECT_EQ(0, self->msg[i].called);
	}
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(all_right(self));
}

TEST_F(turn, runs_of_both_directions_are_not_alone)
{
	self->bed.fakes[0]->room = 2;
	submit(self, 0, ENGINE_GCM_SEAL, 32);
	submit(self, 0, ENGINE_CBC_DECRYPT, 32);
	engine_flush(self->bed.engine);
	EXPECT_EQ(2, self->bed.fakes[0]->started);
	EXPECT_EQ(0, self->bed.fakes[0]->alone);
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(all_right(self));
}

/* While another run is in flight its answer would be waited for anyway. */
TEST_F(turn, not_alone_beside_one_in_flight)
{
	self->bed.fakes[0]->prompt = false;
	submit(self, 0, ENGINE_GCM_SEAL, 32);
	engine_flush(self->bed.engine);
	EXPECT_EQ(1, self->bed.fakes[0]->alone);
	submit(self, 1, ENGINE_GCM_SEAL, 32);
	engine_flush(self->bed.engine);
	EXPECT_EQ(0, self->bed.fakes[1]->alone);
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(all_right(self));
}

/* A chain of lone runs does not keep the loop from its sockets. */
TEST_F(turn, answers_at_once_are_bounded)
{
	submit(self, 0, ENGINE_CBC_ENCRYPT, (size_t)100 * KEKD_AES_BLOCK);
	engine_flush(self->bed.engine);
	EXPECT_EQ(ENGINE_TURN_DIRECT, self->bed.fakes[0]->alone);
	EXPECT_EQ(ENGINE_TURN_DIRECT + 1, self->bed.fakes[0]->started);
	EXPECT_EQ(0, self->msg[0].called);
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(all_right(self));
}

TEST_F(turn, broken_at_once_is_tried_again)
{
	struct engine_stats stats;
	struct msg *m;

	self->bed.fakes[0]->finished = 1;
	self->bed.fakes[0]->fail_every = 2;
	self->bed.fakes[0]->fail_with = -EIO;
	m = submit(self, 0, ENGINE_GCM_OPEN, 32);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	engine_stats(self->bed.engine, &stats);
	EXPECT_EQ(1, stats.broken);
	EXPECT_TRUE(msg_right(m));
}

static void remove_key(struct msg *m)
{
	bed_remove_key(m->context, 0);
}

TEST_F(turn, callback_removes_the_key_that_answered_at_once)
{
	struct msg *m = submit(self, 0, ENGINE_GCM_SEAL, 32);

	m->then = remove_key;
	m->context = &self->bed;
	EXPECT_FALSE(engine_flush(self->bed.engine));
	EXPECT_TRUE(msg_right(m));
	EXPECT_TRUE(self->bed.gone[0]);
}

/* The same over op sockets: what the kernel is asked. */

FIXTURE(crossing)
{
	struct bed bed;
	struct prng prng;
	struct msg msg[MSGS];
	unsigned int n;
	struct ring_stats before;
};

#define KEYS 8

FIXTURE_SETUP(crossing)
{
	struct engine_config config = bed_config();

	SKIP_UNLESS("afalg", bed_kernel_serves(), "no AF_ALG with keys by serial here");
	self->prng.state = 7;
	ASSERT_OK(bed_open(&self->bed, BED_KERNEL, &config));
	for (int i = 0; i < KEYS; i++)
		ASSERT_EQ(i, bed_add_key(&self->bed, key_a, sizeof(key_a)));
	ring_stats(self->bed.ring, &self->before);
}

FIXTURE_TEARDOWN(crossing)
{
	bed_close(&self->bed);
	for (unsigned int i = 0; i < self->n; i++)
		msg_free(&self->msg[i]);
}

static struct msg *crossing_submit(struct ktest_data_of_crossing *self, int key,
				   enum engine_mode mode)
{
	struct msg *m = &self->msg[self->n++];

	msg_random(m, &self->prng, self->bed.keys[key], key_a, sizeof(key_a), mode, 32, 21);
	ASSERT_OK(engine_submit(self->bed.engine, &m->job));
	return m;
}

static void expect_all_right(const struct ktest_data_of_crossing *self)
{
	for (unsigned int i = 0; i < self->n; i++)
		EXPECT_TRUE(msg_right(&self->msg[i]));
}

/* Two plain calls, no turn of the loop; the op socket remembers the direction. */
TEST_F(crossing, lone_message)
{
	struct ring_stats after;

	for (int i = 0; i < 4; i++) {
		crossing_submit(self, 0, i % 2 ? ENGINE_GCM_OPEN : ENGINE_GCM_SEAL);
		EXPECT_FALSE(engine_flush(self->bed.engine));
	}
	expect_all_right(self);
	ring_stats(self->bed.ring, &after);
	EXPECT_EQ(4, after.direct - self->before.direct);
	EXPECT_EQ(0, after.submissions - self->before.submissions);
	EXPECT_EQ(0, after.enters - self->before.enters);
}

/* One io_uring_enter for the runs of all keys; epoll's twin makes two calls for each. */
TEST_F(crossing, many_keys)
{
	struct ring_stats after;

	for (int i = 0; i < MSGS; i++)
		crossing_submit(self, i % KEYS, i % 3 ? ENGINE_GCM_OPEN : ENGINE_GCM_SEAL);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	ASSERT_OK(ring_turn(self->bed.ring, false));
	engine_flush(self->bed.engine);
	expect_all_right(self);
	ring_stats(self->bed.ring, &after);
	EXPECT_EQ(0, after.direct - self->before.direct);
	EXPECT_EQ(KEYS, after.submissions - self->before.submissions);
	EXPECT_EQ(KEYS, after.completions - self->before.completions);
	EXPECT_EQ(strcmp(ring_name(self->bed.ring), "io_uring") == 0 ? 1 : 2 * KEYS + 1,
		  after.enters - self->before.enters);
}

/* Each direction told once on a socket; changing it tells it again. */
TEST_F(crossing, directions_in_turn)
{
	static const enum engine_mode modes[] = {
		ENGINE_GCM_SEAL,    ENGINE_GCM_SEAL,    ENGINE_CBC_DECRYPT, ENGINE_CBC_DECRYPT,
		ENGINE_CBC_ENCRYPT, ENGINE_CBC_DECRYPT, ENGINE_GCM_OPEN,
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		crossing_submit(self, 0, modes[i]);
		ASSERT_LT(0, bed_run(&self->bed));
	}
	expect_all_right(self);
}

TEST_HARNESS_MAIN
