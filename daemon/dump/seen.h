/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which keys have been met: a set of keyed 128-bit hashes (SipHash-2-4-128, a random key for each
 * set), so that it needs 16 bytes a key whatever their length, and nobody can prepare keys that
 * collide. Its size is fixed when it is made.
 */
#ifndef KEKD_DUMP_SEEN_H
#define KEKD_DUMP_SEEN_H

#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include <kekd/span.h>

struct seen;

/* Room for @max keys, at least 1; 32 to 64 bytes each. -ENOMEM. Caller frees. */
int seen_new(size_t max, struct seen **ret);
void seen_free(struct seen *s);
DEFINE_CLEANUP(struct seen *, seen_free);

/* Which of @parts shares a key belongs to: the same key always to the same one. */
size_t seen_part(const struct seen *s, struct span key, size_t parts);
/* Add a key. *ret_new: it had not been there. -ENOBUFS: full. */
int seen_add(struct seen *s, struct span key, bool *ret_new);
/* Forget all keys; what seen_part() says stays. */
void seen_clear(struct seen *s);

#endif
