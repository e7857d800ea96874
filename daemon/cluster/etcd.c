/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See etcd.h. Field numbers: etcd, api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same in 3.4 to 3.6. What is
 * repeated is given out as it is met.
 */
#include "daemon/cluster/etcd.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/proto.h"

#define HEADS (16U * PROTO_HEAD_MAX) /* more than a request has fields */

enum { RANGE_REQUEST_KEY = 1, RANGE_REQUEST_END = 2, RANGE_REQUEST_LIMIT = 3 };
enum { PUT_REQUEST_KEY = 1, PUT_REQUEST_VALUE = 2 };
enum { COMPARE_TARGET = 2, COMPARE_KEY = 3, COMPARE_MOD_REVISION = 6 };
enum { TARGET_MOD = 2 }; /* and the result, EQUAL, is 0 */
enum { REQUEST_RANGE = 1, REQUEST_PUT = 2 };
enum { TXN_REQUEST_COMPARE = 1, TXN_REQUEST_SUCCESS = 2, TXN_REQUEST_FAILURE = 3 };

enum { HEADER_CLUSTER_ID = 1, HEADER_REVISION = 3 };
enum { KV_KEY = 1, KV_MOD_REVISION = 3, KV_VALUE = 5 };
enum { RANGE_HEADER = 1, RANGE_KVS = 2, RANGE_MORE = 3 };
enum { TXN_HEADER = 1, TXN_SUCCEEDED = 2, TXN_RESPONSES = 3 };
enum { RESPONSE_RANGE = 1 };

void etcd_frame(uint8_t out[static ETCD_FRAME], size_t len)
{
	out[0] = 0; /* not compressed */
	for (size_t i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(len >> (24 - 8 * i));
}

/* Requests: written into room for all of it. */

struct request {
	uint8_t *data, *end;
};

static int request_new(size_t bytes, struct request *ret)
{
	uint8_t *p;

	if (bytes > UINT32_MAX - HEADS)
		return -EMSGSIZE;
	p = malloc(ETCD_FRAME + HEADS + bytes);
	if (!p)
		return -ENOMEM;
	*ret = (struct request){ p, p + ETCD_FRAME };
	return 0;
}

static void put_number(struct request *q, uint32_t number, uint64_t value)
{
	q->end += proto_head(q->end, number, PROTO_VARINT, value);
}

/* The head of a message of @len bytes, which follow. */
static void put_message(struct request *q, uint32_t number, size_t len)
{
	q->end += proto_head(q->end, number, PROTO_LEN, len);
}

static void put_bytes(struct request *q, uint32_t number, struct span s)
{
	if (s.len == 0)
		return;
	put_message(q, number, s.len);
	memcpy(q->end, s.data, s.len);
	q->end += s.len;
}

/* How long such a message is, as a field. */
static size_t message_len(uint32_t number, size_t len)
{
	uint8_t head[PROTO_HEAD_MAX];

	return proto_head(head, number, PROTO_LEN, len) + len;
}

static void request_end(struct request *q, uint8_t **ret, size_t *ret_len)
{
	size_t size = (size_t)(q->end - q->data) - ETCD_FRAME;

	etcd_frame(q->data, size);
	*ret = q->data;
	*ret_len = ETCD_FRAME + size;
}

/*
 * The end of a range of all that begins with @prefix, which ends with no 0xff: it is a path. `serializable` is not
 * sent: false, so that the answer is linearizable.
 */
int etcd_range_encode(const char *prefix, uint8_t **ret, size_t *ret_len)
{
	struct span key = span_str(prefix);
	struct request q;
	int r;

	if (key.len == 0)
		return -EINVAL;
	r = request_new(2 * key.len, &q);
	if (r < 0)
		return r;
	put_bytes(&q, RANGE_REQUEST_KEY, key);
	put_bytes(&q, RANGE_REQUEST_END, key);
	q.end[-1]++;
	put_number(&q, RANGE_REQUEST_LIMIT, ETCD_KEYS_MAX);
	request_end(&q, ret, ret_len);
	return 0;
}

int etcd_txn_encode(const char *key, uint64_t mod_revision, struct span value, uint8_t **ret,
		    size_t *ret_len)
{
	struct span k = span_str(key);
	size_t get = proto_bytes_len(RANGE_REQUEST_KEY, k.len);
	size_t put = proto_bytes_len(PUT_REQUEST_KEY, k.len) +
		     proto_bytes_len(PUT_REQUEST_VALUE, value.len);
	uint8_t head[PROTO_HEAD_MAX];
	struct request q;
	int r;

	if (value.len > UINT32_MAX)
		return -EMSGSIZE;
	r = request_new(3 * k.len + value.len, &q);
	if (r < 0)
		return r;
	put_message(&q, TXN_REQUEST_COMPARE,
		    proto_varint_len(COMPARE_TARGET, TARGET_MOD) +
			    proto_bytes_len(COMPARE_KEY, k.len) +
			    proto_head(head, COMPARE_MOD_REVISION, PROTO_VARINT, mod_revision));
	put_number(&q, COMPARE_TARGET, TARGET_MOD);
	put_bytes(&q, COMPARE_KEY, k);
	put_number(&q, COMPARE_MOD_REVISION, mod_revision); /* 0, too: it is one of a oneof */
	put_message(&q, TXN_REQUEST_SUCCESS, message_len(REQUEST_PUT, put));
	put_message(&q, REQUEST_PUT, put);
	put_bytes(&q, PUT_REQUEST_KEY, k);
	put_bytes(&q, PUT_REQUEST_VALUE, value);
	put_message(&q, TXN_REQUEST_FAILURE, message_len(REQUEST_RANGE, get));
	put_message(&q, REQUEST_RANGE, get);
	put_bytes(&q, RANGE_REQUEST_KEY, k);
	request_end(&q, ret, ret_len);
	return 0;
}

/* Answers. A message that is none is -EPROTO; any other result is one of each. */

struct each {
	etcd_each_fn *each;
	void *ctx;
};

static int etcd_next(struct span *rest, struct proto_field *ret)
{
	int r = proto_next(rest, ret);

	return r < 0 ? -EPROTO : r;
}

static int take_bytes(const struct proto_field *f, struct span *ret)
{
	return proto_bytes(f, ret) < 0 ? -EPROTO : 0;
}

static int take_number(const struct proto_field *f, uint64_t *ret)
{
	return proto_number(f, ret) < 0 ? -EPROTO : 0;
}

static int take_flag(const struct proto_field *f, bool *ret)
{
	uint64_t n;
	int r = take_number(f, &n);

	if (r == 0)
		*ret = n != 0;
	return r;
}

static int take_header(const struct proto_field *field, struct etcd_answer *answer)
{
	struct proto_field f;
	struct span msg;
	int r = take_bytes(field, &msg);

	while (r == 0 && (r = etcd_next(&msg, &f)) > 0) {
		r = 0;
		if (f.number == HEADER_CLUSTER_ID)
			r = take_number(&f, &answer->cluster);
		else if (f.number == HEADER_REVISION)
			r = take_number(&f, &answer->revision);
	}
	return r;
}

static int take_kv(const struct proto_field *field, const struct each *e)
{
	struct etcd_kv kv = { 0 };
	struct proto_field f;
	struct span msg;
	int r = take_bytes(field, &msg);

	while (r == 0 && (r = etcd_next(&msg, &f)) > 0) {
		r = 0;
		if (f.number == KV_KEY)
			r = take_bytes(&f, &kv.key);
		else if (f.number == KV_MOD_REVISION)
			r = take_number(&f, &kv.mod_revision);
		else if (f.number == KV_VALUE)
			r = take_bytes(&f, &kv.value);
	}
	if (r == 0 && kv.mod_revision > INT64_MAX)
		r = -EPROTO;
	return r == 0 ? e->each(e->ctx, &kv) : r;
}

int etcd_unframe(struct span body, struct span *ret)
{
	size_t len = 0;

	if (body.len < ETCD_FRAME || body.data[0] != 0)
		return -EPROTO;
	for (size_t i = 0; i < 4; i++)
		len = len << 8 | body.data[1 + i];
	if (len != body.len - ETCD_FRAME)
		return -EPROTO;
	*ret = span_skip(body, ETCD_FRAME);
	return 0;
}

static int range_read(struct span msg, const struct each *e, struct etcd_answer *answer, bool *more)
{
	struct proto_field f;
	int r = 0;

	while (r == 0 && (r = etcd_next(&msg, &f)) > 0) {
		r = 0;
		if (f.number == RANGE_HEADER)
			r = take_header(&f, answer);
		else if (f.number == RANGE_KVS)
			r = take_kv(&f, e);
		else if (f.number == RANGE_MORE)
			r = take_flag(&f, more);
	}
	return r;
}

/* Of the range in it the keys alone are looked at. */
static int take_response(const struct proto_field *field, const struct each *e)
{
	struct etcd_answer unused;
	struct proto_field f;
	struct span msg, range;
	bool more;
	int r = take_bytes(field, &msg);

	while (r == 0 && (r = etcd_next(&msg, &f)) > 0) {
		r = 0;
		if (f.number == RESPONSE_RANGE)
			r = take_bytes(&f, &range) ?: range_read(range, e, &unused, &more);
	}
	return r;
}

static int txn_read(struct span msg, const struct each *e, struct etcd_answer *answer)
{
	struct proto_field f;
	int r = 0;

	while (r == 0 && (r = etcd_next(&msg, &f)) > 0) {
		r = 0;
		if (f.number == TXN_HEADER)
			r = take_header(&f, answer);
		else if (f.number == TXN_SUCCEEDED)
			r = take_flag(&f, &answer->put);
		else if (f.number == TXN_RESPONSES)
			r = take_response(&f, e);
	}
	return r;
}

static bool has_revision(const struct etcd_answer *answer)
{
	return answer->revision > 0 && answer->revision <= INT64_MAX;
}

int etcd_range_decode(struct span body, etcd_each_fn *each, void *ctx, struct etcd_answer *ret)
{
	const struct each e = { .each = each, .ctx = ctx };
	struct etcd_answer answer = { 0 };
	bool more = false;
	struct span msg;
	int r = etcd_unframe(body, &msg);

	if (r == 0)
		r = range_read(msg, &e, &answer, &more);
	if (r == 0 && !has_revision(&answer))
		r = -EPROTO;
	if (r == 0 && more)
		r = -E2BIG;
	if (r == 0)
		*ret = answer;
	return r;
}

int etcd_txn_decode(struct span body, etcd_each_fn *each, void *ctx, struct etcd_answer *ret)
{
	const struct each e = { .each = each, .ctx = ctx };
	struct etcd_answer answer = { 0 };
	struct span msg;
	int r = etcd_unframe(body, &msg);

	if (r == 0)
		r = txn_read(msg, &e, &answer);
	if (r == 0 && !has_revision(&answer))
		r = -EPROTO;
	if (r == 0)
		*ret = answer;
	return r;
}
