/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider of the chain: one element of an EncryptionConfiguration's `providers`, with the
 * apiserver's exact bytes (kube-apiserver, storage/value/encrypt/…).
 *
 * The first provider of a chain writes. Reading goes by prefix: the chain asks each provider in
 * order whether a value is its own (match), and gives the value to the first that says so. A
 * provider that finds the tag wrong ends the operation with -EBADMSG.
 *
 * A key name may hold ':' and may stand in a configuration twice, so several prefixes can fit one
 * stored value. For OP_STORAGE the chain then goes from one fitting key to the next, as the
 * apiserver does: op->nth says which is meant. Keys whose prefix does not fit are never tried, and
 * for KMS purposes there is one attempt.
 */
#ifndef KEKD_PROVIDER_H
#define KEKD_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>

#include <kekd/op.h>

struct encconf_provider;
struct provider;

struct provider_ops {
	const char *kind;   /* "aesgcm" */
	const char *prefix; /* "k8s:enc:aesgcm:v1:"; NULL: values without a prefix */
	/* Bytes a stored value may be longer than its plaintext, label included. */
	size_t (*overhead)(const struct provider *p);
	/* Does @stored carry this provider's prefix and a label it holds a key for? */
	bool (*match)(const struct provider *p, struct span stored);
	/* How many of its keys fit @stored; NULL: one if match() says so. */
	unsigned int (*candidates)(const struct provider *p, struct span stored);
	/*
	 * Start; done follows. Errors that are returned here mean that done will not follow:
	 * -ENOKEY, -EKEYREJECTED, -EKEYREVOKED, -EINVAL (shorter than the format allows), -ENOBUFS,
	 * -EMSGSIZE (out_cap).
	 */
	int (*encrypt)(struct provider *p, struct op *op);
	int (*decrypt)(struct provider *p, struct op *op);
	/* key_id that encrypt would use now, or -ENOKEY, -EKEYREVOKED, … with the cause. */
	int (*key_id)(const struct provider *p, const char **ret);
	/*
	 * Both NULL where nothing is worth keeping. adopt: is @p what @e defines, whatever its settings are? Then it has one
	 * owner more, and each has to call free. configure: from now on by the settings of @e.
	 */
	bool (*adopt)(struct provider *p, const struct encconf_provider *e);
	void (*configure)(struct provider *p, const struct encconf_provider *e);
	void (*free)(struct provider *p);
};

/* First member of each provider's own type. */
struct provider {
	const struct provider_ops *ops;
};

#endif
