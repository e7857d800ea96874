/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nanopb decodes fields by callbacks, each of which notes where its bytes are. A map is a repeated
 * message {key, value}; of a key that comes twice the last value counts (protobuf encoding guide),
 * and Go's encoder writes the entries in random order, so they are sorted here: a DEK is then found
 * again whatever the order.
 */
#include "daemon/chain/encobj.h"

#include <errno.h>

#include "daemon/base/pbspan.h"
#include "daemon/chain/encobj.pb.h"

#define DNS_NAME_MAX  253
#define DNS_LABEL_MAX 63

struct collect {
	struct annotations a;
	size_t room, bytes;
	bool no_memory;
};

static bool is_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123 label as Kubernetes has it: lower case, digits, '-' inside. */
static bool is_label(struct span s)
{
	if (s.len == 0 || s.len > DNS_LABEL_MAX || !is_alnum(s.data[0]) ||
	    !is_alnum(s.data[s.len - 1]))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.data[i]) && s.data[i] != '-')
			return false;
	return true;
}

/* A fully qualified name: at least two labels; one dot at the end is forgiven. */
static bool is_name(struct span s)
{
	size_t labels = 0, start = 0;

	if (s.len > 0 && s.data[s.len - 1] == '.')
		s.len--;
	if (s.len == 0 || s.len > DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i <= s.len; i++) {
		if (i < s.len && s.data[i] != '.')
			continue;
		if (!is_label(span_of(s.data + start, i - start)))
			return false;
		start = i + 1;
		labels++;
	}
	return labels >= 2;
}

static bool collect_add(struct collect *c, const struct annotation *a)
{
	struct annotation *v;

	/* The name is checked first: an entry without one would cost memory but no bytes. */
	c->bytes += a->key.len + a->value.len;
	if (c->bytes > UPSTREAM_ANNOTATIONS_MAX || !is_name(a->key))
		return false;
	if (c->a.n == c->room) {
		c->room = c->room == 0 ? 4 : c->room * 2;
		v = reallocarray(c->a.v, c->room, sizeof(*v));
		c->no_memory = !v;
		if (!v)
			return false;
		c->a.v = v;
	}
	c->a.v[c->a.n++] = *a;
	return true;
}

static bool take_annotation(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct annotation a = { 0 };
	kekd_storage_EncryptedObject_AnnotationsEntry entry = {
		.key = { .funcs.decode = pbspan_take, .arg = &a.key },
		.value = { .funcs.decode = pbspan_take, .arg = &a.value },
	};

	return pb_decode(stream, kekd_storage_EncryptedObject_AnnotationsEntry_fields, &entry) &&
	       collect_add(*arg, &a);
}

/* By key; of equal ones the earlier in the message first. */
static int annotation_order(const void *x, const void *y)
{
	const struct annotation *a = x, *b = y;
	size_t n = a->key.len < b->key.len ? a->key.len : b->key.len;
	int r = memcmp(a->key.data, b->key.data, n);

	if (r != 0)
		return r;
	if (a->key.len != b->key.len)
		return a->key.len < b->key.len ? -1 : 1;
	return a->key.data < b->key.data ? -1 : a->key.data > b->key.data;
}

void encobj_sort(struct annotations *a)
{
	size_t n = 0;

	if (a->n < 2)
		return;
	qsort(a->v, a->n, sizeof(*a->v), annotation_order);
	for (size_t i = 1; i < a->n; i++) {
		if (!span_equal(a->v[i].key, a->v[n].key))
			n++;
		a->v[n] = a->v[i];
	}
	a->n = n + 1;
}

static int decode(struct span msg, struct encobj *obj, struct collect *collect)
{
	struct pbspan c = { .msg = msg };
	pb_istream_t stream = pbspan_stream(&c);
	kekd_storage_EncryptedObject pb = {
		.encrypted_data = { .funcs.decode = pbspan_take, .arg = &obj->data },
		.key_id = { .funcs.decode = pbspan_take, .arg = &obj->key_id },
		.dek_source = { .funcs.decode = pbspan_take, .arg = &obj->dek },
		.annotations = { .funcs.decode = take_annotation, .arg = collect },
	};

	if (!pb_decode(&stream, kekd_storage_EncryptedObject_fields, &pb))
		return collect->no_memory ? -ENOMEM : -EINVAL;
	if (pb.dek_source_type != kekd_storage_DEKSourceType_AES_GCM_KEY &&
	    pb.dek_source_type != kekd_storage_DEKSourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED)
		return -EINVAL;
	obj->type = (enum dek_type)pb.dek_source_type;
	return 0;
}

int encobj_check_key(struct span key_id, struct span dek, const struct annotations *a)
{
	size_t bytes = 0;

	if (key_id.len == 0 || key_id.len > UPSTREAM_KEY_ID_MAX)
		return -EINVAL;
	if (dek.len == 0 || dek.len > UPSTREAM_CIPHERTEXT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < a->n; i++) {
		bytes += a->v[i].key.len + a->v[i].value.len;
		if (bytes > UPSTREAM_ANNOTATIONS_MAX || !is_name(a->v[i].key))
			return -EINVAL;
	}
	return 0;
}

int encobj_decode(struct span msg, struct encobj *ret)
{
	struct collect collect = { 0 };
	_cleanup_encobj_ struct encobj obj = { 0 };
	int r;

	r = decode(msg, &obj, &collect);
	obj.annotations = collect.a;
	if (r == 0)
		r = encobj_check_key(obj.key_id, obj.dek, &obj.annotations);
	if (r == 0 && obj.data.len == 0)
		r = -EINVAL;
	if (r < 0)
		return r;
	encobj_sort(&obj.annotations);
	*ret = obj;
	obj.annotations.v = NULL;
	return 0;
}

void encobj_done(struct encobj *obj)
{
	free(obj->annotations.v);
	obj->annotations = (struct annotations){ 0 };
}

size_t encobj_head(uint8_t out[static ENCOBJ_HEAD_MAX], size_t len)
{
	pb_ostream_t stream = pb_ostream_from_buffer(out, ENCOBJ_HEAD_MAX);

	/* Cannot fail: a tag below 16 is one byte, a 64-bit varint at most ten. */
	(void)pb_encode_tag(&stream, PB_WT_STRING, kekd_storage_EncryptedObject_encrypted_data_tag);
	(void)pb_encode_varint(&stream, len);
	return stream.bytes_written;
}

/* proto3: an empty field is not sent. */
static bool put_span(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct span *s = *arg;

	if (s->len == 0)
		return true;
	return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, s->data, s->len);
}

static bool put_annotations(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct annotations *a = *arg;

	for (size_t i = 0; i < a->n; i++) {
		kekd_storage_EncryptedObject_AnnotationsEntry entry = {
			.key = { .funcs.encode = put_span, .arg = &a->v[i].key },
			.value = { .funcs.encode = put_span, .arg = &a->v[i].value },
		};

		if (!pb_encode_tag_for_field(stream, field) ||
		    !pb_encode_submessage(
			    stream, kekd_storage_EncryptedObject_AnnotationsEntry_fields, &entry))
			return false;
	}
	return true;
}

int encobj_tail(const struct encobj *obj, uint8_t **ret, size_t *ret_len)
{
	struct encobj copy = *obj; /* nanopb's arguments are not const */
	kekd_storage_EncryptedObject pb = {
		.key_id = { .funcs.encode = put_span, .arg = &copy.key_id },
		.dek_source = { .funcs.encode = put_span, .arg = &copy.dek },
		.annotations = { .funcs.encode = put_annotations, .arg = &copy.annotations },
		.dek_source_type = (kekd_storage_DEKSourceType)obj->type,
	};
	_cleanup_free_ uint8_t *out = NULL;
	pb_ostream_t stream;
	size_t len;

	if (!pb_get_encoded_size(&len, kekd_storage_EncryptedObject_fields, &pb))
		return -EINVAL;
	out = malloc(len);
	if (!out)
		return -ENOMEM;
	stream = pb_ostream_from_buffer(out, len);
	if (!pb_encode(&stream, kekd_storage_EncryptedObject_fields, &pb))
		return -EINVAL;
	*ret = move_ptr(out);
	*ret_len = len;
	return 0;
}
