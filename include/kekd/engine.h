/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: many small AES-GCM and AES-CBC messages, few kernel crossings.
 *
 * A KMS message is 32 bytes; one AF_ALG operation costs far more than its three AES blocks. GCM
 * needs the cipher only as E_K of counter blocks, and blocks of different messages do not depend
 * on each other. So jobs of one key are collected during a turn of the event loop, their blocks
 * are laid side by side, and engine_flush() sends them through the cipher as one run. XOR, GHASH
 * and the tag are finished here. Nobody ever waits for company: a lone job is a run of one.
 *
 * The engine does not know where a key lives. A backend (<kekd/backend.h>) encrypts or decrypts blocks under
 * a key it was given: `kernel` through an op socket, `openssl` in this process.
 *
 * Rules
 * - engine_submit() never completes a job; its callback runs later, from engine_flush() or from the ring.
 * - Buffers of a job are borrowed until its callback has run. They must be locked memory.
 * - Decryption: the tag is compared, in constant time, before the first byte of plaintext exists.
 * - Every job completes exactly once. engine_cancel() makes that happen with -ECANCELED, after the
 *   kernel has let go of what it was given.
 * - A key may be removed at any time: its queued jobs end with -EKEYREVOKED.
 */
#ifndef KEKD_ENGINE_H
#define KEKD_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "kekd/limits.h"
#include "kekd/list.h"
#include "kekd/span.h"

struct engine;
struct engine_key;
struct engine_job;

enum engine_mode {
	ENGINE_GCM_SEAL,    /* in → out, tag[] written */
	ENGINE_GCM_OPEN,    /* in → out if tag[] holds, otherwise -EBADMSG and out untouched */
	ENGINE_CBC_ENCRYPT, /* whole blocks; padding is the caller's (crypto/pkcs7) */
	ENGINE_CBC_DECRYPT,
};

/*
 * 0, -EBADMSG (tag), -EKEYREVOKED (key removed), -ECANCELED, -ETIME (deadline), -EIO (the kernel
 * failed twice).
 */
typedef void engine_done_fn(struct engine_job *job, int r);

struct engine_job {
	/* Set by the caller, unchanged until done. */
	struct engine_key *key; /* borrowed; may be removed meanwhile */
	enum engine_mode mode;
	uint8_t iv[KEKD_AES_BLOCK]; /* GCM: the first 12 bytes; CBC: 16 */
	struct span aad;            /* GCM only */
	struct span in;
	uint8_t *out; /* in.len bytes; in.data itself is fine (in place) */
	uint8_t tag[KEKD_GCM_TAG];
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	engine_done_fn *done;

	/* Private to the engine. */
	struct {
		struct list link;
		uint32_t done, todo; /* blocks */
		uint8_t state;
		bool cancelled, tag_held;
		uint8_t chain[KEKD_AES_BLOCK]; /* CBC: last ciphertext block; GCM: E_K(J0) */
	} priv;
};

/* Queue @job; borrowed until done. -ENOBUFS when the queue is full, -EINVAL for impossible lengths. */
int engine_submit(struct engine *engine, struct engine_job *job);

/* End @job with -ECANCELED as soon as nothing in flight refers to it. */
void engine_cancel(struct engine *engine, struct engine_job *job);

/* End of a turn: build runs from everything queued and start them. */
void engine_flush(struct engine *engine);

struct engine_stats {
	uint64_t jobs, runs, blocks; /* completed */
	uint64_t errors;             /* jobs that failed for another reason than their tag */
	uint64_t replaced;           /* op sockets closed after a failed operation */
	uint32_t queued;             /* now */
};
void engine_stats(const struct engine *engine, struct engine_stats *ret);

#endif
