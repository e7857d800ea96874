/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf fields as spans of the message they came in, over nanopb: nothing is copied, and nothing
 * points anywhere but into that message. The one place that knows what nanopb's streams hold; the
 * files that have messages of their own (kms/pb.c, kms/pb_transform.c, chain/encobj.c) share it.
 */
#ifndef KEKD_BASE_PBSPAN_H
#define KEKD_BASE_PBSPAN_H

#include <pb_decode.h>
#include <pb_encode.h>

#include <kekd/span.h>

struct pbspan {
	struct span msg;
	size_t pos;
};

/* A stream over @c->msg from @c->pos on. @c is borrowed for the life of the stream. */
pb_istream_t pbspan_stream(struct pbspan *c);

/*
 * Callback of a bytes or string field: the span at *@arg becomes its bytes. Only for streams of
 * pbspan_stream(); false, which makes the message malformed, for any other.
 */
bool pbspan_take(pb_istream_t *stream, const pb_field_t *field, void **arg);
/* The reverse, for encoding; an empty span is a field that is not sent (proto3). */
bool pbspan_put(pb_ostream_t *stream, const pb_field_t *field, void *const *arg);

#endif
