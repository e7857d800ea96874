/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of gRPC over HTTP/2 that server and client share (PROTOCOL-HTTP2.md of the gRPC
 * project): timeouts, percent-encoded messages, length-prefixed messages. Pure.
 */
#ifndef KEKD_WIRE_GRPC_RULES_H
#define KEKD_WIRE_GRPC_RULES_H

#include <stdint.h>

#include "daemon/base/grpc_status.h"
#include "daemon/base/secmem.h"
#include <kekd/span.h>

#define GRPC_PREFIX      5U   /* compressed flag, big-endian length */
#define GRPC_TEXT_MAX    256U /* a status text with its NUL */
#define GRPC_ENCODED_MAX (3 * GRPC_TEXT_MAX)

/*
 * grpc-timeout: one to eight digits and a unit (H M S m u n). Nanoseconds; what does not fit is
 * UINT64_MAX. -EINVAL.
 */
int grpc_timeout_parse(struct span value, uint64_t *ret_ns);
/* The shortest unit that holds @ns in eight digits, rounded up. */
void grpc_timeout_format(uint64_t ns, char out[static 16]);
/* now + timeout without wrapping; never 0. */
uint64_t grpc_deadline(uint64_t now, uint64_t timeout);

/* Bytes other than 0x20 to 0x7e, and '%', become %XX. @text is cut at GRPC_TEXT_MAX - 1. */
void grpc_percent_encode(const char *text, char out[static GRPC_ENCODED_MAX]);
/*
 * The reverse, for a text to be shown: a malformed escape is kept as it is, what is not printable
 * ASCII becomes '?', the rest is cut.
 */
void grpc_percent_decode(struct span value, char out[static GRPC_TEXT_MAX]);

/* Is it "application/grpc" or "application/grpc+proto", that is protobuf messages? */
bool grpc_content_type(struct span value);

/*
 * What an answer stands for that has no grpc-status: one that is not from a gRPC server, by its
 * :status (http-grpc-status-mapping.md), and a stream that was reset (PROTOCOL-HTTP2.md, "Errors").
 */
enum grpc_status grpc_status_of_http(int http);
enum grpc_status grpc_status_of_reset(uint32_t error);

/*
 * One length-prefixed message on its way in. Zero-initialised is "nothing yet". Five bytes announce a
 * message of any length and cost nothing: memory is taken for what has come, and for as
 * much again.
 */
struct grpc_intake {
	uint8_t prefix[GRPC_PREFIX];
	uint8_t have; /* bytes of prefix */
	bool complete;
	uint32_t need; /* bytes of the message */
	size_t room; /* the owner's: so much is to be free behind a message that comes in one piece */
	struct secbuf msg;
};

/*
 * More bytes. -EMSGSIZE: longer than @limit. -ENOBUFS: @pool is exhausted. -EOPNOTSUPP: compressed.
 * -EPROTO: a flag that does not exist. -EEXIST: a second message. The first error is final.
 */
int grpc_intake_feed(struct grpc_intake *in, struct secpool *pool, uint32_t limit,
		     struct span chunk);
/* The stream ended. -ENOMSG: without a message. -ENODATA: in the middle of one. */
int grpc_intake_end(const struct grpc_intake *in);
void grpc_intake_release(struct grpc_intake *in);

/* The prefix of a message of @len bytes. */
void grpc_prefix(size_t len, uint8_t out[static GRPC_PREFIX]);
/* @msg behind its prefix, in a locked buffer of @pool. -ENOBUFS. */
int grpc_frame(struct secpool *pool, struct span msg, struct secbuf *ret);

#endif
