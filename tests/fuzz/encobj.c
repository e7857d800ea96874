/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EncryptedObject as anyone with access to etcd may have written it: an object that is accepted keeps
 * the rules, and what is encoded from it again is the same object.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "daemon/chain/encobj.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool inside(struct span s, const uint8_t *data, size_t size)
{
	return s.len == 0 ||
	       (s.data >= data && s.len <= size && (size_t)(s.data - data) <= size - s.len);
}

static void check(const struct encobj *obj, const uint8_t *data, size_t size)
{
	require(obj->data.len > 0 && inside(obj->data, data, size));
	require(obj->key_id.len > 0 && inside(obj->key_id, data, size));
	require(obj->dek.len > 0 && inside(obj->dek, data, size));
	require(encobj_check_key(obj->key_id, obj->dek, &obj->annotations) == 0);
	for (size_t i = 0; i < obj->annotations.n; i++) {
		require(inside(obj->annotations.v[i].key, data, size));
		require(inside(obj->annotations.v[i].value, data, size));
	}
}

/* Head, data and tail of @obj; caller frees. */
static uint8_t *encode(const struct encobj *obj, size_t *ret_len)
{
	_cleanup_free_ uint8_t *tail = NULL;
	size_t tail_len, head_len;
	uint8_t *out;

	require(encobj_tail(obj, &tail, &tail_len) == 0);
	out = malloc(ENCOBJ_HEAD_MAX + obj->data.len + tail_len);
	require(out != NULL);
	head_len = encobj_head(out, obj->data.len);
	memcpy(out + head_len, obj->data.data, obj->data.len);
	memcpy(out + head_len + obj->data.len, tail, tail_len);
	*ret_len = head_len + obj->data.len + tail_len;
	return out;
}

static void same(const struct encobj *a, const struct encobj *b)
{
	require(span_equal(a->data, b->data) && span_equal(a->key_id, b->key_id));
	require(span_equal(a->dek, b->dek) && a->type == b->type);
	require(a->annotations.n == b->annotations.n);
	for (size_t i = 0; i < a->annotations.n; i++)
		require(span_equal(a->annotations.v[i].key, b->annotations.v[i].key) &&
			span_equal(a->annotations.v[i].value, b->annotations.v[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_encobj_ struct encobj obj = { 0 }, again = { 0 };
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (encobj_decode(span_of(data, size), &obj) < 0)
		return 0;
	check(&obj, data, size);
	bytes = encode(&obj, &len);
	require(encobj_decode(span_of(bytes, len), &again) == 0);
	same(&obj, &again);
	return 0;
}
