/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks, in a guest that counts instructions (QEMU -icount shift=0), that CLOCK_MONOTONIC's
 * nanoseconds are instructions: a loop of a known number of instructions takes that many
 * nanoseconds, within a few per cent for timer interrupts and for the clock's calibration.
 *
 * The loop is two instructions of assembly, so its length does not depend on the compiler.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define ROUNDS              10000000
#define INSTRUCTIONS        (2 * (uint64_t)ROUNDS)
#define TOLERATED_PER_CENT  5
#define NANOSECONDS_PER_SEC 1000000000ULL

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NANOSECONDS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void loop(uint64_t rounds)
{
	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(rounds) : : "cc");
}

int main(void)
{
	uint64_t begun, took, slack = INSTRUCTIONS * TOLERATED_PER_CENT / 100;

	begun = now();
	loop(ROUNDS);
	took = now() - begun;
	printf("%llu instructions took %llu ns\n", (unsigned long long)INSTRUCTIONS,
	       (unsigned long long)took);
	return took < INSTRUCTIONS - slack || took > INSTRUCTIONS + slack;
}
