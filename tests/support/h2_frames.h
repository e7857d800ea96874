/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 frames made by hand (RFC 9113 §4, §6), and found again in a stream of bytes. Header blocks
 * are literals without indexing and without Huffman coding (RFC 7541 §6.2.2), so that a test can
 * say anything, well formed or not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"

enum h2f_type {
	H2F_DATA,
	H2F_HEADERS,
	H2F_PRIORITY,
	H2F_RST_STREAM,
	H2F_SETTINGS,
	H2F_PUSH_PROMISE,
	H2F_PING,
	H2F_GOAWAY,
	H2F_WINDOW_UPDATE,
	H2F_CONTINUATION,
};

#define H2F_END_STREAM  0x1U
#define H2F_ACK         0x1U
#define H2F_END_HEADERS 0x4U
#define H2F_PADDED      0x8U

#define H2F_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* Bytes that grow; zero-initialised is empty. Ends the program when memory is short. */
struct h2f_buf {
	uint8_t *data;
	size_t len, cap;
};

static inline void h2f_release(struct h2f_buf *b)
{
	free(b->data);
	*b = (struct h2f_buf){ 0 };
}

static inline void h2f_bytes(struct h2f_buf *b, const void *data, size_t len)
{
	if (b->cap - b->len < len) {
		b->cap = 2 * (b->len + len);
		b->data = realloc(b->data, b->cap);
		if (!b->data)
			abort();
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static inline void h2f_byte(struct h2f_buf *b, unsigned int v)
{
	uint8_t c = (uint8_t)v;

	h2f_bytes(b, &c, 1);
}

static inline void h2f_u32(struct h2f_buf *b, uint32_t v)
{
	const uint8_t be[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
				(uint8_t)v };

	h2f_bytes(b, be, sizeof(be));
}

static inline void h2f_head(struct h2f_buf *b, size_t len, enum h2f_type type, unsigned int flags,
			    uint32_t stream)
{
	h2f_byte(b, (unsigned int)(len >> 16) & 255U);
	h2f_byte(b, (unsigned int)(len >> 8) & 255U);
	h2f_byte(b, (unsigned int)len & 255U);
	h2f_byte(b, (unsigned int)type);
	h2f_byte(b, flags);
	h2f_u32(b, stream);
}

static inline void h2f_frame(struct h2f_buf *b, enum h2f_type type, unsigned int flags,
			     uint32_t stream, const void *payload, size_t len)
{
	h2f_head(b, len, type, flags, stream);
	h2f_bytes(b, payload, len);
}

/* An HPACK string: length with a 7-bit prefix (RFC 7541 §5.1), then the bytes. */
static inline void h2f_string(struct h2f_buf *b, const void *data, size_t len)
{
	size_t n = len;

	if (n < 127) {
		h2f_byte(b, (unsigned int)n);
	} else {
		h2f_byte(b, 127);
		for (n -= 127; n >= 128; n >>= 7)
			h2f_byte(b, (unsigned int)(n & 127U) | 128U);
		h2f_byte(b, (unsigned int)n);
	}
	h2f_bytes(b, data, len);
}

static inline void h2f_field(struct h2f_buf *block, const char *name, const char *value)
{
	h2f_byte(block, 0);
	h2f_string(block, name, strlen(name));
	h2f_string(block, value, strlen(value));
}

/* The client's preface and an empty SETTINGS. */
static inline void h2f_hello(struct h2f_buf *b)
{
	h2f_bytes(b, H2F_PREFACE, strlen(H2F_PREFACE));
	h2f_frame(b, H2F_SETTINGS, 0, 0, NULL, 0);
}

/* The headers of a call. NULL: what an ordinary call has; H2F_OMIT: the field is left out. */
struct h2f_call {
	const char *method, *scheme, *path, *authority, *content_type, *te, *timeout;
	const char *name, *value; /* one more */
};

#define H2F_OMIT      ((const char *)"\x01omit")
#define H2F_CALL(...) ((struct h2f_call){ __VA_ARGS__ })

static inline void h2f_call_block(struct h2f_buf *block, const struct h2f_call *c)
{
	const char *const fields[][3] = {
		{ ":method", c->method, "POST" },
		{ ":scheme", c->scheme, "http" },
		{ ":path", c->path, "/t.T/Now" },
		{ ":authority", c->authority, "localhost" },
		{ "content-type", c->content_type, "application/grpc" },
		{ "te", c->te, "trailers" },
		{ "grpc-timeout", c->timeout, NULL },
		{ c->name, c->value, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *value = fields[i][1] ? fields[i][1] : fields[i][2];

		if (fields[i][0] && value && strcmp(value, H2F_OMIT) != 0)
			h2f_field(block, fields[i][0], value);
	}
}

static inline void h2f_call_headers(struct h2f_buf *b, uint32_t stream, unsigned int flags,
				    const struct h2f_call *c)
{
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };

	h2f_call_block(&block, c);
	h2f_frame(b, H2F_HEADERS, flags | H2F_END_HEADERS, stream, block.data, block.len);
}

/* A whole length-prefixed message in DATA frames of at most 16 KiB. */
static inline void h2f_message(struct h2f_buf *b, uint32_t stream, unsigned int flags,
			       const void *msg, size_t len)
{
	_cleanup_(h2f_release) struct h2f_buf body = { 0 };

	h2f_byte(&body, 0);
	h2f_u32(&body, (uint32_t)len);
	h2f_bytes(&body, msg, len);
	for (size_t off = 0; off < body.len; off += 16384) {
		size_t n = body.len - off < 16384 ? body.len - off : 16384;

		h2f_frame(b, H2F_DATA, off + n == body.len ? flags : 0, stream, body.data + off, n);
	}
}

/* The next whole frame of @data at *@off; false when there is none. */
struct h2f_seen {
	enum h2f_type type;
	unsigned int flags;
	uint32_t stream, len;
	const uint8_t *payload;
};

static inline uint32_t h2f_get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline bool h2f_next(const uint8_t *data, size_t len, size_t *off, struct h2f_seen *ret)
{
	const uint8_t *p = data + *off;
	uint32_t n;

	if (len - *off < 9)
		return false;
	n = h2f_get32(p) >> 8;
	if (len - *off - 9 < n)
		return false;
	*ret = (struct h2f_seen){ .type = p[3],
				  .flags = p[4],
				  .stream = h2f_get32(p + 5) & 0x7fffffffU,
				  .len = n,
				  .payload = p + 9 };
	*off += 9 + n;
	return true;
}
