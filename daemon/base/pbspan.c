/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A field that comes with a scalar's wire type does not come in our stream: nanopb copies the number
 * and hands it over in a stream of its own on its stack (pb_decode.c, decode_callback_field), whose
 * state would be read as our cursor. So the stream is asked whose it is before its state is used.
 */
#include "daemon/base/pbspan.h"

#include <string.h>

#include "daemon/base/cleanup.h"

static bool read_some(pb_istream_t *stream, pb_byte_t *buf, size_t count)
{
	struct pbspan *c = stream->state;

	if (count > c->msg.len - c->pos)
		return false;
	if (buf)
		memcpy(buf, c->msg.data + c->pos, count);
	c->pos += count;
	return true;
}

pb_istream_t pbspan_stream(struct pbspan *c)
{
	return (pb_istream_t){
		.callback = read_some,
		.state = c,
		.bytes_left = c->msg.len - c->pos,
	};
}

bool pbspan_take(pb_istream_t *stream, const pb_field_t *field _unused_, void **arg)
{
	struct pbspan *c = stream->state;
	struct span *s = *arg;

	if (stream->callback != read_some)
		return false;
	*s = span_of(c->msg.data + c->pos, stream->bytes_left);
	return pb_read(stream, NULL, stream->bytes_left);
}

bool pbspan_put(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
	const struct span *s = *arg;

	if (s->len == 0)
		return true;
	return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, s->data, s->len);
}
