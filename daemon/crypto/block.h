/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to single 16-byte blocks of secrets once a message, a few instructions each. Calls
 * through explicit_bzero() or a loop over bytes cost more than the GHASH of a small message.
 *
 * Both functions end in an empty assembly statement, which gcc and clang may not look through: it
 * takes the memory for read, so the zeros before it must be stored, and takes the difference for
 * changed, so no comparison can stop early.
 */
#ifndef KEKD_CRYPTO_BLOCK_H
#define KEKD_CRYPTO_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <kekd/limits.h>

/* Overwrite a block with zeros in a way the compiler keeps: secmem_wipe() of 16 bytes. */
static inline void block_wipe(uint8_t block[static KEKD_AES_BLOCK])
{
	memset(block, 0, KEKD_AES_BLOCK);
	__asm__ volatile("" : : "r"(block) : "memory");
}

/* Constant-time comparison: ct_equal() of 16 bytes. */
static inline bool block_equal(const uint8_t a[static KEKD_AES_BLOCK],
			       const uint8_t b[static KEKD_AES_BLOCK])
{
	uint64_t x[2], y[2], diff;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	diff = (x[0] ^ y[0]) | (x[1] ^ y[1]);
	__asm__ volatile("" : "+r"(diff));
	return diff == 0;
}

#endif
