/* SPDX-License-Identifier: Apache-2.0 */
/* See page.h. Field numbers: etcd, api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same in 3.4 to 3.6. */
#include "daemon/cluster/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/proto.h"

/* RangeRequest */
#define ASK_KEY      1
#define ASK_END      2
#define ASK_LIMIT    3
#define ASK_REVISION 4

/* RangeResponse, ResponseHeader, KeyValue */
#define ANSWER_HEADER   1
#define ANSWER_KV       2
#define ANSWER_MORE     3
#define ANSWER_COUNT    4
#define HEADER_CLUSTER  1
#define HEADER_REVISION 3
#define KV_KEY          1
#define KV_REVISION     3
#define KV_VALUE        5

static size_t page_put_bytes(uint8_t *out, uint32_t number, struct span head, struct span tail)
{
	size_t n = proto_head(out, number, PROTO_LEN, head.len + tail.len);

	if (head.len > 0)
		memcpy(out + n, head.data, head.len);
	if (tail.len > 0)
		memcpy(out + n + head.len, tail.data, tail.len);
	return n + head.len + tail.len;
}

static size_t put_varint(uint8_t *out, uint32_t number, uint64_t value)
{
	return value == 0 ? 0 : proto_head(out, number, PROTO_VARINT, value);
}

/* From a key of one NUL, the first there can be, to the end, which etcd writes as such a key, too. */
int page_encode(const struct page_ask *ask, uint8_t **ret, size_t *ret_len)
{
	static const uint8_t nul;
	const struct span zero = span_of(&nul, 1);
	uint8_t *p = malloc(ETCD_FRAME + 4 * PROTO_HEAD_MAX + ask->after.len + ask->only.len + 2);
	size_t n = ETCD_FRAME;

	if (!p)
		return -ENOMEM;
	if (ask->only.len > 0) {
		n += page_put_bytes(p + n, ASK_KEY, ask->only, SPAN_NULL);
	} else {
		n += page_put_bytes(p + n, ASK_KEY, ask->after, zero);
		n += page_put_bytes(p + n, ASK_END, zero, SPAN_NULL);
	}
	n += put_varint(p + n, ASK_LIMIT, ask->limit);
	n += put_varint(p + n, ASK_REVISION, ask->revision);
	etcd_frame(p, n - ETCD_FRAME);
	*ret = p;
	*ret_len = n;
	return 0;
}

/* A field of a message as its number says, or of another type: then it is none. */
static bool is_field(const struct proto_field *f, uint32_t number, enum proto_type type)
{
	return f->number == number && f->type == type;
}

static int page_take_header(struct span msg, struct page_answer *ret)
{
	struct proto_field f;
	int r;

	while ((r = proto_next(&msg, &f)) > 0) {
		if (is_field(&f, HEADER_CLUSTER, PROTO_VARINT))
			ret->cluster = f.varint;
		else if (is_field(&f, HEADER_REVISION, PROTO_VARINT))
			ret->revision = f.varint;
	}
	return r < 0 ? -EPROTO : 0;
}

static int page_take_kv(struct span msg, struct etcd_kv *ret)
{
	struct proto_field f;
	int r;

	*ret = (struct etcd_kv){ 0 };
	while ((r = proto_next(&msg, &f)) > 0) {
		if (is_field(&f, KV_KEY, PROTO_LEN))
			ret->key = f.bytes;
		else if (is_field(&f, KV_VALUE, PROTO_LEN))
			ret->value = f.bytes;
		else if (is_field(&f, KV_REVISION, PROTO_VARINT))
			ret->mod_revision = f.varint;
	}
	return r < 0 || ret->key.len == 0 || ret->mod_revision == 0 ? -EPROTO : 0;
}

static bool is_asked(const struct page_ask *ask, const struct etcd_kv *kv, struct span last)
{
	size_t n = kv->key.len < last.len ? kv->key.len : last.len;
	int order = n > 0 ? memcmp(kv->key.data, last.data, n) : 0;

	if (ask->revision > 0 && kv->mod_revision > ask->revision)
		return false;
	if (ask->only.len > 0)
		return span_equal(kv->key, ask->only);
	return order > 0 || (order == 0 && kv->key.len > last.len);
}

int page_decode(struct span body, const struct page_ask *ask, etcd_each_fn *each, void *ctx,
		struct page_answer *ret)
{
	struct page_answer a = { 0 };
	struct span msg, last = ask->after;
	struct proto_field f;
	struct etcd_kv kv;
	uint64_t n = 0;
	int r = etcd_unframe(body, &msg);

	while (r == 0 && (r = proto_next(&msg, &f)) > 0) {
		r = 0;
		if (is_field(&f, ANSWER_HEADER, PROTO_LEN))
			r = page_take_header(f.bytes, &a);
		else if (is_field(&f, ANSWER_MORE, PROTO_VARINT))
			a.more = f.varint != 0;
		else if (is_field(&f, ANSWER_COUNT, PROTO_VARINT))
			a.count = f.varint;
		if (!is_field(&f, ANSWER_KV, PROTO_LEN))
			continue;
		r = page_take_kv(f.bytes, &kv);
		if (r == 0 && (!is_asked(ask, &kv, last) || n++ == ask->limit))
			r = -EPROTO;
		if (r == 0)
			r = each(ctx, &kv);
		if (r != 0)
			return r;
		last = kv.key;
	}
	if (r < 0 || a.revision == 0 || a.revision < ask->revision || (a.more && n == 0))
		return -EPROTO;
	*ret = a;
	return 0;
}
