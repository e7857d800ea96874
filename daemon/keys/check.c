/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public values only: nothing here needs locked memory or constant time.
 */
#include "daemon/keys/check.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

#define TEXT "kekd check value v1"

/* A string and its NUL. */
static struct span with_nul(const char *s)
{
	return span_of(s, strlen(s) + 1);
}

int key_binding(const struct key_record *rec, uint8_t ret[static SHA256_LEN])
{
	const struct span parts[] = {
		with_nul(TEXT),
		span_of(rec->info.id, sizeof(rec->info.id)),
		with_nul(key_alg_name(&rec->info)),
		with_nul(rec->info.name),
		span_str(rec->info.label),
	};

	return sha256(parts, ARRAY_SIZE(parts), ret);
}

int key_check_block(const struct key_record *rec, uint8_t ret[static KEKD_AES_BLOCK])
{
	static const uint8_t zero[KEKD_GCM_NONCE];
	uint8_t binding[SHA256_LEN];
	int r;

	r = key_binding(rec, binding);
	if (r < 0)
		return r;
	/* Not the zero block, whose value is H, and no counter block of any message. */
	if (memcmp(binding, zero, sizeof(zero)) == 0)
		return -EINVAL;
	memset(ret, 0, KEKD_AES_BLOCK);
	memcpy(ret, binding, KEKD_GCM_NONCE);
	return 0;
}
