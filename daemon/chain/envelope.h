/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the providers kms v1 and v2 share: an upstream plugin, the cache of what it has opened, and
 * operations that wait for it.
 *
 * A `kms` entry does what kube-apiserver does with one (k8s.io/apiserver,
 * storage/value/encrypt/envelope): values are encrypted in this process under data-encryption keys,
 * and the plugin behind a socket wraps those. A DEK is no KEK: it comes as plaintext from the plugin
 * and is used here by libcrypto (daemon/crypto/openssl_dek.h), in locked memory and wiped. The
 * plugin's own KEK is wherever the plugin keeps it.
 *
 * Life: the chain of a reload has the providers of the one before that are defined the same: name, version and the
 * plugin's path. A reload gives up a provider while it may still wait for its plugin. It holds a reference
 * to itself for everything under way and is freed with the last.
 */
#ifndef KEKD_CHAIN_ENVELOPE_H
#define KEKD_CHAIN_ENVELOPE_H

#include "daemon/chain/chain.h"
#include "daemon/chain/dekcache.h"
#include <kekd/upstream.h>

/* A key_id for clients of our own KMS sockets: 32 hex digits. */
#define ENVELOPE_KEY_ID (KEKD_KEY_ID_HEX + 1)

struct envelope;

struct envelope_ops {
	/*
	 * Open op->wait.body with @dek (or seed), both borrowed, and set out_len. @kind is what
	 * envelope_open() was given. 0 or -errno for op->done.
	 */
	int (*open)(struct envelope *e, struct op *op, struct span dek, unsigned int kind);
	/* Free what is not the envelope's own. */
	void (*done)(struct envelope *e);
};

struct envelope {
	struct provider provider; /* first */
	const struct envelope_ops *ops;
	struct chain_env env;
	char *name, *path;
	unsigned int version;
	uint64_t timeout_ns;
	struct upstream *upstream;
	struct dekcache *cache;
	uint8_t *scratch;          /* locked; a derived or fresh DEK, for one call */
	struct list lookups;       /* DEKs that the plugin is being asked for */
	unsigned int refs, owners; /* the owners have one reference together */
	bool ailing, logged;
	uint64_t logged_ns;
};

/*
 * @e zeroed by the caller, who frees it when this fails; on success envelope_unref() does. @conf
 * borrowed for the call. @cache_max, @cache_ttl_ns: of dekcache_new().
 */
int envelope_init(struct envelope *e, const struct provider_ops *provider,
		  const struct envelope_ops *ops, const struct encconf_kms *conf,
		  const struct chain_env *env, size_t cache_max, uint64_t cache_ttl_ns);
void envelope_ref(struct envelope *e);
void envelope_unref(struct envelope *e);
/* As the provider's adopt. */
bool envelope_adopt(struct provider *p, const struct encconf_provider *conf);
/* One owner less; true if that was the last one. */
bool envelope_disown(struct envelope *e);
uint64_t envelope_now(const struct envelope *e);

/*
 * Open op->wait.body with the DEK of @id: from the cache, or from the plugin by @req (borrowed for
 * the call; method and timeout are set here). As provider->decrypt.
 */
int envelope_open(struct envelope *e, struct op *op, const uint8_t id[static SHA256_LEN],
		  unsigned int kind, struct upstream_request *req);

/* How a call ended: says so in the log when that has changed. */
void envelope_report(struct envelope *e, int r, const char *text);

/*
 * The key_id that our own KMS clients see for the plugin's @key_id: a hash of name and key_id, so
 * the same on every node, without a secret, new when the plugin's is new, and short.
 */
int envelope_key_id(const struct envelope *e, struct span key_id, char ret[static ENVELOPE_KEY_ID]);
/* What the value of @op is bound to: the etcd key, or purpose and @key_id (a string). */
struct span envelope_aad(struct op *op, const char *key_id);

#endif
