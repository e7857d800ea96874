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
#include "tests/support/root.h"
#include "tests/unit/alone.h"
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
	struct root_key *root;
	struct told *told;
};

FIXTURE_SETUP(crash)
{
	ASSERT_OK(test_root(&self->root));
	self->told = mmap(NULL, sizeof(*self->told), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->told);
}

FIXTURE_TEARDOWN(crash)
{
	munmap(self->told, sizeof(*self->told));
	root_key_free(self->root);
}

struct life {
	struct key_store *store;
	struct keyset *set;
	struct told *told;
};

static void open_store(const struct scratch *dir, const struct root_key *root, struct life *l)
{
	ASSERT_OK(key_store_open(dir->path, &l->store));
	ASSERT_OK(keyset_new(l->store, root, "cp-1", &l->set));
	ASSERT_OK(keyset_load(l->set));
}

static void close_store(struct life *l)
{
	keyset_free(l->set);
	key_store_close(l->store);
}

/* What the child has seen the set return is what its clients may rely on. */
static void tell(struct life *l)
{
	for (size_t i = 0; i < l->told->n; i++) {
		const struct keyset_key *key = keyset_find(l->set, l->told->keys[i].id);

		l->told->keys[i].rank = key ? key->rec.info.state : KEY_DESTROYED;
		if (key)
			l->told->keys[i].activation = key->rec.info.activation;
		if (key && key->rec.info.activation > l->told->activation)
			l->told->activation = key->rec.info.activation;
	}
}

static size_t stage(struct life *l)
{
	const struct keyset_key *key;
	size_t i = l->told->n;

	ASSERT_OK(alone_stage(l->set, NAME, &key));
	memcpy(l->told->keys[i].id, key->rec.info.id, KEKD_KEY_ID);
	l->told->n++;
	tell(l);
	return i;
}

static void step(struct life *l, size_t i, enum keydoc_change_kind kind)
{
	/* From here on the key may be in either state. */
	ASSERT_OK(alone_step(l->set, kind, l->told->keys[i].id));
	tell(l);
}

/* Everything that a key can go through, some of it twice. */
static void live(struct life *l)
{
	size_t a = stage(l), b, c;

	step(l, a, KEYDOC_ACTIVATE);
	b = stage(l);
	step(l, b, KEYDOC_ACTIVATE);
	step(l, a, KEYDOC_ACTIVATE);
	step(l, b, KEYDOC_ACTIVATE);
	step(l, a, KEYDOC_MARK);
	step(l, a, KEYDOC_RETIRE);
	step(l, a, KEYDOC_REOPEN);
	step(l, a, KEYDOC_RETIRE);
	step(l, a, KEYDOC_MARK);
	step(l, a, KEYDOC_DESTROY);
	c = stage(l);
	step(l, c, KEYDOC_GIVE_UP);
	step(l, c, KEYDOC_ACTIVATE);
	step(l, b, KEYDOC_RETIRE);
	step(l, b, KEYDOC_DESTROY);
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

		ASSERT_OK(root_key_new_in_memory(span_of(secret, sizeof(secret)), &self->root));
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
		n += list_entry(i, struct keyset_key, link)->rec.info.state == KEY_ACTIVE;
	return n;
}

/* May a key be found in state @to by who was told that it is in state @from? One change may lie between. */
static bool may_become(enum key_state from, enum key_state to)
{
	static const unsigned int next[KEY_STATES] = {
		[KEY_STAGED] = 1U << KEY_ACTIVE | 1U << KEY_DECRYPT_ONLY,
		[KEY_ACTIVE] = 1U << KEY_DECRYPT_ONLY,
		[KEY_DECRYPT_ONLY] = 1U << KEY_ACTIVE | 1U << KEY_RETIRED,
		[KEY_RETIRED] = 1U << KEY_DECRYPT_ONLY | 1U << KEY_DESTROYED,
	};

	return from == to || (next[from] & 1U << to);
}

/* Nothing the child was told is lost. */
static void examine(struct life *l, const struct told *told)
{
	const struct keyset_key *active;

	EXPECT_TRUE(keyset_why(l->set) == 0 || (told->n == 0 && keyset_why(l->set) == -ENODATA));
	EXPECT_FALSE(keyset_is_previous(l->set));
	for (size_t i = 0; i < told->n; i++) {
		const struct keyset_key *key = keyset_find(l->set, told->keys[i].id);
		enum key_state now = key ? key->rec.info.state : KEY_DESTROYED;

		EXPECT_TRUE(may_become(told->keys[i].rank, now));
		EXPECT_TRUE(key || keydoc_is_gone(keyset_doc(l->set), told->keys[i].id));
		if (!key)
			continue;
		EXPECT_LE(told->keys[i].activation, key->rec.info.activation);
		if (key_state_opens(now))
			EXPECT_OK(key->why);
	}
	EXPECT_LE(active_keys(l->set), 1U);
	if (told->activation > 0) {
		ASSERT_OK(keyset_active(l->set, NAME, &active));
		EXPECT_LE(told->activation, active->rec.info.activation);
	}
}

static void accept_one(void *ctx, const struct key_record *rec, int r)
{
	(void)ctx;
	(void)rec;
	EXPECT_OK(r);
}

/* It loads, it is whole, a second load finds the same, and life goes on. */
static void check(struct ktest_data_of_crash *self)
{
	struct life l = { .told = self->told };
	const struct keyset_key *key;
	int r;

	open_store(&self->dir, self->root, &l);
	examine(&l, self->told);
	close_store(&l);
	open_store(&self->dir, self->root, &l);
	examine(&l, self->told);
	EXPECT_OK(keyset_verify(l.set, accept_one, NULL));
	r = alone_stage(l.set, NAME, &key);
	EXPECT_TRUE(r == 0 || r == -EALREADY); /* one that the dead had staged is taken up */
	EXPECT_OK(alone_step(l.set, KEYDOC_ACTIVATE, key->rec.info.id));
	EXPECT_EQ(1U, active_keys(l.set));
	close_store(&l);
}

TEST_F_TIMEOUT(crash, at_every_step_of_a_life, 300)
{
	uint8_t secret[32] = "a root of the same bytes, always";
	unsigned long n = 0;

	root_key_free(self->root);
	ASSERT_OK(root_key_new_in_memory(span_of(secret, sizeof(secret)), &self->root));
	do {
		scratch_make(&self->dir);
		run_child(self, ++n);
		check(self);
		scratch_remove(&self->dir);
	} while (!self->told->finished);
	fprintf(stderr, "# killed at each of %lu steps\n", n - 1);
	EXPECT_LE(100UL, n - 1);
}

TEST_HARNESS_MAIN
