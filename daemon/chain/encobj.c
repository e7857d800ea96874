/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map is a repeated message {key, value}; of a key that comes twice the last value counts
 * (protobuf encoding guide), and Go's encoder writes the entries in random order, so they are sorted
 * here: a DEK is then found again whatever the order.
 */
#include "daemon/chain/encobj.h"

#include <errno.h>

#include "daemon/base/proto.h"

#define DNS_NAME_MAX  253
#define DNS_LABEL_MAX 63

/* Field numbers: encobj.proto. */
enum {
	OBJECT_DATA = 1,
	OBJECT_KEY_ID = 2,
	OBJECT_DEK = 3,
	OBJECT_ANNOTATION = 4,
	OBJECT_TYPE = 5,
};
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };

struct collect {
	struct annotations *a;
	size_t room, bytes;
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

static int collect_add(struct collect *c, const struct annotation *one)
{
	struct annotations *a = c->a;
	struct annotation *v;

	/* The name is checked first: an entry without one would cost memory but no bytes. */
	c->bytes += one->key.len + one->value.len;
	if (c->bytes > UPSTREAM_ANNOTATIONS_MAX || !is_name(one->key))
		return -EINVAL;
	if (a->n == c->room) {
		c->room = c->room == 0 ? 4 : c->room * 2;
		v = reallocarray(a->v, c->room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		a->v = v;
	}
	a->v[a->n++] = *one;
	return 0;
}

static int annotation_decode(struct span msg, struct annotation *ret)
{
	struct annotation one = { 0 };
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (f.number != ENTRY_KEY && f.number != ENTRY_VALUE)
			continue;
		if (f.type != PROTO_LEN)
			return -EINVAL;
		*(f.number == ENTRY_KEY ? &one.key : &one.value) = f.bytes;
	}
	if (r == 0)
		*ret = one;
	return r;
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

static int field_decode(const struct proto_field *f, struct encobj *obj, struct collect *collect)
{
	struct annotation one;
	int r;

	if (f->number > OBJECT_TYPE)
		return 0;
	if (f->type != (f->number == OBJECT_TYPE ? PROTO_VARINT : PROTO_LEN))
		return -EINVAL;
	switch (f->number) {
	case OBJECT_DATA:
		obj->data = f->bytes;
		return 0;
	case OBJECT_KEY_ID:
		obj->key_id = f->bytes;
		return 0;
	case OBJECT_DEK:
		obj->dek = f->bytes;
		return 0;
	case OBJECT_ANNOTATION:
		r = annotation_decode(f->bytes, &one);
		return r < 0 ? r : collect_add(collect, &one);
	default:
		if (f->varint != DEK_AES_GCM_KEY && f->varint != DEK_HKDF_XNONCE_SEED)
			return -EINVAL;
		obj->type = (enum dek_type)f->varint;
		return 0;
	}
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
	_cleanup_encobj_ struct encobj obj = { 0 };
	struct collect collect = { .a = &obj.annotations };
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		r = field_decode(&f, &obj, &collect);
		if (r < 0)
			break;
	}
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
	return proto_head(out, OBJECT_DATA, PROTO_LEN, len);
}

static size_t annotation_len(const struct annotation *a)
{
	return proto_bytes_len(ENTRY_KEY, a->key.len) + proto_bytes_len(ENTRY_VALUE, a->value.len);
}

/* @out has room for the field and is returned behind it. */
static uint8_t *encobj_put_bytes(uint8_t *out, uint32_t number, struct span bytes)
{
	if (bytes.len == 0)
		return out;
	out += proto_head(out, number, PROTO_LEN, bytes.len);
	memcpy(out, bytes.data, bytes.len);
	return out + bytes.len;
}

int encobj_tail(const struct encobj *obj, uint8_t **ret, size_t *ret_len)
{
	const struct annotations *a = &obj->annotations;
	size_t max = 3 * PROTO_HEAD_MAX + obj->key_id.len + obj->dek.len;
	uint8_t *out, *p;

	for (size_t i = 0; i < a->n; i++)
		max += PROTO_HEAD_MAX + annotation_len(&a->v[i]);
	out = malloc(max);
	if (!out)
		return -ENOMEM;
	p = encobj_put_bytes(out, OBJECT_KEY_ID, obj->key_id);
	p = encobj_put_bytes(p, OBJECT_DEK, obj->dek);
	for (size_t i = 0; i < a->n; i++) {
		p += proto_head(p, OBJECT_ANNOTATION, PROTO_LEN, annotation_len(&a->v[i]));
		p = encobj_put_bytes(p, ENTRY_KEY, a->v[i].key);
		p = encobj_put_bytes(p, ENTRY_VALUE, a->v[i].value);
	}
	if (obj->type != 0)
		p += proto_head(p, OBJECT_TYPE, PROTO_VARINT, obj->type);
	*ret = out;
	*ret_len = (size_t)(p - out);
	return 0;
}
