/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See slip39.h. Source: SLIP-0039, "Shamir's Secret-Sharing for Mnemonic Codes". x coordinates are public and may decide
 * what is done; what is computed from shares goes through gf_mul() and masks.
 */
#include "daemon/keys/slip39.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/nearest.h"
#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"

#define RADIX_BITS      10
#define RADIX_MASK      1023U
#define CHECK_WORDS     3
#define VALUE_WORDS     26 /* 256 bits, and four zero bits before them */
#define VALUE_AT        4
#define DIGEST_X        254 /* where the polynomials have the digest, and the secret */
#define SECRET_X        255
#define DIGEST_LEN      4
#define HALF            (SLIP39_SECRET / 2)
#define ROUNDS          4
#define ROUND_HMACS     2500
#define SALT_MAX        (8 + HALF)
#define TEXT_ORIGINAL   "shamir"
#define TEXT_EXTENDABLE "shamir_extendable"
_Static_assert(VALUE_AT + VALUE_WORDS + CHECK_WORDS == SLIP39_WORDS, "the parts of a share");

/* One page of locked memory for everything that a call derives from a secret. */
struct slip39_work {
	uint16_t words[SLIP39_WORDS];
	char word[SLIP39_WORD_MAX];
	uint8_t left[HALF], right[HALF], hash[SHA256_LEN], salt[SALT_MAX];
	uint8_t secret[SLIP39_SECRET], digest[SLIP39_SECRET];
	const uint8_t *y[SLIP39_SHARES_MAX];
	uint8_t base[SLIP39_SHARES_MAX][SLIP39_SECRET];
	struct slip39_share share;
};

static void slip39_work_free(struct slip39_work *w)
{
	secmem_free(w, sizeof(*w));
}
DEFINE_CLEANUP(struct slip39_work *, slip39_work_free);

static int slip39_work_new(struct slip39_work **ret)
{
	struct slip39_work *w = secmem_alloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	*ret = w;
	return 0;
}

/* All ones if @a and @b are the same. */
static uint64_t mask_equal(uint64_t a, uint64_t b)
{
	uint64_t diff = a ^ b;

	return ((diff | (0 - diff)) >> 63) - 1;
}

/* A word of at most eight letters, filled up with NULs, as one number. */
static uint64_t word_load(const char word[static SLIP39_WORD_MAX])
{
	uint64_t n;

	memcpy(&n, word, sizeof(n));
	return n;
}
_Static_assert(sizeof(uint64_t) == SLIP39_WORD_MAX, "a word is a number");

static void word_put(unsigned int index, char ret[static SLIP39_WORD_MAX])
{
	uint64_t word = 0;

	for (size_t i = 0; i < SLIP39_WORD_COUNT; i++)
		word |= word_load(slip39_words[i]) & mask_equal(i, index);
	memcpy(ret, &word, sizeof(word));
}

/* @word in lower case, filled up with NULs. False: it is none of the list. */
static bool word_find(const char word[static SLIP39_WORD_MAX], uint16_t *ret)
{
	uint64_t index = 0, found = 0, typed = word_load(word);

	for (size_t i = 0; i < SLIP39_WORD_COUNT; i++) {
		uint64_t mask = mask_equal(word_load(slip39_words[i]), typed);

		index |= i & mask;
		found |= mask;
	}
	*ret = (uint16_t)index;
	return found != 0;
}

static bool slip39_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* False: it has too many letters, or something else. */
static bool word_lower(struct span word, char ret[static SLIP39_WORD_MAX])
{
	if (word.len == 0 || word.len > SLIP39_WORD_MAX)
		return false;
	memset(ret, 0, SLIP39_WORD_MAX);
	for (size_t i = 0; i < word.len; i++)
		ret[i] = (char)(word.data[i] >= 'A' && word.data[i] <= 'Z' ? word.data[i] | 0x20
									   : word.data[i]);
	return true;
}

static const char *word_nearest(struct span word)
{
	char typed[NEAREST_MAX + 1] = "";
	struct nearest n;

	if (word.len == 0 || word.len >= sizeof(typed))
		return NULL;
	memcpy(typed, word.data, word.len);
	n = nearest_to(typed);
	for (size_t i = 0; i < SLIP39_WORD_COUNT; i++)
		nearest_offer(&n, slip39_words[i]);
	secmem_wipe(typed, sizeof(typed));
	return n.best;
}

bool slip39_is_word(struct span word, const char **ret_nearest)
{
	char lower[SLIP39_WORD_MAX];
	uint16_t index;
	bool found;

	found = word_lower(word, lower) && word_find(lower, &index);
	secmem_wipe(lower, sizeof(lower));
	secmem_wipe(&index, sizeof(index));
	*ret_nearest = found ? NULL : word_nearest(word);
	return found;
}

static uint32_t rs1024_step(uint32_t sum, uint32_t word)
{
	static const uint32_t generator[RADIX_BITS] = {
		0x00e0e040, 0x01c1c080, 0x03838100, 0x07070200, 0x0e0e0009,
		0x1c0c2412, 0x38086c24, 0x3090fc48, 0x21b1f890, 0x03f3f120,
	};
	uint32_t top = sum >> 20;

	sum = (sum & 0xfffff) << RADIX_BITS ^ word;
	for (size_t i = 0; i < RADIX_BITS; i++)
		sum ^= generator[i] & (0U - (top >> i & 1));
	return sum;
}

/* Over the standard's text and @words; a share with its checksum gives 1. */
static uint32_t rs1024(bool extendable, const uint16_t words[static SLIP39_WORDS])
{
	const char *text = extendable ? TEXT_EXTENDABLE : TEXT_ORIGINAL;
	uint32_t sum = 1;

	for (; *text; text++)
		sum = rs1024_step(sum, (uint8_t)*text);
	for (size_t i = 0; i < SLIP39_WORDS; i++)
		sum = rs1024_step(sum, words[i]);
	return sum;
}

/* The words of a text. -EINVAL, -EMSGSIZE. */
static int share_words(struct span text, struct slip39_work *w, struct slip39_fault *fault)
{
	for (size_t i = 0; i < text.len;) {
		struct span word = span_of(text.data + i, 0);
		uint16_t index = 0;

		while (i < text.len && !slip39_is_blank(text.data[i])) {
			word.len++;
			i++;
		}
		if (word.len == 0) {
			i++;
			continue;
		}
		fault->words++;
		if (fault->wrong == 0 &&
		    (!word_lower(word, w->word) || !word_find(w->word, &index))) {
			fault->wrong = fault->words;
			fault->nearest = word_nearest(word);
		}
		if (fault->words <= SLIP39_WORDS)
			w->words[fault->words - 1] = index;
		secmem_wipe(&index, sizeof(index));
	}
	if (fault->wrong > 0)
		return -EINVAL;
	return fault->words == SLIP39_WORDS ? 0 : -EMSGSIZE;
}

/* 256 bits from the words behind the head. -EBADMSG: the bits before them are not zero. */
static int value_take(const uint16_t *words, uint8_t ret[static SLIP39_SECRET])
{
	uint32_t bits = words[0];
	unsigned int have = RADIX_BITS - 4;
	size_t n = 0;

	if (words[0] >> have)
		return -EBADMSG;
	for (size_t i = 1; i < VALUE_WORDS; i++) {
		bits = bits << RADIX_BITS | words[i];
		have += RADIX_BITS;
		for (; have >= 8; have -= 8)
			ret[n++] = (uint8_t)(bits >> (have - 8));
	}
	return 0;
}

static void value_put(const uint8_t value[static SLIP39_SECRET], uint16_t *ret)
{
	unsigned int have = 4;
	uint32_t bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < SLIP39_SECRET; i++) {
		bits = bits << 8 | value[i];
		have += 8;
		for (; have >= RADIX_BITS; have -= RADIX_BITS)
			ret[n++] = (uint16_t)(bits >> (have - RADIX_BITS) & RADIX_MASK);
	}
}

static int share_take(const uint16_t *words, struct slip39_share *ret)
{
	uint32_t head = (uint32_t)words[0] << RADIX_BITS | words[1];
	uint32_t place = (uint32_t)words[2] << RADIX_BITS | words[3];

	ret->set = (uint16_t)(head >> 5);
	ret->extendable = head >> 4 & 1;
	ret->exponent = head & 15;
	if (rs1024(ret->extendable, words) != 1)
		return -EBADMSG;
	if (place >> 8)
		return -EOPNOTSUPP;
	ret->number = (uint8_t)((place >> 4 & 15) + 1);
	ret->threshold = (uint8_t)((place & 15) + 1);
	return value_take(words + VALUE_AT, ret->value);
}

int slip39_parse(struct span text, struct slip39_share *ret, struct slip39_fault *ret_fault)
{
	_cleanup_(slip39_work_freep) struct slip39_work *w = NULL;
	int r;

	*ret_fault = (struct slip39_fault){ 0 };
	r = slip39_work_new(&w);
	if (r == 0)
		r = share_words(text, w, ret_fault);
	if (r == 0)
		r = share_take(w->words, &w->share);
	if (r < 0)
		return r;
	*ret = w->share;
	return 0;
}

int slip39_format(const struct slip39_share *share, char ret[static SLIP39_TEXT_MAX])
{
	_cleanup_(slip39_work_freep) struct slip39_work *w = NULL;
	uint32_t head =
		(uint32_t)share->set << 5 | (uint32_t)share->extendable << 4 | share->exponent;
	uint32_t place = (uint32_t)(share->number - 1) << 4 | (uint32_t)(share->threshold - 1);
	uint32_t check;
	char *p = ret;
	int r;

	r = slip39_work_new(&w);
	if (r < 0)
		return r;
	w->words[0] = (uint16_t)(head >> RADIX_BITS);
	w->words[1] = (uint16_t)(head & RADIX_MASK);
	w->words[2] = (uint16_t)(place >> RADIX_BITS);
	w->words[3] = (uint16_t)(place & RADIX_MASK);
	value_put(share->value, w->words + VALUE_AT);
	check = rs1024(share->extendable, w->words) ^ 1;
	for (unsigned int i = 0; i < CHECK_WORDS; i++)
		w->words[SLIP39_WORDS - 1 - i] = (uint16_t)(check >> (RADIX_BITS * i) & RADIX_MASK);
	for (size_t i = 0; i < SLIP39_WORDS; i++) {
		word_put(w->words[i], w->word);
		memcpy(p, w->word, sizeof(w->word));
		p += strnlen(p, SLIP39_WORD_MAX);
		*p++ = i + 1 < SLIP39_WORDS ? ' ' : '\0';
	}
	return 0;
}

/* In GF(2^8) by x^8 + x^4 + x^3 + x + 1. */
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
	unsigned int sum = 0, x = a, y = b;

	for (unsigned int i = 0; i < 8; i++) {
		sum ^= x & (0U - (y >> i & 1U));
		x = x << 1 ^ (0x11bU & (0U - (x >> 7 & 1U)));
	}
	return (uint8_t)sum;
}

/* a^254; 0 for 0. */
static uint8_t gf_inverse(uint8_t a)
{
	uint8_t power = a, product = 1;

	for (unsigned int i = 1; i < 8; i++) {
		power = gf_mul(power, power);
		product = gf_mul(product, power);
	}
	return product;
}

/* The polynomials through the points (@xs[i], @ys[i]), all of different x, at @x. */
static void interpolate(const uint8_t *xs, const uint8_t *const *ys, size_t n, uint8_t x,
			uint8_t ret[static SLIP39_SECRET])
{
	memset(ret, 0, SLIP39_SECRET);
	for (size_t i = 0; i < n; i++) {
		uint8_t basis = 1;

		for (size_t j = 0; j < n; j++)
			if (j != i)
				basis = gf_mul(basis, gf_mul(x ^ xs[j], gf_inverse(xs[i] ^ xs[j])));
		for (size_t b = 0; b < SLIP39_SECRET; b++)
			ret[b] ^= gf_mul(basis, ys[i][b]);
	}
}

/* One round of the standard's cipher, into w->hash, HALF bytes of which count. */
static int feistel_round(struct slip39_work *w, const struct slip39_share *set, uint8_t round)
{
	size_t n = 0;

	if (!set->extendable) {
		n = strlen(TEXT_ORIGINAL);
		memcpy(w->salt, TEXT_ORIGINAL, n);
		w->salt[n++] = (uint8_t)(set->set >> 8);
		w->salt[n++] = (uint8_t)set->set;
	}
	memcpy(w->salt + n, w->right, HALF);
	return pbkdf2_sha256(span_of(&round, 1), span_of(w->salt, n + HALF),
			     (uint64_t)ROUND_HMACS << set->exponent, w->hash);
}

/* Encrypt or decrypt under the empty passphrase; the rounds' order is all that differs. */
static int feistel(struct slip39_work *w, const struct slip39_share *set, bool decrypt,
		   const uint8_t in[static SLIP39_SECRET], uint8_t ret[static SLIP39_SECRET])
{
	memcpy(w->left, in, HALF);
	memcpy(w->right, in + HALF, HALF);
	for (uint8_t i = 0; i < ROUNDS; i++) {
		int r = feistel_round(w, set, decrypt ? (uint8_t)(ROUNDS - 1 - i) : i);

		if (r < 0)
			return r;
		for (size_t b = 0; b < HALF; b++) {
			uint8_t next = w->left[b] ^ w->hash[b];

			w->left[b] = w->right[b];
			w->right[b] = next;
		}
	}
	memcpy(ret, w->right, HALF);
	memcpy(ret + HALF, w->left, HALF);
	return 0;
}

/* The digest of @secret under the random bytes that stand behind it. */
static int digest_of(const uint8_t digest[static SLIP39_SECRET],
		     const uint8_t secret[static SLIP39_SECRET], uint8_t ret[static SHA256_LEN])
{
	const struct span in = span_of(secret, SLIP39_SECRET);

	return hmac_sha256(span_of(digest + DIGEST_LEN, SLIP39_SECRET - DIGEST_LEN), &in, 1, ret);
}

/* @threshold - 2 points are random, then come the digest and the secret: they are the polynomials. */
static int base_make(struct slip39_work *w, unsigned int threshold, uint8_t *xs)
{
	unsigned int n = threshold - 2;
	int r;

	for (unsigned int i = 0; i < n; i++)
		xs[i] = (uint8_t)i;
	xs[n] = DIGEST_X;
	xs[n + 1] = SECRET_X;
	for (unsigned int i = 0; i < threshold; i++)
		w->y[i] = w->base[i];
	r = random_bytes(w->base, (n + 1) * sizeof(w->base[0]));
	if (r == 0)
		r = digest_of(w->base[n], w->secret, w->hash);
	if (r < 0)
		return r;
	memcpy(w->base[n], w->hash, DIGEST_LEN);
	memcpy(w->base[n + 1], w->secret, SLIP39_SECRET);
	return 0;
}

int slip39_split(const uint8_t secret[static SLIP39_SECRET], unsigned int n, unsigned int threshold,
		 struct slip39_share *ret)
{
	_cleanup_(slip39_work_freep) struct slip39_work *w = NULL;
	struct slip39_share set = { .extendable = true, .threshold = (uint8_t)threshold };
	uint8_t xs[SLIP39_SHARES_MAX];
	int r;

	if (threshold < 1 || threshold > n || n > SLIP39_SHARES_MAX || (threshold == 1 && n > 1))
		return -EINVAL;
	r = slip39_work_new(&w);
	if (r == 0)
		r = random_bytes(&set.set, sizeof(set.set));
	set.set &= 0x7fff;
	if (r == 0)
		r = feistel(w, &set, false, secret, w->secret);
	if (r == 0 && threshold > 1)
		r = base_make(w, threshold, xs);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < n; i++) {
		ret[i] = set;
		ret[i].number = (uint8_t)(i + 1);
		if (threshold == 1)
			memcpy(ret[i].value, w->secret, SLIP39_SECRET);
		else
			interpolate(xs, w->y, threshold, (uint8_t)i, ret[i].value);
	}
	return 0;
}

int slip39_fits(const struct slip39_share *a, const struct slip39_share *b)
{
	if (a->set != b->set || a->extendable != b->extendable || a->exponent != b->exponent ||
	    a->threshold != b->threshold)
		return -EXDEV;
	return a->number == b->number ? -EEXIST : 0;
}

/* What was shared, into w->secret. */
static int shared_find(struct slip39_work *w, const struct slip39_share *shares, size_t n)
{
	uint8_t xs[SLIP39_SHARES_MAX];
	int r;

	for (size_t i = 0; i < n; i++) {
		xs[i] = (uint8_t)(shares[i].number - 1);
		w->y[i] = shares[i].value;
	}
	interpolate(xs, w->y, n, SECRET_X, w->secret);
	interpolate(xs, w->y, n, DIGEST_X, w->digest);
	r = digest_of(w->digest, w->secret, w->hash);
	if (r < 0)
		return r;
	return ct_equal(w->hash, w->digest, DIGEST_LEN) ? 0 : -EBADMSG;
}

int slip39_combine(const struct slip39_share *shares, size_t n, uint8_t ret[static SLIP39_SECRET])
{
	_cleanup_(slip39_work_freep) struct slip39_work *w = NULL;
	int r = 0;

	if (n == 0 || n < shares[0].threshold)
		return -ENODATA;
	n = shares[0].threshold;
	for (size_t i = 1; i < n; i++)
		for (size_t j = 0; r == 0 && j < i; j++)
			r = slip39_fits(&shares[j], &shares[i]);
	if (r == 0)
		r = slip39_work_new(&w);
	if (r < 0)
		return r;
	if (n == 1)
		memcpy(w->secret, shares[0].value, SLIP39_SECRET);
	else
		r = shared_find(w, shares, n);
	if (r == 0)
		r = feistel(w, &shares[0], true, w->secret, w->digest);
	if (r < 0)
		return r;
	memcpy(ret, w->digest, SLIP39_SECRET);
	return 0;
}
