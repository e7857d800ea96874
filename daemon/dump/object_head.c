/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object says of itself, in whichever of the three forms it is stored in. JSON and CBOR (RFC 8949)
 * are only walked through: of the outermost map the two fields are looked for, and all else is stepped
 * over. Nothing is allocated, copied or believed about what is stepped over.
 */
#include <ctype.h>

#include "daemon/chain/codec.h"
#include "daemon/dump/object.h"

#define HEAD_DEPTH_MAX 64U

/* What is left to read. */
struct head_text {
	const uint8_t *p, *end;
};

/* The field of *@ret that is called @name; NULL: of no use here. */
static struct span *head_field(struct object *o, struct span name)
{
	if (span_equal(name, span_str("apiVersion")))
		return &o->api_version;
	return span_equal(name, span_str("kind")) ? &o->kind : NULL;
}

static bool head_complete(const struct object *o)
{
	return o->api_version.len > 0 && o->kind.len > 0;
}

/* JSON. */

static uint8_t head_next(struct head_text *t)
{
	while (t->p < t->end && isspace(*t->p))
		t->p++;
	return t->p < t->end ? *t->p : 0;
}

/* Between its quotes; a name with an escape is none of those that are looked for. */
static bool head_json_string(struct head_text *t, struct span *ret)
{
	const uint8_t *start;

	if (head_next(t) != '"')
		return false;
	start = ++t->p;
	while (t->p < t->end && *t->p != '"') {
		if (*t->p++ == '\\' && t->p < t->end)
			t->p++;
	}
	if (t->p == t->end)
		return false;
	*ret = span_of(start, (size_t)(t->p++ - start));
	return true;
}

/* A value up to its end: brackets are counted, not matched. */
static bool head_json_skip(struct head_text *t)
{
	struct span s;
	size_t depth = 0;

	for (;;) {
		uint8_t c = head_next(t);

		if (c == 0 || (depth == 0 && (c == ',' || c == '}' || c == ']')))
			return c != 0;
		if (c == '"') {
			if (!head_json_string(t, &s))
				return false;
			continue;
		}
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		t->p++;
	}
}

static bool head_json_fields(struct head_text *t, struct object *o)
{
	struct span name, value, *field;

	while (!head_complete(o) && head_next(t) == '"') {
		if (!head_json_string(t, &name) || head_next(t) != ':')
			return false;
		t->p++;
		field = head_field(o, name);
		if (field && head_next(t) == '"' && head_json_string(t, &value))
			*field = value;
		if (!head_json_skip(t))
			return false;
		t->p += *t->p == ',';
	}
	return head_complete(o);
}

/* CBOR. */

enum { CBOR_BYTES = 2, CBOR_TEXT = 3, CBOR_LIST = 4, CBOR_MAP = 5, CBOR_TAG = 6 };
#define CBOR_BREAK 0xff
#define CBOR_OPEN  UINT64_MAX /* as many as come before the break */

struct head_item {
	unsigned int major;
	uint64_t n;
};

static bool head_cbor_item(struct head_text *t, struct head_item *ret)
{
	unsigned int info, len;

	if (t->p >= t->end || *t->p == CBOR_BREAK)
		return false;
	ret->major = *t->p >> 5;
	info = *t->p++ & 31;
	ret->n = info;
	if (info == 31) {
		ret->n = CBOR_OPEN;
		return ret->major >= CBOR_BYTES && ret->major <= CBOR_MAP;
	}
	if (info < 24)
		return true;
	len = info > 27 ? 0 : 1U << (info - 24);
	if (len == 0 || (size_t)(t->end - t->p) < len)
		return false;
	for (ret->n = 0; len > 0; len--)
		ret->n = ret->n << 8 | *t->p++;
	return ret->n != CBOR_OPEN;
}

/* Takes a break away. */
static bool head_cbor_over(struct head_text *t, uint64_t *n)
{
	if (*n == CBOR_OPEN) {
		if (t->p >= t->end || *t->p != CBOR_BREAK)
			return false;
		t->p++;
		return true;
	}
	return (*n)-- == 0;
}

static bool head_cbor_skip(struct head_text *t, unsigned int depth)
{
	struct head_item item;

	if (depth > HEAD_DEPTH_MAX || !head_cbor_item(t, &item))
		return false;
	if ((item.major == CBOR_BYTES || item.major == CBOR_TEXT) && item.n != CBOR_OPEN) {
		if ((uint64_t)(t->end - t->p) < item.n)
			return false;
		t->p += item.n;
		return true;
	}
	if (item.major < CBOR_BYTES || item.major > CBOR_TAG)
		return true;
	if (item.major == CBOR_TAG)
		return head_cbor_skip(t, depth + 1);
	while (!head_cbor_over(t, &item.n))
		if (!head_cbor_skip(t, depth + 1) ||
		    (item.major == CBOR_MAP && !head_cbor_skip(t, depth + 1)))
			return false;
	return true;
}

/* Kubernetes writes its strings as bytes; text is as good. Not a string: stepped over, and empty. */
static bool head_cbor_string(struct head_text *t, struct span *ret)
{
	struct head_text at = *t;
	struct head_item item;

	*ret = SPAN_NULL;
	if (!head_cbor_skip(t, 0))
		return false;
	if (head_cbor_item(&at, &item) && (item.major == CBOR_BYTES || item.major == CBOR_TEXT) &&
	    item.n != CBOR_OPEN)
		*ret = span_of(at.p, (size_t)item.n);
	return true;
}

static bool head_cbor_fields(struct head_text *t, struct object *o)
{
	struct span name, value, *field;
	struct head_item map;

	if (!head_cbor_item(t, &map) || map.major != CBOR_MAP)
		return false;
	while (!head_complete(o) && !head_cbor_over(t, &map.n)) {
		if (!head_cbor_string(t, &name) || !head_cbor_string(t, &value))
			return false;
		field = head_field(o, name);
		if (field)
			*field = value;
	}
	return head_complete(o);
}

bool object_head(struct span plain, struct object *ret)
{
	struct head_text t = { plain.data, plain.data + plain.len };
	struct object o = { 0 };
	struct head_item tag;
	bool found = false;

	switch (codec_form_of(plain)) {
	case CODEC_PROTOBUF:
		found = object_type(plain, &o) == 0 && head_complete(&o);
		break;
	case CODEC_JSON:
		head_next(&t);
		t.p++;
		found = head_json_fields(&t, &o);
		break;
	case CODEC_CBOR:
		found = head_cbor_item(&t, &tag) && head_cbor_fields(&t, &o);
		break;
	default:
		break;
	}
	if (found)
		*ret = o;
	return found;
}
