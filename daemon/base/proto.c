/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/base/proto.h"

#include <errno.h>

#define FIELD_SHIFT 3
#define TYPE_MASK   7

/* At most ten bytes of seven bits, of which the last has one. */
static int varint_take(struct span *rest, uint64_t *ret)
{
	uint64_t v = 0;

	if (rest->len > 0 && rest->data[0] < 0x80) { /* as nearly all are */
		*ret = rest->data[0];
		*rest = span_skip(*rest, 1);
		return 0;
	}
	for (size_t i = 0; i < rest->len && i < 10; i++) {
		uint8_t byte = rest->data[i];

		if (i == 9 && byte > 1)
			return -EINVAL;
		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*rest = span_skip(*rest, i + 1);
			*ret = v;
			return 0;
		}
	}
	return -EINVAL;
}

static int bytes_take(struct span *rest, uint64_t len, struct span *ret)
{
	if (len > rest->len)
		return -EINVAL;
	*ret = span_of(rest->data, (size_t)len);
	*rest = span_skip(*rest, (size_t)len);
	return 0;
}

int proto_next(struct span *rest, struct proto_field *ret)
{
	struct span s = *rest, bytes = SPAN_NULL;
	uint64_t tag, v = 0;
	int r;

	if (s.len == 0)
		return 0;
	r = varint_take(&s, &tag);
	if (r < 0)
		return r;
	if (tag > UINT32_MAX || tag >> FIELD_SHIFT == 0)
		return -EINVAL;
	switch (tag & TYPE_MASK) {
	case PROTO_VARINT:
		r = varint_take(&s, &v);
		break;
	case PROTO_LEN:
		r = varint_take(&s, &v);
		if (r == 0)
			r = bytes_take(&s, v, &bytes);
		break;
	case PROTO_I64:
		r = bytes_take(&s, 8, &bytes);
		break;
	case PROTO_I32:
		r = bytes_take(&s, 4, &bytes);
		break;
	default:
		r = -EINVAL;
	}
	if (r < 0)
		return r;
	*rest = s;
	ret->number = (uint32_t)tag >> FIELD_SHIFT;
	ret->type = (enum proto_type)(tag & TYPE_MASK);
	ret->varint = v;
	ret->bytes = bytes;
	return 1;
}

int proto_bytes(const struct proto_field *f, struct span *ret)
{
	if (f->type != PROTO_LEN)
		return -EINVAL;
	*ret = f->bytes;
	return 0;
}

int proto_number(const struct proto_field *f, uint64_t *ret)
{
	if (f->type != PROTO_VARINT)
		return -EINVAL;
	*ret = f->varint;
	return 0;
}

static size_t varint_put(uint8_t *out, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

size_t proto_head(uint8_t out[static PROTO_HEAD_MAX], uint32_t number, enum proto_type type,
		  uint64_t value)
{
	size_t n = varint_put(out, (uint64_t)number << FIELD_SHIFT | type);

	return n + varint_put(out + n, value);
}

size_t proto_bytes_len(uint32_t number, size_t len)
{
	uint8_t head[PROTO_HEAD_MAX];

	return len == 0 ? 0 : proto_head(head, number, PROTO_LEN, len) + len;
}

size_t proto_varint_len(uint32_t number, uint64_t value)
{
	uint8_t head[PROTO_HEAD_MAX];

	return value == 0 ? 0 : proto_head(head, number, PROTO_VARINT, value);
}

int proto_put_bytes(struct secbuf *out, uint32_t number, struct span bytes)
{
	int r;

	if (bytes.len == 0)
		return 0;
	r = proto_put_message(out, number, bytes.len);
	return r < 0 ? r : secbuf_append(out, bytes.data, bytes.len);
}

int proto_put_varint(struct secbuf *out, uint32_t number, uint64_t value)
{
	uint8_t head[PROTO_HEAD_MAX];

	if (value == 0)
		return 0;
	return secbuf_append(out, head, proto_head(head, number, PROTO_VARINT, value));
}

int proto_put_message(struct secbuf *out, uint32_t number, size_t len)
{
	uint8_t head[PROTO_HEAD_MAX];

	return secbuf_append(out, head, proto_head(head, number, PROTO_LEN, len));
}
