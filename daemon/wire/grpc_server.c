/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server object: listeners, peers' credentials, the bound on connections, and the order in
 * which everything ends. The rules of gRPC are in grpc.c, the moving of bytes in conn.c.
 *
 * A peer is judged once, by the credentials the kernel recorded when it connected (SO_PEERCRED,
 * unix(7)); an fd handed on to another process keeps them, as file descriptors do everywhere.
 */
#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/sys/listener.h"
#include "daemon/wire/conn.h"
#include "daemon/wire/grpc.h"
#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/timers.h"

#define ACCEPT_RETRY_NS (100ULL * 1000 * 1000)
#define LOG_EVERY_NS    (10ULL * 1000 * 1000 * 1000)

struct listening {
	struct list link;
	struct grpc_server *server;
	struct ring_op op;
	struct timeq_node retry;
	int fd;
	const struct grpc_service *service;
	const struct grpc_peers *peers;
	void *ctx;
};

/* A connection and its session. */
struct peer {
	struct list link;
	struct grpc_server *server;
	const struct grpc_peers *allowed; /* its listener's */
	struct op_peer cred;
	int fd; /* the connection's number in the log; conn's to use */
	struct grpc_session *session;
	struct conn *conn;
};

struct seldom {
	uint64_t logged_at, unlogged;
};

struct grpc_server {
	struct ring *ring;
	struct secpool *pool;
	struct grpc_limits limits;
	struct timers timers;
	struct grpc_core core;
	struct conn_config conn;
	struct list listening, peers, awake;
	bool stopping;
	struct seldom refused, stalled;
};

/* A line of the log that clients can cause: once in LOG_EVERY_NS, with their number. */
static bool seldom_due(struct seldom *s)
{
	uint64_t now = now_ns();

	s->unlogged++;
	if (s->logged_at != 0 && now - s->logged_at < LOG_EVERY_NS)
		return false;
	s->logged_at = now;
	return true;
}

static unsigned long long seldom_take(struct seldom *s)
{
	unsigned long long n = s->unlogged;

	s->unlogged = 0;
	return n;
}

/* Connections. */

static void peer_free(struct peer *p)
{
	struct grpc_server *server = p->server;

	grpc_session_free(p->session);
	if (p->conn)
		conn_free(p->conn);
	list_del(&p->link);
	server->core.stats.open_connections--;
	free(p);
}

static void log_ended(const struct peer *p)
{
	const char *why;
	int r;

	why = conn_why(p->conn, &r);
	log_debug("connection %d of uid %u gid %u pid %d ended: %s%s%s", p->fd, p->cred.uid,
		  p->cred.gid, p->cred.pid, why, r < 0 ? ": " : "", r < 0 ? errno_text(r) : "");
}

static void peer_closed(void *ctx)
{
	if (log_debugging)
		log_ended(ctx);
	peer_free(ctx);
}

static void peer_stalled(void *ctx, const char *what)
{
	struct peer *p = ctx;

	if (seldom_due(&p->server->stalled))
		log_warning(
			"closing a connection of uid %u gid %u pid %d, which has not %s for %llu s "
			"(%llu since the last such line)",
			p->cred.uid, p->cred.gid, p->cred.pid, what,
			(unsigned long long)(p->server->conn.idle_ns / 1000000000),
			seldom_take(&p->server->stalled));
}

static void peer_wake(void *ctx)
{
	struct peer *p = ctx;

	if (p->conn)
		conn_wake(p->conn);
}

/* @fd consumed on success. */
static int peer_new(const struct listening *l, int fd, const struct op_peer *cred)
{
	struct grpc_server *server = l->server;
	struct peer *p = calloc(1, sizeof(*p));
	const struct grpc_session_config config = {
		.service = l->service,
		.ctx = l->ctx,
		.peer = *cred,
		.wake = peer_wake,
		.wake_ctx = p,
	};
	int r;

	if (!p)
		return -ENOMEM;
	p->server = server;
	p->allowed = l->peers;
	p->cred = *cred;
	p->fd = fd;
	list_add_tail(&server->peers, &p->link);
	server->core.stats.open_connections++;
	r = grpc_session_new(&server->core, &config, &p->session);
	if (r == 0)
		r = conn_new(&server->conn, fd, grpc_session_h2(p->session), p, &p->conn);
	if (r < 0) {
		peer_free(p);
		return r;
	}
	server->core.stats.connections++;
	return 0;
}

/* Accepting. */

static bool peer_listed(const struct grpc_peers *peers, const struct op_peer *cred)
{
	for (size_t i = 0; i < peers->n_uids; i++)
		if (peers->uids[i] == cred->uid)
			return true;
	for (size_t i = 0; i < peers->n_gids; i++)
		if (peers->gids[i] == cred->gid)
			return true;
	return false;
}

static void log_turned_away(const struct op_peer *cred, const char *why)
{
	log_debug("connection of uid %u gid %u pid %d refused: %s", cred->uid, cred->gid, cred->pid,
		  why);
}

static void log_refused(struct grpc_server *server, const struct op_peer *cred)
{
	server->core.stats.refused_peers++;
	if (seldom_due(&server->refused))
		log_warning(
			"refused a peer that is not listed: uid %u gid %u pid %d (%llu since the "
			"last such line)",
			cred->uid, cred->gid, cred->pid, seldom_take(&server->refused));
	else
		log_turned_away(cred, "it is not listed");
}

static void accepted(struct listening *l, int accepted_fd)
{
	struct grpc_server *server = l->server;
	_cleanup_close_ int fd = accepted_fd;
	struct op_peer cred;
	int r;

	r = peer_cred(fd, &cred);
	if (r < 0) {
		log_debug("connection refused: its peer is not known: %s", errno_text(r));
		return;
	}
	if (server->stopping) {
		log_turned_away(&cred, "this server is stopping");
		return;
	}
	if (!peer_listed(l->peers, &cred)) {
		log_refused(server, &cred);
		return;
	}
	if (server->core.stats.open_connections >= server->limits.connections) {
		log_turned_away(&cred, "as many as limits.connections allows are open");
		return;
	}
	r = peer_new(l, fd, &cred);
	if (r < 0) {
		log_turned_away(&cred, errno_text(r));
		return;
	}
	log_debug("connection %d of uid %u gid %u pid %d accepted", fd, cred.uid, cred.gid,
		  cred.pid);
	(void)move_fd(fd);
}

static void listening_free(struct listening *l)
{
	timeq_clear(&l->server->timers.queue, &l->retry);
	list_del(&l->link);
	close(l->fd);
	free(l);
}

static void accept_later(struct listening *l, int why)
{
	log_debug("no connection can be taken: %s; tried again soon", errno_text(why));
	timeq_set(&l->server->timers.queue, &l->retry, now_ns() + ACCEPT_RETRY_NS);
}

static void accept_done(struct ring_op *op, int res, unsigned int flags)
{
	struct listening *l = container_of(op, struct listening, op);
	struct grpc_server *server = l->server;

	if (res >= 0)
		accepted(l, res);
	if (flags & RING_MORE)
		return;
	if (server->stopping)
		listening_free(l);
	else if (res >= 0 && server->limits.accept_pause_ns > 0)
		timeq_set(&server->timers.queue, &l->retry,
			  now_ns() + server->limits.accept_pause_ns);
	else if (res >= 0 || res == -ECONNABORTED)
		ring_accept(server->ring, op, l->fd);
	else /* out of fds or memory: the queue is still there a moment later */
		accept_later(l, res);
}

static void accept_retry(struct timeq_node *node)
{
	struct listening *l = container_of(node, struct listening, retry);

	ring_accept(l->server->ring, &l->op, l->fd);
}

int grpc_server_listen(struct grpc_server *server, int fd, const struct grpc_service *service,
		       const struct grpc_peers *peers, void *ctx)
{
	struct listening *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->retry.fire = accept_retry;
	l->server = server;
	l->op.done = accept_done;
	l->fd = fd;
	l->service = service;
	l->peers = peers;
	l->ctx = ctx;
	list_add_tail(&server->listening, &l->link);
	ring_accept(server->ring, &l->op, fd);
	return 0;
}

void grpc_server_peers_changed(struct grpc_server *server)
{
	list_for_each_safe (n, &server->peers) {
		struct peer *p = list_entry(n, struct peer, link);

		if (peer_listed(p->allowed, &p->cred))
			continue;
		log_refused(server, &p->cred);
		conn_close(p->conn, "its peer is not listed any more");
	}
}

/* The server. */

int grpc_server_new(struct ring *ring, struct secpool *pool, const struct grpc_limits *limits,
		    struct grpc_server **ret)
{
	_cleanup_free_ struct grpc_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->ring = ring;
	server->pool = pool;
	server->limits = *limits;
	timers_init(&server->timers, ring);
	r = grpc_core_init(&server->core, &server->limits, pool, &server->timers.queue, now_ns);
	if (r < 0)
		return r;
	list_init(&server->listening);
	list_init(&server->peers);
	list_init(&server->awake);
	server->conn = (struct conn_config){
		.stalled = peer_stalled,
		.ring = ring,
		.pool = pool,
		.timers = &server->timers.queue,
		.awake = &server->awake,
		.send_queue = limits->send_queue_bytes,
		.idle_ns = limits->idle_ns,
		.closed = peer_closed,
	};
	*ret = move_ptr(server);
	return 0;
}

void grpc_server_free(struct grpc_server *server)
{
	if (!server)
		return;
	grpc_core_done(&server->core);
	free(server);
}

static void finish_if_empty(struct grpc_server *server)
{
	if (server->stopping && list_empty(&server->peers) && list_empty(&server->listening))
		timers_stop(&server->timers);
}

void grpc_server_flush(struct grpc_server *server)
{
	conn_flush_all(&server->awake);
	timers_arm(&server->timers);
	finish_if_empty(server);
}

static void listening_stop(struct listening *l)
{
	if (ring_op_busy(&l->op))
		ring_cancel(l->server->ring, &l->op);
	else
		listening_free(l);
}

void grpc_server_shutdown(struct grpc_server *server)
{
	if (server->stopping)
		return;
	server->stopping = true;
	list_for_each_safe (n, &server->listening)
		listening_stop(list_entry(n, struct listening, link));
	list_for_each_safe (n, &server->peers) {
		struct peer *p = list_entry(n, struct peer, link);
		struct h2 *h2 = grpc_session_h2(p->session);

		if (!h2_greeted(h2) || h2_shutdown(h2) < 0)
			conn_close(p->conn, "the server is stopping");
		conn_wake(p->conn);
	}
	grpc_server_flush(server);
}

/* Closed first, as a shutdown sends what calls have queued. */
void grpc_server_abort(struct grpc_server *server)
{
	list_for_each_safe (n, &server->peers)
		conn_close(list_entry(n, struct peer, link)->conn,
			   "the server ends without waiting");
	grpc_server_shutdown(server);
	grpc_server_flush(server);
}

bool grpc_server_drained(const struct grpc_server *server)
{
	return server->stopping && list_empty(&server->peers) && list_empty(&server->listening) &&
	       timers_idle(&server->timers);
}

void grpc_server_stats(const struct grpc_server *server, struct grpc_stats *ret)
{
	*ret = server->core.stats;
}
