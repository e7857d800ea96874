/* SPDX-License-Identifier: Apache-2.0 */
/* See form.h. Magic numbers as file(1) has them. */
#include "daemon/dump/form.h"

#include <ctype.h>

#include "daemon/base/cleanup.h"

#define UNPACK(what, command) \
	"it is compressed by " what ": unpack it, `" command " FILE >DUMP`, and give that"
#define AS_JSON ": take a snapshot instead, or what `etcdctl get / --prefix -w json` prints"
#define ALONE                                                                                      \
	"it is one stored value and no dump: `kekctl open --path KEY FILE`, KEY being its key in " \
	"etcd"

static const struct {
	size_t at;
	const char *magic;
	size_t len;
	const char *advice;
} forms[] = {
	{ 0, "\x1f\x8b", 2, UNPACK("gzip", "gzip -dc") },
	{ 0, "PK\3\4", 4, UNPACK("zip", "unzip -p") },
	{ 0, "\x28\xb5\x2f\xfd", 4, UNPACK("zstd", "zstd -dc") },
	{ 0,
	  "\xfd"
	  "7zXZ",
	  5, UNPACK("xz", "xz -dc") },
	{ 0, "BZh", 3, UNPACK("bzip2", "bzip2 -dc") },
	{ 0, "\x04\x22\x4d\x18", 4, UNPACK("lz4", "lz4 -dc") },
	{ 257, "ustar", 5,
	  "it is an archive: unpack it, `tar -xf FILE`, and give the snapshot in it" },
	{ 0, "\"ClusterID\" :", 13, "etcdctl printed it with -w fields" AS_JSON },
	{ 0, "\"Key\" :", 7, "etcdctl printed it with -w fields" AS_JSON },
	{ 0, "+--", 3, "it is a table" AS_JSON },
	{ 0, "k8s:enc:", 8, ALONE },
	{ 0, "k8s\0", 4, ALONE },
	{ 0, "azhz", 4, ALONE },
	{ 0, "00000000", 8,
	  "it is a hexdump: of one stored value `kekctl open --path KEY FILE` takes it; of a dump "
	  "give the dump itself" },
};

/* etcdserverpb.RangeResponse: a header of less than 128 bytes that begins with the cluster's id, then keys. */
static bool is_range_response(struct span head)
{
	const uint8_t *p = head.data;

	return p && head.len > 3 && p[0] == 0x0a && p[1] < 0x80 && p[2] == 0x08 &&
	       head.len > 2U + p[1] && p[2 + p[1]] == 0x12;
}

/* "/registry/…" and the end of the line. */
static bool is_simple(struct span head)
{
	size_t i = 0;

	while (i < head.len && isgraph(head.data[i]))
		i++;
	return i > 1 && head.data[0] == '/' && (i == head.len || head.data[i] == '\n');
}

const char *form_advice(struct span head)
{
	if (head.len == 0)
		return "it is empty";
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (head.len >= forms[i].at &&
		    span_starts_with(span_skip(head, forms[i].at),
				     span_of(forms[i].magic, forms[i].len)))
			return forms[i].advice;
	if (is_range_response(head))
		return "etcdctl printed it with -w protobuf" AS_JSON;
	if (is_simple(head))
		return "etcdctl printed it without -w json, keys and values a line each" AS_JSON
		       "; of one value `kekctl open --path KEY FILE` takes it as it is";
	return NULL;
}

enum form_width form_width(struct span head)
{
	if (span_starts_with(head, span_str("\xef\xbb\xbf")))
		return FORM_UTF8_MARK;
	if (span_starts_with(head, span_str("\xff\xfe")) ||
	    span_starts_with(head, span_of("{\0", 2)))
		return FORM_UTF16_LE;
	if (span_starts_with(head, span_str("\xfe\xff")) ||
	    span_starts_with(head, span_of("\0{", 2)))
		return FORM_UTF16_BE;
	return FORM_BYTES;
}

size_t form_narrow(uint8_t *text, size_t len, enum form_width width)
{
	size_t low = width == FORM_UTF16_BE, n = 0;

	for (size_t i = 0; i + 1 < len; i += 2) {
		uint8_t c = text[i + low], high = text[i + 1 - low];

		/* The mark itself is none of the text. */
		if (c == 0xff && high == 0xfe)
			continue;
		text[n++] = high == 0 && c < 0x80 ? c : '?';
	}
	return n;
}
