/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider identity: the value as it is (kube-apiserver,
 * storage/value/encrypt/identity/identity.go). It reads what was stored before encryption was
 * turned on, and refuses what starts with "k8s:enc:", which belongs to another provider.
 *
 * Writing plaintext is what this daemon is there to end, so a chain that begins with identity must
 * be asked for in words: `allowPlaintextWrites: true` in kekd.yaml. Not for KMS purposes.
 */
#include <errno.h>
#include <string.h>

#include "daemon/chain/codec.h"
#include "daemon/chain/providers.h"

struct identity {
	struct provider provider; /* first */
	struct defer *defer;
	bool writes;
};

static struct identity *identity_of(const struct provider *p)
{
	return container_of(p, struct identity, provider);
}

static size_t identity_overhead(const struct provider *p _unused_)
{
	return 0;
}

static bool identity_match(const struct provider *p _unused_, struct span stored)
{
	return !span_starts_with(stored, span_str(CODEC_ENC));
}

static int identity_copy(struct identity *id, struct op *op)
{
	if (op->in.len > KEKD_VALUE_MAX || op->in.len > op->out_cap)
		return -EMSGSIZE;
	if (op->in.len > 0)
		memcpy(op->out, op->in.data, op->in.len);
	op->out_len = op->in.len;
	op->stale = false;
	op->provider = "identity";
	op->key_id[0] = '\0';
	defer_op(id->defer, op, 0);
	return 0;
}

/*
 * A plaintext that looks like a stored value could not be read again: the apiserver's identity
 * writes it nevertheless, as no object of Kubernetes begins like that.
 */
static int identity_encrypt(struct provider *p, struct op *op)
{
	struct identity *id = identity_of(p);

	if (op->purpose != OP_STORAGE)
		return -EOPNOTSUPP;
	return id->writes ? identity_copy(id, op) : -EPERM;
}

static int identity_decrypt(struct provider *p, struct op *op)
{
	if (op->purpose != OP_STORAGE || !identity_match(p, op->in))
		return -EINVAL;
	return identity_copy(identity_of(p), op);
}

static int identity_key_id(const struct provider *p _unused_, const char **ret _unused_)
{
	return -EOPNOTSUPP;
}

static void identity_free(struct provider *p)
{
	free(identity_of(p));
}

static const struct provider_ops identity_ops = {
	.kind = "identity",
	.prefix = NULL,
	.overhead = identity_overhead,
	.match = identity_match,
	.encrypt = identity_encrypt,
	.decrypt = identity_decrypt,
	.key_id = identity_key_id,
	.free = identity_free,
};

int provider_identity_new(const struct encconf_provider *e _unused_, const struct chain_env *env,
			  struct provider **ret)
{
	struct identity *id = calloc(1, sizeof(*id));

	if (!id)
		return -ENOMEM;
	id->provider.ops = &identity_ops;
	id->defer = env->defer;
	id->writes = env->plaintext_writes;
	*ret = (struct provider *)(void *)id; /* its first member, as in aesgcm.c */
	return 0;
}
