/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four modes, each a row of one table.
 *
 * GCM blocks are numbered as in gcm.h: 0 masks the tag, i ≥ 1 masks the i-th 16 bytes of text. Both
 * directions are keystream, so both encrypt. Opening needs E_K(J0) and the whole ciphertext for the
 * tag, and both are there with the first piece: it is checked then, before any keystream is used.
 *
 * CBC encryption asks for one block at a time, as the next depends on the answer. Across messages
 * the engine still lays such blocks side by side, in lock-step.
 */
#include "daemon/crypto/job.h"

#include <errno.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/cbc.h"
#include "daemon/crypto/gcm.h"
#include "daemon/crypto/xor.h"

struct job_mode {
	enum block_dir dir;
	bool gcm;
	bool chained; /* one block at a time */
	void (*fill)(const struct engine_job *job, size_t n, uint8_t *ret_blocks);
	int (*absorb)(struct engine_job *job, const struct ghash_key *h, const uint8_t *blocks,
		      size_t n);
};

static void gcm_fill(const struct engine_job *job, size_t n, uint8_t *ret_blocks)
{
	gcm_counters(job->iv, job->priv.done, n, ret_blocks);
}

/* XOR the text that blocks number priv.done … + n - 1 mask. Returns that part of out. */
static struct span gcm_mask(struct engine_job *job, const uint8_t *blocks, size_t n)
{
	size_t first = job->priv.done, off, len;

	if (first == 0) {
		blocks += KEKD_AES_BLOCK;
		first = 1;
		n--;
	}
	off = (first - 1) * KEKD_AES_BLOCK;
	len = n * KEKD_AES_BLOCK;
	if (len > job->in.len - off)
		len = job->in.len - off;
	if (len == 0)
		return SPAN_NULL;
	xor_bytes(job->out + off, job->in.data + off, blocks, len);
	return span_of(job->out + off, len);
}

static int gcm_seal_absorb(struct engine_job *job, const struct ghash_key *h, const uint8_t *blocks,
			   size_t n)
{
	if (job->priv.done == 0) {
		memcpy(job->priv.chain, blocks, KEKD_AES_BLOCK);
		gcm_hash_aad(h, job->aad, job->priv.hash);
	}
	gcm_hash_text(h, job->priv.hash, gcm_mask(job, blocks, n));
	if (job->priv.done + n == job->priv.todo)
		gcm_tag(h, job->priv.hash, job->aad.len, job->in.len, job->priv.chain, job->tag);
	return 0;
}

static bool gcm_tag_holds(const struct engine_job *job, const struct ghash_key *h,
			  const uint8_t ekj0[static KEKD_AES_BLOCK])
{
	uint8_t y[KEKD_AES_BLOCK], tag[KEKD_GCM_TAG];
	bool holds;

	gcm_hash_aad(h, job->aad, y);
	gcm_hash_text(h, y, job->in);
	gcm_tag(h, y, job->aad.len, job->in.len, ekj0, tag);
	holds = ct_equal(tag, job->tag, sizeof(tag));
	secmem_wipe(tag, sizeof(tag));
	secmem_wipe(y, sizeof(y));
	return holds;
}

static int gcm_open_absorb(struct engine_job *job, const struct ghash_key *h, const uint8_t *blocks,
			   size_t n)
{
	if (job->priv.done == 0 && !gcm_tag_holds(job, h, blocks))
		return -EBADMSG;
	gcm_mask(job, blocks, n);
	return 0;
}

static void cbc_encrypt_fill(const struct engine_job *job, _unused_ size_t n, uint8_t *ret_blocks)
{
	cbc_encrypt_input(job->priv.chain, job->in.data + job->priv.done * (size_t)KEKD_AES_BLOCK,
			  ret_blocks);
}

static int cbc_encrypt_absorb(struct engine_job *job, _unused_ const struct ghash_key *h,
			      const uint8_t *blocks, _unused_ size_t n)
{
	cbc_encrypt_output(job->priv.chain, blocks,
			   job->out + job->priv.done * (size_t)KEKD_AES_BLOCK);
	return 0;
}

static void cbc_decrypt_fill(const struct engine_job *job, size_t n, uint8_t *ret_blocks)
{
	memcpy(ret_blocks, job->in.data + job->priv.done * (size_t)KEKD_AES_BLOCK,
	       n * KEKD_AES_BLOCK);
}

static int cbc_decrypt_absorb(struct engine_job *job, _unused_ const struct ghash_key *h,
			      const uint8_t *blocks, size_t n)
{
	size_t off = job->priv.done * (size_t)KEKD_AES_BLOCK;

	cbc_decrypt_output(job->priv.chain, job->in.data + off, blocks, n, job->out + off);
	return 0;
}

static const struct job_mode job_modes[ENGINE_MODES] = {
	[ENGINE_GCM_SEAL] = { .gcm = true, .fill = gcm_fill, .absorb = gcm_seal_absorb },
	[ENGINE_GCM_OPEN] = { .gcm = true, .fill = gcm_fill, .absorb = gcm_open_absorb },
	[ENGINE_CBC_ENCRYPT] = { .chained = true,
				 .fill = cbc_encrypt_fill,
				 .absorb = cbc_encrypt_absorb },
	[ENGINE_CBC_DECRYPT] = { .dir = BLOCK_DECRYPT,
				 .fill = cbc_decrypt_fill,
				 .absorb = cbc_decrypt_absorb },
};

static const struct job_mode *job_mode(const struct engine_job *job)
{
	return &job_modes[job->mode];
}

/* In place is fine; text that runs into itself at another place is not. */
static bool job_overlaps(const struct engine_job *job)
{
	uintptr_t in = (uintptr_t)job->in.data, out = (uintptr_t)job->out;
	uintptr_t apart = in < out ? out - in : in - out;

	return apart != 0 && apart < job->in.len;
}

int job_check(const struct engine_job *job)
{
	if ((unsigned int)job->mode >= ENGINE_MODES)
		return -EINVAL;
	if (job->in.len > KEKD_VALUE_MAX || job->aad.len > KEKD_VALUE_MAX)
		return -EMSGSIZE;
	if (!job_mode(job)->gcm && job->in.len % KEKD_AES_BLOCK != 0)
		return -EINVAL;
	return job_overlaps(job) ? -EINVAL : 0;
}

void job_begin(struct engine_job *job)
{
	size_t text = (job->in.len + KEKD_AES_BLOCK - 1) / KEKD_AES_BLOCK;

	job->priv.todo = (uint32_t)(text + (job_mode(job)->gcm ? 1 : 0));
	job->priv.done = 0;
	job->priv.take = 0;
	job->priv.cancelled = false;
	job->priv.retried = false;
	memcpy(job->priv.chain, job->iv, KEKD_AES_BLOCK);
}

enum block_dir job_dir(const struct engine_job *job)
{
	return job_mode(job)->dir;
}

bool job_needs_h(const struct engine_job *job)
{
	return job_mode(job)->gcm;
}

uint32_t job_want(const struct engine_job *job)
{
	uint32_t rest = job->priv.todo - job->priv.done;

	return rest > 1 && job_mode(job)->chained ? 1 : rest;
}

void job_fill(const struct engine_job *job, size_t n, uint8_t *ret_blocks)
{
	if (n > 0)
		job_mode(job)->fill(job, n, ret_blocks);
}

int job_absorb(struct engine_job *job, const struct ghash_key *h, const uint8_t *blocks, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	r = job_mode(job)->absorb(job, h, blocks, n);
	if (r < 0)
		return r;
	job->priv.done += (uint32_t)n;
	return 0;
}

void job_forget(struct engine_job *job)
{
	secmem_wipe(job->priv.chain, sizeof(job->priv.chain));
	secmem_wipe(job->priv.hash, sizeof(job->priv.hash));
}
