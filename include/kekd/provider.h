/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider of the chain: one element of an EncryptionConfiguration's `providers`, with the
 * apiserver's exact bytes (kube-apiserver, storage/value/encrypt/…).
 *
 * The first provider of a chain writes. Reading goes by prefix: the chain asks each provider in
 * order whether a value is its own (match), and gives the value to the first that says so. A
 * provider that finds the tag wrong ends the operation with -EBADMSG; another key is never tried
 * under the same label.
 */
#ifndef KEKD_PROVIDER_H
#define KEKD_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>

#include <kekd/op.h>

struct provider;

struct provider_ops {
	const char *kind;   /* "aesgcm" */
	const char *prefix; /* "k8s:enc:aesgcm:v1:" */
	/* Bytes a stored value may be longer than its plaintext, label included. */
	size_t (*overhead)(const struct provider *p);
	/* Does @stored carry this provider's prefix and a label it holds a key for? */
	bool (*match)(const struct provider *p, struct span stored);
	/*
	 * Start; done follows. Errors that are returned here mean that done will not follow:
	 * -ENOKEY, -EKEYREJECTED, -EKEYREVOKED, -EINVAL (shorter than the format allows), -ENOBUFS,
	 * -EMSGSIZE (out_cap).
	 */
	int (*encrypt)(struct provider *p, struct op *op);
	int (*decrypt)(struct provider *p, struct op *op);
	/* key_id that encrypt would use now, or -ENOKEY, -EKEYREVOKED, … with the cause. */
	int (*key_id)(const struct provider *p, const char **ret);
	void (*free)(struct provider *p);
};

/* First member of each provider's own type. */
struct provider {
	const struct provider_ops *ops;
};

#endif
