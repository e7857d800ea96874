/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator may type as a share. A text that is taken is written again as those very words. And any share that
 * the bytes describe is written, read back as it was, and refused when one word of it is another.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/keys/slip39.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool same_share(const struct slip39_share *a, const struct slip39_share *b)
{
	return slip39_fits(a, b) != -EXDEV && a->number == b->number &&
	       memcmp(a->value, b->value, sizeof(a->value)) == 0;
}

static void try_text(struct span text)
{
	struct slip39_share share, again;
	struct slip39_fault fault;
	char words[SLIP39_TEXT_MAX];

	if (slip39_parse(text, &share, &fault) < 0) {
		require(fault.wrong <= fault.words);
		return;
	}
	require(fault.words == SLIP39_WORDS && fault.wrong == 0);
	require(share.number >= 1 && share.number <= SLIP39_SHARES_MAX && share.threshold >= 1 &&
		share.threshold <= SLIP39_SHARES_MAX);
	require(slip39_format(&share, words) == 0);
	require(slip39_parse(span_str(words), &again, &fault) == 0);
	require(same_share(&share, &again));
}

static void try_share(const uint8_t *data)
{
	struct slip39_share share = {
		.set = (uint16_t)(data[0] << 8 | data[1]) & 0x7fff,
		.extendable = data[2] & 1,
		.exponent = data[2] >> 1 & 15,
		.number = (uint8_t)((data[3] & 15) + 1),
		.threshold = (uint8_t)((data[3] >> 4) + 1),
	};
	char words[SLIP39_TEXT_MAX], other[SLIP39_TEXT_MAX + SLIP39_WORD_MAX] = "";
	struct slip39_share again;
	struct slip39_fault fault;
	size_t start, len;

	memcpy(share.value, data + 6, sizeof(share.value));
	require(slip39_format(&share, words) == 0);
	require(slip39_parse(span_str(words), &again, &fault) == 0);
	require(same_share(&share, &again));
	start = 0;
	for (unsigned int i = 0; i < data[4] % SLIP39_WORDS; i++)
		start += strcspn(words + start, " ") + 1;
	len = strcspn(words + start, " ");
	memcpy(other, words, start);
	strcat(other, slip39_words[data[5] * 4U]);
	strcat(other, words + start + len);
	require((slip39_parse(span_str(other), &again, &fault) == 0) ==
		(strcmp(words, other) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_text(span_of(data, size));
	if (size >= 6 + SLIP39_SECRET)
		try_share(data);
	return 0;
}
