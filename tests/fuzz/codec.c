/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prefix of a stored value. The input is a label and a value that anyone may have put into
 * etcd: LENGTH LABEL VALUE. A match must be what a reader would call one, looked at byte by byte,
 * and what is written for a label must match that label and give back the body.
 */
#include <stdlib.h>

#include "daemon/chain/codec.h"

#define PREFIX CODEC_ENC "aesgcm:v1:"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* The rule once more, without the functions under test. */
static bool starts_with_all(struct span stored, struct span label)
{
	const size_t head = sizeof(PREFIX) - 1;

	if (stored.len < head + label.len + 1)
		return false;
	for (size_t i = 0; i < head; i++)
		if (stored.data[i] != (uint8_t)PREFIX[i])
			return false;
	for (size_t i = 0; i < label.len; i++)
		if (stored.data[head + i] != label.data[i])
			return false;
	return stored.data[head + label.len] == ':';
}

static void try_match(struct span stored, struct span label)
{
	struct span body = SPAN_NULL;

	if (!codec_prefix_match(stored, PREFIX, label, &body)) {
		require(!starts_with_all(stored, label));
		require(!body.data && body.len == 0);
		return;
	}
	require(starts_with_all(stored, label));
	require(body.len == stored.len - codec_prefix_len(PREFIX, label));
	require(body.data + body.len == stored.data + stored.len);
}

/* Written, then read: with the body behind it, exactly as long as it says. */
static void there_and_back(struct span label, struct span body)
{
	size_t len = codec_prefix_len(PREFIX, label);
	uint8_t *stored = malloc(len + body.len);
	struct span seen;

	require(stored);
	require(codec_prefix_put(stored, PREFIX, label) == len);
	if (body.len > 0)
		memcpy(stored + len, body.data, body.len);
	try_match(span_of(stored, len + body.len), label);
	require(codec_prefix_match(span_of(stored, len + body.len), PREFIX, label, &seen));
	require(span_equal(seen, body));
	free(stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span label, stored;

	if (size == 0 || data[0] > size - 1)
		return 0;
	label = span_of(data + 1, data[0]);
	stored = span_of(data + 1 + data[0], size - 1 - data[0]);
	try_match(stored, label);
	there_and_back(label, stored);
	return 0;
}
