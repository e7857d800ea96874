/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backend `holder`: runs go through a process that has the keys (crypto/holder.h). This process has neither
 * their bytes nor a way to get at them; it names a key by its id.
 *
 * A run is copied to the channel and back, so that what the engine looks at is its own. A holder that ends takes no
 * call along: its runs stay here, and the next holder is given them again, which is the same run, of the
 * same blocks.
 */
#ifndef KEKD_CRYPTO_BACKEND_HOLDER_H
#define KEKD_CRYPTO_BACKEND_HOLDER_H

#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/sys/ring.h"
#include <kekd/backend.h>
#include <kekd/limits.h>

struct holder_client;

/* @ring borrowed. It has no holder yet: its keys have no room. */
int holder_client_new(struct ring *ring, struct holder_client **ret);
/* No run may be in flight, and no key of it be left; the process may end with a watch under way. May be NULL. */
void holder_client_free(struct holder_client *c);
DEFINE_CLEANUP(struct holder_client *, holder_client_free);
/*
 * From now on this is the holder, which has all keys that the one before it had: its channel, the bell's end to write
 * to, the answer's to read from; all consumed, whatever happens. What is in flight is given to it. -EAGAIN: no memory
 * can be locked; then there is none.
 */
int holder_client_attach(struct holder_client *c, int channel_fd, int bell_fd, int answer_fd);

/* A key by its id; @c borrowed for the key's life. */
int backend_holder_new(struct holder_client *c, const uint8_t id[static KEKD_KEY_ID],
		       struct block_key **ret);

#endif
