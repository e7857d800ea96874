/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider kms v2: "k8s:enc:kms:v2:NAME:" EncryptedObject (k8s.io/apiserver,
 * storage/value/encrypt/envelope/kmsv2 and aes/aes_extended_nonce.go).
 *
 * The data of type 1 is info 32 ‖ nonce 12 ‖ ciphertext ‖ tag 16 under a DEK that belongs to this value
 * alone, HKDF-Expand(seed, info); of type 0 (1.25 to 1.28, read only) nonce ‖ ciphertext ‖ tag under the
 * DEK itself. Both are bound to the etcd key, or for our own KMS sockets to purpose and key_id.
 *
 * Writing needs a seed that the plugin has wrapped. As in the apiserver: Status is asked every minute,
 * ten seconds after a failure; a new key_id means a new seed, and a plugin that wraps it under another
 * key_id than Status showed is not used; writes go on for three minutes after the last good Status.
 * Two differences: healthz other than "ok" counts as a failure, and a write that finds no seed asks at
 * once (at most once a second) instead of waiting for the next poll.
 */
#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/chain/codec.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/dekvalue.h"
#include "daemon/chain/encobj.h"
#include "daemon/chain/envelope.h"
#include "daemon/chain/providers.h"
#include "daemon/crypto/openssl_dek.h"

#define PREFIX      CODEC_ENC "kms:v2:"
#define SECOND      (UINT64_C(1000) * 1000 * 1000)
#define POLL_GOOD   (60 * SECOND)
#define POLL_BAD    (10 * SECOND)
#define POLL_ASKED  SECOND
#define SEED_VALID  (180 * SECOND)
#define CACHE_TTL   (24 * 60 * 60 * SECOND)
#define CACHE_MAX   1024
#define SEED_LEN    DEKVALUE_SEED
#define INFO_LEN    DEKVALUE_INFO
#define VALUE_EXTRA (INFO_LEN + KEKD_GCM_NONCE + KEKD_GCM_TAG)

/* What values are written with. In locked memory; the tail is public. */
struct seed {
	uint8_t secret[SEED_LEN];
	uint8_t id[SHA256_LEN];
	uint8_t *tail; /* all fields of the object but its data */
	size_t tail_len;
	size_t key_id_len;
	uint8_t key_id[UPSTREAM_KEY_ID_MAX];
	char shown[ENVELOPE_KEY_ID]; /* to our own clients */
};

struct kmsv2 {
	struct envelope env;        /* first */
	struct seed *seed, *next;   /* next: the plugin is wrapping it */
	uint64_t valid_until_ns;    /* of seed */
	struct list writers;        /* operations that wait for a seed */
	struct upstream_call *call; /* Status or Encrypt under way */
	struct ring_op timer;
	int failed; /* 0, or how the last refresh ended */
	uint64_t failed_ns;
	bool given_up; /* no chain has it any more */
};

static void refresh(struct kmsv2 *k);

static struct kmsv2 *kmsv2_of(const struct provider *p)
{
	return container_of(container_of(p, struct envelope, provider), struct kmsv2, env);
}

static void seed_free(struct seed *s)
{
	if (s)
		free(s->tail);
	secmem_free(s, sizeof(*s));
}
DEFINE_CLEANUP(struct seed *, seed_free);

static bool may_write(const struct kmsv2 *k)
{
	return k->seed && envelope_now(&k->env) < k->valid_until_ns;
}

/* Without a seed its tail is not known; up to 130 KiB of annotations are legal, and a few bytes usual. */
static size_t kmsv2_overhead(const struct provider *p)
{
	const struct kmsv2 *k = kmsv2_of(p);

	return codec_prefix_len(PREFIX, span_str(k->env.name)) + ENCOBJ_HEAD_MAX + VALUE_EXTRA +
	       (may_write(k) ? k->seed->tail_len : 0);
}

static bool kmsv2_match(const struct provider *p, struct span stored)
{
	struct span body;

	return codec_prefix_match(stored, PREFIX, span_str(kmsv2_of(p)->env.name), &body);
}

/* Writing. */

/* info, nonce and the sealed value to @out. */
static int seal_data(struct kmsv2 *k, struct op *op, uint8_t *out)
{
	uint8_t *nonce = out + INFO_LEN, *dek = k->env.scratch;
	int r;

	r = random_bytes(out, INFO_LEN + KEKD_GCM_NONCE);
	if (r == 0)
		r = hkdf_expand_sha256(span_of(k->seed->secret, SEED_LEN), span_of(out, INFO_LEN),
				       dek);
	if (r == 0)
		r = openssl_dek_seal(span_of(dek, KEKD_AES_KEY_MAX), nonce,
				     envelope_aad(op, k->seed->shown), op->in,
				     nonce + KEKD_GCM_NONCE);
	secmem_wipe(dek, KEKD_AES_KEY_MAX);
	return r;
}

static int kmsv2_seal(struct kmsv2 *k, struct op *op)
{
	uint8_t head[ENCOBJ_HEAD_MAX];
	size_t label = codec_prefix_len(PREFIX, span_str(k->env.name));
	size_t data, head_len, extra;
	uint8_t *out;
	int r;

	if (op->in.len > KEKD_VALUE_MAX)
		return -EMSGSIZE;
	data = op->in.len + VALUE_EXTRA;
	head_len = encobj_head(head, data);
	extra = label + head_len + VALUE_EXTRA + k->seed->tail_len;
	if (op->out_cap < extra + op->in.len && op->grow) {
		r = op->grow(op, extra + op->in.len);
		if (r < 0)
			return r;
	}
	if (op->out_cap < extra + op->in.len)
		return -EMSGSIZE;
	out = op->out;
	out += codec_prefix_put(out, PREFIX, span_str(k->env.name));
	memcpy(out, head, head_len);
	r = seal_data(k, op, out + head_len);
	if (r < 0)
		return r;
	memcpy(out + head_len + data, k->seed->tail, k->seed->tail_len);
	op->out_len = extra + op->in.len;
	op->provider = "kms";
	op->stale = false;
	memcpy(op->key_id, k->seed->shown, sizeof(k->seed->shown));
	return 0;
}

static void writer_cancel(struct op *op)
{
	struct kmsv2 *k = op->priv;

	list_del(&op->wait.link);
	defer_op(k->env.env.defer, op, -ECANCELED);
}

/* Ask now unless the last answer was bad and is young. True if an answer will come. */
static bool refresh_asked(struct kmsv2 *k)
{
	if (!k->call && k->failed < 0 && envelope_now(&k->env) - k->failed_ns < POLL_ASKED)
		return false;
	refresh(k);
	return k->call;
}

static int kmsv2_encrypt(struct provider *p, struct op *op)
{
	struct kmsv2 *k = kmsv2_of(p);
	int r;

	if (may_write(k)) {
		r = kmsv2_seal(k, op);
		if (r == 0)
			defer_op(k->env.env.defer, op, 0);
		return r;
	}
	if (!refresh_asked(k))
		return k->failed;
	op->priv = k;
	op->cancel = writer_cancel;
	list_add_tail(&k->writers, &op->wait.link);
	return 0;
}

/* The seed and its life. */

static void timer_fire(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct kmsv2 *k = container_of(op, struct kmsv2, timer);

	if (res == 0 && !k->given_up)
		refresh(k);
	envelope_unref(&k->env);
}

static void refresh_end(struct kmsv2 *k, int r, const char *text)
{
	seed_free(move_ptr(k->next));
	envelope_report(&k->env, r, text);
	k->failed = r;
	k->failed_ns = envelope_now(&k->env);
	if (r == 0)
		k->valid_until_ns = k->failed_ns + SEED_VALID;
	while (!list_empty(&k->writers)) {
		struct op *op = list_first(&k->writers, struct op, wait.link);

		list_del(&op->wait.link);
		defer_op(k->env.env.defer, op, r == 0 ? kmsv2_seal(k, op) : r);
	}
	/* The ring's timer holds a reference; while one runs it is left alone. */
	if (k->env.env.ring && !k->given_up && !ring_op_busy(&k->timer)) {
		envelope_ref(&k->env);
		k->timer.done = timer_fire;
		ring_timer(k->env.env.ring, &k->timer, now_ns() + (r == 0 ? POLL_GOOD : POLL_BAD));
	}
	envelope_unref(&k->env);
}

static int seed_complete(struct kmsv2 *k, struct seed *s, const struct upstream_answer *answer)
{
	struct encobj obj = {
		.key_id = span_of(s->key_id, s->key_id_len),
		.dek = answer->data,
		.type = DEK_HKDF_XNONCE_SEED,
		.annotations = answer->annotations,
	};
	struct span tail;
	int r;

	if (!span_equal(answer->key_id, obj.key_id) ||
	    encobj_check_key(obj.key_id, obj.dek, &obj.annotations) < 0)
		return -EPROTO;
	encobj_sort(&obj.annotations);
	r = encobj_tail(&obj, &s->tail, &s->tail_len);
	if (r < 0)
		return r;
	tail = span_of(s->tail, s->tail_len);
	r = sha256(&tail, 1, s->id);
	return r == 0 ? envelope_key_id(&k->env, obj.key_id, s->shown) : r;
}

static void encrypt_done(void *ctx, int r, const char *text, const struct upstream_answer *answer)
{
	struct kmsv2 *k = ctx;

	k->call = NULL;
	if (r == 0) {
		r = seed_complete(k, k->next, answer);
		text = "Encrypt broke the rules: size, annotations, or another key_id than Status";
	}
	if (r == 0) {
		seed_free(k->seed);
		k->seed = move_ptr(k->next);
		dekcache_put(k->env.cache, k->seed->id, envelope_now(&k->env),
			     span_of(k->seed->secret, SEED_LEN));
	}
	refresh_end(k, r, text);
}

static int seed_begin(struct kmsv2 *k, struct span key_id)
{
	_cleanup_(seed_freep) struct seed *s = secmem_alloc(sizeof(*s));
	struct envelope *e = &k->env;
	struct upstream_request req = { .method = UPSTREAM_ENCRYPT, .timeout_ns = e->timeout_ns };
	int r;

	if (!s)
		return -ENOMEM;
	r = random_bytes(s->secret, SEED_LEN);
	if (r < 0)
		return r;
	memcpy(s->key_id, key_id.data, key_id.len);
	s->key_id_len = key_id.len;
	req.data = span_of(s->secret, SEED_LEN);
	req.uid = span_str("kekd-seed");
	r = e->upstream->ops->call(e->upstream, &req, encrypt_done, k, &k->call);
	if (r == 0)
		k->next = move_ptr(s);
	return r;
}

static bool status_good(const struct upstream_answer *a)
{
	return (span_equal(a->version, span_str("v2")) ||
		span_equal(a->version, span_str("v2beta1"))) &&
	       span_equal(a->healthz, span_str("ok")) && a->key_id.len > 0 &&
	       a->key_id.len <= UPSTREAM_KEY_ID_MAX;
}

static bool seed_is_of(const struct kmsv2 *k, struct span key_id)
{
	return k->seed && span_equal(span_of(k->seed->key_id, k->seed->key_id_len), key_id);
}

static void status_done(void *ctx, int r, const char *text, const struct upstream_answer *answer)
{
	struct kmsv2 *k = ctx;

	k->call = NULL;
	if (r == 0 && !status_good(answer)) {
		r = -EPROTO;
		text = "Status is not healthy, or not of version v2";
	}
	if (r == 0 && !seed_is_of(k, answer->key_id)) {
		r = seed_begin(k, answer->key_id);
		if (r == 0)
			return;
		text = "no seed could be made";
	}
	refresh_end(k, r, text);
}

/* Ask Status, and Encrypt when it shows something new. Holds a reference until refresh_end(). */
static void refresh(struct kmsv2 *k)
{
	struct upstream_request req = { .method = UPSTREAM_STATUS,
					.timeout_ns = k->env.timeout_ns };
	int r;

	if (k->call)
		return;
	r = k->env.upstream->ops->call(k->env.upstream, &req, status_done, k, &k->call);
	envelope_ref(&k->env);
	if (r < 0)
		refresh_end(k, r, "Status could not be asked");
}

/* Reading. */

static int kmsv2_open(struct envelope *e, struct op *op, struct span dek, unsigned int kind)
{
	struct span aad = envelope_aad(op, op->key_id);
	int r;

	if (kind == DEK_HKDF_XNONCE_SEED)
		return dekvalue_open_seeded(dek, aad, op->wait.body, e->scratch, op->out,
					    op->out_cap, &op->out_len);
	r = dekvalue_open_gcm(dek, aad, op->wait.body, op->out, op->out_cap, &op->out_len);
	return r == -EINVAL ? -EPROTO : r; /* no size of a key */
}

/* The cache's key: everything that the plugin is asked with, and the type. */
static int kmsv2_id_of(const struct encobj *obj, uint8_t ret[static SHA256_LEN])
{
	_cleanup_free_ uint8_t *tail = NULL;
	struct span part;
	size_t len;
	int r;

	r = encobj_tail(obj, &tail, &len);
	if (r < 0)
		return r;
	part = span_of(tail, len);
	return sha256(&part, 1, ret);
}

static int decrypt_object(struct kmsv2 *k, struct op *op, const struct encobj *obj)
{
	struct upstream_request req = {
		.data = obj->dek,
		.key_id = obj->key_id,
		.annotations = obj->annotations,
		.uid = span_str("kekd-read"),
	};
	bool seeded = obj->type == DEK_HKDF_XNONCE_SEED;
	uint8_t id[SHA256_LEN];
	int r;

	if (obj->data.len < KEKD_GCM_NONCE + KEKD_GCM_TAG + (seeded ? INFO_LEN : 0))
		return -EINVAL;
	r = envelope_key_id(&k->env, obj->key_id, op->key_id);
	if (r == 0 && op->purpose == OP_KMS_V2 && !span_equal(op->context, span_str(op->key_id)))
		r = -ENOKEY;
	if (r == 0)
		r = kmsv2_id_of(obj, id);
	if (r < 0)
		return r;
	op->provider = "kms";
	op->stale = !seeded || !seed_is_of(k, obj->key_id);
	op->wait.body = obj->data;
	return envelope_open(&k->env, op, id, obj->type, &req);
}

static int kmsv2_decrypt(struct provider *p, struct op *op)
{
	struct kmsv2 *k = kmsv2_of(p);
	_cleanup_encobj_ struct encobj obj = { 0 };
	struct span body;
	int r;

	if (!codec_prefix_match(op->in, PREFIX, span_str(k->env.name), &body))
		return -ENOKEY;
	r = encobj_decode(body, &obj);
	return r == 0 ? decrypt_object(k, op, &obj) : r;
}

/* Without a seed this fails, and the plugin is asked again, for the next time. */
static int kmsv2_key_id(const struct provider *p, const char **ret)
{
	struct kmsv2 *k = kmsv2_of(p);

	if (!may_write(k)) {
		(void)refresh_asked(k);
		return k->failed < 0 ? k->failed : -EHOSTUNREACH;
	}
	*ret = k->seed->shown;
	return 0;
}

static void kmsv2_done(struct envelope *e)
{
	struct kmsv2 *k = container_of(e, struct kmsv2, env);

	seed_free(k->seed);
}

/* Ask the plugin at once after a reload. It may have a new key_id; if it does not answer, nothing changes. */
static void kmsv2_configure(struct provider *p, const struct encconf_provider *e)
{
	struct kmsv2 *k = kmsv2_of(p);

	k->env.timeout_ns = (uint64_t)e->kms.timeout;
	refresh(k);
}

static void kmsv2_free(struct provider *p)
{
	struct kmsv2 *k = kmsv2_of(p);

	if (!envelope_disown(&k->env))
		return;
	k->given_up = true;
	if (ring_op_busy(&k->timer))
		ring_cancel(k->env.env.ring, &k->timer);
	envelope_unref(&k->env);
}

static const struct envelope_ops kmsv2_envelope_ops = { kmsv2_open, kmsv2_done };

static const struct provider_ops kmsv2_ops = {
	.kind = "kms",
	.prefix = PREFIX,
	.overhead = kmsv2_overhead,
	.match = kmsv2_match,
	.encrypt = kmsv2_encrypt,
	.decrypt = kmsv2_decrypt,
	.key_id = kmsv2_key_id,
	.adopt = envelope_adopt,
	.configure = kmsv2_configure,
	.free = kmsv2_free,
};

int provider_kmsv2_new(const struct encconf_provider *e, const struct chain_env *env,
		       struct provider **ret)
{
	_cleanup_free_ struct kmsv2 *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	list_init(&k->writers);
	r = envelope_init(&k->env, &kmsv2_ops, &kmsv2_envelope_ops, &e->kms, env, CACHE_MAX,
			  CACHE_TTL);
	if (r < 0)
		return r;
	refresh(k);
	*ret = &move_ptr(k)->env.provider;
	return 0;
}
