/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GHASH (NIST SP 800-38D §6.4): y ← (y ⊕ block) · H in GF(2^128), block after block.
 *
 * Implementations of one contract: carry-less multiplication, of one block (PCLMULQDQ, PMULL) or of four
 * (VPCLMULQDQ) by an instruction, and portable integer arithmetic. All take the same time for all values
 * of H, y and the data: no branch and no address depends on them. The caller picks one per key:
 * ghash_best() asks the CPU, tests force each.
 *
 * H is a secret: whoever knows it forges tags. A struct ghash_key lives in locked memory, no longer than a
 * run (engine.h), and ghash_key_forget() wipes it. So its powers are made when they pay: a message of n
 * blocks takes n multiplications anyhow, and with n powers one reduction, which is half a multiplication.
 */
#ifndef KEKD_CRYPTO_GHASH_H
#define KEKD_CRYPTO_GHASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kekd/limits.h>
#include <kekd/span.h>

/* Blocks that an implementation multiplies, at most, before it reduces once. */
#define GHASH_POWERS 16

/*
 * A field element. GCM numbers bits from the left: the coefficient of x^0 is the top bit of the
 * block's first byte. So a block read as a big-endian integer is the polynomial mirrored: bit 127 is
 * x^0, bit 0 is x^127. hi holds bits 127 … 64.
 */
struct ghash_elem {
	uint64_t lo, hi;
};

struct ghash_impl;

struct ghash_key {
	/* power[i] = H^(i+1) · x^-1. Why x^-1: see ghash_mul(). Those beyond made are zero. */
	struct ghash_elem power[GHASH_POWERS];
	unsigned int made;
	bool used; /* by a message */
	const struct ghash_impl *impl;
};

struct ghash_impl {
	const char *name;
	bool (*supported)(void);
	/* Absorb @n whole blocks at @in, of any alignment, into @y. */
	void (*update)(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], const uint8_t *in,
		       size_t n);
	/* XOR the hash of a whole message, AAD, text and lengths (SP 800-38D §7.1 step 5), to @tag. */
	void (*message)(struct ghash_key *key, struct span aad, struct span text,
			uint8_t tag[static KEKD_AES_BLOCK]);
	/* Clear what else holds parts of the key; NULL if nothing does. */
	void (*forget)(void);
};

extern const struct ghash_impl ghash_wide;  /* "vpclmul" */
extern const struct ghash_impl ghash_clmul; /* "clmul" */
extern const struct ghash_impl ghash_soft;  /* "soft" */

/* The fastest that this CPU has; never NULL. */
const struct ghash_impl *ghash_best(void);

/*
 * Make @ret, zero but for what an earlier use left after ghash_key_forget(), from @h = E_K(0). @impl must
 * be supported here, and is borrowed for ever.
 */
void ghash_key_init(struct ghash_key *ret, const uint8_t h[static KEKD_AES_BLOCK],
		    const struct ghash_impl *impl);

/* Wipe the key, and the CPU's registers of what was computed with it. */
void ghash_key_forget(struct ghash_key *key);

/* Absorb @data, its last block filled up with zeros (SP 800-38D §7.1 step 5). */
void ghash_padded(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], struct span data);
/* Absorb the last block of a message: the lengths of all AAD and text, given in bytes. */
void ghash_lengths(struct ghash_key *key, uint8_t y[static KEKD_AES_BLOCK], uint64_t aad_len,
		   uint64_t text_len);
/* ghash_impl.message by update alone. */
void ghash_message(struct ghash_key *key, struct span aad, struct span text,
		   uint8_t tag[static KEKD_AES_BLOCK]);

/*
 * a · b · x, of ghash_soft.c; also makes the powers of a key. The product of two mirrored 128-bit
 * polynomials has 255 bits and comes out one place too low in 256. Rather than shift every product
 * up, one factor carries x^-1 from the start.
 */
struct ghash_elem ghash_mul(struct ghash_elem a, struct ghash_elem b);

#endif
