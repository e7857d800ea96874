/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP sockets that only this host can reach: an address of 127.0.0.0/8 or ::1, in numbers, with a
 * port. No name is looked up, and nothing else is ever listened on.
 */
#ifndef KEKD_SYS_LOOPBACK_H
#define KEKD_SYS_LOOPBACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* @text: "10.0.0.1:2379" or "[fd00::1]:2379", port 1 to 65535. -EINVAL: a name, or anything else. */
int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
/* The same, "127.0.0.1:9740" or "[::1]:9740". */
int loopback_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);

/* Listen at @text; *@ret_fd is CLOEXEC and the caller's. Errors of bind(2), not logged. */
int loopback_listen(const char *text, int *ret_fd);

/* @fd borrowed: a listening TCP socket at @text? At any loopback address? */
bool loopback_is_at(int fd, const char *text);
bool loopback_is_any(int fd);

#endif
