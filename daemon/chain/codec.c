/* SPDX-License-Identifier: Apache-2.0 */
/* See codec.h. */
#include "daemon/chain/codec.h"

size_t codec_prefix_len(const char *prefix, struct span label)
{
	return strlen(prefix) + label.len + 1;
}

size_t codec_prefix_put(uint8_t *out, const char *prefix, struct span label)
{
	size_t n = strlen(prefix);

	memcpy(out, prefix, n);
	if (label.len > 0)
		memcpy(out + n, label.data, label.len);
	out[n + label.len] = ':';
	return n + label.len + 1;
}

bool codec_prefix_match(struct span stored, const char *prefix, struct span label,
			struct span *ret_body)
{
	struct span p = span_str(prefix);
	struct span rest;

	if (!span_starts_with(stored, p))
		return false;
	rest = span_skip(stored, p.len);
	if (!span_starts_with(rest, label) || rest.len == label.len || rest.data[label.len] != ':')
		return false;
	*ret_body = span_skip(rest, label.len + 1);
	return true;
}
