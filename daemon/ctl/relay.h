/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that stand between standard input and output: read it, have the daemon answer one call,
 * write what came of it. All of it may be plaintext, and is in locked memory.
 */
#ifndef KEKD_CTL_RELAY_H
#define KEKD_CTL_RELAY_H

#include <stdint.h>

#include "daemon/base/secmem.h"
#include <kekd/span.h>

/* All of these: 0, or 1 with the reason said on stderr. @pool is borrowed, *@ret the caller's. */

/* Standard input whole, at most @max bytes. */
int relay_read(struct secpool *pool, size_t max, struct secbuf *ret);
/* The answer to @msg, of the gRPC method @method, from the daemon at @path. */
int relay_call(const char *path, const char *method, const struct secbuf *msg, uint64_t timeout_ns,
	       struct secpool *pool, struct secbuf *ret);
/* To standard output. */
int relay_write(struct span s);

#endif
