/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echod SOCKET [io_uring|epoll]: an echo service on daemon/wire, for peers that are not ours
 * (tests/e2e/grpc_peers). Says "ready" on standard output. SIGTERM ends it gracefully: calls in
 * flight are finished and sent.
 *
 *	/echo.Echo/Now      the message, from inside the call
 *	/echo.Echo/Later    the message, one turn later
 *	/echo.Echo/Never    no answer: the client's deadline or cancellation ends it
 *	/echo.Echo/Big      64 KiB
 *	/echo.Echo/Fail     DATA_LOSS, with a text that needs percent-encoding
 *	/echo.Echo/Stats    "cancelled N open N"
 *	/echo.Echo/Hold     no answer until /echo.Echo/Release or SIGTERM, then the message
 *	/echo.Echo/Release  answers what Hold holds
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/wire/grpc.h"
#include <kekd/limits.h>

struct held {
	struct list link;
	struct grpc_call *call;
	struct secbuf msg;
};

struct echo {
	struct ring *ring;
	struct secpool *pool;
	struct grpc_server *server;
	struct list later, held;
	struct ring_op signal;
};

static void hold(struct list *list, struct grpc_call *call, struct secbuf *msg)
{
	struct held *h = calloc(1, sizeof(*h));

	if (!h) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory");
		return;
	}
	h->call = call;
	h->msg = secbuf_move(msg);
	grpc_call_set_ctx(call, h);
	list_add_tail(list, &h->link);
}

static void held_free(struct held *h)
{
	list_del(&h->link);
	secbuf_release(&h->msg);
	free(h);
}

static void held_answer(struct list *list)
{
	while (!list_empty(list)) {
		struct held *h = list_first(list, struct held, link);

		grpc_call_reply(h->call, span_of(h->msg.data, h->msg.len));
		held_free(h);
	}
}

static void echo_now(void *ctx _unused_, struct grpc_call *call, struct secbuf *msg)
{
	grpc_call_reply(call, span_of(msg->data, msg->len));
}

static void echo_later(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct echo *e = ctx;

	hold(&e->later, call, msg);
}

static void echo_hold(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct echo *e = ctx;

	hold(&e->held, call, msg);
}

static void echo_never(void *ctx _unused_, struct grpc_call *call _unused_,
		       struct secbuf *msg _unused_)
{
}

static void echo_release(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct echo *e = ctx;

	held_answer(&e->held);
	grpc_call_reply(call, span_of(msg->data, msg->len));
}

static void echo_big(void *ctx _unused_, struct grpc_call *call, struct secbuf *msg _unused_)
{
	static uint8_t big[KEKD_GRPC_MESSAGE_MAX];

	memset(big, 'b', sizeof(big));
	grpc_call_reply(call, span_of(big, sizeof(big)));
}

static void echo_fail(void *ctx _unused_, struct grpc_call *call, struct secbuf *msg _unused_)
{
	grpc_call_fail(call, GRPC_DATA_LOSS, "bad tag: 100%% sure\nr\xc3\xa9sum\xc3\xa9");
}

static void echo_stats(void *ctx, struct grpc_call *call, struct secbuf *msg _unused_)
{
	struct echo *e = ctx;
	struct grpc_stats stats;
	char text[96];

	grpc_server_stats(e->server, &stats);
	snprintf(text, sizeof(text), "cancelled %llu open %u", (unsigned long long)stats.cancelled,
		 stats.open_calls);
	grpc_call_reply(call, span_str(text));
}

static void echo_cancel(void *ctx _unused_, struct grpc_call *call)
{
	struct held *h = grpc_call_ctx(call);

	if (h)
		held_free(h);
}

static const struct grpc_method methods[] = {
	{ "/echo.Echo/Now", echo_now },
	{ "/echo.Echo/Later", echo_later },
	{ "/echo.Echo/Never", echo_never },
	{ "/echo.Echo/Big", echo_big },
	{ "/echo.Echo/Fail", echo_fail },
	{ "/echo.Echo/Stats", echo_stats },
	{ "/echo.Echo/Hold", echo_hold },
	{ "/echo.Echo/Release", echo_release },
	{ NULL, NULL },
};
static const struct grpc_service service = { .methods = methods, .cancel = echo_cancel };

static void on_signal(struct ring_op *op, int res _unused_, unsigned int flags _unused_)
{
	struct echo *e = container_of(op, struct echo, signal);

	grpc_server_shutdown(e->server);
	held_answer(&e->held);
}

static int listen_on(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 64) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

static int signals(int *ret_fd)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int serve(struct echo *e, int *listen_fd, int signal_fd)
{
	const uid_t uids[] = { geteuid() };
	const struct grpc_peers peers = { .uids = uids, .n_uids = 1 };
	int r;

	r = grpc_server_listen(e->server, *listen_fd, &service, &peers, e);
	if (r < 0)
		return r;
	(void)move_fd(*listen_fd);
	e->signal.done = on_signal;
	ring_poll(e->ring, &e->signal, signal_fd, 1 /* POLLIN */);
	puts("ready");
	fflush(stdout);
	while (!grpc_server_drained(e->server)) {
		r = ring_turn(e->ring, !list_empty(&e->later));
		if (r < 0)
			return r;
		held_answer(&e->later);
		grpc_server_flush(e->server);
	}
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_(ring_freep) struct ring *ring = NULL;
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_(grpc_server_freep) struct grpc_server *server = NULL;
	_cleanup_close_ int listen_fd = -1, signal_fd = -1;
	struct echo e = { 0 };
	enum ring_kind kind = RING_AUTO;
	int r;

	if (argc < 2 || argv[1][0] != '/') {
		fputs("usage: echod /PATH/OF/SOCKET [io_uring|epoll]\n", stderr);
		return 2;
	}
	if (argc > 2)
		kind = strcmp(argv[2], "epoll") == 0 ? RING_EPOLL : RING_IO_URING;
	r = listen_on(argv[1], &listen_fd);
	if (r == 0)
		r = signals(&signal_fd);
	if (r == 0)
		r = ring_new(kind, 64, &ring);
	if (r == 0)
		r = secpool_new(16U << 20, &pool);
	if (r == 0)
		r = grpc_server_new(ring, pool, &grpc_limits_default, &server);
	if (r == 0) {
		e.ring = ring;
		e.pool = pool;
		e.server = server;
		list_init(&e.later);
		list_init(&e.held);
		r = serve(&e, &listen_fd, signal_fd);
	}
	if (r < 0)
		fprintf(stderr, "echod: %s\n", strerror(-r));
	return r < 0;
}
