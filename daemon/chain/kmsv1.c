/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider kms v1: "k8s:enc:kms:v1:NAME:" u16 big-endian length ‖ EDEK ‖ nonce 12 ‖ ciphertext ‖ tag
 * 16. Up to 1.24 the apiserver wrote IV 16 ‖ AES-CBC after the EDEK; such values are read when GCM
 * does not hold, and are stale (k8s.io/apiserver, storage/value/encrypt/envelope/envelope.go and
 * server/options/encryptionconfig/config.go, newAESCBC as a second reader).
 *
 * Every write has a DEK of its own, wrapped by one call of the plugin; every read that misses the
 * cache is one call too (`cachesize`, default 1000). There is no key_id: the EDEK itself tells the
 * plugin which key made it, so a rotation inside the plugin is not seen here.
 *
 * The CBC form has no MAC: what it yields is only as true as etcd. It is not taken for KMS purposes,
 * and bad padding is the same -EBADMSG as a bad tag.
 */
#include <errno.h>

#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/chain/codec.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/dekvalue.h"
#include "daemon/chain/envelope.h"
#include "daemon/chain/providers.h"
#include "daemon/crypto/openssl_dek.h"

#define PREFIX       CODEC_ENC "kms:v1:"
#define EDEK_MAX     UINT16_MAX
#define EDEK_USUAL   4096 /* bytes that overhead() allows for */
#define FAILED_FOR   (UINT64_C(10) * 1000 * 1000 * 1000)
#define LENGTH_BYTES 2

struct kmsv1 {
	struct envelope env; /* first */
	char key_id[ENVELOPE_KEY_ID];
	int failed; /* 0, or how the last call of a write ended */
	uint64_t failed_ns;
};

/* A write that waits for its DEK to be wrapped. In locked memory. */
struct write {
	struct secbuf self;
	struct kmsv1 *kms;
	struct op *op;
	struct upstream_call *call;
	uint8_t dek[KEKD_AES_KEY_MAX];
};

static struct kmsv1 *kmsv1_of(const struct provider *p)
{
	return container_of(container_of(p, struct envelope, provider), struct kmsv1, env);
}

static size_t kmsv1_overhead(const struct provider *p)
{
	return codec_prefix_len(PREFIX, span_str(kmsv1_of(p)->env.name)) + LENGTH_BYTES +
	       EDEK_USUAL + KEKD_GCM_NONCE + KEKD_GCM_TAG;
}

static bool kmsv1_match(const struct provider *p, struct span stored)
{
	struct span body;

	return codec_prefix_match(stored, PREFIX, span_str(kmsv1_of(p)->env.name), &body);
}

static void op_describe(const struct kmsv1 *k, struct op *op)
{
	op->provider = "kms";
	memcpy(op->key_id, k->key_id, sizeof(k->key_id));
}

/* Reading. */

static int kmsv1_open(struct envelope *e, struct op *op, struct span dek,
		      unsigned int kind _unused_)
{
	const struct kmsv1 *k = container_of(e, struct kmsv1, env);
	int r;

	r = dekvalue_open_gcm(dek, envelope_aad(op, k->key_id), op->wait.body, op->out, op->out_cap,
			      &op->out_len);
	if (r != -EBADMSG)
		return r == -EINVAL ? -EPROTO : r;
	if (op->purpose != OP_STORAGE)
		return -EBADMSG;
	op->stale = true;
	return dekvalue_open_cbc(dek, op->wait.body, op->out, op->out_cap, &op->out_len);
}

static int kmsv1_decrypt(struct provider *p, struct op *op)
{
	struct kmsv1 *k = kmsv1_of(p);
	struct upstream_request req = { 0 };
	uint8_t id[SHA256_LEN];
	struct span body;
	size_t len;
	int r;

	if (!codec_prefix_match(op->in, PREFIX, span_str(k->env.name), &body))
		return -ENOKEY;
	if (op->purpose == OP_KMS_V2 && !span_equal(op->context, span_str(k->key_id)))
		return -ENOKEY;
	if (body.len < LENGTH_BYTES)
		return -EINVAL;
	len = (size_t)body.data[0] << 8 | body.data[1];
	body = span_skip(body, LENGTH_BYTES);
	if (len == 0 || len > body.len || body.len - len < KEKD_GCM_NONCE + KEKD_GCM_TAG)
		return -EINVAL;
	req.data = span_of(body.data, len);
	r = sha256(&req.data, 1, id);
	if (r < 0)
		return r;
	op->wait.body = span_skip(body, len);
	op->stale = false;
	op_describe(k, op);
	return envelope_open(&k->env, op, id, 0, &req);
}

/* Writing. */

static void write_put(struct write *w)
{
	struct secbuf self = w->self;

	secbuf_release(&self);
}

static int write_seal(struct write *w, struct span edek)
{
	struct kmsv1 *k = w->kms;
	struct op *op = w->op;
	size_t head = codec_prefix_len(PREFIX, span_str(k->env.name)) + LENGTH_BYTES + edek.len;
	size_t extra = head + KEKD_GCM_NONCE + KEKD_GCM_TAG;
	uint8_t *out = op->out;
	int r;

	if (edek.len == 0 || edek.len > EDEK_MAX)
		return -EPROTO;
	if (op->out_cap < extra || op->in.len > op->out_cap - extra)
		return -EMSGSIZE;
	out += codec_prefix_put(out, PREFIX, span_str(k->env.name));
	*out++ = (uint8_t)(edek.len >> 8);
	*out++ = (uint8_t)edek.len;
	memcpy(out, edek.data, edek.len);
	out += edek.len;
	r = random_bytes(out, KEKD_GCM_NONCE);
	if (r < 0)
		return r;
	op->out_len = extra + op->in.len;
	return openssl_dek_seal(span_of(w->dek, sizeof(w->dek)), out, envelope_aad(op, k->key_id),
				op->in, out + KEKD_GCM_NONCE);
}

static void write_done(void *ctx, int r, const char *text, const struct upstream_answer *answer)
{
	struct write *w = ctx;
	struct kmsv1 *k = w->kms;
	uint8_t id[SHA256_LEN];

	if (r == 0) {
		r = write_seal(w, answer->data);
		if (r == -EPROTO)
			text = "Encrypt returned no ciphertext, or one of more than 65535 bytes";
	}
	if (r == 0 && sha256(&answer->data, 1, id) == 0)
		dekcache_put(k->env.cache, id, envelope_now(&k->env),
			     span_of(w->dek, sizeof(w->dek)));
	envelope_report(&k->env, r, text);
	if (r == 0 || k->env.ailing) {
		k->failed = r;
		k->failed_ns = envelope_now(&k->env);
	}
	defer_op(k->env.env.defer, w->op, r);
	write_put(w);
	envelope_unref(&k->env);
}

static void write_cancel(struct op *op)
{
	struct write *w = op->priv;
	struct envelope *e = &w->kms->env;

	e->upstream->ops->cancel(w->call);
	defer_op(e->env.defer, op, -ECANCELED);
	write_put(w);
	envelope_unref(e);
}

static int kmsv1_encrypt(struct provider *p, struct op *op)
{
	struct kmsv1 *k = kmsv1_of(p);
	struct envelope *e = &k->env;
	struct upstream_request req = { .method = UPSTREAM_ENCRYPT, .timeout_ns = e->timeout_ns };
	_cleanup_secbuf_ struct secbuf self = { 0 };
	struct write *w;
	int r;

	r = secpool_get(e->env.pool, sizeof(*w), &self);
	if (r < 0)
		return r;
	w = (void *)self.data;
	w->kms = k;
	w->op = op;
	r = random_bytes(w->dek, sizeof(w->dek));
	if (r < 0)
		return r;
	req.data = span_of(w->dek, sizeof(w->dek));
	r = e->upstream->ops->call(e->upstream, &req, write_done, w, &w->call);
	if (r < 0)
		return r;
	w->self = secbuf_move(&self);
	envelope_ref(e);
	op->priv = w;
	op->cancel = write_cancel;
	op->stale = false;
	op_describe(k, op);
	return 0;
}

/* A failed write makes it unhealthy for ten seconds. Then it counts as healthy, since only a write can find that out. */
static int kmsv1_key_id(const struct provider *p, const char **ret)
{
	const struct kmsv1 *k = kmsv1_of(p);

	if (k->failed < 0 && envelope_now(&k->env) - k->failed_ns < FAILED_FOR)
		return k->failed;
	*ret = k->key_id;
	return 0;
}

static void kmsv1_done(struct envelope *e _unused_)
{
}

static size_t cache_max(const struct encconf_provider *e)
{
	return e->kms.cachesize < 0 ? 0 : (size_t)e->kms.cachesize;
}

static void kmsv1_configure(struct provider *p, const struct encconf_provider *e)
{
	struct kmsv1 *k = kmsv1_of(p);

	k->env.timeout_ns = (uint64_t)e->kms.timeout;
	dekcache_bound(k->env.cache, cache_max(e));
}

static void kmsv1_free(struct provider *p)
{
	struct kmsv1 *k = kmsv1_of(p);

	if (envelope_disown(&k->env))
		envelope_unref(&k->env);
}

static const struct envelope_ops kmsv1_envelope_ops = { kmsv1_open, kmsv1_done };

static const struct provider_ops kmsv1_ops = {
	.kind = "kms",
	.prefix = PREFIX,
	.overhead = kmsv1_overhead,
	.match = kmsv1_match,
	.encrypt = kmsv1_encrypt,
	.decrypt = kmsv1_decrypt,
	.key_id = kmsv1_key_id,
	.adopt = envelope_adopt,
	.configure = kmsv1_configure,
	.free = kmsv1_free,
};

int provider_kmsv1_new(const struct encconf_provider *e, const struct chain_env *env,
		       struct provider **ret)
{
	_cleanup_free_ struct kmsv1 *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	r = envelope_init(&k->env, &kmsv1_ops, &kmsv1_envelope_ops, &e->kms, env, cache_max(e), 0);
	if (r < 0)
		return r;
	r = envelope_key_id(&k->env, SPAN_NULL, k->key_id);
	if (r < 0) {
		envelope_unref(&move_ptr(k)->env);
		return r;
	}
	*ret = &move_ptr(k)->env.provider;
	return 0;
}
