/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which document may take another's place: each rule is broken once, by itself, in a document that may
 * otherwise follow.
 */
#include "tests/unit/keydoc_bed.h"

/* ours; theirs starts as what may follow it. */
FIXTURE(pair)
{
	struct keydoc *ours, *theirs;
};

FIXTURE_SETUP(pair)
{
	struct keydoc *doc = bed_begin();

	doc->generation = 17;
	bed_join(doc, 1);
	memcpy(doc->removed[doc->n_removed++].id, bed_node_id(2).id, KEYDOC_NODE);
	bed_add(doc, 1, "primary", KEY_DECRYPT_ONLY, 4);
	bed_add(doc, 2, "primary", KEY_ACTIVE, 5);
	bed_add(doc, 3, "other", KEY_ACTIVE, 3);
	memcpy(doc->gone[doc->n_gone++], bed_key_id(4).id, KEKD_KEY_ID);
	ASSERT_OK(bed_seal(doc));
	self->ours = doc;
	self->theirs = bed_copy(doc);
	self->theirs->generation = 18;
}

FIXTURE_TEARDOWN(pair)
{
	keydoc_free(self->ours);
	keydoc_free(self->theirs);
}

static struct key_record *their_key(struct ktest_data_of_pair *self, uint8_t n)
{
	struct key_record *rec = keydoc_key(self->theirs, bed_key_id(n).id);

	ASSERT_NOT_NULL(rec);
	return rec;
}

static enum keydoc_relation relation(struct ktest_data_of_pair *self)
{
	EXPECT_OK(bed_seal(self->theirs));
	return keydoc_compare(self->ours, self->theirs);
}

static void expect_covers(struct ktest_data_of_pair *self)
{
	const char *why = "unset";

	EXPECT_EQ(KEYDOC_NEWER, relation(self));
	EXPECT_TRUE(keydoc_covers(self->theirs, self->ours, &why));
	EXPECT_NULL(why);
}

static void expect_reason(struct ktest_data_of_pair *self, const char *words)
{
	const char *why = NULL;

	EXPECT_NE(KEYDOC_NEWER, relation(self));
	EXPECT_FALSE(keydoc_covers(self->theirs, self->ours, NULL));
	EXPECT_FALSE(keydoc_covers(self->theirs, self->ours, &why));
	EXPECT_STREQ(words, why);
}

static void destroy(struct keydoc *doc, uint8_t n)
{
	struct key_record *rec = keydoc_key(doc, bed_key_id(n).id);

	memcpy(doc->gone[doc->n_gone++], rec->info.id, KEKD_KEY_ID);
	*rec = doc->keys[--doc->n_keys];
}

TEST_F(pair, same)
{
	memcpy(self->theirs->hash, self->ours->hash, SHA256_LEN);
	EXPECT_EQ(KEYDOC_SAME, keydoc_compare(self->ours, self->theirs));
}

TEST_F(pair, newer_and_older)
{
	expect_covers(self);
	EXPECT_EQ(KEYDOC_OLDER, keydoc_compare(self->theirs, self->ours));
}

/* A generation that is the same, or lower although all else goes on: ours is published again. */
TEST_F(pair, generation_does_not_grow)
{
	self->theirs->generation = 17;
	self->theirs->nonce[0] ^= 1;
	EXPECT_EQ(KEYDOC_OLDER, relation(self));
	bed_add(self->ours, 5, "primary", KEY_STAGED, 0);
	self->theirs->generation = 30;
	ASSERT_OK(bed_seal(self->ours));
	EXPECT_EQ(KEYDOC_OLDER, relation(self));
}

TEST_F(pair, foreign)
{
	self->theirs->cluster[15] ^= 1;
	EXPECT_EQ(KEYDOC_FOREIGN, relation(self));
	/* Also with the very same hash, which cannot be. */
	memcpy(self->theirs->hash, self->ours->hash, SHA256_LEN);
	EXPECT_EQ(KEYDOC_FOREIGN, keydoc_compare(self->ours, self->theirs));
}

/* What changes do, however many generations were missed. */
TEST_F(pair, what_changes_do)
{
	struct keydoc *doc = self->theirs;

	doc->generation = 99;
	destroy(doc, 1);
	their_key(self, 2)->info.state = KEY_RETIRED;
	their_key(self, 2)->info.marked = 98;
	bed_add(doc, 5, "primary", KEY_STAGED, 0);
	bed_add(doc, 6, "primary", KEY_ACTIVE, 6);
	memcpy(doc->removed[doc->n_removed++].id, bed_node_id(1).id, KEYDOC_NODE);
	doc->members[1] = bed_node(3);
	expect_covers(self);
}

/* Ours may have forgotten what is gone, and theirs too. */
TEST_F(pair, lists_are_forgotten)
{
	self->theirs->n_gone = 0;
	self->theirs->n_removed = 0;
	expect_covers(self);
}

TEST_F(pair, key_is_not_known)
{
	destroy(self->theirs, 1);
	self->theirs->n_gone--;
	expect_reason(self, "a key that is here is not known there");
}

TEST_F(pair, key_is_back)
{
	self->theirs->n_gone = 0;
	bed_add(self->theirs, 4, "primary", KEY_RETIRED, 1);
	expect_reason(self, "a key that was destroyed here is back there");
	EXPECT_EQ(KEYDOC_OLDER, relation(self));
}

TEST_F(pair, member_is_not_known)
{
	self->theirs->members[1] = bed_node(3);
	expect_reason(self, "a node that is a member here is not known there");
	EXPECT_EQ(KEYDOC_FORKED, relation(self));
}

TEST_F(pair, member_is_back)
{
	self->theirs->n_removed = 0;
	bed_join(self->theirs, 2);
	expect_reason(self, "a node that was removed here is a member there");
	EXPECT_EQ(KEYDOC_OLDER, relation(self));
}

TEST_F(pair, root_is_another)
{
	_cleanup_free_ char *text = NULL;
	const char *why = NULL;
	size_t len;

	memcpy(self->theirs->root, bed_other_id, KEY_ROOT_ID);
	ASSERT_OK(keydoc_format(self->theirs, &bed_other_root, &text, &len));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->ours, self->theirs));
	EXPECT_FALSE(keydoc_covers(self->theirs, self->ours, &why));
	EXPECT_STREQ("it is sealed under another root key", why);
}

/* The counter itself, a key's number, and the last one of a name. */
TEST_F(pair, number_has_fallen)
{
	static const char fallen[] = "an activation number has fallen";

	self->ours->activations = 6;
	ASSERT_OK(bed_seal(self->ours));
	expect_reason(self, fallen);
	self->theirs->activations = 6;
	expect_covers(self);
	their_key(self, 1)->info.activation = 2;
	expect_reason(self, fallen);
	their_key(self, 1)->info.activation = 4;
	expect_covers(self);
	/* The active key is gone there, and what was active before is again, under its old number. */
	destroy(self->theirs, 2);
	their_key(self, 1)->info.state = KEY_ACTIVE;
	expect_reason(self, fallen);
	their_key(self, 1)->info.activation = 6;
	expect_covers(self);
	destroy(self->theirs, 1);
	expect_reason(self, fallen);
}

/* Two nodes activated at once: the numbers are the same, the keys are not. */
TEST_F(pair, number_of_two_keys)
{
	destroy(self->theirs, 2);
	bed_add(self->theirs, 5, "primary", KEY_ACTIVE, 5);
	expect_reason(self, "two keys were activated under the same number");
	EXPECT_EQ(KEYDOC_FORKED, relation(self));
}

/* An id stands for one key: nothing that says which may differ. */
TEST_F(pair, key_is_another)
{
	for (int i = 0; i < 6; i++) {
		struct key_record *rec = their_key(self, 1), was = *rec;

		switch (i) {
		case 0:
			memcpy(rec->info.name, "Primary", 8);
			break;
		case 1:
			memcpy(rec->info.label, "primary.x", 10);
			break;
		case 2:
			rec->info.kind = KEY_KIND_SEALED;
			break;
		case 3:
			rec->info.key_bytes = 16;
			break;
		case 4:
			rec->info.kind = KEY_KIND_IMPORTED;
			rec->info.secretbox = true;
			break;
		default:
			rec->check[15] ^= 1;
		}
		expect_reason(self, "a key of the same id is another one there");
		EXPECT_EQ(KEYDOC_FORKED, relation(self));
		*rec = was;
	}
	/* Its blob is sealed anew when it pleases. */
	memcpy(their_key(self, 1)->blob, "y", 2);
	expect_covers(self);
}

/* Each side has a key that the other has not. */
TEST_F(pair, forked)
{
	bed_add(self->ours, 5, "primary", KEY_STAGED, 0);
	bed_add(self->theirs, 6, "primary", KEY_STAGED, 0);
	ASSERT_OK(bed_seal(self->ours));
	EXPECT_EQ(KEYDOC_FORKED, relation(self));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->theirs, self->ours));
}

TEST_HARNESS_MAIN
