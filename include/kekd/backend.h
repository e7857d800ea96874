/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cipher backend: AES on independent blocks under a key that it holds, nothing else.
 *
 * The modes (GCM, CBC) are finished by the engine from these blocks, so a backend is a few lines
 * and all of them run the same vectors through the same code (tests/unit/engine.c).
 *
 * "Independent blocks" is what the kernel calls ecb(aes). It is never used as a mode of operation
 * on messages: the blocks are unique counter blocks (GCM, SP 800-38D §6.5) or ciphertext blocks
 * chained by XOR afterwards (CBC, SP 800-38A §6.2). See kmod-notes/af_alg.md.
 */
#ifndef KEKD_BACKEND_H
#define KEKD_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kekd/list.h>

struct block_defer;
struct block_key;
struct block_run;

enum block_dir { BLOCK_ENCRYPT, BLOCK_DECRYPT };

/*
 * @r: 0, or -errno after which the run's output is undefined. -EIO: the operation broke and the
 * backend replaces its socket; the engine makes the run anew. Any other error ends the run's jobs.
 * The backend has let go of both buffers.
 */
typedef void block_done_fn(struct block_run *run, int r);

/* One run. Owned by the engine; buffers are locked memory, 16-byte aligned, borrowed until done. */
struct block_run {
	const uint8_t *in;
	uint8_t *out;  /* may equal in */
	size_t blocks; /* 1 … KEKD_RUN_BLOCKS_MAX */
	enum block_dir dir;
	block_done_fn *done;
	/*
	 * Not NULL: nothing else is in flight or about to be. A backend for which an answer at once
	 * is cheaper than one through the loop makes it in start and leaves it here; borrowed.
	 */
	struct block_defer *alone;

	/* Private to the backend from start to done. */
	struct list link;
	int result;
};

struct block_key_ops {
	const char *name; /* "kernel", "openssl" */
	/*
	 * How many more runs this key takes now: 0 while all of its sockets are busy or being
	 * replaced. Asked before a run is built, and again at every flush, so that room which
	 * appears by itself (a new socket) is noticed.
	 */
	unsigned int (*room)(const struct block_key *key);
	/*
	 * Start @run while there is room. 0: done is called once, later, never from inside.
	 * -errno, as for done: it did not start and done is not called.
	 */
	int (*start)(struct block_key *key, struct block_run *run);
	/* Free the key. No run may be in flight. */
	void (*free)(struct block_key *key);
};

/* First member of each backend's key type. */
struct block_key {
	const struct block_key_ops *ops;
	uint32_t blocks_max; /* of the next run, at least 2; 0: as many as there are */
};

/*
 * Where a backend that has its answer at once leaves it, as done must not be called from start.
 * The engine owns one (engine_defer()) and empties it after it has started all runs of a flush, so
 * no answer waits for an event that never comes.
 */
struct block_defer {
	struct list runs;
};

static inline void block_run_defer(struct block_defer *defer, struct block_run *run, int r)
{
	run->result = r;
	list_add_tail(&defer->runs, &run->link);
}

#endif
