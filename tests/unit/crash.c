/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon dies between any two steps of writing to the store. A child lives through the whole
 * life of a few keys and is killed at its N-th step, for every N; then the store must load, with
 * one active key of the name or none where none was made yet, with every key that the child was
 * told is there, each in a state not behind the one it was told.
 *
 * This is the death of a process, not of the machine: what fsync(2) is for, no test here can see.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Steps left to live; 0 is immortal. */
static unsigned long steps_left;

static void durable_step(void)
{
	if (steps_left > 0 && --steps_left == 0)
		kill(getpid(), SIGKILL);
}

#define KEKD_TEST_HOOKS
#include "daemon/keys/store.c" /* instead of the library's */

#include "daemon/keys/keyset.h"
#include "tests/unit/scratch.h"

#define NAME     "primary"
#define TOLD_MAX 8

/* What the child knows to be done, in memory that outlives it. */
struct told {
	bool finished;
	size_t n;
	struct {
		uint8_t id[KEKD_KEY_ID];
		unsigned int rank;
		uint32_t activation;
	} keys[TOLD_MAX];
	uint32_t activation; /* the highest ever shown */
};

FIXTURE(crash)
{
	struct scratch dir;
	struct soft_root *root;
	struct told *told;
};

FIXTURE_SETUP(crash)
{
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	self->told = mmap(NULL, sizeof(*self->told), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->told);
}

FIXTURE_TEARDOWN(crash)
{
	munmap(self->told, sizeof(*self->told));
	soft_root_free(self->root);
}

struct life {
	struct key_store *store;
	struct keyset *set;
	struct told *told;
};

static void open_store(const struct scratch *dir, const struct soft_root *root, struct life *l)
{
	ASSERT_OK(key_store_open(dir->path, &l->store));
	ASSERT_OK(keyset_new(l->store, NULL, root, &l->set));
	ASSERT_OK(keyset_load(l->set));
}

static void close_store(struct life *l)
{
	keyset_free(l->set);
	key_store_close(l->store);
}

/* What the child has seen the set return is what its clients may rely on. */
static void tell(struct life *l, size_t i)
{
	const struct keyset_key *key = keyset_find(l->set, l->told->keys[i].id);

	ASSERT_NOT_NULL(key);
	l->told->keys[i].rank = key->rec.state;
	l->told->keys[i].activation = key->rec.activation;
	if (key->rec.activation > l->told->activation)
		l->told->activation = key->rec.activation;
}

static size_t make(struct life *l, enum key_state state)
{
	const struct keyset_key *key;
	size_t i = l->told->n;

	ASSERT_OK(keyset_create(l->set, NAME, state, &key));
	memcpy(l->told->keys[i].id, key->rec.id, KEKD_KEY_ID);
	l->told->n++;
	tell(l, i);
	return i;
}

static void step(struct life *l, size_t i, enum key_state to)
{
	/* From here on the key may be in either state. */
	ASSERT_OK(keyset_step(l->set, l->told->keys[i].id, to, 0));
	for (size_t j = 0; j < l->told->n; j++)
		tell(l, j);
}

/* Create, stage, activate, go back, rotate, retire, reopen, retire, destroy. */
static void live(struct life *l)
{
	size_t a = make(l, KEY_ACTIVE), b = make(l, KEY_STAGED), c;

	step(l, b, KEY_ACTIVE);
	step(l, a, KEY_ACTIVE);
	step(l, b, KEY_ACTIVE);
	step(l, a, KEY_RETIRED);
	step(l, a, KEY_DECRYPT_ONLY);
	step(l, a, KEY_RETIRED);
	step(l, a, KEY_DESTROYED);
	c = make(l, KEY_STAGED);
	step(l, c, KEY_ACTIVE);
	step(l, b, KEY_RETIRED);
	step(l, b, KEY_DESTROYED);
}

static void run_child(struct ktest_data_of_crash *self, unsigned long n)
{
	int status;
	pid_t pid;

	*self->told = (struct told){ 0 };
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		/* Keys in locked memory are not inherited: the child has a root of the same bytes. */
		struct life l = { .told = self->told };
		uint8_t secret[32] = "a root of the same bytes, always";

		ASSERT_OK(soft_root_new(span_of(secret, sizeof(secret)), &self->root));
		steps_left = n;
		open_store(&self->dir, self->root, &l);
		live(&l);
		close_store(&l);
		self->told->finished = true;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(self->told->finished ? WIFEXITED(status) && WEXITSTATUS(status) == 0
					 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static size_t active_keys(const struct keyset *set)
{
	size_t n = 0;

	for (const struct list *i = keyset_list(set)->next; i != keyset_list(set); i = i->next)
		n += list_entry(i, struct keyset_key, link)->rec.state == KEY_ACTIVE;
	return n;
}

/* Nothing the child was told is lost. */
static void examine(struct life *l, const struct told *told)
{
	const struct keyset_key *active;

	EXPECT_EQ(0U, keyset_unreadable(l->set));
	EXPECT_EQ(0U, keyset_missing(l->set));
	EXPECT_OK(keyset_distrust(l->set));
	for (size_t i = 0; i < told->n; i++) {
		const struct keyset_key *key = keyset_find(l->set, told->keys[i].id);

		ASSERT_NOT_NULL(key);
		EXPECT_LE(told->keys[i].activation, key->rec.activation);
		if (keyset_state_opens(key->rec.state))
			EXPECT_OK(key->why);
		/* Only the step that was under way may have been made beyond what was told. */
		EXPECT_TRUE(key->rec.state == told->keys[i].rank ||
			    keyset_step_is_legal(told->keys[i].rank, key->rec.state));
	}
	EXPECT_LE(active_keys(l->set), 1U);
	if (told->n > 0) {
		ASSERT_OK(keyset_active(l->set, NAME, &active));
		EXPECT_LE(told->activation, active->rec.activation);
	}
}

static void accept_one(void *ctx, const struct keyset_key *key, int r)
{
	(void)ctx;
	(void)key;
	EXPECT_OK(r);
}

/* It loads, it is whole, a second load finds the same, and life goes on. */
static void check(struct ktest_data_of_crash *self)
{
	struct life l = { .told = self->told };
	const struct keyset_key *key;

	open_store(&self->dir, self->root, &l);
	examine(&l, self->told);
	close_store(&l);
	open_store(&self->dir, self->root, &l);
	examine(&l, self->told);
	EXPECT_OK(keyset_verify(l.set, accept_one, NULL));
	ASSERT_OK(keyset_create(l.set, NAME, KEY_STAGED, &key));
	if (key->rec.state == KEY_STAGED)
		EXPECT_OK(keyset_step(l.set, key->rec.id, KEY_ACTIVE, 0));
	EXPECT_EQ(1U, active_keys(l.set));
	close_store(&l);
}

TEST_F_TIMEOUT(crash, at_every_step_of_a_life, 300)
{
	uint8_t secret[32] = "a root of the same bytes, always";
	unsigned long n = 0;

	soft_root_free(self->root);
	ASSERT_OK(soft_root_new(span_of(secret, sizeof(secret)), &self->root));
	do {
		scratch_make(&self->dir);
		run_child(self, ++n);
		check(self);
		scratch_remove(&self->dir);
	} while (!self->told->finished);
	fprintf(stderr, "# killed at each of %lu steps\n", n - 1);
	EXPECT_LE(200UL, n - 1);
}

TEST_HARNESS_MAIN
