/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_kv() reads elements of "kvs" that look as etcdctl writes them. jansson reads all else, and would read the same
 * from those.
 *
 * jansson reads objects, one at a time: each element of "kvs" as it ends, and the answer itself, which
 * has an empty list in the place of "kvs", when it is over. So nothing grows with the dump.
 *
 * jansson is not given two things. It spends some 140 instructions on every byte, and nearly all of a dump
 * is base64; and it refuses numbers beyond 2^63 - 1, as half of all cluster ids are. So strings and whole
 * numbers that are values of a field are set apart: in the text for jansson a string takes their
 * place, which is their number in a table. A string there that follows a colon is always such a number,
 * never one of the dump's own. For that this file knows where a string ends, and no more of JSON. jansson
 * decides the rest: which fields there are, and what a string means that has an escape or a byte that is not
 * ASCII. The text of one element is mostly the same, to the byte, as that of the element before; then the
 * tree of that one is used again.
 *
 * Two things of an object are bounded: the text, since jansson's tree is some thirty times as large, and
 * the bytes that are set apart.
 */
#include "daemon/dump/etcdjson.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "daemon/dump/base64.h"

#define TEXT_MAX    ((size_t)256 * 1024)
#define APART_MAX   ((size_t)2 * DUMP_VALUE_MAX) /* base64 of the largest value, and the rest */
#define SCALARS_MAX 256U
#define DEPTH_MAX   128U
#define ROOM_MIN    ((size_t)256)
#define WORDS_MAX   ((size_t)64 * 1024)
#define DIGITS_MAX  19U /* 10^19 - 1 is less than 2^64 */

struct bytes {
	uint8_t *data;
	size_t len, room;
};

/* What was set apart: a part of an object's bytes. */
struct scalar {
	size_t at, len;
};

/* An object that is being read. */
struct part {
	struct bytes text;  /* for jansson */
	struct bytes read;  /* the text that tree was made from */
	json_t *tree;       /* NULL: none yet */
	struct bytes apart; /* what its scalars point to */
	struct scalar scalars[SCALARS_MAX];
	unsigned int n;
	unsigned int depth; /* open brackets */
	size_t name;        /* where the last string of the text begins */
	uint8_t last;       /* character of the text that is no white space; 0: none yet */
};

enum token { NO_TOKEN, NUMBER, STRING, NAME /* any string that stays in the text */ };

struct etcdjson {
	dump_each_fn *each;
	void *ctx;
	struct dump_info *info;
	struct dump_error *err;
	struct part root, kv;
	struct part *part;   /* which of the two is being read; NULL: between two elements */
	uint8_t list_last;   /* between two elements: '[', ',' or '}' */
	enum token token;    /* that is open */
	size_t token_start;  /* in apart */
	bool escape;         /* the next character is escaped */
	bool odd;            /* the string is for jansson to read */
	bool over;           /* an answer is complete */
	bool bare;           /* what is read is a list and no answer */
	bool in_line;        /* of words before the answer */
	size_t words;        /* bytes of such lines */
	uint64_t answers, n; /* complete ones; values of the one that is being read */
	uint64_t rest;       /* keys that --limit has left for the next one */
	bool gap;            /* and that did not come */
	struct bytes key, value, last_key;
};

/* Characters of a string that do not stand for themselves, or end it, or are not ASCII. */
static const bool special[256] = {
	[0 ... 0x1f] = true,
	['"'] = true,
	['\\'] = true,
	[0x80 ... 0xff] = true,
};

static bool etcdjson_is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool etcdjson_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static int wrong(struct etcdjson *j)
{
	return dump_fail(j->err, -EBADMSG,
			 "not the JSON of etcdctl get: a field has an unexpected type");
}

static int not_json(struct etcdjson *j)
{
	return dump_fail(j->err, -EBADMSG, "not JSON, at byte %llu or before",
			 (unsigned long long)j->info->done);
}

static int too_large(struct etcdjson *j)
{
	return dump_fail(j->err, -EMSGSIZE, "a key or value is larger than etcd allows");
}

static int too_much(struct etcdjson *j)
{
	return dump_fail(j->err, -EMSGSIZE,
			 "not the JSON of etcdctl get: an object has too many other fields");
}

static int no_memory(struct etcdjson *j)
{
	return dump_fail(j->err, -ENOMEM, "out of memory");
}

/* gcc 12's analyzer loses a block that is stored through a pointer of which it knows nothing. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static bool bytes_reserve(struct bytes *b, size_t need)
{
	size_t room = b->room ?: ROOM_MIN;
	uint8_t *p;

	if (need <= b->room)
		return true;
	while (room < need)
		room *= 2;
	p = realloc(b->data, room);
	if (!p)
		return false;
	b->data = p;
	b->room = room;
	return true;
}

static int bytes_put(struct etcdjson *j, struct bytes *b, struct span s)
{
	if (!bytes_reserve(b, b->len + s.len))
		return no_memory(j);
	memcpy(b->data + b->len, s.data, s.len);
	b->len += s.len;
	return 0;
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

static int etcdjson_text_put(struct etcdjson *j, struct span s)
{
	if (s.len > TEXT_MAX - j->part->text.len)
		return too_much(j);
	return bytes_put(j, &j->part->text, s);
}

static int apart_put(struct etcdjson *j, struct span s)
{
	if (s.len > APART_MAX - j->part->apart.len)
		return too_large(j);
	return bytes_put(j, &j->part->apart, s);
}

static void part_begin(struct etcdjson *j, struct part *p)
{
	p->text.len = p->apart.len = 0;
	p->n = p->depth = 0;
	p->last = 0;
	j->part = p;
}

/* Objects, read by jansson. */

/* Its own words may hold bytes of the dump and are not shown. */
static int etcdjson_load(struct etcdjson *j, struct span text, size_t flags, json_t **ret)
{
	json_error_t e;
	json_t *tree = json_loadb((const char *)text.data, text.len, flags | JSON_ALLOW_NUL, &e);

	if (tree) {
		*ret = tree;
		return 0;
	}
	if (json_error_code(&e) == json_error_out_of_memory)
		return no_memory(j);
	if (json_error_code(&e) == json_error_duplicate_key)
		return dump_fail(j->err, -EBADMSG,
				 "not the JSON of etcdctl get: a field comes twice");
	return not_json(j);
}

/* The scalar whose place the string @v has taken; false if @v is no string. */
static bool scalar_of(const struct part *p, const json_t *v, struct span *ret)
{
	const struct scalar *s;

	if (!json_is_string(v))
		return false;
	s = &p->scalars[strtoul(json_string_value(v), NULL, 16)];
	*ret = span_of(p->apart.data + s->at, s->len);
	return true;
}

/*
 * protobuf's JSON has 64-bit numbers as strings, Go's encoding/json as numbers: both are out there. Without
 * the field *@ret is untouched.
 */
static int json_take_number(struct etcdjson *j, const json_t *object, const char *name,
			    uint64_t *ret)
{
	const json_t *v = json_object_get(object, name);
	struct span text;
	uint64_t n = 0;

	if (!v)
		return 0;
	if (!scalar_of(j->part, v, &text) || text.len == 0)
		return wrong(j);
	for (size_t i = 0; i < text.len; i++) {
		if (!etcdjson_is_digit(text.data[i]) ||
		    __builtin_mul_overflow(n, UINT64_C(10), &n) ||
		    __builtin_add_overflow(n, (uint64_t)(text.data[i] - '0'), &n))
			return wrong(j);
	}
	*ret = n;
	return 0;
}

/* Without the field, or if it is null, which is Go's word for none, there are no bytes. */
static int json_take_bytes(struct etcdjson *j, const json_t *object, const char *name,
			   struct bytes *b, size_t max)
{
	const json_t *v = json_object_get(object, name);
	struct span text;

	b->len = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!scalar_of(j->part, v, &text))
		return wrong(j);
	if (base64_room(text.len) > max)
		return too_large(j);
	if (!bytes_reserve(b, base64_room(text.len)))
		return no_memory(j);
	if (base64_decode(text, b->data, &b->len) < 0)
		return dump_fail(j->err, -EBADMSG,
				 "not the JSON of etcdctl get: a key or value is no base64");
	return 0;
}

/* Give j->key and j->value on. */
static int give_kv(struct etcdjson *j, uint64_t mod_revision)
{
	struct dump_value v = {
		.key = span_of(j->key.data, j->key.len),
		.value = span_of(j->value.data, j->value.len),
		.mod_revision = mod_revision,
	};
	struct bytes last;
	int r;

	if (v.key.len == 0)
		return dump_fail(j->err, -EBADMSG,
				 "not the JSON of etcdctl get: a value without a key");
	/* --from-key gives the last key of the answer before once more. */
	if (j->n++ == 0 && j->answers > 0 &&
	    span_equal(v.key, span_of(j->last_key.data, j->last_key.len))) {
		j->rest += j->rest > 0;
		return 0;
	}
	j->info->values++;
	r = j->each(j->ctx, &v);
	last = j->last_key;
	j->last_key = j->key;
	j->key = last;
	return r;
}

static int json_take_kv(struct etcdjson *j, const json_t *kv)
{
	uint64_t mod_revision = 0;
	int r = json_take_bytes(j, kv, "key", &j->key, DUMP_KEY_MAX);

	if (r == 0)
		r = json_take_bytes(j, kv, "value", &j->value, DUMP_VALUE_MAX);
	if (r == 0)
		r = json_take_number(j, kv, "mod_revision", &mod_revision);
	return r == 0 ? give_kv(j, mod_revision) : r;
}

/* Of several answers the earliest revision counts: what was written later may be missing. */
static int json_take_header(struct etcdjson *j, const json_t *header)
{
	struct dump_info i = { 0 };
	int r;

	if (!header)
		return dump_fail(j->err, -EBADMSG, "not the JSON of etcdctl get: no header");
	if (!json_is_object(header))
		return wrong(j);
	r = json_take_number(j, header, "cluster_id", &i.cluster_id);
	if (r == 0)
		r = json_take_number(j, header, "member_id", &i.member_id);
	if (r == 0)
		r = json_take_number(j, header, "revision", &i.revision);
	if (r < 0)
		return r;
	if (j->answers > 0 && i.cluster_id != j->info->cluster_id)
		return dump_fail(j->err, -EBADMSG, "these are answers of several clusters of etcd");
	j->info->cluster_id = i.cluster_id;
	j->info->member_id = i.member_id;
	if (j->answers == 0 || i.revision < j->info->revision)
		j->info->revision = i.revision;
	return 0;
}

/* An answer is over that counts @count keys. It may be the next part of the answer before. */
static void answer_end(struct etcdjson *j, uint64_t count, bool more)
{
	uint64_t rest = count > j->n ? count - j->n : more;

	j->gap |= j->rest > 0 && count != j->rest;
	j->rest = rest;
	j->info->truncated = j->gap || rest > 0;
	j->over = true;
	j->answers++;
	j->n = 0;
}

static int take_root(struct etcdjson *j, const json_t *root)
{
	const json_t *kvs = json_object_get(root, "kvs"), *more = json_object_get(root, "more");
	const json_t *header = json_object_get(root, "header");
	uint64_t count = 0;
	int r;

	/* A line of etcdctl's own log is an object, too. */
	if (j->n == 0 && !header && json_object_get(root, "level")) {
		j->over = true;
		return 0;
	}
	if (!header && json_object_get(root, "kind") && json_object_get(root, "apiVersion"))
		return dump_fail(j->err, -EBADMSG,
				 "not of etcd but of the API: an object of Kubernetes, from which "
				 "nobody can tell how it is stored");
	r = json_take_header(j, header);
	if (r == 0)
		r = json_take_number(j, root, "count", &count);
	if (r < 0)
		return r;
	if (more && !json_is_boolean(more))
		return wrong(j);
	/* feed_text() takes the elements out. Some are still there: "kvs" was written in another way. */
	if (kvs && !json_is_null(kvs) && (!json_is_array(kvs) || json_array_size(kvs) > 0))
		return wrong(j);
	answer_end(j, count, json_is_true(more));
	return 0;
}

/* Have the part's text read, unless it is the same again. */
static int part_load(struct etcdjson *j, struct part *p)
{
	struct bytes text = p->text;
	json_t *tree;
	int r;

	if (p->tree && span_equal(span_of(text.data, text.len), span_of(p->read.data, p->read.len)))
		return 0;
	r = etcdjson_load(j, span_of(text.data, text.len), JSON_REJECT_DUPLICATES, &tree);
	if (r < 0)
		return r;
	json_decref(p->tree);
	p->tree = tree;
	p->text = p->read;
	p->read = text;
	return 0;
}

/*
 * An element as etcdctl writes it, and whole in one piece of the text, is read at once. Of any other element nothing is
 * taken: it is read by jansson, which also says what is wrong with it.
 */

static bool plain_take(struct span *text, struct span what)
{
	if (!span_starts_with(*text, what))
		return false;
	*text = span_skip(*text, what.len);
	return true;
}

/* Only numbers that an uint64_t has room for, whatever digits they have; what must follow tells where one ends. */
static bool plain_number(struct span *text, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i = 0;

	while (i < text->len && i < DIGITS_MAX && etcdjson_is_digit(text->data[i]))
		n = n * 10 + (uint64_t)(text->data[i++] - '0');
	if (i == 0 || (i > 1 && text->data[0] == '0'))
		return false;
	*text = span_skip(*text, i);
	*ret = n;
	return true;
}

/* Valid base64 has no character that JSON would escape. */
static bool plain_bytes(struct span *text, struct bytes *b, size_t max)
{
	const uint8_t *end = text->len > 0 ? memchr(text->data, '"', text->len) : NULL;
	size_t len = end ? (size_t)(end - text->data) : 0;

	if (!end || base64_room(len) > max || !bytes_reserve(b, base64_room(len)) ||
	    base64_decode(span_of(text->data, len), b->data, &b->len) < 0)
		return false;
	*text = span_skip(*text, len + 1);
	return true;
}

/* The fields in protobuf's order; what is empty or 0 is left out. @ret_mod_revision: 0 without it. */
static bool plain_fields(struct etcdjson *j, struct span *text, uint64_t *ret_mod_revision)
{
	static const struct span names[] = {
		SPAN_LITERAL(",\"create_revision\":"),
		SPAN_LITERAL(",\"mod_revision\":"),
		SPAN_LITERAL(",\"version\":"),
	};
	uint64_t numbers[ARRAY_SIZE(names)] = { 0 }, lease;

	if (!plain_take(text, span_str("{\"key\":\"")) || !plain_bytes(text, &j->key, DUMP_KEY_MAX))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (plain_take(text, names[i]) && !plain_number(text, &numbers[i]))
			return false;
	j->value.len = 0;
	if (plain_take(text, span_str(",\"value\":\"")) &&
	    !plain_bytes(text, &j->value, DUMP_VALUE_MAX))
		return false;
	if (plain_take(text, span_str(",\"lease\":")) && !plain_number(text, &lease))
		return false;
	*ret_mod_revision = numbers[1];
	return plain_take(text, span_str("}"));
}

/* True: it was one, and *@ret_r is what came of it. */
static bool plain_kv(struct etcdjson *j, struct span *text, int *ret_r)
{
	struct span rest = *text;
	uint64_t mod_revision;

	if (!plain_fields(j, &rest, &mod_revision))
		return false;
	*text = rest;
	j->list_last = '}';
	*ret_r = give_kv(j, mod_revision);
	return true;
}

/* Tokens. */

static char digit(unsigned int n)
{
	return "0123456789abcdef"[n % 16];
}

/* What is in apart since the token's start is a scalar, but for @quotes at both ends. */
static int scalar_end(struct etcdjson *j, size_t quotes)
{
	struct part *p = j->part;
	const char number[] = { '"', digit(p->n / 16), digit(p->n % 16), '"' };

	if (p->n == SCALARS_MAX)
		return too_much(j);
	p->scalars[p->n] = (struct scalar){
		.at = j->token_start + quotes,
		.len = p->apart.len - j->token_start - 2 * quotes,
	};
	p->n++;
	p->last = '"';
	j->token = NO_TOKEN;
	return etcdjson_text_put(j, span_of(number, sizeof(number)));
}

/* What jansson makes of the string takes its place; it is never longer. */
static int string_decode(struct etcdjson *j)
{
	struct bytes *apart = &j->part->apart;
	uint8_t *at = apart->data + j->token_start;
	json_t *string;
	int r = etcdjson_load(j, span_of(at, apart->len - j->token_start), JSON_DECODE_ANY,
			      &string);

	if (r < 0)
		return r;
	memcpy(at + 1, json_string_value(string), json_string_length(string));
	apart->len = j->token_start + json_string_length(string) + 2;
	json_decref(string);
	return 0;
}

/* Up to the string's end, or all there is. */
static int feed_string(struct etcdjson *j, struct span *text)
{
	bool ends = false;
	size_t i = 0;
	int r;

	while (i < text->len && !ends) {
		uint8_t c = text->data[i++];

		if (!special[c] && !j->escape) {
			while (i < text->len && !special[text->data[i]])
				i++;
			continue;
		}
		ends = c == '"' && !j->escape;
		j->odd |= !ends;
		j->escape = c == '\\' && !j->escape;
	}
	r = j->token == NAME ? etcdjson_text_put(j, span_of(text->data, i))
			     : apart_put(j, span_of(text->data, i));
	*text = span_skip(*text, i);
	if (r < 0 || !ends)
		return r;
	if (j->token == NAME) {
		j->token = NO_TOKEN;
		j->part->last = '"';
		return 0;
	}
	if (j->odd)
		r = string_decode(j);
	return r == 0 ? scalar_end(j, 1) : r;
}

/* A number that is not whole goes into the text after all. */
static int feed_number(struct etcdjson *j, struct span *text)
{
	struct part *p = j->part;
	struct span number;
	bool whole;
	size_t i = 0;
	int r;

	while (i < text->len &&
	       (etcdjson_is_digit(text->data[i]) || memchr("+-.eE", text->data[i], 5)))
		i++;
	r = apart_put(j, span_of(text->data, i));
	*text = span_skip(*text, i);
	if (r < 0 || text->len == 0)
		return r;
	number = span_of(p->apart.data + j->token_start, p->apart.len - j->token_start);
	whole = number.len == 1 || number.data[0] != '0';
	for (i = 0; i < number.len; i++)
		whole &= etcdjson_is_digit(number.data[i]);
	if (whole)
		return scalar_end(j, 0);
	p->apart.len = j->token_start;
	p->last = '0';
	j->token = NO_TOKEN;
	return etcdjson_text_put(j, number);
}

/* @c is about to be read: does it open the list of elements? */
static bool is_list(const struct etcdjson *j, uint8_t c)
{
	static const char name[] = "\"kvs\"";
	const struct part *p = j->part;

	return c == '[' && p == &j->root && p->depth == 1 && p->last == ':' &&
	       p->text.len - p->name >= sizeof(name) - 1 &&
	       memcmp(p->text.data + p->name, name, sizeof(name) - 1) == 0;
}

/* A character of the text that is in no string. */
static int feed_text(struct etcdjson *j, uint8_t c)
{
	struct part *p = j->part;
	int r;

	if (c == '"') {
		j->odd = false;
		j->token = p->last == ':' ? STRING : NAME;
		j->token_start = p->apart.len;
		p->name = p->text.len;
		return j->token == NAME ? etcdjson_text_put(j, span_str("\""))
					: apart_put(j, span_str("\""));
	}
	if (is_list(j, c)) {
		p->last = ']';
		j->list_last = '[';
		r = etcdjson_text_put(j, span_str("[]"));
		j->part = NULL;
		return r;
	}
	if ((c == '{' || c == '[') && ++p->depth > DEPTH_MAX)
		return dump_fail(j->err, -EBADMSG, "not the JSON of etcdctl get: nested too deep");
	if (c == '}' || c == ']')
		p->depth--;
	if (!etcdjson_is_space(c))
		p->last = c;
	return etcdjson_text_put(j, span_of(&c, 1));
}

/* At the beginning of an answer. */
static int feed_begin(struct etcdjson *j, uint8_t c)
{
	/* Lines before the answer: what a shell, kubectl or etcdctl had to say. */
	if (j->in_line || (!etcdjson_is_space(c) && c != '{' && c != '[')) {
		j->in_line = c != '\n';
		return j->words++ < WORDS_MAX && j->answers == 0 ? 0 : not_json(j);
	}
	if (c == '[' && j->answers == 0) {
		j->bare = true;
		j->list_last = '[';
		j->part = NULL;
		return 0;
	}
	return c == '[' ? not_json(j) : feed_text(j, c);
}

static int feed_part(struct etcdjson *j, struct span *text)
{
	struct part *p = j->part;
	uint8_t c = text->data[0];
	int r;

	if (p->last == ':' && etcdjson_is_digit(c)) {
		j->token = NUMBER;
		j->token_start = p->apart.len;
		return 0;
	}
	*text = span_skip(*text, 1);
	if (p == &j->root && p->last == 0)
		return feed_begin(j, c);
	r = feed_text(j, c);
	if (r < 0 || p->depth > 0 || p->last == 0)
		return r;
	r = part_load(j, p);
	if (r == 0)
		r = p == &j->kv ? json_take_kv(j, p->tree) : take_root(j, p->tree);
	j->part = NULL;
	j->list_last = '}';
	return r;
}

/* Between two elements, and at both ends of them. */
static int feed_list(struct etcdjson *j, uint8_t c)
{
	bool after_element = j->list_last == '}';

	if (etcdjson_is_space(c))
		return 0;
	if (c == '{' && !after_element) {
		part_begin(j, &j->kv);
		return feed_text(j, c);
	}
	if (c == ']' && j->list_last != ',' && j->bare) {
		j->bare = false;
		answer_end(j, 0, false);
		return 0;
	}
	if (c == ']' && j->list_last != ',') {
		j->part = &j->root;
		return 0;
	}
	if (c != ',' || !after_element)
		return after_element ? not_json(j) : wrong(j);
	j->list_last = c;
	return 0;
}

static int feed_some(struct etcdjson *j, struct span *text)
{
	uint8_t c = text->data[0];
	int r;

	if (j->token == NUMBER)
		return feed_number(j, text);
	if (j->token != NO_TOKEN)
		return feed_string(j, text);
	if (j->over && !etcdjson_is_space(c)) {
		j->over = false;
		part_begin(j, &j->root);
	}
	if (j->part)
		return feed_part(j, text);
	if (!j->over && j->list_last != '}' && plain_kv(j, text, &r))
		return r;
	*text = span_skip(*text, 1);
	return j->over ? 0 : feed_list(j, c);
}

int etcdjson_new(dump_each_fn *each, void *ctx, struct dump_info *info, struct dump_error *err,
		 struct etcdjson **ret)
{
	struct etcdjson *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->each = each;
	j->ctx = ctx;
	j->info = info;
	j->err = err;
	part_begin(j, &j->root);
	*ret = j;
	return 0;
}

static void part_clear(struct part *p)
{
	json_decref(p->tree);
	free(p->text.data);
	free(p->read.data);
	free(p->apart.data);
}

void etcdjson_free(struct etcdjson *j)
{
	if (!j)
		return;
	part_clear(&j->root);
	part_clear(&j->kv);
	free(j->key.data);
	free(j->value.data);
	free(j->last_key.data);
	free(j);
}

int etcdjson_feed(struct etcdjson *j, struct span text)
{
	int r = 0;

	j->info->done += text.len;
	while (r == 0 && text.len > 0)
		r = feed_some(j, &text);
	return r;
}

int etcdjson_end(struct etcdjson *j)
{
	if (j->over && j->answers > 0)
		return 0;
	if (j->part == &j->root && j->root.last == 0 && j->words > 0 && j->answers == 0)
		return not_json(j);
	return dump_fail(j->err, -EBADMSG, "the dump ends too early");
}
