/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of an acknowledgement: as a document's, one spelling under a MAC.
 */
#include "daemon/keys/keyack.h"
#include "tests/unit/keydoc_bed.h"

#define HEX   "00112233445566778899aabbccddeeff"
#define NODE0 "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
#define NODE1 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define KEY1  "11111111111111111111111111111111"
#define KEY2  "22222222222222222222222222222222"

enum {
	FORMAT,
	CLUSTER,
	NODE,
	KEYSET,
	GENERATION,
	SESSION,
	NUMBER,
	HEARD,
	KEY,
	DAMAGED,
	WRITES,
	CONFIG,
	TIME,
	VERSION,
	FORMATS,
	LINES,
};

static const char *const good[LINES] = {
	[FORMAT] = "kekd-ack 1",
	[CLUSTER] = "cluster " HEX,
	[NODE] = "node " NODE0 " cp-0",
	[KEYSET] = "keyset " HEX HEX,
	[GENERATION] = "generation 17",
	[SESSION] = "session " HEX,
	[NUMBER] = "number " HEX,
	[HEARD] = "heard " NODE1 " " HEX,
	[KEY] = "key " KEY1 " opens busy 20000",
	[DAMAGED] = "key " KEY2 " damaged quiet 0",
	[WRITES] = "writes " KEY1 ".5",
	[CONFIG] = "config " HEX HEX,
	[TIME] = "time 2026-01-31T12:00:00Z",
	[VERSION] = "version 0.1.0",
	[FORMATS] = "formats 1",
};

static char room[2 * KEYACK_TEXT_MAX];

static struct text_buf text_with(int line, const char *instead)
{
	struct text_buf b = { .data = room, .size = sizeof(room) };

	for (int i = 0; i < LINES; i++) {
		if (i != line)
			text_append(&b, "%s\n", good[i]);
		else if (instead)
			text_append(&b, "%s\n", instead);
	}
	return b;
}

static int parse_with(int line, const char *instead, struct keyack **ret)
{
	struct text_buf b = text_with(line, instead);
	uint8_t other[KEY_ROOT_ID];

	ASSERT_OK(keydoc_sign(&b, "kekd-ack", &bed_root));
	return keyack_parse(span_of(b.data, b.len), &bed_root, ret, other);
}

static int refusal(int line, const char *instead)
{
	struct keyack *ack = NULL;
	int r = parse_with(line, instead, &ack);

	if (r < 0)
		EXPECT_NULL(ack);
	keyack_free(ack);
	return r;
}

TEST(every_field_is_read)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	const struct keyack_key *key;

	ASSERT_OK(parse_with(-1, NULL, &ack));
	EXPECT_EQ(0xff, ack->cluster[15]);
	EXPECT_EQ(0xa0, ack->node[0]);
	EXPECT_STREQ("cp-0", ack->name);
	EXPECT_EQ(0xff, ack->doc[31]);
	EXPECT_EQ(17U, ack->generation);
	EXPECT_EQ(0x11, ack->session[1]);
	EXPECT_EQ(0x22, ack->number[2]);
	EXPECT_TRUE(keyack_has_heard(ack, bed_node_id(1).id, ack->number));
	EXPECT_FALSE(keyack_has_heard(ack, bed_node_id(2).id, ack->number));
	EXPECT_FALSE(keyack_has_heard(ack, bed_node_id(1).id, ack->node));
	key = keyack_key(ack, bed_key_id(0x11).id);
	ASSERT_NOT_NULL(key);
	EXPECT_EQ(0, key->why);
	EXPECT_FALSE(key->quiet);
	EXPECT_EQ(20000U, key->uses);
	key = keyack_key(ack, bed_key_id(0x22).id);
	ASSERT_NOT_NULL(key);
	EXPECT_EQ(-EBADMSG, key->why);
	EXPECT_TRUE(key->quiet);
	EXPECT_NULL(keyack_key(ack, bed_key_id(0x33).id));
	EXPECT_TRUE(keyack_writes_with(ack, bed_key_id(0x11).id));
	EXPECT_FALSE(keyack_writes_with(ack, bed_key_id(0x22).id));
	EXPECT_EQ(5U, ack->writes[0].activation);
	EXPECT_TRUE(ack->has_config);
	EXPECT_EQ(0xff, ack->config[31]);
	EXPECT_EQ(BED_TIME, ack->time);
	EXPECT_STREQ("0.1.0", ack->version);
	EXPECT_EQ(1U, ack->formats);
}

TEST(formats_back_to_itself)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	_cleanup_free_ char *back = NULL;
	size_t len;

	ASSERT_OK(parse_with(-1, NULL, &ack));
	ASSERT_OK(keyack_format(ack, &bed_root, &back, &len));
	EXPECT_STREQ(room, back);
	EXPECT_EQ(strlen(back), len);
}

TEST(each_line_has_to_be_there)
{
	for (int i = 0; i < LINES; i++) {
		bool optional = i >= HEARD && i <= CONFIG;

		if (!EXPECT_ERR(optional ? 0 : -EINVAL, refusal(i, NULL)))
			ktest_log("without: %s", good[i]);
	}
}

static const struct {
	int line;
	const char *instead;
} bad[] = {
	{ FORMAT, "kekd-keyset 1" },
	{ CLUSTER, "cluster 0" },
	{ NODE, "node " NODE0 },
	{ NODE, "node cp-0 " NODE0 },
	{ NODE, "node " NODE0 " cp\t0" },
	{ KEYSET, "keyset " HEX },
	{ GENERATION, "generation 017" },
	{ SESSION, "session " HEX " " },
	{ NUMBER, "number " KEY1 "0" },
	{ HEARD, "heard " NODE1 },
	{ HEARD, "heard " NODE1 "  " HEX },
	{ KEY, "key " KEY1 " opens busy" },
	{ KEY, "key " KEY1 " opens busy 020" },
	{ KEY, "key " KEY1 " opens noisy 0" },
	{ KEY, "key " KEY1 " Opens busy 0" },
	{ KEY, "key " KEY1 " because busy 0" },
	{ KEY, "key " KEY1 " opens busy 18446744073709551616" },
	{ WRITES, "writes " KEY1 },
	{ WRITES, "writes " KEY1 ".05" },
	{ WRITES, "writes " KEY1 ".5\nkey " KEY2 " opens busy 0" },
	{ CONFIG, "config " HEX },
	{ TIME, "time now" },
	{ VERSION, "version " },
	{ VERSION, "version 0.1.0 of a name that is much too long for it" },
	{ FORMATS, "formats 4294967296" },
	{ FORMATS, "formats 1\nmore 1" },
};

TEST(malformed_lines)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!EXPECT_ERR(-EINVAL, refusal(bad[i].line, bad[i].instead)))
			ktest_log("case %zu: %s", i, bad[i].instead);
	EXPECT_ERR(-EPROTONOSUPPORT, refusal(FORMAT, "kekd-ack 2"));
}

/* Each reason has a word of its own; another errno is read as "fails". */
TEST(reasons)
{
	static const int reasons[] = { 0,           -EKEYREJECTED, -EBADMSG,     -EINVAL,
				       -EOPNOTSUPP, -EEXIST,       -EKEYREVOKED, -EKEYEXPIRED,
				       -ENOKEY,     -ENOBUFS,      -EIO,         -EPIPE };

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		_cleanup_(keyack_freep) struct keyack *ack = NULL, *back = NULL;
		_cleanup_free_ char *text = NULL;
		uint8_t other[KEY_ROOT_ID];
		size_t len;

		ASSERT_OK(parse_with(-1, NULL, &ack));
		ack->keys[0].why = reasons[i];
		ASSERT_OK(keyack_format(ack, &bed_root, &text, &len));
		ASSERT_OK(keyack_parse(span_of(text, len), &bed_root, &back, other));
		EXPECT_EQ(reasons[i] == -EPIPE ? -EIO : reasons[i], back->keys[0].why);
	}
}

/* What could not be read back is not written, nor are lines that a name brings with it. */
TEST(formatting_refuses_what_parsing_would)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	char *text = NULL;
	size_t len = 4711;

	ASSERT_OK(parse_with(-1, NULL, &ack));
	snprintf(ack->name, sizeof(ack->name), "cp-0\nkeyset x");
	EXPECT_ERR(-EINVAL, keyack_format(ack, &bed_root, &text, &len));
	ack->name[0] = '\0';
	EXPECT_ERR(-EINVAL, keyack_format(ack, &bed_root, &text, &len));
	snprintf(ack->name, sizeof(ack->name), "cp-0");
	ack->version[0] = '\0';
	EXPECT_ERR(-EINVAL, keyack_format(ack, &bed_root, &text, &len));
	ack->version[0] = '1';
	ack->time = -1;
	EXPECT_ERR(-EINVAL, keyack_format(ack, &bed_root, &text, &len));
	EXPECT_NULL(text);
	EXPECT_EQ(4711U, len);
}

TEST(any_flipped_bit_is_noticed)
{
	struct text_buf b = text_with(-1, NULL);
	struct span text;

	ASSERT_OK(keydoc_sign(&b, "kekd-ack", &bed_root));
	text = span_of(b.data, b.len);
	for (size_t i = 0; i < 8 * text.len; i++) {
		uint8_t other[KEY_ROOT_ID];
		struct keyack *ack = NULL;
		int r;

		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
		r = keyack_parse(text, &bed_root, &ack, other);
		room[i / 8] = (char)(room[i / 8] ^ 1 << i % 8);
		ASSERT_NULL(ack);
		ASSERT_TRUE(r == -EBADMSG || r == -ENODATA || r == -EKEYREJECTED);
	}
}

TEST(most_of_everything)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL, *back = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	ASSERT_OK(parse_with(-1, NULL, &ack));
	ack->n_heard = KEYDOC_MEMBERS_MAX;
	ack->n_keys = KEKD_KEYS_MAX;
	ack->n_writes = KEKD_KEYS_MAX;
	for (size_t i = 0; i < KEKD_KEYS_MAX; i++)
		ack->keys[i].uses = UINT64_MAX;
	ASSERT_OK(keyack_format(ack, &bed_root, &text, &len));
	ASSERT_OK(keyack_parse(span_of(text, len), &bed_root, &back, other));
	EXPECT_EQ((size_t)KEKD_KEYS_MAX, back->n_keys);

	for (int i = 0; i < 3; i++) {
		static const int lines[] = { HEARD, KEY, WRITES };
		static const size_t most[] = { KEYDOC_MEMBERS_MAX, KEKD_KEYS_MAX, KEKD_KEYS_MAX };
		_cleanup_free_ char *many = calloc(KEKD_KEYS_MAX + 1, 80);
		struct text_buf b = { .data = many, .size = (KEKD_KEYS_MAX + 1) * 80 };

		ASSERT_NOT_NULL(many);
		for (size_t k = 0; k < most[i]; k++)
			text_append(&b, "%s\n", good[lines[i]]);
		text_append(&b, "%s", good[lines[i]]);
		EXPECT_ERR(-EINVAL, refusal(lines[i], many));
	}
	EXPECT_ERR(-ENODATA, keyack_parse(span_of(room, sizeof(room)), &bed_root, &back, other));
}

TEST_HARNESS_MAIN
