/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says which span of ours each field of a message is, so that there is one decoder and one
 * encoder for all. Every field is bytes or a string; the fields of a message are numbered from 1 on.
 */
#include "daemon/kms/pb.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define FIELDS_MAX 3

struct message {
	size_t n;
	size_t span[FIELDS_MAX]; /* of field i + 1: its offset in our struct */
	uint32_t annotations;    /* number of the field that is a map; 0: there is none */
};

/* An entry of a map is a message of two fields (protobuf.dev, "Maps"). */
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

#define REQ(field) offsetof(struct kms_request, field)
#define RSP(field) offsetof(struct kms_response, field)

static const struct message messages[PB_MESSAGES] = {
	[PB_V2_STATUS_REQUEST] = { 0, { 0 }, 0 },
	[PB_V2_STATUS_RESPONSE] = { 3, { RSP(version), RSP(healthz), RSP(key_id) }, 0 },
	[PB_V2_ENCRYPT_REQUEST] = { 2, { REQ(data), REQ(uid) }, 0 },
	[PB_V2_ENCRYPT_RESPONSE] = { 2, { RSP(data), RSP(key_id) }, 3 },
	[PB_V2_DECRYPT_REQUEST] = { 3, { REQ(data), REQ(uid), REQ(key_id) }, 4 },
	[PB_V2_DECRYPT_RESPONSE] = { 1, { RSP(data) }, 0 },
	[PB_V1_VERSION_REQUEST] = { 1, { REQ(version) }, 0 },
	[PB_V1_VERSION_RESPONSE] = { 3,
				     { RSP(version), RSP(runtime_name), RSP(runtime_version) },
				     0 },
	[PB_V1_ENCRYPT_REQUEST] = { 2, { REQ(version), REQ(data) }, 0 },
	[PB_V1_ENCRYPT_RESPONSE] = { 1, { RSP(data) }, 0 },
	[PB_V1_DECRYPT_REQUEST] = { 2, { REQ(version), REQ(data) }, 0 },
	[PB_V1_DECRYPT_RESPONSE] = { 1, { RSP(data) }, 0 },
};

/* The message's size bounds the number of entries. */
static int annotations_add(struct annotations *a, size_t *room, struct span entry)
{
	struct annotation one = { 0 }, *v;
	struct proto_field f;
	int r;

	while ((r = proto_next(&entry, &f)) > 0) {
		if (f.number != ENTRY_KEY && f.number != ENTRY_VALUE)
			continue;
		if (f.type != PROTO_LEN)
			return -EINVAL;
		*(f.number == ENTRY_KEY ? &one.key : &one.value) = f.bytes;
	}
	if (r < 0)
		return r;
	if (a->n == *room) {
		*room = *room == 0 ? 4 : *room * 2;
		v = reallocarray(a->v, *room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		a->v = v;
	}
	a->v[a->n++] = one;
	return 0;
}

/* @a: where annotations go; NULL: they are skipped as unknown fields are. */
static int kms_pb_decode(enum pb_message which, struct span msg, void *spans, struct annotations *a)
{
	const struct message *m = &messages[which];
	struct proto_field f;
	size_t room = 0;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		bool annotation = a && f.number == m->annotations;

		if (f.number > m->n && !annotation)
			continue;
		if (f.type != PROTO_LEN)
			return -EINVAL;
		if (!annotation) {
			*(struct span *)((char *)spans + m->span[f.number - 1]) = f.bytes;
			continue;
		}
		r = annotations_add(a, &room, f.bytes);
		if (r < 0)
			return r;
	}
	return r;
}

static int encode(enum pb_message which, const void *spans, const struct annotations *a,
		  struct secbuf *out)
{
	const struct message *m = &messages[which];
	int r = 0;

	for (uint32_t i = 0; i < m->n && r == 0; i++)
		r = proto_put_bytes(out, i + 1,
				    *(const struct span *)((const char *)spans + m->span[i]));
	for (size_t i = 0; m->annotations != 0 && i < a->n && r == 0; i++) {
		struct span key = a->v[i].key, value = a->v[i].value;

		r = proto_put_message(out, m->annotations,
				      proto_bytes_len(ENTRY_KEY, key.len) +
					      proto_bytes_len(ENTRY_VALUE, value.len));
		if (r == 0)
			r = proto_put_bytes(out, ENTRY_KEY, key);
		if (r == 0)
			r = proto_put_bytes(out, ENTRY_VALUE, value);
	}
	return r;
}

int pb_decode_request(enum pb_message which, struct span msg, struct kms_request *ret)
{
	struct kms_request req = { 0 };
	int r = kms_pb_decode(which, msg, &req, NULL);

	if (r == 0)
		*ret = req;
	return r;
}

int pb_decode_response(enum pb_message which, struct span msg, struct kms_response *ret)
{
	struct kms_response rsp = { 0 };
	int r = kms_pb_decode(which, msg, &rsp, &rsp.annotations);

	if (r == 0)
		*ret = rsp;
	else
		pb_response_done(&rsp);
	return r;
}

void pb_response_done(struct kms_response *rsp)
{
	free(rsp->annotations.v);
	rsp->annotations = (struct annotations){ 0 };
}

int pb_encode_request(enum pb_message which, const struct kms_request *req, struct secbuf *out)
{
	return encode(which, req, &req->annotations, out);
}

int pb_encode_response(enum pb_message which, const struct kms_response *rsp, struct secbuf *out)
{
	return encode(which, rsp, &rsp->annotations, out);
}

int pb_encode_around(enum pb_message which, const struct kms_response *rsp, struct secbuf *out)
{
	struct kms_response rest = *rsp;

	if (rsp->data.len > 0) {
		out->len += proto_head(out->data + out->len, 1, PROTO_LEN, rsp->data.len);
		memmove(out->data + out->len, rsp->data.data, rsp->data.len);
		out->len += rsp->data.len;
	}
	rest.data = SPAN_NULL;
	return pb_encode_response(which, &rest, out);
}
