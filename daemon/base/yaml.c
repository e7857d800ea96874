/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that knows libyaml. Its events become a tree in an arena of locked memory; the
 * event parser is used rather than libyaml's own documents because it stops at the first thing
 * refused, before aliases or depth can cost anything.
 *
 * What passes through libyaml lies on the ordinary heap meanwhile. Its two input buffers and the
 * value of every token and event are wiped here before libyaml frees them. What cannot be wiped are
 * the pieces that realloc(3) leaves behind while libyaml grows a long scalar. A process that may
 * read a file with secrets in it should therefore be short-lived, and undumpable.
 */
#include "daemon/base/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "daemon/base/secmem.h"

#define CHUNK (64 * 1024)

static const char byte_order_mark[] = "\xef\xbb\xbf";

struct chunk {
	struct chunk *next;
	size_t size; /* of the mapping */
	size_t used; /* of data */
	_Alignas(max_align_t) uint8_t data[];
};

struct yaml_doc {
	const char *file;
	struct yaml_error *err;
	struct chunk *chunks;
	struct yaml_node *root;
	size_t nodes;
	bool json;
};

struct builder {
	yaml_parser_t parser;
	struct yaml_doc *doc;
	unsigned int depth;
};

static void _printf_(5, 0) vfail(struct yaml_error *err, const char *file, uint32_t line,
				 uint32_t column, const char *fmt, va_list ap)
{
	size_t len;
	int n;

	if (err->text[0])
		return;
	if (line > 0)
		n = snprintf(err->text, sizeof(err->text), "%.200s:%u:%u: ", file, line, column);
	else
		n = snprintf(err->text, sizeof(err->text), "%.200s: ", file);
	len = n > 0 ? (size_t)n : 0;
	vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap);
	err->line = line;
	err->column = column;
}

int yaml_error_set(struct yaml_error *err, const char *file, uint32_t line, uint32_t column,
		   const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, file, line, column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int yaml_fail(const struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(doc->err, doc->file, at->line, at->column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int yaml_fail_key(const struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(doc->err, doc->file, at->key_line, at->key_column, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int fail_at(struct builder *b, yaml_mark_t mark, const char *what)
{
	return yaml_error_set(b->doc->err, b->doc->file, (uint32_t)mark.line + 1,
			      (uint32_t)mark.column + 1, "%s", what);
}

static int fail_memory(struct yaml_doc *doc)
{
	yaml_error_set(doc->err, doc->file, 0, 0,
		       "no locked memory for the file (RLIMIT_MEMLOCK too low?)");
	return -ENOMEM;
}

static void *yaml_arena_alloc(struct yaml_doc *doc, size_t size)
{
	struct chunk *c = doc->chunks;
	size_t bytes;
	void *p;

	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (!c || c->size - sizeof(*c) - c->used < size) {
		bytes = sizeof(*c) + size > CHUNK ? sizeof(*c) + size : CHUNK;
		c = secmem_alloc(bytes);
		if (!c)
			return NULL;
		c->size = bytes;
		c->next = doc->chunks;
		doc->chunks = c;
	}
	p = c->data + c->used;
	c->used += size;
	return p;
}

static void event_clear(yaml_event_t *ev)
{
	if (ev->type == YAML_SCALAR_EVENT)
		secmem_wipe(ev->data.scalar.value, ev->data.scalar.length);
	yaml_event_delete(ev);
}

/* libyaml's problems are constant strings: they show nothing of the input. */
static int next_event(struct builder *b, yaml_event_t *ret)
{
	yaml_parser_t *p = &b->parser;

	if (yaml_parser_parse(p, ret))
		return 0;
	if (p->error == YAML_MEMORY_ERROR)
		return fail_memory(b->doc);
	if (p->error == YAML_READER_ERROR)
		return fail_at(b, p->mark, p->problem ?: "not UTF-8");
	return fail_at(b, p->problem_mark, p->problem ?: "not YAML");
}

static int check_tag(struct builder *b, const yaml_event_t *ev, const yaml_char_t *anchor,
		     const yaml_char_t *tag)
{
	if (anchor)
		return fail_at(b, ev->start_mark, "anchors are not supported");
	if (!tag)
		return 0;
	if (ev->type == YAML_SCALAR_EVENT && strcmp((const char *)tag, YAML_STR_TAG) == 0)
		return 0;
	return fail_at(b, ev->start_mark, "tags are not supported (other than !!str)");
}

static int node_new(struct builder *b, const yaml_event_t *ev, enum yaml_type type,
		    struct yaml_node **ret)
{
	struct yaml_node *n;

	if (b->doc->nodes >= YAML_NODES_MAX)
		return fail_at(b, ev->start_mark, "too many values in one file");
	n = yaml_arena_alloc(b->doc, sizeof(*n));
	if (!n)
		return fail_memory(b->doc);
	b->doc->nodes++;
	n->type = type;
	n->line = (uint32_t)ev->start_mark.line + 1;
	n->column = (uint32_t)ev->start_mark.column + 1;
	*ret = n;
	return 0;
}

static int copy_text(struct builder *b, const yaml_event_t *ev, const char **ret)
{
	size_t len = ev->data.scalar.length;
	char *s;

	if (memchr(ev->data.scalar.value, 0, len))
		return fail_at(b, ev->start_mark, "NUL characters are not supported");
	s = yaml_arena_alloc(b->doc, len + 1);
	if (!s)
		return fail_memory(b->doc);
	memcpy(s, ev->data.scalar.value, len);
	s[len] = 0;
	*ret = s;
	return 0;
}

static int build_scalar(struct builder *b, const yaml_event_t *ev, struct yaml_node **ret)
{
	const yaml_char_t *tag = ev->data.scalar.tag;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct yaml_node *n;
	int r;

	r = check_tag(b, ev, ev->data.scalar.anchor, tag);
	if (r == 0 && b->doc->json && ev->data.scalar.style != YAML_DOUBLE_QUOTED_SCALAR_STYLE &&
	    !(plain &&
	      yaml_scalar_is_json((const char *)ev->data.scalar.value, ev->data.scalar.length)))
		r = fail_at(
			b, ev->start_mark,
			"not JSON (a file that begins with \"{\" has to be): a string needs \"\"");
	if (r == 0)
		r = node_new(b, ev, YAML_STR, &n);
	if (r == 0)
		r = copy_text(b, ev, &n->text);
	if (r < 0)
		return r;
	n->len = ev->data.scalar.length;
	if (plain && !tag)
		yaml_scalar_resolve(n);
	*ret = n;
	return 0;
}

static int build(struct builder *b, const yaml_event_t *ev, struct yaml_node **ret);

static int build_list(struct builder *b, const yaml_event_t *ev, struct yaml_node **ret)
{
	struct yaml_node *list, **tail;
	int r;

	r = check_tag(b, ev, ev->data.sequence_start.anchor, ev->data.sequence_start.tag);
	if (r == 0)
		r = node_new(b, ev, YAML_LIST, &list);
	if (r < 0)
		return r;
	tail = &list->child;
	for (;;) {
		_cleanup_(event_clear) yaml_event_t item = { 0 };

		r = next_event(b, &item);
		if (r < 0)
			return r;
		if (item.type == YAML_SEQUENCE_END_EVENT)
			break;
		r = build(b, &item, tail);
		if (r < 0)
			return r;
		tail = &(*tail)->next;
		list->count++;
	}
	*ret = list;
	return 0;
}

static int check_key(struct builder *b, const yaml_event_t *ev, const struct yaml_node *map)
{
	const char *key = (const char *)ev->data.scalar.value;
	int r;

	if (ev->type == YAML_ALIAS_EVENT)
		return fail_at(b, ev->start_mark, "aliases are not supported");
	if (ev->type != YAML_SCALAR_EVENT)
		return fail_at(b, ev->start_mark, "a key must be a plain name");
	r = check_tag(b, ev, ev->data.scalar.anchor, ev->data.scalar.tag);
	if (r < 0)
		return r;
	if (b->doc->json && ev->data.scalar.style != YAML_DOUBLE_QUOTED_SCALAR_STYLE)
		return fail_at(
			b, ev->start_mark,
			"not JSON (a file that begins with \"{\" has to be): a key needs \"\"");
	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(key, "<<") == 0)
		return fail_at(b, ev->start_mark, "merge keys are not supported");
	if (map->count >= YAML_MEMBERS_MAX)
		return fail_at(b, ev->start_mark, "too many fields in one mapping");
	yaml_for_each(n, map)
	{
		if (strcmp(n->key, key) == 0)
			return yaml_error_set(b->doc->err, b->doc->file,
					      (uint32_t)ev->start_mark.line + 1,
					      (uint32_t)ev->start_mark.column + 1,
					      "duplicate field \"%s\"", yaml_shown(key));
	}
	return 0;
}

/* One key and its value. 1 at the end of the mapping. */
static int build_member(struct builder *b, const struct yaml_node *map, struct yaml_node **ret)
{
	_cleanup_(event_clear) yaml_event_t key = { 0 }, value = { 0 };
	struct yaml_node *n;
	const char *text;
	int r;

	r = next_event(b, &key);
	if (r < 0)
		return r;
	if (key.type == YAML_MAPPING_END_EVENT)
		return 1;
	r = check_key(b, &key, map);
	if (r == 0)
		r = copy_text(b, &key, &text);
	if (r == 0)
		r = next_event(b, &value);
	if (r == 0)
		r = build(b, &value, &n);
	if (r < 0)
		return r;
	n->key = text;
	n->key_line = (uint32_t)key.start_mark.line + 1;
	n->key_column = (uint32_t)key.start_mark.column + 1;
	*ret = n;
	return 0;
}

static int build_map(struct builder *b, const yaml_event_t *ev, struct yaml_node **ret)
{
	struct yaml_node *map, **tail;
	int r;

	r = check_tag(b, ev, ev->data.mapping_start.anchor, ev->data.mapping_start.tag);
	if (r == 0)
		r = node_new(b, ev, YAML_MAP, &map);
	if (r < 0)
		return r;
	tail = &map->child;
	for (;;) {
		r = build_member(b, map, tail);
		if (r != 0)
			break;
		tail = &(*tail)->next;
		map->count++;
	}
	if (r < 0)
		return r;
	*ret = map;
	return 0;
}

/* @ev is borrowed. Recursion is bounded by YAML_DEPTH_MAX. */
static int build(struct builder *b, const yaml_event_t *ev, struct yaml_node **ret)
{
	int r;

	if (ev->type == YAML_ALIAS_EVENT)
		return fail_at(b, ev->start_mark, "aliases are not supported");
	if (ev->type == YAML_SCALAR_EVENT)
		return build_scalar(b, ev, ret);
	if (b->depth >= YAML_DEPTH_MAX)
		return fail_at(b, ev->start_mark, "nested too deeply");
	b->depth++;
	if (ev->type == YAML_SEQUENCE_START_EVENT)
		r = build_list(b, ev, ret);
	else
		r = build_map(b, ev, ret);
	b->depth--;
	return r;
}

/* Stream start is eaten by the caller. An empty stream is a null document at 1:1. */
static int build_document(struct builder *b)
{
	_cleanup_(event_clear) yaml_event_t start = { 0 }, root = { 0 }, end = { 0 }, more = { 0 };
	int r;

	r = next_event(b, &start);
	if (r < 0)
		return r;
	if (start.type == YAML_STREAM_END_EVENT)
		return node_new(b, &root, YAML_NULL, &b->doc->root);
	r = next_event(b, &root);
	if (r == 0)
		r = build(b, &root, &b->doc->root);
	if (r == 0)
		r = next_event(b, &end);
	if (r == 0)
		r = next_event(b, &more);
	if (r == 0 && more.type != YAML_STREAM_END_EVENT)
		r = fail_at(b, more.start_mark, "only one document is supported");
	return r;
}

/*
 * Leave out what libyaml does not take: the byte order mark, once its encoding has been set, and
 * tabs before the first and behind the last bracket of JSON (yaml_json_check() has seen both).
 * Its marks go on from there.
 */
static void set_input(struct builder *b, struct span text)
{
	const uint8_t *p = text.data, *end = text.data + text.len;

	if (span_starts_with(text, span_str(byte_order_mark)))
		p += strlen(byte_order_mark);
	for (; b->doc->json && *p != '{'; p++) {
		b->parser.mark.column++;
		if (*p == '\n') {
			b->parser.mark.line++;
			b->parser.mark.column = 0;
		}
	}
	while (b->doc->json && end[-1] != '}')
		end--;
	yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b->parser, p, (size_t)(end - p));
}

static int build_tree(struct yaml_doc *doc, struct span text)
{
	_cleanup_(event_clear) yaml_event_t start = { 0 };
	struct builder b = { .doc = doc };
	yaml_parser_t *p = &b.parser;
	int r;

	if (!yaml_parser_initialize(p))
		return fail_memory(doc);
	set_input(&b, text);
	r = next_event(&b, &start);
	if (r == 0)
		r = build_document(&b);
	/* Everything libyaml would free unwiped. The members are documented in its public header. */
	for (yaml_token_t *t = p->tokens.head; t != p->tokens.tail; t++)
		if (t->type == YAML_SCALAR_TOKEN)
			secmem_wipe(t->data.scalar.value, t->data.scalar.length);
	if (p->raw_buffer.start)
		secmem_wipe(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
	if (p->buffer.start)
		secmem_wipe(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
	yaml_parser_delete(p);
	return r;
}

int yaml_doc_parse(struct span text, const char *file, struct yaml_error *err,
		   struct yaml_doc **ret)
{
	_cleanup_(yaml_doc_freep) struct yaml_doc *doc = NULL;
	uint32_t line = 0, column = 0;
	const char *problem = NULL;
	int r;

	if (!text.data)
		text = span_str("");
	if (text.len > YAML_BYTES_MAX)
		return yaml_error_set(err, file, 0, 0, "larger than %d bytes", YAML_BYTES_MAX);
	/* libyaml skips the mark at the start of any line, the apiserver's parser that of the file only. */
	if (text.len > 0 &&
	    memmem(text.data + 1, text.len - 1, byte_order_mark, strlen(byte_order_mark)))
		return yaml_error_set(err, file, 0, 0, "a byte order mark inside the text");
	doc = calloc(1, sizeof(*doc));
	if (!doc)
		return -ENOMEM;
	doc->file = file;
	doc->err = err;
	doc->json = yaml_text_is_json(text);
	if (doc->json)
		problem = yaml_json_check(text, &line, &column);
	if (problem)
		return yaml_error_set(err, file, line, column,
				      "not JSON (a file that begins with \"{\" has to be): %s",
				      problem);
	r = build_tree(doc, text);
	if (r < 0)
		return r;
	*ret = move_ptr(doc);
	return 0;
}

void yaml_doc_free(struct yaml_doc *doc)
{
	struct chunk *c, *next;

	if (!doc)
		return;
	for (c = doc->chunks; c; c = next) {
		next = c->next;
		secmem_free(c, c->size);
	}
	free(doc);
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc)
{
	return doc->root;
}

bool yaml_doc_is_json(const struct yaml_doc *doc)
{
	return doc->json;
}
