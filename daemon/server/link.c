/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See link.h. SEQPACKET keeps message boundaries, so there is no framing and no partial read.
 *
 * Both ends tell of each message that they sent or took, under --debug and by a probe. Of one that was
 * taken nothing is said but numbers and ids: texts of a server that was taken over may be anything.
 */
#include "daemon/server/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"
#include "daemon/base/probe.h"
#include "daemon/sys/fdpass.h"

static void log_key(int fd, bool sent, const struct link_msg *msg, unsigned int n_fds)
{
	const char *verb = sent ? "sent" : "took", *type = link_type_name(msg->type);
	char hex[KEKD_KEY_ID_HEX + 1];

	key_hex(msg->key.id, sizeof(msg->key.id), hex);
	if (msg->type == LINK_USED)
		log_debug("link %d: %s %s %s, encryptions %llu, decryptions %llu", fd, verb, type,
			  hex, (unsigned long long)msg->encryptions,
			  (unsigned long long)msg->decryptions);
	else if (msg->type == LINK_KEY)
		log_debug("link %d: %s %s %s %s%s%s, activation %u, %u descriptors", fd, verb, type,
			  hex, sent ? msg->key.label : "", sent ? ", " : "",
			  key_state_name(msg->key.state), msg->key.activation, n_fds);
	else
		log_debug("link %d: %s %s %s, r %d, %u descriptors", fd, verb, type, hex, msg->r,
			  n_fds);
}

static void log_message(int fd, bool sent, const struct link_msg *msg, unsigned int n_fds)
{
	switch (msg->type) {
	case LINK_KEY:
	case LINK_SOCKET:
	case LINK_WITHDRAW:
	case LINK_NEED:
	case LINK_USED:
		log_key(fd, sent, msg, n_fds);
		break;
	default:
		log_debug("link %d: %s %s, index %u, r %d, %u descriptors", fd,
			  sent ? "sent" : "took", link_type_name(msg->type), msg->index, msg->r,
			  n_fds);
	}
}

/* net.core.wmem_default may be small, and wmem_max is no bound for who has CAP_NET_ADMIN (socket(7)). */
static void room_make(int fd)
{
	const int bytes = LINK_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int link_pair(int ret_fds[static 2])
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	room_make(fds[0]);
	room_make(fds[1]);
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

int link_send(int fd, const struct link_msg *msg, const struct link_fds *fds)
{
	int r = fdpass_send(fd, msg, sizeof(*msg), fds ? fds->fd : NULL, fds ? fds->n : 0);

	if (r < 0)
		return r;
	PROBE_LINK_OUT(link_type_name(msg->type));
	if (log_debugging)
		log_message(fd, true, msg, fds ? fds->n : 0);
	return 0;
}

int link_recv(int fd, struct link_msg *ret, struct link_fds *ret_fds)
{
	struct link_fds fds = { 0 };
	size_t len, n;
	int r;

	r = fdpass_recv(fd, ret, sizeof(*ret), &len, fds.fd, LINK_FDS, &n, &fds.lost);
	if (r == -ECONNRESET)
		return -ENODATA; /* gone, and has not read all that it was told (net/unix/af_unix.c) */
	if (r < 0)
		return r;
	fds.n = (unsigned int)n;
	if (len != sizeof(*ret) || key_info_check(&ret->key) < 0) {
		link_fds_close(&fds);
		return -EPROTO;
	}
	ret->text[sizeof(ret->text) - 1] = '\0';
	*ret_fds = fds;
	PROBE_LINK_IN(link_type_name(ret->type));
	if (log_debugging)
		log_message(fd, false, ret, fds.n);
	return 0;
}

void link_fds_close(struct link_fds *fds)
{
	for (unsigned int i = 0; i < fds->n; i++)
		closep(&fds->fd[i]);
	fds->n = 0;
}

int link_fds_take(struct link_fds *fds, unsigned int i)
{
	return i < fds->n ? move_fd(fds->fd[i]) : -1;
}
