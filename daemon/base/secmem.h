/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for secrets: locked (never swapped), left out of core dumps, not inherited by a fork,
 * wiped when it is given back.
 *
 * struct secpool hands out buffers of fixed size classes from one mapping made at start, so that
 * the hot path neither allocates nor locks. Buffers beyond the largest class are mapped one by one,
 * a few of them kept for the next that needs as much, and count against the same bound. Everything is
 * single-threaded.
 */
#ifndef KEKD_BASE_SECMEM_H
#define KEKD_BASE_SECMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

/* Locked, zeroed, page-aligned memory of its own mapping; NULL and errno (ENOMEM, EPERM) if not. */
void *secmem_alloc(size_t size);
/* Wipe and unmap. @p may be NULL. @size as given to secmem_alloc(). */
void secmem_free(void *p, size_t size);

/*
 * Locked memory that processes share: a descriptor of @size zeroed bytes, whole pages, CLOEXEC and the caller's,
 * and, in each process, its mapping, which secmem_free() wipes for all of them and unmaps. It is a
 * memfd_secret(2) where the kernel has that: no other process gets at it by any way, not even root's
 * by /proc/PID/mem, and it is cleared when the last one lets go. Elsewhere a memfd, whose pages are locked and
 * whose size is sealed. A mapping is in no core and not there after a fork. Without locked memory NULL and errno (EAGAIN: RLIMIT_MEMLOCK).
 */
int secmem_share(size_t size, int *ret_fd);
void *secmem_map(int fd, size_t size);

/* Overwrite with zeros in a way the compiler keeps. */
void secmem_wipe(void *p, size_t size);
/* Constant-time comparison: time depends on @len only. */
bool ct_equal(const void *a, const void *b, size_t len);

struct secpool;

/* A buffer of a pool. Zero-initialised means "none". data[0..cap) is ours, [0..len) is in use. */
struct secbuf {
	uint8_t *data;
	size_t len;
	size_t cap;
	struct secpool *pool;
};

/*
 * A pool of at most @bytes_max bytes (page-rounded). Errors: -ENOMEM (RLIMIT_MEMLOCK too low: the
 * caller names the cure).
 */
int secpool_new(size_t bytes_max, struct secpool **ret);
/*
 * A pool with slabs of its own that has a share in the bound of @whole (borrowed; not itself below another):
 * it maps no more than it leaves for others (share.h).
 */
int secpool_new_below(struct secpool *whole, struct secpool **ret);
/* All buffers must have been given back, and the pools below be gone. */
void secpool_free(struct secpool *pool);
DEFINE_CLEANUP(struct secpool *, secpool_free);

/*
 * A holder's part of a pool, to take buffers from like from the pool itself (@of, borrowed until the part is
 * gone): it holds no more than it leaves to the pool's other holders. After secpool_let_go() it is gone
 * with the last of its buffers.
 *
 * What begins asks with secpool_lets_in(). What goes on with it takes small buffers (SECPOOL_SMALL) from whatever there
 * is, in larger ones if need be: shares are smaller when others have come, what is free may lie in slabs of other sizes, and
 * what was let in must not be refused then, as its end is what gives back.
 */
#define SECPOOL_SMALL 4096U
int secpool_part(struct secpool *of, struct secpool **ret);
void secpool_let_go(struct secpool *part);

/* May a message that takes @cap bytes of @pool begin? Always, if it is no part. */
bool secpool_lets_in(struct secpool *pool, size_t cap);
/* So little of all is in use that @part could certainly be given a 64th of it: cheaper to ask than how much it is. */
bool secpool_has_plenty(const struct secpool *part);
/* How much @part could be given now; if that is less than @want, after giving up what is not used. */
size_t secpool_room(struct secpool *part, size_t want);
/*
 * Take a buffer of at least @cap bytes, len 0; content is zero. -ENOBUFS when the pool is
 * exhausted: overload, not a fault.
 */
int secpool_get(struct secpool *pool, size_t cap, struct secbuf *ret);
/* Wipe what was used and give back; @b becomes "none". Nothing happens on "none". */
void secbuf_release(struct secbuf *b);
#define _cleanup_secbuf_ _cleanup_(secbuf_release)
/* Grow to at least @cap (≤ 2 × per step), content kept. -ENOBUFS leaves @b as it was. */
int secbuf_reserve(struct secbuf *b, size_t cap);
/* Append, growing when needed. -ENOBUFS leaves @b as it was. */
int secbuf_append(struct secbuf *b, const void *data, size_t len);

static inline struct secbuf secbuf_move(struct secbuf *b)
{
	struct secbuf r = *b;

	*b = (struct secbuf){ 0 };
	return r;
}

/* Bytes handed out now, by those below too, and the bound: for metrics and tests. */
size_t secpool_used(const struct secpool *pool);
size_t secpool_max(const struct secpool *pool);

#endif
