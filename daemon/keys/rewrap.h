/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys under another root: what kekctl does when a root is rotated. It runs in a process of its own, started for that
 * by root, since who can do it with a root of his choice has every key (keys/maker.h); the keeper cannot.
 *
 * A key of kind encrypted stays in the kernel: it is loaded from its blob beside the one in use, into a session keyring that
 * nobody else has, which also holds both roots; the kernel is told the new root's name and makes the blob anew. The kernel
 * checks nothing there (security/keys/encrypted-keys/encrypted.c: encrypted_update() takes a name and encrypted_read() whatever
 * that leads to), so the roots are checked before, and the keeper proves the blob. Keys of other kinds are opened and sealed in
 * locked memory.
 *
 * Here both roots are of type user, whatever they are in the daemon (keys/retype.h).
 */
#ifndef KEKD_KEYS_REWRAP_H
#define KEKD_KEYS_REWRAP_H

#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/keys/rootbytes.h"

struct rewrap;

/*
 * @old and @next: the bytes of both roots, in locked memory, borrowed until rewrap_free(); @next_trusted: the new one is of type trusted in
 * the daemon (keys/root.h). Where there are keys of kind encrypted the
 * process gets a session keyring of its own. Errors of root_key_new(), of the keyring and of AF_ALG.
 */
int rewrap_new(struct span old, struct span next, bool next_trusted, const struct keydoc *doc,
	       struct rewrap **ret);
/* Both roots are gone from the kernel, and wiped. @w may be NULL. */
void rewrap_free(struct rewrap *w);
DEFINE_CLEANUP(struct rewrap *, rewrap_free);
/* A key of @doc, under the old root, as the new one seals it. Errors of loading it: it is damaged. */
int rewrap_key(const struct rewrap *w, const struct key_record *rec, char ret[static KEY_BLOB_MAX]);

#endif
