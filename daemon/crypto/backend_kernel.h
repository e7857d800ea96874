/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backend `kernel`: runs go through AF_ALG op sockets of ecb(aes). The key is in the kernel's
 * transform behind the socket; this process has neither its bytes nor a way to change it.
 *
 * One operation is in flight per op socket. After a failed one the socket's state is unknown (a
 * stale answer could meet the next request), so it is closed at once and the owner is asked for a
 * new one; a spare covers the time until it arrives.
 */
#ifndef KEKD_CRYPTO_BACKEND_KERNEL_H
#define KEKD_CRYPTO_BACKEND_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/sys/ring.h"
#include <kekd/backend.h>
#include <kekd/limits.h>

/* Op sockets a key is given: one to work, one spare. */
#define BACKEND_KERNEL_SOCKETS 2

/* Asks for one more op socket of key @id; called from a ring callback or a
 * start: it may call backend_kernel_add_socket(), nothing else of the key. */
typedef void backend_need_fn(void *ctx, const uint8_t id[static KEKD_KEY_ID]);

/* @ring borrowed for the key's life. A key without sockets has no room. */
int backend_kernel_new(struct ring *ring, const uint8_t id[static KEKD_KEY_ID],
		       backend_need_fn *need, void *ctx, struct block_key **ret);
/* Give it an op socket. @fd consumed; closed if there is no place for it. */
void backend_kernel_add_socket(struct block_key *key, int fd);
/* Now and then: for sockets that were asked for a second ago and have not come, ask again. @now: of now_ns(). */
void backend_kernel_ask(struct block_key *key, uint64_t now);
/* Is @key one of this backend? */
bool backend_kernel_owns(const struct block_key *key);

#endif
