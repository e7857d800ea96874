/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nonces and IVs from the kernel's generator, getrandom(2), bought in bulk.
 *
 * Every byte is handed out once and wiped from the buffer at that moment. After a fork the child's
 * copy is gone (MADV_WIPEONFORK) and refuses: two processes never share a nonce. There is no other
 * source to fall back to.
 *
 * A random 96-bit nonce serves for at most 2^32 messages under one key (SP 800-38D §8.3). A KMS v2
 * client asks for one a day; whoever writes values in bulk has to rotate in time.
 */
#ifndef KEKD_CRYPTO_NONCE_H
#define KEKD_CRYPTO_NONCE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

/* Most bytes that one nonce_get() gives: an IV of CBC. */
#define NONCE_MAX 16

struct nonce_source;

/* -ENOMEM; -EPERM, -EAGAIN: the page could not be locked; or getrandom's error. Caller frees. */
int nonce_source_new(struct nonce_source **ret);
void nonce_source_free(struct nonce_source *src);
DEFINE_CLEANUP(struct nonce_source *, nonce_source_free);

/*
 * @len bytes, 1 … NONCE_MAX, never seen before: 12 for GCM, 16 for CBC. -EINVAL for another length,
 * -ESTALE in a process that was forked off, -errno of getrandom(2).
 */
int nonce_get(struct nonce_source *src, uint8_t *ret, size_t len);

#endif
