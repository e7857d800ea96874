/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each change of a keyset, each refusal with its words, and the ways in which rules that were left out have
 * led a model of all this astray. tests/unit/keydoc_walk.c walks what changes lead to.
 */
#include "tests/unit/keydoc_bed.h"

#define KEEP 1000

/* Three nodes, of which 0 makes the changes; key 1 is active, and all of them say that all is well. */
FIXTURE(cluster)
{
	struct keydoc *doc;
	struct keyack *acks[3];
	const struct keyack *list[3];
	struct keydoc_heard heard;
	struct keydoc_refusal why;
	struct keydoc_change change;
	struct keydoc_node nodes[3];
};

/* Keys are retired at BED_TIME, and whatever comes after is as much later as they have to be kept. */
static void all_answer(struct ktest_data_of_cluster *self)
{
	bool retires = self->change.kind == KEYDOC_RETIRE;

	for (uint8_t n = 0; n < 3; n++)
		bed_answer(self->acks[n], self->doc, n, self->change.node, self->heard.number,
			   retires ? BED_TIME : BED_TIME + KEEP);
}

/* A change by @maker, about key @key. The number that it waits for is a new one. */
static void begin_by(struct ktest_data_of_cluster *self, uint8_t maker,
		     enum keydoc_change_kind kind, uint8_t key)
{
	self->change = (struct keydoc_change){ .kind = kind, .time = BED_TIME };
	memcpy(self->change.node, bed_node_id(maker).id, KEYDOC_NODE);
	memset(self->change.nonce, 0x55, KEYDOC_NODE);
	memcpy(self->change.id, bed_key_id(key).id, KEKD_KEY_ID);
	self->change.removed = self->nodes;
	self->heard.number[0]++;
	all_answer(self);
}

static void begin(struct ktest_data_of_cluster *self, enum keydoc_change_kind kind, uint8_t key)
{
	begin_by(self, 0, kind, key);
}

static void name_node(struct ktest_data_of_cluster *self, uint8_t n)
{
	memcpy(self->nodes[self->change.n_removed++].id, bed_node_id(n).id, KEYDOC_NODE);
}

/* Make the change; the document is the next one then, and all have taken it. */
static int make(struct ktest_data_of_cluster *self)
{
	struct keydoc *next = NULL;
	int r = keydoc_next(self->doc, &self->change, &self->heard, &next, &self->why);

	if (r < 0) {
		EXPECT_NULL(next);
		EXPECT_EQ(r, self->why.r);
		return r;
	}
	EXPECT_EQ(self->doc->generation + 1, next->generation);
	EXPECT_MEMEQ(self->change.nonce, KEYDOC_NODE, next->nonce, KEYDOC_NODE);
	EXPECT_MEMEQ(self->change.node, KEYDOC_NODE, next->node, KEYDOC_NODE);
	EXPECT_OK(bed_seal(next));
	EXPECT_EQ(KEYDOC_NEWER, keydoc_compare(self->doc, next));
	keydoc_free(self->doc);
	self->doc = next;
	all_answer(self);
	return 0;
}

static int change(struct ktest_data_of_cluster *self, enum keydoc_change_kind kind, uint8_t key)
{
	begin(self, kind, key);
	return make(self);
}

static int stage(struct ktest_data_of_cluster *self, uint8_t key)
{
	struct key_record rec = bed_key(key, "primary");

	begin(self, KEYDOC_STAGE, key);
	self->change.key = &rec;
	return make(self);
}

static int close_by(struct ktest_data_of_cluster *self, enum keydoc_change_kind kind, uint8_t key,
		    uint64_t evidence)
{
	begin(self, kind, key);
	self->change.evidence = evidence;
	return make(self);
}

static struct key_record *key_of(const struct ktest_data_of_cluster *self, uint8_t key)
{
	struct key_record *rec = keydoc_key(self->doc, bed_key_id(key).id);

	ASSERT_NOT_NULL(rec);
	return rec;
}

static struct keyack_key *said_of(struct ktest_data_of_cluster *self, uint8_t n, uint8_t key)
{
	for (size_t i = 0; i < self->acks[n]->n_keys; i++)
		if (self->acks[n]->keys[i].id[0] == key)
			return &self->acks[n]->keys[i];
	ASSERT_TRUE(false);
	return NULL;
}

static void writes_with(struct ktest_data_of_cluster *self, uint8_t n, uint8_t key)
{
	self->acks[n]->n_writes = 1;
	memcpy(self->acks[n]->writes[0].id, bed_key_id(key).id, KEKD_KEY_ID);
}

static void expect_words(const struct ktest_data_of_cluster *self, const char *const *words)
{
	for (; *words; words++)
		if (!EXPECT_NOT_NULL(strstr(self->why.text, *words)))
			ktest_log("\"%s\" is not in: %s", *words, self->why.text);
}
#define EXPECT_SAYS(self, ...) expect_words(self, (const char *const[]){ __VA_ARGS__, NULL })

FIXTURE_SETUP(cluster)
{
	self->doc = bed_begin();
	bed_join(self->doc, 1);
	bed_join(self->doc, 2);
	bed_add(self->doc, 1, "primary", KEY_ACTIVE, 1);
	ASSERT_OK(bed_seal(self->doc));
	for (size_t i = 0; i < 3; i++) {
		ASSERT_OK(keyack_new(&self->acks[i]));
		self->list[i] = self->acks[i];
	}
	self->heard = (struct keydoc_heard){ .acks = self->list, .n = 3, .keep_retired = KEEP };
}

FIXTURE_TEARDOWN(cluster)
{
	for (size_t i = 0; i < 3; i++)
		keyack_free(self->acks[i]);
	keydoc_free(self->doc);
}

/* The whole life of a key, and of the one that takes its place. */
TEST_F(cluster, rotation)
{
	uint8_t first[KEKD_KEY_ID];

	memcpy(first, bed_key_id(1).id, sizeof(first));
	ASSERT_OK(stage(self, 2));
	EXPECT_EQ(KEY_STAGED, key_of(self, 2)->info.state);
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	EXPECT_EQ(KEY_ACTIVE, key_of(self, 2)->info.state);
	EXPECT_EQ(2U, key_of(self, 2)->info.activation);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key_of(self, 1)->info.state);
	EXPECT_EQ(1U, key_of(self, 1)->info.activation);
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	EXPECT_EQ(self->doc->generation, key_of(self, 1)->info.marked);
	ASSERT_OK(close_by(self, KEYDOC_RETIRE, 1, self->doc->generation));
	EXPECT_EQ(KEY_RETIRED, key_of(self, 1)->info.state);
	EXPECT_EQ(BED_TIME, key_of(self, 1)->retired);
	EXPECT_EQ(0U, key_of(self, 1)->info.marked);
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	ASSERT_OK(close_by(self, KEYDOC_DESTROY, 1, self->doc->generation));
	EXPECT_NULL(keydoc_key(self->doc, first));
	EXPECT_TRUE(keydoc_is_gone(self->doc, first));
	EXPECT_EQ(1U, self->doc->n_keys);
	EXPECT_EQ(2U, key_of(self, 2)->info.activation);
	/* Its id is never given again. */
	EXPECT_ERR(-EEXIST, stage(self, 1));
	EXPECT_ERR(-EEXIST, stage(self, 2));
}

TEST_F(cluster, giving_up)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_GIVE_UP, 2));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key_of(self, 2)->info.state);
	EXPECT_EQ(0U, key_of(self, 2)->info.activation);
	EXPECT_EQ(KEY_ACTIVE, key_of(self, 1)->info.state);
	EXPECT_ERR(-EPERM, change(self, KEYDOC_GIVE_UP, 2));
	EXPECT_SAYS(self, "primary.2", "decrypt-only", "staged", "kekctl key list");
	/* A half-activated one gives way to the former, under a number that nobody has seen. */
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 1));
	EXPECT_EQ(3U, key_of(self, 1)->info.activation);
	EXPECT_EQ(2U, key_of(self, 2)->info.activation);
	EXPECT_EQ(KEY_DECRYPT_ONLY, key_of(self, 2)->info.state);
	EXPECT_ERR(-EALREADY, change(self, KEYDOC_ACTIVATE, 1));
	EXPECT_SAYS(self, "primary.1", "active");
}

TEST_F(cluster, names_do_not_meddle)
{
	struct key_record other = bed_key(2, "secondary");

	begin(self, KEYDOC_STAGE, 2);
	self->change.key = &other;
	ASSERT_OK(make(self));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	EXPECT_EQ(KEY_ACTIVE, key_of(self, 1)->info.state);
	EXPECT_EQ(KEY_ACTIVE, key_of(self, 2)->info.state);
	EXPECT_EQ(2U, key_of(self, 2)->info.activation);
}

/* What is staged is new, whatever its record says. */
TEST_F(cluster, staged_key_brings_no_state)
{
	struct key_record rec = bed_key(2, "primary");

	rec.info.state = KEY_ACTIVE;
	rec.info.activation = 9;
	rec.info.marked = rec.uses = 4;
	rec.retired = BED_TIME;
	begin(self, KEYDOC_STAGE, 2);
	self->change.key = &rec;
	ASSERT_OK(make(self));
	EXPECT_EQ(KEY_STAGED, key_of(self, 2)->info.state);
	EXPECT_EQ(0U, key_of(self, 2)->info.activation);
	EXPECT_EQ(0U, key_of(self, 2)->info.marked);
	EXPECT_EQ(0U, key_of(self, 2)->uses);
}

TEST_F(cluster, no_such_key)
{
	static const enum keydoc_change_kind kinds[] = { KEYDOC_ACTIVATE, KEYDOC_GIVE_UP,
							 KEYDOC_MARK,     KEYDOC_RETIRE,
							 KEYDOC_REOPEN,   KEYDOC_DESTROY };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT_ERR(-ENOKEY, change(self, kinds[i], 7));
		EXPECT_SAYS(self, "kekctl key list");
	}
}

/* Each change, on a key in each state: what must not be is refused by the key's name and state. */
TEST_F(cluster, states)
{
	static const struct {
		enum keydoc_change_kind kind;
		int staged, active, decrypt_only, retired;
	} cases[] = {
		{ KEYDOC_ACTIVATE, 0, -EALREADY, 0, -EPERM },
		{ KEYDOC_GIVE_UP, 0, -EPERM, -EPERM, -EPERM },
		{ KEYDOC_MARK, -EPERM, -EPERM, 0, 0 },
		{ KEYDOC_RETIRE, -EPERM, -EPERM, -EAGAIN, -EALREADY },
		{ KEYDOC_REOPEN, -EPERM, -EPERM, -EPERM, 0 },
		{ KEYDOC_DESTROY, -EPERM, -EPERM, -EPERM, -EAGAIN },
	};

	for (size_t i = 0; i < 4 * ARRAY_SIZE(cases); i++) {
		enum key_state state = (enum key_state)(i % 4);
		const int expected[] = { cases[i / 4].staged, cases[i / 4].active,
					 cases[i / 4].decrypt_only, cases[i / 4].retired };
		struct keydoc *doc = bed_copy(self->doc), *before = self->doc;

		bed_add(doc, 2, "other", state, state == KEY_STAGED ? 0 : 2);
		ASSERT_OK(bed_seal(doc));
		self->doc = doc;
		if (!EXPECT_ERR(expected[state], change(self, cases[i / 4].kind, 2)))
			ktest_log("change %d of a key that is %s", cases[i / 4].kind,
				  key_state_name(state));
		if (expected[state] < 0)
			EXPECT_SAYS(self, "other.2");
		if (expected[state] == -EPERM)
			EXPECT_SAYS(self, key_state_name(state), "kekctl key list");
		keydoc_free(self->doc);
		self->doc = before;
	}
}

/* Rule 8, for each change: who has not answered is named, with what to type. */
TEST_F(cluster, every_change_asks_every_member)
{
	static const enum keydoc_change_kind kinds[] = { KEYDOC_STAGE,   KEYDOC_ACTIVATE,
							 KEYDOC_GIVE_UP, KEYDOC_MARK,
							 KEYDOC_RETIRE,  KEYDOC_REOPEN,
							 KEYDOC_DESTROY, KEYDOC_TAKE };
	struct key_record rec = bed_key(3, "primary");

	ASSERT_OK(stage(self, 2));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint8_t maker = kinds[i] == KEYDOC_TAKE ? 1 : 0;

		begin_by(self, maker, kinds[i], 2);
		self->change.key = &rec;
		self->heard.n = 2;
		EXPECT_ERR(-EBUSY, make(self));
		EXPECT_SAYS(
			self, "cp-2", "has not acknowledged generation 2",
			"kekctl keyset export | ssh cp-2 kekctl keyset apply | kekctl keyset ack");
		self->heard.n = 3;
		self->acks[2]->doc[5] ^= 1;
		EXPECT_ERR(-EBUSY, make(self));
		EXPECT_SAYS(self, "cp-2", "has not acknowledged generation 2");
		self->acks[2]->doc[5] ^= 1;
		self->acks[2]->heard[0].number[5] ^= 1;
		EXPECT_ERR(-EBUSY, make(self));
		EXPECT_SAYS(self, "cp-2", "but not since this node took it", "ssh cp-2");
		self->acks[2]->heard[0].number[5] ^= 1;
		self->acks[2]->n_heard = 0;
		EXPECT_ERR(-EBUSY, make(self));
	}
}

/* In etcd it is the same, by any member, and who waits for others is told so. */
TEST_F(cluster, carried_by_etcd)
{
	begin_by(self, 1, KEYDOC_CARRY, 0);
	EXPECT_ERR(-EPERM, make(self));
	begin(self, KEYDOC_CARRY, 0);
	ASSERT_OK(make(self));
	EXPECT_EQ(KEYDOC_ETCD, self->doc->carrier);
	begin(self, KEYDOC_CARRY, 0);
	EXPECT_ERR(-EALREADY, make(self));
	for (uint8_t maker = 0; maker < 3; maker++) {
		struct key_record rec = bed_key((uint8_t)(maker + 2), "primary");

		begin_by(self, maker, KEYDOC_STAGE, 0);
		self->change.key = &rec;
		self->acks[(maker + 1) % 3]->n_heard = 0;
		EXPECT_ERR(-EBUSY, make(self));
		EXPECT_TRUE(self->why.waits);
		EXPECT_SAYS(self, "does it reach etcd? See `kekctl cluster status`");
		begin_by(self, maker, KEYDOC_STAGE, 0);
		self->change.key = &rec;
		ASSERT_OK(make(self));
		EXPECT_EQ(KEYDOC_ETCD, self->doc->carrier);
	}
	/* Out of etcd's hands again, which every member has to have heard of as well. */
	begin_by(self, 1, KEYDOC_TAKE, 0);
	self->acks[0]->n_heard = 0;
	EXPECT_ERR(-EBUSY, make(self));
	begin_by(self, 1, KEYDOC_TAKE, 0);
	ASSERT_OK(make(self));
	EXPECT_EQ(KEYDOC_HAND, self->doc->carrier);
	EXPECT_MEMEQ(bed_node_id(1).id, KEYDOC_NODE, self->doc->hand, KEYDOC_NODE);
	begin(self, KEYDOC_CARRY, 0);
	EXPECT_ERR(-EPERM, make(self));
}

/* The maker hears no number of its own, but holds the document too. */
TEST_F(cluster, maker_answers_too)
{
	struct key_record rec = bed_key(2, "primary");

	begin(self, KEYDOC_STAGE, 2);
	self->change.key = &rec;
	self->acks[0]->doc[0] ^= 1;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-0");
	self->acks[0]->doc[0] ^= 1;
	self->acks[0]->n_heard = 0;
	EXPECT_OK(make(self));
}

TEST_F(cluster, who_makes_changes)
{
	begin_by(self, 1, KEYDOC_ACTIVATE, 1);
	EXPECT_ERR(-EPERM, make(self));
	EXPECT_SAYS(self, "node cp-0", "kekctl keyset take");
	begin_by(self, 1, KEYDOC_TAKE, 0);
	ASSERT_OK(make(self));
	EXPECT_MEMEQ(bed_node_id(1).id, KEYDOC_NODE, self->doc->hand, KEYDOC_NODE);
	EXPECT_ERR(-EALREADY, make(self));
	EXPECT_ERR(-EPERM, stage(self, 2));
	EXPECT_SAYS(self, "node cp-1");
	begin_by(self, 7, KEYDOC_TAKE, 0);
	EXPECT_ERR(-EPERM, make(self));
	EXPECT_SAYS(self, "no member");
}

/* Rule 1. */
TEST_F(cluster, not_active_before_all_open_it)
{
	ASSERT_OK(stage(self, 2));
	begin(self, KEYDOC_ACTIVATE, 2);
	said_of(self, 2, 2)->why = -EBADMSG;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-2", "key primary.2", "kekctl key list");
	said_of(self, 2, 2)->id[0] ^= 0xff; /* it says nothing of that key */
	EXPECT_ERR(-EBUSY, make(self));
	all_answer(self);
	said_of(self, 2, 1)->why = -EBADMSG; /* another key */
	EXPECT_OK(make(self));
}

/* Rule 2. */
TEST_F(cluster, no_mark_before_all_are_quiet)
{
	ASSERT_OK(stage(self, 2));
	EXPECT_ERR(-EPERM, change(self, KEYDOC_MARK, 1));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_MARK, 1);
	said_of(self, 1, 1)->quiet = false;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-1", "key primary.1", "five minutes", "again");
	all_answer(self);
	writes_with(self, 2, 1);
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-2", "writes with key primary.1", "again");
	all_answer(self);
	ASSERT_OK(stage(self, 3));
	EXPECT_ERR(-EBUSY, change(self, KEYDOC_MARK, 1));
	EXPECT_SAYS(self, "primary.3", "kekctl key rotate primary", "--abort");
}

TEST_F(cluster, nothing_is_retired_without_evidence)
{
	uint64_t mark;

	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, 0));
	EXPECT_SAYS(self, "key primary.1 is not marked", "kekctl key mark primary.1",
		    "kekctl scan --etcd --uses primary.1 --proof FILE");
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, self->doc->generation));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	mark = key_of(self, 1)->info.marked;
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, 0));
	EXPECT_SAYS(self, "since it was marked",
		    "kekctl scan --etcd --uses primary.1 --proof FILE");
	/* Marked again: a value was found, or etcd has forgotten the revision. */
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, mark));
	begin(self, KEYDOC_RETIRE, 1);
	self->change.evidence = mark + 1;
	said_of(self, 1, 1)->quiet = false;
	EXPECT_ERR(-EBUSY, make(self));
	all_answer(self);
	writes_with(self, 1, 1);
	EXPECT_ERR(-EBUSY, make(self));
	/* Another change in between does no harm to the mark. */
	ASSERT_OK(stage(self, 3));
	ASSERT_OK(close_by(self, KEYDOC_RETIRE, 1, mark + 1));
}

/* An operator's word stands in for evidence, and if it must be for quiet, never for a node that writes. */
TEST_F(cluster, operators_word)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_RETIRE, 1);
	self->change.vouched = true;
	said_of(self, 1, 1)->quiet = false;
	EXPECT_ERR(-EBUSY, make(self));
	self->change.forced = true;
	writes_with(self, 2, 1);
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-2", "key primary.1");
	self->acks[2]->doc[0] ^= 1;
	EXPECT_ERR(-EBUSY, make(self));
	all_answer(self);
	said_of(self, 1, 1)->quiet = false;
	ASSERT_OK(make(self));
	begin(self, KEYDOC_DESTROY, 1);
	self->change.forced = true;
	EXPECT_ERR(-EAGAIN, make(self));
	self->change.vouched = true;
	self->acks[1]->time = BED_TIME + KEEP - 1;
	EXPECT_ERR(-EBUSY, make(self));
	self->acks[1]->time++;
	EXPECT_OK(make(self));
}

/* It is the clock that is furthest ahead that says when a key was retired: one that is slow shortens nothing. */
TEST_F(cluster, retired_by_the_clock_that_is_ahead)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_RETIRE, 1);
	self->change.vouched = true;
	self->change.time = BED_TIME - 2 * KEEP;
	self->acks[1]->time = BED_TIME + 5;
	ASSERT_OK(make(self));
	EXPECT_EQ(BED_TIME + 5, key_of(self, 1)->retired);
}

/* Rule 3, by the clock of every member, also one that goes wrong. */
TEST_F(cluster, kept_long_enough)
{
	uint64_t mark;

	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	mark = self->doc->generation;
	ASSERT_OK(close_by(self, KEYDOC_RETIRE, 1, mark));
	/* What it was retired on is no evidence for more. */
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_DESTROY, 1, mark));
	EXPECT_SAYS(self, "primary.1");
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	mark = self->doc->generation;
	for (uint8_t n = 0; n < 3; n++) {
		static const time_t early[] = { 0, BED_TIME - 1, BED_TIME, BED_TIME + KEEP - 1 };

		for (size_t i = 0; i < ARRAY_SIZE(early); i++) {
			begin(self, KEYDOC_DESTROY, 1);
			self->change.evidence = mark;
			self->acks[n]->time = early[i];
			EXPECT_ERR(-EBUSY, make(self));
			EXPECT_SAYS(self, "key primary.1", bed_node(n).name, "keepRetired");
		}
	}
	EXPECT_OK(close_by(self, KEYDOC_DESTROY, 1, mark));
}

TEST_F(cluster, reopened)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_RETIRE, 1);
	self->change.vouched = true;
	ASSERT_OK(make(self));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	ASSERT_OK(change(self, KEYDOC_REOPEN, 1));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key_of(self, 1)->info.state);
	EXPECT_EQ(0, key_of(self, 1)->retired);
	EXPECT_EQ(0U, key_of(self, 1)->info.marked);
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, self->doc->generation - 1));
}

/* The list of destroyed keys has an end; the oldest makes room, and that is written down. */
TEST_F(cluster, gone_is_forgotten_at_last)
{
	struct key_record *rec = bed_add(self->doc, 9, "primary", KEY_RETIRED, 0);

	for (size_t i = 0; i < KEYDOC_GONE_MAX; i++) {
		self->doc->gone[i][0] = (uint8_t)i;
		self->doc->gone[i][1] = (uint8_t)(i >> 8);
	}
	self->doc->n_gone = KEYDOC_GONE_MAX;
	rec->info.marked = 1;
	ASSERT_OK(bed_seal(self->doc));
	ASSERT_OK(close_by(self, KEYDOC_DESTROY, 9, 1));
	EXPECT_EQ((size_t)KEYDOC_GONE_MAX, self->doc->n_gone);
	EXPECT_EQ(1, self->doc->gone[0][0]);
	EXPECT_EQ(9, self->doc->gone[KEYDOC_GONE_MAX - 1][0]);
	EXPECT_EQ(self->doc->generation, self->doc->forgotten);
}

TEST_F(cluster, full)
{
	int r = 0;

	for (size_t i = 1; i < KEKD_KEYS_MAX; i++) {
		struct key_record *rec = bed_add(self->doc, 9, "x", KEY_DECRYPT_ONLY, 0);

		rec->info.id[0] = (uint8_t)i;
		rec->info.id[1] = (uint8_t)(i >> 8);
		snprintf(rec->blob, sizeof(rec->blob), "b");
	}
	ASSERT_OK(bed_seal(self->doc));
	EXPECT_ERR(-ENOBUFS, stage(self, 2));
	EXPECT_SAYS(self, "keyset is full", "kekctl key list");
	self->doc->n_keys /= 2;
	for (size_t i = 1; i < self->doc->n_keys; i++)
		memset(self->doc->keys[i].blob, 'b', KEY_BLOB_MAX - 1);
	while (!keydoc_fits(self->doc))
		self->doc->n_keys--;
	ASSERT_OK(bed_seal(self->doc));
	for (uint8_t n = 100; r == 0 && n < 110; n++)
		r = stage(self, n);
	EXPECT_ERR(-ENOBUFS, r);
	EXPECT_SAYS(self, "keyset is full", "kekctl key list");
}

TEST_F(cluster, numbers_end)
{
	self->doc->activations = UINT32_MAX;
	ASSERT_OK(bed_seal(self->doc));
	ASSERT_OK(stage(self, 2));
	EXPECT_ERR(-EOVERFLOW, change(self, KEYDOC_ACTIVATE, 2));
	EXPECT_EQ(KEY_STAGED, key_of(self, 2)->info.state);
}

/* A machine that is alone becomes two: changes come from it from then on. */
TEST_F(cluster, joining)
{
	keydoc_free(self->doc);
	self->doc = bed_begin();
	bed_add(self->doc, 1, "primary", KEY_ACTIVE, 1);
	bed_add(self->doc, 2, "primary", KEY_RETIRED, 0);
	ASSERT_OK(bed_seal(self->doc));
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(1);
	self->change.member.leaving = true;
	self->heard.n = 1;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-1", "has not acknowledged generation 1", "kekctl keyset export");
	self->heard.n = 2;
	self->acks[1]->heard[0].number[0] ^= 1;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-1");
	all_answer(self);
	said_of(self, 1, 1)->why = -EKEYREJECTED;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "node cp-1", "key primary.1", "kekctl key list");
	all_answer(self);
	ASSERT_OK(make(self));
	EXPECT_EQ(KEYDOC_HAND, self->doc->carrier);
	EXPECT_MEMEQ(bed_node_id(0).id, KEYDOC_NODE, self->doc->hand, KEYDOC_NODE);
	ASSERT_EQ(2U, self->doc->n_members);
	EXPECT_FALSE(self->doc->members[1].leaving);
	EXPECT_ERR(-EALREADY, make(self));
	EXPECT_SAYS(self, "cp-1");
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(2);
	memcpy(self->change.member.name, "cp-1", 5);
	self->heard.n = 3;
	EXPECT_ERR(-EEXIST, make(self));
	EXPECT_SAYS(self, "cp-1", "node:");
}

TEST_F(cluster, too_many_members)
{
	const struct keyack *list[KEYDOC_MEMBERS_MAX];
	struct keyack *acks[KEYDOC_MEMBERS_MAX];

	while (self->doc->n_members < KEYDOC_MEMBERS_MAX)
		bed_join(self->doc, (uint8_t)self->doc->n_members);
	ASSERT_OK(bed_seal(self->doc));
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(KEYDOC_MEMBERS_MAX);
	for (uint8_t n = 0; n < KEYDOC_MEMBERS_MAX; n++) {
		ASSERT_OK(keyack_new(&acks[n]));
		list[n] = acks[n];
		bed_answer(acks[n], self->doc, n, self->change.node, self->heard.number, BED_TIME);
	}
	self->heard.acks = list;
	self->heard.n = KEYDOC_MEMBERS_MAX;
	EXPECT_ERR(-ENOBUFS, make(self));
	EXPECT_SAYS(self, "at most 32");
	for (size_t n = 0; n < KEYDOC_MEMBERS_MAX; n++)
		keyack_free(acks[n]);
}

TEST_F(cluster, leaving)
{
	begin(self, KEYDOC_REMOVE, 0);
	name_node(self, 2);
	self->heard.n = 2; /* it is not asked */
	ASSERT_OK(make(self));
	EXPECT_TRUE(keydoc_member(self->doc, bed_node_id(2).id)->leaving);
	EXPECT_ERR(-EALREADY, make(self));
	self->heard.n = 3;

	/* Asked for any other change, but it need not open what is new. */
	self->heard.n = 2;
	EXPECT_ERR(-EBUSY, stage(self, 2));
	EXPECT_SAYS(self, "cp-2");
	self->heard.n = 3;
	ASSERT_OK(stage(self, 2));
	begin(self, KEYDOC_ACTIVATE, 2);
	said_of(self, 2, 2)->why = -EIO;
	ASSERT_OK(make(self));
	begin(self, KEYDOC_MARK, 1);
	said_of(self, 2, 1)->quiet = false;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-2");
	begin_by(self, 2, KEYDOC_TAKE, 0);
	EXPECT_ERR(-EPERM, make(self));
	EXPECT_SAYS(self, "leaving");
}

/* It is gone when it has stopped: no word about a key is no word that it is quiet. */
TEST_F(cluster, left)
{
	begin(self, KEYDOC_LEFT, 0);
	name_node(self, 2);
	EXPECT_ERR(-EPERM, make(self));
	EXPECT_SAYS(self, "cp-2", "not leaving");
	begin(self, KEYDOC_REMOVE, 0);
	name_node(self, 2);
	ASSERT_OK(make(self));
	begin(self, KEYDOC_LEFT, 0);
	name_node(self, 2);
	EXPECT_ERR(-EBUSY, make(self)); /* it writes */
	EXPECT_SAYS(self, "node cp-2", "kekctl keyset remove cp-2 --dead");
	self->acks[2]->n_writes = 0;
	EXPECT_ERR(-EBUSY, make(self)); /* it has just written */
	self->acks[2]->n_keys = 0;
	EXPECT_ERR(-EBUSY, make(self)); /* it has started, and its servers have not */
	all_answer(self);
	self->acks[2]->n_writes = 0;
	said_of(self, 2, 1)->quiet = true;
	said_of(self, 2, 1)->uses = 30;
	self->acks[2]->doc[0] ^= 1;
	EXPECT_ERR(-EBUSY, make(self));
	self->acks[2]->doc[0] ^= 1;
	ASSERT_OK(make(self));
	EXPECT_TRUE(keydoc_is_removed(self->doc, bed_node_id(2).id));
	EXPECT_EQ(30U, key_of(self, 1)->uses);
	EXPECT_ERR(-ENOKEY, make(self));
	EXPECT_SAYS(self, "a2a2a2a2", "any more");
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(2);
	EXPECT_ERR(-EPERM, make(self));
	EXPECT_SAYS(self, "cp-2", "was removed", "empty");
}

/* The one that changes come from, and another, have burnt down together. */
TEST_F(cluster, dead)
{
	begin_by(self, 1, KEYDOC_LEFT, 0);
	self->change.vouched = true;
	name_node(self, 2);
	EXPECT_ERR(-EPERM, make(self)); /* node 0 lives: it is for node 0 to do */
	name_node(self, 0);
	self->acks[0]->doc[0] ^= 1;
	self->acks[2]->doc[0] ^= 1;
	said_of(self, 2, 1)->uses = UINT64_MAX;
	said_of(self, 0, 1)->uses = 30;
	ASSERT_OK(make(self));
	EXPECT_EQ(1U, self->doc->n_members);
	EXPECT_EQ(KEYDOC_ALONE, self->doc->carrier);
	EXPECT_EQ(UINT64_MAX, key_of(self, 1)->uses);
}

/* What they said before they died is not their last number; a key that was never active has none. */
TEST_F(cluster, dead_have_their_whole_share)
{
	ASSERT_OK(stage(self, 2));
	begin_by(self, 1, KEYDOC_LEFT, 0);
	self->change.vouched = true;
	name_node(self, 2);
	name_node(self, 0);
	self->acks[0]->n_keys = 0;
	said_of(self, 2, 1)->uses = 30;
	ASSERT_OK(make(self));
	EXPECT_EQ(2 * KEKD_KEY_MESSAGES, key_of(self, 1)->uses);
	EXPECT_EQ(0U, key_of(self, 2)->uses);
}

TEST_F(cluster, hand_goes_to_who_removes_it)
{
	begin_by(self, 1, KEYDOC_LEFT, 0);
	self->change.vouched = true;
	name_node(self, 0);
	self->heard.acks = &self->list[1];
	self->heard.n = 1;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-2");
	self->heard.n = 2;
	ASSERT_OK(make(self));
	EXPECT_MEMEQ(bed_node_id(1).id, KEYDOC_NODE, self->doc->hand, KEYDOC_NODE);
}

TEST_F(cluster, nobody_removes_itself)
{
	for (int i = 0; i < 2; i++) {
		begin(self, i == 0 ? KEYDOC_REMOVE : KEYDOC_LEFT, 0);
		self->change.vouched = true;
		name_node(self, 0);
		EXPECT_ERR(-EPERM, make(self));
		EXPECT_SAYS(self, "cp-0", "another member");
		begin(self, self->change.kind, 0);
		self->change.vouched = true;
		name_node(self, 7);
		EXPECT_ERR(-ENOKEY, make(self));
		EXPECT_SAYS(self, "a7a7a7a7");
	}
}

/* The list of removed nodes has an end too. */
TEST_F(cluster, oldest_removed_is_forgotten)
{
	for (size_t i = 0; i < KEYDOC_REMOVED_MAX; i++)
		self->doc->removed[self->doc->n_removed++].id[0] = (uint8_t)i;
	ASSERT_OK(bed_seal(self->doc));
	begin(self, KEYDOC_LEFT, 0);
	self->change.vouched = true;
	name_node(self, 2);
	ASSERT_OK(make(self));
	EXPECT_EQ((size_t)KEYDOC_REMOVED_MAX, self->doc->n_removed);
	EXPECT_EQ(1, self->doc->removed[0].id[0]);
	EXPECT_TRUE(keydoc_is_removed(self->doc, bed_node_id(2).id));
}

/*
 * From here on: what went wrong in a model of this protocol when one rule was taken away. Each ends at the
 * step that must not be.
 */

/* no_open: an acknowledgement said what the keeper had loaded; a server of node 1 did not open key 2 yet. */
TEST_F(cluster, model_servers_lag_behind_their_keeper)
{
	ASSERT_OK(stage(self, 2));
	begin(self, KEYDOC_ACTIVATE, 2);
	said_of(self, 1, 2)->why = -EIO;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-1", "primary.2");
}

/* no_open_join: a node joined whose servers did not open what there was. */
TEST_F(cluster, model_join_before_its_servers_open)
{
	self->doc->n_members = 2;
	ASSERT_OK(bed_seal(self->doc));
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(2);
	self->acks[2]->n_keys = 0;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-2", "primary.1");
}

/* no_back: key 1 was retired on some nodes; "back to it" went without asking who opens it. */
TEST_F(cluster, model_way_back_is_an_activation)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_ACTIVATE, 1);
	said_of(self, 1, 1)->why = -EKEYREVOKED;
	EXPECT_ERR(-EBUSY, make(self));
	begin(self, KEYDOC_RETIRE, 1);
	self->change.vouched = true;
	ASSERT_OK(make(self));
	EXPECT_ERR(-EPERM, change(self, KEYDOC_ACTIVATE, 1));
}

/* no_quiet: the maker waited; the machine of node 1 stood still, and wrote with key 1 when it went on. */
TEST_F(cluster, model_each_waits_by_its_own_clock)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_MARK, 1);
	said_of(self, 1, 1)->quiet = false;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-1", "primary.1");
}

/* no_leave: node 1 was removed and no longer counted, and its API server wrote on. */
TEST_F(cluster, model_who_is_removed_counts_until_it_stopped)
{
	begin(self, KEYDOC_REMOVE, 0);
	name_node(self, 1);
	ASSERT_OK(make(self));
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	begin(self, KEYDOC_MARK, 1);
	writes_with(self, 1, 1);
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-1", "primary.1");
	all_answer(self);
	self->acks[1]->doc[0] ^= 1;
	EXPECT_ERR(-EBUSY, make(self));
}

/* no_confirm: a disk of an earlier time; its node's answer is of the document that it holds. */
TEST_F(cluster, model_reverted_disk_answers_for_the_past)
{
	struct keyack *old = self->acks[1];

	begin(self, KEYDOC_ACTIVATE, 2);
	ASSERT_OK(keyack_new(&self->acks[1]));
	self->list[1] = self->acks[1];
	ASSERT_OK(stage(self, 2));
	begin(self, KEYDOC_ACTIVATE, 2);
	self->list[1] = old;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "cp-1", "generation 2");
	self->list[1] = self->acks[1];
	keyack_free(old);
}

/* no_mark: evidence of a scan that was not at the revision of this mark. */
TEST_F(cluster, model_evidence_is_of_this_mark)
{
	uint64_t mark;

	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	mark = self->doc->generation;
	/* etcd is restored; ours is published again, its marks void: as when it becomes active and not again. */
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 1));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, mark));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_RETIRE, 1, mark));
	EXPECT_OK(close_by(self, KEYDOC_RETIRE, 1, self->doc->generation));
}

/* no_twice: key 1 was retired on evidence, etcd restored with its values, and the key destroyed on the same. */
TEST_F(cluster, model_destroying_takes_evidence_of_its_own)
{
	uint64_t mark;

	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_ACTIVATE, 2));
	ASSERT_OK(change(self, KEYDOC_MARK, 1));
	mark = self->doc->generation;
	ASSERT_OK(close_by(self, KEYDOC_RETIRE, 1, mark));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_DESTROY, 1, mark));
	EXPECT_ERR(-EAGAIN, close_by(self, KEYDOC_DESTROY, 1, 0));
	/* Rather it opens again. */
	EXPECT_OK(change(self, KEYDOC_REOPEN, 1));
}

/* no_fresh: an old document and old acknowledgements were put back, and another key staged on them. */
TEST_F(cluster, model_old_document_with_its_acknowledgements)
{
	struct key_record rec = bed_key(3, "primary");

	begin(self, KEYDOC_STAGE, 3);
	self->change.key = &rec;
	/* They are of this very document, but to a number of an earlier time. */
	self->heard.number[0]++;
	EXPECT_ERR(-EBUSY, make(self));
	EXPECT_SAYS(self, "but not since this node took it");
}

/* no_slow: what was given up stopped opening at once; another node had activated it and wrote. */
TEST_F(cluster, model_given_up_key_still_opens)
{
	ASSERT_OK(stage(self, 2));
	ASSERT_OK(change(self, KEYDOC_GIVE_UP, 2));
	EXPECT_TRUE(key_state_opens(key_of(self, 2)->info.state));
	begin(self, KEYDOC_RETIRE, 2);
	self->change.vouched = true;
	writes_with(self, 1, 2);
	EXPECT_ERR(-EBUSY, make(self));
}

/*
 * back_unwiped: no rule repairs that a disk starts again after somebody vouched that it does not. But it is
 * no member, so nothing that it says makes a change, and it cannot join.
 */
TEST_F(cluster, model_dead_disk_that_starts_again)
{
	begin(self, KEYDOC_LEFT, 0);
	self->change.vouched = true;
	name_node(self, 1);
	self->acks[1]->doc[0] ^= 1;
	ASSERT_OK(make(self));
	begin_by(self, 1, KEYDOC_TAKE, 0);
	EXPECT_ERR(-EPERM, make(self));
	begin(self, KEYDOC_JOIN, 0);
	self->change.member = bed_node(1);
	EXPECT_ERR(-EPERM, make(self));
}

TEST_HARNESS_MAIN
