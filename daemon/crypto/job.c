/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four modes, each a row of one table. A message that is answered by one run, as almost all are,
 * leaves nothing of the key in its job.
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

#include "daemon/base/cleanup.h"
#include "daemon/crypto/block.h"
#include "daemon/crypto/cbc.h"
#include "daemon/crypto/gcm.h"
#include "daemon/crypto/xor.h"

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

/* A piece of a message whose tag needs more than one run: the hash so far stays in the job. */
static void gcm_seal_piece(struct engine_job *job, struct ghash_key *h, const uint8_t *blocks,
			   size_t n)
{
	if (job->priv.done == 0) {
		memcpy(job->priv.chain, blocks, KEKD_AES_BLOCK);
		gcm_hash_aad(h, job->aad, job->priv.hash);
	}
	gcm_hash_text(h, job->priv.hash, gcm_mask(job, blocks, n));
	if (job->priv.done + n == job->priv.todo)
		gcm_tag(h, job->priv.hash, job->aad.len, job->in.len, job->priv.chain, job->tag);
}

/* The whole text, if all blocks of the message are there. */
static void gcm_mask_whole(struct engine_job *job, const uint8_t *blocks)
{
	xor_bytes(job->out, job->in.data, blocks + KEKD_AES_BLOCK, job->in.len);
}

static int gcm_seal_absorb(struct engine_job *job, struct ghash_key *h, const uint8_t *blocks,
			   size_t n)
{
	if (n < job->priv.todo) {
		gcm_seal_piece(job, h, blocks, n);
		return 0;
	}
	gcm_mask_whole(job, blocks);
	gcm_tag_whole(h, job->aad, span_of(job->out, job->in.len), blocks, job->tag);
	return 0;
}

static bool gcm_tag_holds(const struct engine_job *job, struct ghash_key *h,
			  const uint8_t ekj0[static KEKD_AES_BLOCK])
{
	uint8_t tag[KEKD_GCM_TAG];
	bool holds;

	gcm_tag_whole(h, job->aad, job->in, ekj0, tag);
	holds = block_equal(tag, job->tag);
	block_wipe(tag); /* the right tag of a forged message */
	return holds;
}

static int gcm_open_absorb(struct engine_job *job, struct ghash_key *h, const uint8_t *blocks,
			   size_t n)
{
	if (job->priv.done == 0 && !gcm_tag_holds(job, h, blocks))
		return -EBADMSG;
	if (n < job->priv.todo)
		gcm_mask(job, blocks, n);
	else
		gcm_mask_whole(job, blocks);
	return 0;
}

static void cbc_encrypt_fill(const struct engine_job *job, _unused_ size_t n, uint8_t *ret_blocks)
{
	cbc_encrypt_input(job->priv.chain, job->in.data + job->priv.done * (size_t)KEKD_AES_BLOCK,
			  ret_blocks);
}

static int cbc_encrypt_absorb(struct engine_job *job, _unused_ struct ghash_key *h,
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

static int cbc_decrypt_absorb(struct engine_job *job, _unused_ struct ghash_key *h,
			      const uint8_t *blocks, size_t n)
{
	size_t off = job->priv.done * (size_t)KEKD_AES_BLOCK;

	cbc_decrypt_output(job->priv.chain, job->in.data + off, blocks, n, job->out + off);
	return 0;
}

const struct job_mode job_modes[ENGINE_MODES] = {
	[ENGINE_GCM_SEAL] = { .fill = gcm_fill, .absorb = gcm_seal_absorb },
	[ENGINE_GCM_OPEN] = { .fill = gcm_fill, .absorb = gcm_open_absorb },
	[ENGINE_CBC_ENCRYPT] = { .fill = cbc_encrypt_fill, .absorb = cbc_encrypt_absorb },
	[ENGINE_CBC_DECRYPT] = { .fill = cbc_decrypt_fill, .absorb = cbc_decrypt_absorb },
};

static int job_check(const struct engine_job *job)
{
	uintptr_t in = (uintptr_t)job->in.data, out = (uintptr_t)job->out;

	if ((unsigned int)job->mode >= ENGINE_MODES)
		return -EINVAL;
	if (job->in.len > KEKD_VALUE_MAX || job->aad.len > KEKD_VALUE_MAX)
		return -EMSGSIZE;
	if (!job_is_gcm(job) && job->in.len % KEKD_AES_BLOCK != 0)
		return -EINVAL;
	if (job->draw_iv && job->mode != ENGINE_GCM_SEAL && job->mode != ENGINE_CBC_ENCRYPT)
		return -EINVAL;
	/* In place is fine; text that runs into itself at another place is not. */
	if (in != out && in < out + job->in.len && out < in + job->in.len)
		return -EINVAL;
	return 0;
}

int job_begin(struct engine_job *job)
{
	size_t text = (job->in.len + KEKD_AES_BLOCK - 1) / KEKD_AES_BLOCK;
	int r = job_check(job);

	if (r < 0)
		return r;
	job->priv.todo = (uint32_t)(text + (job_is_gcm(job) ? 1 : 0));
	job->priv.done = 0;
	job->priv.take = 0;
	job->priv.draw = 0;
	if (job->draw_iv)
		job->priv.draw = job_is_gcm(job) ? KEKD_GCM_NONCE : KEKD_AES_BLOCK;
	job->priv.cancelled = false;
	job->priv.retried = false;
	memcpy(job->priv.chain, job->iv, KEKD_AES_BLOCK);
	return 0;
}
