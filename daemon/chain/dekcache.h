/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DEKs and seeds that an upstream plugin has opened, so that it is asked once and not for every
 * value: bounded, least recently used first out, in locked memory, wiped when they leave.
 *
 * Entries are found by a SHA-256 over what the plugin was asked; that is public, the DEK is not.
 */
#ifndef KEKD_CHAIN_DEKCACHE_H
#define KEKD_CHAIN_DEKCACHE_H

#include "daemon/base/cleanup.h"
#include "daemon/crypto/digest.h"
#include <kekd/limits.h>

#define DEKCACHE_MAX 16384 /* entries; 112 bytes each */

struct dekcache;

/* At most @max entries, none when 0; each for @ttl_ns, 0: for ever. -ENOMEM. Caller frees. */
int dekcache_new(size_t max, uint64_t ttl_ns, struct dekcache **ret);
/* At most @max entries from now on; the oldest go. */
void dekcache_bound(struct dekcache *c, size_t max);
void dekcache_free(struct dekcache *c);
DEFINE_CLEANUP(struct dekcache *, dekcache_free);

/* The DEK, borrowed until the next call on this cache. -ENOENT. */
int dekcache_get(struct dekcache *c, const uint8_t id[static SHA256_LEN], uint64_t now_ns,
		 struct span *ret);
/*
 * Keep a copy of @dek, at most KEKD_AES_KEY_MAX bytes. When there is no more locked memory the
 * oldest entry goes; without any, nothing is kept.
 */
void dekcache_put(struct dekcache *c, const uint8_t id[static SHA256_LEN], uint64_t now_ns,
		  struct span dek);

#endif
