/* SPDX-License-Identifier: Apache-2.0 */
/* A listening Unix socket at a path of the test's own; the caller closes it. */
#pragma once

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

static inline int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_LE(0, fd);
	ASSERT_GT((int)sizeof(addr.sun_path),
		  snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path));
	unlink(path);
	ASSERT_EQ(0, bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, listen(fd, 64));
	return fd;
}
