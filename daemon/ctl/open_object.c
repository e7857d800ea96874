/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See open_object.h. Protobuf is read where it lies. JSON (custom resources, and clusters that store it)
 * is jansson's to read, which copies: its memory is locked here and wiped after each object. A Secret's
 * values are base64 in JSON.
 */
#include "daemon/ctl/open_object.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/chain/codec.h"
#include "daemon/dump/base64.h"
#include "daemon/dump/object.h"

#define ARENA_LEAST  (256U * 1024)
#define ARENA_FACTOR 16U
#define ARENA_ALIGN  16U

void open_print_quoted(FILE *to, struct span s)
{
	fputc('"', to);
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", to);
		else if (c >= ' ' && c < 0x7f)
			fputc(c, to);
		else
			fprintf(to, "\\x%02x", c);
	}
	fputc('"', to);
}

/* As above without quotes. Names of Kubernetes hold no such characters. */
static void print_bare(FILE *to, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		fputc(s.data[i] > ' ' && s.data[i] < 0x7f ? s.data[i] : '?', to);
}

struct printer {
	FILE *to;
	bool reveal;
};

static int print_field(void *ctx, struct span name, struct span value)
{
	const struct printer *p = ctx;

	fputs("  ", p->to);
	print_bare(p->to, name);
	if (p->reveal) {
		fputs(": ", p->to);
		open_print_quoted(p->to, value);
		fputc('\n', p->to);
	} else {
		fprintf(p->to, ": ******** (%zu bytes)\n", value.len);
	}
	return 0;
}

static void print_head(FILE *to, struct span path, const struct object *o)
{
	print_bare(to, path);
	fputs(": ", to);
	print_bare(to, o->kind);
	if (o->type.len > 0) {
		fputs(" of type ", to);
		print_bare(to, o->type);
	}
	fputc('\n', to);
}

static void print_other(FILE *to, struct span path, const struct object *o)
{
	print_bare(to, path);
	fputs(": ", to);
	print_bare(to, o->kind);
	fputs(" of ", to);
	print_bare(to, o->api_version);
	fputs(", not shown\n", to);
}

static int print_protobuf(struct printer *p, struct span path, struct span plain)
{
	struct object o;
	int r = object_decode(plain, NULL, NULL, &o);

	if (r == -EOPNOTSUPP) {
		print_other(p->to, path, &o);
		return 0;
	}
	if (r < 0)
		return r;
	print_head(p->to, path, &o);
	return object_decode(plain, print_field, p, &o);
}

/*
 * jansson's memory: taken from the front of a locked block, given back all at once. The block stays for the
 * next object.
 */
static struct arena {
	uint8_t *data;
	size_t size, used;
	bool full;
} arena;

static void *arena_get(size_t size)
{
	void *p = arena.data + arena.used;

	if (size > arena.size - arena.used - ARENA_ALIGN) {
		arena.full = true;
		return NULL;
	}
	arena.used += (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	return p;
}

/* For a text of @len bytes; a tree of many small things that takes more is refused. */
static int object_arena_open(size_t len)
{
	size_t size = ARENA_LEAST + ARENA_FACTOR * len;

	if (size > arena.size) {
		secmem_free(arena.data, arena.size);
		arena = (struct arena){ .data = secmem_alloc(size) };
		arena.size = arena.data ? size : 0;
	}
	return arena.data ? 0 : -ENOMEM;
}

static void arena_put(void *p)
{
	(void)p;
}

static struct span object_text_of(const json_t *j)
{
	return j ? span_of(json_string_value(j), json_string_length(j)) : SPAN_NULL;
}

static int print_value(const struct printer *p, struct span name, struct span text, bool base64)
{
	uint8_t *out;
	size_t len;

	if (!base64)
		return print_field((void *)(uintptr_t)p, name, text);
	out = arena_get(base64_room(text.len) + 1);
	if (!out)
		return -ENOMEM;
	if (base64_decode(text, out, &len) < 0)
		return -EINVAL;
	return print_field((void *)(uintptr_t)p, name, span_of(out, len));
}

static int print_map(const struct printer *p, json_t *map, bool base64)
{
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach(map, name, value)
	{
		if (r == 0)
			r = json_is_string(value)
				    ? print_value(p, span_str(name), object_text_of(value), base64)
				    : -EINVAL;
	}
	return r;
}

static int print_tree(const struct printer *p, struct span path, json_t *tree)
{
	struct object o = {
		.api_version = object_text_of(json_object_get(tree, "apiVersion")),
		.kind = object_text_of(json_object_get(tree, "kind")),
		.type = object_text_of(json_object_get(tree, "type")),
	};
	bool core = span_equal(o.api_version, span_str("v1"));
	int r;

	if (o.kind.len == 0)
		return -EINVAL;
	if (core && span_equal(o.kind, span_str("Secret"))) {
		print_head(p->to, path, &o);
		return print_map(p, json_object_get(tree, "data"), true);
	}
	if (!core || !span_equal(o.kind, span_str("ConfigMap"))) {
		print_other(p->to, path, &o);
		return 0;
	}
	o.type = SPAN_NULL;
	print_head(p->to, path, &o);
	r = print_map(p, json_object_get(tree, "data"), false);
	return r == 0 ? print_map(p, json_object_get(tree, "binaryData"), true) : r;
}

static int object_print_json(const struct printer *p, struct span path, struct span plain)
{
	json_malloc_t outer_malloc;
	json_free_t outer_free;
	json_t *tree;
	int r = -EINVAL;

	if (object_arena_open(plain.len) < 0)
		return -ENOMEM;
	json_get_alloc_funcs(&outer_malloc, &outer_free);
	json_set_alloc_funcs(arena_get, arena_put);
	tree = json_loadb((const char *)plain.data, plain.len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(tree))
		r = print_tree(p, path, tree);
	json_set_alloc_funcs(outer_malloc, outer_free);
	if (arena.full)
		r = -ENOMEM;
	secmem_wipe(arena.data, arena.used);
	arena.used = 0;
	arena.full = false;
	return r;
}

int open_object_print(FILE *to, struct span path, struct span plain, bool reveal)
{
	struct printer p = { .to = to, .reveal = reveal };
	struct object o;

	switch (codec_form_of(plain)) {
	case CODEC_PROTOBUF:
		return print_protobuf(&p, path, plain);
	case CODEC_JSON:
		return object_print_json(&p, path, plain);
	case CODEC_CBOR:
		if (!object_head(plain, &o))
			return -EINVAL;
		print_other(to, path, &o);
		return 0;
	default:
		return -EINVAL;
	}
}
