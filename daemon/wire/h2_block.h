/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a message well formed (RFC 9113 §8.1 to §8.3), field by field. Pure.
 *
 * The library has such checks, but as one switch, and they refuse an :authority with a slash in it.
 * A KMS plugin is dialled by the path of its socket and older clients put that path there, so the
 * switch is off and the rules are kept here:
 * - §8.2.1: a name is not empty and holds no upper case, control, space, DEL or high byte, and a
 *   colon only in front; a value holds no NUL, CR or LF, and no SP or HTAB at either end;
 * - §8.2.2: no connection-specific field; te is "trailers" or absent;
 * - §8.3: pseudo-header fields come first, known ones only, each once, none in trailers;
 * - §8.3.1: a request has :method, :scheme and a :path that starts with a slash;
 * - §8.3.2: a response has a :status of three digits;
 * - §8.1: trailers end the stream; §8.1.1: content-length is the sum of the DATA payloads.
 * Deliberately not checked: the content of :authority and host, which carry no meaning on a Unix
 * socket, and of :scheme.
 */
#ifndef KEKD_WIRE_H2_BLOCK_H
#define KEKD_WIRE_H2_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include <kekd/span.h>

enum h2_block_kind { H2_REQUEST, H2_RESPONSE, H2_TRAILERS };

/* The checks of one header block. */
struct h2_block {
	enum h2_block_kind kind;
	uint8_t seen;       /* pseudo-header fields */
	bool regular;       /* a regular field has come */
	bool informational; /* a response of status 1xx */
	bool bad;
};

/* content-length of a message against what came. Zero-initialised is "none announced". */
struct h2_length {
	uint64_t want, got;
	bool known;
};

void h2_block_begin(struct h2_block *b, enum h2_block_kind kind);
/* Next field. -EPROTO: malformed, now and for the rest of the block. */
int h2_block_field(struct h2_block *b, struct h2_length *length, struct span name,
		   struct span value);
/* All fields are there. -EPROTO: malformed. */
int h2_block_end(struct h2_block *b, bool end_stream);

int h2_length_add(struct h2_length *length, size_t bytes);
int h2_length_end(const struct h2_length *length);

#endif
