/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of etcdctl from anyone, in pieces: whatever the pieces are, the outcome is the same, and what is
 * read is what jansson reads. No piece of a few bytes has an element in it, so what reads those at once is
 * compared with what reads any JSON.
 */
#include <jansson.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/dump/etcdjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int each(void *ctx, const struct dump_value *v)
{
	uint64_t *h = ctx;

	*h = (*h ^ v->mod_revision) * UINT64_C(0x100000001b3);
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

/* The bytes of a field, as libsodium decodes them; none if it is null or missing. */
static struct span bytes_of(const json_t *kv, const char *name, uint8_t *out, size_t room)
{
	const json_t *text = json_object_get(kv, name);
	size_t len = 0;

	if (text && !json_is_null(text) &&
	    sodium_base642bin(out, room, json_string_value(text), json_string_length(text), NULL,
			      &len, NULL, sodium_base64_VARIANT_ORIGINAL) < 0)
		abort();
	return span_of(out, len);
}

/* protobuf's JSON has them as strings. */
static uint64_t number_of(const json_t *kv, const char *name)
{
	const json_t *n = json_object_get(kv, name);

	return json_is_string(n) ? strtoull(json_string_value(n), NULL, 10)
				 : (uint64_t)json_integer_value(n);
}

/*
 * What was taken has to jansson the same values: where it is one answer and nothing else, as several, or words
 * before one, are no JSON to it. A number may be too large for it.
 */
static void compare(struct span text, uint64_t hash, uint64_t values)
{
	_cleanup_free_ uint8_t *key = malloc(text.len + 1), *value = malloc(text.len + 1);
	uint64_t expected = 1;
	json_t *tree = json_loadb((const char *)text.data, text.len,
				  JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	json_t *kvs = json_is_array(tree) ? tree : json_object_get(tree, "kvs"), *kv;
	size_t i;

	if (!tree)
		return;
	if (json_array_size(kvs) != values)
		abort();
	json_array_foreach(kvs, i, kv)
	{
		struct dump_value v = {
			.key = bytes_of(kv, "key", key, text.len),
			.value = bytes_of(kv, "value", value, text.len),
			.mod_revision = number_of(kv, "mod_revision"),
		};

		each(&expected, &v);
	}
	if (hash != expected)
		abort();
	json_decref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct dump_info a, b;
	uint64_t ha, hb;
	int r = run(text, SIZE_MAX, &ha, &a);

	if (run(text, 1 + size % 7, &hb, &b) != r || (r == 0 && ha != hb))
		abort();
	if (r == 0)
		compare(text, ha, a.values);
	return 0;
}
