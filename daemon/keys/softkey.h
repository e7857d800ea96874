/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys for secretbox, which the kernel has no cipher for and a holder neither: bytes in locked memory, of the keeper and
 * of each server. They come from outside, sealed in the keyset as imported keys are (keys/imported.h).
 */
#ifndef KEKD_KEYS_SOFTKEY_H
#define KEKD_KEYS_SOFTKEY_H

#include "daemon/base/cleanup.h"
#include <kekd/limits.h>
#include <kekd/span.h>

struct softkey;

/* A copy of @bytes, 16 to KEKD_AES_KEY_MAX of them; the rest is zero. -EINVAL, -ENOMEM. */
int softkey_from_bytes(struct span bytes, struct softkey **ret);
/* Wipes. */
void softkey_free(struct softkey *key);
DEFINE_CLEANUP(struct softkey *, softkey_free);

/* The KEKD_AES_KEY_MAX bytes themselves; borrowed, locked memory, gone with @key. */
const uint8_t *softkey_bytes(const struct softkey *key);

/*
 * Hand a key to the server: a descriptor for SCM_RIGHTS, the caller's to send and close, which
 * softkey_import() in the other process turns into the key (the fd is borrowed; good for one
 * import).
 *
 * It is a memfd_secret(2) where the kernel has that: pages which are locked, outside the kernel's
 * own mapping and cleared when freed. Elsewhere it is a pipe that holds the bytes: never swapped,
 * but the page is not cleared when the kernel frees it. A plain memfd would be swappable.
 */
int softkey_export(const struct softkey *key, int *ret_fd);
/* -EINVAL: not what softkey_export() makes. -ENOMEM: no memory, or none that can be locked. */
int softkey_import(int fd, struct softkey **ret);

#endif
