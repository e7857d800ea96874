/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH: each implementation against the definition (SP 800-38D §6.3, one bit at a time) and against
 * published values, at every alignment. And what GCM makes of it: tags, counters, single blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/crypto/block.h"
#include "daemon/crypto/gcm.h"
#include "daemon/crypto/ghash.h"
#include "tests/harness/ktest.h"

#define BLOCK KEKD_AES_BLOCK

static uint32_t random_state = 1;

/* xorshift32 (Marsaglia 2003): the same bytes in every run. */
static uint8_t random_byte(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return (uint8_t)(random_state >> 24);
}

static void random_bytes(uint8_t *p, size_t len)
{
	while (len-- > 0)
		*p++ = random_byte();
}

/* v ← v · x: right by one in GCM's numbering, the bit that falls out adds R = e1 ‖ 0^120. */
static void slow_times_x(uint8_t v[BLOCK])
{
	uint8_t out = v[BLOCK - 1] & 1;

	for (size_t i = BLOCK - 1; i > 0; i--)
		v[i] = (uint8_t)((v[i] >> 1) | (v[i - 1] << 7));
	v[0] >>= 1;
	if (out)
		v[0] ^= 0xe1;
}

static void slow_mul(uint8_t y[BLOCK], const uint8_t h[BLOCK])
{
	uint8_t z[BLOCK] = { 0 }, v[BLOCK];

	memcpy(v, h, BLOCK);
	for (size_t bit = 0; bit < 128; bit++) {
		if (y[bit / 8] & (0x80 >> (bit % 8))) {
			for (size_t i = 0; i < BLOCK; i++)
				z[i] ^= v[i];
		}
		slow_times_x(v);
	}
	memcpy(y, z, BLOCK);
}

static void slow_ghash(const uint8_t h[BLOCK], uint8_t y[BLOCK], const uint8_t *in, size_t n)
{
	for (size_t b = 0; b < n; b++) {
		for (size_t i = 0; i < BLOCK; i++)
			y[i] ^= in[b * BLOCK + i];
		slow_mul(y, h);
	}
}

FIXTURE(ghash)
{
	struct ghash_key key;
};

FIXTURE_VARIANT(ghash)
{
	const struct ghash_impl *impl;
};

FIXTURE_VARIANT_ADD(ghash, vpclmul){ .impl = &ghash_wide };
FIXTURE_VARIANT_ADD(ghash, clmul){ .impl = &ghash_clmul };
FIXTURE_VARIANT_ADD(ghash, soft){ .impl = &ghash_soft };

FIXTURE_SETUP(ghash)
{
	SKIP_UNLESS(variant->impl->name, variant->impl->supported(),
		    "this CPU lacks the instructions");
}

FIXTURE_TEARDOWN(ghash)
{
}

/* Every count of blocks around the aggregation, every alignment, a y that is not zero. */
TEST_F(ghash, definition)
{
	uint8_t h[BLOCK], y[BLOCK], expected[BLOCK], data[35 * BLOCK + 16];

	for (size_t n = 0; n <= 35; n++) {
		for (size_t align = 0; align < 16; align++) {
			random_bytes(h, sizeof(h));
			random_bytes(y, sizeof(y));
			random_bytes(data, sizeof(data));
			memcpy(expected, y, sizeof(y));
			slow_ghash(h, expected, data + align, n);
			ghash_key_init(&self->key, h, variant->impl);
			variant->impl->update(&self->key, y, data + align, n);
			ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
		}
	}
}

/* The same around the lengths at which more powers are made and more blocks taken at once. */
TEST_F(ghash, long_texts)
{
	uint8_t h[BLOCK], y[BLOCK], expected[BLOCK], data[200 * BLOCK + 1];

	random_bytes(h, sizeof(h));
	random_bytes(data, sizeof(data));
	for (size_t n = 36; n <= 200; n += n < 100 ? 1 : 7) {
		random_bytes(y, sizeof(y));
		memcpy(expected, y, sizeof(y));
		slow_ghash(h, expected, data + 1, n);
		ghash_key_init(&self->key, h, variant->impl);
		variant->impl->update(&self->key, y, data + 1, n);
		ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
		/* With all powers there. */
		slow_ghash(h, expected, data, 200 - n);
		variant->impl->update(&self->key, y, data, 200 - n);
		ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
	}
}

/* Words in which as many sums carry as can: all ones, single bits, all but one bit. */
TEST_F(ghash, extreme_words)
{
	for (size_t bit = 0; bit <= 128; bit++) {
		for (unsigned int fill = 0; fill <= 0xff; fill += 0xff) {
			uint8_t h[BLOCK], block[BLOCK], y[BLOCK] = { 0 }, expected[BLOCK] = { 0 };

			memset(h, 0xff, sizeof(h));
			memset(block, (int)fill, sizeof(block));
			if (bit < 128)
				block[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
			slow_ghash(h, expected, block, 1);
			ghash_key_init(&self->key, h, variant->impl);
			variant->impl->update(&self->key, y, block, 1);
			ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
			memset(y, 0, sizeof(y));
			memset(expected, 0, sizeof(expected));
			slow_ghash(block, expected, h, 1);
			ghash_key_init(&self->key, block, variant->impl);
			variant->impl->update(&self->key, y, h, 1);
			ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
		}
	}
}

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test case 4. */
TEST_F(ghash, published)
{
	static const uint8_t h[] = { 0xb8, 0x3b, 0x53, 0x37, 0x08, 0xbf, 0x53, 0x5d,
				     0x0a, 0xa6, 0xe5, 0x29, 0x80, 0xd5, 0x3b, 0x78 };
	static const uint8_t aad[] = { 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed,
				       0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad, 0xda, 0xd2 };
	static const uint8_t text[] = {
		0x42, 0x83, 0x1e, 0xc2, 0x21, 0x77, 0x74, 0x24, 0x4b, 0x72, 0x21, 0xb7,
		0x84, 0xd0, 0xd4, 0x9c, 0xe3, 0xaa, 0x21, 0x2f, 0x2c, 0x02, 0xa4, 0xe0,
		0x35, 0xc1, 0x7e, 0x23, 0x29, 0xac, 0xa1, 0x2e, 0x21, 0xd5, 0x14, 0xb2,
		0x54, 0x66, 0x93, 0x1c, 0x7d, 0x8f, 0x6a, 0x5a, 0xac, 0x84, 0xaa, 0x05,
		0x1b, 0xa3, 0x0b, 0x39, 0x6a, 0x0a, 0xac, 0x97, 0x3d, 0x58, 0xe0, 0x91,
	};
	static const uint8_t hash[] = { 0x69, 0x8e, 0x57, 0xf7, 0x0e, 0x6e, 0xcc, 0x7f,
					0xd9, 0x46, 0x3b, 0x72, 0x60, 0xa9, 0xae, 0x5f };
	const uint8_t no_mask[BLOCK] = { 0 };
	uint8_t y[BLOCK], tag[BLOCK];

	ktest_show_bytes = true;
	ghash_key_init(&self->key, h, variant->impl);
	gcm_hash_aad(&self->key, span_of(aad, sizeof(aad)), y);
	gcm_hash_text(&self->key, y, span_of(text, 32));
	gcm_hash_text(&self->key, y, span_of(text + 32, sizeof(text) - 32));
	gcm_tag(&self->key, y, sizeof(aad), sizeof(text), no_mask, tag);
	EXPECT_MEMEQ(hash, sizeof(hash), tag, sizeof(tag));
}

/*
 * A tag in one go is the tag by pieces, short or not, for every remainder on both sides: of the first
 * message with a key, of the second, and of one among many.
 */
TEST_F(ghash, whole_message)
{
	uint8_t h[BLOCK], ekj0[BLOCK], data[2 * 150], y[BLOCK], expected[BLOCK], tag[BLOCK];
	struct ghash_key fresh;

	random_bytes(h, sizeof(h));
	random_bytes(ekj0, sizeof(ekj0));
	random_bytes(data, sizeof(data));
	ghash_key_init(&self->key, h, variant->impl);
	for (size_t a = 0; a <= 150; a++) {
		for (size_t t = 0; t <= 150; t++) {
			struct span aad = span_of(data, a), text = span_of(data + 150, t);

			gcm_hash_aad(&self->key, aad, y);
			gcm_hash_text(&self->key, y, text);
			gcm_tag(&self->key, y, a, t, ekj0, expected);
			gcm_tag_whole(&self->key, aad, text, ekj0, tag);
			ASSERT_MEMEQ(expected, BLOCK, tag, BLOCK);
			ghash_key_init(&fresh, h, variant->impl);
			for (unsigned int i = 0; i < 2; i++) {
				gcm_tag_whole(&fresh, aad, text, ekj0, tag);
				ASSERT_MEMEQ(expected, BLOCK, tag, BLOCK);
			}
		}
	}
}

/* Pieces, whatever powers there are from messages before. */
TEST_F(ghash, pieces_with_few_powers)
{
	uint8_t h[BLOCK], mask[BLOCK] = { 0 }, data[20 * BLOCK], y[BLOCK], expected[BLOCK];

	random_bytes(h, sizeof(h));
	random_bytes(data, sizeof(data));
	for (size_t before = 0; before <= GHASH_POWERS; before++) {
		ghash_key_init(&self->key, h, variant->impl);
		for (size_t i = 0; i < 2 && before > 0; i++)
			gcm_tag_whole(&self->key, SPAN_NULL, span_of(data, (before - 1) * BLOCK),
				      mask, y);
		for (size_t n = 0; n <= 20; n++) {
			memset(y, 0, sizeof(y));
			memset(expected, 0, sizeof(expected));
			slow_ghash(h, expected, data, n);
			variant->impl->update(&self->key, y, data, n);
			ASSERT_MEMEQ(expected, BLOCK, y, BLOCK);
		}
	}
}

TEST_F(ghash, forgotten)
{
	static const struct ghash_elem zero[GHASH_POWERS];
	uint8_t h[BLOCK], data[80 * BLOCK], y[BLOCK] = { 0 };

	random_bytes(h, sizeof(h));
	random_bytes(data, sizeof(data));
	for (size_t n = 0; n <= 80; n++) {
		ghash_key_init(&self->key, h, variant->impl);
		for (unsigned int i = 0; i < 3; i++)
			gcm_tag_whole(&self->key, SPAN_NULL, span_of(data, n * BLOCK), y, y);
		ghash_key_forget(&self->key);
		ASSERT_MEMEQ(zero, sizeof(zero), self->key.power, sizeof(self->key.power));
	}
}

TEST(block_equal_sees_every_bit)
{
	uint8_t a[BLOCK], b[BLOCK];

	random_bytes(a, sizeof(a));
	memcpy(b, a, sizeof(b));
	EXPECT_TRUE(block_equal(a, b));
	for (size_t bit = 0; bit < 8 * BLOCK; bit++) {
		b[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		EXPECT_FALSE(block_equal(a, b));
		b[bit / 8] ^= (uint8_t)(1U << (bit % 8));
	}
}

TEST(block_wipe_keeps_to_its_block)
{
	static const uint8_t zero[BLOCK];
	uint8_t bytes[BLOCK + 2];

	memset(bytes, 0xa5, sizeof(bytes));
	block_wipe(bytes + 1);
	EXPECT_MEMEQ(zero, BLOCK, bytes + 1, BLOCK);
	EXPECT_EQ(0xa5, bytes[0]);
	EXPECT_EQ(0xa5, bytes[BLOCK + 1]);
}

TEST(best_is_supported)
{
	EXPECT_TRUE(ghash_best()->supported());
	EXPECT_TRUE(ghash_soft.supported());
}

TEST(counter_blocks)
{
	static const uint8_t nonce[KEKD_GCM_NONCE] = "abcdefghijkl";
	static const uint8_t j0[] = "abcdefghijkl\0\0\0\1";
	static const uint8_t carry[] = "abcdefghijkl\0\0\1\0"
				       "abcdefghijkl\0\0\1\1";
	static const uint8_t last[] = "abcdefghijkl\xff\xff\xff\xff";
	uint8_t blocks[2 * BLOCK];

	gcm_counters(nonce, 0, 1, blocks);
	EXPECT_MEMEQ(j0, BLOCK, blocks, BLOCK);
	gcm_counters(nonce, 255, 2, blocks);
	EXPECT_MEMEQ(carry, 2 * BLOCK, blocks, 2 * BLOCK);
	gcm_counters(nonce, (uint32_t)(GCM_TEXT_MAX / BLOCK), 1, blocks);
	EXPECT_MEMEQ(last, BLOCK, blocks, BLOCK);
}

/* Many at once are what they are one by one, wherever they begin and a byte of the counter overflows. */
TEST(many_counter_blocks)
{
	static const uint8_t nonce[KEKD_GCM_NONCE] = "abcdefghijkl";
	static const uint32_t firsts[] = {
		0, 1, 62, 63, 64, 127, 255, 256, 1000, 0xfffd, 0xfffffe00
	};
	uint8_t blocks[401 * BLOCK], one[BLOCK];

	for (size_t f = 0; f < ARRAY_SIZE(firsts); f++) {
		for (size_t n = 0; n <= 400; n += n < 140 ? 1 : 13) {
			memset(blocks, 0xa5, sizeof(blocks));
			gcm_counters(nonce, firsts[f], n, blocks);
			for (size_t i = 0; i < n; i++) {
				gcm_counters(nonce, firsts[f] + (uint32_t)i, 1, one);
				ASSERT_MEMEQ(one, BLOCK, blocks + i * BLOCK, BLOCK);
			}
			ASSERT_EQ(0xa5, blocks[n * BLOCK]);
		}
	}
}

TEST_HARNESS_MAIN
