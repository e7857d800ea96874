/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message as a sequence of cipher blocks: which blocks to ask for next, and what to do with the
 * answers. No queue, no key, no time; the engine decides how many blocks a job gets in a run.
 *
 * A job has at most one piece in flight. job_fill() changes nothing, so a piece that failed is
 * simply asked for again; job_absorb() is the only step forward.
 */
#ifndef KEKD_CRYPTO_JOB_H
#define KEKD_CRYPTO_JOB_H

#include "daemon/crypto/block.h"
#include "daemon/crypto/ghash.h"
#include <kekd/backend.h>
#include <kekd/engine.h>

/* Set up priv for a message of which no block is done. -EINVAL, -EMSGSIZE: as engine_submit() says. */
int job_begin(struct engine_job *job);

static inline enum block_dir job_dir(const struct engine_job *job)
{
	return job->mode == ENGINE_CBC_DECRYPT ? BLOCK_DECRYPT : BLOCK_ENCRYPT;
}

/* Bytes that must be drawn before the job's first blocks are asked for. */
static inline size_t job_draws(const struct engine_job *job)
{
	return job->priv.done == 0 ? job->priv.draw : 0;
}

/* They are @iv. A job that has to begin anew gets others. */
static inline void job_begin_with(struct engine_job *job, const uint8_t *iv)
{
	if (job->priv.draw == KEKD_GCM_NONCE) {
		memcpy(job->iv, iv, KEKD_GCM_NONCE);
	} else {
		memcpy(job->iv, iv, KEKD_AES_BLOCK);
		memcpy(job->priv.chain, iv, KEKD_AES_BLOCK);
	}
}

/* If so, job_absorb() needs H, and the run fetches it. */
static inline bool job_is_gcm(const struct engine_job *job)
{
	return job->mode == ENGINE_GCM_SEAL || job->mode == ENGINE_GCM_OPEN;
}

/* Most blocks that may be asked for now; 0 when the message is complete. */
static inline uint32_t job_want(const struct engine_job *job)
{
	uint32_t rest = job->priv.todo - job->priv.done;

	return rest > 1 && job->mode == ENGINE_CBC_ENCRYPT ? 1 : rest;
}

/* What a mode does with at least one block; job_fill() and job_absorb() are how to ask for it. */
struct job_mode {
	void (*fill)(const struct engine_job *job, size_t n, uint8_t *ret_blocks);
	int (*absorb)(struct engine_job *job, struct ghash_key *h, const uint8_t *blocks, size_t n);
};
extern const struct job_mode job_modes[ENGINE_MODES];

/* Write the next @n blocks to ask for, @n ≤ job_want(). */
static inline void job_fill(const struct engine_job *job, size_t n, uint8_t *ret_blocks)
{
	if (n > 0)
		job_modes[job->mode].fill(job, n, ret_blocks);
}

/*
 * Take the answers to what job_fill() asked. -EBADMSG: the tag does not hold, nothing was written.
 * @h may be NULL unless job_is_gcm().
 */
static inline int job_absorb(struct engine_job *job, struct ghash_key *h, const uint8_t *blocks,
			     size_t n)
{
	int r = n > 0 ? job_modes[job->mode].absorb(job, h, blocks, n) : 0;

	if (r == 0)
		job->priv.done += (uint32_t)n;
	return r;
}

/* Wipe what priv holds of the key and the message. */
static inline void job_forget(struct engine_job *job)
{
	block_wipe(job->priv.chain);
	block_wipe(job->priv.hash);
}

#endif
