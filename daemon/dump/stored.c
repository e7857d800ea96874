/* SPDX-License-Identifier: Apache-2.0 */
/* See stored.h. Sizes are those of kube-apiserver, storage/value/encrypt. */
#include "daemon/dump/stored.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "daemon/chain/codec.h"
#include "daemon/chain/encobj.h"
#include <kekd/limits.h>

#define SECRETBOX_NONCE 24
#define SECRETBOX_TAG   16
#define SEED_INFO       32

static const struct {
	const char *prefix, *name;
} kinds[STORED_KINDS] = {
	[STORED_PLAIN] = { NULL, "plaintext" },
	[STORED_AESGCM] = { CODEC_ENC "aesgcm:v1:", "aesgcm" },
	[STORED_AESCBC] = { CODEC_ENC "aescbc:v1:", "aescbc" },
	[STORED_SECRETBOX] = { CODEC_ENC "secretbox:v1:", "secretbox" },
	[STORED_KMS_V1] = { CODEC_ENC "kms:v1:", "kms v1" },
	[STORED_KMS_V2] = { CODEC_ENC "kms:v2:", "kms v2" },
	[STORED_UNKNOWN] = { NULL, "unknown" },
};

const char *stored_kind_name(enum stored_kind kind)
{
	return kinds[kind].name;
}

static enum stored_kind stored_kind_of(struct span value)
{
	if (!span_starts_with(value, span_str(CODEC_ENC)))
		return STORED_PLAIN;
	for (enum stored_kind k = 0; k < STORED_KINDS; k++)
		if (kinds[k].prefix && span_starts_with(value, span_str(kinds[k].prefix)))
			return k;
	return STORED_UNKNOWN;
}

/* At the first colon. False: there is none. */
static bool stored_cut_name(struct span rest, struct span *ret_name, struct span *ret_body)
{
	const uint8_t *colon = rest.data ? memchr(rest.data, ':', rest.len) : NULL;
	size_t n;

	if (!colon)
		return false;
	n = (size_t)(colon - rest.data);
	*ret_name = span_of(rest.data, n);
	*ret_body = span_skip(rest, n + 1);
	return true;
}

/* A label that is known, or up to the first colon. */
static bool find_name(struct span value, const char *prefix, const struct stored_labels *labels,
		      struct span *ret_name, struct span *ret_body)
{
	for (size_t i = 0; i < labels->n; i++) {
		if (!codec_prefix_match(value, prefix, labels->v[i], ret_body))
			continue;
		*ret_name = labels->v[i];
		return true;
	}
	return stored_cut_name(span_skip(value, strlen(prefix)), ret_name, ret_body);
}

static const char *body_fault(enum stored_kind kind, struct span body)
{
	switch (kind) {
	case STORED_AESGCM:
		return body.len < KEKD_GCM_NONCE + KEKD_GCM_TAG ? "shorter than nonce and tag"
								: NULL;
	case STORED_AESCBC:
		return body.len < 2 * KEKD_AES_BLOCK || body.len % KEKD_AES_BLOCK != 0
			       ? "no whole number of blocks"
			       : NULL;
	case STORED_SECRETBOX:
		return body.len < SECRETBOX_NONCE + SECRETBOX_TAG ? "shorter than nonce and tag"
								  : NULL;
	default:
		return NULL;
	}
}

/* The label of a data key that kekd has sealed: it is a value of the chain. */
static void look_inside(struct span edek, const struct stored_labels *labels, struct stored *s)
{
	enum stored_kind kind = stored_kind_of(edek);
	struct span body;

	if (kind == STORED_PLAIN || kind == STORED_UNKNOWN)
		return;
	s->own = find_name(edek, kinds[kind].prefix, labels, &s->label, &body);
	if (kind == STORED_KMS_V1 || kind == STORED_KMS_V2)
		s->label = SPAN_NULL;
}

/*
 * u16 length, data key, value. A name of v1 may hold colons: one at which the data key is kekd's is the
 * right one, otherwise the first at which the lengths fit.
 */
static void stored_parse_v1(struct span rest, const struct stored_labels *labels, struct stored *s)
{
	struct span name, body, all = rest;
	bool fits = false;

	while (!s->own && stored_cut_name(rest, &name, &body)) {
		size_t len = body.len < 2 ? 0 : (size_t)body.data[0] << 8 | body.data[1];

		rest = body;
		if (len == 0 || body.len - 2 < len + KEKD_GCM_NONCE + KEKD_GCM_TAG)
			continue;
		look_inside(span_of(body.data + 2, len), labels, s);
		if (!fits || s->own)
			s->name = span_of(all.data, (size_t)(body.data - all.data) - 1);
		fits = true;
	}
	if (!fits)
		s->fault = "no length of a sealed data key";
}

static int stored_parse_v2(struct span body, const struct stored_labels *labels, struct stored *s)
{
	_cleanup_encobj_ struct encobj obj = { 0 };
	size_t least = KEKD_GCM_NONCE + KEKD_GCM_TAG;
	int r;

	r = encobj_decode(body, &obj);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		s->fault = "no EncryptedObject";
		return 0;
	}
	s->key_id = obj.key_id;
	look_inside(obj.dek, labels, s);
	if (obj.type == DEK_HKDF_XNONCE_SEED)
		least += SEED_INFO;
	if (obj.data.len < least)
		s->fault = "shorter than nonce and tag";
	return 0;
}

int stored_parse(struct span value, const struct stored_labels *labels, struct stored *ret)
{
	struct stored s = { .kind = stored_kind_of(value) };
	const char *prefix = kinds[s.kind].prefix;
	struct span body = SPAN_NULL;
	int r = 0;

	if (s.kind == STORED_UNKNOWN)
		s.fault = "no provider that is known";
	else if (s.kind == STORED_KMS_V1)
		stored_parse_v1(span_skip(value, strlen(prefix)), labels, &s);
	else if (s.kind == STORED_KMS_V2 &&
		 stored_cut_name(span_skip(value, strlen(prefix)), &s.name, &body))
		r = stored_parse_v2(body, labels, &s);
	else if (prefix && s.kind != STORED_KMS_V2 &&
		 find_name(value, prefix, labels, &s.name, &body))
		s.fault = body_fault(s.kind, body);
	else if (prefix)
		s.fault = "no name of a key";
	if (r < 0)
		return r;
	if (s.kind == STORED_AESGCM || s.kind == STORED_AESCBC || s.kind == STORED_SECRETBOX)
		s.label = s.name;
	*ret = s;
	return 0;
}

void key_id_hash(struct span key_id, char ret[static KEY_ID_HASH_TEXT])
{
	unsigned char h[crypto_hash_sha256_BYTES];
	char hex[2 * sizeof(h) + 1];

	crypto_hash_sha256(h, key_id.data, key_id.len);
	sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
	snprintf(ret, KEY_ID_HASH_TEXT, "sha256:%s", hex);
}
