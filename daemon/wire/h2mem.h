/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the HTTP/2 library: bounded for each session, recycled among all of them, so that a
 * request allocates nothing once the process is warm and one peer cannot eat the others' memory.
 *
 * Only protocol state lives here (streams, header fields, HPACK tables). Message bytes never do:
 * they go straight between the locked buffers of a connection and of a call.
 */
#ifndef KEKD_WIRE_H2MEM_H
#define KEKD_WIRE_H2MEM_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

struct h2mem; /* the free lists, one a server or client */

/* One session's account. */
struct h2mem_user {
	struct h2mem *mem;
	size_t used, max; /* bytes */
};

int h2mem_new(struct h2mem **ret);
/* Every block must have been given back. */
void h2mem_free(struct h2mem *mem);
DEFINE_CLEANUP(struct h2mem *, h2mem_free);

/* malloc(3) and its kin on a session's account; NULL when the account is exhausted. */
void *h2mem_take(struct h2mem_user *user, size_t size);
void *h2mem_resize(struct h2mem_user *user, void *p, size_t size);
void h2mem_give(struct h2mem_user *user, void *p);

/* Blocks taken from malloc(3) so far: stands still in steady state. */
uint64_t h2mem_fresh(const struct h2mem *mem);

#endif
