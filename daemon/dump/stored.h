/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be told of a stored value without opening it: provider, key, and whether it is well formed.
 *
 * NAME in "k8s:enc:aesgcm:v1:NAME:" may hold a ':', so names that are known are tried whole before a
 * value is cut at a colon (chain/codec.h). A KMS value is an envelope: the name is that of the apiserver's
 * provider, and what key it needs stands inside. Where kekd is the plugin, the sealed data key is itself
 * a value of kekd's chain, and says by its label which key that is.
 */
#ifndef KEKD_DUMP_STORED_H
#define KEKD_DUMP_STORED_H

#include <kekd/span.h>

enum stored_kind {
	STORED_PLAIN,
	STORED_AESGCM,
	STORED_AESCBC,
	STORED_SECRETBOX,
	STORED_KMS_V1,
	STORED_KMS_V2,
	STORED_UNKNOWN, /* k8s:enc: and then nothing that is known */
	STORED_KINDS,
};

/* "aesgcm", "kms v2", "plaintext", … */
const char *stored_kind_name(enum stored_kind kind);

/* Spans of the value. */
struct stored {
	enum stored_kind kind;
	struct span name;   /* NAME of the prefix: a key's label, or of kms the provider's name */
	struct span label;  /* of the key that is needed, if it is one of a chain; else empty */
	struct span key_id; /* kms v2 */
	bool own;           /* kms: the data key was sealed by kekd */
	const char *fault;  /* NULL, or why nobody can open it */
};

/* Labels that are known, to be matched whole. Borrowed. */
struct stored_labels {
	const struct span *v;
	size_t n;
};

/* Pure, but for memory that EncryptedObject takes for a moment. -ENOMEM. */
int stored_parse(struct span value, const struct stored_labels *labels, struct stored *ret);

#define KEY_ID_HASH_TEXT 72 /* with the NUL */
/* "sha256:<hex>" of a key_id, as kube-apiserver's metrics label it. */
void key_id_hash(struct span key_id, char ret[static KEY_ID_HASH_TEXT]);

#endif
