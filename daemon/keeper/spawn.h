/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the server and the observer: fork, become nobody in particular, exec. What it must not have is
 * gone before the first byte of the new program runs, and exec gives it an address space that has
 * never held anything of the keeper's.
 */
#ifndef KEKD_KEEPER_SPAWN_H
#define KEKD_KEEPER_SPAWN_H

#include <sys/types.h>

/* argv of the program that main.c takes for "I am the server, my link is this descriptor". */
#define SPAWN_ARGV0   "kekd-server"
#define SPAWN_LINK_FD 3
/* The one argument that a server and the observer may get: they log as much as who starts them. */
#define SPAWN_DEBUG "--debug"

/* Programs of their own, beside kekd. */
#define SPAWN_OBSERVER "kekd-observer"
#define SPAWN_CLUSTER  "kekd-cluster"

/* A handle on this very program file, to start it again later even if the file is replaced. */
int spawn_self_open(int *ret_exe_fd);
/* The same for the program @name in this one's directory. -ENOENT. */
int spawn_beside_open(const char *name, int *ret_exe_fd);

/*
 * Start a server as @uid, @gid. @exe_fd borrowed. The keeper's end of the link is *ret_link_fd
 * (caller closes). The child is killed when the caller's thread ends.
 */
int spawn_server(int exe_fd, uid_t uid, gid_t gid, pid_t *ret_pid, int *ret_link_fd);

/* The same for an observer, whose file is @exe_fd: @fds, all borrowed, are its descriptors from SPAWN_LINK_FD on. */
int spawn_observer(int exe_fd, uid_t uid, gid_t gid, const int fds[static 3], pid_t *ret_pid);
/* The same for kekd-cluster, which has one: @control, borrowed. */
int spawn_cluster(int exe_fd, uid_t uid, gid_t gid, int control, pid_t *ret_pid);

/* The same for a holder (crypto/holder.h), this program once more: @fds are as enum holder_fd has them. */
int spawn_holder(int exe_fd, uid_t uid, gid_t gid, const int fds[static 5], pid_t *ret_pid);

/*
 * SIGKILL to @pid, a child of ours that runs as @uid and has not been waited for. Needs no CAP_KILL:
 * a process may signal those of its own uid, so a short-lived child becomes that.
 */
int spawn_kill(pid_t pid, uid_t uid);

#endif
