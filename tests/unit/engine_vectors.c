/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's bytes: published vectors through every backend, every GHASH and every size of batch,
 * random messages against OpenSSL's EVP, and the self-test.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crypto/pkcs7.h"
#include "daemon/crypto/selftest.h"
#include "tests/harness/ktest.h"
#include "tests/support/cipher_bed.h"
#include "tests/vectors/reader.h"

#define BATCH_MAX 1024

static const unsigned int batches[] = { 1, 2, 8, 64, 256, BATCH_MAX };

FIXTURE(cipher)
{
	struct bed bed;
	struct msg msg[BATCH_MAX];
	struct prng prng;
};

FIXTURE_VARIANT(cipher)
{
	enum bed_backend backend;
	const struct ghash_impl *ghash;
	uint32_t run_blocks;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(cipher, openssl_vpclmul) { BED_OPENSSL, &ghash_wide, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, openssl_clmul) { BED_OPENSSL, &ghash_clmul, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, openssl_soft) { BED_OPENSSL, &ghash_soft, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, fake_clmul) { BED_FAKE, &ghash_clmul, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, fake_soft) { BED_FAKE, &ghash_soft, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, kernel_clmul) { BED_KERNEL, &ghash_clmul, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, kernel_soft) { BED_KERNEL, &ghash_soft, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, kernel_runs_of_7) { BED_KERNEL, &ghash_soft, 7 };
FIXTURE_VARIANT_ADD(cipher, holder_clmul) { BED_HOLDER, &ghash_clmul, KEKD_RUN_BLOCKS_MAX };
FIXTURE_VARIANT_ADD(cipher, holder_runs_of_7) { BED_HOLDER, &ghash_soft, 7 };
/* Runs so short that every message is cut: between J0 and text, and at every block. */
FIXTURE_VARIANT_ADD(cipher, runs_of_2) { BED_FAKE, &ghash_soft, 2 };
FIXTURE_VARIANT_ADD(cipher, runs_of_3) { BED_OPENSSL, &ghash_clmul, 3 };
FIXTURE_VARIANT_ADD(cipher, runs_of_7) { BED_FAKE, &ghash_soft, 7 };
/* clang-format on */

FIXTURE_SETUP(cipher)
{
	struct engine_config config = bed_config();

	SKIP_UNLESS(variant->ghash->name, variant->ghash->supported(),
		    "this CPU lacks the instructions");
	if (variant->backend == BED_KERNEL)
		SKIP_UNLESS("afalg", bed_kernel_serves(), "no AF_ALG with keys by serial here");
	config.ghash = variant->ghash;
	config.run_blocks = variant->run_blocks;
	self->prng.state = 7;
	ASSERT_OK(bed_open(&self->bed, variant->backend, &config));
}

FIXTURE_TEARDOWN(cipher)
{
	bed_close(&self->bed);
}

static struct engine_key *add_key(struct bed *bed, const uint8_t *key, size_t len)
{
	int n = bed_add_key(bed, key, len);

	ASSERT_LE(0, n);
	return bed->keys[n];
}

/* A fresh bed slot for the next vector's key. */
static void drop_keys(struct bed *bed)
{
	for (unsigned int i = 0; i < bed->n_keys; i++)
		bed_remove_key(bed, i);
	ASSERT_LT(0, bed_run(bed));
	bed->n_keys = 0;
}

static enum engine_mode encrypt_mode(const struct vec *v)
{
	return v->mode == VEC_GCM ? ENGINE_GCM_SEAL : ENGINE_CBC_ENCRYPT;
}

static enum engine_mode decrypt_mode(const struct vec *v)
{
	return v->mode == VEC_GCM ? ENGINE_GCM_OPEN : ENGINE_CBC_DECRYPT;
}

/* The vector as a message: what to give the engine and what must come back. */
static void vector_message(struct msg *m, struct engine_key *key, const struct vec *v, bool decrypt,
			   unsigned int number)
{
	uint8_t padded[VEC_DATA_MAX + KEKD_AES_BLOCK];
	size_t len = v->pt_len;

	memcpy(padded, v->pt, len);
	if (v->mode == VEC_CBC_PKCS7) {
		len = pkcs7_padded(len);
		pkcs7_pad(padded, v->pt_len);
	}
	if (decrypt)
		len = v->ct_len;
	msg_init(m, key,
		 &(struct msg_spec){
			 .mode = decrypt ? decrypt_mode(v) : encrypt_mode(v),
			 .iv = v->iv,
			 .text = decrypt ? v->ct : padded,
			 .aad = v->aad,
			 .len = len,
			 .aad_len = v->aad_len,
			 .align = number % 16,
			 .in_place = number / 2 % 2,
		 });
	memcpy(decrypt ? m->job.tag : m->expected_tag, v->tag, sizeof(m->expected_tag));
	if (v->valid)
		memcpy(m->expected, decrypt ? padded : v->ct, len);
}

/* A vector that must be refused: by its tag, by its length, or by its padding. */
static bool refused(const struct msg *m, const struct vec *v, int submitted)
{
	size_t len = 0;

	if (v->mode == VEC_GCM)
		return m->called == 1 && m->result == -EBADMSG && msg_untouched(m);
	if (submitted < 0)
		return submitted == -EINVAL && v->ct_len % KEKD_AES_BLOCK != 0;
	return m->result == 0 && pkcs7_unpad(m->job.out, v->ct_len, &len) == -EBADMSG;
}

static void vector_batch(struct ktest_data_of_cipher *self, const struct vec *v, unsigned int batch)
{
	struct engine_key *key = add_key(&self->bed, v->key, v->key_len);
	static int submitted[BATCH_MAX];

	for (unsigned int i = 0; i < batch; i++) {
		bool decrypt = !v->valid || (i + batch / 2) % 2;

		vector_message(&self->msg[i], key, v, decrypt, i);
		submitted[i] = engine_submit(self->bed.engine, &self->msg[i].job);
	}
	ASSERT_LT(0, bed_run(&self->bed));
	for (unsigned int i = 0; i < batch; i++) {
		struct msg *m = &self->msg[i];

		if (!(v->valid ? msg_right(m) : refused(m, v, submitted[i])))
			ktest_log("%s: message %u of %u", v->id, i, batch);
		ASSERT_TRUE(v->valid ? msg_right(m) : refused(m, v, submitted[i]));
		msg_free(m);
	}
	drop_keys(&self->bed);
}

/*
 * The whole file in batches of one and two, which encrypt and decrypt; of the larger batches each
 * takes its share, so that all of them see all kinds of vectors.
 */
static void vector_file(struct ktest_data_of_cipher *self, const char *name)
{
	struct vec_reader *reader = NULL;
	static struct vec v;
	unsigned int n = 0;
	int r;

	ASSERT_OK(vec_open(name, &reader));
	while ((r = vec_next(reader, &v)) > 0) {
		for (size_t b = 0; b < ARRAY_SIZE(batches); b++) {
			if (b < 2 || (n + b) % 8 == 0 || self->bed.config.run_blocks > 100)
				vector_batch(self, &v, batches[b]);
		}
		n++;
	}
	EXPECT_EQ(0, r);
	EXPECT_LT(100, n);
	vec_close(reader);
}

TEST_F_TIMEOUT(cipher, gcm_cavp, 240)
{
	vector_file(self, "aes-gcm-cavp.txt");
}

TEST_F_TIMEOUT(cipher, gcm_wycheproof, 240)
{
	vector_file(self, "aes-gcm-wycheproof.txt");
}

TEST_F_TIMEOUT(cipher, cbc_cavp, 240)
{
	vector_file(self, "aes-cbc-cavp.txt");
}

TEST_F_TIMEOUT(cipher, cbc_wycheproof, 240)
{
	vector_file(self, "aes-cbc-wycheproof.txt");
}

/* Every vector of a file in flight at once, each under a key of its own. */
TEST_F(cipher, many_keys_at_once)
{
	struct vec_reader *reader = NULL;
	static struct vec v;
	unsigned int n = 0;

	ASSERT_OK(vec_open("aes-gcm-cavp.txt", &reader));
	while (vec_next(reader, &v) > 0) {
		if (!v.valid)
			continue;
		vector_message(&self->msg[n], add_key(&self->bed, v.key, v.key_len), &v, n % 2, n);
		ASSERT_OK(engine_submit(self->bed.engine, &self->msg[n].job));
		n++;
	}
	vec_close(reader);
	ASSERT_LT(0, bed_run(&self->bed));
	for (unsigned int i = 0; i < n; i++) {
		EXPECT_TRUE(msg_right(&self->msg[i]));
		msg_free(&self->msg[i]);
	}
}

/* One batch of random messages of @len bytes, all modes, all sizes of key. */
static void random_batch(struct ktest_data_of_cipher *self, size_t len, unsigned int batch)
{
	uint8_t bytes[3][KEKD_AES_KEY_MAX];
	struct engine_key *keys[3];

	for (size_t k = 0; k < 3; k++) {
		prng_bytes(&self->prng, bytes[k], sizeof(bytes[k]));
		keys[k] = add_key(&self->bed, bytes[k], 16 + 8 * k);
	}
	for (unsigned int i = 0; i < batch; i++) {
		enum engine_mode mode = i % ENGINE_MODES;
		size_t k = prng_below(&self->prng, 3);
		size_t n = mode >= ENGINE_CBC_ENCRYPT ? len / 16 * 16 : len;

		msg_random(&self->msg[i], &self->prng, keys[k], bytes[k], 16 + 8 * k, mode, n,
			   prng_below(&self->prng, 70));
		ASSERT_OK(engine_submit(self->bed.engine, &self->msg[i].job));
	}
	ASSERT_LT(0, bed_run(&self->bed));
	for (unsigned int i = 0; i < batch; i++) {
		ASSERT_TRUE(msg_right(&self->msg[i]));
		msg_free(&self->msg[i]);
	}
	drop_keys(&self->bed);
}

TEST_F_TIMEOUT(cipher, random_lengths, 120)
{
	for (size_t len = 0; len <= 200; len++)
		random_batch(self, len, 16);
}

/* Around the ends of blocks, shares and runs. */
TEST_F_TIMEOUT(cipher, random_large, 120)
{
	static const size_t lens[] = { 4095,     4096,      4097,      16 * 255 - 1,
				       16 * 256, 16 * 4093, 16 * 4094, 16 * 4095,
				       65535,    65536,     65537,     200000 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		if (variant->run_blocks > 100 || lens[i] < 10000)
			random_batch(self, lens[i], 4);
	}
}

TEST_F_TIMEOUT(cipher, largest, 120)
{
	/* In the shortest runs a largest value takes long and shows nothing more. */
	size_t len = variant->run_blocks < 100 ? 20000 : KEKD_VALUE_MAX;
	uint8_t key[32];

	prng_bytes(&self->prng, key, sizeof(key));
	for (enum engine_mode mode = 0; mode < ENGINE_MODES; mode++) {
		struct engine_key *k = add_key(&self->bed, key, sizeof(key));

		msg_random(&self->msg[0], &self->prng, k, key, sizeof(key), mode, len, 5);
		ASSERT_OK(engine_submit(self->bed.engine, &self->msg[0].job));
		ASSERT_LT(0, bed_run(&self->bed));
		EXPECT_TRUE(msg_right(&self->msg[0]));
		msg_free(&self->msg[0]);
	}
}

/* The real thing: an op socket whose state went wrong costs a retry and nothing else. */
TEST(kernel_replaces_broken_sockets)
{
	static struct bed bed = { .spoil = true };
	struct engine_config config = bed_config();
	struct prng prng = { 9 };
	struct engine_stats stats;
	struct msg m[50];

	SKIP_UNLESS("afalg", bed_kernel_serves(), "no AF_ALG with keys by serial here");
	ASSERT_OK(bed_open(&bed, BED_KERNEL, &config));
	ASSERT_EQ(0, bed_add_key(&bed, selftest_key, KEKD_AES_KEY_MAX));
	bed.spoil = false;
	for (unsigned int i = 0; i < ARRAY_SIZE(m); i++) {
		msg_random(&m[i], &prng, bed.keys[0], selftest_key, KEKD_AES_KEY_MAX,
			   i % ENGINE_MODES, 64, 3);
		ASSERT_OK(engine_submit(bed.engine, &m[i].job));
	}
	ASSERT_LT(0, bed_run(&bed));
	engine_stats(bed.engine, &stats);
	EXPECT_LE(1, stats.broken);
	EXPECT_EQ(bed.replaced, stats.broken);
	for (unsigned int i = 0; i < ARRAY_SIZE(m); i++) {
		EXPECT_TRUE(msg_right(&m[i]));
		msg_free(&m[i]);
	}
	bed_close(&bed);
}

/* Runs are no larger than what the smallest socket takes, which is a page at least. */
TEST(kernel_runs_fit_the_sockets)
{
	static struct bed bed = { .sndbuf = 1 };
	struct engine_config config = bed_config();
	struct prng prng = { 10 };
	struct engine_stats stats;
	struct msg m[40];

	SKIP_UNLESS("afalg", bed_kernel_serves(), "no AF_ALG with keys by serial here");
	ASSERT_OK(bed_open(&bed, BED_KERNEL, &config));
	ASSERT_EQ(0, bed_add_key(&bed, selftest_key, KEKD_AES_KEY_MAX));
	for (unsigned int i = 0; i < ARRAY_SIZE(m); i++) {
		msg_random(&m[i], &prng, bed.keys[0], selftest_key, KEKD_AES_KEY_MAX,
			   i % ENGINE_MODES, i % 8 ? 496 : 20000, 3);
		ASSERT_OK(engine_submit(bed.engine, &m[i].job));
	}
	ASSERT_LT(0, bed_run(&bed));
	engine_stats(bed.engine, &stats);
	EXPECT_EQ(0, stats.broken);
	EXPECT_LE(20, stats.runs);
	for (unsigned int i = 0; i < ARRAY_SIZE(m); i++) {
		EXPECT_TRUE(msg_right(&m[i]));
		msg_free(&m[i]);
	}
	bed_close(&bed);
}

static int selftest_result;
static unsigned int selftest_called;

static void selftest_done(void *ctx, int r)
{
	EXPECT_EQ(&selftest_result, ctx);
	selftest_result = r;
	selftest_called++;
}

TEST_F(cipher, selftest_passes)
{
	struct engine_key *key = add_key(&self->bed, selftest_key, KEKD_AES_KEY_MAX);

	selftest_result = 1;
	ASSERT_OK(selftest_start(self->bed.engine, key, selftest_done, &selftest_result));
	EXPECT_EQ(0, selftest_called);
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_EQ(1, selftest_called);
	EXPECT_OK(selftest_result);
}

/* Another key stands for a cipher that computes something else. */
TEST_F(cipher, selftest_fails)
{
	uint8_t other[KEKD_AES_KEY_MAX];
	struct engine_key *key;

	memcpy(other, selftest_key, sizeof(other));
	other[31] ^= 1;
	key = add_key(&self->bed, other, sizeof(other));
	ASSERT_OK(selftest_start(self->bed.engine, key, selftest_done, &selftest_result));
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_EQ(1, selftest_called);
	EXPECT_ERR(-EBADMSG, selftest_result);
}

TEST_F(cipher, selftest_of_a_removed_key)
{
	struct engine_key *key = add_key(&self->bed, selftest_key, KEKD_AES_KEY_MAX);

	ASSERT_OK(selftest_start(self->bed.engine, key, selftest_done, &selftest_result));
	bed_remove_key(&self->bed, 0);
	ASSERT_LT(0, bed_run(&self->bed));
	EXPECT_EQ(1, selftest_called);
	EXPECT_ERR(-EKEYREVOKED, selftest_result);
}

TEST_HARNESS_MAIN
