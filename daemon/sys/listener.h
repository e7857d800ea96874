/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening Unix sockets: made here or passed by systemd, and the credentials of who connects.
 */
#ifndef KEKD_SYS_LISTENER_H
#define KEKD_SYS_LISTENER_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <kekd/op.h>

#define LISTENER_PATH_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* Which socket file is ours, so that no other is ever removed. */
struct listener_name {
	char path[LISTENER_PATH_MAX];
	dev_t dev;
	ino_t ino;
};

/*
 * Listen on @path with exactly @mode (of 0777) and, unless it is (gid_t)-1, group @gid.
 * @type: SOCK_STREAM or SOCK_SEQPACKET. *@ret_fd is CLOEXEC and blocking and belongs to the caller;
 * *@ret_name (may be NULL) is for listener_unlink(). Every error has been logged with its cure:
 * -EINVAL        not an absolute path of a file, or a bad @mode or @type; abstract names too
 * -ENAMETOOLONG  does not fit sun_path (107 bytes)
 * -ENOENT, …     no such directory
 * -ELOOP         a symbolic link on the way
 * -EPERM         a directory on the way can be changed by others, or the group is not ours to give
 * -EADDRINUSE    something answers there, or might: only a socket proven dead is replaced
 */
int listener_open(const char *path, int type, mode_t mode, gid_t gid,
		  struct listener_name *ret_name, int *ret_fd);

/* Remove the socket file. -ESTALE, and no change, if another one has taken its place; -ENOENT. */
int listener_unlink(const struct listener_name *name);

/* One socket passed by systemd. */
struct listener_passed {
	char name[64]; /* FileDescriptorName=, "unknown" if not set */
	int fd;
};

/*
 * sd_listen_fds(3)'s protocol: $LISTEN_PID, $LISTEN_FDS, $LISTEN_FDNAMES, fds from 3 on. The
 * variables are unset in any case. *@ret_n is 0 if nothing was passed to this process. The fds in
 * @ret[0..*@ret_n) are CLOEXEC and belong to the caller. Each must be a listening Unix socket of type
 * stream or seqpacket with a path, or one of TCP on a loopback address. Errors, logged: -EINVAL; -E2BIG more than @max (then all are
 * left alone); otherwise all have been closed.
 */
int listener_from_systemd(struct listener_passed *ret, size_t max, size_t *ret_n);

/* Who connected (SO_PEERCRED, unix(7)): credentials at the time of connect(2). @fd is borrowed. */
int peer_cred(int fd, struct op_peer *ret);

#endif
