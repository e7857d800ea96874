/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider aesgcm: "k8s:enc:aesgcm:v1:NAME:" nonce 12 ‖ ciphertext ‖ tag 16, the apiserver's bytes
 * (storage/value/encrypt/aes/aes.go, the random-nonce transformer).
 *
 * As a value at rest (OP_STORAGE) the AAD is the etcd key, and several keys may fit one value
 * (daemon/chain/keyed.h). For KMS purposes one key is meant and no other is tried: the key_id that
 * the apiserver hands back must name the KEK whose label the value carries, and is part of the AAD.
 *
 * The nonce of every message is drawn by the engine when it encrypts, and is never taken from a caller.
 */
#include <errno.h>
#include <string.h>

#include "daemon/chain/codec.h"
#include "daemon/chain/keyed.h"
#include "daemon/chain/providers.h"
#include "daemon/keys/record.h"

#define PREFIX CODEC_ENC "aesgcm:v1:"

static size_t aesgcm_overhead(const struct provider *p _unused_)
{
	return strlen(PREFIX) + KEKD_LABEL_MAX + 1 + KEKD_GCM_NONCE + KEKD_GCM_TAG;
}

/*
 * KMS v2: does the key_id that came with the value name the KEK that made it, and an activation? The tag
 * decides whether it is the right activation: one node is the first to activate a key, and the others read
 * what it writes while the key is still staged for them, without an activation.
 */
static bool key_id_names(const struct chain_key *k, struct span key_id)
{
	uint32_t activation;

	return key_id_of(k->key_id, key_id, &activation) == 0 && activation >= 1;
}

/* @purpose ends with a NUL: none is a prefix of another. */
static struct span aad_put(struct op *op, struct span purpose, struct span key_id)
{
	memcpy(op->aad, purpose.data, purpose.len);
	memcpy(op->aad + purpose.len, key_id.data, key_id.len);
	return span_of(op->aad, purpose.len + key_id.len);
}

/* @key_id: the one the value was, or will be, handed out with. Its length has been checked. */
static struct span aad_of(struct op *op, const struct chain_key *k, struct span key_id)
{
	static const struct span v2 = SPAN_LITERAL("kekd kms v2\0");
	static const struct span v1 = SPAN_LITERAL("kekd kms v1\0");

	switch (op->purpose) {
	case OP_KMS_V2:
		return aad_put(op, v2, key_id);
	case OP_KMS_V1:
		return aad_put(op, v1, span_of(k->key_id, KEKD_KEY_ID_HEX));
	case OP_STORAGE:
		break;
	}
	return op->context;
}

static void aesgcm_done(struct engine_job *job, int r)
{
	struct op *op = container_of(job, struct op, job);

	if (r == 0 && job->mode == ENGINE_GCM_SEAL) {
		memcpy(job->out - KEKD_GCM_NONCE, job->iv, KEKD_GCM_NONCE);
		memcpy(job->out + job->in.len, job->tag, KEKD_GCM_TAG);
	}
	op->done(op, r);
}

static int aesgcm_encrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k = NULL;
	struct span label;
	size_t head;
	int r;

	r = keyed_writer(g, &k);
	if (r < 0)
		return r;
	label = span_str(k->info.label);
	head = codec_prefix_len(PREFIX, label) + KEKD_GCM_NONCE;
	if (op->out_cap < head + KEKD_GCM_TAG || op->in.len > op->out_cap - head - KEKD_GCM_TAG)
		return -EMSGSIZE;

	codec_prefix_put(op->out, PREFIX, label);
	op->out_len = head + op->in.len + KEKD_GCM_TAG;
	op->stale = false;
	op->job.mode = ENGINE_GCM_SEAL;
	op->job.draw_iv = true;
	op->job.in = op->in;
	op->job.out = op->out + head;
	op->job.aad = aad_of(op, k, span_str(k->key_id));
	r = keyed_submit(g, op, k, aesgcm_done);
	if (r == 0)
		k->encryptions++;
	return r;
}

/*
 * The one key that a value is for. Imported names may hold ':', so the labels "a" and "a:b" can both
 * stand before a value of "a:b": for KMS v2 the key_id decides, for v1 the longest label. For a value at
 * rest the chain tries the keys in order, as the apiserver does.
 */
static struct chain_key *aesgcm_key_of(const struct keyed *g, const struct op *op,
				       struct span *ret_body)
{
	struct chain_key *k, *found = NULL;
	struct keyed_walk walk;
	struct span body;

	if (op->purpose == OP_STORAGE)
		return keyed_nth(g, op->in, op->nth, ret_body);
	keyed_walk(&walk, g, op->in);
	while ((k = keyed_next(&walk, &body))) {
		if (op->purpose == OP_KMS_V2
			    ? !key_id_names(k, op->context)
			    : found && strlen(k->info.label) <= strlen(found->info.label))
			continue;
		found = k;
		*ret_body = body;
	}
	return found;
}

static int aesgcm_decrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k;
	struct span body;
	int r;

	k = aesgcm_key_of(g, op, &body);
	if (!k)
		return -ENOKEY;
	r = chain_key_opens(k);
	if (r < 0)
		return r;
	if (body.len < KEKD_GCM_NONCE + KEKD_GCM_TAG)
		return -EINVAL;

	memcpy(op->job.iv, body.data, KEKD_GCM_NONCE);
	op->job.mode = ENGINE_GCM_OPEN;
	op->job.draw_iv = false;
	op->job.in = span_of(body.data + KEKD_GCM_NONCE, body.len - KEKD_GCM_NONCE - KEKD_GCM_TAG);
	memcpy(op->job.tag, body.data + body.len - KEKD_GCM_TAG, KEKD_GCM_TAG);
	if (op->job.in.len > op->out_cap)
		return -EMSGSIZE;
	op->job.out = op->out;
	op->job.aad = aad_of(op, k, op->context);
	op->out_len = op->job.in.len;
	op->stale = keyed_is_stale(g, k);
	r = keyed_submit(g, op, k, aesgcm_done);
	if (r == 0)
		k->decryptions++;
	return r;
}

static int aesgcm_key_id(const struct provider *p, const char **ret)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k;
	int r;

	r = keyed_writer(g, &k);
	if (r < 0)
		return r;
	*ret = k->key_id;
	return 0;
}

static const struct provider_ops aesgcm_ops = {
	.kind = "aesgcm",
	.prefix = PREFIX,
	.overhead = aesgcm_overhead,
	.match = keyed_match,
	.candidates = keyed_candidates,
	.encrypt = aesgcm_encrypt,
	.decrypt = aesgcm_decrypt,
	.key_id = aesgcm_key_id,
	.free = keyed_free,
};

int provider_aesgcm_new(const struct encconf_provider *e, const struct chain_env *env,
			struct provider **ret)
{
	return keyed_new(&aesgcm_ops, e, env, ret);
}
