/* SPDX-License-Identifier: Apache-2.0 */
/* An open-addressed table, at most half full. See seen.h. */
#include "daemon/dump/seen.h"

#include <errno.h>
#include <sodium.h>

#include "daemon/base/random.h"

struct hash {
	uint64_t lo, hi; /* both zero: an empty place */
};

struct seen {
	uint8_t key[crypto_shorthash_siphashx24_KEYBYTES];
	size_t mask, n, max;
	struct hash *places;
};

int seen_new(size_t max, struct seen **ret)
{
	_cleanup_(seen_freep) struct seen *s = calloc(1, sizeof(*s));
	size_t size = 16;
	int r;

	if (!s || max > SIZE_MAX / 64)
		return -ENOMEM;
	while (size < 2 * max)
		size *= 2;
	s->places = calloc(size, sizeof(*s->places));
	if (!s->places)
		return -ENOMEM;
	s->mask = size - 1;
	s->max = max;
	r = random_bytes(s->key, sizeof(s->key));
	if (r < 0)
		return r;
	*ret = move_ptr(s);
	return 0;
}

void seen_free(struct seen *s)
{
	if (!s)
		return;
	free(s->places);
	free(s);
}

static struct hash hash_of(const struct seen *s, struct span key)
{
	struct hash h;

	_Static_assert(sizeof(h) == crypto_shorthash_siphashx24_BYTES, "one hash");
	crypto_shorthash_siphashx24((unsigned char *)&h, key.data, key.len, s->key);
	if (h.lo == 0 && h.hi == 0)
		h.lo = 1;
	return h;
}

size_t seen_part(const struct seen *s, struct span key, size_t parts)
{
	return (size_t)(hash_of(s, key).hi % parts);
}

int seen_add(struct seen *s, struct span key, bool *ret_new)
{
	struct hash h = hash_of(s, key);
	size_t i = (size_t)h.lo & s->mask;

	for (; s->places[i].lo != 0 || s->places[i].hi != 0; i = (i + 1) & s->mask) {
		if (s->places[i].lo == h.lo && s->places[i].hi == h.hi) {
			*ret_new = false;
			return 0;
		}
	}
	if (s->n == s->max)
		return -ENOBUFS;
	s->places[i] = h;
	s->n++;
	*ret_new = true;
	return 0;
}

void seen_clear(struct seen *s)
{
	memset(s->places, 0, (s->mask + 1) * sizeof(*s->places));
	s->n = 0;
}
