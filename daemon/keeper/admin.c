/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket: root, whoever runs the keeper, or a configured group. One fixed-size packet
 * asks, fixed-size packets answer. A peer that stops reading is dropped after a second, and of
 * more peers than there is room for the oldest, which has no request waiting.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "daemon/base/log.h"
#include "daemon/ctl/admin.h"
#include "daemon/keeper/keeper_private.h"

/* SO_PEERGROUPS: the supplementary groups at the time of connect(2), which is where people are. */
static bool peer_in_group(int fd, gid_t gid)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static bool peer_allowed(const struct keeper *k, int fd, const struct op_peer *peer)
{
	const struct config_id *gid = &k->conf->config->admin_gid;

	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return gid->given && (peer->gid == gid->id || peer_in_group(fd, gid->id));
}

/* @fd consumed. The clients stand in the order in which they came. */
static void client_add(struct keeper *k, int fd)
{
	size_t n = 0;

	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		int client = move_fd(k->clients[i]);

		if (client >= 0)
			k->clients[n++] = client;
	}
	if (n == ADMIN_CLIENTS) {
		close(k->clients[0]);
		n--;
		memmove(&k->clients[0], &k->clients[1], n * sizeof(k->clients[0]));
	}
	k->clients[n] = fd;
}

void admin_accept(struct keeper *k)
{
	struct timeval wait = { .tv_sec = 1 };
	_cleanup_close_ int fd = -1;
	struct op_peer peer;

	fd = accept4(k->admin_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || peer_cred(fd, &peer) < 0)
		return;
	if (!peer_allowed(k, fd, &peer)) {
		log_warning("admin socket: refused uid %u, pid %d", peer.uid, peer.pid);
		return;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return;
	client_add(k, move_fd(fd));
}

int admin_end(int fd, int result, const char *text)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_END, .r = result };

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	return admin_send(fd, &reply, sizeof(reply));
}

static void text_put(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

void admin_key_fill(const struct keeper *k, const struct keyset_key *key, struct admin_key *ret)
{
	const struct keeper_counts *counts = counts_of(k, key->rec.id);
	struct admin_key a = { 0 };

	memcpy(a.id, key->rec.id, sizeof(a.id));
	memcpy(a.name, key->rec.name, sizeof(a.name));
	memcpy(a.label, key->rec.label, sizeof(a.label));
	key_id_format(&key->rec, a.key_id);
	text_put(a.kind, sizeof(a.kind), key_kind_name(key->rec.kind));
	text_put(a.state, sizeof(a.state), key_state_name(key->rec.state));
	text_put(a.alg, sizeof(a.alg), key_alg_name(&key->rec));
	a.usable = key->why == 0 && k->sealed < 0 ? -EKEYEXPIRED : key->why;
	a.activation = key->rec.activation;
	a.created = (uint64_t)key->rec.created;
	a.encryptions = counts->encryptions;
	a.decryptions = counts->decryptions;
	a.last_used = (uint64_t)counts_last_used(k, &key->rec);
	*ret = a;
}

int admin_send_key(int fd, const struct admin_key *key)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_KEY, .key = *key };

	return admin_send(fd, &reply, sizeof(reply));
}

/* The name that the first chain writes with, or NULL when its first provider has no keys. */
static const char *writing_name(const struct keeper *k)
{
	const struct encconf_provider *p = &k->conf->enc->items[0].providers[0];

	return p->keys_count > 0 ? p->keys[0].name : NULL;
}

static const char *const root_names[] = {
	[CONFIG_ROOT_EPHEMERAL] = "ephemeral",
	[CONFIG_ROOT_COMMAND] = "command",
	[CONFIG_ROOT_UNSEAL] = "unseal",
	[CONFIG_ROOT_TRUSTED] = "trusted",
};

static unsigned int list_count(const struct list *head)
{
	unsigned int n = 0;

	for (const struct list *i = head->next; i != head; i = i->next)
		n++;
	return n;
}

static int do_status(struct keeper *k, int fd, const struct admin_request *req _unused_)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_END };
	struct admin_status *s = &reply.status;
	const char *name = writing_name(k);
	const struct keyset_key *key;

	text_put(s->version, sizeof(s->version), KEKD_VERSION);
	text_put(s->backend, sizeof(s->backend), keeper_is_kernel(k) ? "kernel" : "openssl");
	text_put(s->ring, sizeof(s->ring), k->ring_text);
	text_put(s->root, sizeof(s->root), root_names[k->conf->config->root_source]);
	text_put(s->socket, sizeof(s->socket), k->conf->config->sockets.v[0]);
	if (k->conf->config->transform.socket)
		text_put(s->transform, sizeof(s->transform), k->conf->config->transform.socket);
	s->keeper_pid = getpid();
	s->workers = (uint32_t)k->n_workers;
	s->workers_serving = (uint32_t)server_serving(k);
	for (size_t i = 0; i < k->n_workers; i++)
		s->server_pids[i] = k->workers[i].pid;
	s->sealed = k->sealed < 0;
	s->server_starts = k->starts;
	s->started = (uint64_t)k->started;
	s->key_limit = k->conf->config->rotation.max_encryptions;
	s->keys = list_count(keyset_list(k->keys));
	if (name && k->sealed == 0 && keyset_active(k->keys, name, &key) == 0)
		key_id_format(&key->rec, s->key_id);
	return admin_send(fd, &reply, sizeof(reply));
}

static int do_key_list(struct keeper *k, int fd, const struct admin_request *req _unused_)
{
	const struct list *head = keyset_list(k->keys);
	struct admin_key key;
	int r = 0;

	for (const struct list *n = head->next; r == 0 && n != head; n = n->next) {
		admin_key_fill(k, list_entry(n, struct keyset_key, link), &key);
		r = admin_send_key(fd, &key);
	}
	return r == 0 ? admin_end(fd, 0, "") : r;
}

static int do_metrics(struct keeper *k, int fd, const struct admin_request *req _unused_)
{
	struct admin_reply reply = { .version = ADMIN_VERSION, .type = ADMIN_END };

	server_metrics(k, &reply.metrics);
	return admin_send(fd, &reply, sizeof(reply));
}

static int (*const verbs[ADMIN_VERBS])(struct keeper *k, int fd,
				       const struct admin_request *req) = {
	[ADMIN_STATUS] = do_status,
	[ADMIN_KEY_LIST] = do_key_list,
	[ADMIN_KEY_CREATE] = admin_key_create,
	[ADMIN_KEY_IMPORT] = admin_key_import,
	[ADMIN_KEY_STAGE] = admin_key_stage,
	[ADMIN_KEY_ACTIVATE] = admin_key_activate,
	[ADMIN_KEY_RETIRE] = admin_key_retire,
	[ADMIN_KEY_REOPEN] = admin_key_reopen,
	[ADMIN_KEY_DESTROY] = admin_key_destroy,
	[ADMIN_KEY_ROTATE] = admin_key_rotate,
	[ADMIN_KEY_ACCEPT] = admin_key_accept,
	[ADMIN_KEY_RELOAD] = admin_key_reload,
	[ADMIN_UNSEAL] = admin_unseal,
	[ADMIN_RECORD_GET] = admin_record_get,
	[ADMIN_RECORD_PUT] = admin_record_put,
	[ADMIN_PROBE] = admin_probe,
	[ADMIN_KEY_VERIFY] = admin_key_verify,
	[ADMIN_METRICS] = do_metrics,
};

/* What changes keys, by the name that kekctl has for it; the audit tells of nothing else. */
static const char *const changes[ADMIN_VERBS] = {
	[ADMIN_KEY_CREATE] = "key create",   [ADMIN_KEY_IMPORT] = "key import",
	[ADMIN_KEY_STAGE] = "key stage",     [ADMIN_KEY_ACTIVATE] = "key activate",
	[ADMIN_KEY_RETIRE] = "key retire",   [ADMIN_KEY_REOPEN] = "key reopen",
	[ADMIN_KEY_DESTROY] = "key destroy", [ADMIN_KEY_ROTATE] = "key rotate",
	[ADMIN_KEY_ACCEPT] = "key accept",   [ADMIN_KEY_RELOAD] = "key reload",
	[ADMIN_UNSEAL] = "unseal",           [ADMIN_RECORD_PUT] = "restore",
};

static int dispatch(struct keeper *k, int fd, const struct admin_request *req)
{
	struct admin_request unread;

	if (!changes[req->verb] || keeper_audit_command(k, fd, changes[req->verb], req->name) == 0)
		return verbs[req->verb](k, fd, req);
	if (req->verb == ADMIN_KEY_IMPORT)
		(void)recv(fd, &unread, sizeof(unread), 0); /* the key is thrown away */
	return admin_end(fd, -EIO, "the audit cannot be written; nothing was done");
}

#define PASSED_MAX ((CMSG_SPACE(sizeof(int)) - CMSG_LEN(0)) / sizeof(int))

/*
 * The one descriptor that may be there, or -1. The buffer for one is, for alignment, one for two: with more
 * than one all are closed.
 */
static int passed_take(struct msghdr *hdr)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);
	int fds[PASSED_MAX];
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -1;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	if (n == 1)
		return fds[0];
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return -1;
}

/* The request, and the one descriptor that may come with it; the caller closes that. */
static int receive(int fd, struct admin_request *ret, int *ret_passed)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(fd, &hdr, MSG_CMSG_CLOEXEC);

	if (n >= 0)
		*ret_passed = passed_take(&hdr);
	return n == (ssize_t)sizeof(*ret) ? 0 : -EPROTO;
}

static int serve_one(struct keeper *k, int fd)
{
	_cleanup_close_ int passed = -1;
	struct admin_request req;
	ssize_t n;
	bool import;
	int r;

	/* A key is behind the request proper: it stays in the socket for import_take(). */
	n = recv(fd, &req, sizeof(req), MSG_PEEK | MSG_TRUNC);
	import = n == (ssize_t)sizeof(struct admin_import) && req.verb == ADMIN_KEY_IMPORT;
	if (!import && (n != (ssize_t)sizeof(req) || req.verb == ADMIN_KEY_IMPORT))
		return -EPROTO;
	if (!import && receive(fd, &req, &passed) < 0)
		return -EPROTO;
	req.name[sizeof(req.name) - 1] = '\0';
	if (req.version != ADMIN_VERSION) {
		/* What is closed unread takes the answer along: unix(7)'s ECONNRESET. */
		if (import)
			(void)recv(fd, &req, sizeof(req), 0);
		admin_end(fd, -EPROTO, "kekctl and kekd are of different versions");
		return -EPROTO; /* closes */
	}
	if (req.verb >= ADMIN_VERBS || !verbs[req.verb])
		return admin_end(fd, -EOPNOTSUPP, "this kekd does not know that command");
	k->passed_fd = passed;
	r = dispatch(k, fd, &req);
	k->passed_fd = -1;
	return r;
}

void admin_serve(struct keeper *k, size_t client)
{
	if (serve_one(k, k->clients[client]) < 0)
		close(move_fd(k->clients[client]));
}

void admin_close(struct keeper *k)
{
	for (size_t i = 0; i < ADMIN_CLIENTS; i++) {
		closep(&k->clients[i]);
		k->clients[i] = -1;
	}
}
