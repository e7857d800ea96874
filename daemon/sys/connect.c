/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect(2) on a non-blocking Unix socket succeeds or fails at once, EAGAIN meaning a full backlog
 * (net/unix/af_unix.c). What the other side sees as its peer (SO_PEERCRED) is the process that called
 * connect(2), whoever uses the descriptor later.
 */
#include "daemon/sys/connect.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/base/cleanup.h"

int connect_unix(const char *path, int *ret_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	else
		len++;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, len) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}
