/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a key was used, over the file that a crash leaves: it never says less than what the servers may
 * have done. The keeper has no server here, so that nothing but the file is spoken of.
 */
#include <string.h>

#include "daemon/keeper/keeper_private.h"
#include "tests/harness/ktest.h"
#include "tests/unit/scratch.h"

#define FIRST UINT64_C(10000) /* of one server, before its first report */

FIXTURE(counts)
{
	struct scratch dir;
	struct keeper k;
	struct config config;
	struct conf conf;
};

FIXTURE_SETUP(counts)
{
	scratch_make(&self->dir);
	self->k.conf = &self->conf;
	self->config.workers = 1;
	self->config.backend = CONFIG_BACKEND_OPENSSL;
	self->conf.config = &self->config;
	ASSERT_OK(key_store_open(self->dir.path, &self->k.store));
	ASSERT_OK(soft_root_new_ephemeral(&self->k.soft_root));
	ASSERT_OK(keyset_new(self->k.store, NULL, self->k.soft_root, "cp-1", &self->k.keys));
	ASSERT_OK(keyset_load(self->k.keys));
	ASSERT_OK(acks_open(&self->k));
}

FIXTURE_TEARDOWN(counts)
{
	acks_close(&self->k);
	keyset_free(self->k.keys);
	soft_root_free(self->k.soft_root);
	key_store_close(self->k.store);
	scratch_remove(&self->dir);
}

static const struct keyset_key *make(struct keeper *k, const char *name)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(k, name, &why, &key));
	return key;
}

static void used(struct keeper *k, const uint8_t *id, uint64_t encryptions)
{
	struct link_msg msg = { .encryptions = encryptions };

	memcpy(msg.id, id, sizeof(msg.id));
	counts_add(k, &msg);
}

/* By small reports, so much that the file is written. */
static void used_up(struct keeper *k, const uint8_t *id)
{
	for (int i = 0; i < 6; i++)
		used(k, id, FIRST / 10);
}

/* Another process over the same files. */
static void start_again(struct keeper *k)
{
	keyset_free(k->keys);
	ASSERT_OK(keyset_new(k->store, NULL, k->soft_root, "cp-1", &k->keys));
	ASSERT_OK(keyset_load(k->keys));
	k->n_counts = 0;
	k->largest_report = 0;
	counts_load(k);
}

/* What the servers were granted until now is what counts, whether they have used it or not. */
static void crash(struct keeper *k)
{
	struct keeper_counts before[KEKD_KEYS_MAX];
	size_t n = k->n_counts;

	memcpy(before, k->counts, sizeof(before));
	start_again(k);
	for (size_t i = 0; i < n; i++)
		EXPECT_LE(before[i].reserved, counts_of(k, before[i].id)->encryptions);
}

static ino_t inode(const struct scratch *dir)
{
	struct stat st;

	ASSERT_EQ(0, stat(scratch_path(dir, KEY_STORE_COUNTS), &st));
	return st.st_ino;
}

TEST_F(counts, first_room_needs_no_line)
{
	const struct keyset_key *key = make(&self->k, "a");

	EXPECT_EQ(0U, counts_of(&self->k, key->rec.id)->encryptions);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.id)->reserved);
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_COUNTS));
	crash(&self->k);
	key = keyset_find(self->k.keys, keyset_doc(self->k.keys)->keys[0].id);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.id)->encryptions);
	counts_reserve(&self->k); /* the second room is written down */
	EXPECT_TRUE(scratch_has(&self->dir, KEY_STORE_COUNTS));
	crash(&self->k);
}

TEST_F(counts, a_key_that_was_never_active_has_no_room)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	uint8_t id[KEKD_KEY_ID];

	make(&self->k, "a");
	ASSERT_OK(keeper_stage(&self->k, "a", &why, &key));
	memcpy(id, key->rec.id, sizeof(id));
	crash(&self->k);
	EXPECT_EQ(0U, counts_of(&self->k, id)->encryptions);
}

TEST_F(counts, a_rotation_costs_no_write)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t old[KEKD_KEY_ID];
	ino_t file;

	memcpy(old, key->rec.id, sizeof(old));
	used_up(&self->k, old);
	file = inode(&self->dir);
	make(&self->k, "a");
	EXPECT_EQ(file, inode(&self->dir));
	crash(&self->k);
	EXPECT_EQ(file, inode(&self->dir));
	EXPECT_LT(FIRST, counts_of(&self->k, old)->encryptions);
}

/* Servers that do more than the first room holds until they report have more, and that is written. */
TEST_F(counts, the_first_room_of_a_busy_machine_is_written)
{
	const struct keyset_key *key = make(&self->k, "a");

	used(&self->k, key->rec.id, 10 * FIRST);
	key = make(&self->k, "a");
	EXPECT_EQ(40 * FIRST, counts_of(&self->k, key->rec.id)->reserved);
	crash(&self->k);
}

/* While the key was staged the file was written for another one, and says zero of it. */
TEST_F(counts, a_key_whose_line_says_zero)
{
	const struct keyset_key *key, *other = make(&self->k, "a");
	struct keydoc_refusal why;

	ASSERT_OK(keeper_stage(&self->k, "b", &why, &key));
	used_up(&self->k, other->rec.id);
	ASSERT_OK(keeper_step(&self->k, KEYDOC_ACTIVATE, key->rec.id, &why));
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.id)->reserved);
	crash(&self->k);
}

/* A clean end writes the exact numbers; what the next process grants is granted anew. */
TEST_F(counts, after_a_clean_end)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.id, sizeof(id));
	used(&self->k, id, 5);
	counts_end(&self->k);
	start_again(&self->k);
	EXPECT_EQ(5U, counts_of(&self->k, id)->encryptions);
	counts_reserve(&self->k);
	EXPECT_EQ(5 + FIRST, counts_of(&self->k, id)->reserved);
	crash(&self->k);
}

TEST_F(counts, after_a_clean_end_without_use)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.id, sizeof(id));
	counts_end(&self->k);
	start_again(&self->k);
	EXPECT_EQ(0U, counts_of(&self->k, id)->encryptions);
	counts_reserve(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, id)->reserved);
	crash(&self->k);
}

/* The keyset before is in use and does not know the key; when it comes back, what it has done is known. */
TEST_F(counts, of_a_key_that_is_not_there_once)
{
	char keyset[512], aside[512];
	uint8_t id[KEKD_KEY_ID];

	snprintf(keyset, sizeof(keyset), "%s", scratch_path(&self->dir, KEY_STORE_KEYSET));
	snprintf(aside, sizeof(aside), "%s", scratch_path(&self->dir, "aside"));
	make(&self->k, "other");
	memcpy(id, make(&self->k, "a")->rec.id, sizeof(id));
	make(&self->k, "third"); /* so that the one before has it too, and the one before that */
	used(&self->k, id, 5);
	counts_end(&self->k);
	ASSERT_EQ(0, rename(keyset, aside));
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, KEY_STORE_PREV)));
	start_again(&self->k);
	EXPECT_NULL(keyset_find(self->k.keys, id));
	make(&self->k, "other");
	counts_end(&self->k); /* the file is written anew */
	ASSERT_EQ(0, rename(aside, keyset));
	start_again(&self->k);
	ASSERT_NOT_NULL(keyset_find(self->k.keys, id));
	EXPECT_EQ(5U, counts_of(&self->k, id)->encryptions);
}

/* Nobody knows what it has done since its last report. */
TEST_F(counts, a_server_that_died)
{
	const struct keyset_key *key = make(&self->k, "a");

	used(&self->k, key->rec.id, 5);
	counts_server_died(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.id)->encryptions);
	EXPECT_EQ(2 * FIRST, counts_of(&self->k, key->rec.id)->reserved);
	crash(&self->k);
}

/* A key is written with until another one takes its name. */
TEST_F(counts, when_it_was_last_written_with)
{
	const struct keyset_key *old = make(&self->k, "a"), *next;

	EXPECT_EQ(0U, counts_of(&self->k, old->rec.id)->wrote_ns);
	EXPECT_EQ(0, counts_written_until(&self->k, &old->rec));
	next = make(&self->k, "a");
	EXPECT_LT(0U, counts_of(&self->k, old->rec.id)->wrote_ns);
	EXPECT_LT(time(NULL), counts_written_until(&self->k, &old->rec));
	EXPECT_EQ(0U, counts_of(&self->k, next->rec.id)->wrote_ns);
	used(&self->k, next->rec.id, 0); /* it has opened values */
	EXPECT_EQ(0U, counts_of(&self->k, next->rec.id)->wrote_ns);
	used(&self->k, next->rec.id, 1);
	EXPECT_LT(0U, counts_of(&self->k, next->rec.id)->wrote_ns);
}

TEST_HARNESS_MAIN
