/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What memscan looks for: the forms in which a key of 32 bytes could lie about, and a search for
 * all of them at once. Header only, as it has one user and tests/e2e builds one program a file.
 *
 * NAME.bytes     any 8 bytes of it in a row: half a copy counts, and 25 windows of 64 bits meet by
 *                chance once in 10^18 places
 * NAME.swapped   the same with each word of 32 bits turned round, as portable AES code keeps words
 * NAME.hex       any 8 bytes of it in hexadecimal, upper or lower case
 * NAME.base64    any 16 characters of it in base64, either alphabet, wherever it starts
 * NAME.schedule  any round key after the key itself (FIPS 197 §5.2), either order of bytes
 */
#ifndef KEKD_TESTS_E2E_NEEDLES_H
#define KEKD_TESTS_E2E_NEEDLES_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kekd/limits.h>
#include <kekd/span.h>

#define NEEDLE_MAX  64
#define NEEDLES_MAX 512
#define KINDS_MAX   16
#define KEY_LEN     KEKD_AES_KEY_MAX
#define WINDOW      8

struct needle {
	unsigned int kind;
	size_t len;
	uint8_t bytes[NEEDLE_MAX];
};

struct needles {
	struct needle v[NEEDLES_MAX];
	size_t n;
	char kinds[KINDS_MAX][32];
	unsigned int n_kinds;
	uint8_t begins[1U << 16]; /* is there one with these first two bytes? */
};

static inline unsigned int needle_kind(struct needles *s, const char *name, const char *form)
{
	if (s->n_kinds == KINDS_MAX)
		abort();
	snprintf(s->kinds[s->n_kinds], sizeof(s->kinds[0]), "%s.%s", name, form);
	return s->n_kinds++;
}

static inline unsigned int needle_index(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static inline void needle_add(struct needles *s, unsigned int kind, const void *bytes, size_t len)
{
	struct needle *n = &s->v[s->n++];

	if (s->n > NEEDLES_MAX || len < WINDOW || len > NEEDLE_MAX)
		abort();
	n->kind = kind;
	n->len = len;
	memcpy(n->bytes, bytes, len);
	s->begins[needle_index(n->bytes)] = 1;
}

static inline void needle_swap(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 4) {
		uint8_t w[4] = { p[i + 3], p[i + 2], p[i + 1], p[i] };

		memcpy(p + i, w, sizeof(w));
	}
}

static inline void needle_add_bytes(struct needles *s, const char *name,
				    const uint8_t key[static KEY_LEN])
{
	unsigned int kind = needle_kind(s, name, "bytes"), swapped;
	uint8_t copy[KEY_LEN];

	for (size_t i = 0; i + WINDOW <= KEY_LEN; i++)
		needle_add(s, kind, key + i, WINDOW);
	memcpy(copy, key, KEY_LEN);
	needle_swap(copy, KEY_LEN);
	swapped = needle_kind(s, name, "swapped");
	for (size_t i = 0; i + WINDOW <= KEY_LEN; i += 4)
		needle_add(s, swapped, copy + i, WINDOW);
}

static inline void needle_add_hex(struct needles *s, const char *name,
				  const uint8_t key[static KEY_LEN])
{
	unsigned int kind = needle_kind(s, name, "hex");
	char lower[2 * WINDOW + 1], upper[2 * WINDOW + 1];

	for (size_t i = 0; i + WINDOW <= KEY_LEN; i++) {
		for (size_t j = 0; j < WINDOW; j++) {
			snprintf(lower + 2 * j, 3, "%02x", key[i + j]);
			snprintf(upper + 2 * j, 3, "%02X", key[i + j]);
		}
		needle_add(s, kind, lower, 2 * WINDOW);
		needle_add(s, kind, upper, 2 * WINDOW);
	}
}

/* RFC 4648 §4 and §5: the characters of @key that depend on it alone, when @lead bytes precede it. */
static inline size_t needle_base64(const uint8_t key[static KEY_LEN], size_t lead, bool url,
				   char *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	size_t n = 0;

	for (size_t bit = lead ? 6 - lead * 8 % 6 : 0; bit + 6 <= KEY_LEN * 8; bit += 6) {
		unsigned int pair = (unsigned int)key[bit / 8] << 8;

		if (bit / 8 + 1 < KEY_LEN)
			pair |= key[bit / 8 + 1];
		pair = pair >> (10 - bit % 8) & 63;
		if (pair < 62)
			ret[n++] = digits[pair];
		else
			ret[n++] = pair == 62 ? (url ? '-' : '+') : (url ? '_' : '/');
	}
	return n;
}

static inline void needle_add_base64(struct needles *s, const char *name,
				     const uint8_t key[static KEY_LEN])
{
	unsigned int kind = needle_kind(s, name, "base64");
	char text[KEY_LEN * 8 / 6 + 1];

	for (size_t lead = 0; lead < 3; lead++)
		for (int url = 0; url < 2; url++) {
			size_t n = needle_base64(key, lead, url, text);

			for (size_t i = 0; i + 16 <= n; i += 8)
				needle_add(s, kind, text + i, 16);
		}
}

static inline void needle_add_key(struct needles *s, const char *name,
				  const uint8_t key[static KEY_LEN])
{
	needle_add_bytes(s, name, key);
	needle_add_hex(s, name, key);
	needle_add_base64(s, name, key);
}

/* The S-box from its definition: the inverse in GF(2^8), then an affine map (FIPS 197 §5.1.1). */
static inline uint8_t needle_mul(uint8_t a, uint8_t b)
{
	uint8_t product = 0;

	for (; b; b = (uint8_t)(b >> 1)) {
		product ^= (uint8_t)(b & 1 ? a : 0);
		a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
	}
	return product;
}

static inline uint8_t needle_sbox(uint8_t x)
{
	uint8_t inverse = 1, out = 0x63;

	for (int i = 0; i < 254; i++)
		inverse = needle_mul(inverse, x);
	for (int i = 0; i < 5; i++)
		out ^= (uint8_t)(inverse << i | inverse >> (8 - i));
	return out;
}

#define SCHEDULE_WORDS 60

/* FIPS 197 §5.2 for Nk = 8. */
static inline void needle_expand(const uint8_t key[static KEY_LEN],
				 uint8_t ret[static 4 * SCHEDULE_WORDS])
{
	uint8_t rcon = 1;

	memcpy(ret, key, KEY_LEN);
	for (size_t i = 8; i < SCHEDULE_WORDS; i++) {
		const uint8_t *t = ret + 4 * (i - 1);
		uint8_t w[4] = { t[0], t[1], t[2], t[3] };

		if (i % 8 == 0) {
			w[0] = (uint8_t)(needle_sbox(t[1]) ^ rcon);
			w[1] = needle_sbox(t[2]);
			w[2] = needle_sbox(t[3]);
			w[3] = needle_sbox(t[0]);
			rcon = needle_mul(rcon, 2);
		} else if (i % 8 == 4) {
			for (size_t j = 0; j < 4; j++)
				w[j] = needle_sbox(t[j]);
		}
		for (size_t j = 0; j < 4; j++)
			ret[4 * i + j] = ret[4 * (i - 8) + j] ^ w[j];
	}
}

/* FIPS 197 appendix A.3: the first and the last word made from its key. */
static inline bool needle_expand_works(void)
{
	static const uint8_t key[KEY_LEN] = { 0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe,
					      0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
					      0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7,
					      0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4 };
	uint8_t w[4 * SCHEDULE_WORDS];

	needle_expand(key, w);
	return memcmp(w + 4 * 8, "\x9b\xa3\x54\x11", 4) == 0 &&
	       memcmp(w + 4 * 59, "\x70\x6c\x63\x1e", 4) == 0;
}

static inline void needle_add_schedule(struct needles *s, const char *name,
				       const uint8_t key[static KEY_LEN])
{
	unsigned int kind = needle_kind(s, name, "schedule");
	uint8_t w[4 * SCHEDULE_WORDS];

	needle_expand(key, w);
	for (int swapped = 0; swapped < 2; swapped++) {
		for (size_t i = KEY_LEN; i + 16 <= sizeof(w); i += 16)
			needle_add(s, kind, w + i, 16);
		needle_swap(w, sizeof(w));
	}
}

/* Count what lies in @text; a find that needs more than @text has is left for the next call. */
static inline void needles_find(const struct needles *s, struct span text,
				uint64_t counts[static KINDS_MAX])
{
	for (size_t i = 0; i + WINDOW <= text.len; i++) {
		const uint8_t *p = text.data + i;

		if (!s->begins[needle_index(p)])
			continue;
		for (size_t j = 0; j < s->n; j++)
			if (s->v[j].len <= text.len - i &&
			    memcmp(p, s->v[j].bytes, s->v[j].len) == 0)
				counts[s->v[j].kind]++;
	}
}

#endif
