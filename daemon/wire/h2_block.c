/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and values are public bytes of the peer: looked at here, kept nowhere, logged never. Every byte
 * of every header of every call comes by: so a name is first looked up among those of its length, and
 * only one that is not known is read byte by byte; values are read eight bytes at a time.
 */
#include "daemon/wire/h2_block.h"

#include <errno.h>

#include "daemon/base/cleanup.h"

enum {
	SEEN_METHOD = 1U << 0,
	SEEN_SCHEME = 1U << 1,
	SEEN_PATH = 1U << 2,
	SEEN_AUTHORITY = 1U << 3,
	SEEN_STATUS = 1U << 4,
};

static bool any_value(struct span v _unused_)
{
	return true;
}

static bool not_empty(struct span v)
{
	return v.len > 0;
}

static bool absolute(struct span v)
{
	return v.len > 0 && v.data[0] == '/';
}

static bool digits(struct span v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] < '0' || v.data[i] > '9')
			return false;
	return v.len > 0;
}

static bool three_digits(struct span v)
{
	return v.len == 3 && digits(v);
}

static const uint8_t required[] = {
	[H2_REQUEST] = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH,
	[H2_RESPONSE] = SEEN_STATUS,
	[H2_TRAILERS] = 0,
};

/* RFC 9113 §8.2.1: bytes of a name, except of a pseudo-header field. */
static const bool name_bytes[256] = {
	['!' ... '9'] = true,
	[';' ... '@'] = true,
	['[' ... '~'] = true,
};

static bool name_valid(struct span name)
{
	bool good = name.len > 0;

	for (size_t i = 0; i < name.len; i++)
		good &= name_bytes[name.data[i]];
	return good;
}

static bool blank(uint8_t c)
{
	return c <= ' ' && (c == ' ' || c == '\t');
}

/* Is one of these bytes below 0x10? NUL, CR and LF are, and little else that a field holds. */
static bool any_low(uint64_t bytes)
{
	const uint64_t ones = UINT64_MAX / 255;

	return ((bytes - ones * 0x10) & ~bytes & (ones << 7)) != 0;
}

static uint64_t block_load(const uint8_t *at)
{
	uint64_t bytes;

	memcpy(&bytes, at, sizeof(bytes));
	return bytes;
}

/* False may be wrong: then each byte has to be looked at. The last four or eight may overlap others. */
static bool surely_text(struct span v)
{
	uint32_t first, last;

	if (v.len < sizeof(uint32_t))
		return false;
	if (v.len < sizeof(uint64_t)) {
		memcpy(&first, v.data, sizeof(first));
		memcpy(&last, v.data + v.len - sizeof(last), sizeof(last));
		return !any_low((uint64_t)first << 32 | last);
	}
	for (size_t i = 0; i + sizeof(uint64_t) < v.len; i += sizeof(uint64_t))
		if (any_low(block_load(v.data + i)))
			return false;
	return !any_low(block_load(v.data + v.len - sizeof(uint64_t)));
}

static bool value_valid(struct span v)
{
	if (v.len > 0 && (blank(v.data[0]) || blank(v.data[v.len - 1])))
		return false;
	if (surely_text(v))
		return true;
	for (size_t i = 0; i < v.len; i++)
		if (v.data[i] == '\0' || v.data[i] == '\r' || v.data[i] == '\n')
			return false;
	return true;
}

/* The fields that have rules, and some that nearly every request has. */
static const struct known {
	struct span name;
	enum field_rule { NO_RULE, PSEUDO, CONNECTION_SPECIFIC, TE, CONTENT_LENGTH } rule;
	/* Of a pseudo-header field: */
	enum h2_block_kind kind;
	uint8_t bit;
	bool (*valid)(struct span value);
} knowns[] = {
	{ SPAN_LITERAL("te"), .rule = TE },
	{ SPAN_LITERAL(":path"), PSEUDO, H2_REQUEST, SEEN_PATH, absolute },
	{ SPAN_LITERAL(":method"), PSEUDO, H2_REQUEST, SEEN_METHOD, not_empty },
	{ SPAN_LITERAL(":scheme"), PSEUDO, H2_REQUEST, SEEN_SCHEME, not_empty },
	{ SPAN_LITERAL(":status"), PSEUDO, H2_RESPONSE, SEEN_STATUS, three_digits },
	{ SPAN_LITERAL("upgrade"), .rule = CONNECTION_SPECIFIC },
	{ SPAN_LITERAL(":authority"), PSEUDO, H2_REQUEST, SEEN_AUTHORITY, any_value },
	{ SPAN_LITERAL("connection"), .rule = CONNECTION_SPECIFIC },
	{ SPAN_LITERAL("keep-alive"), .rule = CONNECTION_SPECIFIC },
	{ SPAN_LITERAL("user-agent"), .rule = NO_RULE },
	{ SPAN_LITERAL("content-type"), .rule = NO_RULE },
	{ SPAN_LITERAL("content-length"), .rule = CONTENT_LENGTH },
	{ SPAN_LITERAL("proxy-connection"), .rule = CONNECTION_SPECIFIC },
	{ SPAN_LITERAL("transfer-encoding"), .rule = CONNECTION_SPECIFIC },
};

/* The fields are in the order of their lengths. This is where each length begins. */
static const uint8_t known_at[] = {
	[2] = 0, [5] = 1, [7] = 2, [10] = 6, [12] = 10, [14] = 11, [16] = 12, [17] = 13,
};

static const struct known *known_find(struct span name)
{
	const struct known *end = knowns + ARRAY_SIZE(knowns);

	if (name.len >= ARRAY_SIZE(known_at))
		return NULL;
	for (const struct known *k = knowns + known_at[name.len];
	     k < end && k->name.len == name.len; k++)
		if (k->name.data[1] == name.data[1] &&
		    memcmp(k->name.data, name.data, name.len) == 0)
			return k;
	return NULL;
}

/* RFC 9110 §8.6; a repeated field must repeat the value. */
static int content_length(struct h2_length *length, struct span value)
{
	uint64_t n = 0;

	if (!digits(value) || value.len > 18)
		return -EPROTO;
	for (size_t i = 0; i < value.len; i++)
		n = n * 10 + (uint64_t)(value.data[i] - '0');
	if (length->known && length->want != n)
		return -EPROTO;
	length->known = true;
	length->want = n;
	return 0;
}

static int known_field(struct h2_block *b, struct h2_length *length, const struct known *k,
		       struct span value)
{
	static const struct span trailers = SPAN_LITERAL("trailers");

	if (k->rule == PSEUDO) {
		if (k->kind != b->kind || b->regular || (b->seen & k->bit) || !k->valid(value))
			return -EPROTO;
		b->seen |= k->bit;
		if (k->bit == SEEN_STATUS)
			b->informational = value.data[0] == '1';
		return 0;
	}
	b->regular = true;
	switch (k->rule) {
	case CONNECTION_SPECIFIC: /* RFC 9113 §8.2.2 */
		return -EPROTO;
	case TE:
		return span_equal(value, trailers) ? 0 : -EPROTO;
	case CONTENT_LENGTH:
		return b->kind == H2_TRAILERS ? 0 : content_length(length, value);
	default:
		return 0;
	}
}

void h2_block_begin(struct h2_block *b, enum h2_block_kind kind)
{
	*b = (struct h2_block){ .kind = kind };
}

int h2_block_field(struct h2_block *b, struct h2_length *length, struct span name,
		   struct span value)
{
	const struct known *k;
	int r = -EPROTO;

	if (!b->bad && value_valid(value)) {
		k = known_find(name);
		if (k) {
			r = known_field(b, length, k, value);
		} else if (name_valid(name)) {
			b->regular = true;
			r = 0;
		}
	}
	b->bad = r < 0;
	return r;
}

int h2_block_end(struct h2_block *b, bool end_stream)
{
	if (b->bad || (b->seen & required[b->kind]) != required[b->kind])
		return -EPROTO;
	if (b->kind == H2_TRAILERS && !end_stream)
		return -EPROTO;
	if (b->informational && end_stream)
		return -EPROTO;
	return 0;
}

int h2_length_add(struct h2_length *length, size_t bytes)
{
	length->got += bytes;
	return length->known && length->got > length->want ? -EPROTO : 0;
}

int h2_length_end(const struct h2_length *length)
{
	return length->known && length->got != length->want ? -EPROTO : 0;
}
