/* SPDX-License-Identifier: Apache-2.0 */
/* Locked memory of a server process: the keeper raises the limit to it, the server keeps within the limit. */
#ifndef KEKD_SERVER_LOCKED_H
#define KEKD_SERVER_LOCKED_H

#include "daemon/chain/config.h"
#include <kekd/limits.h>

#define LOCKED_SELF                  (UINT64_C(8) << 20)  /* beside messages: runs, keys, engine */
#define LOCKED_TRANSFORM             (UINT64_C(96) << 20) /* messages of the Transform service */
#define LOCKED_TRANSFORM_CONNECTIONS 16U

/* In bytes. */
static inline uint64_t locked_of(const struct config *c)
{
	uint64_t connections = c->limits.connections, bytes = LOCKED_SELF + c->limits.locked_memory;

	if (c->transform.socket) {
		bytes += LOCKED_TRANSFORM;
		connections += LOCKED_TRANSFORM_CONNECTIONS;
	}
	return bytes + connections * KEKD_CONNECTION_LOCKED;
}

#endif
