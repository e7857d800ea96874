/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring twin from inside: what a process that has been taken over could ask of its ring, and
 * what happens when the kernel takes no more submissions. The source is included so that the test
 * can reach the ring itself.
 */
#include "daemon/sys/ring_uring.c"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "tests/harness/ktest.h"

FIXTURE(uring)
{
	struct ring *ring;
	struct uring *u;
	int pair[2];
};

FIXTURE_SETUP(uring)
{
	int r = ring_new(RING_IO_URING, 8, &self->ring);

	SKIP_UNLESS("io_uring", r == 0, "the kernel refuses it");
	self->u = uring_of(self->ring);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->pair));
}

FIXTURE_TEARDOWN(uring)
{
	ring_free(self->ring);
	close(self->pair[0]);
	close(self->pair[1]);
}

static struct io_uring_sqe *blank_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->io);

	ASSERT_NOT_NULL(sqe);
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

/* Submit what has been prepared, all of it to be answered at once; the last answer. */
static int answer(struct uring *u, unsigned int n)
{
	struct io_uring_cqe *cqe;
	int r = -ENODATA;

	ASSERT_EQ(n, io_uring_submit_and_wait(&u->io, n));
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_OK(io_uring_wait_cqe(&u->io, &cqe));
		r = cqe->res;
		io_uring_cqe_seen(&u->io, cqe);
	}
	return r;
}

/* Named here too, so that the list does not grow unseen. */
static bool is_used(uint8_t opcode)
{
	return opcode == IORING_OP_ACCEPT || opcode == IORING_OP_RECV || opcode == IORING_OP_SEND ||
	       opcode == IORING_OP_SENDMSG || opcode == IORING_OP_POLL_ADD ||
	       opcode == IORING_OP_ASYNC_CANCEL;
}

TEST_F(uring, opens_no_file)
{
	struct io_uring_sqe *sqe = blank_sqe(self->u);

	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	EXPECT_ERR(-EACCES, answer(self->u, 1));
}

TEST_F(uring, makes_no_connection)
{
	struct io_uring_sqe *sqe = blank_sqe(self->u);

	io_uring_prep_socket(sqe, AF_INET, SOCK_STREAM, 0, 0);
	EXPECT_ERR(-EACCES, answer(self->u, 1));
	sqe = blank_sqe(self->u);
	io_uring_prep_connect(sqe, self->pair[0], NULL, 0);
	EXPECT_ERR(-EACCES, answer(self->u, 1));
}

/* Every opcode there could be, known to this kernel or not, with no more than its number filled in. */
TEST_F(uring, every_other_opcode_is_refused)
{
	for (unsigned int i = 0; i < 256; i++) {
		struct io_uring_sqe *sqe;
		int r;

		if (is_used((uint8_t)i))
			continue;
		sqe = blank_sqe(self->u);
		sqe->opcode = (uint8_t)i;
		sqe->fd = -1;
		r = answer(self->u, 1);
		if (r != -EINVAL) /* unknown to this kernel */
			EXPECT_ERR(-EACCES, r);
	}
}

TEST_F(uring, used_opcodes_are_not_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		struct io_uring_sqe *sqe = blank_sqe(self->u);

		sqe->opcode = opcodes[i];
		sqe->fd = -1;
		EXPECT_NE(-EACCES, answer(self->u, 1));
	}
}

TEST_F(uring, submission_flags_are_refused)
{
	static const uint8_t flags[] = { IOSQE_FIXED_FILE, IOSQE_IO_LINK, IOSQE_IO_HARDLINK,
					 IOSQE_ASYNC, IOSQE_IO_DRAIN };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct io_uring_sqe *sqe = blank_sqe(self->u);

		io_uring_prep_send(sqe, self->pair[0], "x", 1, 0);
		sqe->flags = flags[i];
		EXPECT_ERR(-EACCES, answer(self->u, 1));
	}
}

/* Whether the kernel knows the call or not, with no more than its number filled in and with more. */
TEST_F(uring, register_calls_are_refused)
{
	unsigned int fd = (unsigned int)self->u->io.ring_fd;
	struct iovec iov = { self->pair, sizeof(self->pair) };

	for (unsigned int i = 0; i < 128; i++) {
		int r = io_uring_register(fd, i, NULL, 0);

		if (i == IORING_REGISTER_ENABLE_RINGS)
			EXPECT_ERR(-EBADFD, r); /* allowed, and of no use */
		else if (r != -EINVAL)
			EXPECT_ERR(-EACCES, r);
	}
	EXPECT_ERR(-EACCES, io_uring_register(fd, IORING_REGISTER_BUFFERS, &iov, 1));
	EXPECT_ERR(-EACCES, io_uring_register(fd, IORING_REGISTER_FILES, self->pair, 1));
	EXPECT_ERR(-EACCES, io_uring_register(fd, IORING_REGISTER_PERSONALITY, NULL, 0));
}

static int results[16];
static unsigned int n_results;

static void note(struct ring_op *op _unused_, int res, unsigned int flags _unused_)
{
	results[n_results++] = res;
}

/*
 * The kernel takes nothing more (as with EBUSY): operations and cancels wait in order, and go in when
 * it does again. Simulated by a submission queue that looks full.
 */
TEST_F(uring, backlog_keeps_order)
{
	struct ring_op in = { .done = note }, last = in, out[3] = { in, in, in };
	unsigned int real = self->u->io.sq.ring_entries;
	int more[2];
	char c = 0;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, more));
	n_results = 0;
	ring_recv(self->ring, &in, self->pair[0], &c, 1);
	ASSERT_OK(ring_turn(self->ring, true));
	self->u->io.sq.ring_entries = 0;
	ring_send(self->ring, &out[0], more[0], "abc", 3);
	ring_cancel(self->ring, &in);
	ring_send(self->ring, &out[1], more[1], "de", 2);
	ring_send(self->ring, &out[2], self->pair[1], "f", 1);
	ring_cancel(self->ring, &out[1]);
	EXPECT_EQ(0, n_results);
	ASSERT_OK(ring_turn(self->ring, false));
	ASSERT_EQ(1, n_results);
	EXPECT_ERR(-ECANCELED, results[0]);      /* out[1], which never got in */
	ASSERT_OK(ring_turn(self->ring, false)); /* does not sleep on a backlog */
	EXPECT_FALSE(list_empty(&self->u->backlog));
	self->u->io.sq.ring_entries = real;
	ring_poll(self->ring, &last, more[0], POLLOUT);
	EXPECT_EQ(STAGE_BACKLOG, last.stage); /* there is room, but others come first */
	while (n_results < 5)
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_TRUE(list_empty(&self->u->backlog));
	EXPECT_EQ(3, recv(more[1], results, sizeof(results), MSG_DONTWAIT));
	EXPECT_EQ(0, c); /* the cancel of `in` came before the byte for it */
	close(more[0]);
	close(more[1]);
}

/* A cancel that waits for room is forgotten when its operation ends by itself. */
TEST_F(uring, backlog_forgets_a_late_cancel)
{
	unsigned int real = self->u->io.sq.ring_entries;
	struct ring_op in = { .done = note };
	char c = 0;

	n_results = 0;
	ring_recv(self->ring, &in, self->pair[0], &c, 1);
	ASSERT_OK(ring_turn(self->ring, true));
	self->u->io.sq.ring_entries = 0;
	ring_cancel(self->ring, &in);
	EXPECT_FALSE(list_empty(&self->u->backlog));
	ASSERT_EQ(1, send(self->pair[1], "x", 1, 0));
	while (n_results < 1)
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_EQ(1, results[0]);
	EXPECT_TRUE(list_empty(&self->u->backlog));
	self->u->io.sq.ring_entries = real;
	ring_recv(self->ring, &in, self->pair[0], &c, 1);
	ASSERT_EQ(1, send(self->pair[1], "y", 1, 0));
	while (n_results < 2)
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_EQ(1, results[1]);
}

/* A full queue is submitted at once, so the backlog is for a kernel that refuses only. */
TEST_F(uring, full_queue_is_submitted)
{
	struct ring_op op[15];
	int fd[ARRAY_SIZE(op)];

	n_results = 0;
	for (size_t i = 0; i < ARRAY_SIZE(op); i++) {
		op[i] = (struct ring_op){ .done = note };
		fd[i] = eventfd(0, EFD_CLOEXEC);
		ring_poll(self->ring, &op[i], fd[i], POLLOUT);
		EXPECT_EQ(STAGE_KERNEL, op[i].stage);
	}
	EXPECT_TRUE(list_empty(&self->u->backlog));
	while (n_results < ARRAY_SIZE(op))
		ASSERT_OK(ring_turn(self->ring, false));
	for (size_t i = 0; i < ARRAY_SIZE(op); i++)
		close(fd[i]);
}

/* Kernels before 5.19 take one connection per accept. */
TEST_F(uring, accept_without_multishot)
{
	struct ring_op op = { .done = note };
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} addr = { .family = AF_UNIX };
	socklen_t len = sizeof(addr);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client[3];

	ASSERT_OK(bind(listener, (struct sockaddr *)&addr, sizeof(sa_family_t)));
	ASSERT_OK(getsockname(listener, (struct sockaddr *)&addr, &len));
	ASSERT_OK(listen(listener, 4));
	n_results = 0;
	self->u->multishot = false;
	ring_accept(self->ring, &op, listener);
	for (unsigned int i = 0; i < 3; i++) {
		client[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ASSERT_OK(connect(client[i], (struct sockaddr *)&addr, len));
		while (n_results < i + 1)
			ASSERT_OK(ring_turn(self->ring, false));
		EXPECT_GE(results[i], 0);
		close(results[i]);
		close(client[i]);
	}
	ring_cancel(self->ring, &op);
	while (n_results < 4)
		ASSERT_OK(ring_turn(self->ring, false));
	EXPECT_ERR(-ECANCELED, results[3]);
	close(listener);
}

/* The kernel's newest way to run completions is in use where it is offered, and only its owner may. */
TEST_F(uring, uses_the_best_there_is)
{
	pid_t child;
	int status;

	if (!(self->u->io.flags & IORING_SETUP_SINGLE_ISSUER))
		SKIP("this kernel does not know IORING_SETUP_SINGLE_ISSUER");
	EXPECT_TRUE(self->u->io.flags & IORING_SETUP_DEFER_TASKRUN);
	EXPECT_TRUE(self->u->multishot);
	EXPECT_NE(self->u->io.ring_fd,
		  self->u->io.enter_ring_fd); /* but its place among the registered */
	child = fork();
	ASSERT_GE(child, 0);
	if (child == 0) {
		EXPECT_ERR(-EEXIST, io_uring_enter((unsigned int)self->u->io.ring_fd, 0, 0,
						   IORING_ENTER_GETEVENTS, NULL));
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST(explains_each_refusal)
{
	static const struct {
		int r;
		const char *cure;
	} cases[] = {
		{ -ENOSYS, "seccomp" },        { -EPERM, "forbids" },  { -EACCES, "seccomp" },
		{ -ENOMEM, "RLIMIT_MEMLOCK" }, { -EINVAL, "too old" }, { -EOPNOTSUPP, "too old" },
		{ -EMFILE, "EMFILE" },
	};
	char why[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ring_uring_explain(cases[i].r, why, sizeof(why));
		EXPECT_NOT_NULL(strstr(why, cases[i].cure));
		EXPECT_NOT_NULL(strstr(why, strerrorname_np(-cases[i].r)));
	}
}

TEST_HARNESS_MAIN
