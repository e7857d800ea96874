/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a root secret on their way from its source to its place: locked memory, wiped.
 */
#ifndef KEKD_KEYS_SECRET_H
#define KEKD_KEYS_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/secmem.h"
#include <kekd/span.h>

/*
 * A root secret is taken as raw bytes, as they come: a newline at the end is part of it. Below 32
 * bytes it cannot hold 256 bits; above 1024 the source has printed something else than a key.
 */
#define SECRET_MIN 32
#define SECRET_MAX 1024

/* Zero-initialised means "none". */
struct secret {
	uint8_t *data;
	size_t len;
};

static inline struct span secret_span(const struct secret *s)
{
	return span_of(s->data, s->len);
}

/* @len (SECRET_MIN … SECRET_MAX) bytes of getrandom(2), which waits for the kernel's seed. */
int secret_random(size_t len, struct secret *ret);
/* A copy of @bytes, SECRET_MIN … SECRET_MAX of them. */
int secret_copy(struct span bytes, struct secret *ret);
/*
 * Everything up to the end of file from a pipe or socket @fd (borrowed), within @timeout_ms (-1: no
 * bound) of the call. -EPERM: a regular file or device, where a secret does not belong. -ENODATA:
 * nothing came. -EINVAL: shorter than SECRET_MIN. -EMSGSIZE: longer than SECRET_MAX. -ETIME. -ECANCELED:
 * whom it is for has hung up, at the other end of the socket @peer (borrowed; -1: nobody is asked).
 */
int secret_read(int fd, int peer, int timeout_ms, struct secret *ret);
/* Wipes; @s is "none" afterwards. */
void secret_release(struct secret *s);
#define _cleanup_secret_ _cleanup_(secret_release)

#endif
