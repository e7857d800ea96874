/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to a Unix socket, for a process that may not make one itself. */
#ifndef KEKD_SYS_CONNECT_H
#define KEKD_SYS_CONNECT_H

/*
 * Connect to the stream socket @path, or to the abstract one when it begins with '@'. Never waits.
 * *@ret_fd is CLOEXEC and non-blocking and the caller's. -ENAMETOOLONG; -ENOENT, -ECONNREFUSED: nobody
 * is there; -EACCES; -EAGAIN: its backlog is full.
 */
int connect_unix(const char *path, int *ret_fd);

#endif
