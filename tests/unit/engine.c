/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's promises: what runs carry, who waits for whom, and how jobs end when something goes
 * wrong. Against a backend that answers when told. That the bytes are right in every mode, length and
 * batch: engine_vectors.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crypto/selftest.h"
#include "tests/harness/ktest.h"
#include "tests/support/cipher_bed.h"

#define MSGS 600

static const uint8_t key_a[32] = "a public key for the tests only";
static const uint8_t key_b[32] = "another public key of the tests";

FIXTURE(engine)
{
	struct bed bed;
	struct prng prng;
	struct engine *engine;
	struct engine_key *key;
	struct fake_block *fake;
	struct msg msg[MSGS];
	unsigned int n;
};

FIXTURE_SETUP(engine)
{
	struct engine_config config = bed_config();

	config.jobs_max = MSGS;
	self->prng.state = 42;
	ASSERT_OK(bed_open(&self->bed, BED_FAKE, &config));
	ASSERT_EQ(0, bed_add_key(&self->bed, key_a, sizeof(key_a)));
	self->engine = self->bed.engine;
	self->key = self->bed.keys[0];
	self->fake = self->bed.fakes[0];
}

FIXTURE_TEARDOWN(engine)
{
	bed_close(&self->bed);
	for (unsigned int i = 0; i < self->n; i++)
		msg_free(&self->msg[i]);
}

/* Another bed of the fixture's, with the configuration changed. */
static void rebed(struct ktest_data_of_engine *self, const struct engine_config *config)
{
	bed_close(&self->bed);
	ASSERT_OK(bed_open(&self->bed, BED_FAKE, config));
	ASSERT_EQ(0, bed_add_key(&self->bed, key_a, sizeof(key_a)));
	self->engine = self->bed.engine;
	self->key = self->bed.keys[0];
	self->fake = self->bed.fakes[0];
}

static struct msg *message(struct ktest_data_of_engine *self, enum engine_mode mode, size_t len)
{
	struct msg *m = &self->msg[self->n++];

	msg_random(m, &self->prng, self->key, key_a, sizeof(key_a), mode, len, 21);
	return m;
}

static struct msg *submit(struct ktest_data_of_engine *self, enum engine_mode mode, size_t len)
{
	struct msg *m = message(self, mode, len);

	EXPECT_OK(engine_submit(self->engine, &m->job));
	return m;
}

static struct engine_stats stats(struct ktest_data_of_engine *self)
{
	struct engine_stats s;

	engine_stats(self->engine, &s);
	return s;
}

/* A run that is over. */
static void warm_up(struct ktest_data_of_engine *self)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 0);

	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, many_messages_one_run)
{
	struct msg *first = &self->msg[0];

	for (unsigned int i = 0; i < 500; i++)
		submit(self, i % 2 ? ENGINE_GCM_OPEN : ENGINE_GCM_SEAL, 32);
	EXPECT_EQ(0, self->fake->started);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(1, self->fake->started);
	EXPECT_EQ(500 * 3 + 1, self->fake->last_blocks); /* J0 and two counters each; H */
	EXPECT_EQ(0, first->called);
	EXPECT_TRUE(fake_block_finish(self->fake));
	EXPECT_EQ(0, first->called);
	EXPECT_FALSE(engine_flush(self->engine));
	for (unsigned int i = 0; i < 500; i++)
		ASSERT_TRUE(msg_right(&self->msg[i]));
	EXPECT_EQ(500, stats(self).jobs);
	EXPECT_EQ(1, stats(self).runs);
	EXPECT_EQ(1501, stats(self).blocks);
}

TEST_F(engine, lone_message_waits_for_nobody)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_flush(self->engine);
	EXPECT_EQ(4, self->fake->last_blocks);
	EXPECT_TRUE(fake_block_finish(self->fake));
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, each_run_fetches_h)
{
	warm_up(self);
	submit(self, ENGINE_GCM_SEAL, 32);
	engine_flush(self->engine);
	EXPECT_EQ(4, self->fake->last_blocks);
}

TEST_F(engine, cbc_needs_no_h)
{
	submit(self, ENGINE_CBC_ENCRYPT, 64);
	engine_flush(self->engine);
	EXPECT_EQ(1, self->fake->last_blocks);
}

/* Two runs that both carry the zero block, answered in the other order. */
TEST_F(engine, answers_out_of_order)
{
	struct msg *a, *b;

	self->fake->room = 2;
	a = submit(self, ENGINE_GCM_SEAL, 100);
	engine_flush(self->engine);
	b = submit(self, ENGINE_GCM_OPEN, 50);
	engine_flush(self->engine);
	EXPECT_EQ(2, self->fake->flights);
	EXPECT_TRUE(fake_block_answer(self->fake, 1, 0));
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(b));
	EXPECT_EQ(0, a->called);
	EXPECT_TRUE(fake_block_finish(self->fake));
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(a));
}

TEST_F(engine, keys_fly_together)
{
	struct msg *a, *b;

	ASSERT_EQ(1, bed_add_key(&self->bed, key_b, sizeof(key_b)));
	a = submit(self, ENGINE_GCM_SEAL, 32);
	b = &self->msg[self->n++];
	msg_random(b, &self->prng, self->bed.keys[1], key_b, sizeof(key_b), ENGINE_GCM_SEAL, 32, 0);
	ASSERT_OK(engine_submit(self->engine, &b->job));
	engine_flush(self->engine);
	EXPECT_EQ(1, self->bed.fakes[0]->flights);
	EXPECT_EQ(1, self->bed.fakes[1]->flights);
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(msg_right(a));
	EXPECT_TRUE(msg_right(b));
}

TEST_F(engine, room_is_respected_and_noticed)
{
	struct msg *m;

	self->fake->room = 0;
	m = submit(self, ENGINE_GCM_SEAL, 32);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(0, self->fake->started);
	self->fake->room = 1;
	engine_flush(self->engine);
	EXPECT_EQ(1, self->fake->started);
	submit(self, ENGINE_GCM_SEAL, 32);
	submit(self, ENGINE_CBC_DECRYPT, 32);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(1, self->fake->flights);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, directions_do_not_mix)
{
	self->fake->room = 2;
	submit(self, ENGINE_CBC_DECRYPT, 64);
	submit(self, ENGINE_CBC_ENCRYPT, 64);
	engine_flush(self->engine);
	EXPECT_EQ(2, self->fake->started);
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_TRUE(msg_right(&self->msg[0]));
	EXPECT_TRUE(msg_right(&self->msg[1]));
}

TEST_F(engine, cbc_encrypts_in_lock_step)
{
	for (unsigned int i = 0; i < 50; i++)
		submit(self, ENGINE_CBC_ENCRYPT, 64);
	bed_run(&self->bed);
	EXPECT_EQ(4, self->fake->started);
	EXPECT_EQ(50, self->fake->last_blocks);
	for (unsigned int i = 0; i < 50; i++)
		ASSERT_TRUE(msg_right(&self->msg[i]));
}

TEST_F(engine, cbc_of_nothing_ends_later)
{
	struct msg *m = submit(self, ENGINE_CBC_DECRYPT, 0);

	EXPECT_EQ(0, m->called);
	engine_flush(self->engine);
	EXPECT_EQ(0, self->fake->started);
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, impossible_jobs)
{
	struct msg *m = message(self, ENGINE_CBC_ENCRYPT, 64);

	m->job.in.len = 63;
	EXPECT_ERR(-EINVAL, engine_submit(self->engine, &m->job));
	m->job.in.len = 64;
	m->job.in.data = m->job.out + 16;
	EXPECT_ERR(-EINVAL, engine_submit(self->engine, &m->job));
	m->job.in.data = m->job.out - 63;
	EXPECT_ERR(-EINVAL, engine_submit(self->engine, &m->job));
	m->job.in.data = m->job.out;
	m->job.in.len = KEKD_VALUE_MAX + 16;
	EXPECT_ERR(-EMSGSIZE, engine_submit(self->engine, &m->job));
	m->job.in.len = 64;
	m->job.aad.len = KEKD_VALUE_MAX + 1;
	EXPECT_ERR(-EMSGSIZE, engine_submit(self->engine, &m->job));
	m->job.aad.len = 0;
	m->job.mode = ENGINE_MODES;
	EXPECT_ERR(-EINVAL, engine_submit(self->engine, &m->job));
	EXPECT_EQ(0, stats(self).queued);
	m->job.mode = ENGINE_CBC_DECRYPT;
	EXPECT_OK(engine_submit(self->engine, &m->job));
	EXPECT_ERR(-EBUSY, engine_submit(self->engine, &m->job));
	bed_run(&self->bed);
	EXPECT_EQ(1, m->called);
}

TEST_F(engine, queue_is_bounded_by_count)
{
	struct engine_config config = bed_config();
	struct msg *m;

	config.jobs_max = 3;
	rebed(self, &config);
	for (unsigned int i = 0; i < 3; i++)
		submit(self, ENGINE_GCM_SEAL, 32);
	m = message(self, ENGINE_GCM_SEAL, 32);
	EXPECT_ERR(-ENOBUFS, engine_submit(self->engine, &m->job));
	engine_flush(self->engine);
	EXPECT_ERR(-ENOBUFS, engine_submit(self->engine, &m->job));
	fake_block_finish(self->fake);
	EXPECT_ERR(-ENOBUFS, engine_submit(self->engine, &m->job));
	engine_flush(self->engine);
	EXPECT_OK(engine_submit(self->engine, &m->job));
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, queue_is_bounded_by_bytes)
{
	struct engine_config config = bed_config();
	struct msg *a, *b;

	config.bytes_max = 100 + 21 + 99 + 21;
	rebed(self, &config);
	a = submit(self, ENGINE_GCM_SEAL, 100);
	b = message(self, ENGINE_GCM_SEAL, 100);
	EXPECT_ERR(-ENOBUFS, engine_submit(self->engine, &b->job));
	b->job.in.len = 99;
	EXPECT_OK(engine_submit(self->engine, &b->job));
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(a));
	EXPECT_EQ(0, b->result);
	EXPECT_OK(engine_submit(self->engine, &b->job));
	bed_run(&self->bed);
	EXPECT_EQ(2, b->called);
}

static void bad_tag(struct ktest_data_of_engine *self, size_t len, size_t bit)
{
	struct msg *m = message(self, ENGINE_GCM_OPEN, len);
	uint8_t *before = malloc(len + 1);

	ASSERT_NOT_NULL(before);
	m->job.tag[bit / 8] ^= (uint8_t)(1U << (bit % 8));
	memcpy(before, msg_out(m), len);
	ASSERT_OK(engine_submit(self->engine, &m->job));
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_EQ(1, m->called);
	EXPECT_ERR(-EBADMSG, m->result);
	EXPECT_MEMEQ(before, len, msg_out(m), len);
	free(before);
}

/* Every bit of the tag counts, and nothing is written, in place or not, in one run or several. */
TEST_F(engine, bad_tag_leaves_out_untouched)
{
	for (size_t bit = 0; bit < 128; bit++)
		bad_tag(self, bit % 50, bit);
	for (unsigned int i = 0; i < 4; i++)
		bad_tag(self, 200000, i);
	EXPECT_EQ(0, stats(self).errors);
}

TEST_F(engine, changed_text_aad_or_nonce)
{
	struct msg *m[3];

	for (unsigned int i = 0; i < 3; i++)
		m[i] = message(self, ENGINE_GCM_OPEN, 40);
	m[0]->text[39] ^= 1;
	m[1]->aad[0] ^= 0x80;
	m[2]->job.iv[11] ^= 1;
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_OK(engine_submit(self->engine, &m[i]->job));
	bed_run(&self->bed);
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_ERR(-EBADMSG, m[i]->result);
		EXPECT_TRUE(msg_untouched(m[i]));
	}
}

TEST_F(engine, run_buffers_are_wiped)
{
	submit(self, ENGINE_GCM_SEAL, 1000);
	submit(self, ENGINE_GCM_OPEN, 300);
	submit(self, ENGINE_CBC_DECRYPT, 320);
	submit(self, ENGINE_CBC_ENCRYPT, 32);
	self->fake->fail_every = 3;
	self->fake->fail_with = -EIO;
	bed_run(&self->bed);
	EXPECT_FALSE(self->fake->dirty);
	for (unsigned int i = 0; i < 4; i++)
		EXPECT_TRUE(msg_right(&self->msg[i]));
}

/* E_K(J0) and the hash of a large message stay in the job between its runs, and no longer. */
TEST_F(engine, job_is_wiped)
{
	static const uint8_t zero[KEKD_AES_BLOCK];
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 200000);

	engine_flush(self->engine);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_NE(0, memcmp(zero, m->job.priv.chain, sizeof(zero)));
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(m));
	EXPECT_MEMEQ(zero, sizeof(zero), m->job.priv.chain, sizeof(zero));
	EXPECT_MEMEQ(zero, sizeof(zero), m->job.priv.hash, sizeof(zero));
}

TEST_F(engine, cancel_queued)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32),
		   *other = submit(self, ENGINE_GCM_SEAL, 7);

	engine_cancel(self->engine, &m->job);
	engine_cancel(self->engine, &m->job);
	EXPECT_EQ(0, m->called);
	engine_flush(self->engine);
	EXPECT_EQ(1, m->called);
	EXPECT_ERR(-ECANCELED, m->result);
	EXPECT_TRUE(msg_untouched(m));
	EXPECT_EQ(3, self->fake->last_blocks);
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(other));
	EXPECT_EQ(1, m->called);
}

TEST_F(engine, cancel_the_only_one)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_cancel(self->engine, &m->job);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-ECANCELED, m->result);
	EXPECT_EQ(0, self->fake->started);
}

TEST_F(engine, cancel_in_flight)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32),
		   *other = submit(self, ENGINE_GCM_SEAL, 7);

	engine_flush(self->engine);
	engine_cancel(self->engine, &m->job);
	engine_flush(self->engine);
	EXPECT_EQ(0, m->called);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_EQ(1, m->called);
	EXPECT_ERR(-ECANCELED, m->result);
	EXPECT_TRUE(msg_untouched(m));
	EXPECT_TRUE(msg_right(other));
}

TEST_F(engine, cancel_between_runs)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 200000);

	engine_flush(self->engine);
	fake_block_finish(self->fake);
	engine_cancel(self->engine, &m->job); /* queued again, for its second run */
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(1, m->called);
	EXPECT_ERR(-ECANCELED, m->result);
	EXPECT_EQ(1, self->fake->started);
}

TEST_F(engine, cancel_of_a_failed_run)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_flush(self->engine);
	engine_cancel(self->engine, &m->job);
	fake_block_answer(self->fake, 0, -EIO);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-ECANCELED, m->result);
	EXPECT_EQ(1, self->fake->started);
}

TEST_F(engine, cancel_when_ended_changes_nothing)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_flush(self->engine);
	fake_block_finish(self->fake);
	engine_cancel(self->engine, &m->job);
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(m));
	engine_cancel(self->engine, &m->job);
	engine_flush(self->engine);
	EXPECT_EQ(1, m->called);
}

TEST_F(engine, deadline_in_the_queue)
{
	struct msg *late = message(self, ENGINE_GCM_SEAL, 32), *soon, *none;

	late->job.deadline_ns = 100;
	soon = message(self, ENGINE_CBC_DECRYPT, 32);
	soon->job.deadline_ns = 101;
	none = message(self, ENGINE_GCM_SEAL, 32);
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_OK(engine_submit(self->engine, &self->msg[i].job));
	bed_clock = 100;
	bed_run(&self->bed);
	EXPECT_ERR(-ETIME, late->result);
	EXPECT_TRUE(msg_untouched(late));
	EXPECT_TRUE(msg_right(soon));
	EXPECT_TRUE(msg_right(none));
}

TEST_F(engine, deadline_without_room)
{
	struct msg *m = message(self, ENGINE_GCM_SEAL, 32);

	self->fake->room = 0;
	m->job.deadline_ns = 100;
	EXPECT_OK(engine_submit(self->engine, &m->job));
	bed_clock = 99;
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(0, m->called);
	bed_clock = 100;
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-ETIME, m->result);
}

TEST_F(engine, deadline_in_flight_is_too_late)
{
	struct msg *m = message(self, ENGINE_GCM_SEAL, 32);

	m->job.deadline_ns = 100;
	EXPECT_OK(engine_submit(self->engine, &m->job));
	engine_flush(self->engine);
	bed_clock = 200;
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(m));
}

TEST_F(engine, removed_key_queued)
{
	struct msg *m;

	self->fake->room = 0;
	m = submit(self, ENGINE_GCM_SEAL, 32);
	bed_remove_key(&self->bed, 0);
	EXPECT_EQ(0, m->called);
	engine_flush(self->engine);
	EXPECT_ERR(-EKEYREVOKED, m->result);
	EXPECT_TRUE(msg_untouched(m));
	EXPECT_TRUE(self->bed.gone[0]);
}

TEST_F(engine, removed_key_in_flight)
{
	struct msg *small = submit(self, ENGINE_GCM_SEAL, 32);
	struct msg *large = submit(self, ENGINE_GCM_SEAL, 200000);

	engine_flush(self->engine);
	EXPECT_ERR(-EBUSY, engine_submit(self->engine, &small->job));
	bed_remove_key(&self->bed, 0);
	engine_flush(self->engine);
	EXPECT_FALSE(self->bed.gone[0]);
	EXPECT_FALSE(engine_idle(self->engine));
	EXPECT_EQ(0, small->called);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(small));
	EXPECT_ERR(-EKEYREVOKED, large->result);
	EXPECT_TRUE(self->bed.gone[0]);
	EXPECT_TRUE(engine_idle(self->engine));
}

TEST_F(engine, removed_key_and_a_broken_run)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_flush(self->engine);
	bed_remove_key(&self->bed, 0);
	fake_block_answer(self->fake, 0, -EIO);
	engine_flush(self->engine);
	EXPECT_ERR(-EKEYREVOKED, m->result);
	EXPECT_TRUE(self->bed.gone[0]);
}

TEST_F(engine, broken_run_is_tried_again)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32), *n = submit(self, ENGINE_GCM_OPEN, 99);

	engine_flush(self->engine);
	fake_block_answer(self->fake, 0, -EIO);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_EQ(2, self->fake->started);
	EXPECT_EQ(0, m->called);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(m));
	EXPECT_TRUE(msg_right(n));
	EXPECT_EQ(1, stats(self).broken);
	EXPECT_EQ(0, stats(self).errors);
}

TEST_F(engine, broken_twice)
{
	struct msg *m = submit(self, ENGINE_GCM_OPEN, 32);

	self->fake->fail_every = 1;
	self->fake->fail_with = -EIO;
	bed_run(&self->bed);
	EXPECT_ERR(-EIO, m->result);
	EXPECT_TRUE(msg_untouched(m));
	EXPECT_EQ(2, self->fake->started);
	EXPECT_EQ(1, stats(self).errors);
	EXPECT_EQ(2, stats(self).broken);
}

/* Each piece of a large message may break once. */
TEST_F(engine, every_other_run_breaks)
{
	self->fake->fail_every = 2;
	self->fake->fail_with = -EIO;
	for (unsigned int i = 0; i < ENGINE_MODES; i++) {
		struct msg *m =
			submit(self, (enum engine_mode)i, i == ENGINE_CBC_ENCRYPT ? 640 : 300000);

		bed_run(&self->bed);
		EXPECT_TRUE(msg_right(m));
	}
	EXPECT_LT(10, stats(self).broken);
}

static struct msg *ended[MSGS];
static unsigned int n_ended;

static void then_note(struct msg *m)
{
	ended[n_ended++] = m;
}

/* Order survives a retry: the jobs of the broken run are before those that came meanwhile. */
TEST_F(engine, retry_keeps_the_order)
{
	struct engine_config config = bed_config();
	struct msg *m[5];

	config.run_blocks = 3;
	rebed(self, &config);
	warm_up(self);
	for (unsigned int i = 0; i < 5; i++) {
		m[i] = submit(self, ENGINE_GCM_SEAL, 0);
		m[i]->then = then_note;
	}
	engine_flush(self->engine);
	fake_block_answer(self->fake, 0, -EIO);
	bed_run(&self->bed);
	ASSERT_EQ(5, n_ended);
	for (unsigned int i = 0; i < 5; i++)
		EXPECT_EQ(m[i], ended[i]);
}

TEST_F(engine, another_error_is_final)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32);

	engine_flush(self->engine);
	fake_block_answer(self->fake, 0, -EKEYEXPIRED);
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-EKEYEXPIRED, m->result);
	EXPECT_EQ(1, self->fake->started);
}

TEST_F(engine, start_refuses)
{
	struct msg *m = submit(self, ENGINE_GCM_SEAL, 32), *n;

	self->fake->refuse = -EKEYREVOKED;
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-EKEYREVOKED, m->result);
	n = submit(self, ENGINE_GCM_SEAL, 32);
	self->fake->refuse = -EIO;
	EXPECT_FALSE(engine_flush(self->engine));
	EXPECT_ERR(-EIO, n->result);
	EXPECT_FALSE(self->fake->dirty);
}

/* A run that is as small as can be has one block beside H. */
TEST_F(engine, smallest_run_breaks)
{
	struct engine_config config = bed_config();
	struct msg *m;

	config.run_blocks = 2;
	rebed(self, &config);
	m = submit(self, ENGINE_GCM_SEAL, 32);
	self->fake->fail_every = 1;
	self->fake->fail_with = -EIO;
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_ERR(-EIO, m->result);
	EXPECT_EQ(2, self->fake->started);
}

TEST_F(engine, large_does_not_starve_small)
{
	struct msg *large = submit(self, ENGINE_GCM_SEAL, KEKD_VALUE_MAX), *small[3];
	uint32_t share = self->bed.config.share_blocks;

	for (unsigned int i = 0; i < 3; i++)
		small[i] = submit(self, ENGINE_GCM_SEAL, i < 2 ? 32 : 1 << 20);
	engine_flush(self->engine);
	fake_block_finish(self->fake);
	engine_flush(self->engine);
	EXPECT_TRUE(msg_right(small[0]));
	EXPECT_TRUE(msg_right(small[1]));
	EXPECT_EQ(0, large->called);
	/* Nobody else is there, so the rest of the run was theirs. */
	EXPECT_LT(share, large->job.priv.done);
	EXPECT_EQ(KEKD_RUN_BLOCKS_MAX, self->fake->last_blocks);
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(large));
	EXPECT_TRUE(msg_right(small[2]));
}

/* Nor the other way round, and also where a run has one block for both, which cannot be shared. */
TEST_F(engine, small_do_not_starve_large)
{
	struct engine_config config = bed_config();
	struct msg *large;

	for (config.run_blocks = 2; config.run_blocks <= 4; config.run_blocks++) {
		struct msg *small[2];

		rebed(self, &config);
		large = submit(self, ENGINE_GCM_SEAL, 1024);
		small[0] = submit(self, ENGINE_GCM_SEAL, 32);
		small[1] = submit(self, ENGINE_GCM_SEAL, 32);
		for (unsigned int i = 0; i < 100 && large->called == 0; i++) {
			while (small[i % 2]->called == 0) {
				engine_flush(self->engine);
				fake_block_finish(self->fake);
			}
			EXPECT_TRUE(msg_right(small[i % 2]));
			small[i % 2] = submit(self, ENGINE_GCM_SEAL, 32);
		}
		EXPECT_TRUE(msg_right(large));
		bed_run(&self->bed);
	}
}

TEST_F(engine, shares_while_others_wait)
{
	struct engine_config config = bed_config();
	struct msg *large;

	config.run_blocks = 64;
	config.share_blocks = 8;
	rebed(self, &config);
	warm_up(self);
	large = submit(self, ENGINE_GCM_SEAL, 16 * 200);
	for (unsigned int i = 0; i < 100; i++)
		submit(self, ENGINE_GCM_SEAL, 16);
	/* Two blocks each: (64 - 8) / 2 of them go with each share of the large one. */
	for (unsigned int run = 1; run <= 3; run++) {
		engine_flush(self->engine);
		fake_block_finish(self->fake);
		EXPECT_EQ(8 * run, large->job.priv.done);
		EXPECT_EQ(64, self->fake->last_blocks);
	}
	EXPECT_EQ(0, large->called);
	bed_run(&self->bed);
	EXPECT_TRUE(msg_right(large));
}

/* One run in flight at a time for all keys, each with endless work: they take turns. */
TEST_F(engine, keys_take_turns)
{
	struct engine_config config = bed_config();
	unsigned int least = UINT32_MAX, most = 0;

	config.runs_max = 1;
	config.run_blocks = 8;
	rebed(self, &config);
	for (int k = 1; k < 5; k++)
		ASSERT_EQ(k, bed_add_key(&self->bed, key_a, sizeof(key_a)));
	for (unsigned int k = 0; k < 5; k++) {
		for (unsigned int i = 0; i < (k == 0 ? 40 : 4); i++) {
			self->key = self->bed.keys[k];
			submit(self, i % 2 ? ENGINE_GCM_SEAL : ENGINE_CBC_DECRYPT, 1600);
		}
	}
	for (unsigned int i = 0; i < 50; i++) {
		bed_flush(&self->bed);
		for (unsigned int k = 0; k < 5; k++)
			fake_block_finish(self->bed.fakes[k]);
	}
	for (unsigned int k = 0; k < 5; k++) {
		unsigned int started = self->bed.fakes[k]->started;

		least = started < least ? started : least;
		most = started > most ? started : most;
	}
	EXPECT_EQ(10, least);
	EXPECT_EQ(10, most);
}

/* One op socket for both directions, both with endless work. */
TEST_F(engine, directions_take_turns)
{
	struct engine_config config = bed_config();
	unsigned int decrypts = 0;

	config.run_blocks = 8;
	rebed(self, &config);
	for (unsigned int i = 0; i < 20; i++)
		submit(self, i % 2 ? ENGINE_GCM_SEAL : ENGINE_CBC_DECRYPT, 1600);
	for (unsigned int i = 0; i < 20; i++) {
		bed_flush(&self->bed);
		decrypts += self->fake->last_dir == BLOCK_DECRYPT;
		fake_block_finish(self->fake);
	}
	EXPECT_EQ(10, decrypts);
}

/* A flush is bounded, and says that there is more. */
TEST_F(engine, one_flush_is_bounded)
{
	struct bed bed = { 0 };
	struct engine_config config = bed_config();
	struct engine_stats s;
	struct msg *m;

	config.bytes_max = 64 << 20;
	ASSERT_OK(bed_open(&bed, BED_OPENSSL, &config));
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(i, bed_add_key(&bed, key_a, sizeof(key_a)));
		self->key = bed.keys[i];
		m = message(self, ENGINE_GCM_SEAL, KEKD_VALUE_MAX);
		ASSERT_OK(engine_submit(bed.engine, &m->job));
	}
	EXPECT_TRUE(engine_flush(bed.engine));
	engine_stats(bed.engine, &s);
	EXPECT_LE(s.blocks, ENGINE_TURN_BLOCKS + KEKD_RUN_BLOCKS_MAX);
	EXPECT_LT(10, bed_run(&bed));
	for (unsigned int i = 0; i < 8; i++)
		EXPECT_TRUE(msg_right(&self->msg[i]));
	EXPECT_FALSE(engine_flush(bed.engine));
	bed_close(&bed);
}

/* The openssl backend answers within the flush, but never from submit. */
TEST_F(engine, openssl_needs_one_flush)
{
	struct bed bed = { 0 };
	struct engine_config config = bed_config();
	struct msg *m;

	ASSERT_OK(bed_open(&bed, BED_OPENSSL, &config));
	ASSERT_EQ(0, bed_add_key(&bed, key_a, sizeof(key_a)));
	self->key = bed.keys[0];
	m = message(self, ENGINE_GCM_SEAL, 32);
	ASSERT_OK(engine_submit(bed.engine, &m->job));
	EXPECT_EQ(0, m->called);
	EXPECT_FALSE(engine_flush(bed.engine));
	EXPECT_TRUE(msg_right(m));
	bed_close(&bed);
}

static struct ktest_data_of_engine *in_callback;

static void then_submit_again(struct msg *m)
{
	m->then = NULL;
	EXPECT_OK(engine_submit(in_callback->engine, &m->job));
}

static void then_cancel_all(_unused_ struct msg *m)
{
	for (unsigned int i = 0; i < in_callback->n; i++)
		engine_cancel(in_callback->engine, &in_callback->msg[i].job);
}

static void then_remove_key(_unused_ struct msg *m)
{
	bed_remove_key(&in_callback->bed, 0);
}

static void then_flush(_unused_ struct msg *m)
{
	EXPECT_TRUE(engine_flush(in_callback->engine));
}

/* The queue was full, and the job's place is free again when its callback runs. */
TEST_F(engine, callback_submits)
{
	struct engine_config config = bed_config();
	struct msg *m;

	config.jobs_max = 1;
	rebed(self, &config);
	in_callback = self;
	m = submit(self, ENGINE_GCM_SEAL, 32);
	m->then = then_submit_again;
	EXPECT_LT(0, bed_run(&self->bed));
	EXPECT_EQ(2, m->called);
	EXPECT_EQ(0, m->result);
}

static void then_submit_for_ever(struct msg *m)
{
	EXPECT_OK(engine_submit(in_callback->engine, &m->job));
}

/* A flush ends whatever callbacks do, and says that they have left something to do. */
TEST_F(engine, callback_submits_for_ever)
{
	struct msg *m = submit(self, ENGINE_CBC_DECRYPT, 0);

	in_callback = self;
	m->then = then_submit_for_ever;
	EXPECT_TRUE(engine_flush(self->engine));
	EXPECT_TRUE(engine_flush(self->engine));
	EXPECT_LE(2, m->called);
	m->then = NULL;
	EXPECT_FALSE(engine_flush(self->engine));
}

TEST_F(engine, callback_cancels)
{
	struct engine_config config = bed_config();
	struct msg *first;

	config.run_blocks = 16;
	rebed(self, &config);
	in_callback = self;
	first = submit(self, ENGINE_GCM_SEAL, 32);
	first->then = then_cancel_all;
	for (unsigned int i = 1; i < 20; i++)
		submit(self, ENGINE_GCM_SEAL, 32);
	bed_run(&self->bed);
	for (unsigned int i = 0; i < 20; i++) {
		EXPECT_EQ(1, self->msg[i].called);
		EXPECT_TRUE(msg_right(&self->msg[i]) || self->msg[i].result == -ECANCELED);
	}
	EXPECT_TRUE(msg_right(first));
	EXPECT_ERR(-ECANCELED, self->msg[19].result);
}

TEST_F(engine, callback_removes_its_key)
{
	struct engine_config config = bed_config();

	config.run_blocks = 16;
	rebed(self, &config);
	in_callback = self;
	submit(self, ENGINE_GCM_SEAL, 32)->then = then_remove_key;
	for (unsigned int i = 1; i < 20; i++)
		submit(self, ENGINE_GCM_SEAL, 32);
	bed_run(&self->bed);
	EXPECT_TRUE(self->bed.gone[0]);
	EXPECT_TRUE(msg_right(&self->msg[0]));
	EXPECT_ERR(-EKEYREVOKED, self->msg[19].result);
	for (unsigned int i = 0; i < 20; i++)
		EXPECT_EQ(1, self->msg[i].called);
}

TEST_F(engine, callback_flushes)
{
	struct msg *m = submit(self, ENGINE_CBC_DECRYPT, 0);

	in_callback = self;
	m->then = then_flush;
	engine_flush(self->engine);
	EXPECT_EQ(1, m->called);
}

static void note_result(void *ctx, int r)
{
	*(int *)ctx = r;
}

/* Every mode is asked: a cipher that is wrong in one direction only does not pass. */
TEST_F(engine, selftest_finds_a_liar)
{
	int result = 1;

	ASSERT_EQ(1, bed_add_key(&self->bed, selftest_key, KEKD_AES_KEY_MAX));
	self->bed.fakes[1]->lies = true;
	ASSERT_OK(selftest_start(self->engine, self->bed.keys[1], note_result, &result));
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_ERR(-EBADMSG, result);
}

/* Room in the queue for some questions only: what was asked is answered, the result is the refusal. */
TEST_F(engine, selftest_in_a_full_queue)
{
	struct engine_config config = bed_config();
	int result = 1;

	config.jobs_max = 3;
	rebed(self, &config);
	ASSERT_EQ(1, bed_add_key(&self->bed, selftest_key, KEKD_AES_KEY_MAX));
	ASSERT_OK(selftest_start(self->engine, self->bed.keys[1], note_result, &result));
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_ERR(-ENOBUFS, result);
	for (unsigned int i = 0; i < 3; i++)
		submit(self, ENGINE_GCM_SEAL, 1);
	EXPECT_ERR(-ENOBUFS, selftest_start(self->engine, self->bed.keys[1], note_result, &result));
}

TEST(configuration)
{
	struct engine_config good = bed_config(), bad;
	struct engine *engine = NULL;

	bad = good;
	bad.run_blocks = KEKD_RUN_BLOCKS_MAX + 1;
	EXPECT_ERR(-EINVAL, engine_new(&bad, &engine));
	bad = good;
	bad.share_blocks = 0;
	EXPECT_ERR(-EINVAL, engine_new(&bad, &engine));
	bad = good;
	bad.now = NULL;
	EXPECT_ERR(-EINVAL, engine_new(&bad, &engine));
	EXPECT_NULL(engine);
	EXPECT_OK(engine_new(&good, &engine));
	engine_free(engine);
}

/*
 * Everything at once, thousands of times: random modes and lengths, answers in random order, failed
 * runs, cancelled jobs. Each job ends once, and what ends with 0 is right.
 */
TEST_F(engine, storm)
{
	struct engine_config config = bed_config();
	unsigned int right = 0, other = 0;

	config.run_blocks = 37;
	config.share_blocks = 5;
	config.runs_max = 3;
	rebed(self, &config);
	self->fake->room = 3;
	for (unsigned int round = 0; round < 30; round++) {
		self->fake->prompt = round % 2;
		for (self->n = 0; self->n < 200;) {
			size_t len =
				prng_below(&self->prng, 20) ? prng_below(&self->prng, 100) : 2000;
			enum engine_mode mode = prng_below(&self->prng, ENGINE_MODES);

			submit(self, mode, mode >= ENGINE_CBC_ENCRYPT ? len / 16 * 16 : len);
			if (prng_below(&self->prng, 2))
				engine_flush(self->engine);
			if (prng_below(&self->prng, 2))
				fake_block_answer(self->fake, prng_below(&self->prng, 3),
						  prng_below(&self->prng, 10) ? 0 : -EIO);
			if (prng_below(&self->prng, 20) == 0)
				engine_cancel(self->engine,
					      &self->msg[prng_below(&self->prng, self->n)].job);
		}
		ASSERT_LT(0, bed_run(&self->bed));
		for (unsigned int i = 0; i < self->n; i++) {
			struct msg *m = &self->msg[i];

			ASSERT_EQ(1, m->called);
			if (m->result == 0)
				ASSERT_TRUE(msg_right(m));
			else
				ASSERT_TRUE(m->result == -ECANCELED || m->result == -EIO);
			right += m->result == 0;
			other += m->result != 0;
			msg_free(m);
		}
		self->n = 0;
	}
	EXPECT_LT(4000, right);
	EXPECT_LT(100, other);
	EXPECT_FALSE(self->fake->dirty);
}

TEST_HARNESS_MAIN
