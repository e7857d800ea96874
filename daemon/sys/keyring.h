/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel keyrings (keyctl(2), keyrings(7), trusted-encrypted.rst), through libkeyutils; the only
 * file that includes it. Used by the keeper alone.
 *
 * The keeper holds its keys in a keyring of its own session. A key is given exactly the rights its
 * job needs, and WRITE and SETATTR are dropped as soon as it is in place: a possessor with WRITE
 * can re-wrap an encrypted key under a master he knows and so read it (kmod-notes/keyring.md).
 *
 * Possession is what the rights are granted by, and a session is inherited by fork: a child that
 * must not reach the keys calls keyring_new_session() before it does anything else.
 */
#ifndef KEKD_SYS_KEYRING_H
#define KEKD_SYS_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kekd/span.h>

typedef int32_t key_serial;

/* KEY_SPEC_THREAD_KEYRING, KEY_SPEC_SESSION_KEYRING: the caller's own. */
#define KEYRING_THREAD  (-1)
#define KEYRING_SESSION (-3)

/* A fresh anonymous session keyring for this process; drops every key inherited from the caller. */
int keyring_new_session(void);
/* A keyring named @name linked into the session; rights: possessor only. */
int keyring_new(const char *name, key_serial *ret);

/*
 * add_key(2). The payload is borrowed; the kernel copies it. -EEXIST when @ring already holds a key
 * of that type and description, which add_key(2) by itself would overwrite. -EDQUOT: quota.
 */
int keyring_add_user(key_serial ring, const char *desc, struct span payload, key_serial *ret);
int keyring_add_logon(key_serial ring, const char *desc, struct span payload, key_serial *ret);
/*
 * Type trusted: @sealed is what a TPM has sealed (sys/tpm.h), and the kernel has the TPM open it: no process sees the bytes. It
 * waits for the TPM. -EPERM: the TPM does not open it; -ENODEV: there is no such type, as there was no TPM when the
 * kernel started. -EINVAL: it is no such thing. -EEXIST as above.
 */
int keyring_add_trusted(key_serial ring, const char *desc, struct span sealed, key_serial *ret);
/*
 * Type encrypted, format default, @bytes (24, 32 or 64; 16 is refused by the kernel) of fresh
 * random made inside the kernel under the key @root_desc of @root_type, user or trusted. The kernel makes one under a
 * missing or one-byte root without a word: root_key_check() of keys/root.h first. -EEXIST as above.
 */
int keyring_generate(key_serial ring, const char *desc, const char *root_type,
		     const char *root_desc, size_t bytes, key_serial *ret);
/* Load a sealed blob ("default user:ROOT 32 HEX", or "trusted:"). -EINVAL: damaged or of another root; -ENOKEY. */
int keyring_load(key_serial ring, const char *desc, const char *blob, key_serial *ret);
/*
 * The sealed blob of an encrypted key: ciphertext, ASCII, NUL-terminated. It is made now, under the
 * key that the name of its root leads *the caller* to, whatever it was made or loaded under: only
 * who needs it reads (keys/maker.h). -ENOKEY: there is none. -ENOBUFS.
 */
int keyring_blob(key_serial key, char *ret, size_t size);
/* From now on its blob is made under the user-type key @root_desc, whatever that is: check it. Needs WRITE. */
int keyring_rewrap(key_serial key, const char *root_desc);
/* Link @key into @ring, in the place of one of the same type and description. Needs the LINK right. */
int keyring_link(key_serial ring, key_serial key);

/*
 * Take away everything but SEARCH and VIEW for the possessor. Idempotent.
 *
 * What is left is less than it seems and more than it seems. The possessor may still *read* the
 * key: keyctl_read() skips the READ bit for a key that a search of one's own keyrings finds, and
 * the kernel must find the root by such a search. That gives the root's bytes, and the bytes of an
 * encrypted key to one who has put another key of the root's name in the way: KEYCTL_READ is to be
 * kept from a possessor by other means (seccomp). He may also invalidate the key, which needs SEARCH
 * only. Updating, changing rights, linking elsewhere and revoking are over for good.
 */
int keyring_seal_rights(key_serial key);
/*
 * 0 if the key is alive and ours. -EKEYREVOKED, -EKEYEXPIRED, -ENOKEY (invalidated or collected),
 * -EACCES (unlinked, and not collected yet). keyctl_describe(3); @key is sealed.
 */
int keyring_alive(key_serial key);
/*
 * A pipe in which the kernel says that something was done to a key that is watched (CONFIG_KEY_NOTIFICATIONS): revoked,
 * invalidated, gone. That one expires it does not say, so whoever listens looks by himself too, now and then. -ENOPKG or -EOPNOTSUPP:
 * this kernel has none. Both ends the caller's: without the second the first would be at its end.
 */
int keyring_notes_open(int *ret_notes, int *ret_end);
/* Have it tell of @key, if that is another one than *@watched, which then is that. Needs VIEW. */
void keyring_notes_watch(int notes, key_serial key, key_serial *watched);
/* Read what is there; true: something was. */
bool keyring_notes_read(int notes);
/* The last link's end wipes the payload in the kernel; 0 also when it is already gone. */
int keyring_unlink(key_serial ring, key_serial key);
/*
 * The key that the kernel itself will find under that description for this process: thread,
 * process and session keyring in turn (request_key(2) without upcall). A root is named, not given
 * by serial, when the kernel wraps and unwraps under it, so this is the search that counts.
 */
int keyring_resolve(const char *type, const char *desc, key_serial *ret);

#endif
