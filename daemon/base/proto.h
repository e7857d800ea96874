/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire format of protobuf (protobuf.dev, "Encoding"), as far as the messages read and written here need it: a
 * message is a row of fields, read one after the other. Nothing is copied and nothing allocated: bytes
 * and strings are spans of the message, which must outlive them. What the fields mean, which of
 * them are known and that the last one of a kind counts is the business of the caller.
 *
 * The server reads messages with this, from peers that may send anything; so do kekd-cluster, of etcd, and kekctl,
 * of dumps. Groups (wire types 3 and 4) have
 * no place in proto3 and make a message malformed.
 */
#ifndef KEKD_BASE_PROTO_H
#define KEKD_BASE_PROTO_H

#include "daemon/base/secmem.h"
#include <kekd/span.h>

/* Wire types. */
enum proto_type {
	PROTO_VARINT = 0,
	PROTO_I64 = 1,
	PROTO_LEN = 2, /* bytes, strings, messages */
	PROTO_I32 = 5,
};

struct proto_field {
	uint32_t number; /* 1 to 2^29 - 1 */
	enum proto_type type;
	uint64_t varint;   /* PROTO_VARINT only */
	struct span bytes; /* PROTO_LEN only */
};

/*
 * The next field of the message *@rest, which becomes what follows it. 1: there was one; 0: the message
 * is at its end; -EINVAL: it is malformed.
 */
int proto_next(struct span *rest, struct proto_field *ret);

/* What is in a field that has to be of one type. -EINVAL: it is of another. */
int proto_bytes(const struct proto_field *f, struct span *ret);
int proto_number(const struct proto_field *f, uint64_t *ret);

/* A tag of five bytes at most, a number of ten. */
#define PROTO_HEAD_MAX 15

/*
 * What precedes the @value bytes of a PROTO_LEN field, or a whole PROTO_VARINT field. Writes it to @out
 * and returns its length.
 */
size_t proto_head(uint8_t out[static PROTO_HEAD_MAX], uint32_t number, enum proto_type type,
		  uint64_t value);

/* How long fields get. proto3 does not send one that is empty or 0: 0. */
size_t proto_bytes_len(uint32_t number, size_t len);
size_t proto_varint_len(uint32_t number, uint64_t value);

/* Append to @out. -ENOBUFS, which may leave a part of the field there. */
int proto_put_bytes(struct secbuf *out, uint32_t number, struct span bytes);
int proto_put_varint(struct secbuf *out, uint32_t number, uint64_t value);
/* The head of a message of @len bytes, which the caller appends; sent even if it is empty. */
int proto_put_message(struct secbuf *out, uint32_t number, size_t len);

#endif
