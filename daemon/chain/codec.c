/* SPDX-License-Identifier: Apache-2.0 */
/* See codec.h. */
#include "daemon/chain/codec.h"

bool codec_label_match(struct span labelled, struct span label, struct span *ret_body)
{
	if (labelled.len <= label.len || labelled.data[label.len] != ':' ||
	    !span_starts_with(labelled, label))
		return false;
	*ret_body = span_skip(labelled, label.len + 1);
	return true;
}

bool codec_prefix_match(struct span stored, const char *prefix, struct span label,
			struct span *ret_body)
{
	struct span p = span_str(prefix);

	return span_starts_with(stored, p) &&
	       codec_label_match(span_skip(stored, p.len), label, ret_body);
}

enum codec_form codec_form_of(struct span plain)
{
	static const uint8_t protobuf[] = { 'k', '8', 's', 0 }, cbor[] = { 0xd9, 0xd9, 0xf7 };
	size_t at = 1;

	if (span_starts_with(plain, span_of(protobuf, sizeof(protobuf))))
		return CODEC_PROTOBUF;
	if (span_starts_with(plain, span_of(cbor, sizeof(cbor))))
		return CODEC_CBOR;
	if (plain.len == 0 || plain.data[0] != '{')
		return CODEC_NO_OBJECT;
	while (at < plain.len && memchr(" \t\r\n", plain.data[at], 4))
		at++;
	return at < plain.len && plain.data[at] == '"' ? CODEC_JSON : CODEC_NO_OBJECT;
}
