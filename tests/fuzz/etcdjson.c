/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of etcdctl from anyone, in pieces: whatever the pieces are, the outcome is the same, and what is
 * read is what jansson reads.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/dump/etcdjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int each(void *ctx, const struct dump_value *v)
{
	uint64_t *h = ctx;

	for (size_t i = 0; i < v->key.len; i++)
		*h = (*h ^ v->key.data[i]) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < v->value.len; i++)
		*h = (*h ^ v->value.data[i]) * UINT64_C(0x100000001b3);
	return 0;
}

static int run(struct span text, size_t piece, uint64_t *ret_hash, struct dump_info *info)
{
	_cleanup_(etcdjson_freep) struct etcdjson *j = NULL;
	struct dump_error err = { 0 };
	int r;

	*ret_hash = 1;
	*info = (struct dump_info){ 0 };
	r = etcdjson_new(each, ret_hash, info, &err, &j);
	while (r == 0 && text.len > 0) {
		size_t n = text.len < piece ? text.len : piece;

		r = etcdjson_feed(j, span_of(text.data, n));
		text = span_skip(text, n);
	}
	if (r == 0)
		r = etcdjson_end(j);
	if (r < 0 && !*err.text)
		abort();
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct dump_info a, b;
	uint64_t ha, hb;
	json_t *tree;
	int r = run(text, SIZE_MAX, &ha, &a);

	if (run(text, 1 + size % 7, &hb, &b) != r || (r == 0 && ha != hb))
		abort();
	if (r < 0)
		return 0;
	tree = json_loadb((const char *)data, size, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
	if (tree && json_array_size(json_object_get(tree, "kvs")) != a.values)
		abort();
	json_decref(tree);
	return 0;
}
