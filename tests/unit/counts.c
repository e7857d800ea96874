/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a key was used, over the file that a crash leaves: it never says less than what the servers may
 * have done. The keeper has no server here, so that nothing but the file is spoken of.
 */
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "daemon/keeper/keeper_private.h"
#include "daemon/sys/ring.h"
#include "tests/harness/ktest.h"
#include "tests/support/root.h"
#include "tests/unit/scratch.h"

#define FIRST UINT64_C(10000) /* of one server, before its first report */

FIXTURE(counts)
{
	struct scratch dir;
	struct keeper k;
	struct config config;
	struct conf conf;
};

typedef struct ktest_data_of_counts fix;

FIXTURE_SETUP(counts)
{
	scratch_make(&self->dir);
	self->k.conf = &self->conf;
	self->config.workers = 1;
	self->config.custody = CONFIG_CUSTODY_HOLDER;
	self->conf.config = &self->config;
	ASSERT_OK(key_store_open(self->dir.path, &self->k.store));
	ASSERT_OK(test_root(&self->k.root));
	ASSERT_OK(keyset_new(self->k.store, self->k.root, "cp-1", &self->k.keys));
	ASSERT_OK(keyset_load(self->k.keys));
	ASSERT_OK(acks_open(&self->k));
}

FIXTURE_TEARDOWN(counts)
{
	acks_close(&self->k);
	keyset_free(self->k.keys);
	root_key_free(self->k.root);
	key_store_close(self->k.store);
	scratch_remove(&self->dir);
}

static const struct keyset_key *make(struct keeper *k, const char *name)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(k, name, &why, &key, NULL));
	return key;
}

static void used(struct keeper *k, const uint8_t *id, uint64_t encryptions)
{
	struct link_msg msg = { .encryptions = encryptions };

	memcpy(msg.key.id, id, sizeof(msg.key.id));
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
	ASSERT_OK(keyset_new(k->store, k->root, "cp-1", &k->keys));
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

	EXPECT_EQ(0U, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	EXPECT_FALSE(scratch_has(&self->dir, KEY_STORE_COUNTS));
	crash(&self->k);
	key = keyset_find(self->k.keys, keyset_doc(self->k.keys)->keys[0].info.id);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.info.id)->encryptions);
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
	memcpy(id, key->rec.info.id, sizeof(id));
	crash(&self->k);
	EXPECT_EQ(0U, counts_of(&self->k, id)->encryptions);
}

TEST_F(counts, a_rotation_costs_no_write)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t old[KEKD_KEY_ID];
	ino_t file;

	memcpy(old, key->rec.info.id, sizeof(old));
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

	used(&self->k, key->rec.info.id, 10 * FIRST);
	key = make(&self->k, "a");
	EXPECT_EQ(40 * FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	crash(&self->k);
}

/* While the key was staged the file was written for another one, and says zero of it. */
TEST_F(counts, a_key_whose_line_says_zero)
{
	const struct keyset_key *key, *other = make(&self->k, "a");
	struct keydoc_refusal why;

	ASSERT_OK(keeper_stage(&self->k, "b", &why, &key));
	used_up(&self->k, other->rec.info.id);
	ASSERT_OK(keeper_step(&self->k, KEYDOC_ACTIVATE, key->rec.info.id, &why));
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	crash(&self->k);
}

/* The bound of a key, with what may have been done since the last report; a restart does not move it. */
TEST_F(counts, a_key_that_is_spent)
{
	const struct keyset_key *key = make(&self->k, "a"), *next;

	while (!counts_spent(&self->k, &key->rec))
		used(&self->k, key->rec.info.id, KEKD_KEY_MESSAGES / 16);
	EXPECT_LE(KEKD_KEY_MESSAGES / 2, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_GE(KEKD_KEY_MESSAGES, counts_of(&self->k, key->rec.info.id)->encryptions);
	crash(&self->k);
	key = keyset_find(self->k.keys, keyset_doc(self->k.keys)->keys[0].info.id);
	counts_reserve(&self->k);
	EXPECT_TRUE(counts_spent(&self->k, &key->rec));
	next = make(&self->k, "a");
	EXPECT_FALSE(counts_spent(&self->k, &next->rec));
}

/* What a server did while the keeper stood still comes as one report: no other key ends by that. */
TEST_F(counts, a_report_of_a_long_time)
{
	const struct keyset_key *key, *next;

	self->config.workers = KEKD_WORKERS_MAX;
	key = make(&self->k, "a");
	used(&self->k, key->rec.info.id, KEKD_KEY_MESSAGES / 4);
	EXPECT_FALSE(counts_spent(&self->k, &key->rec));
	used(&self->k, key->rec.info.id, UINT32_MAX);
	EXPECT_TRUE(counts_spent(&self->k, &key->rec));
	next = make(&self->k, "a");
	counts_reserve(&self->k);
	EXPECT_FALSE(counts_spent(&self->k, &next->rec));
	crash(&self->k);
}

/* A clean end writes the exact numbers; what the next process grants is granted anew. */
TEST_F(counts, after_a_clean_end)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.info.id, sizeof(id));
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

	memcpy(id, key->rec.info.id, sizeof(id));
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
	memcpy(id, make(&self->k, "a")->rec.info.id, sizeof(id));
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

	used(&self->k, key->rec.info.id, 5);
	counts_server_died(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_EQ(2 * FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	crash(&self->k);
}

/* One of many, which has done no more than one. */
TEST_F(counts, one_of_many_servers_died)
{
	const struct keyset_key *key;

	self->config.workers = KEKD_WORKERS_MAX;
	key = make(&self->k, "a");
	EXPECT_EQ(KEKD_WORKERS_MAX * FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	counts_server_died(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_EQ(KEKD_WORKERS_MAX * FIRST, counts_of(&self->k, key->rec.info.id)->reserved);
	crash(&self->k);
}

/* A key is written with until another one takes its name. */
TEST_F(counts, when_it_was_last_written_with)
{
	const struct keyset_key *old = make(&self->k, "a"), *next;

	EXPECT_EQ(0U, counts_of(&self->k, old->rec.info.id)->wrote_ns);
	next = make(&self->k, "a");
	EXPECT_LT(0U, counts_of(&self->k, old->rec.info.id)->wrote_ns);
	EXPECT_EQ(0U, counts_of(&self->k, next->rec.info.id)->wrote_ns);
	used(&self->k, next->rec.info.id, 0); /* it has opened values */
	EXPECT_EQ(0U, counts_of(&self->k, next->rec.info.id)->wrote_ns);
	used(&self->k, next->rec.info.id, 1);
	EXPECT_LT(0U, counts_of(&self->k, next->rec.info.id)->wrote_ns);
}

/* A disk that refuses: the room that is on record is said to be used up when it is, and not before. */
TEST_F(counts, a_disk_that_refuses)
{
	const struct keyset_key *key = make(&self->k, "a");

	used(&self->k, key->rec.info.id, FIRST / 10);
	ASSERT_EQ(0,
		  mkdir(scratch_path(&self->dir, KEY_STORE_COUNTS ".tmp"), 0700)); /* in the way */
	used(&self->k, key->rec.info.id, FIRST * 9 / 10);
	EXPECT_TRUE(self->k.counts_failed);
	EXPECT_FALSE(counts_behind(&self->k));
	used(&self->k, key->rec.info.id, 1);
	EXPECT_TRUE(counts_behind(&self->k));
	/* It is tried again by itself, not at once. */
	counts_tick(&self->k, now_ns());
	EXPECT_TRUE(counts_behind(&self->k));
	ASSERT_EQ(0, rmdir(scratch_path(&self->dir, KEY_STORE_COUNTS ".tmp")));
	counts_tick(&self->k, now_ns());
	EXPECT_TRUE(counts_behind(&self->k));
	counts_tick(&self->k, now_ns() + UINT64_C(5000000000));
	EXPECT_FALSE(counts_behind(&self->k));
	EXPECT_FALSE(self->k.counts_failed);
	crash(&self->k);
}

static char *file_of(fix *f, size_t *ret_len)
{
	char *text;

	ASSERT_OK(key_store_read(f->k.store, KEY_STORE_COUNTS, 128 * 1024, &text, ret_len));
	return text;
}

/* Whatever byte of the file is changed (here each seventh), or left out at its end, it is not believed. */
TEST_F(counts, no_altered_file_is_believed)
{
	const struct keyset_key *key = make(&self->k, "a");
	_cleanup_free_ char *text = NULL;
	uint8_t id[KEKD_KEY_ID];
	size_t len;

	memcpy(id, key->rec.info.id, sizeof(id));
	used_up(&self->k, id);
	start_again(&self->k);
	EXPECT_LT(FIRST, counts_of(&self->k, id)->encryptions);
	text = file_of(self, &len);
	for (size_t i = 0; i < len; i += 7) {
		text[i] ^= 1;
		ASSERT_OK(key_store_write(self->k.store, KEY_STORE_COUNTS, text, len));
		text[i] ^= 1;
		start_again(&self->k);
		ASSERT_EQ(FIRST, counts_of(&self->k, id)->encryptions);
	}
	ASSERT_OK(key_store_write(self->k.store, KEY_STORE_COUNTS, text, len - 1));
	start_again(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, id)->encryptions);
	ASSERT_OK(key_store_write(self->k.store, KEY_STORE_COUNTS, text, len));
	start_again(&self->k);
	EXPECT_LT(FIRST, counts_of(&self->k, id)->encryptions);
}

/* A disk that was copied: what this node has done is not what that one did. */
TEST_F(counts, another_nodes_file)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.info.id, sizeof(id));
	used_up(&self->k, id);
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, KEY_STORE_NODE)));
	start_again(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, id)->encryptions);
}

/* Nothing on a machine is newer than its disk: alone it does not find this out. */
TEST_F(counts, an_older_file_is_believed)
{
	const struct keyset_key *key = make(&self->k, "a");
	_cleanup_free_ char *text = NULL;
	uint64_t before;
	size_t len;

	used_up(&self->k, key->rec.info.id);
	text = file_of(self, &len);
	before = counts_of(&self->k, key->rec.info.id)->reserved;
	used(&self->k, key->rec.info.id, 10 * FIRST);
	EXPECT_LT(before, counts_of(&self->k, key->rec.info.id)->reserved);
	ASSERT_OK(key_store_write(self->k.store, KEY_STORE_COUNTS, text, len));
	key = NULL;
	start_again(&self->k);
	EXPECT_EQ(before, self->k.counts[0].encryptions);
}

/* What `kekctl backup` saves, as it comes to another machine. */
struct saved {
	struct keydoc *doc;
	struct keyack *ack;
};

static struct saved save(struct keeper *k)
{
	struct saved s = { 0 };

	ASSERT_OK(keydoc_copy(keyset_doc(k->keys), &s.doc));
	ASSERT_OK(acks_own(k, &s.ack));
	acks_sum(k, s.ack);
	return s;
}

static void saved_free(struct saved *s)
{
	keydoc_free(s->doc);
	keyack_free(s->ack);
}

/* The disk is empty; the root key is the same. */
static void new_machine(fix *f)
{
	scratch_remove(&f->dir);
	key_store_close(f->k.store);
	scratch_make(&f->dir);
	ASSERT_OK(key_store_open(f->dir.path, &f->k.store));
	start_again(&f->k);
	EXPECT_EQ(0U, f->k.n_counts);
}

static const struct keyset_key *restore(fix *f, const struct saved *s)
{
	static const uint8_t nonce[KEYDOC_NODE] = { 0x66 };
	struct keydoc_refusal why;
	struct keydoc *next;

	ASSERT_OK(counts_bring(&f->k, s->doc, s->ack));
	ASSERT_OK(keydoc_restore(s->doc, keyset_self(f->k.keys), nonce, 1, &next));
	ASSERT_OK(keeper_take(&f->k, next, &why));
	return keyset_find(f->k.keys, s->doc->keys[0].info.id);
}

static void take_with(struct keeper *k, void (*alter)(struct keydoc *doc))
{
	struct keydoc_refusal why;
	struct keydoc *next;

	ASSERT_OK(keydoc_copy(keyset_doc(k->keys), &next));
	next->generation++;
	alter(next);
	ASSERT_OK(keeper_take(k, next, &why));
}

/* On an empty machine the key ends where it would have ended here. */
TEST_F(counts, come_with_a_backup)
{
	const struct keyset_key *key = make(&self->k, "a");
	struct saved s;
	uint64_t granted;

	used(&self->k, key->rec.info.id, 5 * FIRST);
	granted = counts_of(&self->k, key->rec.info.id)->reserved;
	s = save(&self->k);
	new_machine(self);
	key = restore(self, &s);
	EXPECT_EQ(granted, counts_of(&self->k, key->rec.info.id)->encryptions);
	EXPECT_FALSE(counts_spent(&self->k, &key->rec));
	crash(&self->k);
	key = keyset_find(self->k.keys, s.doc->keys[0].info.id);
	EXPECT_LE(granted, counts_of(&self->k, key->rec.info.id)->encryptions);
	/* The same again: nothing is added to what is known. */
	granted = counts_of(&self->k, key->rec.info.id)->encryptions;
	ASSERT_OK(counts_bring(&self->k, s.doc, s.ack));
	EXPECT_EQ(granted, counts_of(&self->k, key->rec.info.id)->encryptions);
	saved_free(&s);
}

TEST_F(counts, of_a_spent_key_come_with_a_backup)
{
	const struct keyset_key *key = make(&self->k, "a");
	struct saved s;

	while (!counts_spent(&self->k, &key->rec))
		used(&self->k, key->rec.info.id, KEKD_KEY_MESSAGES / 16);
	s = save(&self->k);
	new_machine(self);
	key = restore(self, &s);
	EXPECT_TRUE(counts_spent(&self->k, &key->rec));
	key = make(&self->k, "a");
	EXPECT_FALSE(counts_spent(&self->k, &key->rec));
	saved_free(&s);
}

static void with_another_member(struct keydoc *doc)
{
	struct keydoc_member *m = &doc->members[doc->n_members++];

	memset(m->id, 0x22, sizeof(m->id));
	snprintf(m->name, sizeof(m->name), "cp-2");
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, doc->node, sizeof(doc->hand));
}

/* Another node's word of the first key. */
static void says(struct keeper *k, uint8_t node, uint64_t uses)
{
	struct keyack *ack;

	ASSERT_OK(keyack_new(&ack));
	memset(ack->node, node, sizeof(ack->node));
	memcpy(ack->keys[0].id, keyset_doc(k->keys)->keys[0].info.id, KEKD_KEY_ID);
	ack->keys[0].uses = uses;
	ack->n_keys = 1;
	ASSERT_OK(acks_take(k, ack));
}

TEST_F(counts, of_all_members_are_in_a_backup)
{
	const struct keyset_key *key = make(&self->k, "a");
	struct saved s;

	make(&self->k, "b");
	take_with(&self->k, with_another_member);
	says(&self->k, 0x33, 1000); /* it is no member */
	s = save(&self->k);
	EXPECT_EQ(FIRST, keyack_key(s.ack, key->rec.info.id)->uses);
	saved_free(&s);
	says(&self->k, 0x22, 7);
	says(&self->k, 0x22, 5); /* its last word counts */
	s = save(&self->k);
	EXPECT_EQ(FIRST + 5, keyack_key(s.ack, key->rec.info.id)->uses);
	EXPECT_EQ(FIRST, keyack_key(s.ack, keyset_doc(self->k.keys)->keys[1].info.id)->uses);
	saved_free(&s);
	says(&self->k, 0x22, UINT64_MAX);
	s = save(&self->k);
	EXPECT_EQ(UINT64_MAX, keyack_key(s.ack, key->rec.info.id)->uses);
	new_machine(self);
	key = restore(self, &s);
	EXPECT_TRUE(counts_spent(&self->k, &key->rec));
	used(&self->k, key->rec.info.id, UINT32_MAX);
	EXPECT_TRUE(counts_spent(&self->k, &key->rec));
	saved_free(&s);
}

/* The disk is of an earlier time: what it knows of keys that are gone makes room, the rest stays if it is more. */
TEST_F(counts, come_to_a_table_that_is_full)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];
	struct saved s;

	memcpy(id, key->rec.info.id, sizeof(id));
	make(&self->k, "b");
	s = save(&self->k);
	new_machine(self);
	self->k.n_counts = KEKD_KEYS_MAX;
	for (size_t i = 0; i < KEKD_KEYS_MAX; i++) {
		self->k.counts[i] = (struct keeper_counts){ .encryptions = i };
		memcpy(self->k.counts[i].id, &i, sizeof(i));
	}
	memcpy(self->k.counts[20].id, id, sizeof(id));
	self->k.counts[20].encryptions = self->k.counts[20].reserved = 3 * FIRST;
	restore(self, &s);
	EXPECT_EQ(2U, self->k.n_counts);
	EXPECT_EQ(3 * FIRST, counts_of(&self->k, id)->encryptions);
	EXPECT_EQ(FIRST, counts_of(&self->k, s.doc->keys[1].info.id)->encryptions);
	saved_free(&s);
}

/* A key comes when what was done with it is on disk. */
TEST_F(counts, cannot_be_brought)
{
	struct saved s;

	make(&self->k, "a");
	s = save(&self->k);
	new_machine(self);
	ASSERT_EQ(0, mkdir(scratch_path(&self->dir, KEY_STORE_COUNTS ".tmp"), 0700));
	EXPECT_GT(0, counts_bring(&self->k, s.doc, s.ack));
	ASSERT_EQ(0, rmdir(scratch_path(&self->dir, KEY_STORE_COUNTS ".tmp")));
	EXPECT_OK(counts_bring(&self->k, s.doc, s.ack));
	saved_free(&s);
}

/* The document that a backup brings may be refused yet: what a key that is here has done counts on. */
TEST_F(counts, of_keys_that_are_here_stay)
{
	const struct keyset_key *key;
	uint8_t id[KEKD_KEY_ID];
	struct saved s;

	make(&self->k, "a");
	s = save(&self->k);
	key = make(&self->k, "b");
	memcpy(id, key->rec.info.id, sizeof(id));
	used(&self->k, id, 5 * FIRST);
	EXPECT_OK(counts_bring(&self->k, s.doc, s.ack));
	EXPECT_EQ(5 * FIRST, counts_of(&self->k, id)->encryptions);
	saved_free(&s);
}

/* In etcd stands what this node was granted when the file was newer. */
TEST_F(counts, were_said_before)
{
	const struct keyset_key *key = make(&self->k, "a");
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	uint8_t id[KEKD_KEY_ID];
	uint64_t granted;

	memcpy(id, key->rec.info.id, sizeof(id));
	used(&self->k, id, 5 * FIRST);
	granted = counts_of(&self->k, id)->reserved;
	ASSERT_OK(acks_own(&self->k, &ack));
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, KEY_STORE_COUNTS)));
	start_again(&self->k);
	counts_reserve(&self->k);
	EXPECT_EQ(FIRST, counts_of(&self->k, id)->encryptions);
	counts_said(&self->k, ack);
	EXPECT_EQ(granted, counts_of(&self->k, id)->encryptions);
	crash(&self->k);
	EXPECT_LT(granted, counts_of(&self->k, id)->encryptions);
	/* A key that is not here makes no entry. */
	self->k.n_counts = 0;
	ack->keys[0].id[0] ^= 1;
	counts_said(&self->k, ack);
	EXPECT_EQ(0U, self->k.n_counts);
}

/* What was granted and not used before a clean end comes back with no acknowledgement. */
TEST_F(counts, were_exact_after_a_clean_end)
{
	const struct keyset_key *key = make(&self->k, "a");
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.info.id, sizeof(id));
	used(&self->k, id, 5);
	ASSERT_OK(acks_own(&self->k, &ack));
	counts_end(&self->k);
	start_again(&self->k);
	counts_reserve(&self->k);
	counts_said(&self->k, ack);
	EXPECT_EQ(5U, counts_of(&self->k, id)->encryptions);
}

static void with_all_shares_but_one(struct keydoc *doc)
{
	doc->keys[0].uses = KEKD_KEY_LIMIT - KEKD_KEY_MESSAGES;
}

static void with_one_message_more(struct keydoc *doc)
{
	doc->keys[0].uses++;
}

/* What is left by members that are gone is the last one's share; two would have too little. */
TEST_F(counts, members_that_are_gone)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.info.id, sizeof(id));
	take_with(&self->k, with_all_shares_but_one);
	key = keyset_find(self->k.keys, id);
	EXPECT_FALSE(counts_spent(&self->k, &key->rec));
	take_with(&self->k, with_another_member);
	EXPECT_TRUE(counts_spent(&self->k, &keyset_find(self->k.keys, id)->rec));
}

TEST_F(counts, members_that_are_gone_had_it_all)
{
	const struct keyset_key *key = make(&self->k, "a");
	uint8_t id[KEKD_KEY_ID];

	memcpy(id, key->rec.info.id, sizeof(id));
	take_with(&self->k, with_all_shares_but_one);
	take_with(&self->k, with_one_message_more);
	EXPECT_TRUE(counts_spent(&self->k, &keyset_find(self->k.keys, id)->rec));
	key = make(&self->k, "a");
	EXPECT_FALSE(counts_spent(&self->k, &key->rec));
}

static int sigchld_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* By a child: what is granted is granted when that has ended, and what comes meanwhile follows. */
TEST_F(counts, a_child_writes)
{
	const struct keyset_key *key = make(&self->k, "a");
	struct keeper_counts *c = &self->k.counts[0];
	uint64_t granted;

	self->k.signal_fd = sigchld_fd();
	self->k.writes_aside = true;
	used(&self->k, key->rec.info.id, FIRST);
	ASSERT_TRUE(writes_busy(&self->k));
	granted = c->granted;
	EXPECT_LT(granted, c->reserved);
	used(&self->k, key->rec.info.id, c->reserved - c->encryptions);
	EXPECT_TRUE(self->k.counts_due);
	EXPECT_TRUE(writes_wait(&self->k, UINT64_MAX / 2));
	EXPECT_LT(granted, c->granted);
	EXPECT_LT(c->granted, c->reserved);
	counts_tick(&self->k, now_ns());
	EXPECT_TRUE(writes_wait(&self->k, UINT64_MAX / 2));
	EXPECT_EQ(c->granted, c->reserved);
	close(self->k.signal_fd);
	crash(&self->k);
}

TEST_HARNESS_MAIN
