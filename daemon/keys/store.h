/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store: a directory with what a machine keeps of its keys, ciphertext and public facts only:
 *
 *   keyset       the keyset document (keys/keydoc.h)
 *   keyset.prev  the one before, in case the file above is damaged
 *   node         this machine's node id (keys/keyset.c)
 *   counts       how often keys were used (keeper/counts.c)
 *   escrow       when the shares of the root key were last tested (keys/escrow.h)
 *
 * A file is written whole: temporary file, fsync, rename, fsync of the directory. What a crash
 * leaves of that is a temporary file, and the next open removes it. Other files are not touched.
 *
 * While the store is open the directory is locked by flock(2), which leaves no file behind. The
 * lock lives as long as a copy of the descriptor does, a child's included; exec closes it.
 */
#ifndef KEKD_KEYS_STORE_H
#define KEKD_KEYS_STORE_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon/base/cleanup.h"

struct key_store;

#define KEY_STORE_KEYSET "keyset"
#define KEY_STORE_PREV   "keyset.prev"
#define KEY_STORE_NODE   "node"
#define KEY_STORE_COUNTS "counts"
#define KEY_STORE_ESCROW "escrow"

/*
 * Open the directory @path, made with mode 0700 if missing. It must be a directory and no symbolic
 * link (-ENOTDIR), owned by the caller's uid or root, not writable by the group and closed to all
 * others (-EPERM; the log names the cure). -EBUSY: another process has it open. -EUCLEAN: it is a store
 * of kekd 0.1, which had a file for each key.
 */
int key_store_open(const char *path, struct key_store **ret);
void key_store_close(struct key_store *s);
DEFINE_CLEANUP(struct key_store *, key_store_close);

/*
 * The whole text of a file, at most @max bytes, NUL-terminated; caller frees. -ENOENT; -EINVAL no regular
 * file; -EPERM owner, mode or a hard link that is not the store's; -ELOOP symbolic link; -EFBIG; -EIO … from reading.
 * All but -ENOENT are logged.
 */
int key_store_read(struct key_store *s, const char *file, size_t max, char **ret, size_t *ret_len);
/*
 * Replace a file durably; @text is borrowed. KEY_STORE_KEYSET: the one that was there becomes
 * KEY_STORE_PREV. An error leaves the change in doubt: mostly the old file is there, but when the last step
 * failed, fsync(2) of the directory, the new one is, and after a crash it may be either. Both are whole.
 */
int key_store_write(struct key_store *s, const char *file, const char *text, size_t len);
/*
 * The same by a child process, for who must not wait for a disk: a write that hangs may do so where no signal
 * ends it. @ret_pid is the caller's to wait for; _ended(): its result, of waitpid(2). One at a time. The child has
 * of all descriptors only the directory and the standard ones, and with it the lock: it holds until the write has ended.
 */
int key_store_write_begin(struct key_store *s, const char *file, const char *text, size_t len,
			  pid_t *ret_pid);
int key_store_write_ended(struct key_store *s, const char *file, int status);
/* From now on @write is called instead of key_store_write() for KEY_STORE_KEYSET. */
typedef int key_store_write_fn(void *ctx, const char *file, const char *text, size_t len);
void key_store_set_write(struct key_store *s, key_store_write_fn *write, void *ctx);
/* The keyset that is there is damaged: the next one takes its place, and KEY_STORE_PREV stays. */
void key_store_keep_prev(struct key_store *s);
const char *key_store_path(const struct key_store *s);

#endif
