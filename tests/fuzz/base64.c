/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 from anyone: what is taken and what is refused is what libsodium takes and refuses, with the same bytes; but
 * 1.0.18 takes all that is not ASCII for a '/'.
 */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/dump/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] >= 0x80)
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *out = malloc(base64_room(size)), *theirs = malloc(size + 1);
	size_t len = 0, their_len = 0;
	int r = base64_decode(span_of(data, size), out, &len);
	bool theirs_good = is_ascii(span_of(data, size)) &&
			   sodium_base642bin(theirs, size + 1, (const char *)data, size, NULL,
					     &their_len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;

	if ((r == 0) != theirs_good ||
	    (r == 0 && !span_equal(span_of(out, len), span_of(theirs, their_len))))
		abort();
	return 0;
}
