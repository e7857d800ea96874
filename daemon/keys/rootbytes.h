/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root key as bytes, which kekctl has for the length of a ceremony. It says under which fingerprint the daemon knows
 * such a root (keys/root.h), and makes and checks MACs as the daemon does.
 */
#ifndef KEKD_KEYS_ROOTBYTES_H
#define KEKD_KEYS_ROOTBYTES_H

#include "daemon/keys/keydoc.h"

struct root_bytes;

/* A copy of @secret in locked memory. -EINVAL: its length (keys/secret.h); -ENOMEM; errors of digest.h. */
int root_bytes_new(struct span secret, struct root_bytes **ret);
/* Wipes. */
void root_bytes_free(struct root_bytes *bytes);
DEFINE_CLEANUP(struct root_bytes *, root_bytes_free);

/* As the daemon has it; borrows @bytes. */
void root_bytes_root(const struct root_bytes *bytes, struct keydoc_root *ret);

#endif
