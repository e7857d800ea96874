/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a keyset document: one spelling, under a MAC that is checked before all else. Texts that no
 * keeper would write are signed here too, as the parser has to refuse them on its own.
 */
#include "daemon/keys/keydoc.h"
#include "tests/unit/keydoc_bed.h"

#define HEX   "00112233445566778899aabbccddeeff"
#define NODE0 "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
#define NODE1 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define NODE2 "a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2"
#define NODE3 "a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3"
#define KEY1  "11111111111111111111111111111111"
#define KEY2  "22222222222222222222222222222222"
#define KEY3  "33333333333333333333333333333333"
#define KEY4  "44444444444444444444444444444444"

/* The lines of a good document. Its numbers are used below. */
enum {
	FORMAT,
	CLUSTER,
	GENERATION,
	NONCE,
	NODE,
	TIME,
	CARRIER,
	MEMBER,
	LEAVING,
	REMOVED,
	ROOT,
	ACTIVATIONS,
	KEY,
	NAME,
	LABEL,
	KIND,
	ALG,
	STATE,
	ACTIVATION,
	CREATED,
	USES,
	CHECK,
	BLOB,
	OLD,
	OLD_NAME,
	OLD_LABEL,
	OLD_KIND,
	OLD_ALG,
	OLD_STATE,
	OLD_ACTIVATION,
	OLD_CREATED,
	OLD_RETIRED,
	OLD_MARKED,
	OLD_CHECK,
	OLD_BLOB,
	GONE,
	GONE2,
	FORGOTTEN,
	LINES,
};

static const char *const good[LINES] = {
	[FORMAT] = "kekd-keyset 1",
	[CLUSTER] = "cluster " HEX,
	[GENERATION] = "generation 17",
	[NONCE] = "nonce " HEX,
	[NODE] = "node " NODE0,
	[TIME] = "time 2026-01-31T12:00:00Z",
	[CARRIER] = "carrier hand " NODE0,
	[MEMBER] = "member " NODE0 " member cp-0",
	[LEAVING] = "member " NODE1 " leaving cp-1.two.words",
	[REMOVED] = "removed " NODE2,
	[ROOT] = "root " BED_ROOT_HEX,
	[ACTIVATIONS] = "activations 5",
	[KEY] = "key " KEY1,
	[NAME] = "name primary",
	[LABEL] = "label primary.1",
	[KIND] = "kind encrypted",
	[ALG] = "alg aes-256",
	[STATE] = "state active",
	[ACTIVATION] = "activation 5",
	[CREATED] = "created 2026-01-31T12:00:00Z",
	[USES] = "uses 20000",
	[CHECK] = "check " HEX,
	[BLOB] = "blob default user:kekd-root 32 00ff",
	[OLD] = "key " KEY2,
	[OLD_NAME] = "name primary",
	[OLD_LABEL] = "label primary.2",
	[OLD_KIND] = "kind imported",
	[OLD_ALG] = "alg secretbox",
	[OLD_STATE] = "state retired",
	[OLD_ACTIVATION] = "activation 4",
	[OLD_CREATED] = "created 2025-01-31T12:00:00Z",
	[OLD_RETIRED] = "retired 2026-01-31T12:00:00Z",
	[OLD_MARKED] = "marked 17",
	[OLD_CHECK] = "check " HEX,
	[OLD_BLOB] = "blob x",
	[GONE] = "gone " KEY3,
	[GONE2] = "gone " KEY4,
	[FORGOTTEN] = "forgotten 0",
};

/* Room for a document that is too large. */
static char room[2 * KEYDOC_TEXT_MAX];

static struct text_buf begin(void)
{
	return (struct text_buf){ .data = room, .size = sizeof(room) };
}

/* The good lines, but for one; NULL: without it. Another line may stand for several. */
static struct text_buf text_with(int line, const char *instead)
{
	struct text_buf b = begin();

	for (int i = 0; i < LINES; i++) {
		if (i != line)
			text_append(&b, "%s\n", good[i]);
		else if (instead)
			text_append(&b, "%s\n", instead);
	}
	return b;
}

static struct span signed_as(struct text_buf *b, const char *first)
{
	ASSERT_OK(keydoc_sign(b, first, &bed_root));
	return span_of(b->data, b->len);
}

static int parse_signed(struct text_buf *b, struct keydoc **ret)
{
	uint8_t other[KEY_ROOT_ID];

	return keydoc_parse(signed_as(b, "kekd-keyset"), &bed_root, ret, other);
}

/* What a text is worth that should be refused. */
static int refusal_of(struct text_buf *b)
{
	struct keydoc *doc = NULL;
	int r = parse_signed(b, &doc);

	if (r < 0)
		EXPECT_NULL(doc);
	keydoc_free(doc);
	return r;
}

static int refusal(int line, const char *instead)
{
	struct text_buf b = text_with(line, instead);

	return refusal_of(&b);
}

static struct keydoc *good_doc(void)
{
	struct text_buf b = text_with(-1, NULL);
	struct keydoc *doc = NULL;

	ASSERT_OK(parse_signed(&b, &doc));
	return doc;
}

TEST(every_field_is_read)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc();
	const struct key_record *rec;

	EXPECT_EQ(0xff, doc->cluster[15]);
	EXPECT_EQ(17U, doc->generation);
	EXPECT_EQ(0x11, doc->nonce[1]);
	EXPECT_EQ(0xa0, doc->node[0]);
	EXPECT_EQ(BED_TIME, doc->time);
	EXPECT_EQ(KEYDOC_HAND, doc->carrier);
	EXPECT_EQ(0xa0, doc->hand[0]);
	ASSERT_EQ(2U, doc->n_members);
	EXPECT_STREQ("cp-0", doc->members[0].name);
	EXPECT_FALSE(doc->members[0].leaving);
	EXPECT_STREQ("cp-1.two.words", doc->members[1].name);
	EXPECT_TRUE(doc->members[1].leaving);
	EXPECT_TRUE(keydoc_is_removed(doc, bed_node_id(2).id));
	EXPECT_FALSE(keydoc_is_removed(doc, bed_node_id(0).id));
	EXPECT_MEMEQ(bed_root_id, sizeof(bed_root_id), doc->root, sizeof(doc->root));
	EXPECT_EQ(5U, doc->activations);
	ASSERT_EQ(2U, doc->n_keys);
	rec = keydoc_active(doc, "primary");
	ASSERT_TRUE(rec == &doc->keys[0]);
	EXPECT_EQ(20000U, rec->uses);
	EXPECT_MEMEQ(bed_root_id, sizeof(bed_root_id), rec->root, sizeof(rec->root));
	EXPECT_NULL(keydoc_active(doc, "secondary"));
	EXPECT_EQ(17U, doc->keys[1].info.marked);
	EXPECT_TRUE(doc->keys[1].info.secretbox);
	ASSERT_EQ(2U, doc->n_gone);
	EXPECT_TRUE(keydoc_is_gone(doc, doc->gone[1]));
	EXPECT_FALSE(keydoc_is_gone(doc, rec->info.id));
	EXPECT_EQ(0U, doc->forgotten);
}

TEST(formats_back_to_itself)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc(), *copy = bed_copy(doc);
	_cleanup_free_ char *back = NULL;
	uint8_t hash[SHA256_LEN];
	size_t len = 0;

	memcpy(hash, doc->hash, sizeof(hash));
	memset(doc->hash, 0, sizeof(doc->hash));
	ASSERT_OK(keydoc_format(doc, &bed_root, &back, &len));
	EXPECT_STREQ(room, back);
	EXPECT_EQ(strlen(back), len);
	EXPECT_MEMEQ(hash, sizeof(hash), doc->hash, sizeof(doc->hash));
	EXPECT_MEMEQ(hash, sizeof(hash), copy->hash, sizeof(copy->hash));
}

/* The smallest one: what keydoc_begin() makes. */
TEST(first_document)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin(), *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &len));
	EXPECT_NOT_NULL(strstr(text, "\ncarrier none\nmember " NODE0 " member cp-0\nroot "));
	ASSERT_OK(keydoc_parse(span_of(text, len), &bed_root, &back, other));
	EXPECT_EQ(1U, back->generation);
	EXPECT_EQ(KEYDOC_SAME, keydoc_compare(doc, back));
}

TEST(carried_by_etcd)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc(), *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	doc->carrier = KEYDOC_ETCD;
	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &len));
	EXPECT_NOT_NULL(strstr(text, "\ncarrier etcd\nmember "));
	ASSERT_OK(keydoc_parse(span_of(text, len), &bed_root, &back, other));
	EXPECT_EQ(KEYDOC_ETCD, back->carrier);
	EXPECT_EQ(KEYDOC_SAME, keydoc_compare(doc, back));
}

static bool may_be_missing(int line)
{
	return line == LEAVING || line == REMOVED || line == USES || line == OLD_MARKED ||
	       line == GONE || line == GONE2;
}

TEST(each_line_has_to_be_there)
{
	for (int i = 0; i < LINES; i++)
		if (!EXPECT_ERR(may_be_missing(i) ? 0 : -EINVAL, refusal(i, NULL)))
			ktest_log("without line %d: %s", i, good[i]);
}

TEST(no_line_stands_twice)
{
	char twice[256];

	for (int i = 0; i < LINES; i++) {
		snprintf(twice, sizeof(twice), "%s\n%s", good[i], good[i]);
		if (!EXPECT_ERR(-EINVAL, refusal(i, twice)))
			ktest_log("twice: %s", good[i]);
	}
}

static bool same_field(int a, int b)
{
	return strcspn(good[a], " ") == strcspn(good[b], " ") &&
	       strncmp(good[a], good[b], strcspn(good[a], " ")) == 0;
}

TEST(lines_have_an_order)
{
	for (int i = 0; i + 1 < LINES; i++) {
		struct text_buf b = begin();

		for (int j = 0; j < LINES; j++)
			text_append(&b, "%s\n", good[j == i ? i + 1 : j == i + 1 ? i : j]);
		if (!EXPECT_ERR(same_field(i, i + 1) ? 0 : -EINVAL, refusal_of(&b)))
			ktest_log("changed places: %s, %s", good[i], good[i + 1]);
	}
}

/* No field takes nothing, a blank too many, a tab, or a line that ends as on Windows. */
TEST(no_line_has_another_spelling)
{
	for (int i = 0; i < LINES; i++) {
		int field = (int)strcspn(good[i], " ");
		const char *value = good[i] + field + 1;
		char bad[6][256];

		snprintf(bad[0], sizeof(bad[0]), "%.*s", field, good[i]);
		snprintf(bad[1], sizeof(bad[1]), "%.*s ", field, good[i]);
		snprintf(bad[2], sizeof(bad[2]), "%.*s  %s", field, good[i], value);
		snprintf(bad[3], sizeof(bad[3]), "%.*s\t%s", field, good[i], value);
		snprintf(bad[4], sizeof(bad[4]), "%s\r", good[i]);
		snprintf(bad[5], sizeof(bad[5]), "%s ", good[i]);
		for (int j = 0; j < 6; j++) {
			int r = refusal(i, bad[j]);

			/* A version that is spelled otherwise is another version. */
			if (i == FORMAT && r == -EPROTONOSUPPORT)
				continue;
			if (!EXPECT_ERR(-EINVAL, r))
				ktest_log("line %d, spelling %d", i, j);
		}
	}
}

static const struct {
	int line;
	const char *instead;
} bad[] = {
	{ FORMAT, "kekd-ack 1" },
	{ FORMAT, "\nkekd-keyset 1" },
	{ CLUSTER, "cluster 00112233445566778899aabbccddeef" },
	{ CLUSTER, "cluster 00112233445566778899aabbccddeeff0" },
	{ CLUSTER, "cluster 00112233445566778899AABBccddeeff" },
	{ CLUSTER, "cluster 00112233445566778899aabbccddeefg" },
	{ GENERATION, "generation 0" },
	{ GENERATION, "generation 017" },
	{ GENERATION, "generation +17" },
	{ GENERATION, "generation -17" },
	{ GENERATION, "generation 0x11" },
	{ GENERATION, "generation 17.0" },
	{ GENERATION, "generation 18446744073709551616" },
	{ GENERATION, "generation 99999999999999999999" },
	{ NONCE, "nonce " BED_ROOT_HEX },
	{ NODE, "node " NODE0 " cp-0" },
	{ TIME, "time 2026-02-30T12:00:00Z" },
	{ TIME, "time 2026-13-01T12:00:00Z" },
	{ TIME, "time 2026-01-31T24:00:00Z" },
	{ TIME, "time 2026-01-31T12:00:60Z" },
	{ TIME, "time 2026-01-31 12:00:00Z" },
	{ TIME, "time 2026-01-31T12:00:00" },
	{ TIME, "time 2026-01-31T12:00:00+" },
	{ TIME, "time 2026-01-31T12:00:00z" },
	{ TIME, "time 2026- 1-31T12:00:00Z" },
	{ TIME, "time 2026-+1-31T12:00:00Z" },
	{ TIME, "time 1969-12-31T23:59:59Z" },
	{ CARRIER, "carrier" },
	{ CARRIER, "carrier etcd " NODE0 },
	{ CARRIER, "carrier Etcd" },
	{ CARRIER, "carrier hand" },
	{ CARRIER, "carrier none " NODE0 },
	{ CARRIER, "carrier hand " KEY1 "00" },
	{ CARRIER, "carrier Hand " NODE0 },
	{ MEMBER, "member " NODE0 " member" },
	{ MEMBER, "member " NODE0 " cp-0" },
	{ MEMBER, "member " NODE0 " Member cp-0" },
	{ MEMBER, "member " NODE0 "  member cp-0" },
	{ MEMBER, "member " NODE0 " member  cp-0" },
	{ MEMBER, "member " NODE0 " member cp\0330" },
	{ MEMBER, "member a0 member cp-0" },
	{ REMOVED, "removed" },
	{ REMOVED, "removed a0" },
	{ ROOT, "root 0123456789abcde" },
	{ ROOT, "root 0123456789abcdef00" },
	{ ROOT, "root fedcba9876543210" }, /* and signed under the first */
	{ ACTIVATIONS, "activations 4294967296" },
	{ ACTIVATIONS, "activations 05" },
	{ ACTIVATIONS, "activations 18446744073709551616" },
	{ KEY, "key 111111111111111111111111111111" },
	{ STATE, "state destroyed" },
	{ STATE, "state Active" },
	{ ACTIVATION, "activation 0" },
	{ USES, "uses 0" },
	{ USES, "uses 18446744073709551616" },
	{ USES, "marked 3\nuses 20000" }, /* of an active key */
	{ USES, "retired 2026-01-31T12:00:00Z\nuses 20000" },
	{ BLOB, "blob default user:kekd-root 32 00ff\nblob x" },
	{ ALG, "alg secretbox" }, /* of a key that was not imported */
	{ OLD_MARKED, "marked 0" },
	{ GONE, "gone 3333333333333333333333333333333" },
	{ FORGOTTEN, "forgotten 00" },
	{ FORGOTTEN, "forgotten 0\nforgotten 0" },
	{ FORGOTTEN, "forgotten 0\nmore 1" },
	{ FORGOTTEN, "forgotten 0\n" },
};

TEST(malformed_lines)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!EXPECT_ERR(-EINVAL, refusal(bad[i].line, bad[i].instead)))
			ktest_log("case %zu: %s", i, bad[i].instead);
}

/* Each line is well-formed; what they say together no change leads to. */
static const struct {
	int line;
	const char *instead, *what;
} unsound[] = {
	{ OLD_STATE, "state active", "two keys of a name are active" },
	{ OLD_ACTIVATION, "activation 5", "two keys of a name have one number" },
	{ ACTIVATIONS, "activations 4", "a number that was not given yet" },
	{ OLD, "key " KEY1, "a key twice" },
	{ GONE, "gone " KEY1, "a key that is there and gone" },
	{ GONE, "gone " KEY4, "gone twice" },
	{ LEAVING, "member " NODE0 " leaving cp-1", "a member twice" },
	{ REMOVED, "removed " NODE1, "a member that was removed" },
	{ REMOVED, "removed " NODE2 "\nremoved " NODE3 "\nremoved " NODE2, "removed twice" },
	{ OLD_MARKED, "marked 18", "a mark by a document that is not written yet" },
	{ FORGOTTEN, "forgotten 18", "destroyed by a document that is not written yet" },
};

TEST(unsound_documents)
{
	for (size_t i = 0; i < ARRAY_SIZE(unsound); i++)
		if (!EXPECT_ERR(-EINVAL, refusal(unsound[i].line, unsound[i].instead)))
			ktest_log("%s", unsound[i].what);
}

/* What keydoc_parse() would refuse is not written. */
TEST(formatting_refuses_what_parsing_would)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc();
	char *text = NULL;
	size_t len = 4711;

	doc->keys[1].info.activation = 6;
	EXPECT_ERR(-EINVAL, keydoc_format(doc, &bed_root, &text, &len));
	doc->keys[1].info.activation = 4;
	doc->generation = 0;
	EXPECT_ERR(-EINVAL, keydoc_format(doc, &bed_root, &text, &len));
	doc->generation = 17;
	doc->time = -1;
	EXPECT_ERR(-EINVAL, keydoc_format(doc, &bed_root, &text, &len));
	doc->time = BED_TIME;
	snprintf(doc->members[0].name, sizeof(doc->members[0].name), "cp\nremoved " NODE3);
	EXPECT_ERR(-EINVAL, keydoc_format(doc, &bed_root, &text, &len));
	snprintf(doc->members[0].name, sizeof(doc->members[0].name), "cp");
	EXPECT_ERR(-EINVAL, keydoc_format(doc, &bed_other_root, &text, &len));
	EXPECT_NULL(text);
	EXPECT_EQ(4711U, len);
	EXPECT_OK(keydoc_format(doc, &bed_root, &text, &len));
	free(text);
}

TEST(versions)
{
	EXPECT_ERR(-EPROTONOSUPPORT, refusal(FORMAT, "kekd-keyset 4"));
	EXPECT_ERR(-EPROTONOSUPPORT, refusal(FORMAT, "kekd-keyset 10"));
	EXPECT_ERR(-EPROTONOSUPPORT, refusal(FORMAT, "kekd-keyset 4\nof another form"));
	EXPECT_ERR(-EINVAL, refusal(FORMAT, "kekd-keysets 1"));
}

/* A document has the lowest version that can say it: one without sealed keys is for every program. */
TEST(version_of_sealed_keys)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc(), *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	doc->keys[0].info.kind = KEY_KIND_SEALED;
	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &len));
	EXPECT_EQ(0, strncmp(text, "kekd-keyset 2\n", 14));
	ASSERT_OK(keydoc_parse(span_of(text, len), &bed_root, &back, other));
	EXPECT_EQ(KEY_KIND_SEALED, back->keys[0].info.kind);
	EXPECT_ERR(-EINVAL, refusal(FORMAT, "kekd-keyset 2"));
}

/* No byte of what is behind the MAC is looked at before it holds: no other result can come of it. */
TEST(any_flipped_bit_is_noticed)
{
	struct text_buf b = text_with(-1, NULL);
	struct span text = signed_as(&b, "kekd-keyset");

	for (size_t i = 0; i < 8 * text.len; i++) {
		uint8_t other[KEY_ROOT_ID];
		struct keydoc *doc = NULL;
		int r;

		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
		r = keydoc_parse(text, &bed_root, &doc, other);
		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
		ASSERT_NULL(doc);
		if (r != -EBADMSG && r != -ENODATA && r != -EKEYREJECTED)
			ASSERT_ERR(-EBADMSG, r);
		/* In the body there is one result only, but for the newline that the MAC's line follows. */
		if (i / 8 + 1 < text.len - 86)
			ASSERT_ERR(-EBADMSG, r);
	}
}

/* Nor in a text that means nothing at all. */
TEST(mac_comes_first)
{
	struct text_buf b = begin();
	struct keydoc *doc = NULL;
	uint8_t other[KEY_ROOT_ID];
	struct span text;

	text_append(&b, "kekd-keyset 4\nnonsense\n");
	text = signed_as(&b, "kekd-keyset");
	EXPECT_ERR(-EPROTONOSUPPORT, keydoc_parse(text, &bed_root, &doc, other));
	room[0] ^= 1;
	EXPECT_ERR(-EBADMSG, keydoc_parse(text, &bed_root, &doc, other));
	EXPECT_NULL(doc);
}

TEST(every_cut_is_an_error)
{
	struct text_buf b = text_with(-1, NULL);
	struct span text = signed_as(&b, "kekd-keyset");
	uint8_t other[KEY_ROOT_ID];
	struct keydoc *doc = NULL;

	for (size_t len = 0; len < text.len; len++)
		ASSERT_ERR(-ENODATA, keydoc_parse(span_of(text.data, len), &bed_root, &doc, other));
	for (size_t skip = 1; skip < text.len; skip++) {
		int r = keydoc_parse(span_skip(text, skip), &bed_root, &doc, other);

		ASSERT_TRUE(r == -EBADMSG || r == -ENODATA);
	}
	EXPECT_ERR(-ENODATA, keydoc_parse(SPAN_NULL, &bed_root, &doc, other));
	text_append(&b, "\n");
	EXPECT_ERR(-ENODATA, keydoc_parse(span_of(b.data, b.len), &bed_root, &doc, other));
	EXPECT_NULL(doc);
}

TEST(mac_of_another_root)
{
	uint8_t other[KEY_ROOT_ID] = { 0 };
	struct text_buf b = text_with(-1, NULL);
	struct keydoc_root liar = { bed_mac, "another root", bed_root_id, NULL };
	struct keydoc *doc = NULL;
	struct span text;

	ASSERT_OK(keydoc_sign(&b, "kekd-keyset", &bed_other_root));
	text = span_of(b.data, b.len);
	EXPECT_ERR(-EKEYREJECTED, keydoc_parse(text, &bed_root, &doc, other));
	EXPECT_MEMEQ(bed_other_id, sizeof(bed_other_id), other, sizeof(other));
	b = text_with(-1, NULL);
	ASSERT_OK(keydoc_sign(&b, "kekd-keyset", &liar));
	EXPECT_ERR(-EBADMSG, keydoc_parse(span_of(b.data, b.len), &bed_root, &doc, other));
	/* Under its own root: but it says that its keys are sealed under the first. */
	b = text_with(-1, NULL);
	ASSERT_OK(keydoc_sign(&b, "kekd-keyset", &bed_other_root));
	EXPECT_ERR(-EINVAL, keydoc_parse(span_of(b.data, b.len), &bed_other_root, &doc, other));
	EXPECT_NULL(doc);
}

static int mac_fails(const void *ctx, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	(void)ctx;
	(void)in;
	(void)ret;
	return -EKEYREVOKED;
}

/* A root that has just been locked away. */
TEST(mac_that_cannot_be_made)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = good_doc();
	struct keydoc_root sealed = { mac_fails, NULL, bed_root_id, NULL };
	uint8_t other[KEY_ROOT_ID];
	struct keydoc *back = NULL;
	struct text_buf b = text_with(-1, NULL);
	char *text = NULL;
	size_t len;

	EXPECT_ERR(-EKEYREVOKED, keydoc_format(doc, &sealed, &text, &len));
	EXPECT_ERR(-EKEYREVOKED, keydoc_parse(signed_as(&b, "kekd-keyset"), &sealed, &back, other));
	EXPECT_NULL(text);
	EXPECT_NULL(back);
}

/* Texts under one root are of different kinds, and neither passes for the other. */
TEST(document_is_no_acknowledgement)
{
	_cleanup_(keydoc_freep) struct keydoc *first = bed_begin();
	_cleanup_(keyack_freep) struct keyack *ack = NULL, *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	struct text_buf b = text_with(-1, NULL);
	struct keydoc *doc = NULL;
	size_t len;

	EXPECT_ERR(-EBADMSG, keydoc_parse(signed_as(&b, "kekd-ack"), &bed_root, &doc, other));
	b = text_with(-1, NULL);
	EXPECT_ERR(-EBADMSG, keyack_parse(signed_as(&b, "kekd-keyset"), &bed_root, &back, other));
	b = text_with(-1, NULL);
	EXPECT_ERR(-EINVAL, keyack_parse(signed_as(&b, "kekd-ack"), &bed_root, &back, other));

	ASSERT_OK(keyack_new(&ack));
	bed_answer(ack, first, 0, bed_node_id(0).id, bed_node_id(0).id, BED_TIME);
	ASSERT_OK(keyack_format(ack, &bed_root, &text, &len));
	EXPECT_ERR(-EBADMSG, keydoc_parse(span_of(text, len), &bed_root, &doc, other));
	b = begin();
	text_append(&b, "%.*s", (int)len - 86, text);
	EXPECT_ERR(-EINVAL, keydoc_parse(signed_as(&b, "kekd-keyset"), &bed_root, &doc, other));
	EXPECT_NULL(doc);
	EXPECT_NULL(back);
}

static void fill(struct keydoc *doc, size_t keys, size_t blob)
{
	for (size_t i = 0; i < keys; i++) {
		struct key_record *rec = bed_add(doc, 0, "n", KEY_DECRYPT_ONLY, 0);

		rec->info.id[0] = (uint8_t)i;
		rec->info.id[1] = (uint8_t)(i >> 8);
		memset(rec->blob, 'b', blob);
		rec->blob[blob] = '\0';
	}
}

static void expect_round_trip(struct keydoc *doc)
{
	_cleanup_(keydoc_freep) struct keydoc *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	if (EXPECT_OK(keydoc_format(doc, &bed_root, &text, &len)) &&
	    EXPECT_OK(keydoc_parse(span_of(text, len), &bed_root, &back, other)))
		EXPECT_EQ(KEYDOC_SAME, keydoc_compare(doc, back));
}

/* The text of @doc with @more before its line "forgotten", signed anew. */
static int refusal_with(struct keydoc *doc, const char *before, const char *more)
{
	_cleanup_free_ char *text = NULL;
	struct text_buf b = begin();
	const char *at;
	size_t len;

	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &len));
	at = strstr(text, before) + 1;
	text_append(&b, "%.*s%s%.*s", (int)(at - text), text, more, (int)(text + len - 86 - at),
		    at);
	return refusal_of(&b);
}

TEST(most_keys)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin();

	fill(doc, KEKD_KEYS_MAX, 1);
	expect_round_trip(doc);
	EXPECT_TRUE(keydoc_fits(doc));
	EXPECT_ERR(-EINVAL,
		   refusal_with(doc, "\nforgotten",
				"key " KEY1
				"\nname n\nlabel n\nkind encrypted\nalg aes-256\nstate staged\n"
				"activation 0\ncreated 2026-01-31T12:00:00Z\ncheck " HEX
				"\nblob b\n"));
}

TEST(most_nodes)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin();

	for (uint8_t i = 1; i < KEYDOC_MEMBERS_MAX; i++)
		bed_join(doc, i);
	for (size_t i = 0; i < KEYDOC_REMOVED_MAX; i++)
		doc->removed[doc->n_removed++].id[0] = (uint8_t)i;
	expect_round_trip(doc);
	EXPECT_ERR(-EINVAL, refusal_with(doc, "\nremoved", "member " KEY1 " member one\n"));
	EXPECT_ERR(-EINVAL, refusal_with(doc, "\nroot", "removed " KEY1 "\n"));
}

TEST(most_gone)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin();

	for (size_t i = 0; i < KEYDOC_GONE_MAX; i++) {
		doc->gone[i][0] = (uint8_t)i;
		doc->gone[i][1] = (uint8_t)(i >> 8);
	}
	doc->n_gone = KEYDOC_GONE_MAX;
	expect_round_trip(doc);
	EXPECT_ERR(-EINVAL, refusal_with(doc, "\nforgotten", "gone " KEY1 "\n"));
}

/* 512 KiB hold what there is, and the same with a second blob for each key if it is said to fit. */
TEST(largest_document)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin();
	size_t len = 0, fits = 0, blob = KEY_BLOB_MAX - 1;
	char *text = NULL;

	fill(doc, KEKD_KEYS_MAX, blob);
	EXPECT_FALSE(keydoc_fits(doc));
	EXPECT_ERR(-ENOBUFS, keydoc_format(doc, &bed_root, &text, &len));
	EXPECT_NULL(text);
	while (doc->n_keys > 0 && !keydoc_fits(doc))
		doc->n_keys--;
	fits = doc->n_keys;
	ASSERT_GT(fits, 100U);
	expect_round_trip(doc);
	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &len));
	free(text);
	/* A second MAC, a second root, and a blob that says the name of its root at length. */
	len += fits * (blob + strlen("reblob \n") + 1 + 2 * KEY_ROOT_ID) + 86 + strlen("root \n") +
	       2 * KEY_ROOT_ID;
	EXPECT_LT(len, (size_t)KEYDOC_TEXT_MAX);
	EXPECT_GT(len + 2 * (blob + 300), (size_t)KEYDOC_TEXT_MAX);
	/* It is still a document when it no longer fits twice. */
	doc->n_keys = fits + 1;
	EXPECT_FALSE(keydoc_fits(doc));
	expect_round_trip(doc);
}

TEST(too_large_to_be_one)
{
	struct keydoc *doc = NULL;
	uint8_t other[KEY_ROOT_ID];

	memset(room, '\n', sizeof(room));
	EXPECT_ERR(-ENODATA, keydoc_parse(span_of(room, sizeof(room)), &bed_root, &doc, other));
}

/* What `kekctl keyset apply` gets: a document, and what others say of it. */
TEST(acknowledgements_behind_a_document)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = bed_begin(), *back = NULL;
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	_cleanup_free_ char *text = NULL;
	static const uint8_t counts[] = { 0, 1, 3 };
	size_t doc_len;

	ASSERT_OK(keyack_new(&ack));
	ASSERT_OK(keydoc_format(doc, &bed_root, &text, &doc_len));
	for (size_t i = 0; i < 2 * ARRAY_SIZE(counts); i++) {
		uint8_t n = counts[i / 2], other[KEY_ROOT_ID];
		struct text_buf b = begin();
		struct span whole, cut = SPAN_NULL;

		/* Acknowledgements may also come alone. */
		if (i % 2 == 0)
			text_append(&b, "%s", text);
		for (uint8_t k = 0; k < n; k++) {
			_cleanup_free_ char *one = NULL;
			size_t len;

			bed_answer(ack, doc, k, bed_node_id(0).id, bed_node_id(0).id, BED_TIME);
			ASSERT_OK(keyack_format(ack, &bed_root, &one, &len));
			text_append(&b, "%s", one);
		}
		whole = span_of(b.data, b.len);
		EXPECT_EQ(i % 2 == 0 ? doc_len : 0U, keyack_head(whole).len);
		for (uint8_t k = n; k-- > 0;) {
			_cleanup_(keyack_freep) struct keyack *got = NULL;

			ASSERT_TRUE(keyack_cut(&whole, &cut));
			ASSERT_OK(keyack_parse(cut, &bed_root, &got, other));
			EXPECT_STREQ(bed_node(k).name, got->name);
		}
		EXPECT_FALSE(keyack_cut(&whole, &cut));
		EXPECT_EQ(i % 2 == 0 ? doc_len : 0U, whole.len);
		if (i % 2 != 0)
			continue;
		ASSERT_OK(keydoc_parse(whole, &bed_root, &back, other));
		keydoc_free(back);
		back = NULL;
	}
}

TEST_HARNESS_MAIN
