/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EncryptedObject: the protobuf message that follows "k8s:enc:kms:v2:NAME:" in a stored value.
 * (base/proto.h is the wire format.)
 *
 * Decoding copies no bytes: spans point into the message. It checks what the apiserver checks on
 * every read (k8s.io/apiserver, kmsv2/envelope.go): sizes, the names of the annotations, the type. A
 * message costs at most a few times its own annotations in memory, whatever it claims.
 */
#ifndef KEKD_CHAIN_ENCOBJ_H
#define KEKD_CHAIN_ENCOBJ_H

#include "daemon/base/cleanup.h"
#include "daemon/base/proto.h"
#include <kekd/upstream.h>

enum dek_type {
	DEK_AES_GCM_KEY = 0,      /* 1.25 to 1.28: the DEK itself */
	DEK_HKDF_XNONCE_SEED = 1, /* a seed; each value has a DEK of its own */
};

struct encobj {
	struct span data;
	struct span key_id;
	struct span dek; /* as the plugin sealed it */
	enum dek_type type;
	struct annotations annotations; /* sorted by key, no key twice; the array is the object's */
};

/* -EINVAL: not such a message, or a field breaks a rule. -ENOMEM. Caller calls encobj_done(). */
int encobj_decode(struct span msg, struct encobj *ret);
/* Nothing happens on a zeroed one. */
void encobj_done(struct encobj *obj);
#define _cleanup_encobj_ _cleanup_(encobj_done)

/* The rules for what names and wraps a DEK. 0 or -EINVAL. */
int encobj_check_key(struct span key_id, struct span dek, const struct annotations *a);

/*
 * The order and uniqueness that decoding gives, in place: what is encoded from the same entries is then
 * always the same.
 */
void encobj_sort(struct annotations *a);

/*
 * Encoding is in two parts, so that the data can be encrypted in its place: head, data, tail.
 * encobj_head() writes the tag and length of @len bytes of data to @out and returns their number.
 * encobj_tail() gives the other fields in memory that the caller frees. -ENOMEM.
 */
#define ENCOBJ_HEAD_MAX PROTO_HEAD_MAX
size_t encobj_head(uint8_t out[static ENCOBJ_HEAD_MAX], size_t len);
int encobj_tail(const struct encobj *obj, uint8_t **ret, size_t *ret_len);

#endif
