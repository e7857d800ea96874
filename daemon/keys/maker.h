/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maker: a process that makes keys for the keeper, and can do nothing else.
 *
 * An `encrypted` key is made in two steps: add_key(2) makes it, and reading it gives its blob. The
 * kernel makes that blob when the key is *read*, under whatever key the root's *name* leads the reader
 * to (security/keys/encrypted-keys/encrypted.c). So whoever may read a serving key, and may add a key
 * of the root's name to a keyring that is searched first, gets the serving key's bytes. Rights do not
 * help: a possessor reads in spite of them. Therefore the keeper reads no key at all, its seccomp
 * filter sees to that (sys/sandbox_keeper.c), and this process, which is forked before, does it.
 *
 * It has the root in its *thread* keyring, which the kernel searches first and no other process can
 * write to. There it makes a key, reads it, lets go of it, and answers with the blob. It reads no key
 * that it has not just made itself: it is given no serial but a root's, and no name but a root's. Before
 * and after it asks the kernel where the root's name leads, so that a root which was killed meanwhile
 * gives no blob under another key.
 *
 * What is said over the pair of sockets has one size each way; nothing in it is parsed. The maker has
 * no capability, no file and a handful of system calls, and ends with the keeper.
 */
#ifndef KEKD_KEYS_MAKER_H
#define KEKD_KEYS_MAKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/base/cleanup.h"
#include "daemon/keys/record.h"
#include "daemon/sys/keyring.h"

#define MAKER_NAME "kekd-maker" /* as ps(1) shows it */

struct maker;

/*
 * Fork it. The session keyring must be the one that will hold the root; no secret may be in memory
 * yet. Errors of fork(2), and of what it gives up. One that has failed once answers no more.
 */
int maker_start(struct maker **ret);
/* Ends it, and waits for that. @m may be NULL. */
void maker_stop(struct maker *m);
DEFINE_CLEANUP(struct maker *, maker_stop);

/*
 * Be ready to make keys under @root, whose LINK right is still there, whose type is @type (user or trusted) and whose name is @desc. There are two at
 * most, while the root is rotated: -ENOSPC. -EPIPE: the maker is gone. Errors of linking.
 */
int maker_root(struct maker *m, key_serial root, const char *type, const char *desc);
/* Let go of it. 0 also if it was not there. */
int maker_drop(struct maker *m, key_serial root);
/*
 * A new key of KEKD_AES_KEY_MAX bytes under @root: its blob. -ENOKEY, -ESTALE: the maker has no such root, or its
 * name does not lead to it. -EPIPE. Errors of the keyring.
 */
int maker_key(struct maker *m, key_serial root, char ret_blob[static KEY_BLOB_MAX]);

/* Was @pid, which has ended, the maker? Then it answers no more, and maker_stop() does not wait. */
bool maker_reaped(struct maker *m, pid_t pid);

#endif
