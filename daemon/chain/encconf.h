/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EncryptionConfiguration of kube-apiserver (apiserver.config.k8s.io/v1, and its legacy name
 * v1 EncryptionConfig), read with the apiserver's own rules as of 1.36 and one difference: a key
 * is a name, and a `secret:` is an error that says how to import it.
 *
 * Sources of the rules, all under k8s.io/apiserver/pkg unless said otherwise:
 * - the schema: apis/apiserver/v1/types_encryption.go, defaults in v1/defaults.go
 * - validation: apis/apiserver/validation/validation_encryption.go (its reload == false)
 * - rules hidden behind an earlier wildcard: server/options/encryptionconfig/config.go
 * - strict decoding: names of fields are case-sensitive, unknown and duplicate ones are errors
 *   (sigs.k8s.io/json UnmarshalStrict); null is as if the field were not there; a number or a
 *   boolean is no string
 *
 * Where this is stricter, because what the apiserver would do is a trap or a cost:
 * - all that daemon/base/yaml.h refuses (aliases, tags, several documents);
 * - endpoint is unix:///PATH without a host, which the apiserver drops from unix://HOST/PATH
 *   without a word, and without query, fragment, control characters or an empty path;
 * - names hold no control characters and at most ENCCONF_NAME_MAX bytes;
 * - resources are ASCII;
 * - the counts below are bounded.
 */
#ifndef KEKD_CHAIN_ENCCONF_H
#define KEKD_CHAIN_ENCCONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/yaml.h"
#include <kekd/limits.h>
#include <kekd/span.h>

#define ENCCONF_ITEMS_MAX     64
#define ENCCONF_RESOURCES_MAX 1024 /* of all items together, as are the next two */
#define ENCCONF_PROVIDERS_MAX 256
#define ENCCONF_KEYS_MAX      KEKD_KEYS_MAX
#define ENCCONF_NAME_MAX      (KEKD_LABEL_MAX - 1) /* bytes */

/*
 * Take a `secret:` by the apiserver's rules (and insist on it), into locked memory. For the import
 * of keys and for comparing verdicts with the apiserver.
 */
#define ENCCONF_ALLOW_SECRETS 1U

enum encconf_kind {
	ENCCONF_AESGCM,
	ENCCONF_AESCBC,
	ENCCONF_SECRETBOX,
	ENCCONF_IDENTITY,
	ENCCONF_KMS,
	ENCCONF_KINDS,
};
/* "aesgcm" */
const char *encconf_kind_name(enum encconf_kind kind);

struct encconf_key {
	char *name;
	const uint8_t *secret; /* ENCCONF_ALLOW_SECRETS only, in locked memory; else NULL */
	size_t secret_len;     /* 16, 24 or 32 bytes */
	uint32_t line, column;
};

struct encconf_kms {
	unsigned int version; /* 1 or 2 */
	char *name;
	char *endpoint;    /* as written */
	char *path;        /* of the socket, percent-decoded; "@NAME" when abstract */
	bool abstract;     /* no permissions guard it: whoever comes first may bind it */
	int64_t timeout;   /* of one call, ns; default 3 s */
	int32_t cachesize; /* version 1: entries, default 1000, negative: no cache; version 2: 0 */
};

struct encconf_provider {
	enum encconf_kind kind;
	struct encconf_key *keys; /* aesgcm, aescbc, secretbox: at least one */
	size_t keys_count;
	struct encconf_kms kms; /* kms */
	uint32_t line, column;
};

struct encconf_resource {
	char *name;
	uint32_t line, column;
};

/* One element of `resources`: the first provider writes, all read, in order. */
struct encconf_item {
	struct encconf_resource *resources;
	size_t resources_count;
	struct encconf_provider *providers;
	size_t providers_count;
	uint32_t line, column;
};

/* Everything in it is owned by it. */
struct encconf {
	struct encconf_item *items;
	size_t items_count;
	void *secrets; /* locked memory behind the keys' secrets, or NULL */
};

/*
 * @text, @file and @err are borrowed. -EINVAL with *err filled; -ENOMEM (also: RLIMIT_MEMLOCK).
 * Caller frees *ret, which wipes the secrets.
 */
int encconf_parse(struct span text, const char *file, unsigned int flags, struct encconf **ret,
		  struct yaml_error *err);
void encconf_free(struct encconf *c);
DEFINE_CLEANUP(struct encconf *, encconf_free);

#endif
