/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider aescbc: "k8s:enc:aescbc:v1:NAME:" IV 16 ‖ AES-CBC of the value with the padding of
 * RFC 5652, the apiserver's bytes (storage/value/encrypt/aes/aes.go).
 *
 * There is no MAC, so a changed value can open as another one, and the etcd key is not bound. With a wrong key
 * one value in 256 has a padding that fits: what then comes out is an object of Kubernetes or is doubtful. It is
 * here to read what is stored and to leave it. What can be had is that nothing is learnt from a
 * failure: every kind of bad padding gives -EBADMSG, after the same work (crypto/pkcs7).
 *
 * Not for KMS purposes, which need authenticated encryption.
 */
#include <errno.h>
#include <string.h>

#include "daemon/chain/codec.h"
#include "daemon/chain/keyed.h"
#include "daemon/chain/providers.h"
#include "daemon/crypto/pkcs7.h"

#define PREFIX CODEC_ENC "aescbc:v1:"

static size_t aescbc_overhead(const struct provider *p _unused_)
{
	return strlen(PREFIX) + KEKD_LABEL_MAX + 1 + 2 * KEKD_AES_BLOCK;
}

static void aescbc_done(struct engine_job *job, int r)
{
	struct op *op = container_of(job, struct op, job);

	if (r == 0 && job->mode == ENGINE_CBC_DECRYPT) {
		r = pkcs7_unpad(job->out, job->in.len, &op->out_len);
		op->doubtful =
			r == 0 && codec_form_of(span_of(op->out, op->out_len)) == CODEC_NO_OBJECT;
	} else if (r == 0)
		memcpy(job->out - KEKD_AES_BLOCK, job->iv, KEKD_AES_BLOCK);
	op->done(op, r);
}

static int aescbc_encrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k = NULL;
	size_t head, padded;
	int r;

	if (op->purpose != OP_STORAGE)
		return -EOPNOTSUPP;
	r = keyed_writer(g, &k);
	if (r < 0)
		return r;
	if (op->in.len >= KEKD_VALUE_MAX) /* padded it would be more */
		return -EMSGSIZE;
	head = codec_prefix_len(PREFIX, span_str(k->info.label)) + KEKD_AES_BLOCK;
	padded = pkcs7_padded(op->in.len);
	if (op->out_cap < head + padded)
		return -EMSGSIZE;

	codec_prefix_put(op->out, PREFIX, span_str(k->info.label));
	if (op->in.len > 0)
		memcpy(op->out + head, op->in.data, op->in.len);
	pkcs7_pad(op->out + head, op->in.len);
	op->out_len = head + padded;
	op->stale = false;
	op->job.mode = ENGINE_CBC_ENCRYPT;
	op->job.draw_iv = true;
	op->job.aad = SPAN_NULL;
	op->job.in = span_of(op->out + head, padded);
	op->job.out = op->out + head;
	r = keyed_submit(g, op, k, aescbc_done);
	if (r == 0)
		k->encryptions++;
	return r;
}

static int aescbc_decrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k;
	struct span body;
	int r;

	r = keyed_reader(g, op, &k, &body);
	if (r < 0)
		return r;
	if (body.len < 2 * KEKD_AES_BLOCK || body.len % KEKD_AES_BLOCK != 0)
		return -EINVAL;
	memcpy(op->job.iv, body.data, KEKD_AES_BLOCK);
	op->job.mode = ENGINE_CBC_DECRYPT;
	op->job.draw_iv = false;
	op->job.aad = SPAN_NULL;
	op->job.in = span_skip(body, KEKD_AES_BLOCK);
	if (op->job.in.len > op->out_cap)
		return -EMSGSIZE;
	op->job.out = op->out;
	op->stale = keyed_is_stale(g, k);
	r = keyed_submit(g, op, k, aescbc_done);
	if (r == 0)
		k->decryptions++;
	return r;
}

static const struct provider_ops aescbc_ops = {
	.kind = "aescbc",
	.prefix = PREFIX,
	.overhead = aescbc_overhead,
	.match = keyed_match,
	.candidates = keyed_candidates,
	.encrypt = aescbc_encrypt,
	.decrypt = aescbc_decrypt,
	.key_id = keyed_no_key_id,
	.free = keyed_free,
};

int provider_aescbc_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret)
{
	return keyed_new(&aescbc_ops, e, env, ret);
}
