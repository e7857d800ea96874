/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's contract for sockets, polls and cancels. Every test must see the same on both twins.
 */
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/ring_probe.h"

TEST_F(ring, names_itself)
{
	struct probe p = PROBE;

	EXPECT_STREQ(variant->name, ring_name(self->ring));
	EXPECT_STREQ("", ring_why(self->ring));
	EXPECT_FALSE(ring_op_busy(&p.op));
}

static void accept_many(struct ring *ring, bool nonblock)
{
	struct probe p = PROBE;
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client[5];
	char c;

	set_nonblock(listener, nonblock);
	ring_accept(ring, &p.op, listener);
	settle(ring);
	EXPECT_EQ(0, p.calls);
	for (int i = 0; i < 5; i++) {
		client[i] = connect_to(&addr, len);
		if (i >= 2) /* 0, 1 and 2 are waiting together, 3 and 4 come one by one */
			turn_until(ring, &p, i + 1);
	}
	EXPECT_EQ(5, p.n_fds);
	EXPECT_TRUE(ring_op_busy(&p.op));
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(FD_CLOEXEC, fcntl(p.fds[i], F_GETFD));
		EXPECT_EQ(O_NONBLOCK, fcntl(p.fds[i], F_GETFL) & O_NONBLOCK);
		c = (char)i;
		EXPECT_EQ(1, send(client[i], &c, 1, 0));
		EXPECT_EQ(1, recv(p.fds[i], &c, 1, 0));
		EXPECT_EQ(i, c);
		close(client[i]);
		close(p.fds[i]);
	}
	ring_cancel(ring, &p.op);
	turn_until(ring, &p, 6);
	EXPECT_ERR(-ECANCELED, p.res);
	EXPECT_EQ(0, p.flags);
	EXPECT_FALSE(ring_op_busy(&p.op));
	close(listener);
}

TEST_F(ring, accept)
{
	accept_many(self->ring, false);
}

TEST_F(ring, accept_on_nonblocking_listener)
{
	accept_many(self->ring, true);
}

static void cancel_arg(struct probe *p)
{
	if (p->n_fds == 1 && (p->flags & RING_MORE))
		ring_cancel(p->arg, &p->op);
}

/* Whatever has been accepted by then is handed out before the end. */
TEST_F(ring, accept_cancelled_in_its_callback)
{
	struct probe p = { .op.done = note, .then = cancel_arg, .arg = self->ring };
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client[3];

	for (int i = 0; i < 3; i++)
		client[i] = connect_to(&addr, len);
	ring_accept(self->ring, &p.op, listener);
	while (ring_op_busy(&p.op))
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_ERR(-ECANCELED, p.res);
	EXPECT_EQ(0, p.flags);
	EXPECT_GE(p.n_fds, 1);
	EXPECT_EQ(p.n_fds + 1, p.calls);
	for (int i = 0; i < p.n_fds; i++)
		close(p.fds[i]);
	for (int i = 0; i < 3; i++)
		close(client[i]);
	close(listener);
}

/* valgrind keeps this limit by itself: the kernel's stays, and a connection is accepted and lost. */
static bool nofile_is_real(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/limits", "re");
	struct rlimit limit, less;
	unsigned long seen = 0;
	char line[256];

	ASSERT_NOT_NULL(f);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	less = (struct rlimit){ limit.rlim_cur - 1, limit.rlim_max };
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &less));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Max open files %lu", &seen) == 1)
			break;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	return seen == less.rlim_cur;
}

TEST_F(ring, accept_without_descriptors)
{
	struct rlimit limit, none = { 0, 0 };
	struct probe p = PROBE;
	struct sockaddr_un addr;
	socklen_t len;
	int listener, client;

	if (!nofile_is_real())
		SKIP("the limit of open files is not the kernel's own");
	listener = listen_anywhere(&addr, &len);
	client = connect_to(&addr, len);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	none.rlim_max = limit.rlim_max;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
	ring_accept(self->ring, &p.op, listener);
	turn_until(self->ring, &p, 1);
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_ERR(-EMFILE, p.res);
	EXPECT_EQ(0, p.flags);
	ring_accept(self->ring, &p.op, listener);
	turn_until(self->ring, &p, 2);
	EXPECT_EQ(1, p.n_fds);
	ring_cancel(self->ring, &p.op);
	turn_until(self->ring, &p, 3);
	close(p.fds[0]);
	close(client);
	close(listener);
}

TEST_F(ring, wrong_descriptors)
{
	struct probe a = PROBE, b = PROBE, c = PROBE, d = PROBE, e = PROBE;
	char buf[1] = { 0 };
	int event = eventfd(0, EFD_CLOEXEC);

	ring_accept(self->ring, &a.op, self->stream[0]);
	ring_recv(self->ring, &b.op, -1, buf, 1);
	ring_recv(self->ring, &c.op, event, buf, 1);
	ring_poll(self->ring, &d.op, 1 << 19, POLLIN);
	ring_send(self->ring, &e.op, 1 << 18, buf, 1);
	turn_until(self->ring, &a, 1);
	turn_until(self->ring, &b, 1);
	turn_until(self->ring, &c, 1);
	turn_until(self->ring, &d, 1);
	turn_until(self->ring, &e, 1);
	EXPECT_ERR(-EINVAL, a.res);
	EXPECT_ERR(-EBADF, b.res);
	EXPECT_ERR(-ENOTSOCK, c.res);
	EXPECT_ERR(-EBADF, d.res);
	EXPECT_ERR(-EBADF, e.res);
	close(event);
}

static void recv_waits(struct ring *ring, int pair[2], bool nonblock)
{
	struct probe p = PROBE;
	char buf[8] = { 0 };

	set_nonblock(pair[0], nonblock);
	ring_recv(ring, &p.op, pair[0], buf, sizeof(buf));
	settle(ring);
	EXPECT_EQ(0, p.calls);
	EXPECT_TRUE(ring_op_busy(&p.op));
	ASSERT_EQ(3, send(pair[1], "abc", 3, 0));
	turn_until(ring, &p, 1);
	EXPECT_EQ(3, p.res);
	EXPECT_STREQ("abc", buf);
	EXPECT_FALSE(ring_op_busy(&p.op));
}

TEST_F(ring, recv)
{
	recv_waits(self->ring, self->stream, false);
	recv_waits(self->ring, self->stream, true);
	recv_waits(self->ring, self->packet, false);
}

static void send_waits(struct ring *ring, int pair[2], bool nonblock)
{
	struct probe p = PROBE;

	set_nonblock(pair[0], nonblock);
	fill(pair[0]);
	ring_send(ring, &p.op, pair[0], "x", 1);
	settle(ring);
	EXPECT_EQ(0, p.calls);
	drain(pair[1]);
	turn_until(ring, &p, 1);
	EXPECT_EQ(1, p.res);
	EXPECT_EQ(1, drain(pair[1]));
}

TEST_F(ring, send)
{
	send_waits(self->ring, self->stream, false);
	send_waits(self->ring, self->stream, true);
}

TEST_F(ring, send_takes_a_part)
{
	size_t size = 8U << 20, got = 0;
	_cleanup_free_ char *big = calloc(1, size);
	struct probe p = PROBE;

	ASSERT_NOT_NULL(big);
	set_nonblock(self->stream[0], true);
	ring_send(self->ring, &p.op, self->stream[0], big, size);
	turn_until(self->ring, &p, 1);
	EXPECT_GT(p.res, 0);
	EXPECT_LT(p.res, size);
	for (size_t n = drain(self->stream[1]); n > 0; n = drain(self->stream[1]))
		got += n;
	EXPECT_EQ(p.res, got);
}

TEST_F(ring, end_of_stream)
{
	struct probe in = PROBE, out = PROBE;
	char c;

	close(self->stream[1]);
	self->stream[1] = -1;
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	ring_send(self->ring, &out.op, self->stream[0], "x", 1);
	turn_until(self->ring, &in, 1);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(0, in.res);
	EXPECT_ERR(-EPIPE, out.res); /* and no SIGPIPE */
}

/* A reader and a writer that both wait on one fd do not take each other's events. */
TEST_F(ring, both_directions)
{
	struct probe in = PROBE, out = PROBE;
	char c = 0;

	fill(self->stream[0]);
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	ring_send(self->ring, &out.op, self->stream[0], "x", 1);
	settle(self->ring);
	ASSERT_EQ(1, send(self->stream[1], "1", 1, 0));
	turn_until(self->ring, &in, 1);
	EXPECT_EQ('1', c);
	EXPECT_EQ(0, out.calls);
	ring_recv(self->ring, &in.op, self->stream[0], &c, 1);
	settle(self->ring);
	drain(self->stream[1]);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(1, out.res);
	EXPECT_EQ(1, in.calls);
	ASSERT_EQ(1, send(self->stream[1], "2", 1, 0));
	turn_until(self->ring, &in, 2);
	EXPECT_EQ('2', c);
}

/* The number of a closed fd comes back as another file while the ring still remembers the first. */
TEST_F(ring, descriptor_reused)
{
	struct probe p = PROBE;
	int other[2], lingering = dup(self->stream[0]);
	char c = 0;

	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	settle(self->ring);
	ring_cancel(self->ring, &p.op);
	turn_until(self->ring, &p, 1);
	EXPECT_ERR(-ECANCELED, p.res);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other));
	ASSERT_EQ(self->stream[0], dup3(other[0], self->stream[0], O_CLOEXEC));
	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	ASSERT_EQ(1, send(self->stream[1], "-", 1, 0)); /* to the file that is gone from here */
	settle(self->ring);
	EXPECT_EQ(1, p.calls);
	ASSERT_EQ(1, send(other[1], "+", 1, 0));
	turn_until(self->ring, &p, 2);
	EXPECT_EQ(1, p.res);
	EXPECT_EQ('+', c);
	close(lingering);
	close(other[0]);
	close(other[1]);
}

/* As above, without a stray event of the old file to help. */
TEST_F(ring, descriptor_reused_quietly)
{
	struct probe p = PROBE;
	int other[2];
	char c = 0;

	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	settle(self->ring);
	ring_cancel(self->ring, &p.op);
	turn_until(self->ring, &p, 1);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other));
	ASSERT_EQ(self->stream[0], dup3(other[0], self->stream[0], O_CLOEXEC));
	ring_recv(self->ring, &p.op, self->stream[0], &c, 1);
	settle(self->ring);
	ASSERT_EQ(1, send(other[1], "+", 1, 0));
	turn_until(self->ring, &p, 2);
	EXPECT_EQ('+', c);
	close(other[0]);
	close(other[1]);
}

/* Start one operation of each kind that waits. */
struct waiting {
	struct probe recv, send, poll, accept, timer;
	int listener, event;
	char buf[4];
};

static void waiting_start(struct waiting *w, struct ring *ring, int pair[2])
{
	struct sockaddr_un addr;
	socklen_t len;

	*w = (struct waiting){
		.recv = PROBE, .send = PROBE, .poll = PROBE, .accept = PROBE, .timer = PROBE
	};
	w->listener = listen_anywhere(&addr, &len);
	w->event = eventfd(0, EFD_CLOEXEC);
	fill(pair[0]);
	ring_recv(ring, &w->recv.op, pair[0], w->buf, 4);
	ring_send(ring, &w->send.op, pair[0], "x", 1);
	ring_poll(ring, &w->poll.op, w->event, POLLIN);
	ring_accept(ring, &w->accept.op, w->listener);
	ring_timer(ring, &w->timer.op, UINT64_MAX);
}

static void waiting_cancel(struct waiting *w, struct ring *ring)
{
	struct probe *all[] = { &w->recv, &w->send, &w->poll, &w->accept, &w->timer };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		EXPECT_TRUE(ring_op_busy(&all[i]->op));
		ring_cancel(ring, &all[i]->op);
		EXPECT_EQ(0, all[i]->calls);
		ring_cancel(ring, &all[i]->op); /* twice is once */
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		turn_until(ring, all[i], 1);
		EXPECT_ERR(-ECANCELED, all[i]->res);
		EXPECT_FALSE(ring_op_busy(&all[i]->op));
	}
	settle(ring);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		EXPECT_EQ(1, all[i]->calls);
	close(w->listener);
	close(w->event);
}

TEST_F(ring, cancel_waiting)
{
	struct waiting w;

	waiting_start(&w, self->ring, self->stream);
	settle(self->ring);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_before_the_first_turn)
{
	struct waiting w;

	waiting_start(&w, self->ring, self->stream);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_waiting_on_nonblocking)
{
	struct waiting w;

	set_nonblock(self->stream[0], true);
	waiting_start(&w, self->ring, self->stream);
	set_nonblock(w.listener, true);
	settle(self->ring);
	waiting_cancel(&w, self->ring);
}

TEST_F(ring, cancel_idle)
{
	struct probe p = PROBE;

	ring_cancel(self->ring, &p.op);
	settle(self->ring);
	EXPECT_EQ(0, p.calls);
}

static void start_over(struct probe *p)
{
	struct duel *d = p->arg;

	if (p->calls == 1)
		ring_recv(d->ring, &p->op, d->fd, d->buf, 1);
}

/*
 * A cancel that comes when the result is there already must not hit the next operation, which the
 * victim's callback starts in the same place.
 */
TEST_F(ring, cancel_does_not_hit_the_successor)
{
	char a = 0, b = 0;
	struct probe victim = { .op.done = note, .then = start_over };
	struct duel d = { self->ring, &victim, self->packet[0], &b };
	struct probe killer = { .op.done = note, .then = cancel_victim, .arg = &d };

	victim.arg = &d;
	ring_recv(self->ring, &killer.op, self->stream[0], &a, 1);
	ring_recv(self->ring, &victim.op, self->packet[0], &b, 1);
	ASSERT_EQ(1, send(self->stream[1], "k", 1, 0));
	ASSERT_EQ(1, send(self->packet[1], "v", 1, 0));
	turn_until(self->ring, &victim, 1);
	EXPECT_EQ(1, killer.calls);
	EXPECT_EQ(1, victim.res);
	settle(self->ring);
	EXPECT_EQ(1, victim.calls);
	EXPECT_TRUE(ring_op_busy(&victim.op));
	ASSERT_EQ(1, send(self->packet[1], "w", 1, 0));
	turn_until(self->ring, &victim, 2);
	EXPECT_EQ(1, victim.res);
	EXPECT_EQ('w', b);
}

/* Cancelled by another callback while a connection is on its way out: it is not lost. */
TEST_F(ring, accept_cancelled_with_a_connection_ready)
{
	struct probe victim = PROBE;
	struct duel d = { .ring = self->ring, .victim = &victim };
	struct probe killer = { .op.done = note, .then = cancel_victim, .arg = &d };
	struct sockaddr_un addr;
	socklen_t len;
	int listener = listen_anywhere(&addr, &len), client = connect_to(&addr, len);
	char c;

	ASSERT_EQ(1, send(self->stream[1], "k", 1, 0));
	ring_recv(self->ring, &killer.op, self->stream[0], &c, 1);
	ring_accept(self->ring, &victim.op, listener);
	turn_until(self->ring, &victim, 2);
	EXPECT_EQ(1, victim.n_fds);
	EXPECT_ERR(-ECANCELED, victim.res);
	EXPECT_FALSE(ring_op_busy(&victim.op));
	close(victim.fds[0]);
	close(client);
	close(listener);
}

struct player {
	struct probe in, out;
	struct ring *ring;
	int fd, left;
	char ball;
};

static void hit(struct probe *p)
{
	struct player *me = p->arg;

	EXPECT_EQ(1, p->res);
	if (me->left-- > 0)
		ring_send(me->ring, &me->out.op, me->fd, &me->ball, 1);
}

static void await(struct probe *p)
{
	struct player *me = p->arg;

	if (me->left > 0)
		ring_recv(me->ring, &me->in.op, me->fd, &me->ball, 1);
}

TEST_F(ring, restart_in_callback)
{
	struct player side[2];

	for (int i = 0; i < 2; i++) {
		side[i] =
			(struct player){ .ring = self->ring, .fd = self->stream[i], .left = 1000 };
		side[i].in = (struct probe){ .op.done = note, .then = hit, .arg = &side[i] };
		side[i].out = (struct probe){ .op.done = note, .then = await, .arg = &side[i] };
		ring_recv(self->ring, &side[i].in.op, side[i].fd, &side[i].ball, 1);
	}
	ASSERT_EQ(1, send(self->stream[0], "o", 1, 0));
	turn_until(self->ring, &side[1].out, 1000);
	EXPECT_EQ(1000, side[1].in.calls);
	EXPECT_GE(side[0].in.calls, 999);
	EXPECT_EQ('o', side[1].ball);
	if (ring_op_busy(&side[0].in.op)) {
		ring_cancel(self->ring, &side[0].in.op);
		settle(self->ring);
	}
}

/* Two submissions at a time, eight completions, and thousands of operations at once. */
TEST_F(ring, more_operations_than_the_ring_holds)
{
	enum { PAIRS = 400, ROUNDS = 3 };
	struct rlimit limit;
	_cleanup_free_ struct probe *p = calloc(PAIRS * 4, sizeof(*p));
	_cleanup_free_ char *buf = calloc(PAIRS * 2, 1);
	struct ring *ring;
	int fd[PAIRS][2];

	ASSERT_TRUE(p && buf);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	ASSERT_OK(ring_new(variant->kind, 2, &ring));
	for (int i = 0; i < PAIRS; i++)
		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd[i]));
	for (int i = 0; i < PAIRS * 4; i++)
		p[i].op.done = note;
	for (int round = 1; round <= ROUNDS; round++) {
		for (int i = 0; i < PAIRS * 2; i++) {
			ring_recv(ring, &p[2 * i].op, fd[i / 2][i % 2], &buf[i], 1);
			ring_send(ring, &p[2 * i + 1].op, fd[i / 2][i % 2], "z", 1);
		}
		for (int i = 0; i < PAIRS * 4; i++) {
			turn_until(ring, &p[i], round);
			EXPECT_EQ(1, p[i].res);
		}
	}
	for (int i = 0; i < PAIRS * 2; i++)
		ring_recv(ring, &p[i].op, fd[i / 2][i % 2], &buf[i], 1);
	for (int i = 0; i < PAIRS * 2; i++)
		ring_cancel(ring, &p[i].op);
	for (int i = 0; i < PAIRS * 2; i++) {
		turn_until(ring, &p[i], ROUNDS + 1);
		EXPECT_ERR(-ECANCELED, p[i].res);
	}
	ring_free(ring);
	for (int i = 0; i < PAIRS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
}

TEST_F(ring, poll)
{
	struct probe in = PROBE, out = PROBE, hup = PROBE;
	int event = eventfd(0, EFD_CLOEXEC);
	uint64_t one = 1;

	ring_poll(self->ring, &in.op, event, POLLIN);
	ring_poll(self->ring, &out.op, self->stream[0], POLLOUT);
	ring_poll(self->ring, &hup.op, self->packet[0], 0);
	turn_until(self->ring, &out, 1);
	EXPECT_EQ(POLLOUT, out.res);
	settle(self->ring);
	EXPECT_EQ(0, in.calls);
	EXPECT_EQ(0, hup.calls);
	ASSERT_EQ(8, write(event, &one, 8));
	close(self->packet[1]);
	self->packet[1] = -1;
	turn_until(self->ring, &in, 1);
	turn_until(self->ring, &hup, 1);
	EXPECT_EQ(POLLIN, in.res);
	EXPECT_TRUE(hup.res & POLLHUP);
	close(event);
}

/* What is written is reported, read or not. A watch that has ended is started again when the pipe is read. */
TEST_F(ring, watch)
{
	struct probe p = PROBE;
	int pipe[2];
	char c;

	ASSERT_OK(pipe2(pipe, O_CLOEXEC | O_NONBLOCK));
	for (int i = 1; i <= 40; i++) {
		if (!ring_op_busy(&p.op))
			ring_watch(self->ring, &p.op, pipe[0], POLLIN);
		settle(self->ring);
		EXPECT_EQ(i - 1, p.calls);
		ASSERT_EQ(1, write(pipe[1], "", 1));
		turn_until(self->ring, &p, i);
		EXPECT_EQ(POLLIN, p.res);
		if (!(p.flags & RING_MORE) || i % 10 == 0)
			while (read(pipe[0], &c, 1) == 1)
				;
	}
	close(pipe[1]);
	if (!ring_op_busy(&p.op))
		ring_watch(self->ring, &p.op, pipe[0], POLLIN);
	turn_until(self->ring, &p, 41);
	EXPECT_TRUE(p.res & POLLHUP);
	ring_cancel(self->ring, &p.op);
	while (ring_op_busy(&p.op))
		ASSERT_OK(ring_turn(self->ring, false));
	close(pipe[0]);
}

/* A pipe whose rings are left in it is what makes an answer of the holder cheap (crypto/backend_holder.c). */
TEST_F(ring, watch_goes_on_with_io_uring)
{
	struct probe p = PROBE;
	int pipe[2];

	ASSERT_OK(pipe2(pipe, O_CLOEXEC));
	ring_watch(self->ring, &p.op, pipe[0], POLLIN);
	for (int i = 1; i <= 3; i++) {
		settle(self->ring);
		ASSERT_EQ(1, write(pipe[1], "", 1));
		turn_until(self->ring, &p, i);
		EXPECT_EQ(variant->kind == RING_IO_URING ? RING_MORE : 0, p.flags);
		if (!ring_op_busy(&p.op)) /* epoll's ends each time */
			ring_watch(self->ring, &p.op, pipe[0], POLLIN);
	}
	ring_cancel(self->ring, &p.op);
	while (ring_op_busy(&p.op))
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_EQ(0, p.flags);
	if (variant->kind == RING_IO_URING)
		EXPECT_ERR(-ECANCELED, p.res);
	close(pipe[0]);
	close(pipe[1]);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST_F(ring, signals_are_no_error)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct probe p = PROBE;
	pid_t child;

	ASSERT_OK(sigaction(SIGUSR1, &sa, NULL));
	ring_timer(self->ring, &p.op, now_ns() + 20000000);
	child = fork();
	if (child == 0) {
		while (kill(getppid(), SIGUSR1) == 0 && getppid() != 1)
			usleep(500);
		_exit(0);
	}
	turn_until(self->ring, &p, 1);
	EXPECT_OK(p.res);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TEST_F(ring, freed_with_its_descriptors)
{
	int before = dup(0), after;
	struct ring *ring;

	close(before);
	for (int i = 0; i < 50; i++) {
		ASSERT_OK(ring_new(variant->kind, 8, &ring));
		ring_free(ring);
	}
	after = dup(0);
	close(after);
	EXPECT_EQ(before, after);
}

/* Also what was under way: its file is closed. More often than a task can register rings (16). */
TEST_F(ring, freed_with_what_it_held)
{
	struct probe p;
	struct ring *ring;
	int pipe[2];

	for (int i = 0; i < 40; i++) {
		p = (struct probe)PROBE;
		ASSERT_OK(pipe2(pipe, O_CLOEXEC));
		ASSERT_OK(ring_new(variant->kind, 8, &ring));
		ring_poll(ring, &p.op, pipe[1], POLLERR);
		ASSERT_OK(ring_turn(ring, true));
		ring_free(ring);
		close(pipe[1]);
		ASSERT_EQ(0, read(pipe[0], &(char){ 0 }, 1)); /* waits for the end */
		close(pipe[0]);
	}
}

TEST_HARNESS_MAIN
