/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain: the providers of one `resources` item, in order. The first writes; a value is read by
 * the first provider that knows its prefix. See <kekd/provider.h> for the contract and <kekd/op.h>
 * for what an operation carries.
 */
#ifndef KEKD_CHAIN_CHAIN_H
#define KEKD_CHAIN_CHAIN_H

#include "daemon/base/secmem.h"
#include "daemon/chain/defer.h"
#include "daemon/chain/encconf.h"
#include "daemon/chain/keytable.h"
#include "daemon/sys/ring.h"
#include <kekd/provider.h>
#include <kekd/upstream.h>

struct chain;
struct defer;

/* What providers share; borrowed by every chain. */
struct chain_env {
	struct engine *engine;
	struct keytable *keys;
	bool plaintext_writes; /* allowPlaintextWrites of kekd.yaml */
	/* For kms entries; without upstreams those are not offered. */
	struct upstream_source *upstreams;
	struct secpool *pool;
	struct defer *defer; /* for answers that are known at once */
	struct ring *ring;
	uint64_t (*now)(void); /* NULL: now_ns() */
	/*
	 * The chain that the new one is to follow, or NULL. Providers that are defined the same are shared with it: what a
	 * plugin has opened and wrapped is not asked for again, and so outlasts a reload while the plugin is away.
	 */
	const struct chain *before;
};

/* @item, @env borrowed for the chain's life. -EOPNOTSUPP: a provider this build does not offer. */
int chain_new(const struct encconf_item *item, const struct chain_env *env, struct chain **ret);
/* It is in force: what it shares goes by the settings of @item too, those of chain_new(). */
void chain_configure(struct chain *chain, const struct encconf_item *item);
/* Operations under way end with what the key they are at says; the chain looks no further. */
void chain_free(struct chain *chain);
DEFINE_CLEANUP(struct chain *, chain_free);

/* As the provider's encrypt and decrypt. decrypt: -EINVAL when no provider knows the prefix. */
int chain_encrypt(struct chain *chain, struct op *op);
int chain_decrypt(struct chain *chain, struct op *op);
/* End op with -ECANCELED soon; its done still runs. */
void chain_cancel(struct chain *chain, struct op *op);
/* key_id that the first provider writes with now, valid until the next key message. */
int chain_key_id(const struct chain *chain, const char **ret);
/* Why there is no root key, in words; "" where nobody said. Borrowed until the next key message. */
const char *chain_sealed_text(const struct chain *chain);
/*
 * Longest growth from plaintext to stored value, for sizing op->out; for what waits until a plugin has been
 * asked, as far as it is known: then op->grow is called.
 */
size_t chain_overhead(const struct chain *chain);

#endif
