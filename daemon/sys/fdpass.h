/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message with descriptors beside it (SCM_RIGHTS, unix(7)).
 *
 * What comes in is the receiver's as soon as recvmsg(2) returns, asked for or not, and for alignment the
 * kernel may find room for one descriptor more than was meant. So all that came is looked at in one place:
 * either the caller gets all of it, or all of it has been closed.
 */
#ifndef KEKD_SYS_FDPASS_H
#define KEKD_SYS_FDPASS_H

#include <stdbool.h>
#include <stddef.h>

#define FDPASS_MAX 8 /* at most, in one message */

/*
 * Send @size bytes and @n (≤ FDPASS_MAX) descriptors of @fds in one message. All borrowed. Without SIGPIPE.
 * -EAGAIN: @fd has a time-out or does not block. -EIO: not all of it was taken. -E2BIG.
 */
int fdpass_send(int fd, const void *data, size_t size, const int *fds, size_t n);
/*
 * Receive one message of at most @size bytes with at most @max (≤ FDPASS_MAX) descriptors, which are CLOEXEC
 * and the caller's to close. @ret_lost: there were some, but not enough descriptors were free in this process
 * (RLIMIT_NOFILE), so there are none. -ENODATA: the other end is gone. -EPROTO: longer, or with more descriptors; then
 * none of them is open any more. Errors of recvmsg(2).
 */
int fdpass_recv(int fd, void *buf, size_t size, size_t *ret_len, int *ret_fds, size_t max,
		size_t *ret_n, bool *ret_lost);

/*
 * Descriptors in reserve, for what is passed or made while there is no other left. All zero at first: none.
 * _use: they are free now, for the next call. _fill: as many again as there are, each a copy of @fd (borrowed).
 */
struct fdspare {
	int fd[FDPASS_MAX];
	size_t n;
};
void fdspare_use(struct fdspare *spare);
void fdspare_fill(struct fdspare *spare, int fd);

#endif
