/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners belong to the keeper, or to systemd: a server that dies takes none with it, so a
 * client's connect(2) waits in the backlog for the next server instead of failing.
 *
 * systemd may pass the sockets in any number; each is matched to a configured path by its own
 * address, what is not passed is made here, and what nobody configured is an error.
 */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/sys/loopback.h"

/* @path: of a socket, or a loopback address. */
static bool fd_is_at(int fd, const char *path)
{
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr);

	if (path[0] != '/')
		return loopback_is_at(fd, path);
	return getsockname(fd, (struct sockaddr *)&addr, &len) == 0 && addr.sun_family == AF_UNIX &&
	       strncmp(addr.sun_path, path, sizeof(addr.sun_path)) == 0;
}

static int passed_take(struct listener_passed *passed, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (passed[i].fd >= 0 && fd_is_at(passed[i].fd, path))
			return move_fd(passed[i].fd);
	return -1;
}

static int passed_rest(struct listener_passed *passed, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		if (passed[i].fd < 0)
			continue;
		log_error(
			"systemd passed a socket \"%s\" whose path the configuration does not name; "
			"make ListenStream= and `socket:` agree",
			passed[i].name);
		closep(&passed[i].fd);
		r = -EINVAL;
	}
	return r;
}

static int kms_sockets(struct keeper *k, struct listener_passed *passed, size_t n)
{
	const struct config *c = k->conf->config;
	gid_t gid = c->socket_group.given ? c->socket_group.id : (gid_t)-1;
	int r;

	for (size_t i = 0; i < c->sockets.count; i++) {
		k->listen_fds[i] = passed_take(passed, n, c->sockets.v[i]);
		if (k->listen_fds[i] < 0) {
			r = listener_open(c->sockets.v[i], SOCK_STREAM, c->socket_mode, gid,
					  &k->listen_names[i], &k->listen_fds[i]);
			if (r < 0)
				return r;
			k->listen_ours[i] = true;
		}
		k->n_listen++;
	}
	return 0;
}

static int admin_socket(struct keeper *k, struct listener_passed *passed, size_t n)
{
	const struct config *c = k->conf->config;
	gid_t gid = c->admin_gid.given ? c->admin_gid.id : (gid_t)-1;
	int r;

	k->admin_fd = passed_take(passed, n, c->admin_socket);
	if (k->admin_fd >= 0)
		return 0;
	r = listener_open(c->admin_socket, SOCK_STREAM, c->admin_gid.given ? 0660 : 0600, gid,
			  &k->admin_name, &k->admin_fd);
	k->admin_ours = r == 0;
	return r;
}

static int transform_socket(struct keeper *k, struct listener_passed *passed, size_t n)
{
	const struct config *c = k->conf->config;
	gid_t gid = c->socket_group.given ? c->socket_group.id : (gid_t)-1;
	int r;

	if (!c->transform.socket)
		return 0;
	k->transform_fd = passed_take(passed, n, c->transform.socket);
	if (k->transform_fd >= 0)
		return 0;
	r = listener_open(c->transform.socket, SOCK_STREAM, c->socket_mode, gid, &k->transform_name,
			  &k->transform_fd);
	k->transform_ours = r == 0;
	return r;
}

static int metrics_tcp(struct keeper *k, const char *listen)
{
	int r = loopback_listen(listen, &k->metrics_fd);

	if (r < 0)
		log_error("metrics: cannot listen on %s: %s", listen, errno_text(r));
	return r;
}

static int metrics_socket(struct keeper *k, struct listener_passed *passed, size_t n)
{
	const struct config *c = k->conf->config;
	const char *listen = c->metrics.listen;
	gid_t gid = c->socket_group.given ? c->socket_group.id : (gid_t)-1;
	int r;

	if (!listen)
		return 0;
	k->metrics_fd = passed_take(passed, n, listen);
	if (k->metrics_fd >= 0)
		return 0;
	if (listen[0] != '/')
		return metrics_tcp(k, listen);
	r = listener_open(listen, SOCK_STREAM, c->socket_mode, gid, &k->metrics_name,
			  &k->metrics_fd);
	k->metrics_ours = r == 0;
	return r;
}

int sockets_open(struct keeper *k)
{
	struct listener_passed passed[CONFIG_SOCKETS_MAX + 3];
	size_t n = 0;
	int r, rest;

	r = listener_from_systemd(passed, ARRAY_SIZE(passed), &n);
	if (r < 0)
		return r;
	r = kms_sockets(k, passed, n);
	if (r == 0)
		r = admin_socket(k, passed, n);
	if (r == 0)
		r = transform_socket(k, passed, n);
	if (r == 0)
		r = metrics_socket(k, passed, n);
	rest = passed_rest(passed, n);
	return r < 0 ? r : rest;
}

void sockets_close(struct keeper *k)
{
	for (size_t i = 0; i < k->n_listen; i++) {
		if (k->listen_ours[i])
			listener_unlink(&k->listen_names[i]);
		closep(&k->listen_fds[i]);
	}
	k->n_listen = 0;
	if (k->transform_ours)
		listener_unlink(&k->transform_name);
	closep(&k->transform_fd);
	k->transform_fd = -1;
	if (k->metrics_ours)
		listener_unlink(&k->metrics_name);
	closep(&k->metrics_fd);
	k->metrics_fd = -1;
	if (k->admin_ours)
		listener_unlink(&k->admin_name);
	closep(&k->admin_fd);
	k->admin_fd = -1;
}
