/* SPDX-License-Identifier: Apache-2.0 */
/* A root key for tests, of bytes that nobody knows, which every host can have: in memory (keys/root.h). */
#pragma once

#include "daemon/keys/root.h"
#include "daemon/keys/secret.h"

static inline int test_root(struct root_key **ret)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r = secret_random(SECRET_MIN, &secret);

	return r < 0 ? r : root_key_new_in_memory(secret_span(&secret), ret);
}
