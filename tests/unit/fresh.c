/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes live for one turn. Each that is used was drawn in the very flush that encrypts with it, as
 * many are drawn as are used, and when the flush is over they are in the job's iv and nowhere else in this
 * process; H, by then, is nowhere. The kernel's part is played by this file, which remembers what it gave
 * in a mapping of its own, apart from what is searched.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIVEN_MAX 65536
#define PIECE     (1U << 20)
#define NEEDLE    8

static struct {
	unsigned int calls;
	size_t len; /* given in this turn */
	uint8_t given[GIVEN_MAX];
	uint8_t h[3][16]; /* H, backwards, and what GHASH multiplies by */
	uint8_t piece[PIECE + NEEDLE];
} * kept;

static int fails;

static long random_ask(uint8_t *ret, size_t len)
{
	long n;

	if (fails != 0) {
		errno = fails;
		return -1;
	}
	n = syscall(SYS_getrandom, ret, len, 0);
	memcpy(kept->given + kept->len, ret, (size_t)n);
	kept->len += (size_t)n;
	kept->calls++;
	return n;
}

#define KEKD_TEST_HOOKS
#include "daemon/base/random.c" /* instead of the library's */

#include "daemon/chain/chain.h"
#include "daemon/chain/defer.h"
#include "tests/support/openssl_seal.h"
#include "tests/harness/ktest.h"
#include "tests/support/cipher_bed.h"
#include "tests/support/fake_upstream.h"

#define MSGS 64

static const uint8_t key[32] = "a public key for the tests only";

FIXTURE(fresh)
{
	struct bed bed;
	struct engine_job *jobs; /* MSGS */
	uint8_t text[MSGS][64], out[MSGS][64];
	unsigned int n, good;
};

FIXTURE_VARIANT(fresh)
{
	const struct ghash_impl *ghash;
};

FIXTURE_VARIANT_ADD(fresh, vpclmul){ .ghash = &ghash_wide };
FIXTURE_VARIANT_ADD(fresh, clmul){ .ghash = &ghash_clmul };
FIXTURE_VARIANT_ADD(fresh, soft){ .ghash = &ghash_soft };

/* In another process, so that nothing of it is left in this one. */
static void make_h(void)
{
	static const uint8_t zero[KEKD_AES_BLOCK];
	struct ghash_key table;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (openssl_aes_block(key, zero, kept->h[0]) < 0)
			_exit(1);
		for (size_t i = 0; i < KEKD_AES_BLOCK; i++)
			kept->h[1][i] = kept->h[0][KEKD_AES_BLOCK - 1 - i];
		ghash_key_init(&table, kept->h[0], &ghash_soft);
		memcpy(kept->h[2], table.power, KEKD_AES_BLOCK);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
}

FIXTURE_SETUP(fresh)
{
	struct engine_config config = bed_config();

	SKIP_UNLESS(variant->ghash->name, variant->ghash->supported(),
		    "this CPU lacks the instructions");
	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)kept);
	make_h();
	config.ghash = variant->ghash;
	config.run_blocks = 256;
	ASSERT_OK(bed_open(&self->bed, BED_OPENSSL, &config));
	ASSERT_EQ(0, bed_add_key(&self->bed, key, sizeof(key)));
	self->jobs = calloc(MSGS, sizeof(*self->jobs));
	ASSERT_NOT_NULL(self->jobs);
}

FIXTURE_TEARDOWN(fresh)
{
	bed_close(&self->bed);
	free(self->jobs);
}

static unsigned int *good;

static void job_done(struct engine_job *job _unused_, int r)
{
	*good += r == 0;
}

static struct engine_job *submit(struct ktest_data_of_fresh *self, enum engine_mode mode)
{
	unsigned int i = self->n++;
	struct engine_job *job = &self->jobs[i];

	good = &self->good;
	job->key = self->bed.keys[0];
	job->mode = mode;
	job->draw_iv = true;
	job->in = span_of(self->text[i], sizeof(self->text[i]));
	job->out = self->out[i];
	job->done = job_done;
	EXPECT_OK(engine_submit(self->bed.engine, job));
	return job;
}

static void turn(struct ktest_data_of_fresh *self)
{
	kept->len = 0;
	kept->calls = 0;
	bed_flush(&self->bed);
}

/* How often @needle, in the kept mapping, lies in that piece. Compared masked: no copy of it is made. */
static unsigned int find_in(size_t len, const uint8_t *needle)
{
	unsigned int n = 0;

	for (const uint8_t *p = kept->piece;
	     (p = memchr(p, needle[0], (size_t)(kept->piece + len - p))); p++) {
		size_t left = (size_t)(kept->piece + len - p), same = 0;

		while (same < NEEDLE && same < left && p[same] == needle[same])
			same++;
		n += same == NEEDLE;
	}
	return n;
}

/* How often it lies in what this process can write to, apart from the kept mapping and ASan's shadow. */
static unsigned int find(const uint8_t *needle)
{
	_cleanup_fclose_ FILE *maps = fopen("/proc/self/maps", "re");
	_cleanup_close_ int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	unsigned int n = 0;
	char line[512], mode[8];

	if (!maps || mem < 0)
		return UINT_MAX;
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 ||
		    strcmp(mode, "rw-p") != 0 || to - from > (1UL << 24))
			continue;
		while (from < to) {
			size_t len =
				to - from < PIECE + NEEDLE - 1 ? to - from : PIECE + NEEDLE - 1;
			ssize_t got = pread(mem, kept->piece, len, (off_t)from);

			n += got > 0 ? find_in((size_t)got, needle) : 0;
			from += PIECE;
		}
	}
	return n;
}

static bool h_is_nowhere(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept->h); i++)
		for (size_t half = 0; half < 2; half++)
			if (find(kept->h[i] + half * NEEDLE) != 0)
				return false;
	return true;
}

TEST_F(fresh, search_finds)
{
	struct ghash_key *table = calloc(1, sizeof(*table));

	ASSERT_NOT_NULL(table);
	EXPECT_TRUE(h_is_nowhere());
	ghash_key_init(table, kept->h[0], variant->ghash);
	EXPECT_FALSE(h_is_nowhere());
	ghash_key_forget(table);
	EXPECT_TRUE(h_is_nowhere());
	free(table);
}

/* Nothing before the flush, then one request of 12 bytes a message, each in its job and nowhere else. */
TEST_F(fresh, drawn_in_the_flush)
{
	for (unsigned int round = 0; round < 3; round++) {
		kept->calls = 0;
		self->n = 0;
		self->good = 0;
		for (unsigned int i = 0; i < MSGS; i++)
			submit(self, ENGINE_GCM_SEAL);
		EXPECT_EQ(0, kept->calls);
		turn(self);
		EXPECT_EQ(MSGS, self->good);
		/* 64 messages of five blocks are two runs of 255. */
		EXPECT_EQ(2, kept->calls);
		ASSERT_EQ((size_t)MSGS * KEKD_GCM_NONCE, kept->len);
		for (unsigned int i = 0; i < MSGS; i++)
			ASSERT_MEMEQ(kept->given + i * KEKD_GCM_NONCE, KEKD_GCM_NONCE,
				     self->jobs[i].iv, KEKD_GCM_NONCE);
		for (unsigned int i = 0; i < MSGS; i += 9) {
			ASSERT_EQ(1, find(kept->given + i * KEKD_GCM_NONCE));
			ASSERT_EQ(1, find(kept->given + i * KEKD_GCM_NONCE + 4));
		}
		ASSERT_TRUE(h_is_nowhere());
	}
}

TEST_F(fresh, both_modes_in_one_run)
{
	struct engine_job *gcm = submit(self, ENGINE_GCM_SEAL);
	struct engine_job *cbc = submit(self, ENGINE_CBC_ENCRYPT);

	turn(self);
	EXPECT_EQ(2, self->good);
	EXPECT_EQ(1, kept->calls);
	ASSERT_EQ((size_t)KEKD_GCM_NONCE + KEKD_AES_BLOCK, kept->len);
	EXPECT_MEMEQ(kept->given, KEKD_GCM_NONCE, gcm->iv, KEKD_GCM_NONCE);
	EXPECT_MEMEQ(kept->given + KEKD_GCM_NONCE, KEKD_AES_BLOCK, cbc->iv, KEKD_AES_BLOCK);
	EXPECT_EQ(1, find(cbc->iv));
	EXPECT_TRUE(h_is_nowhere());
}

/* A message that ends before it is encrypted has drawn nothing; one that only opens draws nothing. */
TEST_F(fresh, only_for_what_is_encrypted)
{
	struct engine_job *job = submit(self, ENGINE_GCM_SEAL);

	engine_cancel(self->bed.engine, job);
	turn(self);
	EXPECT_EQ(0, kept->calls);
	job->mode = ENGINE_GCM_OPEN;
	EXPECT_ERR(-EINVAL, engine_submit(self->bed.engine, job));
	job->draw_iv = false;
	EXPECT_OK(engine_submit(self->bed.engine, job));
	turn(self);
	EXPECT_EQ(0, kept->calls);
}

/* Without random bytes nothing is encrypted, and the message ends with the reason. */
TEST_F(fresh, no_random_bytes)
{
	submit(self, ENGINE_GCM_SEAL);
	fails = ENOSYS;
	turn(self);
	EXPECT_EQ(0, self->good);
	EXPECT_TRUE(engine_idle(self->bed.engine));
	for (size_t i = 0; i < sizeof(self->out[0]); i++)
		EXPECT_EQ(0, self->out[0][i]);
}

/*
 * Values under data-encryption keys, with a plugin that answers a turn later: the key or seed is drawn when
 * the plugin is asked to wrap it, the rest when the value is sealed, and no byte of either is left over.
 */
FIXTURE(kms)
{
	struct fake_upstream fake;
	struct defer defer;
	struct secpool *pool;
	struct chain_env env;
	struct encconf_provider conf;
	struct encconf_item item;
	struct chain *chain;
	struct op op;
	uint8_t out[16384];
	int result;
};

FIXTURE_SETUP(kms)
{
	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)kept);
	fake_upstream_init(&self->fake);
	list_init(&self->defer.ops);
	ASSERT_OK(secpool_new(1024 * 1024, &self->pool));
	self->env = (struct chain_env){
		.upstreams = &self->fake.source,
		.pool = self->pool,
		.defer = &self->defer,
	};
	self->item.providers = &self->conf;
	self->item.providers_count = 1;
}

FIXTURE_TEARDOWN(kms)
{
	chain_free(self->chain);
	fake_fail(&self->fake, -EHOSTUNREACH);
	defer_run(&self->defer);
	secpool_free(self->pool);
}

static void kms_done(struct op *op, int r)
{
	container_of(op, struct ktest_data_of_kms, op)->result = r;
}

static void kms_encrypt(struct ktest_data_of_kms *self, unsigned int version)
{
	self->conf = (struct encconf_provider){
		.kind = ENCCONF_KMS,
		.kms = { .version = version,
			 .name = (char *)(uintptr_t) "p",
			 .path = (char *)(uintptr_t) "/nowhere",
			 .timeout = INT64_C(3000000000) },
	};
	ASSERT_OK(chain_new(&self->item, &self->env, &self->chain));
	self->result = 1;
	self->op = (struct op){
		.purpose = OP_STORAGE,
		.in = span_str("text"),
		.context = span_str("/registry/x"),
		.out = self->out,
		.out_cap = sizeof(self->out),
		.done = kms_done,
	};
	ASSERT_OK(chain_encrypt(self->chain, &self->op));
}

/* One answer of the plugin, and what follows from it: a turn. */
static void kms_turn(struct ktest_data_of_kms *self)
{
	kept->len = 0;
	kept->calls = 0;
	fake_answer_one(list_first(&self->fake.calls, struct upstream_call, link));
	defer_run(&self->defer);
}

static const struct upstream_call *asked(struct ktest_data_of_kms *self)
{
	return list_first(&self->fake.calls, struct upstream_call, link);
}

TEST_F(kms, v1)
{
	const uint8_t *nonce;

	kms_encrypt(self, 1);
	EXPECT_EQ(1, kept->calls);
	ASSERT_EQ(KEKD_AES_KEY_MAX, kept->len);
	EXPECT_MEMEQ(kept->given, kept->len, asked(self)->data, asked(self)->len);
	kms_turn(self);
	EXPECT_OK(self->result);
	EXPECT_EQ(1, kept->calls);
	ASSERT_EQ(KEKD_GCM_NONCE, kept->len);
	nonce = self->out + self->op.out_len - KEKD_GCM_TAG - strlen("text") - KEKD_GCM_NONCE;
	EXPECT_MEMEQ(kept->given, kept->len, nonce, KEKD_GCM_NONCE);
}

TEST_F(kms, v2)
{
	kms_encrypt(self, 2); /* the plugin is asked for its Status */
	EXPECT_EQ(0, kept->calls);
	kms_turn(self);
	EXPECT_EQ(1, kept->calls);
	ASSERT_EQ(32, kept->len);
	EXPECT_MEMEQ(kept->given, kept->len, asked(self)->data, asked(self)->len);
	kms_turn(self);
	EXPECT_OK(self->result);
	EXPECT_EQ(1, kept->calls);
	ASSERT_EQ(32 + KEKD_GCM_NONCE, kept->len);
	EXPECT_NOT_NULL(memmem(self->out, self->op.out_len, kept->given, kept->len));
}

TEST_HARNESS_MAIN
