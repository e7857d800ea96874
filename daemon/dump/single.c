/* SPDX-License-Identifier: Apache-2.0 */
/* See single.h. */
#include "daemon/dump/single.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "daemon/chain/codec.h"
#include "daemon/dump/base64.h"
#include "daemon/dump/object.h"
#include "daemon/dump/stored.h"

#define LINE_BYTES 16U

static bool is_stored(struct span s)
{
	return span_starts_with(s, span_str(CODEC_ENC)) || codec_form_of(s) != CODEC_NO_OBJECT;
}

/* "k8s" and "{" in base64, and the key of CBOR's mark; a slash begins a key. */
static bool is_base64(struct span s)
{
	return span_starts_with(s, span_str("azhz")) || span_starts_with(s, span_str("eyJ")) ||
	       span_starts_with(s, span_str("2dn3"));
}

static bool is_hexdump(struct span s)
{
	return span_starts_with(s, span_str("00000000 ")) ||
	       span_starts_with(s, span_str("00000000: "));
}

bool single_is(struct span head, struct span key)
{
	struct object o;

	if (codec_form_of(head) == CODEC_JSON)
		return object_head(head, &o);
	return is_stored(head) || is_base64(head) || is_hexdump(head) ||
	       span_starts_with(head, key) || (head.len > 0 && head.data[0] == '/');
}

/* Base64. */

static int base64_open(uint8_t *text, size_t *len)
{
	_cleanup_free_ uint8_t *out = malloc(*len + 1);
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < *len; i++)
		if (!isspace(text[i]))
			text[n++] = text[i];
	if (base64_decode(span_of(text, n), out, &n) < 0)
		return -EBADMSG;
	memcpy(text, out, n);
	*len = n;
	return 0;
}

/* Hexdumps. */

static int digit_of(uint8_t c)
{
	if (!isxdigit(c))
		return -1;
	return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
}

/* Bytes of a line behind its offset: hexdump has them one by one up to a '|', xxd in pairs up to two blanks. */
static size_t line_bytes(struct span line, bool xxd, uint8_t out[static LINE_BYTES])
{
	size_t n = 0, i = 0, blanks;

	while (n < LINE_BYTES) {
		for (blanks = 0; i < line.len && line.data[i] == ' '; i++)
			blanks++;
		if (i + 1 >= line.len || (xxd && blanks > 1) || digit_of(line.data[i]) < 0 ||
		    digit_of(line.data[i + 1]) < 0)
			break;
		out[n++] = (uint8_t)(digit_of(line.data[i]) << 4 | digit_of(line.data[i + 1]));
		i += 2;
	}
	return n;
}

/* The offset that a line begins with, and what follows it; -1: it begins with something else. */
static int64_t line_offset(struct span *line, bool *xxd)
{
	int64_t offset = 0;
	size_t i = 0;

	while (i < line->len && i < 15 && digit_of(line->data[i]) >= 0)
		offset = offset << 4 | digit_of(line->data[i++]);
	if (i < 8)
		return -1;
	*xxd = i < line->len && line->data[i] == ':';
	*line = span_skip(*line, *xxd ? i + 1 : i);
	return offset;
}

static struct span single_line(struct span *rest)
{
	const uint8_t *end = memchr(rest->data, '\n', rest->len);
	size_t n = end ? (size_t)(end - rest->data) : rest->len;
	struct span line = span_of(rest->data, n);

	*rest = span_skip(*rest, end ? n + 1 : n);
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	return line;
}

/*
 * A '*' stands for lines like the one before, as many as lie between the offsets. What comes out may not be longer
 * than the text was: nothing that is worth opening repeats itself so.
 */
struct hexdump {
	uint8_t *out;
	size_t n, room;
	uint8_t last[LINE_BYTES];
	bool repeats;
};

static int hexdump_fill(struct hexdump *h, size_t upto)
{
	if (upto > h->room || (h->n != upto && (!h->repeats || (upto - h->n) % LINE_BYTES != 0)))
		return -EBADMSG;
	for (; h->n < upto; h->n += LINE_BYTES)
		memcpy(h->out + h->n, h->last, LINE_BYTES);
	h->repeats = false;
	return 0;
}

static int hexdump_line(struct hexdump *h, struct span line)
{
	uint8_t bytes[LINE_BYTES] = { 0 };
	int64_t offset;
	size_t n;
	bool xxd;

	if (span_equal(line, span_str("*"))) {
		h->repeats = true;
		return 0;
	}
	offset = line_offset(&line, &xxd);
	if (offset < 0 || hexdump_fill(h, (size_t)offset) < 0)
		return -EBADMSG;
	n = line_bytes(line, xxd, bytes);
	if (n > h->room - h->n)
		return -EBADMSG;
	memcpy(h->out + h->n, bytes, n);
	memcpy(h->last, bytes, LINE_BYTES);
	h->n += n;
	return 0;
}

static int hexdump_open(uint8_t *text, size_t *len)
{
	struct hexdump h = { .room = *len };
	struct span rest = span_of(text, *len);
	_cleanup_free_ uint8_t *out = malloc(*len + 1);
	int r = 0;

	if (!out)
		return -ENOMEM;
	h.out = out;
	while (r == 0 && rest.len > 0) {
		struct span line = single_line(&rest);

		r = line.len > 0 ? hexdump_line(&h, line) : 0;
	}
	if (r < 0)
		return r;
	memcpy(text, out, h.n);
	*len = h.n;
	return 0;
}

/* The value. */

static bool single_is_sound(struct span value)
{
	static const struct stored_labels none;
	struct object o;
	struct stored s;

	if (codec_form_of(value) == CODEC_PROTOBUF)
		return object_type(value, &o) == 0;
	return stored_parse(value, &none, &s) == 0 && !s.fault;
}

static int key_cut(struct span *text, struct span key, struct dump_error *err)
{
	struct span rest = *text, line;

	if (text->len == 0 || (text->data[0] != '/' && !span_starts_with(*text, key)))
		return 0;
	line = single_line(&rest);
	if (!span_equal(line, key))
		return dump_fail(
			err, -EBADMSG,
			"it has a value of another key than --path, or several: give that of "
			"its first line, or take a dump by etcdctl's -w json");
	*text = rest;
	return 0;
}

int single_find(uint8_t *text, size_t len, struct span key, struct dump_error *err,
		struct single *ret)
{
	struct span value = span_of(text, len);
	int r = 0;

	if (is_hexdump(value))
		r = hexdump_open(text, &len);
	else if (is_base64(value))
		r = base64_open(text, &len);
	if (r < 0)
		return dump_fail(err, r,
				 r == -ENOMEM ? "out of memory"
					      : "neither base64 nor a whole hexdump -C");
	value = span_of(text, len);
	r = key_cut(&value, key, err);
	if (r < 0)
		return r;
	if (!is_stored(value))
		return dump_fail(err, -EBADMSG, "it holds no value that kube-apiserver stores");
	*ret = (struct single){ value, false };
	if (value.data[value.len - 1] != '\n')
		return 0;
	value.len--;
	if (single_is_sound(ret->value) && single_is_sound(value))
		ret->newline = span_starts_with(value, span_str(CODEC_ENC));
	else if (single_is_sound(value))
		ret->value = value;
	return 0;
}
