/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder (crypto/holder.h) by its three sides: what the keeper orders, what a server may ask, with good and
 * with bad will, and what others get of it. It is kekd's own, started as the keeper starts it, filter and all.
 */
#include "daemon/crypto/backend_holder.c"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "daemon/crypto/openssl_heap.h"
#include "daemon/crypto/backend_openssl.h"
#include "daemon/crypto/selftest.h"
#include "tests/harness/ktest.h"
#include "tests/support/caps.h"
#include "tests/support/cipher_bed.h"

#define SOMEBODY 61234 /* as whom the bed's holder runs */

/* FIPS 197, appendix C: one plaintext, keys of three sizes. */
static const uint8_t KEY[32] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
				 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 };
static const uint8_t PLAIN[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
static const struct {
	size_t len;
	uint8_t cipher[16];
} FIPS197[] = {
	{ 16,
	  { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4,
	    0xc5, 0x5a } },
	{ 24,
	  { 0xdd, 0xa9, 0x7c, 0xa4, 0x86, 0x4c, 0xdf, 0xe0, 0x6e, 0xaf, 0x70, 0xa0, 0xec, 0x0d,
	    0x71, 0x91 } },
	{ 32,
	  { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49,
	    0x60, 0x89 } },
};

#define RUNS       8
#define HEAP       (4U << 20) /* as in crypto/holder.c */
#define HEAP_PAGES (HEAP / 4096)

struct one {
	struct block_run run;
	uint8_t block[16];
	unsigned int called;
	int r;
};

FIXTURE(holder)
{
	struct ring *ring;
	struct holder_client *client;
	struct holder_process *process;
	struct one one[RUNS];
};

FIXTURE_VARIANT(holder)
{
	enum ring_kind ring;
};
FIXTURE_VARIANT_ADD(holder, io_uring){ RING_IO_URING };
FIXTURE_VARIANT_ADD(holder, epoll){ RING_EPOLL };

FIXTURE_SETUP(holder)
{
	signal(SIGPIPE, SIG_IGN);
	ASSERT_OK(ring_new(variant->ring, 64, &self->ring));
	ASSERT_OK(holder_client_new(self->ring, &self->client));
	ASSERT_OK(bed_holder_start(self->client, &self->process));
}

FIXTURE_TEARDOWN(holder)
{
	holder_stop(self->process);
	ring_free(self->ring);
	holder_client_free(self->client);
}

static void id_of(uint8_t n, uint8_t ret[static KEKD_KEY_ID])
{
	memset(ret, n, KEKD_KEY_ID);
}

static int take(struct ktest_data_of_holder *self, uint8_t n, size_t len)
{
	uint8_t id[KEKD_KEY_ID];

	id_of(n, id);
	return holder_take(self->process, id, span_of(KEY, len));
}

static struct block_key *key_of(struct ktest_data_of_holder *self, uint8_t n)
{
	struct block_key *key;
	uint8_t id[KEKD_KEY_ID];

	id_of(n, id);
	ASSERT_OK(backend_holder_new(self->client, id, &key));
	return key;
}

static void one_done(struct block_run *run, int r)
{
	struct one *one = container_of(run, struct one, run);

	one->called++;
	one->r = r;
}

static void ask(struct block_key *key, struct one *one, enum block_dir dir)
{
	one->called = 0;
	one->run = (struct block_run){
		.in = one->block, .out = one->block, .blocks = 1, .dir = dir, .done = one_done
	};
	ASSERT_OK(key->ops->start(key, &one->run));
	ASSERT_EQ(0, one->called);
}

static void answer(struct ktest_data_of_holder *self, const struct one *one)
{
	while (one->called == 0)
		ASSERT_OK(ring_turn(self->ring, false));
	ASSERT_EQ(1, one->called);
}

static int encrypt(struct ktest_data_of_holder *self, struct block_key *key, struct one *one)
{
	memcpy(one->block, PLAIN, sizeof(PLAIN));
	ask(key, one, BLOCK_ENCRYPT);
	answer(self, one);
	return one->r;
}

TEST_F(holder, fips_197)
{
	struct one *one = &self->one[0];

	for (uint8_t i = 0; i < ARRAY_SIZE(FIPS197); i++) {
		struct block_key *key = key_of(self, i + 1);

		ASSERT_OK(take(self, i + 1, FIPS197[i].len));
		ASSERT_OK(encrypt(self, key, one));
		EXPECT_MEMEQ(FIPS197[i].cipher, 16, one->block, 16);
		ask(key, one, BLOCK_DECRYPT);
		answer(self, one);
		EXPECT_MEMEQ(PLAIN, 16, one->block, 16);
		key->ops->free(key);
	}
}

static void selftest_done(void *ctx, int r)
{
	*(int *)ctx = r;
}

TEST_F(holder, selftest)
{
	static const uint8_t zeros[KEKD_KEY_ID];
	struct engine_config config = bed_config();
	struct engine_key *key;
	struct block_key *block;
	struct engine *engine;
	int r = 1;

	ASSERT_OK(engine_new(&config, &engine));
	ASSERT_OK(backend_holder_new(self->client, zeros, &block));
	ASSERT_OK(engine_key_new(engine, block, &key));
	ASSERT_OK(selftest_start(engine, key, selftest_done, &r));
	while (r == 1) {
		bool more = engine_flush(engine);

		if (r == 1)
			ASSERT_OK(ring_turn(self->ring, more));
	}
	EXPECT_OK(r);
	engine_free(engine);
}

/* A key is what was given last; one that was let go, or never given, is none. */
TEST_F(holder, take_and_drop)
{
	struct block_key *key = key_of(self, 1);
	struct one *one = &self->one[0];
	uint8_t id[KEKD_KEY_ID];

	id_of(1, id);
	EXPECT_ERR(-EKEYREVOKED, encrypt(self, key, one));
	EXPECT_ERR(-EINVAL, take(self, 1, 17));
	EXPECT_ERR(-EKEYREVOKED, encrypt(self, key, one));
	ASSERT_OK(take(self, 1, 32));
	ASSERT_OK(take(self, 1, 16));
	ASSERT_OK(encrypt(self, key, one));
	EXPECT_MEMEQ(FIPS197[0].cipher, 16, one->block, 16);
	EXPECT_ERR(-EINVAL, take(self, 1, 17));
	ASSERT_OK(encrypt(self, key, one));
	ASSERT_OK(holder_drop(self->process, id));
	EXPECT_ERR(-EKEYREVOKED, encrypt(self, key, one));
	EXPECT_MEMEQ(PLAIN, 16, one->block, 16);
	ASSERT_OK(holder_drop(self->process, id));
	key->ops->free(key);
}

/* So many as a keyset may have, and room for others when some go. */
TEST_F(holder, keys_max)
{
	uint8_t id[KEKD_KEY_ID] = { 1 };

	for (uint32_t i = 0; i < KEKD_KEYS_MAX; i++) {
		memcpy(id + 4, &i, sizeof(i));
		ASSERT_OK(holder_take(self->process, id, span_of(KEY, 32)));
	}
	id[0] = 2;
	EXPECT_ERR(-ENOBUFS, holder_take(self->process, id, span_of(KEY, 32)));
	id[0] = 1;
	ASSERT_OK(holder_drop(self->process, id));
	id[0] = 2;
	EXPECT_OK(holder_take(self->process, id, span_of(KEY, 32)));
}

static void ended(struct ktest_data_of_holder *self)
{
	ASSERT_EQ(holder_pid(self->process), waitpid(holder_pid(self->process), NULL, 0));
	holder_forget(self->process);
	self->process = NULL;
}

/* As the keeper does it: the keys first. */
static int replace(struct ktest_data_of_holder *self)
{
	_cleanup_close_ int exe = open(BUILD_DIR "/kekd", O_PATH | O_CLOEXEC);
	struct link_fds fds = { 0 };
	int r;

	r = holder_start(exe, SOMEBODY, SOMEBODY, &self->process);
	if (r == 0)
		r = take(self, 1, 32);
	if (r == 0)
		r = holder_give(self->process, &fds);
	if (r == 0)
		r = holder_client_attach(self->client, fds.fd[0], fds.fd[1], fds.fd[2]);
	return r;
}

/* What had been asked, answered or not, the next holder answers. */
TEST_F(holder, next_one_answers)
{
	struct block_key *key = key_of(self, 1);

	ASSERT_OK(take(self, 1, 32));
	for (int round = 0; round < 6; round++) {
		ASSERT_OK(kill(holder_pid(self->process), SIGSTOP));
		for (size_t i = 0; i < RUNS; i++) {
			EXPECT_EQ(RUNS - i, key->ops->room(key));
			memcpy(self->one[i].block, PLAIN, sizeof(PLAIN));
			ask(key, &self->one[i], BLOCK_ENCRYPT);
		}
		EXPECT_EQ(0, key->ops->room(key));
		EXPECT_ERR(-EBUSY, key->ops->start(key, &self->one[0].run));
		ASSERT_OK(kill(holder_pid(self->process), SIGKILL));
		ended(self);
		/* With the end heard before the next is there, and with both at once. */
		while (round % 2 && !self->client->gone)
			ASSERT_OK(ring_turn(self->ring, false));
		EXPECT_EQ(0, key->ops->room(key));
		ASSERT_OK(replace(self));
		for (size_t i = 0; i < RUNS; i++) {
			answer(self, &self->one[i]);
			ASSERT_OK(self->one[i].r);
			ASSERT_MEMEQ(FIPS197[2].cipher, 16, self->one[i].block, 16);
		}
		ASSERT_OK(encrypt(self, key, &self->one[0]));
	}
	key->ops->free(key);
}

static int unread(struct ktest_data_of_holder *self)
{
	int n;

	ASSERT_OK(ioctl(self->client->answer, FIONREAD, &n));
	return n;
}

/* Rings that have been heard stay in the pipe for a while, and never fill it. */
TEST_F(holder, rings_are_read_now_and_then)
{
	struct block_key *key = key_of(self, 1);
	int most = 0;

	ASSERT_EQ(4096, fcntl(self->client->answer, F_SETPIPE_SZ, 4096));
	ASSERT_OK(take(self, 1, 32));
	for (int i = 0; i < 5000; i++) {
		ASSERT_OK(encrypt(self, key, &self->one[0]));
		most = unread(self) > most ? unread(self) : most;
	}
	EXPECT_LE(most, RINGS + 2 * (int)HOLDER_SLOTS);
	if (variant->ring == RING_IO_URING)
		EXPECT_GE(most, RINGS / 2);
	key->ops->free(key);
}

/* Nothing of a run stays in the channel. */
TEST_F(holder, channel_is_wiped)
{
	static const uint8_t zeros[16];
	struct block_key *key = key_of(self, 1);

	ASSERT_OK(take(self, 1, 32));
	ASSERT_OK(encrypt(self, key, &self->one[0]));
	EXPECT_MEMEQ(zeros, 16, self->client->channel->blocks[0], 16);
	key->ops->free(key);
}

/* --- a server of bad will --- */

static int raw(struct ktest_data_of_holder *self, uint32_t dir, uint32_t blocks, uint8_t id)
{
	struct holder_slot *slot = &self->client->channel->slots[3];
	struct pollfd p = { .fd = self->client->answer, .events = POLLIN };
	char ring;

	slot->dir = dir;
	slot->blocks = blocks;
	id_of(id, slot->id);
	slot->r = 1;
	atomic_store(&slot->state, HOLDER_ASKED);
	ASSERT_EQ(1, write(self->client->bell, "", 1));
	ASSERT_EQ(1, poll(&p, 1, 10000));
	ASSERT_EQ(1, read(self->client->answer, &ring, 1));
	ASSERT_EQ(HOLDER_DONE, atomic_load(&slot->state));
	return slot->r;
}

TEST_F(holder, bad_runs)
{
	struct block_key *key = key_of(self, 1);

	ASSERT_OK(take(self, 1, 32));
	EXPECT_OK(raw(self, BLOCK_DECRYPT, KEKD_RUN_BLOCKS_MAX, 1));
	EXPECT_ERR(-EINVAL, raw(self, 2, 1, 1));
	EXPECT_ERR(-EINVAL, raw(self, UINT32_MAX, 1, 1));
	EXPECT_ERR(-EINVAL, raw(self, BLOCK_ENCRYPT, 0, 1));
	EXPECT_ERR(-EINVAL, raw(self, BLOCK_ENCRYPT, KEKD_RUN_BLOCKS_MAX + 1, 1));
	EXPECT_ERR(-EINVAL, raw(self, BLOCK_ENCRYPT, UINT32_MAX, 1));
	EXPECT_ERR(-EKEYREVOKED, raw(self, BLOCK_ENCRYPT, 1, 2));
	ASSERT_OK(encrypt(self, key, &self->one[0]));
	EXPECT_MEMEQ(FIPS197[2].cipher, 16, self->one[0].block, 16);
	key->ops->free(key);
}

static atomic_bool meddling;

/* Each word anew, also while the holder reads it. */
static void *meddle(void *channel)
{
	static const uint32_t words[] = {
		0, 1, 2, KEKD_RUN_BLOCKS_MAX, KEKD_RUN_BLOCKS_MAX + 1, UINT32_MAX
	};
	volatile struct holder_slot *slots = ((struct holder_channel *)channel)->slots;

	for (size_t i = 0; atomic_load(&meddling); i++) {
		volatile struct holder_slot *slot = &slots[i % HOLDER_SLOTS];

		slot->blocks = words[i % ARRAY_SIZE(words)];
		slot->dir = words[i / 7 % ARRAY_SIZE(words)];
		slot->id[i % KEKD_KEY_ID] = (uint8_t)(i / 5 % 3);
		slot->r = (int32_t)i;
		slot->state = (uint32_t)(i % 11 ? HOLDER_ASKED : i);
	}
	return NULL;
}

/* It checks what it uses, whatever becomes of that meanwhile, and hears the keeper all the same. */
TEST_F(holder, asked_by_one_who_changes_his_mind)
{
	struct block_key *key = key_of(self, 1);
	uint8_t id[KEKD_KEY_ID];
	pthread_t thread;

	id_of(2, id);
	ASSERT_OK(take(self, 1, 32));
	atomic_store(&meddling, true);
	ASSERT_EQ(0, pthread_create(&thread, NULL, meddle, self->client->channel));
	for (int i = 0; i < 1000; i++) {
		ASSERT_TRUE(write(self->client->bell, "", 1) == 1 || errno == EAGAIN);
		ASSERT_OK(take(self, 2, 16));
		ASSERT_OK(holder_drop(self->process, id));
	}
	atomic_store(&meddling, false);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* The second is heard when the slots have been looked at that were left by then. */
	ASSERT_OK(take(self, 1, 32));
	ASSERT_OK(take(self, 1, 32));
	ASSERT_OK(encrypt(self, key, &self->one[0]));
	EXPECT_MEMEQ(FIPS197[2].cipher, 16, self->one[0].block, 16);
	key->ops->free(key);
}

/* A bell that is full, and answers that nobody reads, hold up neither the holder nor the keeper. */
TEST_F(holder, full_pipes)
{
	struct holder_slot *slot = &self->client->channel->slots[0];
	struct block_key *key = key_of(self, 1);
	int room;

	room = fcntl(self->client->answer, F_SETPIPE_SZ, 4096);
	ASSERT_EQ(4096, room);
	ASSERT_OK(kill(holder_pid(self->process), SIGSTOP));
	while (write(self->client->bell, "xxxxxxxxxxxxxxxx", 16) > 0)
		;
	ASSERT_EQ(EAGAIN, errno);
	ASSERT_OK(kill(holder_pid(self->process), SIGCONT));
	ASSERT_OK(take(self, 1, 32));
	slot->blocks = 1;
	slot->dir = BLOCK_ENCRYPT;
	id_of(1, slot->id);
	for (int i = 0; i < room + 10; i++) {
		atomic_store(&slot->state, HOLDER_ASKED);
		ASSERT_TRUE(write(self->client->bell, "", 1) == 1 || errno == EAGAIN);
		while (atomic_load(&slot->state) != HOLDER_DONE)
			sched_yield();
	}
	ASSERT_OK(take(self, 1, 32));
	ASSERT_OK(encrypt(self, key, &self->one[0]));
	EXPECT_MEMEQ(FIPS197[2].cipher, 16, self->one[0].block, 16);
	key->ops->free(key);
}

/* The server has the end of each pipe that it needs, and not the other. */
TEST_F(holder, ends_of_pipes)
{
	char c;

	EXPECT_EQ(-1, read(self->client->bell, &c, 1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, write(self->client->answer, "", 1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, ftruncate(self->client->bell, 0));
}

/* --- its end --- */

/* Has this kernel memfd_secret(2), and is it on? A secret file has no seals, and a common one has been sealed (EPERM). */
static bool shares_secrets(void)
{
	_cleanup_close_ int fd = -1;

	ASSERT_OK(secmem_share(4096, &fd));
	return fcntl(fd, F_ADD_SEALS, 0) < 0 && errno == EINVAL;
}

TEST_F(holder, ends_by_order)
{
	pid_t pid = holder_pid(self->process);
	struct rusage usage;

	ASSERT_OK(take(self, 1, 32));
	holder_stop(self->process);
	self->process = NULL;
	EXPECT_EQ(-1, waitpid(pid, NULL, 0));
	EXPECT_EQ(ECHILD, errno);
	ASSERT_OK(getrusage(RUSAGE_CHILDREN, &usage));
#ifndef __SANITIZE_ADDRESS__
	/* It wipes what it has used of its heap, and touches no more; where all of it is locked, the start has. */
	if (shares_secrets())
		EXPECT_LT(usage.ru_minflt, HEAP_PAGES);
#endif
}

static void killed(struct ktest_data_of_holder *self)
{
	int status = 0;

	ASSERT_EQ(holder_pid(self->process), waitpid(holder_pid(self->process), &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	holder_forget(self->process);
	self->process = NULL;
}

static void stop(pid_t pid)
{
	siginfo_t si;

	ASSERT_OK(kill(pid, SIGSTOP));
	ASSERT_OK(waitid(P_PID, (id_t)pid, &si, WSTOPPED | WNOWAIT));
}

/* One that is stopped does not stay, though no time passes and nobody orders anything. */
TEST_F(holder, stopped_is_seen_at_once)
{
	uint64_t now = now_ns();

	holder_watch(self->process, now);
	ASSERT_OK(take(self, 1, 32));
	stop(holder_pid(self->process));
	holder_watch(self->process, now);
	killed(self);
}

/* A debugger has it: it answers nothing, and is not stopped in the eyes of its parent. */
static pid_t trace(pid_t pid)
{
	int pipes[2], status;
	pid_t child;
	char c;

	ASSERT_OK(pipe(pipes));
	child = fork();
	if (child == 0) {
		if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 ||
		    ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 ||
		    waitpid(pid, &status, __WALL) != pid || write(pipes[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &c, 1));
	close(pipes[0]);
	return child;
}

/* The kernel has nothing to write into its memory when it has switched to it. */
TEST_F(holder, no_rseq)
{
	struct __ptrace_rseq_configuration rseq = { .rseq_abi_pointer = 1 };
	pid_t pid = holder_pid(self->process);
	int status;

	SKIP_UNLESS("root", geteuid() == 0, "needs root, to trace it");
	ASSERT_OK(ptrace(PTRACE_SEIZE, pid, 0, 0));
	ASSERT_OK(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, __WALL));
	ASSERT_EQ(sizeof(rseq), ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(rseq), &rseq));
	EXPECT_EQ(0, rseq.rseq_abi_pointer);
	ASSERT_OK(ptrace(PTRACE_DETACH, pid, 0, 0));
}

/* Nor does one that is silent for long, unless it is the keeper that stood still. */
TEST_F(holder, watched)
{
	static const uint64_t second = UINT64_C(1000000) * HOLDER_PING_MS;
	pid_t tracer, pid = holder_pid(self->process);
	uint64_t now = now_ns();

	SKIP_UNLESS("root", geteuid() == 0, "needs root, to trace it");
	for (int i = 0; i < 5; i++) {
		holder_watch(self->process, now += second);
		ASSERT_OK(take(self, 1, 32)); /* behind the ping */
	}
	tracer = trace(pid);
	holder_watch(self->process, now += second);
	holder_excuse(self->process, now += 3600 * second);
	holder_watch(self->process, now);
	EXPECT_OK(kill(pid, 0));
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	holder_watch(self->process, now + UINT64_C(1000000) * HOLDER_WAIT_MS);
	ASSERT_OK(kill(tracer, SIGKILL)); /* its end is told to the tracer first */
	ASSERT_EQ(tracer, waitpid(tracer, NULL, 0));
	killed(self);
}

/* --- what others get of it --- */

/* As @uid: errors of the ways to its memory and its descriptors. */
static void look_from(uid_t uid, pid_t pid, int ret[static 5])
{
	struct iovec here = { .iov_base = &(char[1]){ 0 }, .iov_len = 1 }, there = here;
	static const char *const files[] = { "mem", "maps", "fd/3" };
	char path[64];
	int pipes[2];
	pid_t child;

	ASSERT_OK(pipe(pipes));
	child = fork();
	if (child == 0) {
		int e[5] = { 0 };

		if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(1);
		e[0] = ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 ? errno : 0;
		e[1] = process_vm_readv(pid, &here, 1, &there, 1, 0) < 0 ? errno : 0;
		for (int i = 0; i < 3; i++) {
			snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
			e[2 + i] = open(path, O_RDONLY) < 0 ? errno : 0;
		}
		_exit(write(pipes[1], e, sizeof(e)) != (ssize_t)sizeof(e));
	}
	ASSERT_EQ(5 * (ssize_t)sizeof(int), read(pipes[0], ret, 5 * sizeof(int)));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(holder, its_own_user_sees_nothing)
{
	int e[5];

	SKIP_UNLESS("root", geteuid() == 0, "needs root, to be another user");
	ASSERT_OK(take(self, 1, 32));
	look_from(SOMEBODY, holder_pid(self->process), e);
	EXPECT_EQ(EPERM, e[0]);
	EXPECT_EQ(EPERM, e[1]);
	for (int i = 2; i < 5; i++)
		EXPECT_EQ(EACCES, e[i]);
}

/* All that is mapped as @name: can root read it by /proc/PID/mem? */
static int root_reads(pid_t pid, const char *name, unsigned int *ret_maps)
{
	char path[64], line[512], byte;
	_cleanup_fclose_ FILE *maps = NULL;
	_cleanup_close_ int mem = -1;
	int readable = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_TRUE(maps && mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, name))
			continue;
		(*ret_maps)++;
		readable += pread(mem, &byte, 1, (off_t)strtoull(line, NULL, 16)) == 1;
	}
	return readable;
}

/* Heap, channel and orders are secret from root itself, where the kernel has such memory. */
TEST_F(holder, secret_from_root)
{
	unsigned int maps = 0;

	SKIP_UNLESS("root", geteuid() == 0, "needs root");
	SKIP_UNLESS("memfd_secret", shares_secrets(),
		    "this kernel has no memfd_secret(2), or it is off: secretmem.enable=1");
	EXPECT_EQ(0, root_reads(holder_pid(self->process), "secretmem", &maps));
	EXPECT_EQ(3, maps);
}

/* One that does not answer an order is killed. */
TEST(stopped)
{
	_cleanup_(holder_client_freep) struct holder_client *client = NULL;
	struct holder_process *process;
	static const uint8_t id[KEKD_KEY_ID] = { 1 };
	struct ring *ring;
	int status;
	pid_t pid;

	signal(SIGPIPE, SIG_IGN);
	ASSERT_OK(ring_new(RING_EPOLL, 64, &ring));
	ASSERT_OK(holder_client_new(ring, &client));
	ASSERT_OK(bed_holder_start(client, &process));
	pid = holder_pid(process);
	stop(pid);
	EXPECT_ERR(-EPIPE, holder_take(process, id, span_of(KEY, 32)));
	EXPECT_ERR(-EPIPE, holder_take(process, id, span_of(KEY, 32)));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	holder_forget(process);
	ring_free(ring);
}

/* Where its pages cannot be mapped there is none, and nothing waits for its end. */
TEST(no_locked_memory)
{
	_cleanup_close_ int exe = open(BUILD_DIR "/kekd", O_PATH | O_CLOEXEC);
	struct rlimit none = { 0, 0 };
	struct holder_process *process;

	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &none));
	caps_drop();
	EXPECT_GT(0, holder_start(exe, geteuid(), getegid(), &process));
	EXPECT_EQ(-1, waitpid(-1, NULL, 0));
	EXPECT_EQ(ECHILD, errno);
}

/* --- libcrypto's heap --- */

TEST(heap_has_room_for_all_keys)
{
	static struct block_key *keys[KEKD_KEYS_MAX + 2];
	struct block_defer defer;
	size_t used;

	list_init(&defer.runs);
	ASSERT_OK(openssl_heap_new(HEAP));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		ASSERT_OK(backend_openssl_new(&defer, KEY, 32, &keys[i]));
	used = openssl_heap_used();
	EXPECT_LT(used, HEAP);
	/* What is given back is used again. */
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			keys[i]->ops->free(keys[i]);
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			ASSERT_OK(backend_openssl_new(&defer, KEY, 32, &keys[i]));
	}
	EXPECT_EQ(used, openssl_heap_used());
}

TEST(heap_comes_first)
{
	struct block_defer defer;
	struct block_key *key;

	list_init(&defer.runs);
	ASSERT_OK(backend_openssl_new(&defer, KEY, 32, &key));
	EXPECT_ERR(-EALREADY, openssl_heap_new(HEAP));
	key->ops->free(key);
}

TEST_HARNESS_MAIN
