/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server and client over real sockets, on both ring twins. Peers that misbehave are plain sockets
 * that this file writes to by hand. Everything runs in one thread: nothing waits but the ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/sys/ring.h"
#include "daemon/wire/client.h"
#include "daemon/wire/conn.h"
#include "daemon/wire/grpc.h"
#include "daemon/wire/grpc_impl.h"
#include "tests/harness/ktest.h"
#include "tests/support/h2_frames.h"
#include "tests/support/listen.h"

#define SECOND 1000000000ULL
#define MS     1000000ULL
#define KEPT   128
#define COSTLY 512

struct svc {
	struct grpc_server *server;
	struct grpc_call *kept[KEPT];
	unsigned int n_kept, served, cancelled;
	struct secbuf held;
	struct {
		struct grpc_call *call;
		struct secbuf notes;
	} costly[COSTLY];
	unsigned int n_costly;
};

/* How one call of the client ended. */
struct result {
	bool done;
	enum grpc_status status;
	char text[GRPC_TEXT_MAX];
	struct secbuf msg;
};

FIXTURE(wire)
{
	struct ring *ring;
	struct secpool *pool, *client_pool;
	struct grpc_limits limits;
	struct svc svc;
	struct grpc_client *client;
	char dir[32], path[64];
	uid_t uid;
	struct grpc_peers peers;
	struct result results[KEPT];
	unsigned int n_results;
};

FIXTURE_VARIANT(wire)
{
	enum ring_kind kind;
};

FIXTURE_VARIANT_ADD(wire, epoll){ .kind = RING_EPOLL };
FIXTURE_VARIANT_ADD(wire, io_uring){ .kind = RING_IO_URING };

typedef struct ktest_data_of_wire fix;

/* The service. */

static void svc_now(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct svc *s = ctx;

	s->served++;
	grpc_call_reply(call, span_of(msg->data, msg->len));
}

static void svc_keep(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct svc *s = ctx;

	(void)msg;
	s->served++;
	s->kept[s->n_kept++ % KEPT] = call;
}

static void svc_hold(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct svc *s = ctx;

	s->held = secbuf_move(msg);
	svc_keep(ctx, call, msg);
}

/* With what a KMS call keeps beside its message. */
static void svc_costly(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct svc *s = ctx;

	(void)msg;
	if (secpool_get(grpc_call_pool(call), 1000, &s->costly[s->n_costly].notes) < 0) {
		grpc_call_overloaded(call, REFUSAL_MEMORY);
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory");
		return;
	}
	s->costly[s->n_costly++].call = call;
}

static void svc_big(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	static uint8_t big[65536];
	struct svc *s = ctx;

	(void)msg;
	s->served++;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	grpc_call_reply(call, span_of(big, sizeof(big)));
}

static void svc_peer(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	const struct op_peer *peer = grpc_call_peer(call);
	char text[64];

	(void)ctx;
	(void)msg;
	snprintf(text, sizeof(text), "%d %u %u", peer->pid, peer->uid, peer->gid);
	grpc_call_reply(call, span_str(text));
}

static void svc_cancel(void *ctx, struct grpc_call *call)
{
	struct svc *s = ctx;

	s->cancelled++;
	for (unsigned int i = 0; i < KEPT; i++)
		if (s->kept[i] == call)
			s->kept[i] = NULL;
}

static const struct grpc_method methods[] = {
	{ "/t.T/Now", svc_now },
	{ "/t.T/Keep", svc_keep },
	{ "/t.T/Big", svc_big },
	{ "/t.T/Peer", svc_peer },
	{ "/t.T/Hold", svc_hold },
	{ "/t.T/Costly", svc_costly },
	{ NULL, NULL },
};
static const struct grpc_service service = { .methods = methods, .cancel = svc_cancel };

static void answer_kept(struct svc *s, const char *text)
{
	for (unsigned int i = 0; i < KEPT; i++)
		if (s->kept[i])
			grpc_call_reply(move_ptr(s->kept[i]), span_str(text));
	s->n_kept = 0;
}

/* Fixture. */

static void serve(fix *f, struct svc *svc)
{
	ASSERT_OK(grpc_server_new(f->ring, f->pool, &f->limits, &svc->server));
	ASSERT_OK(grpc_server_listen(svc->server, listen_at(f->path), &service, &f->peers, svc));
}

static void flush(fix *f)
{
	if (f->svc.server)
		grpc_server_flush(f->svc.server);
	if (f->client)
		grpc_client_flush(f->client);
}

static void turn(fix *f, bool nowait)
{
	ASSERT_OK(ring_turn(f->ring, nowait));
	flush(f);
}

/* Turn until @cond. What is waited for always ends up in the ring: no busy waiting. */
#define UNTIL(f, cond)                  \
	do {                            \
		flush(f);               \
		while (!(cond))         \
			turn(f, false); \
	} while (0)

static struct grpc_stats stats_of(fix *f)
{
	struct grpc_stats stats;

	grpc_server_stats(f->svc.server, &stats);
	return stats;
}

static void end_server(fix *f, struct svc *svc)
{
	grpc_server_abort(svc->server);
	UNTIL(f, grpc_server_drained(svc->server));
	grpc_server_free(move_ptr(svc->server));
}

static void end_client(fix *f)
{
	grpc_client_stop(f->client);
	UNTIL(f, grpc_client_idle(f->client));
	grpc_client_free(move_ptr(f->client));
}

FIXTURE_SETUP(wire)
{
	const char *why = "io_uring is not available";
	int r = ring_new(variant->kind, 64, &self->ring);
	struct grpc_client_config config;

	SKIP_UNLESS("io_uring", r == 0, why);
	strcpy(self->dir, "/tmp/kekd-wire-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(self->dir));
	snprintf(self->path, sizeof(self->path), "%s/s", self->dir);
	self->uid = geteuid();
	self->peers = (struct grpc_peers){ .uids = &self->uid, .n_uids = 1 };
	self->limits = grpc_limits_default;
	ASSERT_OK(secpool_new(64U << 20, &self->pool));
	ASSERT_OK(secpool_new(32U << 20, &self->client_pool));
	serve(self, &self->svc);
	config = (struct grpc_client_config){
		.ring = self->ring,
		.pool = self->client_pool,
		.path = self->path,
		.message_bytes = 65536,
		.calls = KEPT,
		.idle_ns = 10 * SECOND,
	};
	ASSERT_OK(grpc_client_new(&config, &self->client));
}

FIXTURE_TEARDOWN(wire)
{
	if (self->client)
		end_client(self);
	if (self->svc.server)
		end_server(self, &self->svc);
	for (unsigned int i = 0; i < KEPT; i++)
		secbuf_release(&self->results[i].msg);
	EXPECT_EQ(0, secpool_used(self->pool));
	EXPECT_EQ(0, secpool_used(self->client_pool));
	secpool_free(self->pool);
	secpool_free(self->client_pool);
	ring_free(self->ring);
	unlink(self->path);
	rmdir(self->dir);
}

/* The client's side of calls. */

static void on_done(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct result *r = ctx;

	EXPECT_FALSE(r->done);
	r->done = true;
	r->status = status;
	snprintf(r->text, sizeof(r->text), "%s", text);
	r->msg = secbuf_move(msg);
}

static struct result *start(fix *f, const char *method, const void *msg, size_t len,
			    uint64_t timeout, unsigned int flags, struct grpc_client_call **ret)
{
	struct result *r = &f->results[f->n_results++];

	ASSERT_LE(f->n_results, KEPT);
	ASSERT_OK(grpc_client_call(f->client, method, span_of(msg, len), timeout, flags, on_done, r,
				   ret));
	return r;
}

static struct result *call(fix *f, const char *method, const void *msg, size_t len)
{
	struct result *r = start(f, method, msg, len, 0, 0, NULL);

	UNTIL(f, r->done);
	return r;
}

static void works(fix *f)
{
	struct result *r = call(f, "/t.T/Now", "still here", 10);

	EXPECT_EQ(GRPC_OK, r->status);
	EXPECT_MEMEQ("still here", 10, r->msg.data, r->msg.len);
}

/* Peers made by hand. */

static int raw_connect(fix *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, f->path, sizeof(f->path));
	ASSERT_EQ(0, connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	return fd;
}

/* Send all of @b; the server may close meanwhile. False if it did. */
static bool raw_send(fix *f, int fd, struct h2f_buf *b)
{
	size_t off = 0;

	while (off < b->len) {
		ssize_t n = send(fd, b->data + off, b->len - off, MSG_NOSIGNAL);

		if (n > 0)
			off += (size_t)n;
		else if (errno != EAGAIN)
			return false;
		turn(f, true);
	}
	b->len = 0;
	return true;
}

/* Has the server closed this connection? Takes what it had sent. */
static bool raw_closed(int fd)
{
	uint8_t bytes[4096];
	ssize_t n;

	do
		n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

/* An idle connection that has said hello, as the server knows it. */
static int raw_greeted(fix *f)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	int fd = raw_connect(f);

	h2f_hello(&b);
	ASSERT_TRUE(raw_send(f, fd, &b));
	return fd;
}

/* A connection without a server around it. */

struct partial {
	struct timeq timers;
	struct list awake;
	struct grpc_core core;
	struct user *user;
	struct grpc_session *session;
	struct conn *conn;
};

static void partial_closed(void *ctx)
{
	struct partial *p = ctx;

	grpc_session_free(move_ptr(p->session));
	user_put(p->user);
	conn_free(move_ptr(p->conn));
}

/* Calls that go well. */

TEST_F(wire, unary)
{
	works(self);
	EXPECT_EQ(1, stats_of(self).connections);
}

TEST_F(wire, peer_credentials)
{
	struct result *r = call(self, "/t.T/Peer", "", 0);
	char expected[64];

	snprintf(expected, sizeof(expected), "%d %u %u", getpid(), geteuid(), getegid());
	EXPECT_MEMEQ(expected, strlen(expected), r->msg.data, r->msg.len);
}

TEST_F(wire, parallel_on_one_connection)
{
	uint8_t msg[64] = { 0 };

	for (unsigned int i = 0; i < 64; i++) {
		msg[0] = (uint8_t)i;
		start(self, "/t.T/Keep", msg, i, 3 * SECOND, 0, NULL);
	}
	UNTIL(self, self->svc.n_kept == 64);
	answer_kept(&self->svc, "all");
	for (unsigned int i = 0; i < 64; i++) {
		UNTIL(self, self->results[i].done);
		EXPECT_EQ(GRPC_OK, self->results[i].status);
	}
	EXPECT_EQ(1, stats_of(self).connections);
	EXPECT_EQ(64, stats_of(self).replies);
}

TEST_F(wire, large_answers)
{
	uint8_t expected[65536];

	for (size_t k = 0; k < sizeof(expected); k++)
		expected[k] = (uint8_t)(k * 7);
	for (unsigned int i = 0; i < 64; i++)
		start(self, "/t.T/Big", "", 0, 0, 0, NULL);
	for (unsigned int i = 0; i < 64; i++) {
		const struct result *r = &self->results[i];

		UNTIL(self, r->done);
		ASSERT_EQ(GRPC_OK, r->status);
		ASSERT_MEMEQ(expected, sizeof(expected), r->msg.data, r->msg.len);
	}
}

/*
 * A socket that takes a few kB at a time: what one send did not take comes with the next. A server's
 * own sockets take the 16 KiB of a send whole or not at all.
 */
TEST_F(wire, partial_sends)
{
	static const uint8_t window[6] = { 0, 4, 0, 2, 0, 0 };
	struct grpc_session_config session = { .service = &service, .ctx = &self->svc };
	struct partial p = { .timers = { 0 } };
	const struct conn_config config = {
		.ring = self->ring,
		.pool = self->pool,
		.timers = &p.timers,
		.awake = &p.awake,
		.out_bytes = H2_DRAIN_MIN,
		.send_queue = 1 << 20,
		.idle_ns = SECOND,
		.closed = partial_closed,
	};
	_cleanup_(h2f_release) struct h2f_buf b = { 0 }, got = { 0 };
	int sv[2], small = 4608;
	size_t body = 0, off = 0;
	struct h2f_seen seen;

	list_init(&p.awake);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv));
	ASSERT_EQ(0, setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	ASSERT_OK(grpc_core_init(&p.core, &self->limits, self->pool, &p.timers, now_ns));
	ASSERT_OK(users_get(&p.core.users, NULL, 0, &p.user));
	session.user = p.user;
	ASSERT_OK(grpc_session_new(&p.core, &session, &p.session));
	ASSERT_OK(conn_new(&config, sv[0], grpc_session_h2(p.session), &p, &p.conn));
	h2f_hello(&b);
	h2f_frame(&b, H2F_SETTINGS, 0, 0, window, sizeof(window));
	h2f_head(&b, 4, H2F_WINDOW_UPDATE, 0, 0);
	h2f_u32(&b, 1 << 20);
	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Big"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_EQ((ssize_t)b.len, send(sv[1], b.data, b.len, 0));
	while (body < 65541) {
		uint8_t bytes[3000];
		ssize_t n = recv(sv[1], bytes, sizeof(bytes), 0);

		if (n > 0)
			h2f_bytes(&got, bytes, (size_t)n);
		while (h2f_next(got.data, got.len, &off, &seen))
			body += seen.type == H2F_DATA ? seen.len : 0;
		ASSERT_OK(ring_turn(self->ring, true));
		conn_flush_all(&p.awake);
	}
	EXPECT_EQ(65541, body);
	close(sv[1]);
	while (p.conn) {
		ASSERT_OK(ring_turn(self->ring, true));
		conn_flush_all(&p.awake);
	}
	grpc_core_done(&p.core);
}

/* What one read brings is answered before the next: client and server work at once. */
TEST_F(wire, answers_before_all_is_read)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = raw_greeted(self);
	const unsigned int calls = 100;

	for (unsigned int i = 0; i < calls; i++) {
		h2f_call_headers(&b, 1 + 2 * i, 0, &H2F_CALL(.path = "/t.T/Now"));
		h2f_message(&b, 1 + 2 * i, H2F_END_STREAM, "x", 1);
	}
	ASSERT_LT(8192, b.len);
	ASSERT_GT(16384, b.len);
	ASSERT_EQ((ssize_t)b.len, send(fd, b.data, b.len, 0));
	UNTIL(self, self->svc.served > 0);
	EXPECT_LT(self->svc.served, calls);
	EXPECT_EQ(self->svc.served, stats_of(self).replies);
	UNTIL(self, self->svc.served == calls);
}

static uint64_t completions(fix *f)
{
	struct ring_stats stats;

	ring_stats(f->ring, &stats);
	return stats.completions;
}

/* The rest of a long frame is read at once: there is nothing to answer before. */
TEST_F(wire, long_frames_in_few_reads)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = raw_greeted(self);
	static const uint8_t zeros[16000];
	uint64_t before;

	for (int i = 0; i < 4; i++)
		h2f_frame(&b, (enum h2f_type)0x77, 0, 0, zeros, sizeof(zeros));
	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Now"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	before = completions(self);
	ASSERT_EQ((ssize_t)b.len, send(fd, b.data, b.len, 0));
	UNTIL(self, self->svc.served > 0);
	EXPECT_GE(8, completions(self) - before);
}

TEST_F(wire, refused_method)
{
	struct result *r = call(self, "/t.T/Nope", "", 0);

	EXPECT_EQ(GRPC_UNIMPLEMENTED, r->status);
	EXPECT_STREQ("unknown service or method", r->text);
}

TEST_F(wire, large_message_refused_and_the_connection_lives)
{
	static uint8_t big[100000];
	struct result *r = call(self, "/t.T/Now", big, sizeof(big));

	EXPECT_EQ(GRPC_RESOURCE_EXHAUSTED, r->status);
	works(self);
	EXPECT_EQ(1, stats_of(self).connections);
}

/* The blocking client lives in another process: here there is only one thread. */
TEST_F(wire, blocking_client)
{
	pid_t pid;
	int status = -1;

	/* Before the fork: locked memory does not come along. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		struct secpool *pool = NULL;
		struct grpc_outcome o;
		int bad = 1;

		if (secpool_new(1U << 20, &pool) == 0 &&
		    grpc_client_call_sync(self->path, "/t.T/Now", span_str("sync"), 5 * SECOND,
					  pool, &o) == 0) {
			bad = o.status != GRPC_OK ||
			      !span_equal(span_str("sync"), span_of(o.msg.data, o.msg.len));
			secbuf_release(&o.msg);
		}
		secpool_free(pool);
		_exit(bad);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		turn(self, true);
		sched_yield();
	}
	EXPECT_EQ(0, status);
}

TEST_F(wire, blocking_client_without_a_server)
{
	struct grpc_outcome o;

	EXPECT_ERR(-EINVAL, grpc_client_call_sync("@abstract", "/t.T/Now", SPAN_NULL, SECOND,
						  self->client_pool, &o));
	ASSERT_OK(grpc_client_call_sync("/nonexistent/socket", "/t.T/Now", SPAN_NULL, SECOND,
					self->client_pool, &o));
	EXPECT_EQ(GRPC_UNAVAILABLE, o.status);
	EXPECT_STREQ("cannot connect: ENOENT (No such file or directory)", o.text);
}

/* Cancellation and deadlines. */

TEST_F(wire, cancelled_while_pending)
{
	struct grpc_client_call *c = NULL;
	struct result *r = start(self, "/t.T/Keep", "x", 1, 0, 0, &c);

	UNTIL(self, self->svc.n_kept == 1);
	grpc_client_cancel(c);
	UNTIL(self, self->svc.cancelled == 1);
	EXPECT_FALSE(r->done);
	EXPECT_EQ(0, stats_of(self).open_calls);
	works(self);
}

/* The session has the request on loan; it is given back when the stream is closed, however much of it was sent. */
TEST_F(wire, cancelled_half_sent)
{
	static const char large[48 * 1024] = "x";
	struct grpc_client_call *c[3] = { 0 };

	works(self);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		start(self, "/t.T/Keep", large, sizeof(large), 0, 0, &c[i]);
	grpc_client_flush(self->client);
	EXPECT_LT(3 * sizeof(large), secpool_used(self->client_pool));
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		grpc_client_cancel(c[i]);
	works(self);
	UNTIL(self,
	      stats_of(self).open_calls == 0 && secpool_used(self->client_pool) < sizeof(large));
	works(self);
}

TEST_F(wire, deadline_of_the_client)
{
	struct result *r = start(self, "/t.T/Keep", "x", 1, 20 * MS, 0, NULL);

	UNTIL(self, r->done && self->svc.cancelled == 1);
	EXPECT_EQ(GRPC_DEADLINE_EXCEEDED, r->status);
	works(self);
}

TEST_F(wire, deadline_kept_by_the_server)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = raw_greeted(self);

	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Keep", .timeout = "20m"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(self, fd, &b));
	UNTIL(self, self->svc.cancelled == 1);
	EXPECT_EQ(1, stats_of(self).failures);
	EXPECT_FALSE(raw_closed(fd));
}

TEST_F(wire, lost_connection_cancels)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	int fd = raw_greeted(self);

	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Keep"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(self, fd, &b));
	UNTIL(self, self->svc.n_kept == 1);
	close(fd);
	UNTIL(self, self->svc.cancelled == 1);
	UNTIL(self, stats_of(self).open_connections == 0);
}

/* Shutdown. */

TEST_F(wire, shutdown_finishes_calls_in_flight)
{
	for (unsigned int i = 0; i < 3; i++)
		start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);
	UNTIL(self, self->svc.n_kept == 3);
	grpc_server_shutdown(self->svc.server);
	/* The notice goes out, its PING comes back, the final GOAWAY goes out. */
	for (unsigned int i = 0; i < 50; i++)
		turn(self, true);
	EXPECT_FALSE(grpc_server_drained(self->svc.server));
	EXPECT_EQ(3, stats_of(self).open_calls);
	answer_kept(&self->svc, "in time");
	UNTIL(self, grpc_server_drained(self->svc.server));
	for (unsigned int i = 0; i < 3; i++) {
		UNTIL(self, self->results[i].done);
		EXPECT_EQ(GRPC_OK, self->results[i].status);
	}
	EXPECT_EQ(0, self->svc.cancelled);
}

TEST_F(wire, shutdown_with_nobody_there)
{
	_cleanup_close_ int idle = raw_greeted(self), mute = raw_connect(self);

	UNTIL(self, stats_of(self).open_connections == 2);
	grpc_server_shutdown(self->svc.server);
	/* The one that never said hello goes at once, the other when it leaves. */
	UNTIL(self, stats_of(self).open_connections == 1);
	EXPECT_TRUE(raw_closed(mute));
	close(move_fd(idle));
	UNTIL(self, grpc_server_drained(self->svc.server));
}

TEST_F(wire, abort_cancels)
{
	start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);
	UNTIL(self, self->svc.n_kept == 1);
	grpc_server_shutdown(self->svc.server);
	turn(self, true);
	grpc_server_abort(self->svc.server);
	UNTIL(self, grpc_server_drained(self->svc.server));
	EXPECT_EQ(1, self->svc.cancelled);
	UNTIL(self, self->results[0].done);
	EXPECT_EQ(GRPC_UNAVAILABLE, self->results[0].status);
}

/* What has not been sent is thrown away: nobody asked for an orderly end before. */
TEST_F(wire, abort_sends_nothing)
{
	struct result *r = start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);

	UNTIL(self, self->svc.n_kept == 1);
	for (unsigned int i = 0; i < 10; i++)
		turn(self, true); /* until no earlier send is in the way */
	answer_kept(&self->svc, "too late");
	grpc_server_abort(self->svc.server);
	UNTIL(self, grpc_server_drained(self->svc.server) && r->done);
	EXPECT_EQ(GRPC_UNAVAILABLE, r->status);
}

/* Peers that are slow, too many, or not welcome. */

static void restart(fix *f)
{
	end_server(f, &f->svc);
	serve(f, &f->svc);
}

/*
 * Asks for ten times what may wait and reads nothing: the server stops reading it, keeps a bounded
 * amount of memory, and closes the connection after idle_ns.
 */
TEST_F(wire, slow_reader)
{
	static const uint8_t window[6] = { 0, 4, 0x7f, 0xff, 0xff, 0xff };
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	unsigned int asked = 0;

	self->limits.idle_ns = 100 * MS;
	restart(self);
	fd = raw_greeted(self);
	h2f_frame(&b, H2F_SETTINGS, 0, 0, window, sizeof(window));
	h2f_head(&b, 4, H2F_WINDOW_UPDATE, 0, 0);
	h2f_u32(&b, 0x7fff0000 - 65535);
	ASSERT_TRUE(raw_send(self, fd, &b));
	for (asked = 0; asked < 100; asked++) {
		h2f_call_headers(&b, 1 + 2 * asked, 0, &H2F_CALL(.path = "/t.T/Big"));
		h2f_message(&b, 1 + 2 * asked, H2F_END_STREAM, "x", 1);
		ASSERT_TRUE(raw_send(self, fd, &b));
		EXPECT_LE(secpool_used(self->pool), 4U << 20);
	}
	UNTIL(self, stats_of(self).open_connections == 0);
	EXPECT_LT(self->svc.served, asked);
	EXPECT_TRUE(raw_closed(fd));
	works(self);
}

/*
 * All the calls that a connection may have open, answered, and the client's windows closed: what it has
 * not read yet is no reason to close a connection that keeps to the limits.
 */
TEST_F(wire, all_answers_wait_for_a_window)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	char text[200] = "";

	self->limits.streams = 8192;
	self->limits.calls =
		8 * self->limits.streams; /* a connection alone has a seventh of them */
	restart(self);
	fd = raw_greeted(self);
	h2f_frame(&b, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	ASSERT_TRUE(raw_send(self, fd, &b));
	for (unsigned int asked = 0; asked < self->limits.streams; asked++) {
		h2f_call_headers(&b, 1 + 2 * asked, 0, &H2F_CALL(.path = "/t.T/Now"));
		h2f_message(&b, 1 + 2 * asked, H2F_END_STREAM, text, sizeof(text));
		ASSERT_TRUE(raw_send(self, fd, &b));
		ASSERT_FALSE(raw_closed(fd));
	}
	UNTIL(self, self->svc.served == self->limits.streams);
	EXPECT_EQ(1, stats_of(self).open_connections);
}

static void some_turns(fix *f)
{
	for (unsigned int i = 0; i < 20; i++)
		turn(f, true);
}

/* More calls than a connection's share, all sent at once: the rest waits for answers, and none is refused. */
TEST_F(wire, calls_beyond_the_share_wait)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	const unsigned int calls = 40;
	unsigned int most = 0;

	self->limits.calls = 64;
	restart(self);
	fd = raw_greeted(self);
	for (unsigned int i = 0; i < calls; i++) {
		h2f_call_headers(&b, 1 + 2 * i, 0, &H2F_CALL(.path = "/t.T/Keep"));
		h2f_message(&b, 1 + 2 * i, H2F_END_STREAM, "x", 1);
	}
	ASSERT_TRUE(raw_send(self, fd, &b));
	while (self->svc.served < calls) {
		some_turns(self);
		ASSERT_LT(0, self->svc.n_kept);
		if (self->svc.n_kept > most)
			most = self->svc.n_kept;
		answer_kept(&self->svc, "in its turn");
	}
	EXPECT_EQ(9, most);
	answer_kept(&self->svc, "the last");
	EXPECT_EQ(calls, stats_of(self).replies);
	EXPECT_EQ(0, stats_of(self).refusals[REFUSAL_CALLS]);
	works(self);
}

static void raw_begin(struct h2f_buf *b, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		h2f_call_headers(b, 1 + 2 * i, 0, &H2F_CALL(.path = "/t.T/Keep"));
}

static void raw_finish(struct h2f_buf *b, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++)
		h2f_message(b, 1 + 2 * i, H2F_END_STREAM, "x", 1);
}

/* A share that is used up keeps no message back of a call that has begun. */
TEST_F(wire, calls_that_have_begun_go_on)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	const unsigned int share = 9;

	self->limits.calls = 64;
	restart(self);
	fd = raw_greeted(self);
	raw_begin(&b, 0, share);
	raw_finish(&b, 0, share);
	ASSERT_TRUE(raw_send(self, fd, &b));
	some_turns(self);
	EXPECT_EQ(share, self->svc.served);
	answer_kept(&self->svc, "all at once");
	EXPECT_EQ(share, stats_of(self).replies);
	works(self);
}

static void some_time(fix *f, uint64_t ns)
{
	for (uint64_t began = now_ns(); now_ns() - began < ns; usleep(1000))
		turn(f, true);
}

/* No call is late whose message is kept back behind another that waits for room, twice and for longer than it has. */
TEST_F(wire, a_message_that_waits_is_not_late)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	const unsigned int share = 9, calls = 11;

	self->limits.calls = 64;
	self->limits.idle_ns = 2 * SECOND;
	restart(self);
	fd = raw_greeted(self);
	raw_begin(&b, 0, share);
	raw_finish(&b, 0, 2);
	raw_begin(&b, share, calls);
	raw_finish(&b, 2, calls);
	ASSERT_TRUE(raw_send(self, fd, &b));
	some_time(self, 1100 * MS);
	EXPECT_EQ(2, self->svc.served);
	EXPECT_EQ(share, stats_of(self).open_calls);
	grpc_call_reply(move_ptr(self->svc.kept[0]), span_str("in its turn"));
	some_time(self, 1100 * MS);
	EXPECT_EQ(2, self->svc.served);
	EXPECT_EQ(share, stats_of(self).open_calls);
	answer_kept(&self->svc, "in its turn");
	some_turns(self);
	EXPECT_EQ(calls, self->svc.served);
	answer_kept(&self->svc, "the last");
	EXPECT_EQ(calls, stats_of(self).replies);
	EXPECT_EQ(0, stats_of(self).failures);
	works(self);
}

/*
 * The calls of one connection wait for messages behind more calls than it may have, and another connection is never
 * idle: those are refused in the end, and the others go on.
 */
TEST_F(wire, nothing_waits_for_ever)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1, busy = -1;
	const unsigned int share = 9, more = 100;

	self->limits.calls = 64;
	self->limits.idle_ns = SECOND;
	restart(self);
	busy = raw_greeted(self);
	raw_begin(&b, 0, 1);
	raw_finish(&b, 0, 1);
	ASSERT_TRUE(raw_send(self, busy, &b));
	UNTIL(self, self->svc.served == 1);
	fd = raw_greeted(self);
	raw_begin(&b, 0, share + more);
	raw_finish(&b, 0, share);
	ASSERT_TRUE(raw_send(self, fd, &b));
	some_turns(self);
	EXPECT_EQ(1, self->svc.served);
	UNTIL(self, self->svc.served == 1 + share);
	EXPECT_EQ(more, stats_of(self).failures);
	EXPECT_EQ(more, stats_of(self).refusals[REFUSAL_CALLS]);
	answer_kept(&self->svc, "all of them");
	EXPECT_EQ(1 + share, stats_of(self).replies);
	works(self);
}

/* All that begins comes first, and then the messages: so small that what arrives of a call says little of what it takes. */
static void raw_costly(fix *f, int fd, unsigned int calls)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };

	for (unsigned int i = 0; i < calls; i++)
		h2f_call_headers(&b, 1 + 2 * i, 0, &H2F_CALL(.path = "/t.T/Costly"));
	for (unsigned int i = 0; i < calls; i++)
		h2f_message(&b, 1 + 2 * i, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(f, fd, &b));
}

/* All that the service has has come by now: some, or there is none to wait for. */
static unsigned int answer_costly(fix *f)
{
	struct svc *s = &f->svc;
	unsigned int n = s->n_costly;

	for (unsigned int i = 0; i < n; i++) {
		secbuf_release(&s->costly[i].notes);
		grpc_call_reply(s->costly[i].call, span_str("in its turn"));
	}
	s->n_costly = 0;
	return n;
}

/* In memory for some of them only, the calls of four connections are answered one after the other. */
TEST_F(wire, memory_beyond_the_share_is_waited_for)
{
	const unsigned int each = COSTLY / 4;

	self->limits.calls = 8 * COSTLY;
	for (size_t kib = 640; kib <= 8192; kib += kib / 8) {
		unsigned int most = 0, n = 1;
		int fds[4];

		end_server(self, &self->svc);
		secpool_free(self->pool);
		ASSERT_OK(secpool_new(kib << 10, &self->pool));
		serve(self, &self->svc);
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i] = raw_greeted(self);
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			raw_costly(self, fds[i], each);
		while (n > 0) {
			some_turns(self);
			n = answer_costly(self);
			most = n > most ? n : most;
		}
		EXPECT_EQ(COSTLY, stats_of(self).replies);
		EXPECT_EQ(0, stats_of(self).refusals[REFUSAL_MEMORY]);
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
	}
}

/* A peer that goes away while its calls wait is missed when there is room for them again. */
TEST_F(wire, gone_while_its_calls_wait)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;

	self->limits.calls = 8;
	restart(self);
	fd = raw_greeted(self);
	for (unsigned int i = 0; i < 5; i++) {
		h2f_call_headers(&b, 1 + 2 * i, 0, &H2F_CALL(.path = "/t.T/Keep"));
		h2f_message(&b, 1 + 2 * i, H2F_END_STREAM, "x", 1);
	}
	ASSERT_TRUE(raw_send(self, fd, &b));
	some_turns(self);
	closep(&fd);
	some_turns(self);
	EXPECT_EQ(2, self->svc.served);
	EXPECT_EQ(1, stats_of(self).open_connections);
	answer_kept(&self->svc, "nobody reads it");
	UNTIL(self, stats_of(self).open_connections == 0);
	works(self);
}

TEST_F(wire, slow_writer)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int honest = -1, half = -1, mute = -1, block = -1;

	self->limits.idle_ns = 100 * MS;
	restart(self);
	honest = raw_greeted(self);
	mute = raw_connect(self);
	half = raw_greeted(self);
	h2f_head(&b, 100, H2F_DATA, 0, 1);
	ASSERT_TRUE(raw_send(self, half, &b));
	block = raw_greeted(self);
	h2f_head(&b, 0, H2F_HEADERS, 0, 1);
	ASSERT_TRUE(raw_send(self, block, &b));
	UNTIL(self, stats_of(self).open_connections == 1);
	EXPECT_TRUE(raw_closed(half));
	EXPECT_TRUE(raw_closed(mute));
	EXPECT_TRUE(raw_closed(block));
	EXPECT_FALSE(raw_closed(honest));
}

/* One byte of a frame whenever the server has seen the last one buys no time. */
TEST_F(wire, dribbling_writer)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	uint64_t last = 0, sent = 0;

	self->limits.idle_ns = 50 * MS;
	restart(self);
	fd = raw_greeted(self);
	h2f_head(&b, 16000, (enum h2f_type)0x77, 0, 0);
	UNTIL(self, stats_of(self).open_connections == 1);
	while (raw_send(self, fd, &b) && stats_of(self).open_connections > 0) {
		if (now_ns() - last > MS) {
			h2f_byte(&b, 0);
			last = now_ns();
			sent++;
		}
		turn(self, true);
	}
	/* Bytes that come more often than idle_ns, and yet it did not get to the end of its frame. */
	EXPECT_LT(sent, 16000);
	EXPECT_EQ(0, stats_of(self).open_connections);
}

TEST_F(wire, refused_peer)
{
	const uid_t other = geteuid() + 1;
	struct result *r;
	_cleanup_close_ int fd = -1;

	self->peers.uids = &other;
	restart(self);
	fd = raw_connect(self);
	UNTIL(self, stats_of(self).refused_peers == 1);
	EXPECT_TRUE(raw_closed(fd));
	r = call(self, "/t.T/Now", "x", 1);
	EXPECT_EQ(GRPC_UNAVAILABLE, r->status);
	EXPECT_EQ(0, stats_of(self).connections);
	EXPECT_EQ(0, self->svc.served);
}

/* Who was listed when he connected. */
TEST_F(wire, peer_refused_later)
{
	const uid_t other = geteuid() + 1;
	_cleanup_close_ int fd = -1;

	restart(self);
	fd = raw_greeted(self);
	works(self);
	grpc_server_peers_changed(self->svc.server);
	works(self);
	EXPECT_EQ(0, stats_of(self).refused_peers);
	self->peers.uids = &other;
	grpc_server_peers_changed(self->svc.server);
	UNTIL(self, stats_of(self).open_connections == 0);
	EXPECT_LT(0, stats_of(self).refused_peers);
	EXPECT_TRUE(raw_closed(fd));
}

TEST_F(wire, peer_listed_by_gid)
{
	const gid_t gid = getegid();

	self->peers = (struct grpc_peers){ .gids = &gid, .n_gids = 1 };
	restart(self);
	works(self);
}

/* A connection with a call that is not answered. */
static int raw_waiting(fix *f)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	unsigned int served = f->svc.served;
	int fd = raw_greeted(f);

	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Keep"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(f, fd, &b));
	UNTIL(f, f->svc.served > served);
	return fd;
}

/* All but the reserve for one user, while there is no other. */
TEST_F(wire, connections_bound)
{
	_cleanup_(h2f_release) struct h2f_buf hello = { 0 };
	_cleanup_close_ int a = -1, b = -1, c = -1, d = -1;

	self->limits.connections = 4;
	restart(self);
	a = raw_waiting(self);
	b = raw_waiting(self);
	c = raw_waiting(self);
	d = raw_connect(self);
	h2f_hello(&hello);
	(void)raw_send(self, d, &hello); /* so that it is not closed for silence */
	while (!raw_closed(d))
		turn(self, true);
	EXPECT_FALSE(raw_closed(a));
	EXPECT_FALSE(raw_closed(b));
	EXPECT_FALSE(raw_closed(c));
	EXPECT_EQ(1, stats_of(self).refusals[REFUSAL_CONNECTIONS]);
	close(move_fd(a));
	UNTIL(self, stats_of(self).open_connections == 2);
	works(self);
}

/* The oldest goes first, those that wait for an answer stay, and it is told before it is closed. */
TEST_F(wire, idle_connections_make_room)
{
	_cleanup_close_ int busy = -1, oldest = -1, idle = -1, next = -1;
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	struct h2f_seen seen = { .type = H2F_DATA };
	size_t off = 0;
	uint8_t bytes[4096];
	ssize_t n;

	self->limits.connections = 4;
	restart(self);
	busy = raw_waiting(self);
	oldest = raw_greeted(self);
	idle = raw_greeted(self);
	UNTIL(self, stats_of(self).open_connections == 3);
	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Now"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(self, oldest, &b));
	UNTIL(self, self->svc.served == 2);
	/* The one that was silent since is the oldest now. */
	next = raw_waiting(self);
	UNTIL(self, stats_of(self).open_connections == 3);
	n = recv(idle, bytes, sizeof(bytes), MSG_DONTWAIT);
	ASSERT_LT(0, n);
	while (h2f_next(bytes, (size_t)n, &off, &seen))
		;
	EXPECT_EQ(H2F_GOAWAY, seen.type);
	EXPECT_TRUE(raw_closed(idle));
	EXPECT_FALSE(raw_closed(oldest));
	EXPECT_FALSE(raw_closed(busy));
	EXPECT_FALSE(raw_closed(next));
	EXPECT_EQ(0, stats_of(self).refusals[REFUSAL_CONNECTIONS]);
}

/* What connects is @who's from now on: a user is a uid at one listener, and each of them has its own. */
static void as_user(fix *f, char who)
{
	f->path[strlen(f->dir) + 1] = who;
}

static void listen_for(fix *f, const char *users)
{
	for (; *users; users++) {
		as_user(f, *users);
		ASSERT_OK(grpc_server_listen(f->svc.server, listen_at(f->path), &service, &f->peers,
					     &f->svc));
		as_user(f, 's');
	}
}

static void listened_for(fix *f, const char *users)
{
	for (; *users; users++) {
		as_user(f, *users);
		unlink(f->path);
	}
	as_user(f, 's');
}

static bool refused_as(fix *f, char who)
{
	uint64_t before = stats_of(f).refusals[REFUSAL_CONNECTIONS];
	_cleanup_close_ int fd = -1;

	as_user(f, who);
	fd = raw_connect(f);
	while (!raw_closed(fd))
		turn(f, true);
	return stats_of(f).refusals[REFUSAL_CONNECTIONS] == before + 1;
}

/*
 * A service lets go of a message when it can, be the client long gone. Its memory stays that of its user, who is
 * not forgotten before, however many others come.
 */
TEST_F(wire, a_message_outlives_its_connection)
{
	static const char others[] = "bcdefghijklmnopqrtuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	int fd;

	restart(self);
	listen_for(self, "a");
	listen_for(self, others);
	as_user(self, 'a');
	fd = raw_greeted(self);
	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Hold"));
	h2f_message(&b, 1, H2F_END_STREAM, "held", 4);
	ASSERT_TRUE(raw_send(self, fd, &b));
	UNTIL(self, self->svc.served == 1);
	close(fd);
	UNTIL(self, stats_of(self).open_connections == 0);
	EXPECT_EQ(1, self->svc.cancelled);
	for (const char *who = others; *who; who++) {
		as_user(self, *who);
		close(raw_greeted(self));
		UNTIL(self, stats_of(self).connections == (uint64_t)(who - others) + 2 &&
				    stats_of(self).open_connections == 0);
	}
	EXPECT_LT(0, secpool_used(self->pool));
	EXPECT_MEMEQ("held", 4, self->svc.held.data, self->svc.held.len);
	secbuf_release(&self->svc.held);
	EXPECT_EQ(0, secpool_used(self->pool));
	listened_for(self, "a");
	listened_for(self, others);
}

/* However many another has, or wants, and though none of those is without a call. */
TEST_F(wire, the_only_connection_stays)
{
	_cleanup_close_ int honest = -1, first = -1, later = -1;
	int fds[6];

	self->limits.connections = 6;
	restart(self);
	listen_for(self, "abcd");
	for (size_t i = 0; i < 5; i++)
		fds[i] = raw_waiting(self);
	EXPECT_TRUE(refused_as(self, 's'));
	as_user(self, 'a');
	honest = raw_greeted(self);
	UNTIL(self, stats_of(self).connections == 6);
	EXPECT_TRUE(refused_as(self, 's'));
	as_user(self, 'b');
	fds[5] = raw_waiting(self);
	/* Two of the first user's were lent. */
	close(fds[0]);
	close(fds[1]);
	UNTIL(self, stats_of(self).open_connections == 5);
	EXPECT_TRUE(refused_as(self, 'b'));
	EXPECT_TRUE(refused_as(self, 's'));
	EXPECT_EQ(5, stats_of(self).open_connections);
	EXPECT_FALSE(raw_closed(honest));
	/* The last place is for who has none. When there is no more, of all that have one the oldest goes. */
	as_user(self, 'c');
	first = raw_greeted(self);
	UNTIL(self, stats_of(self).open_connections == 6);
	EXPECT_FALSE(raw_closed(honest));
	as_user(self, 'd');
	later = raw_greeted(self);
	while (!raw_closed(honest))
		turn(self, true);
	EXPECT_FALSE(raw_closed(first));
	EXPECT_FALSE(raw_closed(later));
	for (size_t i = 2; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	listened_for(self, "abcd");
}

/* What the server has said on @fd so far: is a frame of @type among it? */
static bool raw_was_told(int fd, uint8_t type)
{
	struct h2f_seen seen = { .type = H2F_DATA };
	uint8_t bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	size_t off = 0;

	while (n > 0 && h2f_next(bytes, (size_t)n, &off, &seen))
		if (seen.type == type)
			return true;
	return false;
}

/*
 * A user takes what nobody else needs. Another gets its share all the same, from the connections of which the last
 * calls are the oldest; these end as soon as their calls are answered, and no call is lost.
 */
TEST_F(wire, lent_connections_are_called_back)
{
	int fds[6], others[2];

	self->limits.connections = 8;
	restart(self);
	listen_for(self, "a");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = raw_waiting(self);
	EXPECT_TRUE(refused_as(self, 's'));
	as_user(self, 'a');
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = raw_waiting(self);
	EXPECT_TRUE(refused_as(self, 'a'));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		EXPECT_EQ(i < ARRAY_SIZE(others), raw_was_told(fds[i], H2F_GOAWAY));
	EXPECT_EQ(8, stats_of(self).open_connections);
	answer_kept(&self->svc, "late");
	UNTIL(self, stats_of(self).open_connections == 6);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		EXPECT_TRUE(raw_was_told(fds[i], H2F_DATA));
		EXPECT_EQ(i < ARRAY_SIZE(others), raw_closed(fds[i]));
		close(fds[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		close(others[i]);
	listened_for(self, "a");
}

/* Of a user's own, those that only came and said nothing go before one that calls, however old that is. */
TEST_F(wire, who_never_called_goes_first)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = -1;
	int silent[8];

	self->limits.connections = 6;
	restart(self);
	listen_for(self, "a");
	as_user(self, 'a');
	fd = raw_greeted(self);
	h2f_call_headers(&b, 1, 0, &H2F_CALL(.path = "/t.T/Now"));
	h2f_message(&b, 1, H2F_END_STREAM, "x", 1);
	ASSERT_TRUE(raw_send(self, fd, &b));
	UNTIL(self, stats_of(self).replies == 1);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		silent[i] = raw_greeted(self);
		UNTIL(self, stats_of(self).connections == i + 2);
	}
	while (!raw_closed(silent[0]))
		turn(self, true);
	EXPECT_FALSE(raw_closed(fd));
	EXPECT_FALSE(raw_closed(silent[ARRAY_SIZE(silent) - 1]));
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
	listened_for(self, "a");
}

/* Whose connections make room for each other faster than they go takes no buffers of another's share. */
TEST_F(wire, many_that_make_room)
{
	_cleanup_close_ int honest = -1;
	int fds[120];

	self->limits.connections = 8;
	restart(self);
	listen_for(self, "abc");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		as_user(self, i % 2 ? 'a' : 'b');
		fds[i] = raw_connect(self);
	}
	as_user(self, 'c');
	honest = raw_connect(self);
	UNTIL(self, stats_of(self).connections + stats_of(self).refusals[REFUSAL_CONNECTIONS] +
				    stats_of(self).refusals[REFUSAL_MEMORY] ==
			    ARRAY_SIZE(fds) + 1);
	UNTIL(self, stats_of(self).open_connections <= 8);
	EXPECT_EQ(0, stats_of(self).refusals[REFUSAL_MEMORY]);
	EXPECT_FALSE(raw_closed(honest));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	listened_for(self, "abc");
}

/*
 * Long messages that are begun and never end take all the memory of a user's share, which is never all there
 * is. With their connections it comes back, for connections and messages of any size.
 */
TEST_F(wire, begun_messages_leave_nothing_behind)
{
	static const uint8_t begun[12000] = { 0, 0, 0, 0xff, 0 };
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	int fds[2];

	for (size_t i = 0; i < 2; i++) {
		fds[i] = raw_greeted(self);
		for (unsigned int id = 1; id < 2 * self->limits.streams; id += 2) {
			h2f_call_headers(&b, id, 0, &H2F_CALL(.path = "/t.T/Now"));
			h2f_frame(&b, H2F_DATA, 0, id, begun, sizeof(begun));
			h2f_frame(&b, H2F_DATA, 0, id, begun, sizeof(begun));
		}
		ASSERT_TRUE(raw_send(self, fds[i], &b));
	}
	EXPECT_LT(4U << 20, secpool_used(self->pool));
	EXPECT_GE(24U << 20, secpool_used(self->pool));
	EXPECT_LT(0, stats_of(self).refusals[REFUSAL_MEMORY]);
	close(fds[0]);
	close(fds[1]);
	UNTIL(self, stats_of(self).open_connections == 0);
	works(self);
}

TEST_F(wire, floods_end_only_their_own_connection)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int ping = raw_greeted(self), reset = raw_greeted(self);
	uint32_t id = 1;

	works(self);
	do
		for (unsigned int i = 0; i < 100; i++)
			h2f_frame(&b, H2F_PING, 0, 0, "12345678", 8);
	while (raw_send(self, ping, &b));
	b.len = 0;
	do
		for (unsigned int i = 0; i < 100; i++, id += 2) {
			h2f_call_headers(&b, id, H2F_END_STREAM, &H2F_CALL(.path = "/t.T/Keep"));
			h2f_head(&b, 4, H2F_RST_STREAM, 0, id);
			h2f_u32(&b, 8);
		}
	while (raw_send(self, reset, &b));
	UNTIL(self, stats_of(self).open_connections == 1);
	EXPECT_GT(stats_of(self).protocol_errors, 0);
	works(self);
	EXPECT_EQ(3, stats_of(self).connections);
}

TEST_F(wire, garbage_ends_only_its_own_connection)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 };
	_cleanup_close_ int fd = raw_connect(self);

	works(self);
	h2f_bytes(&b, "GET / HTTP/1.1\r\n\r\n", 18);
	h2f_bytes(&b, "GET / HTTP/1.1\r\n\r\n", 18);
	ASSERT_TRUE(raw_send(self, fd, &b));
	UNTIL(self, stats_of(self).open_connections == 1);
	works(self);
}

/* The client when the server comes and goes. */

TEST_F(wire, no_server)
{
	struct result *r;

	end_server(self, &self->svc);
	unlink(self->path);
	r = call(self, "/t.T/Now", "x", 1);
	EXPECT_EQ(GRPC_UNAVAILABLE, r->status);
	EXPECT_STREQ("cannot connect: ENOENT (No such file or directory)", r->text);
}

TEST_F(wire, waits_for_the_server)
{
	struct result *r;

	works(self);
	end_server(self, &self->svc);
	unlink(self->path);
	r = start(self, "/t.T/Now", "x", 1, 0, GRPC_WAIT_FOR_READY, NULL);
	for (unsigned int i = 0; i < 20; i++)
		turn(self, true);
	EXPECT_FALSE(r->done);
	serve(self, &self->svc);
	UNTIL(self, r->done);
	EXPECT_EQ(GRPC_OK, r->status);
}

TEST_F(wire, waiting_ends_with_the_deadline)
{
	struct result *r;

	end_server(self, &self->svc);
	unlink(self->path);
	r = start(self, "/t.T/Now", "x", 1, 20 * MS, GRPC_WAIT_FOR_READY, NULL);
	UNTIL(self, r->done);
	EXPECT_EQ(GRPC_DEADLINE_EXCEEDED, r->status);
}

/* A server is replaced while calls go on: the old one finishes its own, the new one gets the rest. */
TEST_F(wire, replaced_server_loses_no_call)
{
	struct svc old;
	struct result *first, *second;

	first = start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);
	UNTIL(self, self->svc.n_kept == 1);
	old = self->svc;
	self->svc = (struct svc){ 0 };
	/* The old server's context moves with it. */
	grpc_server_shutdown(old.server);
	serve(self, &self->svc);
	for (unsigned int i = 0; i < 50; i++) {
		turn(self, true);
		grpc_server_flush(old.server);
	}
	second = start(self, "/t.T/Now", "y", 1, 0, 0, NULL);
	turn(self, true);
	EXPECT_FALSE(second->done);
	grpc_call_reply(old.kept[0], span_str("old"));
	while (!first->done || !second->done || !grpc_server_drained(old.server)) {
		grpc_server_flush(old.server);
		turn(self, false); /* nothing but the ring may be needed to go on */
	}
	EXPECT_EQ(GRPC_OK, first->status);
	EXPECT_EQ(GRPC_OK, second->status);
	EXPECT_MEMEQ("old", 3, first->msg.data, first->msg.len);
	EXPECT_EQ(1, self->svc.served);
	grpc_server_free(old.server);
}

/* A server by hand: it refuses the first stream of every connection and fails the others. */
static void refuse_then_fail(int fd, struct h2f_buf *got, size_t *off)
{
	_cleanup_(h2f_release) struct h2f_buf b = { 0 }, block = { 0 };
	uint8_t bytes[4096];
	struct h2f_seen seen;
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		h2f_bytes(got, bytes, (size_t)n);
	h2f_field(&block, ":status", "200");
	h2f_field(&block, "content-type", "application/grpc");
	h2f_field(&block, "grpc-status", "9");
	h2f_field(&block, "grpc-message", "second%20try");
	while (h2f_next(got->data, got->len, off, &seen)) {
		if (seen.type == H2F_HEADERS && seen.stream == 1) {
			h2f_head(&b, 4, H2F_RST_STREAM, 0, 1);
			h2f_u32(&b, 7);
		} else if (seen.type == H2F_HEADERS) {
			h2f_frame(&b, H2F_HEADERS, H2F_END_HEADERS | H2F_END_STREAM, seen.stream,
				  block.data, block.len);
		}
	}
	ASSERT_EQ((ssize_t)b.len, send(fd, b.data, b.len, MSG_NOSIGNAL));
}

TEST_F(wire, refused_stream_is_tried_again)
{
	_cleanup_(h2f_release) struct h2f_buf hello = { 0 }, got = { 0 };
	_cleanup_close_ int listen_fd = -1, fd = -1;
	size_t off = strlen(H2F_PREFACE);
	struct result *r;

	end_server(self, &self->svc);
	listen_fd = listen_at(self->path);
	r = start(self, "/t.T/Now", "x", 1, 0, 0, NULL);
	turn(self, true);
	fd = accept(listen_fd, NULL, NULL);
	ASSERT_LE(0, fd);
	h2f_frame(&hello, H2F_SETTINGS, 0, 0, NULL, 0);
	ASSERT_EQ((ssize_t)hello.len, send(fd, hello.data, hello.len, 0));
	while (!r->done) {
		if (got.len >= off || recv(fd, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
			refuse_then_fail(fd, &got, &off);
		turn(self, true);
	}
	EXPECT_EQ(GRPC_FAILED_PRECONDITION, r->status);
	EXPECT_STREQ("second try", r->text);
}

/* The linker leads each request here (--wrap): for so many of them there is no stream id left. */
static unsigned int without_id;
int32_t __real_nghttp2_submit_request(nghttp2_session *session, const nghttp2_priority_spec *pri,
				      const nghttp2_nv *nv, size_t n,
				      const nghttp2_data_provider *body, void *stream);
int32_t __wrap_nghttp2_submit_request(nghttp2_session *session, const nghttp2_priority_spec *pri,
				      const nghttp2_nv *nv, size_t n,
				      const nghttp2_data_provider *body, void *stream);

int32_t __wrap_nghttp2_submit_request(nghttp2_session *session, const nghttp2_priority_spec *pri,
				      const nghttp2_nv *nv, size_t n,
				      const nghttp2_data_provider *body, void *stream)
{
	if (without_id > 0) {
		without_id--;
		return NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE;
	}
	return __real_nghttp2_submit_request(session, pri, nv, n, body, stream);
}

/* After 2^30 calls a connection is replaced, and the calls that come then are made on the new one. */
TEST_F(wire, connection_without_ids_is_replaced)
{
	struct result *r[3];

	works(self);
	without_id = 3;
	for (size_t i = 0; i < 3; i++)
		r[i] = start(self, "/t.T/Now", "x", 1, 0, 0, NULL);
	for (size_t i = 0; i < 3; i++) {
		UNTIL(self, r[i]->done);
		EXPECT_EQ(GRPC_OK, r[i]->status);
	}
	EXPECT_EQ(2U, stats_of(self).connections);
}

TEST_F(wire, stopped_client)
{
	struct result *open = start(self, "/t.T/Keep", "x", 1, 0, 0, NULL), *waiting;

	UNTIL(self, self->svc.n_kept == 1);
	waiting = start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);
	end_client(self);
	EXPECT_EQ(GRPC_CANCELLED, open->status);
	EXPECT_EQ(GRPC_CANCELLED, waiting->status);
	UNTIL(self, self->svc.cancelled == 1);
}

TEST_F(wire, client_bounds_its_calls)
{
	for (unsigned int i = 0; i < KEPT; i++)
		start(self, "/t.T/Keep", "x", 1, 0, 0, NULL);
	EXPECT_ERR(-ENOBUFS, grpc_client_call(self->client, "/t.T/Now", SPAN_NULL, 0, 0, on_done,
					      NULL, NULL));
	UNTIL(self, self->svc.n_kept == KEPT);
	answer_kept(&self->svc, "");
	for (unsigned int i = 0; i < KEPT; i++)
		UNTIL(self, self->results[i].done);
}

TEST_HARNESS_MAIN
