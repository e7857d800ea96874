/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any message of a run: whichever is cancelled, late or false, the others do not feel it. And what
 * shares a run: all modes of one direction, under keys of each size.
 */
#include <errno.h>
#include <string.h>

#include "tests/harness/ktest.h"
#include "tests/support/cipher_bed.h"

#define N 9

static const uint8_t key_bytes[32] = "a public key for the tests only";

FIXTURE(each)
{
	struct bed bed;
	struct prng prng;
	struct msg msg[N];
	unsigned int n;
};

FIXTURE_SETUP(each)
{
	struct engine_config config = bed_config();

	self->prng.state = 3;
	ASSERT_OK(bed_open(&self->bed, BED_FAKE, &config));
	ASSERT_EQ(0, bed_add_key(&self->bed, key_bytes, sizeof(key_bytes)));
}

static void forget(struct ktest_data_of_each *self)
{
	for (unsigned int i = 0; i < self->n; i++)
		msg_free(&self->msg[i]);
	self->n = 0;
}

FIXTURE_TEARDOWN(each)
{
	bed_close(&self->bed);
	forget(self);
}

static struct msg *message(struct ktest_data_of_each *self, enum engine_mode mode, size_t len)
{
	struct msg *m = &self->msg[self->n++];

	msg_random(m, &self->prng, self->bed.keys[0], key_bytes, sizeof(key_bytes), mode, len, 5);
	return m;
}

static void submit(struct ktest_data_of_each *self, struct msg *m)
{
	ASSERT_OK(engine_submit(self->bed.engine, &m->job));
}

/* Messages of one run: modes that encrypt blocks, of several lengths. */
static void messages(struct ktest_data_of_each *self)
{
	for (unsigned int i = 0; i < N; i++)
		message(self, i % 2 ? ENGINE_GCM_OPEN : ENGINE_GCM_SEAL, 16 * i + i % 5);
}

static void submit_all(struct ktest_data_of_each *self)
{
	for (unsigned int i = 0; i < self->n; i++)
		submit(self, &self->msg[i]);
}

/* All right but number @odd, which ended with @r and has nothing in its out. */
static void expect_one(struct ktest_data_of_each *self, unsigned int odd, int r)
{
	ASSERT_LT(0, bed_run(&self->bed));
	for (unsigned int i = 0; i < self->n; i++) {
		struct msg *m = &self->msg[i];

		EXPECT_EQ(1, m->called);
		if (i == odd) {
			EXPECT_ERR(r, m->result);
			EXPECT_TRUE(msg_untouched(m));
		} else {
			EXPECT_TRUE(msg_right(m));
		}
	}
}

TEST_F(each, cancelled_in_flight)
{
	for (unsigned int odd = 0; odd < N; odd++) {
		messages(self);
		submit_all(self);
		engine_flush(self->bed.engine);
		engine_cancel(self->bed.engine, &self->msg[odd].job);
		expect_one(self, odd, -ECANCELED);
		forget(self);
	}
	EXPECT_EQ(N, self->bed.fakes[0]->started);
}

TEST_F(each, cancelled_in_the_queue)
{
	for (unsigned int odd = 0; odd < N; odd++) {
		messages(self);
		submit_all(self);
		engine_cancel(self->bed.engine, &self->msg[odd].job);
		expect_one(self, odd, -ECANCELED);
		forget(self);
	}
}

TEST_F(each, late)
{
	bed_clock = 1000;
	for (unsigned int odd = 0; odd < N; odd++) {
		messages(self);
		for (unsigned int i = 0; i < N; i++)
			self->msg[i].job.deadline_ns = i == odd ? 1000 : 1001;
		submit_all(self);
		expect_one(self, odd, -ETIME);
		forget(self);
	}
}

TEST_F(each, all_late)
{
	bed_clock = 1000;
	messages(self);
	for (unsigned int i = 0; i < N; i++)
		self->msg[i].job.deadline_ns = 1;
	submit_all(self);
	EXPECT_FALSE(engine_flush(self->bed.engine));
	for (unsigned int i = 0; i < N; i++)
		EXPECT_ERR(-ETIME, self->msg[i].result);
	EXPECT_EQ(0, self->bed.fakes[0]->started);
	EXPECT_TRUE(engine_idle(self->bed.engine));
}

/* A deadline is looked at again before each piece. */
TEST_F(each, late_between_runs)
{
	struct msg *large = message(self, ENGINE_GCM_SEAL, 200000);
	struct msg *small;

	large->job.deadline_ns = 1000;
	bed_clock = 1;
	submit(self, large);
	engine_flush(self->bed.engine);
	bed_clock = 1000;
	small = message(self, ENGINE_GCM_SEAL, 32);
	submit(self, small);
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_ERR(-ETIME, large->result);
	EXPECT_TRUE(msg_right(small));
	EXPECT_EQ(2, self->bed.fakes[0]->started);
}

TEST_F(each, with_a_wrong_tag)
{
	for (unsigned int odd = 1; odd < N; odd += 2) {
		messages(self);
		self->msg[odd].job.tag[odd] ^= 1;
		submit_all(self);
		expect_one(self, odd, -EBADMSG);
		forget(self);
	}
}

/* D_K of all blocks at once, of however many messages. */
TEST_F(each, cbc_decrypts_in_one_run)
{
	for (unsigned int i = 0; i < N; i++)
		message(self, ENGINE_CBC_DECRYPT, (size_t)(i + 1) * KEKD_AES_BLOCK);
	submit_all(self);
	expect_one(self, N, 0);
	EXPECT_EQ(1, self->bed.fakes[0]->started);
	EXPECT_EQ(N * (N + 1) / 2, self->bed.fakes[0]->last_blocks);
	EXPECT_EQ(BLOCK_DECRYPT, self->bed.fakes[0]->last_dir);
}

/* What encrypts blocks shares a run, whatever its mode. */
TEST_F(each, modes_share_a_run)
{
	message(self, ENGINE_GCM_SEAL, 32);
	message(self, ENGINE_CBC_ENCRYPT, 16);
	message(self, ENGINE_GCM_OPEN, 32);
	submit_all(self);
	expect_one(self, 3, 0);
	EXPECT_EQ(1, self->bed.fakes[0]->started);
	EXPECT_EQ(3 + 1 + 3 + 1, self->bed.fakes[0]->last_blocks);
}

FIXTURE(size)
{
	struct bed bed;
	struct msg msg[3 * ENGINE_MODES];
};

FIXTURE_VARIANT(size)
{
	enum bed_backend backend;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(size, openssl) { BED_OPENSSL };
FIXTURE_VARIANT_ADD(size, kernel) { BED_KERNEL };
FIXTURE_VARIANT_ADD(size, holder) { BED_HOLDER };
/* clang-format on */

FIXTURE_SETUP(size)
{
	struct engine_config config = bed_config();

	SKIP_UNLESS("afalg", variant->backend != BED_KERNEL || bed_kernel_serves(),
		    "no AF_ALG with keys by serial here");
	ASSERT_OK(bed_open(&self->bed, variant->backend, &config));
}

FIXTURE_TEARDOWN(size)
{
	bed_close(&self->bed);
	for (unsigned int i = 0; i < 3 * ENGINE_MODES; i++)
		msg_free(&self->msg[i]);
}

/* AES-128, -192 and -256 in one turn, each mode under each. */
TEST_F(size, keys_of_each_size_together)
{
	struct prng prng = { 11 };

	for (unsigned int k = 0; k < 3; k++) {
		size_t len = 16 + 8 * k;

		ASSERT_EQ(k, bed_add_key(&self->bed, key_bytes, len));
		for (enum engine_mode mode = 0; mode < ENGINE_MODES; mode++) {
			struct msg *m = &self->msg[k * ENGINE_MODES + mode];

			msg_random(m, &prng, self->bed.keys[k], key_bytes, len, mode, 96, 7);
			ASSERT_OK(engine_submit(self->bed.engine, &m->job));
		}
	}
	ASSERT_LT(0, bed_run(&self->bed));
	for (unsigned int i = 0; i < 3 * ENGINE_MODES; i++)
		EXPECT_TRUE(msg_right(&self->msg[i]));
}

TEST_HARNESS_MAIN
