/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server object: listeners, peers' credentials, the bound on connections, and the order in
 * which everything ends. The rules of gRPC are in grpc.c, the moving of bytes in conn.c.
 *
 * Buffers of connections are memory of their own, enough for all that may be: messages take none of it.
 *
 * A peer is judged once, by the credentials the kernel recorded when it connected (SO_PEERCRED,
 * unix(7)); an fd handed on to another process keeps them, as file descriptors do everywhere.
 */
#include <errno.h>

#include <kekd/limits.h>

#include "daemon/base/log.h"
#include "daemon/sys/listener.h"
#include "daemon/wire/conn.h"
#include "daemon/wire/grpc.h"
#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/timers.h"

#define ACCEPT_RETRY_NS (100ULL * 1000 * 1000)
/* No more than one part of the time goes into pauses between connections. */
#define PAUSES_PART 16
/* Connections that were told to go, whose buffers are not back yet. */
#define LEAVING_MAX 64

struct listening {
	struct list link;
	struct grpc_server *server;
	struct ring_op op;
	struct timeq_node retry;
	uint64_t no_pause_until;
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
	struct user *user;
	bool counted; /* among its user's connections */
	struct grpc_session *session;
	struct conn *conn;
};

struct grpc_server {
	struct ring *ring;
	struct secpool *conn_pool;
	struct grpc_limits limits;
	struct timers timers;
	struct grpc_core core;
	struct conn_config conn;
	struct list listening, peers, awake;
	bool stopping;
	struct seldom unlisted, stalled, refused[REFUSALS];
};

/* What was refused, and by which bound. */
static const char *const refusal_texts[REFUSALS] = {
	[REFUSAL_CONNECTIONS] =
		"a connection: its share of limits.connections is used up, and none without a call "
		"has to make room",
	[REFUSAL_DESCRIPTORS] =
		"a connection: there is no descriptor for it; raise LimitNOFILE= of the "
		"service",
	[REFUSAL_MEMORY] =
		"for want of locked memory: its share of limits.lockedMemoryBytes is used up, or "
		"LimitMEMLOCK= of the service is too low",
	[REFUSAL_CALLS] = "a call: its share of limits.inFlight is used up",
	[REFUSAL_ANSWERS] = "a call: it does not take the answers to earlier ones",
	[REFUSAL_FRAMES] =
		"to go on: it sends frames that carry no call, or headers beyond 16 KiB; its "
		"connection ends",
};

static void log_refusal(struct grpc_core *core, enum refusal why, const struct op_peer *peer)
{
	struct grpc_server *server = container_of(core, struct grpc_server, core);
	struct seldom *s = &server->refused[why];

	if (seldom_due(s, now_ns()))
		log_warning("refused uid %u gid %u pid %d %s (%llu since the last such line)",
			    peer->uid, peer->gid, peer->pid, refusal_texts[why], seldom_take(s));
}

/* Connections. */

static void peer_uncount(struct peer *p)
{
	if (p->counted)
		user_give_place(&p->server->core.users, p->user);
	p->counted = false;
}

static void peer_free(struct peer *p)
{
	struct grpc_server *server = p->server;

	grpc_session_free(p->session);
	if (p->conn)
		conn_free(p->conn);
	peer_uncount(p);
	user_put(p->user);
	list_del(&p->link);
	server->core.stats.open_connections--;
	free(p);
}

static void peer_closed(void *ctx)
{
	struct peer *p = ctx;
	const char *why;
	int r;

	if (log_debugging) {
		why = conn_why(p->conn, &r);
		log_debug("connection %d of uid %u gid %u pid %d ended: %s%s%s", p->fd, p->cred.uid,
			  p->cred.gid, p->cred.pid, why, r < 0 ? ": " : "",
			  r < 0 ? errno_text(r) : "");
	}
	peer_free(p);
}

static void peer_stalled(void *ctx, const char *what)
{
	struct peer *p = ctx;

	if (seldom_due(&p->server->stalled, now_ns()))
		log_warning(
			"closing a connection of uid %u gid %u pid %d, which has not %s for %llu s "
			"(%llu since the last such line)",
			p->cred.uid, p->cred.gid, p->cred.pid, what,
			(unsigned long long)(p->server->conn.idle_ns / 1000000000),
			seldom_take(&p->server->stalled));
}

static size_t peer_room(void *ctx, struct span next, bool sending)
{
	const struct peer *p = ctx;

	return grpc_session_room(p->session, next, sending);
}

static void peer_wake(void *ctx)
{
	struct peer *p = ctx;

	if (p->conn)
		conn_wake(p->conn);
}

/*
 * May a connection of @holder give its place up for one of @user? It may for another one of @holder's own, for a user
 * who has none, and for one who is not known (NULL). Otherwise @holder must be left with no fewer than @user then has,
 * or the two would take connections from each other for ever.
 */
static bool gives_way(const struct user *holder, const struct user *user)
{
	if (!user || holder == user || user->connections.used == 0)
		return true;
	return holder->connections.used > user->connections.used + 1;
}

/*
 * True if @a should go before @b, to make room for @user. A connection of the user with the most connections goes
 * first; among equals @user's own; then one that never had a call, or the one whose last call is the oldest. The list
 * is in the order in which they came.
 */
static bool goes_first(const struct peer *a, uint64_t a_since, const struct peer *b,
		       uint64_t b_since, const struct user *user)
{
	if (!b)
		return true;
	if (a->user->connections.used != b->user->connections.used)
		return a->user->connections.used > b->user->connections.used;
	if (a->user != b->user && (a->user == user || b->user == user))
		return a->user == user;
	return a_since < b_since;
}

static bool is_idle(const struct peer *p, uint64_t *ret_since)
{
	return grpc_session_idle(p->session, ret_since);
}

static bool is_lent(const struct peer *p, uint64_t *ret_since)
{
	(void)grpc_session_idle(p->session, ret_since);
	return p->user->lent > 0;
}

/* Which of the connections that @may allows is to make room for one of @user. NULL: none. */
static struct peer *way_find(struct grpc_server *server, const struct user *user,
			     bool (*may)(const struct peer *p, uint64_t *ret_since))
{
	struct peer *first = NULL;
	uint64_t since, first_since = 0;

	list_for_each (n, &server->peers) {
		struct peer *p = list_entry(n, struct peer, link);

		if (!p->counted || !gives_way(p->user, user) || !may(p, &since) ||
		    !goes_first(p, since, first, first_since, user))
			continue;
		first = p;
		first_since = since;
	}
	return first;
}

/* Connections that have been told to go and are not gone. */
static size_t leaving_now(const struct grpc_server *server)
{
	return server->core.stats.open_connections - server->core.users.connections.used;
}

/*
 * Its client is told: a call it sends meanwhile may be sent again. Not if it does not even read, or if the calls that
 * others have open take too long.
 */
static void peer_send_away(struct peer *p)
{
	struct h2 *h2 = grpc_session_h2(p->session);
	uint64_t since;
	bool idle = is_idle(p, &since);

	peer_uncount(p);
	log_debug("connection %d of uid %u gid %u pid %d makes room", p->fd, p->cred.uid,
		  p->cred.gid, p->cred.pid);
	if (idle ? conn_sending(p->conn) : leaving_now(p->server) > LEAVING_MAX / 2)
		conn_close(p->conn, "it made room");
	else if (idle)
		h2_end(h2);
	else
		h2_go_away(h2);
	conn_wake(p->conn);
}

/* A place for a connection of @user; one that is lent, or has no call, may have to give its own up. */
static bool place_take(struct grpc_server *server, struct user *user)
{
	struct users *users = &server->core.users;
	size_t leaving = leaving_now(server);
	struct peer *idle, *lent;

	if (leaving < LEAVING_MAX && user_lacks_place(users, user)) {
		lent = way_find(server, user, is_lent);
		if (lent)
			peer_send_away(lent);
	}
	if (user_take_place(users, user))
		return true;
	/* Who comes faster than those go gets nothing of the buffers that are others' by their share. */
	if (leaving >= LEAVING_MAX)
		return false;
	idle = way_find(server, user, is_idle);
	if (!idle)
		return false;
	peer_send_away(idle);
	user_take_over_place(users, user);
	return true;
}

/* @fd and the place for it consumed on success. */
static int peer_new(const struct listening *l, int fd, const struct op_peer *cred,
		    struct user *user)
{
	struct grpc_server *server = l->server;
	struct peer *p = calloc(1, sizeof(*p));
	const struct grpc_session_config config = {
		.service = l->service,
		.ctx = l->ctx,
		.peer = *cred,
		.user = user,
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
	p->user = user;
	user->refs++;
	list_add_tail(&server->peers, &p->link);
	server->core.stats.open_connections++;
	r = grpc_session_new(&server->core, &config, &p->session);
	if (r == 0)
		r = conn_new(&server->conn, fd, grpc_session_h2(p->session), p, &p->conn);
	if (r < 0) {
		peer_free(p);
		return r;
	}
	p->counted = true;
	server->core.stats.connections++;
	return 0;
}

/* The same, with a place taken for it. */
static int peer_admit(const struct listening *l, int fd, const struct op_peer *cred)
{
	struct grpc_server *server = l->server;
	struct user *user = NULL;
	int r;

	r = users_get(&server->core.users, l, cred->uid, &user);
	if (r < 0)
		return r;
	if (place_take(server, user)) {
		r = peer_new(l, fd, cred, user);
		if (r < 0) {
			user_give_place(&server->core.users, user);
			grpc_core_refuse(&server->core, REFUSAL_MEMORY, cred);
		}
	} else {
		r = -EUSERS;
		grpc_core_refuse(&server->core, REFUSAL_CONNECTIONS, cred);
	}
	user_put(user);
	return r;
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
	if (seldom_due(&server->unlisted, now_ns()))
		log_warning(
			"refused a peer that is not listed: uid %u gid %u pid %d (%llu since the "
			"last such line)",
			cred->uid, cred->gid, cred->pid, seldom_take(&server->unlisted));
	else
		log_turned_away(cred, "it is not listed");
}

/* True if the connection stays. */
static bool accepted(struct listening *l, int accepted_fd)
{
	struct grpc_server *server = l->server;
	_cleanup_close_ int fd = accepted_fd;
	struct op_peer cred;
	int r;

	r = peer_cred(fd, &cred);
	if (r < 0) {
		log_debug("connection refused: its peer is not known: %s", errno_text(r));
		return false;
	}
	if (server->stopping) {
		log_turned_away(&cred, "this server is stopping");
		return false;
	}
	if (!peer_listed(l->peers, &cred)) {
		log_refused(server, &cred);
		return false;
	}
	r = peer_admit(l, fd, &cred);
	if (r < 0) {
		log_turned_away(&cred, errno_text(r));
		return false;
	}
	log_debug("connection %d of uid %u gid %u pid %d accepted", fd, cred.uid, cred.gid,
		  cred.pid);
	(void)move_fd(fd);
	return true;
}

static void listening_free(struct listening *l)
{
	timeq_clear(&l->server->timers.queue, &l->retry);
	list_del(&l->link);
	close(l->fd);
	free(l);
}

/* accept(2) failed, so nobody knows whose connection waits. A connection without a call makes room for it. */
static void accept_later(struct listening *l, int why)
{
	struct grpc_server *server = l->server;
	struct peer *idle = way_find(server, NULL, is_idle);

	log_debug("no connection can be taken: %s; tried again soon", errno_text(why));
	grpc_core_refuse(&server->core,
			 why == -EMFILE || why == -ENFILE ? REFUSAL_DESCRIPTORS : REFUSAL_MEMORY,
			 &(struct op_peer){ .uid = (uid_t)-1, .gid = (gid_t)-1 });
	if (idle)
		peer_send_away(idle);
	timeq_set(&l->server->timers.queue, &l->retry, now_ns() + ACCEPT_RETRY_NS);
}

static bool pause_is_due(struct listening *l)
{
	uint64_t pause = l->server->limits.accept_pause_ns, now = now_ns();

	if (pause == 0 || now < l->no_pause_until)
		return false;
	l->no_pause_until = now + PAUSES_PART * pause;
	return true;
}

static void accept_done(struct ring_op *op, int res, unsigned int flags)
{
	struct listening *l = container_of(op, struct listening, op);
	struct grpc_server *server = l->server;
	bool stays = res >= 0 && accepted(l, res);

	if (flags & RING_MORE)
		return;
	if (server->stopping)
		listening_free(l);
	else if (stays && pause_is_due(l))
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
	server->limits = *limits;
	timers_init(&server->timers, ring);
	r = secpool_new((limits->connections + LEAVING_MAX) * (size_t)KEKD_CONNECTION_LOCKED,
			&server->conn_pool);
	if (r < 0)
		return r;
	r = grpc_core_init(&server->core, &server->limits, pool, &server->timers.queue, now_ns);
	if (r < 0) {
		secpool_free(server->conn_pool);
		return r;
	}
	server->core.refused = log_refusal;
	list_init(&server->listening);
	list_init(&server->peers);
	list_init(&server->awake);
	server->conn = (struct conn_config){
		.room = peer_room,
		.stalled = peer_stalled,
		.ring = ring,
		.pool = server->conn_pool,
		.timers = &server->timers.queue,
		.awake = &server->awake,
		.out_bytes = H2_DRAIN_MIN,
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
	secpool_free(server->conn_pool);
	free(server);
}

bool grpc_server_flush(struct grpc_server *server)
{
	bool more = conn_flush_all(&server->awake);

	timers_arm(&server->timers);
	if (server->stopping && list_empty(&server->peers) && list_empty(&server->listening))
		timers_stop(&server->timers);
	return more;
}

void grpc_server_shutdown(struct grpc_server *server)
{
	if (server->stopping)
		return;
	server->stopping = true;
	list_for_each_safe (n, &server->listening) {
		struct listening *l = list_entry(n, struct listening, link);

		if (ring_op_busy(&l->op))
			ring_cancel(server->ring, &l->op);
		else
			listening_free(l);
	}
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
