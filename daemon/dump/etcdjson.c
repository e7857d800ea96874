/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yajl calls back for each token; a small machine keeps track of where in the answer it is. What is
 * of no interest is counted by its depth and skipped.
 *
 * yajl keeps a string that runs over the end of what it was fed, with no bound of its own, and it does
 * not look whether malloc() failed. So its memory is counted, and looked at after every piece it is fed:
 * it can grow by no more than a few times a piece in between, and an allocation that fails ends the
 * process instead of writing to NULL. Open brackets cost it little memory but, where realloc(3) copies,
 * much time; their number has a bound.
 */
#include "daemon/dump/etcdjson.h"

#include <errno.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "daemon/dump/base64.h"

#define PIECE      (1024 * 1024)
#define MEMORY_MAX (4 * DUMP_VALUE_MAX) /* base64 of the largest value, and doubling */
#define DEPTH_MAX  128U

enum where { AT_TOP, AT_ROOT, AT_HEADER, AT_KVS, AT_KV };

enum field {
	F_OTHER,
	F_HEADER,
	F_KVS,
	F_MORE,
	F_COUNT,
	F_CLUSTER_ID,
	F_MEMBER_ID,
	F_REVISION,
	F_KEY,
	F_VALUE,
	F_MOD_REVISION,
};

static const struct {
	enum where where;
	const char *name;
	enum field field;
} names[] = {
	{ AT_ROOT, "header", F_HEADER },
	{ AT_ROOT, "kvs", F_KVS },
	{ AT_ROOT, "more", F_MORE },
	{ AT_ROOT, "count", F_COUNT },
	{ AT_HEADER, "cluster_id", F_CLUSTER_ID },
	{ AT_HEADER, "member_id", F_MEMBER_ID },
	{ AT_HEADER, "revision", F_REVISION },
	{ AT_KV, "key", F_KEY },
	{ AT_KV, "value", F_VALUE },
	{ AT_KV, "mod_revision", F_MOD_REVISION },
};

struct bytes {
	uint8_t *data;
	size_t len, room;
};

struct etcdjson {
	yajl_handle yajl;
	dump_each_fn *each;
	void *ctx;
	struct dump_info *info;
	struct dump_error *err;
	int r; /* of the callback that stopped the parser */
	enum where where;
	enum field field;
	unsigned int seen; /* bits of the fields of this object */
	unsigned int seen_root;
	unsigned int skip; /* open brackets of what is skipped */
	bool over;         /* the document is complete */
	struct bytes key, value;
	uint64_t mod_revision, count;
	size_t memory; /* of yajl */
};

/* yajl's memory, counted. The size stands before each block. */

union head {
	size_t size;
	max_align_t align;
};

static void *counted_realloc(void *ctx, void *p, size_t size)
{
	struct etcdjson *j = ctx;
	union head *h = p ? (union head *)p - 1 : NULL;
	size_t old = h ? h->size : 0;

	h = realloc(h, sizeof(*h) + size);
	if (!h)
		abort();
	h->size = size;
	j->memory += size - old;
	return h + 1;
}

static void *counted_malloc(void *ctx, size_t size)
{
	return counted_realloc(ctx, NULL, size);
}

static void counted_free(void *ctx, void *p)
{
	struct etcdjson *j = ctx;
	union head *h = p;

	if (!p)
		return;
	h--;
	j->memory -= h->size;
	free(h);
}

/* Callbacks: 1 to go on, 0 to stop with j->r set. */

static int stop(struct etcdjson *j, int r, const char *what)
{
	j->r = dump_fail(j->err, r, "%s", what);
	return 0;
}

static int wrong(struct etcdjson *j)
{
	return stop(j, -EBADMSG, "not the JSON of etcdctl get: a field has an unexpected type");
}

/* One more open bracket of what is skipped. */
static int skip_more(struct etcdjson *j)
{
	if (++j->skip > DEPTH_MAX)
		return stop(j, -EBADMSG, "not the JSON of etcdctl get: nested too deep");
	return 1;
}

static bool skipping(const struct etcdjson *j)
{
	return j->skip > 0;
}

static void object_enter(struct etcdjson *j, enum where where)
{
	if (where == AT_KV) {
		j->key.len = j->value.len = 0;
		j->mod_revision = 0;
	}
	j->where = where;
	j->seen = 0;
	j->field = F_OTHER;
}

static int on_start_map(void *ctx)
{
	struct etcdjson *j = ctx;

	if (skipping(j) || (j->where != AT_TOP && j->where != AT_KVS && j->field == F_OTHER))
		return skip_more(j);
	if (j->where == AT_TOP && !j->over)
		object_enter(j, AT_ROOT);
	else if (j->where == AT_ROOT && j->field == F_HEADER)
		object_enter(j, AT_HEADER);
	else if (j->where == AT_KVS)
		object_enter(j, AT_KV);
	else
		return wrong(j);
	return 1;
}

static enum field field_find(enum where where, struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].where == where && span_equal(span_str(names[i].name), name))
			return names[i].field;
	return F_OTHER;
}

static int on_key(void *ctx, const unsigned char *name, size_t len)
{
	struct etcdjson *j = ctx;
	unsigned int *seen = j->where == AT_ROOT ? &j->seen_root : &j->seen;

	if (skipping(j))
		return 1;
	j->field = field_find(j->where, span_of(name, len));
	if (j->field != F_OTHER && (*seen & (1U << j->field)))
		return stop(j, -EBADMSG, "not the JSON of etcdctl get: a field comes twice");
	*seen |= 1U << j->field;
	return 1;
}

static int kv_end(struct etcdjson *j)
{
	struct dump_value v = {
		.key = span_of(j->key.data, j->key.len),
		.value = span_of(j->value.data, j->value.len),
		.mod_revision = j->mod_revision,
	};

	if (j->key.len == 0)
		return stop(j, -EBADMSG, "not the JSON of etcdctl get: a value without a key");
	j->info->values++;
	j->r = j->each(j->ctx, &v);
	j->where = AT_KVS;
	return j->r == 0;
}

static int on_end_map(void *ctx)
{
	struct etcdjson *j = ctx;

	if (skipping(j)) {
		j->skip--;
		return 1;
	}
	j->field = F_OTHER;
	if (j->where == AT_KV)
		return kv_end(j);
	j->over = j->where == AT_ROOT;
	j->where = j->over ? AT_TOP : AT_ROOT;
	return 1;
}

static int on_start_array(void *ctx)
{
	struct etcdjson *j = ctx;

	if (skipping(j) || (j->where != AT_TOP && j->where != AT_KVS && j->field == F_OTHER))
		return skip_more(j);
	if (j->where != AT_ROOT || j->field != F_KVS)
		return wrong(j);
	j->where = AT_KVS;
	return 1;
}

static int on_end_array(void *ctx)
{
	struct etcdjson *j = ctx;

	if (skipping(j)) {
		j->skip--;
		return 1;
	}
	j->where = AT_ROOT;
	j->field = F_OTHER;
	return 1;
}

/* protobuf's JSON has 64-bit numbers as strings, Go's encoding/json as numbers: both are out there. */
static int take_number(struct etcdjson *j, struct span text)
{
	uint64_t n = 0;

	if (text.len == 0)
		return wrong(j);
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9' ||
		    __builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text.data[i] - '0'), &n))
			return wrong(j);
	}
	if (j->field == F_CLUSTER_ID)
		j->info->cluster_id = n;
	else if (j->field == F_MEMBER_ID)
		j->info->member_id = n;
	else if (j->field == F_REVISION)
		j->info->revision = n;
	else if (j->field == F_MOD_REVISION)
		j->mod_revision = n;
	else if (j->field == F_COUNT)
		j->count = n;
	return 1;
}

static bool is_number(enum field field)
{
	return field == F_CLUSTER_ID || field == F_MEMBER_ID || field == F_REVISION ||
	       field == F_MOD_REVISION || field == F_COUNT;
}

static int take_bytes(struct etcdjson *j, struct bytes *b, struct span text, size_t max)
{
	size_t room = base64_room(text.len);
	uint8_t *p;

	if (room > max)
		return stop(j, -EMSGSIZE, "a key or value is larger than etcd allows");
	if (room > b->room) {
		p = realloc(b->data, room);
		if (!p)
			return stop(j, -ENOMEM, "out of memory");
		b->data = p;
		b->room = room;
	}
	if (base64_decode(text, b->data, &b->len) < 0)
		return stop(j, -EBADMSG,
			    "not the JSON of etcdctl get: a key or value is no base64");
	return 1;
}

/* A scalar stands where nothing is looked for. */
static bool unwanted(const struct etcdjson *j)
{
	return skipping(j) || ((j->where != AT_TOP && j->where != AT_KVS) && j->field == F_OTHER);
}

static int on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct etcdjson *j = ctx;

	if (unwanted(j))
		return 1;
	if (j->where == AT_KV && j->field == F_KEY)
		return take_bytes(j, &j->key, span_of(s, len), DUMP_KEY_MAX);
	if (j->where == AT_KV && j->field == F_VALUE)
		return take_bytes(j, &j->value, span_of(s, len), DUMP_VALUE_MAX);
	return is_number(j->field) && j->where != AT_KVS ? take_number(j, span_of(s, len))
							 : wrong(j);
}

static int on_number(void *ctx, const char *s, size_t len)
{
	struct etcdjson *j = ctx;

	if (unwanted(j))
		return 1;
	return is_number(j->field) && j->where != AT_KVS ? take_number(j, span_of(s, len))
							 : wrong(j);
}

static int on_boolean(void *ctx, int b)
{
	struct etcdjson *j = ctx;

	if (unwanted(j))
		return 1;
	if (j->where != AT_ROOT || j->field != F_MORE)
		return wrong(j);
	j->info->truncated |= b != 0;
	return 1;
}

/* Of a list or bytes null is Go's word for none. */
static int on_null(void *ctx)
{
	struct etcdjson *j = ctx;

	if (unwanted(j) || (j->where == AT_ROOT && j->field == F_KVS) || j->field == F_VALUE)
		return 1;
	return wrong(j);
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end_map,
	.yajl_start_array = on_start_array,
	.yajl_end_array = on_end_array,
};

int etcdjson_new(dump_each_fn *each, void *ctx, struct dump_info *info, struct dump_error *err,
		 struct etcdjson **ret)
{
	struct etcdjson *j = calloc(1, sizeof(*j));
	yajl_alloc_funcs alloc = { counted_malloc, counted_realloc, counted_free, j };

	if (!j)
		return -ENOMEM;
	j->each = each;
	j->ctx = ctx;
	j->info = info;
	j->err = err;
	j->yajl = yajl_alloc(&callbacks, &alloc, j);
	*ret = j;
	return 0;
}

void etcdjson_free(struct etcdjson *j)
{
	if (!j)
		return;
	yajl_free(j->yajl);
	free(j->key.data);
	free(j->value.data);
	free(j);
}

/* What yajl's answer means. Its own words may hold bytes of the dump and are not shown. */
static int outcome(struct etcdjson *j, yajl_status status)
{
	if (status == yajl_status_client_canceled)
		return j->r;
	if (status == yajl_status_error)
		return dump_fail(j->err, -EBADMSG, "not JSON, at byte %llu or before",
				 (unsigned long long)j->info->done);
	if (j->memory > MEMORY_MAX)
		return dump_fail(j->err, -EMSGSIZE, "a key or value is larger than etcd allows");
	return 0;
}

int etcdjson_feed(struct etcdjson *j, struct span text)
{
	int r = 0;

	while (r == 0 && text.len > 0) {
		size_t n = text.len < PIECE ? text.len : PIECE;

		j->info->done += n;
		r = outcome(j, yajl_parse(j->yajl, text.data, n));
		text = span_skip(text, n);
	}
	return r;
}

int etcdjson_end(struct etcdjson *j)
{
	yajl_status status = yajl_complete_parse(j->yajl);
	int r;

	if (status == yajl_status_error || !j->over)
		return dump_fail(j->err, -EBADMSG, "the dump ends too early");
	r = outcome(j, status);
	if (r == 0 && !(j->seen_root & (1U << F_HEADER)))
		r = dump_fail(j->err, -EBADMSG, "not the JSON of etcdctl get: no header");
	if (r == 0 && (j->seen_root & (1U << F_COUNT)) && j->count > j->info->values)
		j->info->truncated = true;
	return r;
}
