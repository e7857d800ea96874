/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key store: a directory with one small text file a key (keys/record.h), ciphertext only. Files
 * are what configuration management may carry between the nodes of a cluster.
 *
 * Beside them lie "manifest" (keys/manifest.h), the key set's business, and "counts", the keeper's.
 *
 * A file is written whole: temporary file, fsync, rename, fsync of the directory. What a crash
 * leaves of that is a temporary file, and the next open removes it. Other files that are neither
 * are reported and not touched.
 *
 * While the store is open the directory is locked by flock(2), which leaves no file behind. The
 * lock lives as long as a copy of the descriptor does, a child's included; exec closes it.
 */
#ifndef KEKD_KEYS_STORE_H
#define KEKD_KEYS_STORE_H

#include "daemon/base/cleanup.h"
#include "daemon/keys/record.h"

struct key_store;

/*
 * Open the directory @path, made with mode 0700 if missing. It must be a directory and no symbolic
 * link (-ENOTDIR), owned by the caller's uid or root, not writable by the group and closed to all
 * others (-EPERM; the log names the cure). -EBUSY: another process has it open.
 */
int key_store_open(const char *path, struct key_store **ret);
void key_store_close(struct key_store *s);
DEFINE_CLEANUP(struct key_store *, key_store_close);

/*
 * Read every key file, sorted by created then id. @each is called with the record, or with r < 0
 * and rec == NULL for a file that cannot be used (the log has file:line and the reason); the others
 * go on. Those come last. What @each returns below 0 ends the walk and is returned. -E2BIG, and no
 * call, for more than KEKD_KEYS_MAX key files: to leave some out could hide the active key.
 *
 * Reasons: -EINVAL not a record, or not the one its name says; -EPERM owner, mode or a second hard
 * link; -ELOOP symbolic link; -EFBIG; -ENOENT, -EIO … from reading.
 */
typedef int key_store_each_fn(void *ctx, const struct key_record *rec, int r, const char *file);
int key_store_each(struct key_store *s, key_store_each_fn *each, void *ctx);

/*
 * Write @rec durably, replacing the file of the same id. -EINVAL: not a record. -ENOBUFS: the
 * store is full. Any other error leaves the change in doubt: mostly the old file is there, but when
 * the last step failed, fsync(2) of the directory, the new one is, and after a crash it may be
 * either. Both are whole. To end the doubt is the caller's: put again what it wants there.
 */
int key_store_put(struct key_store *s, const struct key_record *rec);
/* Is there a file of that id, of whatever content? True also if that cannot be told. */
bool key_store_has(const struct key_store *s, const uint8_t id[static KEKD_KEY_ID]);
/* Remove the file of a key that was never used, durably; it may be gone already. Errors alike. */
int key_store_remove(struct key_store *s, const uint8_t id[static KEKD_KEY_ID]);

/* Files beside the keys. */
#define KEY_STORE_MANIFEST "manifest"
#define KEY_STORE_COUNTS   "counts"
/*
 * Its whole text, at most @max bytes, NUL-terminated; caller frees. -ENOENT, and reasons of
 * key_store_each().
 */
int key_store_read(struct key_store *s, const char *file, size_t max, char **ret, size_t *ret_len);
/* Replace it durably, as key_store_put(). @text is borrowed. */
int key_store_write(struct key_store *s, const char *file, const char *text, size_t len);

#endif
