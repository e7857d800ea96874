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
 * The engine does not know where a key lives. A backend (<kekd/backend.h>) encrypts or decrypts
 * blocks under a key it was given: `kernel` through an op socket, `openssl` in this process. How
 * an engine and its keys are made: daemon/crypto/engine.h.
 *
 * Rules
 * - A job's callback runs from engine_flush(), from nowhere else. It may submit (the same job too),
 *   cancel, and remove keys.
 * - Buffers of a job are borrowed until its callback has run. They must be locked memory, and so
 *   must the job itself: a large one keeps E_K(J0) between two runs.
 * - An IV that the engine draws (draw_iv) comes from the kernel's generator in the very flush in which the
 *   first block under it is encrypted: one request for all messages of the run, of as many bytes as they
 *   need. A random 96-bit nonce serves for at most 2^32 messages under one key (SP 800-38D §8.3): whoever
 *   writes in bulk has to rotate in time.
 * - Decryption: the tag is compared, in constant time, before the first byte of plaintext exists.
 * - Every job completes exactly once. engine_cancel() makes that happen with -ECANCELED, after the
 *   kernel has let go of what it was given.
 * - A key may be removed at any time: its queued jobs end with -EKEYREVOKED.
 * - Keys, directions and messages take turns, and a message of a few blocks does not wait for large
 *   ones of its key (daemon/crypto/engine.c).
 * - The engine has no timer. It looks at deadlines when it builds runs and when a key has no room;
 *   whoever sets a deadline wakes the loop for it.
 */
#ifndef KEKD_ENGINE_H
#define KEKD_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include <kekd/limits.h>
#include <kekd/list.h>
#include <kekd/span.h>

struct engine;
struct engine_key;
struct engine_job;

enum engine_mode {
	ENGINE_GCM_SEAL,    /* in → out, tag[] written */
	ENGINE_GCM_OPEN,    /* in → out if tag[] holds, otherwise -EBADMSG and out untouched */
	ENGINE_CBC_ENCRYPT, /* whole blocks; padding is the caller's (crypto/pkcs7) */
	ENGINE_CBC_DECRYPT,
	ENGINE_MODES,
};

/*
 * 0, -EBADMSG (tag), -EKEYREVOKED (key removed), -ECANCELED, -ETIME (deadline), -EIO (the backend
 * failed twice), or another error of the backend. After an error out holds nothing of use: it is
 * untouched, or part of what it would have become.
 */
typedef void engine_done_fn(struct engine_job *job, int r);

/* Zeroed before its first use. */
struct engine_job {
	/* Set by the caller, unchanged until done. */
	struct engine_key *key; /* borrowed; may be removed meanwhile */
	enum engine_mode mode;
	uint8_t iv[KEKD_AES_BLOCK]; /* GCM: the first 12 bytes; CBC: 16 */
	bool draw_iv;               /* seal, encrypt: the engine does, and done finds it in iv */
	struct span aad;            /* GCM only */
	struct span in;
	uint8_t *out; /* in.len bytes; in.data itself is fine (in place), another overlap is not */
	uint8_t tag[KEKD_GCM_TAG];
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	engine_done_fn *done;

	/* Private to the engine. */
	struct {
		struct list link;
		uint32_t todo, done, take; /* blocks: in all, answered, in the run that flies */
		int result;
		uint8_t state;
		uint8_t draw; /* bytes of an IV that the first run draws */
		bool cancelled, retried;
		uint8_t chain[KEKD_AES_BLOCK]; /* CBC: last ciphertext block; GCM: E_K(J0) */
		uint8_t hash[KEKD_AES_BLOCK];  /* GCM seal: GHASH so far */
	} priv;
};

/*
 * Queue @job; borrowed until done. Errors, after which done will not follow: -ENOBUFS the queue is
 * full, -EINVAL impossible (CBC length, overlap), -EMSGSIZE longer than KEKD_VALUE_MAX, -EKEYREVOKED
 * the key is being removed, -EBUSY the job is under way.
 */
int engine_submit(struct engine *engine, struct engine_job *job);

/*
 * End @job with -ECANCELED as soon as nothing in flight refers to it; done follows from a later
 * flush. A job that has already ended, its callback still due, keeps its result. Nothing happens to
 * a job that is not under way.
 */
void engine_cancel(struct engine *engine, struct engine_job *job);

/*
 * End of a turn: run the callbacks that are due, build runs from everything queued and start them.
 * True if there is more to do at once, which no completion will announce: the caller turns its loop
 * without waiting and flushes again. One flush is bounded (ENGINE_TURN_BLOCKS), whatever is queued.
 */
bool engine_flush(struct engine *engine);

/* Runs are counted by their blocks: up to 4, 16, 64, 256, 1024, 4096, and a last class of more. */
#define ENGINE_RUN_SIZES 7

static inline unsigned int engine_run_size(size_t i)
{
	return 4U << (2 * i);
}

struct engine_stats {
	uint64_t jobs, runs, blocks; /* completed */
	uint64_t errors;             /* jobs that failed for another reason than their tag */
	uint64_t run_sizes[ENGINE_RUN_SIZES];
	uint64_t broken; /* runs that ended with -EIO: an op socket was replaced */
	uint32_t queued; /* jobs under way now */
};
void engine_stats(const struct engine *engine, struct engine_stats *ret);

#endif
