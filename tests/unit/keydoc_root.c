/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root in the place of another: the document with two of them, and each combination of what three nodes may have said
 * before the rotation begins, ends or is given up.
 */
#include "tests/unit/keydoc_bed.h"

#define NODES 3

static const uint8_t other_id[KEY_ROOT_ID] = { 0x66 };
static const struct keydoc_root next_root = { bed_mac, "the next root", other_id, NULL };
static const struct keydoc_root both = { bed_mac, "a root", bed_root_id, &next_root };
static const struct keydoc_root third = { bed_mac, "another root", bed_other_id, NULL };

FIXTURE(rotation)
{
	struct keydoc *doc, *rotating, *after, *back;
	struct keyack *acks[NODES];
	const struct keyack *list[NODES];
	struct keydoc_heard heard;
	struct keydoc_refusal why;
	struct keydoc_change change;
	struct keydoc_blob blobs[2];
};

static int seal(struct keydoc *doc)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return keydoc_format(doc, &both, &text, &len);
}

enum { HAS_OLD = 1, HAS_NEXT = 2 };

static void says(struct ktest_data_of_rotation *self, const struct keydoc *doc, uint8_t n,
		 unsigned int has)
{
	struct keyack *ack = self->acks[n];

	bed_answer(ack, doc, n, self->change.node, self->heard.number, BED_TIME);
	ack->formats = KEYDOC_FORMAT_ROTATE;
	ack->n_roots = 0;
	if (has & HAS_OLD)
		memcpy(ack->roots[ack->n_roots++], bed_root_id, KEY_ROOT_ID);
	if (has & HAS_NEXT)
		memcpy(ack->roots[ack->n_roots++], other_id, KEY_ROOT_ID);
}

static int try(struct ktest_data_of_rotation *self, const struct keydoc *doc,
	       enum keydoc_change_kind kind, struct keydoc **ret)
{
	struct keydoc *next = NULL;
	int r;

	self->change.kind = kind;
	r = keydoc_next(doc, &self->change, &self->heard, &next, &self->why);
	if (r == 0)
		r = seal(next);
	if (r == 0 && ret)
		*ret = next;
	else
		keydoc_free(next);
	return r;
}

FIXTURE_SETUP(rotation)
{
	self->doc = bed_begin();
	bed_add(self->doc, 1, "primary", KEY_ACTIVE, 2);
	bed_add(self->doc, 2, "primary", KEY_DECRYPT_ONLY, 1);
	for (uint8_t n = 1; n < NODES; n++)
		bed_join(self->doc, n);
	ASSERT_OK(seal(self->doc));
	memcpy(self->change.node, bed_node_id(0).id, KEYDOC_NODE);
	memset(self->change.nonce, 0x55, KEYDOC_NODE);
	self->change.time = BED_TIME;
	memcpy(self->change.root, other_id, KEY_ROOT_ID);
	self->change.blobs = self->blobs;
	self->change.n_blobs = 2;
	for (uint8_t i = 0; i < 2; i++) {
		memcpy(self->blobs[i].id, bed_key_id(i + 1).id, KEKD_KEY_ID);
		snprintf(self->blobs[i].blob, KEY_BLOB_MAX,
			 "default user:kekd-root.7700000000000000 32 ab%u", i);
	}
	self->heard = (struct keydoc_heard){ .acks = self->list, .n = NODES };
	for (uint8_t n = 0; n < NODES; n++) {
		ASSERT_OK(keyack_new(&self->acks[n]));
		self->list[n] = self->acks[n];
		says(self, self->doc, n, HAS_OLD | HAS_NEXT);
	}
	ASSERT_OK(try(self, self->doc, KEYDOC_ROOT_BEGIN, &self->rotating));
	for (uint8_t n = 0; n < NODES; n++)
		says(self, self->rotating, n, HAS_OLD | HAS_NEXT);
	ASSERT_OK(try(self, self->rotating, KEYDOC_ROOT_END, &self->after));
	ASSERT_OK(try(self, self->rotating, KEYDOC_ROOT_ABORT, &self->back));
}

FIXTURE_TEARDOWN(rotation)
{
	keydoc_free(self->doc);
	keydoc_free(self->rotating);
	keydoc_free(self->after);
	keydoc_free(self->back);
	for (size_t n = 0; n < NODES; n++)
		keyack_free(self->acks[n]);
}

TEST_F(rotation, keys_are_the_same_under_another_root)
{
	for (size_t i = 0; i < 2; i++) {
		const struct key_record *was = &self->doc->keys[i], *two = &self->rotating->keys[i];
		struct key_record under;

		EXPECT_TRUE(keydoc_same_key(was, two));
		EXPECT_TRUE(keydoc_same_key(was, &self->after->keys[i]));
		EXPECT_EQ(was->info.state, self->after->keys[i].info.state);
		EXPECT_EQ(was->info.activation, self->after->keys[i].info.activation);
		EXPECT_STREQ(was->blob, two->blob);
		EXPECT_STREQ(self->blobs[i].blob, two->reblob);
		EXPECT_STREQ(self->blobs[i].blob, self->after->keys[i].blob);
		EXPECT_STREQ("", self->after->keys[i].reblob);
		EXPECT_STREQ(was->blob, self->back->keys[i].blob);
		EXPECT_STREQ("", self->back->keys[i].reblob);
		keydoc_record_under(self->rotating, two, other_id, &under);
		EXPECT_STREQ(self->blobs[i].blob, under.blob);
		EXPECT_MEMEQ(other_id, KEY_ROOT_ID, under.root, KEY_ROOT_ID);
		keydoc_record_under(self->rotating, two, bed_root_id, &under);
		EXPECT_STREQ(was->blob, under.blob);
	}
	EXPECT_MEMEQ(other_id, KEY_ROOT_ID, self->after->root, KEY_ROOT_ID);
	EXPECT_MEMEQ(bed_root_id, KEY_ROOT_ID, self->back->root, KEY_ROOT_ID);
}

/* From one root to another in two steps and never in one; who has both may go either way, and not change his mind. */
TEST_F(rotation, follows)
{
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->doc, self->rotating));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->rotating, self->after));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->rotating, self->back));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->doc, self->back));
	EXPECT_EQ(KEYDOC_OLDER, keydoc_compare(self->after, self->rotating));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->doc, self->after));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->after, self->doc));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->back, self->after));
	EXPECT_EQ(KEYDOC_FORKED, keydoc_compare(self->after, self->back));
}

static int parse(const struct keydoc_root *root, struct span text)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	uint8_t other[KEY_ROOT_ID];

	return keydoc_parse(text, root, &doc, other);
}

/* Who has one root reads it; who has both checks both; and both have to be there. */
TEST_F(rotation, macs)
{
	static const size_t line = 4 + 2 * KEY_ROOT_ID + 1 + 2 * KEYDOC_MAC + 1;
	static const struct keydoc_root old = { bed_mac, "a root", bed_root_id, NULL };
	_cleanup_free_ char *text = NULL, *after = NULL;
	uint8_t one[sizeof(((struct keydoc *)0)->hash)];
	size_t len, after_len;
	char *mac;

	ASSERT_OK(keydoc_format(self->rotating, &both, &text, &len));
	memcpy(one, self->rotating->hash, sizeof(one));
	EXPECT_OK(parse(&both, span_of(text, len)));
	EXPECT_OK(parse(&old, span_of(text, len)));
	EXPECT_OK(parse(&next_root, span_of(text, len)));
	EXPECT_ERR(-EKEYREJECTED, parse(&third, span_of(text, len)));
	/* Without the second MAC, without the first, and in the other order. */
	EXPECT_ERR(-EINVAL, parse(&both, span_of(text, len - line)));
	EXPECT_ERR(-EINVAL, parse(&old, span_of(text, len - line)));
	mac = strndup(text, len);
	memmove(mac + len - 2 * line, mac + len - line, line);
	EXPECT_ERR(-EINVAL, parse(&next_root, span_of(mac, len - line)));
	memcpy(mac + len - line, text + len - 2 * line, line);
	EXPECT_ERR(-EINVAL, parse(&both, span_of(mac, len)));
	free(mac);
	/* A MAC that does not hold is none, whichever it is, to who can tell. */
	for (size_t i = 1; i <= 2; i++) {
		char *digit = text + len - (i - 1) * line - 2, was = *digit;

		*digit = was == '0' ? '1' : '0';
		EXPECT_ERR(-EBADMSG, parse(&both, span_of(text, len)));
		EXPECT_ERR(-EBADMSG, parse(i == 1 ? &next_root : &old, span_of(text, len)));
		*digit = was;
	}
	/* One root cannot make it, and the old one does not open what comes after. */
	EXPECT_ERR(-EINVAL, keydoc_format(self->rotating, &old, &after, &after_len));
	ASSERT_OK(keydoc_format(self->after, &next_root, &after, &after_len));
	EXPECT_ERR(-EKEYREJECTED, parse(&old, span_of(after, after_len)));
	EXPECT_OK(parse(&next_root, span_of(after, after_len)));
}

TEST_F(rotation, nothing_else_that_needs_both_roots)
{
	struct key_record rec = bed_key(3, "primary");

	for (uint8_t n = 0; n < NODES; n++)
		says(self, self->rotating, n, HAS_OLD | HAS_NEXT);
	self->change.key = &rec;
	EXPECT_ERR(-EBUSY, try(self, self->rotating, KEYDOC_STAGE, NULL));
	self->change.member = bed_node(4);
	EXPECT_ERR(-EBUSY, try(self, self->rotating, KEYDOC_JOIN, NULL));
	EXPECT_ERR(-EALREADY, try(self, self->rotating, KEYDOC_ROOT_BEGIN, NULL));
	for (uint8_t n = 0; n < NODES; n++)
		says(self, self->doc, n, HAS_OLD | HAS_NEXT);
	EXPECT_ERR(-EALREADY, try(self, self->doc, KEYDOC_ROOT_END, NULL));
	EXPECT_ERR(-EALREADY, try(self, self->doc, KEYDOC_ROOT_ABORT, NULL));
	memcpy(self->change.root, bed_root_id, KEY_ROOT_ID);
	EXPECT_ERR(-EALREADY, try(self, self->doc, KEYDOC_ROOT_BEGIN, NULL));
}

TEST_F(rotation, every_key_is_sealed_anew)
{
	for (uint8_t n = 0; n < NODES; n++)
		says(self, self->doc, n, HAS_OLD | HAS_NEXT);
	self->change.n_blobs = 1;
	EXPECT_ERR(-EAGAIN, try(self, self->doc, KEYDOC_ROOT_BEGIN, NULL));
	EXPECT_NOT_NULL(strstr(self->why.text, self->doc->keys[1].info.label));
}

enum answer { HEARD, UNHEARD, BEFORE, NOTHING, OLD_VERSION, ANSWERS };

static void answers(struct ktest_data_of_rotation *self, const struct keydoc *doc, uint8_t n,
		    unsigned int has, enum answer how)
{
	says(self, doc, n, has);
	self->list[n] = self->acks[how == NOTHING && n > 0 ? 0 : n];
	if (how == UNHEARD)
		self->acks[n]->n_heard = 0;
	if (how == BEFORE)
		self->acks[n]->doc[0] ^= 1;
	if (how == OLD_VERSION)
		self->acks[n]->formats = 2;
}

/* Each node with each choice of roots and each way to answer; the maker's own answer is never an old one. */
TEST_F(rotation, all_that_three_nodes_can_say)
{
	static const struct {
		enum keydoc_change_kind kind;
		unsigned int needs;
	} kinds[] = {
		{ KEYDOC_ROOT_BEGIN, HAS_OLD | HAS_NEXT },
		{ KEYDOC_ROOT_END, HAS_NEXT },
		{ KEYDOC_ROOT_ABORT, HAS_OLD },
	};
	size_t allowed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct keydoc *doc = i == 0 ? self->doc : self->rotating;

		for (unsigned int c = 0; c < 4 * 4 * ANSWERS * 4 * ANSWERS; c++) {
			unsigned int rest = c, has[NODES], how[NODES] = { HEARD };
			bool may = true;
			int r;

			has[0] = rest % 4;
			rest /= 4;
			for (uint8_t n = 1; n < NODES; n++) {
				has[n] = rest % 4;
				rest /= 4;
				how[n] = rest % ANSWERS;
				rest /= ANSWERS;
			}
			for (uint8_t n = 0; n < NODES; n++) {
				answers(self, doc, n, has[n], (enum answer)how[n]);
				may = may && how[n] == HEARD &&
				      (has[n] & kinds[i].needs) == kinds[i].needs;
			}
			r = try(self, doc, kinds[i].kind, NULL);
			if (!EXPECT_EQ(may, r == 0))
				ktest_log("change %zu, case %u: %s", i, c, self->why.text);
			allowed += may;
		}
	}
	EXPECT_EQ(1U + 8U + 8U, allowed);
}

TEST_HARNESS_MAIN
