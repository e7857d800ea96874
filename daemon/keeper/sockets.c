/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners belong to the keeper, or to systemd: a server that dies takes none with it, so a
 * client's connect(2) waits in the backlog for the next server instead of failing.
 *
 * systemd may pass the sockets in any number; each is matched to a configured path by its own
 * address, what is not passed is made here, and what nobody configured is an error.
 *
 * A socket is found by its file. If that is removed, or another's is put in its place, whoever is connected is
 * served on and nobody else comes; so the files are looked at, and ours are made anew. One of systemd's is not:
 * it would then have another than systemd holds.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/sys/loopback.h"

#define LOOK_NS  (UINT64_C(1) * 1000 * 1000 * 1000)
#define RENEW_NS (UINT64_C(60) * 1000 * 1000 * 1000)

/* The one at @path, of a socket, or at a loopback address; or -1. */
static int passed_take(struct listener_passed *passed, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		struct sockaddr_un addr = { 0 };
		socklen_t len = sizeof(addr);
		int fd = passed[i].fd;

		if (fd < 0)
			continue;
		if (path[0] != '/'
			    ? loopback_is_at(fd, path)
			    : getsockname(fd, (struct sockaddr *)&addr, &len) == 0 &&
				      addr.sun_family == AF_UNIX &&
				      strncmp(addr.sun_path, path, sizeof(addr.sun_path)) == 0)
			return move_fd(passed[i].fd);
	}
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

/* One that has a file. */
struct place {
	const char *path;
	int *fd;
	struct listener_name *name;
	bool *ours;
	uint32_t index; /* for a server's LISTENER */
	mode_t mode;
	gid_t gid;
};

#define NOT_FOR_SERVERS (LINK_TRANSFORM - 1)
#define NO_GID          ((gid_t)-1)

static size_t places(struct keeper *k, struct place ret[static CONFIG_SOCKETS_MAX + 3])
{
	const struct config *c = k->conf->config;
	gid_t gid = c->socket_group.given ? c->socket_group.id : NO_GID;
	size_t n = 0;

	for (; n < c->sockets.count; n++)
		ret[n] = (struct place){ c->sockets.v[n],
					 &k->listen_fds[n],
					 &k->listen_names[n],
					 &k->listen_ours[n],
					 (uint32_t)n,
					 c->socket_mode,
					 gid };
	ret[n++] = (struct place){ c->admin_socket,
				   &k->admin_fd,
				   &k->admin_name,
				   &k->admin_ours,
				   NOT_FOR_SERVERS,
				   c->admin_gid.given ? 0660 : 0600,
				   c->admin_gid.given ? c->admin_gid.id : NO_GID };
	if (c->transform.socket)
		ret[n++] = (struct place){ c->transform.socket,
					   &k->transform_fd,
					   &k->transform_name,
					   &k->transform_ours,
					   LINK_TRANSFORM,
					   c->socket_mode,
					   gid };
	if (c->metrics.listen && c->metrics.listen[0] == '/')
		ret[n++] = (struct place){ c->metrics.listen,
					   &k->metrics_fd,
					   &k->metrics_name,
					   &k->metrics_ours,
					   NOT_FOR_SERVERS,
					   c->socket_mode,
					   gid };
	return n;
}

/* It is one of those that systemd passed, or is made here. */
static int socket_open(struct keeper *k, struct listener_passed *passed, size_t n,
		       const struct place *p)
{
	struct stat st;
	int r;

	*p->fd = passed_take(passed, n, p->path);
	if (*p->fd < 0) {
		r = listener_open(p->path, SOCK_STREAM, p->mode, p->gid, p->name, p->fd);
		if (r < 0)
			return r;
		*p->ours = true;
	} else if (lstat(p->path, &st) == 0) {
		/* Opened elsewhere: what is there now is what was meant, and nothing is what is lost. */
		p->name->dev = st.st_dev;
		p->name->ino = st.st_ino;
	}
	if (p->index < CONFIG_SOCKETS_MAX)
		k->n_listen++;
	return 0;
}

/* The old listener stays with the servers, for whoever still waits in it. */
static int renew(struct keeper *k, struct place *p)
{
	struct listener_name name;
	int fd, r;

	r = listener_open(p->path, SOCK_STREAM, p->mode, NO_GID, &name, &fd);
	if (r < 0)
		return r;
	close(*p->fd);
	*p->fd = fd;
	*p->name = name;
	if (p->fd == &k->metrics_fd)
		observer_renew(k);
	else if (p->index != NOT_FOR_SERVERS)
		server_send_listener(k, p->index, fd);
	log_notice("socket %s: made anew", p->path);
	return 0;
}

static void lost(struct keeper *k, struct place *p, size_t i, const char *why, uint64_t now)
{
	bool said = k->sockets_lost[i];

	if (!said || now >= k->sockets_renew_ns[i]) {
		k->sockets_renew_ns[i] = now + RENEW_NS;
		if (!said)
			log_warning("socket %s: %s", p->path, why);
		if (*p->ours && p->gid == NO_GID && renew(k, p) == 0) {
			k->sockets_lost[i] = false;
			return;
		}
	}
	if (!said)
		log_error(
			"socket %s: %s, and no new client can connect: %s", p->path, why,
			!*p->ours ? "systemd made it: restart its .socket unit and kekd"
			: p->gid != NO_GID
				? "kekd has no right any more to give it its group: restart kekd"
				: "it cannot be made anew now, which is tried again: see the log; "
				  "SIGHUP tries at once");
	k->sockets_lost[i] = true;
}

void sockets_watch(struct keeper *k, uint64_t now)
{
	struct place p[CONFIG_SOCKETS_MAX + 3];
	struct stat st;
	size_t n;

	if (now < k->sockets_at_ns || k->stopping)
		return;
	k->sockets_at_ns = now + LOOK_NS;
	n = places(k, p);
	for (size_t i = 0; i < n; i++) {
		const char *why = NULL;

		if (lstat(p[i].path, &st) < 0)
			why = "its file was removed";
		else if (st.st_dev != p[i].name->dev || st.st_ino != p[i].name->ino)
			why = "its file was replaced by another";
		if (why) {
			lost(k, &p[i], i, why, now);
		} else if (k->sockets_lost[i]) {
			k->sockets_lost[i] = false;
			log_notice("socket %s: its file is back", p[i].path);
		}
	}
}

void sockets_look_again(struct keeper *k)
{
	k->sockets_at_ns = 0;
	memset(k->sockets_renew_ns, 0, sizeof(k->sockets_renew_ns));
}

uint32_t sockets_lost(const struct keeper *k)
{
	uint32_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(k->sockets_lost); i++)
		n += k->sockets_lost[i];
	return n;
}

int sockets_open(struct keeper *k)
{
	const char *metrics = k->conf->config->metrics.listen;
	struct listener_passed passed[CONFIG_SOCKETS_MAX + 3];
	struct place p[CONFIG_SOCKETS_MAX + 3];
	size_t n = 0, n_places = places(k, p);
	int r, rest;

	r = listener_from_systemd(passed, ARRAY_SIZE(passed), &n);
	for (size_t i = 0; r == 0 && i < n_places; i++)
		r = socket_open(k, passed, n, &p[i]);
	if (r == 0 && metrics && metrics[0] != '/') {
		k->metrics_fd = passed_take(passed, n, metrics);
		if (k->metrics_fd < 0)
			r = loopback_listen(metrics, &k->metrics_fd);
		if (r < 0)
			log_error("metrics: cannot listen on %s: %s", metrics, errno_text(r));
	}
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
