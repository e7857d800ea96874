/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares in words. Those below were made by Debian 13's shamir_mnemonic 0.3.0 of the bytes 0 to 31; that it opens ours, and
 * ours its own of any kind, is tests/e2e/ceremony.
 */
#include "daemon/keys/slip39.h"
#include "tests/harness/ktest.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"

static const char *const two_of_three[] = {
	"fraction busy academic acid again welcome judicial intimate timely "
	"blind platform fragment downtown seafood building thank acid employer "
	"literary party review orbit body prevent tendency short leaves "
	"champion olympic express mixed scramble aide",
	"fraction busy academic agency adult anatomy wealthy genuine video "
	"reject lilac darkness pink gasoline object prisoner pancake costume "
	"hazard shrimp round index mixture fused document shadow mixture "
	"preach adapt unknown debris military join",
	"fraction busy academic always ancient forward glance debut index "
	"amount verdict solution presence skin activity blessing either stick "
	"elegant include firm script aircraft ceramic volume august pencil "
	"decent album lunch daisy faint disease",
};
static const char *const old_three_of_five[] = {
	"intend smug academic acne ambition canyon echo velvet helpful "
	"alcohol ticket behavior petition impulse diploma paper budget screw "
	"downtown devote practice squeeze tackle theory video sidewalk jacket "
	"together flea wealthy snapshot screw organize",
	"intend smug academic agree acne medical again rainbow counter "
	"intimate modern paces license romantic fangs empty failure advocate "
	"ecology blanket scandal testify upstairs prune lizard hormone hormone "
	"weapon jerky bedroom scene manual ticket",
	"intend smug academic amazing acne friar strategy general penalty "
	"research briefing hanger pacific genre together jacket medal lawsuit "
	"listen scared shadow obesity biology roster marathon pancake install "
	"trial task watch adult chubby cylinder",
	"intend smug academic arcade ambition slow organize coal teacher "
	"simple hour thumb remind prepare lend omit scout repair "
	"writing total picture prize domestic mobile work again gather "
	"vitamins wrote axis born hairy fiscal",
	"intend smug academic axle aspect saver curly punish ocean "
	"software easy replace arcade identify trouble favorite knife venture "
	"grownup junior orange aluminum early ladle omit adult ugly "
	"crucial midst clogs vampire fact bike",
};
static const char *const one[] = {
	"friar apart academic academic ajar extend cage forecast quiet "
	"sprinkle type demand viral birthday laser regular dismiss leaves "
	"acquire main coastal salary payment intimate security burden arena "
	"yelp carve unwrap smart company peanut",
};
static const char *const groups[] = {
	"laundry therapy acrobat echo ancient spend filter senior axis "
	"crush mental story ancestor mountain reunion quarter treat floral "
	"plan parking plunge fiction decision mixed making network reunion "
	"album exotic wolf royal juice spit",
};
static const char *const short_one[] = {
	"image veteran academic academic armed dress review premium imply "
	"typical dominant daisy voting random agency bike dive shaped "
	"adequate require"
	"",
};
static const char *const of_two_sets_with_one_number[] = {
	"climate dramatic academic acid award snapshot intend jewelry move "
	"wrap curly wits smoking veteran unfold retreat formal enlarge "
	"cleanup angry ounce require grocery mountain oasis capital cluster "
	"blimp beaver credit predator client obesity",
	"climate dramatic academic agency anatomy rhyme shadow premium lamp "
	"evening check slavery guilt emperor detect secret merchant verdict "
	"level superior duration industry disease pitch critical regular merchant "
	"briefing obesity repeat ticket wireless aquatic",
};
static const char *const padded[] = {
	"judicial fragment academic academic lizard extend cage forecast quiet "
	"sprinkle type demand viral birthday laser regular dismiss leaves "
	"acquire main coastal salary payment intimate security burden arena "
	"yelp carve unwrap pipeline smoking depend",
};

static struct slip39_share shares[SLIP39_SHARES_MAX];
static uint8_t secret[SLIP39_SECRET], seen[SLIP39_SECRET];

static void secret_fill(void)
{
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
}

static int take(const char *text, struct slip39_share *ret)
{
	struct slip39_fault fault;

	return slip39_parse(span_str(text), ret, &fault);
}

static int take_all(const char *const *texts, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = take(texts[i], &shares[i]);
	return r;
}

/* SHA-256 of the list, a line each, as sha256sum(1) gives it of SLIP-0039's wordlist.txt. */
TEST(words_of_the_standard)
{
	static const uint8_t expected[] = {
		0xbc, 0xc4, 0x55, 0x53, 0x40, 0x33, 0x2d, 0x16, 0x97, 0x18, 0xae,
		0xd8, 0xbf, 0x31, 0xdd, 0x9d, 0x52, 0x48, 0xcb, 0x7d, 0xa6, 0xe5,
		0xd3, 0x55, 0x14, 0x0e, 0xf4, 0xf1, 0xe6, 0x01, 0xee, 0xc3,
	};
	struct span parts[2 * SLIP39_WORD_COUNT];
	uint8_t md[SHA256_LEN];

	for (size_t i = 0; i < SLIP39_WORD_COUNT; i++) {
		parts[2 * i] = span_str(slip39_words[i]);
		parts[2 * i + 1] = span_str("\n");
	}
	ASSERT_OK(sha256(parts, ARRAY_SIZE(parts), md));
	EXPECT_MEMEQ(expected, sizeof(expected), md, sizeof(md));
}

TEST(opens_others)
{
	secret_fill();
	ktest_show_bytes = true;
	ASSERT_OK(take_all(two_of_three, ARRAY_SIZE(two_of_three)));
	EXPECT_EQ(2, shares[0].threshold);
	EXPECT_EQ(1, shares[0].number);
	EXPECT_EQ(3, shares[2].number);
	EXPECT_TRUE(shares[0].extendable);
	EXPECT_EQ(0, shares[0].exponent);
	for (unsigned int first = 0; first < 3; first++) {
		struct slip39_share two[] = { shares[first], shares[(first + 1) % 3] };

		ASSERT_OK(slip39_combine(two, 2, seen));
		EXPECT_MEMEQ(secret, sizeof(secret), seen, sizeof(seen));
	}
	ASSERT_OK(take_all(old_three_of_five, ARRAY_SIZE(old_three_of_five)));
	EXPECT_FALSE(shares[0].extendable);
	EXPECT_EQ(1, shares[0].exponent);
	ASSERT_OK(slip39_combine(shares + 2, 3, seen));
	EXPECT_MEMEQ(secret, sizeof(secret), seen, sizeof(seen));
	ASSERT_OK(take_all(one, ARRAY_SIZE(one)));
	ASSERT_OK(slip39_combine(shares, 1, seen));
	EXPECT_MEMEQ(secret, sizeof(secret), seen, sizeof(seen));
}

TEST(writes_what_it_reads)
{
	char text[SLIP39_TEXT_MAX];

	ASSERT_OK(take_all(old_three_of_five, ARRAY_SIZE(old_three_of_five)));
	for (size_t i = 0; i < ARRAY_SIZE(old_three_of_five); i++) {
		ASSERT_OK(slip39_format(&shares[i], text));
		EXPECT_STREQ(old_three_of_five[i], text);
	}
}

/* Every threshold of sets of every kind, from either end; one fewer says that it is too few. */
TEST(split_and_combine)
{
	static const unsigned int sets[][2] = { { 1, 1 }, { 2, 2 },  { 3, 2 },  { 5, 3 },
						{ 9, 8 }, { 16, 2 }, { 16, 16 } };

	secret_fill();
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		unsigned int n = sets[i][0], k = sets[i][1];

		ASSERT_OK(slip39_split(secret, n, k, shares));
		ASSERT_OK(slip39_combine(shares, k, seen));
		EXPECT_MEMEQ(secret, sizeof(secret), seen, sizeof(seen));
		memset(seen, 0, sizeof(seen));
		ASSERT_OK(slip39_combine(shares + n - k, k, seen));
		EXPECT_MEMEQ(secret, sizeof(secret), seen, sizeof(seen));
		EXPECT_ERR(-ENODATA, slip39_combine(shares, k - 1, seen));
		for (unsigned int j = 0; j < n; j++) {
			EXPECT_EQ(j + 1, shares[j].number);
			EXPECT_EQ(k, shares[j].threshold);
			EXPECT_TRUE(n == 1 || memcmp(shares[j].value, secret, SLIP39_SECRET) != 0);
		}
	}
}

TEST(split_refuses)
{
	EXPECT_ERR(-EINVAL, slip39_split(secret, 3, 0, shares));
	EXPECT_ERR(-EINVAL, slip39_split(secret, 3, 4, shares));
	EXPECT_ERR(-EINVAL, slip39_split(secret, 17, 2, shares));
	EXPECT_ERR(-EINVAL, slip39_split(secret, 3, 1, shares));
}

/* Two sets of one secret have nothing in common: numbers, values, set. */
TEST(every_set_is_another)
{
	struct slip39_share other[2];

	ASSERT_OK(slip39_split(secret, 2, 2, shares));
	ASSERT_OK(slip39_split(secret, 2, 2, other));
	EXPECT_TRUE(memcmp(shares[0].value, other[0].value, SLIP39_SECRET) != 0);
	EXPECT_TRUE(memcmp(shares[1].value, other[1].value, SLIP39_SECRET) != 0);
}

TEST(wrong_word)
{
	struct slip39_share share = { .number = 77 };
	struct slip39_fault fault;
	char text[SLIP39_TEXT_MAX + 32];

	/* "acid" is the fourth. */
	snprintf(text, sizeof(text), "%s", two_of_three[0]);
	memcpy(strstr(text, "acid"), "acit", 4);
	EXPECT_ERR(-EINVAL, slip39_parse(span_str(text), &share, &fault));
	EXPECT_EQ(4, fault.wrong);
	EXPECT_STREQ("acid", fault.nearest);
	EXPECT_EQ(77, share.number);
	EXPECT_ERR(-EINVAL, slip39_parse(span_str("zzzzzzzzzzzz"), &share, &fault));
	EXPECT_EQ(1, fault.wrong);
	EXPECT_NULL(fault.nearest);
}

/* Any word that is another one of the list, and any two that changed places. */
TEST(checksum)
{
	struct slip39_share share;
	char text[SLIP39_TEXT_MAX], *at, *rest;
	const char *word[SLIP39_WORDS];

	for (size_t i = 0; i < SLIP39_WORDS; i++) {
		char changed[2 * SLIP39_TEXT_MAX] = "";

		snprintf(text, sizeof(text), "%s", two_of_three[1]);
		at = strtok_r(text, " ", &rest);
		for (size_t j = 0; j < SLIP39_WORDS; j++, at = strtok_r(NULL, " ", &rest))
			word[j] = at;
		word[i] = strcmp(word[i], "zero") == 0 ? "yoga" : "zero";
		for (size_t j = 0; j < SLIP39_WORDS; j++) {
			strcat(changed, word[j]);
			strcat(changed, " ");
		}
		EXPECT_ERR(-EBADMSG, take(changed, &share));
	}
}

TEST(blanks_and_case)
{
	struct slip39_share share;
	char text[2 * SLIP39_TEXT_MAX];

	snprintf(text, sizeof(text), "\t %s\r\n", two_of_three[2]);
	EXPECT_OK(take(text, &share));
	memcpy(text + 2, "FRACTION", 8);
	*strchr(text, 'b') = 'B';
	EXPECT_OK(take(text, &share));
	EXPECT_EQ(3, share.number);
}

TEST(not_a_share)
{
	struct slip39_share share;
	struct slip39_fault fault;
	char text[2 * SLIP39_TEXT_MAX];

	EXPECT_ERR(-EMSGSIZE, slip39_parse(SPAN_NULL, &share, &fault));
	EXPECT_EQ(0, fault.words);
	EXPECT_ERR(-EMSGSIZE, slip39_parse(span_str(short_one[0]), &share, &fault));
	EXPECT_EQ(20, fault.words);
	snprintf(text, sizeof(text), "%s zero", two_of_three[0]);
	EXPECT_ERR(-EMSGSIZE, slip39_parse(span_str(text), &share, &fault));
	EXPECT_EQ(34, fault.words);
	EXPECT_ERR(-EOPNOTSUPP, take(groups[0], &share));
	EXPECT_ERR(-EBADMSG, take(padded[0], &share));
}

TEST(not_of_one_set)
{
	struct slip39_share two[2];

	ASSERT_OK(take(two_of_three[0], &two[0]));
	ASSERT_OK(take(two_of_three[0], &two[1]));
	EXPECT_ERR(-EEXIST, slip39_fits(&two[0], &two[1]));
	EXPECT_ERR(-EEXIST, slip39_combine(two, 2, seen));
	ASSERT_OK(take(old_three_of_five[1], &two[1]));
	EXPECT_ERR(-EXDEV, slip39_fits(&two[0], &two[1]));
	EXPECT_ERR(-EXDEV, slip39_combine(two, 2, seen));
	ASSERT_OK(take(two_of_three[1], &two[1]));
	two[1].threshold = 3;
	EXPECT_ERR(-EXDEV, slip39_combine(two, 2, seen));
	/* Their heads are the same, and the digest is not. */
	ASSERT_OK(take_all(of_two_sets_with_one_number, 2));
	EXPECT_OK(slip39_fits(&shares[0], &shares[1]));
	EXPECT_ERR(-EBADMSG, slip39_combine(shares, 2, seen));
}

TEST(is_word)
{
	const char *nearest;

	EXPECT_TRUE(slip39_is_word(span_str("academic"), &nearest));
	EXPECT_TRUE(slip39_is_word(span_str("Zero"), &nearest));
	EXPECT_FALSE(slip39_is_word(span_str("acad"), &nearest));
	EXPECT_FALSE(slip39_is_word(SPAN_NULL, &nearest));
	EXPECT_FALSE(slip39_is_word(span_str("academics"), &nearest));
	EXPECT_STREQ("academic", nearest);
	EXPECT_FALSE(slip39_is_word(span_of("aci\0", 4), &nearest));
}

TEST_HARNESS_MAIN
