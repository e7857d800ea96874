/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin calls: each is one keyctl(2) operation, or the check that this operation forgets.
 *
 * Caveats of the kernel that are answered here (security/keys/keyctl.c, key.c, process_keys.c):
 * - add_key(2) updates a key of the same type and description instead of making one, so adding
 *   looks first. The keeper is the only thread that can write to its keyrings, hence no race.
 * - Rights cannot be set twice once SETATTR is gone, so sealing looks first, too.
 * - keyctl_describe(3) reports a dead key as an error; an invalidated or collected one is ENOKEY.
 */
#include "daemon/sys/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <keyutils.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"

#define POSSESSOR_ALL                                                                  \
	(KEY_POS_VIEW | KEY_POS_READ | KEY_POS_WRITE | KEY_POS_SEARCH | KEY_POS_LINK | \
	 KEY_POS_SETATTR)
#define SEALED (KEY_POS_VIEW | KEY_POS_SEARCH)

_Static_assert(KEYRING_THREAD == KEY_SPEC_THREAD_KEYRING &&
		       KEYRING_SESSION == KEY_SPEC_SESSION_KEYRING,
	       "linux/keyctl.h");

/* "load " and a blob of at most 511 characters */
#define COMMAND_MAX 640
/* of keys that are not read yet */
#define NOTES 32
/* linux/watch_queue.h, which does not go together with fcntl.h */
#define NOTIFICATION_PIPE O_EXCL
#define NOTES_SET_SIZE    _IO('W', 0x60)
/* MAX_BLOB_SIZE of the kernel's include/keys/trusted-type.h */
#define TRUSTED_MAX 512

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

int keyring_new_session(void)
{
	return result(keyctl_join_session_keyring(NULL));
}

int keyring_new(const char *name, key_serial *ret)
{
	key_serial ring;
	int r;

	ring = add_key("keyring", name, NULL, 0, KEY_SPEC_SESSION_KEYRING);
	if (ring < 0)
		return -errno;
	r = result(keyctl_setperm(ring, POSSESSOR_ALL));
	if (r < 0) {
		keyctl_unlink(ring, KEY_SPEC_SESSION_KEYRING);
		return r;
	}
	*ret = ring;
	return 0;
}

static int keyring_add(key_serial ring, const char *type, const char *desc, struct span payload,
		       key_serial *ret)
{
	key_serial key;

	/* A living key of that type and description, here or in a keyring below. */
	if (keyctl_search(ring, type, desc, 0) >= 0)
		return -EEXIST;
	if (errno != ENOKEY)
		return -errno;
	key = add_key(type, desc, payload.data, payload.len, ring);
	if (key < 0)
		return -errno;
	*ret = key;
	return 0;
}

int keyring_add_user(key_serial ring, const char *desc, struct span payload, key_serial *ret)
{
	return keyring_add(ring, "user", desc, payload, ret);
}

int keyring_add_logon(key_serial ring, const char *desc, struct span payload, key_serial *ret)
{
	return keyring_add(ring, "logon", desc, payload, ret);
}

int keyring_add_trusted(key_serial ring, const char *desc, struct span sealed, key_serial *ret)
{
	char command[sizeof("load ") + 2 * TRUSTED_MAX] = "load ";
	size_t n = strlen(command);
	int r;

	if (sealed.len > TRUSTED_MAX)
		return -EINVAL;
	for (size_t i = 0; i < sealed.len; i++, n += 2)
		snprintf(command + n, sizeof(command) - n, "%02x", sealed.data[i]);
	r = keyring_add(ring, "trusted", desc, span_of(command, n), ret);
	return r == -EPFNOSUPPORT ? -ENODEV : r;
}

int keyring_generate(key_serial ring, const char *desc, const char *root_type,
		     const char *root_desc, size_t bytes, key_serial *ret)
{
	char command[COMMAND_MAX];
	int n;

	n = snprintf(command, sizeof(command), "new default %s:%s %zu", root_type, root_desc,
		     bytes);
	if (n < 0 || (size_t)n >= sizeof(command))
		return -EINVAL;
	return keyring_add(ring, "encrypted", desc, span_of(command, (size_t)n), ret);
}

int keyring_load(key_serial ring, const char *desc, const char *blob, key_serial *ret)
{
	char command[COMMAND_MAX];
	int n;

	n = snprintf(command, sizeof(command), "load %s", blob);
	if (n < 0 || (size_t)n >= sizeof(command))
		return -EINVAL;
	return keyring_add(ring, "encrypted", desc, span_of(command, (size_t)n), ret);
}

int keyring_blob(key_serial key, char *ret, size_t size)
{
	long n = keyctl_read(key, ret, size - 1);

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENOBUFS;
	ret[n] = '\0';
	return 0;
}

int keyring_link(key_serial ring, key_serial key)
{
	return result(keyctl_link(key, ring));
}

int keyring_rewrap(key_serial key, const char *root_desc)
{
	char command[COMMAND_MAX];
	int n;

	n = snprintf(command, sizeof(command), "update user:%s", root_desc);
	if (n < 0 || (size_t)n >= sizeof(command))
		return -EINVAL;
	return result(keyctl_update(key, command, (size_t)n));
}

int keyring_seal_rights(key_serial key)
{
	_cleanup_free_ char *text = NULL;
	unsigned int perm = 0;

	/* keyctl_describe(3): "TYPE;UID;GID;PERM;DESCRIPTION", PERM in hex. */
	if (keyctl_describe_alloc(key, &text) < 0)
		return -errno;
	if (sscanf(text, "%*[^;];%*d;%*d;%x;", &perm) != 1)
		return -EIO;
	if (perm == SEALED)
		return 0;
	return result(keyctl_setperm(key, SEALED));
}

int keyring_alive(key_serial key)
{
	return result(keyctl_describe(key, NULL, 0));
}

int keyring_notes_open(int *ret_notes, int *ret_end)
{
	_cleanup_close_ int notes = -1, end = -1;
	int fds[2];

	if (pipe2(fds, NOTIFICATION_PIPE | O_CLOEXEC | O_NONBLOCK) < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	notes = fds[0];
	end = fds[1];
	/* Without a size it takes none. How many there were does not matter: one is reason enough to look. */
	if (ioctl(notes, NOTES_SET_SIZE, NOTES) < 0)
		return -errno;
	*ret_notes = move_fd(notes);
	*ret_end = move_fd(end);
	return 0;
}

void keyring_notes_watch(int notes, key_serial key, key_serial *watched)
{
	if (key && key != *watched && keyctl_watch_key(key, notes, 0) == 0)
		*watched = key;
}

bool keyring_notes_read(int notes)
{
	uint8_t buf[NOTES * 128]; /* WATCH_INFO_LENGTH: a note has at most 127 bytes */
	bool any = false;

	while (read(notes, buf, sizeof(buf)) > 0)
		any = true;
	return any;
}

int keyring_unlink(key_serial ring, key_serial key)
{
	int r = result(keyctl_unlink(key, ring));

	return r == -ENOENT || r == -ENOKEY ? 0 : r;
}

int keyring_resolve(const char *type, const char *desc, key_serial *ret)
{
	key_serial key = request_key(type, desc, NULL, 0);

	if (key < 0)
		return -errno;
	*ret = key;
	return 0;
}
