/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is read into one locked buffer that grows with it, so that nobody gets memory by announcing a
 * message. One that comes in a single piece, as nearly all do, is given what it needs at once.
 */
#include "daemon/wire/grpc_rules.h"

#include <errno.h>

#include "daemon/wire/h2.h"

static const struct unit {
	char name;
	uint64_t ns;
} units[] = {
	{ 'n', 1ULL },
	{ 'u', 1000ULL },
	{ 'm', 1000000ULL },
	{ 'S', 1000000000ULL },
	{ 'M', 60ULL * 1000000000ULL },
	{ 'H', 3600ULL * 1000000000ULL },
};

#define TIMEOUT_DIGITS    8U
#define TIMEOUT_VALUE_MAX 99999999ULL

int grpc_timeout_parse(struct span value, uint64_t *ret_ns)
{
	const struct unit *unit = NULL;
	uint64_t n = 0;

	if (value.len < 2 || value.len > TIMEOUT_DIGITS + 1)
		return -EINVAL;
	for (size_t i = 0; i < value.len - 1; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(value.data[i] - '0');
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (units[i].name == (char)value.data[value.len - 1])
			unit = &units[i];
	if (!unit)
		return -EINVAL;
	if (__builtin_mul_overflow(n, unit->ns, &n))
		n = UINT64_MAX;
	*ret_ns = n;
	return 0;
}

void grpc_timeout_format(uint64_t ns, char out[static 16])
{
	uint64_t n = TIMEOUT_VALUE_MAX;
	char name = 'H';

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		uint64_t v = ns / units[i].ns + (ns % units[i].ns != 0);

		if (v > TIMEOUT_VALUE_MAX)
			continue;
		n = v;
		name = units[i].name;
		break;
	}
	snprintf(out, 16, "%u%c", (unsigned int)n, name);
}

uint64_t grpc_deadline(uint64_t now, uint64_t timeout)
{
	uint64_t when;

	return __builtin_add_overflow(now, timeout, &when) ? UINT64_MAX : when;
}

void grpc_percent_encode(const char *text, char out[static GRPC_ENCODED_MAX])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; text[i] && i < GRPC_TEXT_MAX - 1; i++) {
		uint8_t c = (uint8_t)text[i];
		/* A space at either end would not be a valid field value (RFC 9113 §8.2.1). */
		bool edge = i == 0 || !text[i + 1] || i == GRPC_TEXT_MAX - 2;

		if (c >= (edge ? 0x21 : 0x20) && c <= 0x7e && c != '%') {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	out[n] = '\0';
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

void grpc_percent_decode(struct span value, char out[static GRPC_TEXT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < value.len && n < GRPC_TEXT_MAX - 1; i++) {
		uint8_t c = value.data[i];

		if (c == '%' && i + 2 < value.len && hex_digit(value.data[i + 1]) >= 0 &&
		    hex_digit(value.data[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(value.data[i + 1]) << 4 |
				      hex_digit(value.data[i + 2]));
			i += 2;
		}
		out[n++] = c >= 0x20 && c <= 0x7e ? (char)c : '?';
	}
	out[n] = '\0';
}

bool grpc_content_type(struct span value)
{
	static const struct span types[] = { SPAN_LITERAL("application/grpc"),
					     SPAN_LITERAL("application/grpc+proto") };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (span_starts_with(value, types[i]) &&
		    (value.len == types[i].len || value.data[types[i].len] == ';'))
			return true;
	return false;
}

static int prefix_feed(struct grpc_intake *in, uint32_t limit, struct span *chunk)
{
	size_t n = GRPC_PREFIX - in->have;
	const uint8_t *p = in->prefix;

	n = chunk->len < n ? chunk->len : n;
	memcpy(in->prefix + in->have, chunk->data, n);
	in->have = (uint8_t)(in->have + n);
	*chunk = span_skip(*chunk, n);
	if (in->have < GRPC_PREFIX)
		return 0;
	if (p[0] != 0)
		return p[0] == 1 ? -EOPNOTSUPP : -EPROTO;
	in->need = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (in->need > limit)
		return -EMSGSIZE;
	in->complete = in->need == 0;
	return 0;
}

/* Make room for @n bytes more. A buffer that has to grow doubles at least, in case more follow. */
static int body_room(struct grpc_intake *in, struct secpool *pool, size_t n)
{
	size_t want = in->msg.len + n;

	if (want <= in->msg.cap)
		return 0;
	if (!secpool_lets_in(pool, want))
		return -ENOBUFS;
	if (!in->msg.data)
		return secpool_get(pool, want == in->need ? want + in->room : want, &in->msg);
	if (want < 2 * in->msg.cap)
		want = 2 * in->msg.cap;
	return secbuf_reserve(&in->msg, want < in->need ? want : in->need);
}

static int body_feed(struct grpc_intake *in, struct secpool *pool, struct span *chunk)
{
	size_t n = in->need - in->msg.len;
	int r;

	n = chunk->len < n ? chunk->len : n;
	r = body_room(in, pool, n);
	if (r < 0)
		return r;
	memcpy(in->msg.data + in->msg.len, chunk->data, n);
	in->msg.len += n;
	*chunk = span_skip(*chunk, n);
	in->complete = in->msg.len == in->need;
	return 0;
}

int grpc_intake_feed(struct grpc_intake *in, struct secpool *pool, uint32_t limit,
		     struct span chunk)
{
	int r;

	while (chunk.len > 0) {
		if (in->complete)
			return -EEXIST;
		r = in->have < GRPC_PREFIX ? prefix_feed(in, limit, &chunk)
					   : body_feed(in, pool, &chunk);
		if (r < 0)
			return r;
	}
	return 0;
}

int grpc_intake_end(const struct grpc_intake *in)
{
	if (in->complete)
		return 0;
	return in->have == 0 ? -ENOMSG : -ENODATA;
}

void grpc_intake_release(struct grpc_intake *in)
{
	secbuf_release(&in->msg);
	*in = (struct grpc_intake){ 0 };
}

void grpc_prefix(size_t len, uint8_t out[static GRPC_PREFIX])
{
	const uint8_t prefix[GRPC_PREFIX] = { 0, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
					      (uint8_t)(len >> 8), (uint8_t)len };

	memcpy(out, prefix, sizeof(prefix));
}

int grpc_frame(struct secpool *pool, struct span msg, struct secbuf *ret)
{
	_cleanup_secbuf_ struct secbuf b = { 0 };
	int r;

	r = secpool_get(pool, GRPC_PREFIX + msg.len, &b);
	if (r < 0)
		return r;
	grpc_prefix(msg.len, b.data);
	if (msg.len > 0)
		memcpy(b.data + GRPC_PREFIX, msg.data, msg.len);
	b.len = GRPC_PREFIX + msg.len;
	*ret = secbuf_move(&b);
	return 0;
}

enum grpc_status grpc_status_of_http(int http)
{
	static const struct {
		int http;
		enum grpc_status status;
	} map[] = {
		{ 400, GRPC_INTERNAL },      { 403, GRPC_PERMISSION_DENIED },
		{ 404, GRPC_UNIMPLEMENTED }, { 429, GRPC_UNAVAILABLE },
		{ 502, GRPC_UNAVAILABLE },   { 503, GRPC_UNAVAILABLE },
		{ 504, GRPC_UNAVAILABLE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].http == http)
			return map[i].status;
	return GRPC_UNKNOWN;
}

enum grpc_status grpc_status_of_reset(uint32_t error)
{
	switch (error) {
	case H2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case H2_CANCEL:
		return GRPC_CANCELLED;
	case H2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	default:
		return GRPC_INTERNAL;
	}
}
