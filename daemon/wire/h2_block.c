/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and values are public bytes of the peer: looked at here, kept nowhere, logged never. Every byte
 * of every header of every call comes by, so names go through a table, values eight bytes at a time,
 * and the words of the rules have their lengths with them.
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

static const struct pseudo {
	struct span name;
	enum h2_block_kind kind;
	uint8_t bit;
	bool (*valid)(struct span value);
} pseudos[] = {
	{ SPAN_LITERAL(":method"), H2_REQUEST, SEEN_METHOD, not_empty },
	{ SPAN_LITERAL(":scheme"), H2_REQUEST, SEEN_SCHEME, not_empty },
	{ SPAN_LITERAL(":path"), H2_REQUEST, SEEN_PATH, absolute },
	{ SPAN_LITERAL(":authority"), H2_REQUEST, SEEN_AUTHORITY, any_value },
	{ SPAN_LITERAL(":status"), H2_RESPONSE, SEEN_STATUS, three_digits },
};

static const uint8_t required[] = {
	[H2_REQUEST] = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH,
	[H2_RESPONSE] = SEEN_STATUS,
	[H2_TRAILERS] = 0,
};

/* RFC 9113 §8.2.2 */
static const struct span connection_specific[] = {
	SPAN_LITERAL("connection"), SPAN_LITERAL("proxy-connection"),
	SPAN_LITERAL("keep-alive"), SPAN_LITERAL("transfer-encoding"),
	SPAN_LITERAL("upgrade"),
};
static const struct span te = SPAN_LITERAL("te");
static const struct span trailers = SPAN_LITERAL("trailers");
static const struct span length_field = SPAN_LITERAL("content-length");

/* RFC 9113 §8.2.1, the colon in front aside. */
static const bool name_bytes[256] = {
	['!' ... '9'] = true,
	[';' ... '@'] = true,
	['[' ... '~'] = true,
};

static bool name_valid(struct span name)
{
	bool good = name.len > 0;

	for (size_t i = good && name.data[0] == ':'; i < name.len; i++)
		good &= name_bytes[name.data[i]];
	return good;
}

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t';
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

/* False may be wrong: then each byte has to be looked at. The last eight may overlap others. */
static bool surely_text(struct span v)
{
	if (v.len < sizeof(uint64_t))
		return false;
	for (size_t i = 0; i + sizeof(uint64_t) <= v.len; i += sizeof(uint64_t))
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

static int pseudo_field(struct h2_block *b, struct span name, struct span value)
{
	for (size_t i = 0; i < ARRAY_SIZE(pseudos); i++) {
		const struct pseudo *p = &pseudos[i];

		if (!span_equal(name, p->name))
			continue;
		if (p->kind != b->kind || b->regular || (b->seen & p->bit) || !p->valid(value))
			return -EPROTO;
		b->seen |= p->bit;
		if (p->bit == SEEN_STATUS)
			b->informational = value.data[0] == '1';
		return 0;
	}
	return -EPROTO;
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

static int regular_field(struct h2_block *b, struct h2_length *length, struct span name,
			 struct span value)
{
	b->regular = true;
	for (size_t i = 0; i < ARRAY_SIZE(connection_specific); i++)
		if (span_equal(name, connection_specific[i]))
			return -EPROTO;
	if (span_equal(name, te))
		return span_equal(value, trailers) ? 0 : -EPROTO;
	if (span_equal(name, length_field) && b->kind != H2_TRAILERS)
		return content_length(length, value);
	return 0;
}

void h2_block_begin(struct h2_block *b, enum h2_block_kind kind)
{
	*b = (struct h2_block){ .kind = kind };
}

int h2_block_field(struct h2_block *b, struct h2_length *length, struct span name,
		   struct span value)
{
	int r = -EPROTO;

	b->bytes += (uint32_t)(name.len + value.len + 32);
	if (!b->bad && name_valid(name) && value_valid(value))
		r = name.data[0] == ':' ? pseudo_field(b, name, value)
					: regular_field(b, length, name, value);
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
