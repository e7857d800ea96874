/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block of lines that a key is in a keyset document: one spelling, anything else is an error.
 */
#include "daemon/keys/check.h"
#include "daemon/keys/record.h"
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdio.h>

#define ID  "4f0c000102030405060708090a0b0c0d"
#define HEX "00112233445566778899aabbccddeeff"

enum {
	KEY,
	NAME,
	LABEL,
	KIND,
	ALG,
	STATE,
	ACTIVATION,
	CREATED,
	RETIRED,
	MARKED,
	USES,
	CHECK,
	BLOB,
	LINES,
};

/* All that can stand in a block. */
static const char *const good[LINES] = {
	[KEY] = "key " ID,
	[NAME] = "name primary",
	[LABEL] = "label primary." ID,
	[KIND] = "kind encrypted",
	[ALG] = "alg aes-256",
	[STATE] = "state retired",
	[ACTIVATION] = "activation 7",
	[CREATED] = "created 2026-01-31T12:00:00Z",
	[RETIRED] = "retired 2026-05-01T12:00:00Z",
	[MARKED] = "marked 17",
	[USES] = "uses 20000",
	[CHECK] = "check " HEX,
	[BLOB] = "blob default user:kekd-root 32 00ff",
};

static char room[4096];

/* The good lines, but for one; NULL: without it. */
static struct span text_with(int line, const char *instead)
{
	struct text_buf b = { .data = room, .size = sizeof(room) };

	for (int i = 0; i < LINES; i++) {
		if (i != line)
			text_append(&b, "%s\n", good[i]);
		else if (instead)
			text_append(&b, "%s\n", instead);
	}
	EXPECT_EQ(0, b.r);
	return span_of(b.data, b.len);
}

/* -EINVAL also if something is left behind the block. */
static int take_with(int line, const char *instead, struct key_record *ret)
{
	struct span text = text_with(line, instead);
	int r = key_record_take(&text, ret);

	return r == 0 && text.len > 0 ? -EINVAL : r;
}

TEST(every_field_is_read)
{
	struct key_record rec;

	ASSERT_OK(take_with(-1, NULL, &rec));
	EXPECT_EQ(0x4f, rec.info.id[0]);
	EXPECT_EQ(0x0d, rec.info.id[15]);
	EXPECT_STREQ("primary", rec.info.name);
	EXPECT_STREQ("primary." ID, rec.info.label);
	EXPECT_EQ(KEY_KIND_ENCRYPTED, rec.info.kind);
	EXPECT_EQ(32U, rec.info.key_bytes);
	EXPECT_FALSE(rec.info.secretbox);
	EXPECT_EQ(KEY_RETIRED, rec.info.state);
	EXPECT_EQ(7U, rec.info.activation);
	EXPECT_EQ(1769860800, rec.info.created);
	EXPECT_EQ(1777636800, rec.retired);
	EXPECT_EQ(17U, rec.info.marked);
	EXPECT_EQ(20000U, rec.uses);
	EXPECT_STREQ("default user:kekd-root 32 00ff", rec.blob);
	EXPECT_EQ(0xff, rec.check[15]);
}

static void expect_back(const struct key_record *rec, struct span text)
{
	char back[sizeof(room)];
	struct text_buf b = { .data = back, .size = sizeof(back) };

	key_record_append(&b, rec);
	EXPECT_OK(b.r);
	EXPECT_EQ(text.len, b.len);
	EXPECT_STREQ(room, back);
}

TEST(formats_back_to_itself)
{
	static const int optional[] = { -1, MARKED, USES };

	for (size_t i = 0; i < ARRAY_SIZE(optional); i++) {
		struct key_record rec;

		ASSERT_OK(take_with(optional[i], NULL, &rec));
		expect_back(&rec, text_with(optional[i], NULL));
	}
}

/* A block ends with its last line: what follows is the next one's. */
TEST(blocks_follow_each_other)
{
	char two[2 * sizeof(room)];
	struct span text = text_with(-1, NULL), rest;
	struct text_buf b = { .data = two, .size = sizeof(two) };
	struct key_record rec;

	text_append(&b, "%s%sgone " ID "\n", room, room);
	rest = span_of(two, b.len);
	ASSERT_OK(key_record_take(&rest, &rec));
	EXPECT_EQ(b.len - text.len, rest.len);
	ASSERT_OK(key_record_take(&rest, &rec));
	EXPECT_TRUE(span_equal(rest, span_str("gone " ID "\n")));
	EXPECT_ERR(-EINVAL, key_record_take(&rest, &rec));
}

static const struct {
	int line;
	const char *instead;
} bad[] = {
	{ KEY, "id " ID },
	{ KEY, "key 4F0c000102030405060708090a0b0c0d" },
	{ KEY, "key 4f0c000102030405060708090a0b0c" },
	{ KEY, "key 4f0c000102030405060708090a0b0c0d0e" },
	{ KEY, "key 4g0c000102030405060708090a0b0c0d" },
	{ KEY, "" },
	{ NAME, "name " },
	{ NAME, "name  primary" },
	{ NAME, "name primary " },
	{ NAME, "name pri\tmary" },
	{ NAME, "name pri\033mary" },
	{ NAME, "name pri\177mary" },
	{ NAME, "label primary" },
	{ LABEL, "label" },
	{ LABEL, "labels x" },
	{ KIND, "kind Encrypted" },
	{ KIND, "kind trusted" },
	{ ALG, "alg aes-257" },
	{ ALG, "alg aes-25" },
	{ ALG, "alg secretbox" }, /* only what was imported */
	{ STATE, "state sleeping" },
	{ STATE, "state destroyed" },
	{ STATE, "state decrypt-only" }, /* with the time when it was retired */
	{ ACTIVATION, "activation" },
	{ ACTIVATION, "activation 07" },
	{ ACTIVATION, "activation -1" },
	{ ACTIVATION, "activation +1" },
	{ ACTIVATION, "activation 4294967296" },
	{ ACTIVATION, "activation 99999999999999999999999" },
	{ CREATED, "created 2026-02-30T12:00:00Z" },
	{ CREATED, "created 2026-13-01T12:00:00Z" },
	{ CREATED, "created 2026-01-31T24:00:00Z" },
	{ CREATED, "created 2026-01-31 12:00:00Z" },
	{ CREATED, "created 2026-01-31T12:00:00" },
	{ CREATED, "created 2026-01-31T12:00:00+" },
	{ CREATED, "created 2026- 1-31T12:00:00Z" },
	{ CREATED, "created 1969-12-31T23:59:59Z" },
	{ CREATED, "created 10000-1-31T12:00:00Z" },
	{ RETIRED, "retired never" },
	{ MARKED, "marked 0" },
	{ MARKED, "marked 017" },
	{ MARKED, "marked 18446744073709551616" },
	{ USES, "uses 0" },
	{ USES, "uses -1" },
	{ CHECK, "check 00112233445566778899aabbccddeef" },
	{ CHECK, "check " HEX "\nmore" },
	{ BLOB, "blob " },
	{ BLOB, "blob \303\244" },
	{ BLOB, "blob x\nblob y" },
};

TEST(bad_lines)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct key_record rec;

		if (!EXPECT_ERR(-EINVAL, take_with(bad[i].line, bad[i].instead, &rec)))
			ktest_log("in case %zu: %s", i, bad[i].instead);
	}
}

TEST(lines_that_may_be_missing)
{
	for (int i = 0; i < LINES; i++) {
		struct key_record rec;
		int r = i == MARKED || i == USES ? 0 : -EINVAL;

		if (!EXPECT_ERR(r, take_with(i, NULL, &rec)))
			ktest_log("without: %s", good[i]);
	}
}

TEST(states_and_what_they_demand)
{
	static const struct {
		const char *state, *activation, *more;
		int r;
	} cases[] = {
		{ "staged", "0", "", 0 },
		{ "staged", "1", "", -EINVAL },
		{ "staged", "0", "marked 3\n", -EINVAL },
		{ "active", "1", "", 0 },
		{ "active", "0", "", -EINVAL },
		{ "active", "1", "marked 3\n", -EINVAL },
		{ "active", "1", "uses 3\n", 0 },
		{ "decrypt-only", "0", "", 0 },
		{ "decrypt-only", "3", "marked 3\n", 0 },
		{ "decrypt-only", "3", "retired 2026-05-01T12:00:00Z\n", -EINVAL },
		{ "retired", "1", "", -EINVAL },
		{ "retired", "1", "retired 2026-05-01T12:00:00Z\n", 0 },
		{ "retired", "0", "retired 2026-05-01T12:00:00Z\nmarked 3\nuses 1\n", 0 },
		{ "retired", "0", "retired 2026-05-01T12:00:00Z\nuses 1\nmarked 3\n", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct text_buf b = { .data = room, .size = sizeof(room) };
		struct key_record rec;
		struct span text;

		text_append(&b, "%s\n%s\n%s\n%s\n%s\nstate %s\nactivation %s\n%s\n%s%s\n%s\n",
			    good[KEY], good[NAME], good[LABEL], good[KIND], good[ALG],
			    cases[i].state, cases[i].activation, good[CREATED], cases[i].more,
			    good[CHECK], good[BLOB]);
		text = span_of(room, b.len);
		if (!EXPECT_ERR(cases[i].r, key_record_take(&text, &rec)))
			ktest_log("in case %zu", i);
		if (cases[i].r < 0)
			continue;
		EXPECT_STREQ(cases[i].state, key_state_name(rec.info.state));
		EXPECT_EQ(rec.info.state != KEY_RETIRED, key_state_opens(rec.info.state));
		expect_back(&rec, span_of(room, b.len));
	}
}

TEST(algorithms)
{
	static const struct {
		const char *alg;
		unsigned int bytes;
		bool secretbox;
	} cases[] = {
		{ "aes-128", 16, false },
		{ "aes-192", 24, false },
		{ "aes-256", 32, false },
		{ "secretbox", 32, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct key_record rec;
		char lines[64];

		snprintf(lines, sizeof(lines), "kind imported\nalg %s", cases[i].alg);
		EXPECT_ERR(-EINVAL, take_with(KIND, lines, &rec)); /* alg stands twice */
		ASSERT_OK(take_with(KIND, "kind imported", &rec));
		rec.info.key_bytes = cases[i].bytes;
		rec.info.secretbox = cases[i].secretbox;
		EXPECT_STREQ(cases[i].alg, key_alg_name(&rec.info));
	}
}

TEST(every_cut_is_an_error)
{
	struct span whole = text_with(-1, NULL);
	struct key_record rec;

	for (size_t cut = 0; cut < whole.len; cut++) {
		struct span text = span_of(room, cut);

		ASSERT_ERR(-EINVAL, key_record_take(&text, &rec));
	}
	EXPECT_OK(key_record_take(&whole, &rec));
	EXPECT_EQ(0U, whole.len);
}

TEST(longest_texts)
{
	char name[KEKD_LABEL_MAX + 16] = "name ", blob[KEY_BLOB_MAX + 16] = "blob ";
	struct key_record rec;

	memset(name + 5, 'n', KEKD_LABEL_MAX - 1);
	memset(blob + 5, 'b', KEY_BLOB_MAX - 1);
	EXPECT_OK(take_with(NAME, name, &rec));
	EXPECT_OK(take_with(BLOB, blob, &rec));
	name[5 + KEKD_LABEL_MAX - 1] = 'n';
	blob[5 + KEY_BLOB_MAX - 1] = 'b';
	EXPECT_ERR(-EINVAL, take_with(NAME, name, &rec));
	EXPECT_ERR(-EINVAL, take_with(BLOB, blob, &rec));
}

static int append(const struct key_record *rec, size_t size)
{
	char text[sizeof(room)];
	struct text_buf b = { .data = text, .size = size };

	key_record_append(&b, rec);
	return b.r;
}

/* What could not be read back is not written. */
TEST(formatting_refuses_what_parsing_would)
{
	struct key_record good_one, rec;

	ASSERT_OK(take_with(-1, NULL, &good_one));
	EXPECT_OK(append(&good_one, sizeof(room)));
	rec = good_one;
	snprintf(rec.info.name, sizeof(rec.info.name), "two\nlines");
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec = good_one;
	rec.info.state = KEY_DESTROYED;
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec = good_one;
	rec.info.state = KEY_ACTIVE; /* and marked */
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec.info.marked = 0;
	EXPECT_OK(append(&rec, sizeof(room)));
	rec.info.activation = 0;
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec = good_one;
	rec.info.key_bytes = 33;
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec = good_one;
	rec.info.created = -1;
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	rec = good_one;
	rec.blob[0] = '\0';
	EXPECT_ERR(-EINVAL, append(&rec, sizeof(room)));
	EXPECT_ERR(-ENOBUFS, append(&good_one, 64));
}

TEST(key_id_both_ways)
{
	char id[KEKD_KEY_ID_HEX + 12], longest[] = ID ".4294967295";
	uint8_t bytes[KEKD_KEY_ID];
	struct key_record rec;
	uint32_t n;

	ASSERT_OK(take_with(-1, NULL, &rec));
	key_id_format(&rec.info, id);
	EXPECT_STREQ(ID ".7", id);
	ASSERT_OK(key_id_parse(id, strlen(id), bytes, &n));
	EXPECT_MEMEQ(rec.info.id, sizeof(rec.info.id), bytes, sizeof(bytes));
	EXPECT_EQ(7U, n);
	rec.info.activation = UINT32_MAX;
	key_id_format(&rec.info, id);
	EXPECT_STREQ(longest, id);
	EXPECT_OK(key_id_parse(id, strlen(id), bytes, &n));
	EXPECT_EQ(UINT32_MAX, n);
}

TEST(key_id_has_one_form)
{
	static const char *const wrong[] = {
		"",
		ID,
		ID ".",
		ID ".01",
		ID ".x",
		ID ".1x",
		ID ".-1",
		ID " 1",
		ID "0.1",
		ID ".4294967296",
		"4F0c000102030405060708090a0b0c0d.1",
	};
	uint8_t bytes[KEKD_KEY_ID] = { 9 };
	uint32_t n = 9;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		EXPECT_ERR(-EINVAL, key_id_parse(wrong[i], strlen(wrong[i]), bytes, &n));
		EXPECT_ERR(-EINVAL, key_id_of(ID ".7", span_str(wrong[i]), &n));
	}
	EXPECT_EQ(9, bytes[0]);
	EXPECT_EQ(9U, n);
}

TEST(key_id_of_the_same_key)
{
	static const char other[] = "ff0c000102030405060708090a0b0c0d.7";
	uint32_t n = 9;

	ASSERT_EQ(strlen(ID), strlen(other) - 2);
	EXPECT_ERR(-EINVAL, key_id_of(ID ".7", span_str(other), &n));
	EXPECT_EQ(9U, n);
	EXPECT_OK(key_id_of(ID ".7", span_str(ID ".4294967295"), &n));
	EXPECT_EQ(UINT32_MAX, n);
	EXPECT_OK(key_id_of(ID ".7", span_str(ID ".0"), &n));
	EXPECT_EQ(0U, n);
}

/* Each part of the binding counts, and no two records share one by moving a border. */
TEST(binding_tells_records_apart)
{
	struct key_record a = { .info.key_bytes = 32, .info.name = "ab", .info.label = "c" }, b = a;
	uint8_t of_a[SHA256_LEN], of_b[SHA256_LEN], block[KEKD_AES_BLOCK];
	static const uint8_t zero[4];

	ASSERT_OK(key_binding(&a, of_a));
	ASSERT_OK(key_check_block(&a, block));
	EXPECT_MEMEQ(of_a, 12, block, 12);
	EXPECT_MEMEQ(zero, 4, block + 12, 4);

	snprintf(b.info.name, sizeof(b.info.name), "a");
	snprintf(b.info.label, sizeof(b.info.label), "bc");
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.info.name[0] = 'x';
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.info.key_bytes = 24;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.info.id[0] = 1;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	/* State and activation change in the life of a key; its binding does not. */
	b = a;
	b.info.state = KEY_RETIRED;
	b.info.activation = 5;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_MEMEQ(of_a, sizeof(of_a), of_b, sizeof(of_b));
}

TEST_HARNESS_MAIN
