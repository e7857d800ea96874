/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel keyrings (keyctl(2), keyrings(7), trusted-encrypted.rst), through libkeyutils; the only
 * file that includes it. Used by the keeper alone.
 *
 * The keeper holds its keys in a keyring of its own session. A key is given exactly the rights its
 * job needs, and WRITE and SETATTR are dropped as soon as it is in place: a possessor with WRITE can
 * re-wrap an encrypted key under a master he knows and so read it (kmod-notes/keyring.md).
 */
#ifndef KEKD_SYS_KEYRING_H
#define KEKD_SYS_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "kekd/span.h"

typedef int32_t key_serial;

/* A fresh anonymous session keyring for this process; drops every key inherited from the caller. */
int keyring_new_session(void);
/* A keyring named @name linked into the session; rights: possessor only. */
int keyring_new(const char *name, key_serial *ret);

/* add_key(2). The payload is the caller's; it is copied by the kernel. */
int keyring_add_user(key_serial ring, const char *desc, struct span payload, key_serial *ret);
int keyring_add_logon(key_serial ring, const char *desc, struct span payload, key_serial *ret);
/*
 * Type encrypted, format default, @bytes (24, 32 or 64; 16 is refused by the kernel) of fresh
 * random made inside the kernel under the user-type key @root_desc. The kernel makes one under a
 * missing or one-byte root without a word: keyring_check_root() first.
 */
int keyring_generate(key_serial ring, const char *desc, const char *root_desc, size_t bytes,
		     key_serial *ret);
/* Load a sealed blob ("default user:ROOT 32 HEX"). -EINVAL: damaged or of another root. */
int keyring_load(key_serial ring, const char *desc, const char *blob, key_serial *ret);
/*
 * The sealed blob of an encrypted key: ciphertext, ASCII, NUL-terminated; needs READ. @ret caller frees.
 */
int keyring_blob(key_serial key, char **ret);

/* Take away everything but SEARCH and VIEW for the possessor. Idempotent. */
int keyring_seal_rights(key_serial key);
/* 0 if the key is alive, -EKEYREVOKED, -EKEYEXPIRED, -ENOKEY, -EACCES. keyctl_describe(3). */
int keyring_alive(key_serial key);
/* Wipes in the kernel; 0 also when it is already gone. */
int keyring_unlink(key_serial ring, key_serial key);
int keyring_find(key_serial ring, const char *type, const char *desc, key_serial *ret);

#endif
