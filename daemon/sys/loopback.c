/* SPDX-License-Identifier: Apache-2.0 */
/* See loopback.h. SO_REUSEADDR: connections of a predecessor may still be in TIME_WAIT. */
#include "daemon/sys/loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"

#define BACKLOG 16

/* The port behind the last colon of @text, and in @ret_host what is before it. */
static int loopback_split(const char *text, char *ret_host, size_t size, in_port_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t digits, len;
	unsigned long port;

	if (!colon)
		return -EINVAL;
	digits = strspn(colon + 1, "0123456789");
	len = (size_t)(colon - text);
	if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || len >= size)
		return -EINVAL;
	port = strtoul(colon + 1, NULL, 10);
	if (port == 0 || port > 65535)
		return -EINVAL;
	memcpy(ret_host, text, len);
	ret_host[len] = '\0';
	*ret_port = htons((in_port_t)port);
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
	const struct sockaddr_in *in = (const void *)addr;
	const struct sockaddr_in6 *in6 = (const void *)addr;

	if (addr->ss_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return addr->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_storage addr = { 0 };
	struct sockaddr_in *in = (void *)&addr;
	struct sockaddr_in6 *in6 = (void *)&addr;
	char host[INET6_ADDRSTRLEN + 2];
	in_port_t port;
	size_t len;
	int r;

	r = loopback_split(text, host, sizeof(host), &port);
	if (r < 0)
		return r;
	len = strlen(host);
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = port;
	} else if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return -EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
	} else {
		return -EINVAL;
	}
	*ret_len = addr.ss_family == AF_INET ? sizeof(*in) : sizeof(*in6);
	*ret = addr;
	return 0;
}

int loopback_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int r = address_parse(text, &addr, &len);

	if (r < 0 || !is_loopback(&addr))
		return -EINVAL;
	*ret_len = len;
	*ret = addr;
	return 0;
}

int loopback_listen(const char *text, int *ret_fd)
{
	struct sockaddr_storage addr;
	_cleanup_close_ int fd = -1;
	int on = 1, r;
	socklen_t len;

	r = loopback_parse(text, &addr, &len);
	if (r < 0)
		return r;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

/* Where the listening stream socket @fd is. */
static bool loopback_place_of(int fd, struct sockaddr_storage *ret)
{
	socklen_t len = sizeof(*ret), size = sizeof(int);
	int listening = 0, type = 0;

	*ret = (struct sockaddr_storage){ 0 };
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return false;
	return getsockname(fd, (struct sockaddr *)ret, &len) == 0;
}

bool loopback_is_any(int fd)
{
	struct sockaddr_storage addr;

	return loopback_place_of(fd, &addr) && is_loopback(&addr);
}

bool loopback_is_at(int fd, const char *text)
{
	struct sockaddr_storage addr, want;
	const struct sockaddr_in *a = (const void *)&addr, *b = (const void *)&want;
	const struct sockaddr_in6 *a6 = (const void *)&addr, *b6 = (const void *)&want;
	socklen_t len;

	if (!loopback_place_of(fd, &addr) || loopback_parse(text, &want, &len) < 0 ||
	    addr.ss_family != want.ss_family)
		return false;
	if (addr.ss_family == AF_INET)
		return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
	return a6->sin6_port == b6->sin6_port; /* there is one loopback address of IPv6 */
}
