/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that look random and are the same in every run: xorshift64* (Marsaglia 2003, Vigna 2014).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct prng {
	uint64_t state; /* not zero */
};

static inline uint32_t prng_u32(struct prng *p)
{
	p->state ^= p->state >> 12;
	p->state ^= p->state << 25;
	p->state ^= p->state >> 27;
	return (uint32_t)((p->state * 0x2545f4914f6cdd1d) >> 32);
}

/* 0 … n - 1 */
static inline uint32_t prng_below(struct prng *p, uint32_t n)
{
	return prng_u32(p) % n;
}

static inline void prng_bytes(struct prng *p, void *out, size_t len)
{
	uint8_t *b = out;

	while (len-- > 0)
		*b++ = (uint8_t)prng_u32(p);
}
