/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to etcd, and what it answers: bytes in, bytes out. Two calls of etcdserverpb.KV, each a gRPC message
 * (gRPC over HTTP/2, "Length-Prefixed-Message": a byte 0, the length in 4 bytes, the message):
 *
 *   Range   all keys that begin with a prefix, at one revision
 *   Txn     if this key's mod_revision is that, put it; else get it. The one form that kine has too.
 *
 * An answer is not trusted: whatever it holds, it is read within its bounds or refused.
 */
#ifndef KEKD_CLUSTER_ETCD_H
#define KEKD_CLUSTER_ETCD_H

#include <stdbool.h>
#include <stdint.h>

#include <kekd/span.h>

#define ETCD_RANGE    "/etcdserverpb.KV/Range"
#define ETCD_TXN      "/etcdserverpb.KV/Txn"
#define ETCD_KEYS_MAX 512 /* that a Range asks for */

/* Before a gRPC message of @len bytes. */
#define ETCD_FRAME 5
void etcd_frame(uint8_t out[static ETCD_FRAME], size_t len);
/* The message of a body that has one, whole and not compressed. -EPROTO. */
int etcd_unframe(struct span body, struct span *ret);

struct etcd_kv {
	struct span key, value;
	uint64_t mod_revision;
};

struct etcd_answer {
	uint64_t cluster, revision;
	bool put; /* Txn: the key had that mod_revision */
};

/* @message: for one call; caller frees. -ENOMEM. */
int etcd_range_encode(const char *prefix, uint8_t **ret, size_t *ret_len);
int etcd_txn_encode(const char *key, uint64_t mod_revision, struct span value, uint8_t **ret,
		    size_t *ret_len);

/* Called for each key; anything but 0 ends it and is the result. All borrowed from the answer. */
typedef int etcd_each_fn(void *ctx, const struct etcd_kv *kv);
/* @body: all that came. -EPROTO: it is no answer to that. -E2BIG: there are more keys than were asked for. */
int etcd_range_decode(struct span body, etcd_each_fn *each, void *ctx, struct etcd_answer *ret);
/* @each: what is there instead, if it was not put. */
int etcd_txn_decode(struct span body, etcd_each_fn *each, void *ctx, struct etcd_answer *ret);

#endif
