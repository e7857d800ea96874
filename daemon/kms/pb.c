/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nanopb does the wire format; every field is a callback that hands a span on. The message structs
 * that nanopb generates hold one pb_callback_t per field; the tables below say which span of ours
 * belongs to which of them, by offset, so that there is one decoder and one encoder for all.
 */
#include "daemon/kms/pb.h"

#include <errno.h>
#include <stddef.h>

#include "daemon/base/pbspan.h"
#include "daemon/kms/kmsv1.pb.h"
#include "daemon/kms/kmsv2.pb.h"

#define FIELDS_MAX 4

struct field {
	size_t pb;   /* offset of the pb_callback_t in nanopb's struct */
	size_t span; /* offset of the span in ours */
};

struct message {
	const pb_msgdesc_t *desc;
	struct field fields[FIELDS_MAX];
	size_t n;
	const struct map *map;
};

/* The annotations of a message: what its entries are, and where nanopb's callback for them is. */
struct map {
	const pb_msgdesc_t *entry;
	size_t pb;
};

static const struct map decrypt_map = { v2_DecryptRequest_AnnotationsEntry_fields,
					offsetof(v2_DecryptRequest, annotations) };
static const struct map encrypt_map = { v2_EncryptResponse_AnnotationsEntry_fields,
					offsetof(v2_EncryptResponse, annotations) };

/* nanopb gives each map an entry type of its own; they are all the same. */
union entry {
	v2_DecryptRequest_AnnotationsEntry decrypt;
	v2_EncryptResponse_AnnotationsEntry encrypt;
	struct {
		pb_callback_t key, value;
	} fields;
};
_Static_assert(offsetof(v2_DecryptRequest_AnnotationsEntry, value) == sizeof(pb_callback_t) &&
		       offsetof(v2_EncryptResponse_AnnotationsEntry, value) ==
			       sizeof(pb_callback_t),
	       "an entry is key and value");

#define REQ(msg, f, s)                                            \
	{                                                         \
		offsetof(msg, f), offsetof(struct kms_request, s) \
	}
#define RSP(msg, f, s)                                             \
	{                                                          \
		offsetof(msg, f), offsetof(struct kms_response, s) \
	}

static const struct message messages[PB_MESSAGES] = {
	[PB_V2_STATUS_REQUEST] = { v2_StatusRequest_fields, { { 0, 0 } }, 0, NULL },
	[PB_V2_STATUS_RESPONSE] = { v2_StatusResponse_fields,
				    { RSP(v2_StatusResponse, version, version),
				      RSP(v2_StatusResponse, healthz, healthz),
				      RSP(v2_StatusResponse, key_id, key_id) },
				    3,
				    NULL },
	[PB_V2_ENCRYPT_REQUEST] = { v2_EncryptRequest_fields,
				    { REQ(v2_EncryptRequest, plaintext, data),
				      REQ(v2_EncryptRequest, uid, uid) },
				    2,
				    NULL },
	[PB_V2_ENCRYPT_RESPONSE] = { v2_EncryptResponse_fields,
				     { RSP(v2_EncryptResponse, ciphertext, data),
				       RSP(v2_EncryptResponse, key_id, key_id) },
				     2,
				     &encrypt_map },
	[PB_V2_DECRYPT_REQUEST] = { v2_DecryptRequest_fields,
				    { REQ(v2_DecryptRequest, ciphertext, data),
				      REQ(v2_DecryptRequest, uid, uid),
				      REQ(v2_DecryptRequest, key_id, key_id) },
				    3,
				    &decrypt_map },
	[PB_V2_DECRYPT_RESPONSE] = { v2_DecryptResponse_fields,
				     { RSP(v2_DecryptResponse, plaintext, data) },
				     1,
				     NULL },
	[PB_V1_VERSION_REQUEST] = { v1beta1_VersionRequest_fields,
				    { REQ(v1beta1_VersionRequest, version, version) },
				    1,
				    NULL },
	[PB_V1_VERSION_RESPONSE] = { v1beta1_VersionResponse_fields,
				     { RSP(v1beta1_VersionResponse, version, version),
				       RSP(v1beta1_VersionResponse, runtime_name, runtime_name),
				       RSP(v1beta1_VersionResponse, runtime_version,
					   runtime_version) },
				     3,
				     NULL },
	[PB_V1_ENCRYPT_REQUEST] = { v1beta1_EncryptRequest_fields,
				    { REQ(v1beta1_EncryptRequest, version, version),
				      REQ(v1beta1_EncryptRequest, plain, data) },
				    2,
				    NULL },
	[PB_V1_ENCRYPT_RESPONSE] = { v1beta1_EncryptResponse_fields,
				     { RSP(v1beta1_EncryptResponse, cipher, data) },
				     1,
				     NULL },
	[PB_V1_DECRYPT_REQUEST] = { v1beta1_DecryptRequest_fields,
				    { REQ(v1beta1_DecryptRequest, version, version),
				      REQ(v1beta1_DecryptRequest, cipher, data) },
				    2,
				    NULL },
	[PB_V1_DECRYPT_RESPONSE] = { v1beta1_DecryptResponse_fields,
				     { RSP(v1beta1_DecryptResponse, plain, data) },
				     1,
				     NULL },
};

/* Room for any of nanopb's message structs: they are made of callbacks only. */
union any {
	v2_StatusResponse status;
	v2_DecryptRequest decrypt;
	v2_EncryptResponse encrypt;
	v1beta1_VersionResponse version;
	pb_callback_t fields[8];
};

/* One more entry of a map. The message's size bounds their number. */
struct collect {
	const struct map *map;
	struct annotations a;
	size_t room;
};

static bool annotation_decode(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct collect *c = *arg;
	struct annotation a = { 0 }, *v;
	union entry entry = { .fields = {
				      .key = { .funcs.decode = pbspan_take, .arg = &a.key },
				      .value = { .funcs.decode = pbspan_take, .arg = &a.value } } };

	if (!pb_decode(stream, c->map->entry, &entry))
		return false;
	if (c->a.n == c->room) {
		c->room = c->room == 0 ? 4 : c->room * 2;
		v = reallocarray(c->a.v, c->room, sizeof(*v));
		if (!v)
			return false;
		c->a.v = v;
	}
	c->a.v[c->a.n++] = a;
	return true;
}

static bool annotations_encode(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct annotations *a = *arg;

	for (size_t i = 0; i < a->n; i++) {
		union entry entry = {
			.fields = { .key = { .funcs.encode = pbspan_put, .arg = &a->v[i].key },
				    .value = { .funcs.encode = pbspan_put, .arg = &a->v[i].value } }
		};

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_submessage(stream, decrypt_map.entry, &entry))
			return false;
	}
	return true;
}

/* @collect: where annotations go; NULL: they are skipped. */
static int kms_pb_decode(enum pb_message which, struct span msg, void *spans,
			 struct collect *collect)
{
	const struct message *m = &messages[which];
	struct pbspan c = { .msg = msg };
	pb_istream_t stream = pbspan_stream(&c);
	union any any = { 0 };

	for (size_t i = 0; i < m->n; i++) {
		pb_callback_t *cb = (void *)((char *)&any + m->fields[i].pb);

		cb->funcs.decode = pbspan_take;
		cb->arg = (char *)spans + m->fields[i].span;
	}
	if (m->map && collect) {
		pb_callback_t *cb = (void *)((char *)&any + m->map->pb);

		cb->funcs.decode = annotation_decode;
		cb->arg = collect;
		collect->map = m->map;
	}
	return pb_decode(&stream, m->desc, &any) ? 0 : -EINVAL;
}

static bool pb_secbuf_write(pb_ostream_t *stream, const pb_byte_t *buf, size_t count)
{
	return secbuf_append(stream->state, buf, count) == 0;
}

static int encode(enum pb_message which, const void *spans, const struct annotations *a,
		  struct secbuf *out)
{
	const struct message *m = &messages[which];
	pb_ostream_t stream = { .callback = pb_secbuf_write, .state = out, .max_size = SIZE_MAX };
	union any any = { 0 };

	for (size_t i = 0; i < m->n; i++) {
		pb_callback_t *cb = (void *)((char *)&any + m->fields[i].pb);

		cb->funcs.encode = pbspan_put;
		cb->arg = (char *)(uintptr_t)spans + m->fields[i].span;
	}
	if (m->map && a) {
		pb_callback_t *cb = (void *)((char *)&any + m->map->pb);

		cb->funcs.encode = annotations_encode;
		cb->arg = (void *)(uintptr_t)a;
	}
	return pb_encode(&stream, m->desc, &any) ? 0 : -ENOBUFS;
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
	struct collect collect = { 0 };
	struct kms_response rsp = { 0 };
	int r = kms_pb_decode(which, msg, &rsp, &collect);

	rsp.annotations = collect.a;
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
	return encode(which, rsp, NULL, out);
}
