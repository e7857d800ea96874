/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's life, in order:
 *   1. take what the keeper sends (configuration, listeners, keys) until GO
 *   2. known-answer self-test of the backend
 *   3. accept at the listeners; whoever connects waits
 *   4. lock down (Landlock, seccomp; uid and capabilities are gone since before exec), say READY
 *   5. serve, turn by turn: defer_run() → engine_flush() → upstreams_flush() →
 *      server_audit_flush() → grpc_server_flush() → ring_turn(), which runs what has completed, and
 *      from there the services
 *   6. STOP: drain, exit
 *
 * Step 5's order is what makes one io_uring_enter carry the crypto and the socket writes of a turn.
 */
#include "daemon/server/server.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/chain/chain.h"
#include "daemon/crypto/selftest.h"
#include "daemon/server/server_private.h"
#include "daemon/sys/sandbox.h"

#define DRAIN_NS (UINT64_C(5) * 1000 * 1000 * 1000)
#define USED_NS  (UINT64_C(1000) * 1000 * 1000)

/* A last word to the keeper, which logs it; then the process ends. */
static void report_failure(struct server *s, int r, const char *what)
{
	struct link_msg msg = { .type = LINK_FAILED, .r = r };

	snprintf(msg.text, sizeof(msg.text), "%s: %s", what, errno_text(r));
	link_send(s->link_fd, &msg, NULL);
}

static void selftest_done(void *ctx, int r)
{
	struct server *s = ctx;

	s->selftest = r;
}

/* The backend proves itself on a public key before a client is heard. */
static int self_test(struct server *s)
{
	int r;

	s->selftest = 1;
	r = selftest_start(s->engine, s->test_key, selftest_done, s);
	while (r == 0 && s->selftest == 1) {
		bool more = engine_flush(s->engine);

		if (s->selftest == 1)
			r = ring_turn(s->ring, more);
	}
	engine_key_remove(move_ptr(s->test_key));
	return r < 0 ? r : s->selftest;
}

static int tell_ready(struct server *s)
{
	struct link_msg msg = { .type = LINK_READY };

	snprintf(msg.text, sizeof(msg.text), "%s%s%s", ring_name(s->ring),
		 *ring_why(s->ring) ? ", because " : "", ring_why(s->ring));
	return server_tell(s, &msg);
}

static void used_report(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct server *s = container_of(op, struct server, used_timer);

	if (res == -ECANCELED)
		return;
	server_keeper_watch(s, now_ns());
	log_say_dropped();
	fdspare_fill(&s->spare, s->link_fd);
	server_sockets_ask(s);
	server_tell_used(s);
	server_stats_report(s);
	ring_timer(s->ring, op, now_ns() + USED_NS);
}

static void drain_timeout(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct server *s = container_of(op, struct server, drain_timer);

	if (res == -ECANCELED || s->aborted)
		return;
	log_warning("calls still in flight after 5 s; closing their connections");
	s->aborted = true;
	grpc_server_abort(s->grpc);
	if (s->transform.grpc)
		grpc_server_abort(s->transform.grpc);
}

/* A shutdown sends the answers that are queued. Answers without a line in the audit are thrown away instead. */
static void wire_end(struct grpc_server *grpc, bool recorded)
{
	if (grpc && recorded)
		grpc_server_shutdown(grpc);
	else if (grpc)
		grpc_server_abort(grpc);
}

void server_stop(struct server *s)
{
	bool recorded = server_audit_flush(s);

	if (s->stopping)
		return;
	s->stopping = true;
	wire_end(s->grpc, recorded);
	wire_end(s->transform.grpc, recorded);
	ring_timer(s->ring, &s->drain_timer, now_ns() + DRAIN_NS);
}

static int serve(struct server *s)
{
	bool more;
	int r;

	s->used_timer.done = used_report;
	s->drain_timer.done = drain_timeout;
	ring_timer(s->ring, &s->used_timer, now_ns() + USED_NS);
	server_link_listen(s);
	r = server_probe_start(s);
	if (r < 0)
		return r;
	while (!(s->stopping && grpc_server_drained(s->grpc) && server_idle(s) &&
		 server_transform_idle(s))) {
		defer_run(&s->defer); /* first: what its callbacks submit goes with this flush */
		more = engine_flush(s->engine);
		upstreams_flush(s->upstreams);
		more |= !list_empty(&s->defer.ops);
		if (server_audit_flush(s)) {
			more |= grpc_server_flush(s->grpc);
			if (s->transform.grpc)
				more |= grpc_server_flush(s->transform.grpc);
		}
		r = ring_turn(s->ring, more);
		if (r < 0)
			return r;
		if (s->link_error < 0)
			return s->link_error;
	}
	return 0;
}

int server_main(int link_fd)
{
	_cleanup_(server_freep) struct server *s = NULL;
	const char *step = "start";
	int r;

	r = server_new(link_fd, &s);
	if (r < 0)
		return EXIT_FAILURE;
	r = sandbox_init();
	if (r == 0) {
		step = "configuration from the keeper";
		r = server_receive(s);
	}
	if (r == 0) {
		step = "known-answer self-test";
		r = self_test(s);
	}
	if (r == 0) {
		step = "listen";
		r = server_listen(s);
	}
	if (r == 0) {
		step = "Landlock";
		r = sandbox_files_server();
		if (r == -EOPNOTSUPP)
			r = 0; /* the keeper has said so */
	}
	if (r == 0) {
		step = "seccomp";
		r = sandbox_seccomp_server();
	}
	if (r == 0)
		r = tell_ready(s);
	if (r < 0) {
		report_failure(s, r, step);
		return EXIT_FAILURE;
	}
	r = serve(s);
	if (r < 0 && r != -ENODATA)
		log_error("server: %s", errno_text(r));
	if (r == 0 && !server_tell_last(s))
		r = -EAGAIN; /* after an error the keeper counts as used all that this server might have used */
	/* The process ends here; the kernel cancels what is in flight and frees locked memory wiped. */
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
