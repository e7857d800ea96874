/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text form of a key record: one spelling, anything else is an error with its line.
 */
#include "daemon/keys/check.h"
#include "daemon/keys/record.h"
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdio.h>

#define ID  "4f0c000102030405060708090a0b0c0d"
#define HEX "00112233445566778899aabbccddeeff"

/* The lines of a good file, by number. */
static const char *const good[] = {
	NULL,
	"kekd-key 1",
	"id " ID,
	"name primary",
	"label primary." ID,
	"kind encrypted",
	"alg aes-256",
	"state active",
	"activation 7",
	"created 2026-01-31T12:00:00Z",
	"root 0123456789abcdef",
	"blob default user:kekd-root 32 00ff",
	"check " HEX,
};
#define LINES (sizeof(good) / sizeof(good[0]) - 1)

static size_t text_with(char *buf, size_t size, unsigned int line, const char *instead)
{
	size_t len = 0;

	for (unsigned int i = 1; i <= LINES; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s\n",
					i == line ? instead : good[i]);
	return len;
}

static int parse_with(unsigned int line, const char *instead, struct key_record *ret,
		      unsigned int *ret_line)
{
	char buf[4096];
	size_t len = text_with(buf, sizeof(buf), line, instead);

	return key_record_parse(buf, len, ret, ret_line);
}

TEST(every_field_is_read)
{
	struct key_record rec;
	unsigned int line = 0;

	ASSERT_OK(parse_with(0, "", &rec, &line));
	EXPECT_EQ(0U, line);
	EXPECT_EQ(0x4f, rec.id[0]);
	EXPECT_EQ(0x0d, rec.id[15]);
	EXPECT_STREQ("primary", rec.name);
	EXPECT_STREQ("primary." ID, rec.label);
	EXPECT_EQ(KEY_KIND_ENCRYPTED, rec.kind);
	EXPECT_EQ(32U, rec.key_bytes);
	EXPECT_EQ(KEY_ACTIVE, rec.state);
	EXPECT_EQ(7U, rec.activation);
	EXPECT_EQ(1769860800, rec.created);
	EXPECT_EQ(0xef, rec.root[7]);
	EXPECT_STREQ("default user:kekd-root 32 00ff", rec.blob);
	EXPECT_EQ(0xff, rec.check[15]);
}

TEST(formats_back_to_itself)
{
	char text[4096], back[KEY_RECORD_TEXT_MAX];
	struct key_record rec;
	unsigned int line;
	size_t len, back_len;

	len = text_with(text, sizeof(text), 0, "");
	ASSERT_OK(key_record_parse(text, len, &rec, &line));
	ASSERT_OK(key_record_format(&rec, back, sizeof(back), &back_len));
	EXPECT_EQ(len, back_len);
	EXPECT_STREQ(text, back);
}

static const struct {
	unsigned int line;
	const char *instead;
} bad[] = {
	{ 1, "kekd-key 2" },
	{ 1, "kekd-key 1 " },
	{ 1, "kekd-key" },
	{ 1, "" },
	{ 1, "#kekd-key 1" },
	{ 2, "id 4F0c000102030405060708090a0b0c0d" },
	{ 2, "id 4f0c000102030405060708090a0b0c" },
	{ 2, "id 4f0c000102030405060708090a0b0c0d0e" },
	{ 2, "id 4g0c000102030405060708090a0b0c0d" },
	{ 3, "name " },
	{ 3, "name  primary" },
	{ 3, "name primary " },
	{ 3, "name pri\tmary" },
	{ 3, "name pri\033mary" },
	{ 3, "name pri\177mary" },
	{ 3, "label primary" },
	{ 4, "label" },
	{ 4, "labels x" },
	{ 5, "kind Encrypted" },
	{ 5, "kind trusted" },
	{ 6, "alg aes-257" },
	{ 6, "alg aes-25" },
	{ 7, "state sleeping" },
	{ 8, "activation" },
	{ 8, "activation 07" },
	{ 8, "activation -1" },
	{ 8, "activation +1" },
	{ 8, "activation 4294967296" },
	{ 8, "activation 99999999999999999999999" },
	{ 8, "activation 0" }, /* of an active key */
	{ 9, "created 2026-02-30T12:00:00Z" },
	{ 9, "created 2026-13-01T12:00:00Z" },
	{ 9, "created 2026-01-31T24:00:00Z" },
	{ 9, "created 2026-01-31 12:00:00Z" },
	{ 9, "created 2026-01-31T12:00:00" },
	{ 9, "created 2026-01-31T12:00:00+" },
	{ 9, "created 2026- 1-31T12:00:00Z" },
	{ 9, "created 1969-12-31T23:59:59Z" },
	{ 10, "root 0123456789abcde" },
	{ 11, "blob -" }, /* of a key that is not destroyed */
	{ 11, "blob \303\244" },
	{ 12, "check 00112233445566778899aabbccddeef" },
	{ 12, "check " HEX "\nmore" },
};

TEST(bad_lines_are_named)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct key_record rec = { .activation = 99 };
		unsigned int line = 0, expected = bad[i].line;

		if (strchr(bad[i].instead, '\n'))
			expected++;
		if (!EXPECT_ERR(-EINVAL, parse_with(bad[i].line, bad[i].instead, &rec, &line)) ||
		    !EXPECT_EQ(expected, line) || !EXPECT_EQ(99U, rec.activation))
			ktest_log("in case %zu", i);
	}
}

TEST(states_and_what_they_demand)
{
	static const struct {
		const char *state, *activation, *blob;
		int r;
	} cases[] = {
		{ "staged", "0", "x", 0 },           { "staged", "1", "x", -EINVAL },
		{ "active", "1", "x", 0 },           { "active", "0", "x", -EINVAL },
		{ "decrypt-only", "0", "x", 0 },     { "decrypt-only", "3", "x", 0 },
		{ "retired", "1", "x", 0 },          { "retired", "1", "-", -EINVAL },
		{ "destroyed", "1", "-", 0 },        { "destroyed", "1", "x", -EINVAL },
		{ "destroyed", "1", "-x", -EINVAL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[4096], back[KEY_RECORD_TEXT_MAX];
		struct key_record rec;
		unsigned int line;
		size_t len;
		int n;

		n = snprintf(
			text, sizeof(text),
			"%s\n%s\n%s\n%s\n%s\n%s\nstate %s\nactivation %s\n%s\n%s\nblob %s\n%s\n",
			good[1], good[2], good[3], good[4], good[5], good[6], cases[i].state,
			cases[i].activation, good[9], good[10], cases[i].blob, good[12]);
		if (!EXPECT_ERR(cases[i].r, key_record_parse(text, (size_t)n, &rec, &line)) ||
		    cases[i].r < 0)
			continue;
		EXPECT_STREQ(cases[i].state, key_state_name(rec.state));
		EXPECT_OK(key_record_format(&rec, back, sizeof(back), &len));
		EXPECT_STREQ(text, back);
	}
}

TEST(every_cut_is_an_error)
{
	struct key_record rec;
	unsigned int line;
	char text[4096];
	size_t len = text_with(text, sizeof(text), 0, "");

	for (size_t cut = 0; cut < len; cut++)
		ASSERT_ERR(-EINVAL, key_record_parse(text, cut, &rec, &line));
	EXPECT_OK(key_record_parse(text, len, &rec, &line));
	text[len] = '\n';
	EXPECT_ERR(-EINVAL, key_record_parse(text, len + 1, &rec, &line));
	EXPECT_EQ(LINES + 1, line);
}

TEST(longest_texts)
{
	char name[KEKD_LABEL_MAX + 16] = "name ", blob[KEY_BLOB_MAX + 16] = "blob ";
	struct key_record rec;
	unsigned int line;

	memset(name + 5, 'n', KEKD_LABEL_MAX - 1);
	memset(blob + 5, 'b', KEY_BLOB_MAX - 1);
	EXPECT_OK(parse_with(3, name, &rec, &line));
	EXPECT_OK(parse_with(11, blob, &rec, &line));
	name[5 + KEKD_LABEL_MAX - 1] = 'n';
	blob[5 + KEY_BLOB_MAX - 1] = 'b';
	EXPECT_ERR(-EINVAL, parse_with(3, name, &rec, &line));
	EXPECT_ERR(-EINVAL, parse_with(11, blob, &rec, &line));
}

/* What could not be read back is not written. */
TEST(formatting_refuses_what_parsing_would)
{
	char text[KEY_RECORD_TEXT_MAX];
	struct key_record rec;
	unsigned int line;
	size_t len = 4711;

	ASSERT_OK(parse_with(0, "", &rec, &line));
	snprintf(rec.name, sizeof(rec.name), "two\nlines");
	EXPECT_ERR(-EINVAL, key_record_format(&rec, text, sizeof(text), &len));
	ASSERT_OK(parse_with(0, "", &rec, &line));
	rec.activation = 0;
	EXPECT_ERR(-EINVAL, key_record_format(&rec, text, sizeof(text), &len));
	ASSERT_OK(parse_with(0, "", &rec, &line));
	rec.key_bytes = 33;
	EXPECT_ERR(-EINVAL, key_record_format(&rec, text, sizeof(text), &len));
	ASSERT_OK(parse_with(0, "", &rec, &line));
	EXPECT_ERR(-ENOBUFS, key_record_format(&rec, text, 64, &len));
	EXPECT_EQ(4711U, len);
}

TEST(key_id_both_ways)
{
	char id[KEKD_KEY_ID_HEX + 12], longest[] = ID ".4294967295";
	uint8_t bytes[KEKD_KEY_ID];
	struct key_record rec;
	unsigned int line;
	uint32_t n;

	ASSERT_OK(parse_with(0, "", &rec, &line));
	key_id_format(&rec, id);
	EXPECT_STREQ(ID ".7", id);
	ASSERT_OK(key_id_parse(id, strlen(id), bytes, &n));
	EXPECT_MEMEQ(rec.id, sizeof(rec.id), bytes, sizeof(bytes));
	EXPECT_EQ(7U, n);
	rec.activation = UINT32_MAX;
	key_id_format(&rec, id);
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

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		EXPECT_ERR(-EINVAL, key_id_parse(wrong[i], strlen(wrong[i]), bytes, &n));
	EXPECT_EQ(9, bytes[0]);
	EXPECT_EQ(9U, n);
}

/* Each part of the binding counts, and no two records share one by moving a border. */
TEST(binding_tells_records_apart)
{
	struct key_record a = { .key_bytes = 32, .name = "ab", .label = "c" }, b = a;
	uint8_t of_a[SHA256_LEN], of_b[SHA256_LEN], block[KEKD_AES_BLOCK];
	static const uint8_t zero[4];

	ASSERT_OK(key_binding(&a, of_a));
	ASSERT_OK(key_check_block(&a, block));
	EXPECT_MEMEQ(of_a, 12, block, 12);
	EXPECT_MEMEQ(zero, 4, block + 12, 4);

	snprintf(b.name, sizeof(b.name), "a");
	snprintf(b.label, sizeof(b.label), "bc");
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.name[0] = 'x';
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.key_bytes = 24;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	b = a;
	b.id[0] = 1;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_NE(0, memcmp(of_a, of_b, sizeof(of_a)));
	/* State and activation change in the life of a key; its binding does not. */
	b = a;
	b.state = KEY_RETIRED;
	b.activation = 5;
	ASSERT_OK(key_binding(&b, of_b));
	EXPECT_MEMEQ(of_a, sizeof(of_a), of_b, sizeof(of_b));
}

TEST_HARNESS_MAIN
