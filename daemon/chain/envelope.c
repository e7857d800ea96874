/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that need the same DEK wait for one call, however many they are: a LIST after a
 * restart asks the plugin once. How many may wait is the business of whoever makes operations (the
 * limit of calls in flight); how many calls may be open is the upstream's.
 */
#include "daemon/chain/envelope.h"

#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/providers.h"

#define SCRATCH   KEKD_AES_KEY_MAX
#define LOG_PAUSE (UINT64_C(10) * 1000 * 1000 * 1000)

/* A question under way. It goes on when nobody waits any more: its answer is for the cache too. */
struct lookup {
	struct list link;
	struct envelope *env;
	uint8_t id[SHA256_LEN];
	unsigned int kind;
	struct list ops;
};

uint64_t envelope_now(const struct envelope *e)
{
	return e->env.now ? e->env.now() : now_ns();
}

int envelope_init(struct envelope *e, const struct provider_ops *provider,
		  const struct envelope_ops *ops, const struct encconf_kms *conf,
		  const struct chain_env *env, size_t cache_max, uint64_t cache_ttl_ns)
{
	_cleanup_(dekcache_freep) struct dekcache *cache = NULL;
	_cleanup_free_ char *name = strdup(conf->name), *path = strdup(conf->path);
	int r;

	if (!env->upstreams)
		return -EOPNOTSUPP;
	if (!name || !path)
		return -ENOMEM;
	r = dekcache_new(cache_max, cache_ttl_ns, &cache);
	if (r < 0)
		return r;
	e->scratch = secmem_alloc(SCRATCH);
	if (!e->scratch)
		return -ENOMEM;
	r = env->upstreams->open(env->upstreams, conf->path, conf->version, &e->upstream);
	if (r < 0) {
		secmem_free(move_ptr(e->scratch), SCRATCH);
		return r;
	}
	e->provider.ops = provider;
	e->ops = ops;
	e->env = *env;
	e->env.before = NULL; /* it does not last */
	e->timeout_ns = (uint64_t)conf->timeout;
	e->name = move_ptr(name);
	e->path = move_ptr(path);
	e->version = conf->version;
	e->owners = 1;
	e->cache = move_ptr(cache);
	e->refs = 1;
	list_init(&e->lookups);
	return 0;
}

bool envelope_adopt(struct provider *p, const struct encconf_provider *conf)
{
	struct envelope *e = container_of(p, struct envelope, provider);

	if (conf->kind != ENCCONF_KMS || conf->kms.version != e->version ||
	    strcmp(conf->kms.name, e->name) != 0 || strcmp(conf->kms.path, e->path) != 0)
		return false;
	e->owners++;
	return true;
}

bool envelope_disown(struct envelope *e)
{
	return --e->owners == 0;
}

void envelope_ref(struct envelope *e)
{
	e->refs++;
}

void envelope_unref(struct envelope *e)
{
	if (--e->refs > 0)
		return;
	e->ops->done(e);
	e->upstream->ops->free(e->upstream);
	dekcache_free(e->cache);
	secmem_free(e->scratch, SCRATCH);
	free(e->name);
	free(e->path);
	free(e);
}

void envelope_report(struct envelope *e, int r, const char *text)
{
	bool ill = r == -EHOSTUNREACH || r == -EPROTO || r == -EREMOTEIO;

	if (ill == e->ailing || (r < 0 && !ill))
		return;
	e->ailing = ill;
	/* One that fails every other time is not worth two lines each time. */
	if (ill && (e->logged_ns == 0 || envelope_now(e) - e->logged_ns >= LOG_PAUSE)) {
		e->logged_ns = envelope_now(e);
		e->logged = true;
		log_warning("kms provider %s: its plugin fails: %s (%s)", e->name, text,
			    errno_text(r));
	} else if (!ill && e->logged) {
		e->logged = false;
		log_notice("kms provider %s: its plugin answers again", e->name);
	}
}

int envelope_key_id(const struct envelope *e, struct span key_id, char ret[static ENVELOPE_KEY_ID])
{
	static const char hex[] = "0123456789abcdef";
	const struct span parts[] = {
		span_of("kekd upstream", sizeof("kekd upstream")),
		span_of(e->name, strlen(e->name) + 1),
		key_id,
	};
	uint8_t md[SHA256_LEN];
	int r;

	r = sha256(parts, ARRAY_SIZE(parts), md);
	if (r < 0)
		return r;
	for (size_t i = 0; i < KEKD_KEY_ID; i++) {
		ret[2 * i] = hex[md[i] >> 4];
		ret[2 * i + 1] = hex[md[i] & 15];
	}
	ret[KEKD_KEY_ID_HEX] = '\0';
	return 0;
}

struct span envelope_aad(struct op *op, const char *key_id)
{
	const char *purpose = op->purpose == OP_KMS_V2 ? "kekd kms v2" : "kekd kms v1";
	size_t n = strlen(purpose) + 1, len = strlen(key_id);

	if (op->purpose == OP_STORAGE)
		return op->context;
	memcpy(op->aad, purpose, n);
	memcpy(op->aad + n, key_id, len);
	return span_of(op->aad, n + len);
}

static void lookup_cancel(struct op *op)
{
	struct envelope *e = op->priv;

	list_del(&op->wait.link);
	defer_op(e->env.defer, op, -ECANCELED);
}

static void lookup_done(void *ctx, int r, const char *text, const struct upstream_answer *answer)
{
	struct lookup *l = ctx;
	struct envelope *e = l->env;
	struct list ops;

	list_init(&ops);
	list_splice_tail(&ops, &l->ops);
	list_del(&l->link);
	if (r == 0 && (answer->data.len == 0 || answer->data.len > KEKD_AES_KEY_MAX)) {
		r = -EPROTO;
		text = "Decrypt returned no key";
	}
	if (r != -EREMOTEIO) /* which may be about this value */
		envelope_report(e, r, text);
	if (r == 0)
		dekcache_put(e->cache, l->id, envelope_now(e), answer->data);
	while (!list_empty(&ops)) {
		struct op *op = list_first(&ops, struct op, wait.link);

		list_del(&op->wait.link);
		defer_op(e->env.defer, op, r == 0 ? e->ops->open(e, op, answer->data, l->kind) : r);
	}
	free(l);
	envelope_unref(e);
}

static struct lookup *lookup_find(struct envelope *e, const uint8_t *id)
{
	list_for_each (n, &e->lookups) {
		struct lookup *l = list_entry(n, struct lookup, link);

		if (memcmp(l->id, id, sizeof(l->id)) == 0)
			return l;
	}
	return NULL;
}

static int lookup_new(struct envelope *e, const uint8_t *id, unsigned int kind,
		      struct upstream_request *req, struct lookup **ret)
{
	_cleanup_free_ struct lookup *l = calloc(1, sizeof(*l));
	struct upstream_call *call;
	int r;

	if (!l)
		return -ENOMEM;
	l->env = e;
	l->kind = kind;
	memcpy(l->id, id, sizeof(l->id));
	list_init(&l->ops);
	req->method = UPSTREAM_DECRYPT;
	req->timeout_ns = e->timeout_ns;
	r = e->upstream->ops->call(e->upstream, req, lookup_done, l, &call);
	if (r < 0)
		return r;
	envelope_ref(e);
	list_add_tail(&e->lookups, &l->link);
	*ret = move_ptr(l);
	return 0;
}

int envelope_open(struct envelope *e, struct op *op, const uint8_t id[static SHA256_LEN],
		  unsigned int kind, struct upstream_request *req)
{
	struct lookup *l = NULL;
	struct span dek;
	int r;

	op->priv = e;
	if (dekcache_get(e->cache, id, envelope_now(e), &dek) == 0) {
		defer_op(e->env.defer, op, e->ops->open(e, op, dek, kind));
		return 0;
	}
	l = lookup_find(e, id);
	if (!l) {
		r = lookup_new(e, id, kind, req, &l);
		if (r < 0 || !l)
			return r < 0 ? r : -ENOBUFS;
	}
	op->cancel = lookup_cancel;
	list_add_tail(&l->ops, &op->wait.link);
	return 0;
}

int provider_kms_new(const struct encconf_provider *e, const struct chain_env *env,
		     struct provider **ret)
{
	if (!env->upstreams)
		return -EOPNOTSUPP;
	return e->kms.version == 1 ? provider_kmsv1_new(e, env, ret)
				   : provider_kmsv2_new(e, env, ret);
}
