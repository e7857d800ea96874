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
	if (listen[0] != '/') {
		r = loopback_listen(listen, &k->metrics_fd);
		if (r < 0)
			log_error("metrics: cannot listen on %s: %s", listen, errno_text(r));
		return r;
	}
	r = listener_open(listen, SOCK_STREAM, c->socket_mode, gid, &k->metrics_name,
			  &k->metrics_fd);
	k->metrics_ours = r == 0;
	return r;
}

/* One of them, wherever it stands. */
struct place {
	const char *path; /* NULL, or a loopback address: nothing to look at */
	int *fd;
	struct listener_name *name;
	bool ours;
	uint32_t index; /* for a server's LISTENER */
	mode_t mode;
	bool with_gid;
};

#define NOT_FOR_SERVERS (LINK_TRANSFORM - 1)

static size_t places(struct keeper *k, struct place ret[static CONFIG_SOCKETS_MAX + 3])
{
	const struct config *c = k->conf->config;
	mode_t admin_mode = c->admin_gid.given ? 0660 : 0600;
	bool group = c->socket_group.given;
	size_t n = 0;

	for (; n < k->n_listen; n++)
		ret[n] = (struct place){ c->sockets.v[n],
					 &k->listen_fds[n],
					 &k->listen_names[n],
					 k->listen_ours[n],
					 (uint32_t)n,
					 c->socket_mode,
					 group };
	ret[n++] = (struct place){ c->admin_socket, &k->admin_fd, &k->admin_name,    k->admin_ours,
				   NOT_FOR_SERVERS, admin_mode,   c->admin_gid.given };
	if (k->transform_fd >= 0)
		ret[n++] = (struct place){ c->transform.socket,
					   &k->transform_fd,
					   &k->transform_name,
					   k->transform_ours,
					   LINK_TRANSFORM,
					   c->socket_mode,
					   group };
	if (k->metrics_fd >= 0 && c->metrics.listen[0] == '/')
		ret[n++] = (struct place){ c->metrics.listen,
					   &k->metrics_fd,
					   &k->metrics_name,
					   k->metrics_ours,
					   NOT_FOR_SERVERS,
					   c->socket_mode,
					   group };
	return n;
}

/* NULL: it is as it was. */
static const char *what_is_wrong(const struct place *p)
{
	struct stat st;

	if (lstat(p->path, &st) < 0)
		return "its file was removed";
	if (st.st_dev != p->name->dev || st.st_ino != p->name->ino)
		return "its file was replaced by another";
	return NULL;
}

/* The old listener stays with the servers, for whoever still waits in it. */
static int renew(struct keeper *k, struct place *p)
{
	struct listener_name name;
	int fd, r;

	r = listener_open(p->path, SOCK_STREAM, p->mode, (gid_t)-1, &name, &fd);
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

static const char *cure(const struct place *p)
{
	return !p->ours ? "systemd made it: restart its .socket unit and kekd"
	       : p->with_gid
		       ? "kekd has no right any more to give it its group: restart kekd"
		       : "it cannot be made anew now, which is tried again: see the log; SIGHUP tries "
			 "at once";
}

static void lost(struct keeper *k, struct place *p, size_t i, const char *why, uint64_t now)
{
	bool said = k->sockets_lost[i];

	if (!said || now >= k->sockets_renew_ns[i]) {
		k->sockets_renew_ns[i] = now + RENEW_NS;
		if (!said)
			log_warning("socket %s: %s", p->path, why);
		if (p->ours && !p->with_gid && renew(k, p) == 0) {
			k->sockets_lost[i] = false;
			return;
		}
	}
	if (!said)
		log_error("socket %s: %s, and no new client can connect: %s", p->path, why,
			  cure(p));
	k->sockets_lost[i] = true;
}

void sockets_watch(struct keeper *k, uint64_t now)
{
	struct place p[CONFIG_SOCKETS_MAX + 3];
	size_t n;

	if (now < k->sockets_at_ns || k->stopping)
		return;
	k->sockets_at_ns = now + LOOK_NS;
	n = places(k, p);
	for (size_t i = 0; i < n; i++) {
		const char *why = what_is_wrong(&p[i]);

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

/* Those of systemd have been opened elsewhere: what is there now is what was meant, and nothing is what is lost. */
static void passed_names(struct keeper *k)
{
	struct place p[CONFIG_SOCKETS_MAX + 3];
	size_t n = places(k, p);
	struct stat st;

	for (size_t i = 0; i < n; i++) {
		if (p[i].ours || lstat(p[i].path, &st) < 0)
			continue;
		p[i].name->dev = st.st_dev;
		p[i].name->ino = st.st_ino;
	}
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
	if (r == 0)
		passed_names(k);
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
