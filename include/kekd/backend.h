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

#include "kekd/list.h"

struct block_key;
struct block_run;

enum block_dir { BLOCK_ENCRYPT, BLOCK_DECRYPT };

/*
 * r: 0, or -errno after which the run's output is undefined. -EIO: the operation broke, the
 * backend replaced its socket, the run may be started again.
 */
typedef void block_done_fn(struct block_run *run, int r);

/* One run. Owned by the engine; buffers are locked memory, 16-byte aligned, borrowed until done. */
struct block_run {
	const uint8_t *in;
	uint8_t *out;  /* may equal in */
	size_t blocks; /* 1 … KEKD_RUN_BLOCKS_MAX */
	enum block_dir dir;
	block_done_fn *done;
	struct list link; /* private to the backend */
};

struct block_key_ops {
	const char *name; /* "kernel", "openssl" */
	/*
	 * Start @run; done is called later, never from inside. -EBUSY when this key has as many
	 * runs in flight as it can (ask again after one is done); otherwise 0.
	 */
	int (*start)(struct block_key *key, struct block_run *run);
	/* Free the key. No run may be in flight. */
	void (*free)(struct block_key *key);
};

/* First member of each backend's key type. */
struct block_key {
	const struct block_key_ops *ops;
};

#endif
