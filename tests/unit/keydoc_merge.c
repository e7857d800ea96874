/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two documents become one, and a backup becomes a machine: no key is lost, and what comes of it is a document
 * like any other.
 */
#include "tests/unit/keydoc_bed.h"

/* Two nodes of one cluster that were parted: both sides start as the same document. */
FIXTURE(fork)
{
	struct keydoc *ours, *theirs, *next;
	struct keydoc_change by;
	struct keydoc_refusal why;
};

FIXTURE_SETUP(fork)
{
	struct keydoc *doc = bed_begin();

	doc->generation = 17;
	bed_join(doc, 1);
	bed_add(doc, 1, "primary", KEY_ACTIVE, 4);
	ASSERT_OK(bed_seal(doc));
	self->ours = doc;
	self->theirs = bed_copy(doc);
	self->theirs->generation = 30;
	memcpy(self->by.node, bed_node_id(1).id, KEYDOC_NODE);
	memset(self->by.nonce, 0x66, KEYDOC_NODE);
	self->by.time = BED_TIME + 5;
}

FIXTURE_TEARDOWN(fork)
{
	keydoc_free(self->ours);
	keydoc_free(self->theirs);
	keydoc_free(self->next);
}

static int merge(struct ktest_data_of_fork *self)
{
	int r;

	ASSERT_OK(bed_seal(self->ours));
	ASSERT_OK(bed_seal(self->theirs));
	keydoc_free(self->next);
	self->next = NULL;
	r = keydoc_merge(self->ours, self->theirs, &self->by, &self->next, &self->why);
	if (r < 0) {
		EXPECT_NULL(self->next);
		EXPECT_EQ(r, self->why.r);
		EXPECT_NE('\0', self->why.text[0]);
		return r;
	}
	EXPECT_OK(bed_seal(self->next));
	EXPECT_TRUE(keydoc_fits(self->next));
	EXPECT_GT(self->next->generation, self->ours->generation);
	EXPECT_MEMEQ(self->by.node, KEYDOC_NODE, self->next->node, KEYDOC_NODE);
	EXPECT_MEMEQ(self->by.nonce, KEYDOC_NODE, self->next->nonce, KEYDOC_NODE);
	EXPECT_EQ(self->by.time, self->next->time);
	for (size_t i = 0; i < self->next->n_keys; i++)
		EXPECT_EQ(0U, self->next->keys[i].info.marked);
	return 0;
}

/* Whoever holds either may take what came of both. */
static void expect_both_follow(struct ktest_data_of_fork *self)
{
	const char *why = NULL;

	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->ours, self->next));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->theirs, self->next));
	if (!keydoc_covers(self->next, self->theirs, &why) ||
	    !keydoc_covers(self->next, self->ours, &why))
		ktest_log("%s", why);
}

static struct key_record *key(const struct keydoc *doc, uint8_t n)
{
	struct key_record *rec = keydoc_key(doc, bed_key_id(n).id);

	ASSERT_NOT_NULL(rec);
	return rec;
}

static void destroy(struct keydoc *doc, uint8_t n)
{
	struct key_record *rec = key(doc, n);

	keydoc_add_gone(doc, rec->info.id);
	*rec = doc->keys[--doc->n_keys];
}

/* The result has no hash of its own before it is written: not that of what it was made of. */
TEST_F(fork, has_no_hash_yet)
{
	static const uint8_t none[SHA256_LEN];
	struct keydoc_member me = bed_node(5);

	ASSERT_OK(bed_seal(self->theirs));
	ASSERT_OK(keydoc_merge(self->ours, self->theirs, &self->by, &self->next, &self->why));
	EXPECT_MEMEQ(none, sizeof(none), self->next->hash, SHA256_LEN);
	keydoc_free(self->next);
	self->next = NULL;
	ASSERT_OK(keydoc_restore(self->ours, &me, self->by.nonce, BED_TIME, &self->next));
	EXPECT_MEMEQ(none, sizeof(none), self->next->hash, SHA256_LEN);
}

static void count_reopened(void *ctx, const struct key_record *rec)
{
	EXPECT_EQ(KEY_DECRYPT_ONLY, rec->info.state);
	++*(unsigned int *)ctx;
}

/* Rule 6: etcd has an earlier document. What that one opens opens again, and everybody may follow. */
TEST_F(fork, again_over_an_older_one)
{
	unsigned int n = 0;

	bed_add(self->ours, 2, "primary", KEY_RETIRED, 3);
	bed_add(self->ours, 3, "primary", KEY_RETIRED, 2);
	bed_add(self->ours, 4, "primary", KEY_DECRYPT_ONLY, 1)->info.marked = 16;
	bed_add(self->theirs, 2, "primary", KEY_DECRYPT_ONLY, 3);
	bed_add(self->theirs, 3, "primary", KEY_RETIRED, 2);
	self->ours->carrier = self->theirs->carrier = KEYDOC_ETCD;
	ASSERT_OK(bed_seal(self->ours));
	ASSERT_OK(bed_seal(self->theirs));
	EXPECT_EQ(KEYDOC_OLDER, keydoc_compare(self->ours, self->theirs));
	ASSERT_OK(
		keydoc_again(self->ours, self->theirs, &self->by, count_reopened, &n, &self->next));
	ASSERT_OK(bed_seal(self->next));
	EXPECT_EQ(1U, n);
	EXPECT_EQ(31U, self->next->generation);
	EXPECT_EQ(KEYDOC_ETCD, self->next->carrier);
	EXPECT_EQ(KEY_ACTIVE, key(self->next, 1)->info.state);
	EXPECT_EQ(4U, key(self->next, 1)->info.activation);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	EXPECT_EQ(KEY_RETIRED, key(self->next, 3)->info.state);
	EXPECT_EQ(0U, key(self->next, 4)->info.marked);
	expect_both_follow(self);
}

/* None is left: values of any time may be back. */
TEST_F(fork, again_over_none)
{
	unsigned int n = 0;

	bed_add(self->ours, 2, "primary", KEY_RETIRED, 3);
	bed_add(self->ours, 3, "primary", KEY_RETIRED, 2);
	ASSERT_OK(bed_seal(self->ours));
	ASSERT_OK(keydoc_again(self->ours, NULL, &self->by, count_reopened, &n, &self->next));
	ASSERT_OK(bed_seal(self->next));
	EXPECT_EQ(2U, n);
	EXPECT_EQ(18U, self->next->generation);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 3)->info.state);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->ours, self->next));
}

TEST_F(fork, keys_of_both)
{
	bed_add(self->ours, 2, "primary", KEY_STAGED, 0);
	bed_add(self->theirs, 3, "primary", KEY_STAGED, 0);
	bed_add(self->theirs, 4, "primary", KEY_RETIRED, 3);
	ASSERT_OK(merge(self));
	EXPECT_EQ(31U, self->next->generation);
	EXPECT_EQ(4U, self->next->n_keys);
	EXPECT_EQ(KEY_STAGED, key(self->next, 2)->info.state);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 3)->info.state);
	EXPECT_EQ(KEY_RETIRED, key(self->next, 4)->info.state);
	EXPECT_EQ(KEYDOC_HAND, self->next->carrier);
	EXPECT_MEMEQ(self->by.node, KEYDOC_NODE, self->next->hand, KEYDOC_NODE);
	expect_both_follow(self);
}

/* Of two active ones ours stays, under a number that neither side has seen. */
TEST_F(fork, two_active)
{
	key(self->ours, 1)->info.state = KEY_DECRYPT_ONLY;
	bed_add(self->ours, 2, "primary", KEY_ACTIVE, 5);
	key(self->theirs, 1)->info.state = KEY_DECRYPT_ONLY;
	bed_add(self->theirs, 3, "primary", KEY_DECRYPT_ONLY, 5);
	bed_add(self->theirs, 4, "primary", KEY_ACTIVE, 6);
	ASSERT_OK(merge(self));
	EXPECT_TRUE(keydoc_active(self->next, "primary") == key(self->next, 2));
	EXPECT_EQ(7U, key(self->next, 2)->info.activation);
	EXPECT_EQ(7U, self->next->activations);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 4)->info.state);
	EXPECT_EQ(6U, key(self->next, 4)->info.activation);
	expect_both_follow(self);
}

/* Two names whose active keys have one number between them. */
TEST_F(fork, numbers_of_two_names)
{
	bed_add(self->ours, 2, "other", KEY_ACTIVE, 5);
	bed_add(self->theirs, 2, "other", KEY_DECRYPT_ONLY, 3);
	bed_add(self->theirs, 3, "other", KEY_ACTIVE, 5);
	bed_add(self->ours, 6, "ours alone", KEY_ACTIVE, 6);
	ASSERT_OK(merge(self));
	EXPECT_GT(key(self->next, 1)->info.activation, 6U);
	EXPECT_GT(key(self->next, 2)->info.activation, 6U);
	EXPECT_NE(key(self->next, 1)->info.activation, key(self->next, 2)->info.activation);
	EXPECT_EQ(6U, key(self->next, 6)->info.activation);
	expect_both_follow(self);
}

/* A name that only the other side knows: its key opens, and waits for somebody to activate it. */
TEST_F(fork, name_of_theirs)
{
	bed_add(self->theirs, 2, "other", KEY_ACTIVE, 5);
	ASSERT_OK(merge(self));
	EXPECT_NULL(keydoc_active(self->next, "other"));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	expect_both_follow(self);
}

/* What opens on one side opens. */
TEST_F(fork, retired_on_one_side)
{
	bed_add(self->ours, 2, "primary", KEY_RETIRED, 3)->info.marked = 17;
	bed_add(self->theirs, 2, "primary", KEY_DECRYPT_ONLY, 3)->info.marked = 20;
	bed_add(self->ours, 3, "primary", KEY_DECRYPT_ONLY, 2)->info.marked = 16;
	bed_add(self->theirs, 3, "primary", KEY_RETIRED, 2);
	ASSERT_OK(merge(self));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	EXPECT_EQ(0, key(self->next, 2)->retired);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 3)->info.state);
	expect_both_follow(self);
}

/* Staged here, and there it has been written with. */
TEST_F(fork, activated_on_one_side)
{
	bed_add(self->ours, 2, "primary", KEY_STAGED, 0);
	key(self->theirs, 1)->info.state = KEY_DECRYPT_ONLY;
	bed_add(self->theirs, 2, "primary", KEY_ACTIVE, 5)->uses = 7;
	ASSERT_OK(merge(self));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	EXPECT_EQ(5U, key(self->next, 2)->info.activation);
	EXPECT_EQ(7U, key(self->next, 2)->uses); /* no shares: whoever used it is a member */
	EXPECT_EQ(6U, key(self->next, 1)->info.activation);
	EXPECT_TRUE(keydoc_active(self->next, "primary") == key(self->next, 1));
	expect_both_follow(self);
}

/*
 * What one side has destroyed is there again. No document may bring a gone key back, but this one says of which
 * two it is made, and who holds one of them takes it.
 */
TEST_F(fork, destroyed_on_one_side)
{
	const char *why;

	bed_add(self->ours, 2, "primary", KEY_DECRYPT_ONLY, 3);
	bed_add(self->theirs, 2, "primary", KEY_RETIRED, 3);
	destroy(self->theirs, 2);
	ASSERT_OK(merge(self));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->ours, self->next));
	EXPECT_FALSE(keydoc_covers(self->next, self->theirs, &why));
	EXPECT_STREQ("a key that was destroyed here is back there", why);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->theirs, self->next));
	self->next->is_merged = false;
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->theirs, self->next));

	destroy(self->ours, 2);
	bed_add(self->theirs, 2, "primary", KEY_DECRYPT_ONLY, 3);
	self->theirs->n_gone = 0;
	ASSERT_OK(merge(self));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key(self->next, 2)->info.state);
	EXPECT_FALSE(keydoc_is_gone(self->next, bed_key_id(2).id));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->theirs, self->next));
}

/* Who lags behind the other side, and still knows a key or a node that is gone there, may take it too. */
TEST_F(fork, who_lags_behind_may_take_it)
{
	_cleanup_(keydoc_freep) struct keydoc *lagging = bed_copy(self->theirs);

	bed_add(lagging, 2, "primary", KEY_RETIRED, 3);
	bed_join(lagging, 3);
	ASSERT_OK(bed_seal(lagging));
	self->theirs->generation++;
	bed_add(self->theirs, 2, "primary", KEY_RETIRED, 3);
	destroy(self->theirs, 2);
	keydoc_add_removed(self->theirs, bed_node_id(3).id);
	self->theirs->forgotten = 5;
	ASSERT_OK(merge(self));
	EXPECT_TRUE(keydoc_is_gone(self->next, bed_key_id(2).id));
	EXPECT_TRUE(keydoc_is_removed(self->next, bed_node_id(3).id));
	EXPECT_EQ(5U, self->next->forgotten);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(lagging, self->next));
	expect_both_follow(self);
}

TEST_F(fork, another_key)
{
	for (int i = 0; i < 4; i++) {
		struct key_record *rec;

		self->ours->n_keys = self->theirs->n_keys = 1;
		bed_add(self->ours, 2, "primary", KEY_DECRYPT_ONLY, 0);
		rec = bed_add(self->theirs, 2, "primary", KEY_DECRYPT_ONLY, 0);
		if (i == 0)
			rec->check[0] ^= 1;
		else if (i == 1)
			memcpy(rec->info.name, "other", 6);
		else if (i == 2)
			memcpy(rec->info.label, "x", 2);
		else
			rec->info.kind = KEY_KIND_SEALED;
		if (!EXPECT_ERR(-EEXIST, merge(self)))
			ktest_log("difference %d", i);
	}
}

TEST_F(fork, another_root)
{
	memcpy(self->theirs->root, bed_other_id, KEY_ROOT_ID);
	EXPECT_ERR(-EKEYREJECTED,
		   keydoc_merge(self->ours, self->theirs, &self->by, &self->next, &self->why));
	EXPECT_NULL(self->next);
}

/* Its keys come in; its nodes, its history and its generation are nothing to us. */
TEST_F(fork, foreign_cluster)
{
	self->theirs->cluster[0] ^= 1;
	self->theirs->members[1] = bed_node(2);
	bed_add(self->theirs, 2, "primary", KEY_DECRYPT_ONLY, 5);
	bed_add(self->theirs, 3, "primary", KEY_RETIRED, 3);
	destroy(self->theirs, 3);
	self->theirs->forgotten = 30;
	destroy(self->theirs, 1);
	self->theirs->n_gone--;
	bed_add(self->theirs, 4, "primary", KEY_ACTIVE, 9);
	ASSERT_OK(merge(self));
	EXPECT_EQ(18U, self->next->generation);
	EXPECT_EQ(2U, self->next->n_members);
	EXPECT_NULL(keydoc_member(self->next, bed_node_id(2).id));
	EXPECT_EQ(3U, self->next->n_keys);
	EXPECT_TRUE(keydoc_active(self->next, "primary") == key(self->next, 1));
	EXPECT_EQ(10U, key(self->next, 1)->info.activation);
	EXPECT_EQ(0U, self->next->n_gone);
	EXPECT_EQ(0U, self->next->forgotten);
	/* Its members are asked for no count, and have their shares. */
	EXPECT_EQ(0U, key(self->next, 1)->uses);
	EXPECT_EQ(2 * KEKD_KEY_MESSAGES, key(self->next, 2)->uses);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->ours, self->next));
}

TEST_F(fork, members_of_both)
{
	bed_join(self->ours, 2);
	bed_join(self->theirs, 3);
	keydoc_add_removed(self->theirs, bed_node_id(4).id);
	keydoc_add_removed(self->ours, bed_node_id(5).id);
	bed_join(self->theirs, 5);
	ASSERT_OK(merge(self));
	EXPECT_EQ(4U, self->next->n_members);
	EXPECT_EQ(2U, self->next->n_removed);
	EXPECT_TRUE(keydoc_is_removed(self->next, bed_node_id(5).id));
	expect_both_follow(self);
}

TEST_F(fork, too_many_members)
{
	for (uint8_t n = 2; n < 20; n++)
		bed_join(self->ours, n);
	for (uint8_t n = 20; n < 40; n++)
		bed_join(self->theirs, n);
	EXPECT_ERR(-ENOBUFS, merge(self));
	EXPECT_NOT_NULL(strstr(self->why.text, "node cp-"));
}

TEST_F(fork, too_many_keys)
{
	for (int i = 0; i < 2; i++) {
		struct keydoc *doc = i == 0 ? self->ours : self->theirs;

		for (size_t k = 0; k < 600; k++) {
			struct key_record *rec = bed_add(doc, 0, "x", KEY_DECRYPT_ONLY, 0);

			rec->info.id[0] = (uint8_t)k;
			rec->info.id[1] = (uint8_t)(k >> 8);
			rec->info.id[2] = (uint8_t)(1 + i);
			memcpy(rec->blob, "b", 2);
		}
	}
	EXPECT_ERR(-ENOBUFS, merge(self));
	/* Few, but large. */
	self->ours->n_keys = self->theirs->n_keys = 400;
	for (size_t k = 1; k < 400; k++) {
		memset(self->ours->keys[k].blob, 'b', 450);
		memset(self->theirs->keys[k].blob, 'b', 450);
	}
	EXPECT_ERR(-ENOBUFS, merge(self));
	EXPECT_NOT_NULL(strstr(self->why.text, "too large"));
}

TEST_F(fork, numbers_end)
{
	self->theirs->activations = UINT32_MAX;
	EXPECT_ERR(-EOVERFLOW, merge(self));
}

/* A machine that has nothing, and a backup of a cluster that is no more. */
TEST_F(fork, restored)
{
	struct keydoc_member me = bed_node(7);
	struct keydoc *next;

	bed_add(self->ours, 2, "primary", KEY_DECRYPT_ONLY, 3)->info.marked = 16;
	bed_add(self->ours, 3, "primary", KEY_RETIRED, 2)->info.marked = 17;
	destroy(self->ours, 2);
	bed_add(self->ours, 2, "primary", KEY_DECRYPT_ONLY, 3)->info.marked = 16;
	bed_add(self->ours, 4, "primary", KEY_STAGED, 0);
	key(self->ours, 1)->uses = 5;
	self->ours->n_gone = 0;
	for (size_t i = 0; i < KEYDOC_REMOVED_MAX; i++)
		self->ours->removed[self->ours->n_removed++].id[0] = (uint8_t)i;
	ASSERT_OK(bed_seal(self->ours));
	ASSERT_OK(keydoc_restore(self->ours, &me, self->by.nonce, BED_TIME + 9, &next));
	self->next = next;
	ASSERT_OK(bed_seal(next));
	EXPECT_EQ(18U, next->generation);
	EXPECT_EQ(1U, next->n_members);
	EXPECT_NOT_NULL(keydoc_member(next, me.id));
	EXPECT_EQ(KEYDOC_ALONE, next->carrier);
	EXPECT_TRUE(keydoc_is_removed(next, bed_node_id(0).id));
	EXPECT_TRUE(keydoc_is_removed(next, bed_node_id(1).id));
	EXPECT_EQ(4U, next->n_keys);
	EXPECT_EQ(KEY_ACTIVE, key(next, 1)->info.state);
	EXPECT_EQ(KEY_RETIRED, key(next, 3)->info.state);
	/* Two members may each have used up what was left of their shares after the backup. */
	EXPECT_EQ(2 * KEKD_KEY_MESSAGES + 5, key(next, 1)->uses);
	EXPECT_EQ(0U, key(next, 4)->uses); /* never active */
	/* A mark was a document in an etcd that may have been put back since. */
	for (size_t i = 0; i < next->n_keys; i++)
		EXPECT_EQ(0U, next->keys[i].info.marked);
	EXPECT_EQ(BED_TIME + 9, next->time);
	EXPECT_MEMEQ(me.id, KEYDOC_NODE, next->node, KEYDOC_NODE);
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->ours, next));
}

/* The same machine, whose keyset was lost and whose node id was not. */
TEST_F(fork, restored_where_it_was_made)
{
	struct keydoc_member me = bed_node(1);

	ASSERT_OK(keydoc_restore(self->ours, &me, self->by.nonce, BED_TIME, &self->next));
	ASSERT_OK(bed_seal(self->next));
	EXPECT_EQ(1U, self->next->n_members);
	EXPECT_EQ(1U, self->next->n_removed);
	EXPECT_FALSE(keydoc_is_removed(self->next, me.id));
}

TEST_HARNESS_MAIN
