/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cipher backend that does what a test wants: it takes a limited number of runs, answers when it
 * is told to and in the order it is told to, and fails on demand. Right answers come from the
 * openssl backend.
 *
 * It is as unkind as the contract allows: the input is taken when a run starts and the buffer filled
 * with garbage at once, and a failed run leaves garbage.
 */
#pragma once

#include <stdbool.h>

#include <kekd/backend.h>
#include <kekd/limits.h>

struct fake_block {
	struct block_key base;
	struct block_key *real; /* owned */
	struct block_defer answers;
	struct list flying; /* fake_flight, oldest first */
	unsigned int flights;

	/* What the test may set at any time. */
	unsigned int room;       /* runs in flight at most */
	unsigned int fail_every; /* each n-th finished run fails; 0 = none */
	int fail_with;
	bool lies;   /* right when it encrypts, wrong by one bit when it decrypts */
	int refuse;  /* start returns this, if not 0 */
	bool prompt; /* a run that is alone is answered at once */

	/* What the test may look at. */
	unsigned int started, finished;
	size_t last_blocks; /* of the run started last */
	enum block_dir last_dir;
	const uint8_t *last_out; /* its buffer; the engine's, which lives as long as it does */
	unsigned int alone;      /* runs that were offered to be answered at once */
	bool dirty;              /* a buffer was not wiped after its run */
	bool *freed;             /* set by free, if not NULL */
};

/* @len 16, 24 or 32. The result is given to engine_key_new() as &ret->base. */
int fake_block_new(const uint8_t *key, size_t len, struct fake_block **ret);

/* Answer run number @i of those in flight, oldest = 0, with @r or rightly. False if there is none. */
bool fake_block_answer(struct fake_block *fake, unsigned int i, int r);
/* Answer the oldest, or fail it when its turn has come (fail_every). */
bool fake_block_finish(struct fake_block *fake);
