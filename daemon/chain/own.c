/* SPDX-License-Identifier: Apache-2.0 */
/* An operation for the data key inside the one for the value. See own.h. */
#include "daemon/chain/own.h"

#include <errno.h>
#include <string.h>

#include "daemon/chain/codec.h"
#include "daemon/chain/dekvalue.h"
#include "daemon/chain/encobj.h"

#define PREFIX_V1 CODEC_ENC "kms:v1:"
#define PREFIX_V2 CODEC_ENC "kms:v2:"

enum form { FORM_V1, FORM_V2_DEK, FORM_V2_SEED };

/* Spans of the value. */
struct own_value {
	enum form form;
	struct span edek, key_id, body;
};

/* In locked memory. */
struct own_call {
	struct secbuf self;
	struct op inner; /* unseals the data key */
	struct op *outer;
	struct own_value value;
	uint8_t dek[2 * KEKD_AES_KEY_MAX], scratch[KEKD_AES_KEY_MAX];
};

static bool own_cut_name(struct span *rest)
{
	const uint8_t *colon = rest->data ? memchr(rest->data, ':', rest->len) : NULL;

	if (!colon)
		return false;
	*rest = span_skip(*rest, (size_t)(colon - rest->data) + 1);
	return true;
}

static bool is_sealed_by_us(struct span edek)
{
	return span_starts_with(edek, span_str(CODEC_ENC));
}

/* A name of v1 may hold colons: the right one is followed by a length and a data key of ours. */
static int own_parse_v1(struct span rest, struct own_value *ret)
{
	while (own_cut_name(&rest)) {
		size_t len = rest.len < 2 ? 0 : (size_t)rest.data[0] << 8 | rest.data[1];

		if (len == 0 || rest.len - 2 < len || !is_sealed_by_us(span_of(rest.data + 2, len)))
			continue;
		*ret = (struct own_value){
			.form = FORM_V1,
			.edek = span_of(rest.data + 2, len),
			.body = span_skip(rest, 2 + len),
		};
		return 0;
	}
	return -EINVAL;
}

static int own_parse_v2(struct span rest, struct own_value *ret)
{
	_cleanup_encobj_ struct encobj obj = { 0 };
	int r;

	if (!own_cut_name(&rest))
		return -EINVAL;
	r = encobj_decode(rest, &obj);
	if (r < 0)
		return r;
	if (!is_sealed_by_us(obj.dek))
		return -EINVAL;
	*ret = (struct own_value){
		.form = obj.type == DEK_HKDF_XNONCE_SEED ? FORM_V2_SEED : FORM_V2_DEK,
		.edek = obj.dek,
		.key_id = obj.key_id,
		.body = obj.data,
	};
	return 0;
}

static int parse(struct span stored, struct own_value *ret)
{
	if (span_starts_with(stored, span_str(PREFIX_V1)))
		return own_parse_v1(span_skip(stored, strlen(PREFIX_V1)), ret);
	if (span_starts_with(stored, span_str(PREFIX_V2)))
		return own_parse_v2(span_skip(stored, strlen(PREFIX_V2)), ret);
	return -EINVAL;
}

bool own_match(struct span stored)
{
	struct own_value v;

	return parse(stored, &v) == 0;
}

static int open_value(struct own_call *c)
{
	struct span dek = span_of(c->dek, c->inner.out_len), body = c->value.body;
	struct op *op = c->outer;
	int r;

	switch (c->value.form) {
	case FORM_V1:
		r = dekvalue_open_gcm(dek, op->context, body, op->out, op->out_cap, &op->out_len);
		if (r != -EBADMSG)
			return r;
		op->stale = true;
		return dekvalue_open_cbc(dek, body, op->out, op->out_cap, &op->out_len);
	case FORM_V2_DEK:
		op->stale = true;
		return dekvalue_open_gcm(dek, op->context, body, op->out, op->out_cap,
					 &op->out_len);
	default:
		return dekvalue_open_seeded(dek, op->context, body, c->scratch, op->out,
					    op->out_cap, &op->out_len);
	}
}

static void inner_done(struct op *inner, int r)
{
	struct own_call *c = container_of(inner, struct own_call, inner);
	struct secbuf self = c->self;
	struct op *op = c->outer;

	/* @c goes; @op may still be cancelled, with the call that it is part of. */
	op->cancel = NULL;
	op->provider = "kms";
	op->stale = inner->stale;
	memcpy(op->key_id, inner->key_id, sizeof(op->key_id));
	if (r == 0)
		r = open_value(c);
	secbuf_release(&self);
	op->done(op, r == -EINVAL || r == -EPROTO ? -EBADMSG : r);
}

/* Only an operation that waits for another plugin is cancelled: the engine is soon done with a data key. */
static void own_cancel(struct op *op)
{
	struct own_call *c = op->priv;

	if (c->inner.cancel)
		c->inner.cancel(&c->inner);
}

int own_decrypt(struct chain *chain, struct secpool *pool, struct op *op)
{
	_cleanup_secbuf_ struct secbuf self = { 0 };
	struct own_value value = { 0 };
	struct own_call *c;
	int r;

	r = parse(op->in, &value);
	if (r == 0)
		r = secpool_get(pool, sizeof(*c), &self);
	if (r < 0)
		return r;
	c = (void *)self.data;
	c->outer = op;
	c->value = value;
	c->inner = (struct op){
		.purpose = value.form == FORM_V1 ? OP_KMS_V1 : OP_KMS_V2,
		.in = value.edek,
		.context = value.key_id,
		.out = c->dek,
		.out_cap = sizeof(c->dek),
		.deadline_ns = op->deadline_ns,
		.peer = op->peer,
		.done = inner_done,
	};
	r = chain_decrypt(chain, &c->inner);
	if (r < 0)
		return r;
	op->priv = c;
	op->cancel = own_cancel;
	c->self = secbuf_move(&self);
	return 0;
}
