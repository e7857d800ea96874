/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper says of its keyset, and what it keeps of the others' words. Time is the machine's own: the
 * tests set the moments that it is measured from, never the clock, and leave a hundred seconds of room.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/keeper/keeper_private.h"
#include "tests/harness/ktest.h"
#include "tests/support/root.h"

#define NS_PER_S UINT64_C(1000000000)

FIXTURE(acks)
{
	struct keeper k;
	struct config config;
	struct conf conf;
	struct keyack *ack; /* the last one */
	const struct keyset_key *old, *active;
};

static void open_set(struct keeper *k)
{
	ASSERT_OK(keyset_new(NULL, k->root, "cp-1", &k->keys));
	ASSERT_OK(keyset_load(k->keys));
	ASSERT_OK(acks_open(k));
}

static const struct keyset_key *make(struct keeper *k)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;

	ASSERT_OK(keeper_make(k, "a", &why, &key, NULL));
	return key;
}

FIXTURE_SETUP(acks)
{
	self->k.conf = &self->conf;
	self->config.workers = 1;
	self->config.custody = CONFIG_CUSTODY_HOLDER;
	self->conf.config = &self->config;
	self->k.started_ns = 1;
	ASSERT_OK(test_root(&self->k.root));
	open_set(&self->k);
	self->old = make(&self->k);
	self->active = make(&self->k);
}

FIXTURE_TEARDOWN(acks)
{
	keyack_free(self->ack);
	acks_close(&self->k);
	keyset_free(self->k.keys);
	root_key_free(self->k.root);
}

/* What this node says now of @key; NULL: nothing. */
static const struct keyack_key *say(struct ktest_data_of_acks *self, const struct keyset_key *key)
{
	keyack_free(self->ack);
	self->ack = NULL;
	ASSERT_OK(acks_own(&self->k, &self->ack));
	return keyack_key(self->ack, key->rec.info.id);
}

static struct keeper_counts *counts(struct ktest_data_of_acks *self, const struct keyset_key *key)
{
	return (struct keeper_counts *)(uintptr_t)counts_of(&self->k, key->rec.info.id);
}

static uint64_t ago(uint64_t seconds)
{
	return now_ns() - seconds * NS_PER_S;
}

TEST_F(acks, says_what_it_holds)
{
	const struct keydoc *doc = keyset_doc(self->k.keys);
	const struct keyack_key *key = say(self, self->active);
	const struct keyack *ack = self->ack;

	EXPECT_MEMEQ(doc->cluster, KEYDOC_NODE, ack->cluster, KEYDOC_NODE);
	EXPECT_MEMEQ(doc->hash, SHA256_LEN, ack->doc, SHA256_LEN);
	EXPECT_EQ(doc->generation, ack->generation);
	EXPECT_MEMEQ(keyset_self(self->k.keys)->id, KEYDOC_NODE, ack->node, KEYDOC_NODE);
	EXPECT_STREQ("cp-1", ack->name);
	EXPECT_MEMEQ(self->k.session, KEYDOC_NODE, ack->session, KEYDOC_NODE);
	EXPECT_MEMEQ(self->k.number, KEYDOC_NODE, ack->number, KEYDOC_NODE);
	ASSERT_NOT_NULL(key);
	EXPECT_OK(key->why);
	EXPECT_EQ(counts(self, self->active)->reserved, key->uses);
	ASSERT_EQ(2U, ack->n_keys);
	ASSERT_EQ(1U, ack->n_writes);
	EXPECT_TRUE(keyack_writes_with(ack, self->active->rec.info.id));
	EXPECT_EQ(self->active->rec.info.activation, ack->writes[0].activation);
}

/* Others answer to the number, so that nobody's old words make a change. */
TEST_F(acks, a_new_number_for_each_document)
{
	uint8_t number[KEYDOC_NODE], session[KEYDOC_NODE];

	memcpy(number, self->k.number, sizeof(number));
	memcpy(session, self->k.session, sizeof(session));
	say(self, self->active);
	EXPECT_MEMEQ(number, sizeof(number), self->k.number, KEYDOC_NODE);
	make(&self->k);
	EXPECT_NE(0, memcmp(number, self->k.number, KEYDOC_NODE));
	EXPECT_MEMEQ(session, sizeof(session), self->k.session, KEYDOC_NODE);
	ASSERT_OK(acks_open(&self->k)); /* as after a start */
	EXPECT_NE(0, memcmp(session, self->k.session, KEYDOC_NODE));
}

/* One that is drawn only because time goes by: nobody is to be waited for then, in no status and no metric. */
TEST_F(acks, answered_to_the_number_before)
{
	struct keyack *ack;

	say(self, self->active);
	ack = self->ack;
	ack->n_heard = 1;
	memcpy(ack->heard[0].node, keyset_self(self->k.keys)->id, KEYDOC_NODE);
	memcpy(ack->heard[0].number, self->k.number, KEYDOC_NODE);
	EXPECT_TRUE(acks_has_answered(&self->k, ack));
	ASSERT_OK(acks_draw(&self->k));
	EXPECT_TRUE(acks_has_answered(&self->k, ack));
	ASSERT_OK(acks_draw(&self->k));
	EXPECT_FALSE(acks_has_answered(&self->k, ack));
	memcpy(ack->heard[0].number, self->k.number, KEYDOC_NODE);
	ASSERT_OK(acks_new_document(&self->k));
	EXPECT_FALSE(acks_has_answered(&self->k, ack));
}

TEST_F(acks, says_why_it_does_not_open_a_key)
{
	struct keyset_key *old = (struct keyset_key *)(uintptr_t)self->old;

	EXPECT_OK(say(self, old)->why);
	old->why = -EKEYREVOKED;
	EXPECT_ERR(-EKEYREVOKED, say(self, old)->why);
	EXPECT_OK(say(self, self->active)->why);
	self->k.sealed = -EKEYEXPIRED; /* the root was taken away */
	EXPECT_ERR(-EKEYEXPIRED, say(self, self->active)->why);
	EXPECT_ERR(-EKEYREVOKED, say(self, old)->why);
}

/* Such a key opens nothing, so there is nothing to say of it. */
TEST_F(acks, says_nothing_of_a_retired_key)
{
	struct keydoc_change change = { .kind = KEYDOC_RETIRE, .vouched = true, .forced = true };
	struct keydoc_refusal why;

	memcpy(change.id, self->old->rec.info.id, sizeof(change.id));
	ASSERT_OK(keeper_change(&self->k, &change, &why));
	EXPECT_NULL(say(self, self->old));
	EXPECT_NOT_NULL(say(self, self->active));
}

TEST_F(acks, quiet_after_five_minutes)
{
	EXPECT_FALSE(say(self, self->old)->quiet); /* it has just given way */
	counts(self, self->old)->wrote_ns = ago(200);
	EXPECT_FALSE(say(self, self->old)->quiet);
	counts(self, self->old)->wrote_ns = ago(400);
	EXPECT_TRUE(say(self, self->old)->quiet);
}

/* Nobody knows what the process before has answered. */
TEST_F(acks, quiet_from_zero_after_a_start)
{
	counts(self, self->old)->wrote_ns = 0;
	self->k.started_ns = now_ns();
	EXPECT_FALSE(say(self, self->old)->quiet);
	counts(self, self->old)->wrote_ns = 1;
	EXPECT_FALSE(say(self, self->old)->quiet);
	counts(self, self->old)->wrote_ns = 0;
	self->k.started_ns = ago(200);
	EXPECT_FALSE(say(self, self->old)->quiet);
	self->k.started_ns = ago(400);
	EXPECT_TRUE(say(self, self->old)->quiet);
}

TEST_F(acks, never_quiet_about_an_active_key)
{
	self->k.started_ns = ago(400);
	counts(self, self->active)->wrote_ns = ago(400);
	EXPECT_FALSE(say(self, self->active)->quiet);
}

/* A second member makes the changes, and this node is leaving. */
static void leave(struct keeper *k)
{
	struct keydoc_refusal why;
	struct keydoc *doc;

	ASSERT_OK(keydoc_copy(keyset_doc(k->keys), &doc));
	doc->generation++;
	doc->members[0].leaving = true;
	doc->members[doc->n_members++] = (struct keydoc_member){ .id = { 7 }, .name = "cp-2" };
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, doc->members[1].id, KEYDOC_NODE);
	ASSERT_OK(keeper_take(k, doc, &why));
}

/* It writes with none any more, and is gone when it is quiet about all. */
TEST_F(acks, one_that_is_leaving_gets_quiet)
{
	leave(&self->k);
	EXPECT_FALSE(say(self, self->active)->quiet); /* it wrote until now */
	EXPECT_EQ(0U, self->ack->n_writes);
	EXPECT_LT(0U, counts(self, self->active)->wrote_ns);
	counts(self, self->active)->wrote_ns = ago(400);
	EXPECT_TRUE(say(self, self->active)->quiet);
	EXPECT_EQ(KEY_ACTIVE, self->active->rec.info.state);
}

/* @number tells several of one node apart. */
static struct keyack *of_node(uint8_t node, uint8_t number)
{
	struct keyack *ack;

	ASSERT_OK(keyack_new(&ack));
	ack->node[0] = node;
	ack->number[0] = number;
	return ack;
}

static bool has(const struct keeper *k, uint8_t node)
{
	const uint8_t id[KEYDOC_NODE] = { node };

	return acks_find(k, id) != NULL;
}

/* Members 7, 8, … besides this node. */
static void with_members(struct keeper *k, uint8_t n)
{
	struct keydoc_refusal why;
	struct keydoc *doc;

	ASSERT_OK(keydoc_copy(keyset_doc(k->keys), &doc));
	doc->generation++;
	for (uint8_t i = 0; i < n; i++) {
		struct keydoc_member *m = &doc->members[doc->n_members++];

		*m = (struct keydoc_member){ .id = { (uint8_t)(7 + i) } };
		snprintf(m->name, sizeof(m->name), "cp-%d", 2 + i);
	}
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, doc->members[0].id, KEYDOC_NODE);
	ASSERT_OK(keeper_take(k, doc, &why));
}

/* Only members are heard of: what others say is for who lets them join. */
TEST_F(acks, a_newer_one_takes_the_place)
{
	const uint8_t node[KEYDOC_NODE] = { 7 }, other[KEYDOC_NODE] = { 8 };
	const uint8_t two[KEYDOC_NODE] = { 2 };

	with_members(&self->k, 2);
	EXPECT_NULL(acks_find(&self->k, node));
	ASSERT_OK(acks_take(&self->k, of_node(7, 1)));
	ASSERT_OK(acks_take(&self->k, of_node(8, 5)));
	ASSERT_OK(acks_take(&self->k, of_node(9, 5)));
	ASSERT_OK(acks_take(&self->k, of_node(7, 2)));
	EXPECT_EQ(3U, self->k.n_acks);
	EXPECT_EQ(2, acks_find(&self->k, node)->number[0]);
	EXPECT_EQ(5, acks_find(&self->k, other)->number[0]);
	say(self, self->active);
	EXPECT_EQ(2U, self->ack->n_heard);
	EXPECT_TRUE(keyack_has_heard(self->ack, node, two));
	EXPECT_FALSE(keyack_has_heard(self->ack, other, two));
}

/* Who is no member gives way; members have their room, so nobody crowds them out. */
TEST_F(acks, room)
{
	const uint8_t members = KEYDOC_MEMBERS_MAX - 1;
	uint8_t node = 7;

	with_members(&self->k, members);
	for (; node < 7 + KEEPER_ACKS; node++)
		ASSERT_OK(acks_take(&self->k, of_node(node, 0)));
	EXPECT_EQ((size_t)KEEPER_ACKS, self->k.n_acks);
	for (uint8_t stranger = 100; stranger < 120; stranger++) {
		ASSERT_OK(acks_take(&self->k, of_node(stranger, 0)));
		EXPECT_TRUE(has(&self->k, stranger));
		EXPECT_EQ((size_t)KEEPER_ACKS, self->k.n_acks);
	}
	for (node = 7; node < 7 + members; node++)
		EXPECT_TRUE(has(&self->k, node));
	say(self, self->active);
	EXPECT_EQ((size_t)members, self->ack->n_heard);
}

/* A root that comes back begins with nobody's words. */
TEST_F(acks, forgotten_and_heard_again)
{
	ASSERT_OK(acks_take(&self->k, of_node(7, 1)));
	ASSERT_OK(acks_take(&self->k, of_node(8, 1)));
	acks_close(&self->k);
	EXPECT_EQ(0U, self->k.n_acks);
	EXPECT_FALSE(has(&self->k, 7));
	ASSERT_OK(acks_take(&self->k, of_node(9, 1)));
	EXPECT_EQ(1U, self->k.n_acks);
	EXPECT_TRUE(has(&self->k, 9));
}

/* There is nothing to speak of before there is a document. */
TEST_F(acks, without_a_document)
{
	struct keyack *ack = NULL;

	keyset_free(self->k.keys);
	open_set(&self->k);
	EXPECT_ERR(-ENODATA, acks_own(&self->k, &ack));
	EXPECT_NULL(ack);
	ASSERT_OK(keyset_begin(self->k.keys));
	ASSERT_OK(acks_own(&self->k, &ack));
	EXPECT_EQ(0U, ack->n_keys);
	keyack_free(ack);
}

TEST_HARNESS_MAIN
