/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring twin, and the only file that knows liburing.
 *
 * The ring can do what this file does and nothing else. It is made disabled, given a list of
 * allowed opcodes (IORING_REGISTER_RESTRICTIONS), and enabled; from then on every other opcode, any
 * submission flag and every register call that could change it end with EACCES, for whoever controls this process
 * (io_uring/io_uring.c io_check_restriction). seccomp cannot do this: it does not see submissions.
 * It must still forbid io_uring_setup, or a second ring would be free of all this.
 *
 * What the kernel does, and what follows here:
 * - A completion may need deferred work of our own task (IORING_SETUP_DEFER_TASKRUN): it shows up
 *   only in an io_uring_enter() with GETEVENTS, so each turn makes one, even if it must not wait.
 * - Requests of one submission are issued in order, inline (io_submit_sqes). Therefore a cancel
 *   request, which names its target by user_data, meets the operation it was made for and never a
 *   later one that reuses the same struct ring_op: a callback runs after the submission, and what it
 *   starts is queued behind.
 * - A request that would have to wait is kept and polled for by the kernel, also on O_NONBLOCK files
 *   (measured on 6.1, 6.12, 6.18 and 7.3). Only MSG_DONTWAIT asks for EAGAIN.
 * - When the completion queue is full the kernel keeps the rest (IORING_FEAT_NODROP) and may refuse
 *   new submissions with EBUSY until we have reaped. What cannot be submitted waits on `backlog`,
 *   in order.
 *
 * Receives are single: each is queued anew, beside the answer that goes out. A multishot receive with
 * provided buffers would save 400 instructions on 6.12 and 1 000 on 7.3 for what arrives together, be
 * it one call or sixty-four, and no crossing. It would take a register call and a flag out of the
 * restriction, and reading could not be held back while a peer does not read. Accepts are multishot.
 *
 * An exchange on an AF_ALG op socket (crypto/af_alg.c, crypto/algif_skcipher.c) is a sendmsg, or a send
 * where there are bytes alone, and a recv, both with MSG_DONTWAIT and not linked. Submitted together
 * they are issued in order and the send is complete before the receive begins. Should the send fail,
 * a receive without MSG_DONTWAIT finds no message and waits for one that never comes
 * (af_alg_wait_for_data; measured on 6.12 and 7.3). With MSG_DONTWAIT it answers EAGAIN, and if the
 * requests ever ran in another order the exchange would fail rather than hang. A link would add
 * nothing: a short send does not break one. A send larger than the socket's buffer is short instead
 * of waiting for a reader who cannot come.
 */
#include "daemon/sys/ring_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>

#include "daemon/base/log.h"

/* BACKLOG: not yet submitted. */
enum { STAGE_BACKLOG, STAGE_KERNEL };

/* Low bits of user_data; the rest is the operation's address. 0 as a whole: of no interest. */
#define TAG_SEND 1U /* the first half of an exchange */
#define TAG_MASK 7U

#define FEATURES (IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG)

struct uring {
	struct ring ring;
	struct io_uring io;
	bool up;             /* io is initialised */
	bool multishot;      /* IORING_ACCEPT_MULTISHOT is known */
	struct list backlog; /* to be started or, if already in the kernel, to be cancelled */
};

/* What prep_…() and queue_cancel() use. SENDMSG is the first half of an exchange. */
static const uint8_t opcodes[] = {
	IORING_OP_ACCEPT,  IORING_OP_RECV,     IORING_OP_SEND,
	IORING_OP_SENDMSG, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
};

/* The best first. liburing 2.3 and Linux 6.1 know them all. */
static const unsigned int setup_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
		IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	0,
};

static struct uring *uring_of(struct ring *ring)
{
	return container_of(ring, struct uring, ring);
}

/* Room for @n submissions, made if need be. */
static bool have_room(struct uring *u, unsigned int n)
{
	if (io_uring_sq_space_left(&u->io) < n) {
		/* Errors come back at the next wait, which knows what to do. */
		u->ring.stats.enters++;
		(void)io_uring_submit(&u->io);
	}
	return io_uring_sq_space_left(&u->io) >= n;
}

static uint64_t tagged(const struct ring_op *op, unsigned int tag)
{
	return (uint64_t)(uintptr_t)op | tag;
}

static void prep_accept(struct uring *u, struct io_uring_sqe *sqe, struct ring_op *op)
{
	if (u->multishot && !u->ring.accept_in_turns)
		io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL,
					       SOCK_CLOEXEC | SOCK_NONBLOCK);
	else
		io_uring_prep_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void prep_recv(struct uring *u _unused_, struct io_uring_sqe *sqe, struct ring_op *op)
{
	io_uring_prep_recv(sqe, op->fd, op->data.in, op->data.len, 0);
}

static void prep_send(struct uring *u _unused_, struct io_uring_sqe *sqe, struct ring_op *op)
{
	io_uring_prep_send(sqe, op->fd, op->data.out, op->data.len, MSG_NOSIGNAL);
}

static void prep_poll(struct uring *u _unused_, struct io_uring_sqe *sqe, struct ring_op *op)
{
	io_uring_prep_poll_add(sqe, op->fd, op->events);
}

static void prep_watch(struct uring *u, struct io_uring_sqe *sqe, struct ring_op *op)
{
	if (u->multishot)
		io_uring_prep_poll_multishot(sqe, op->fd, op->events);
	else
		io_uring_prep_poll_add(sqe, op->fd, op->events);
}

static void prep_exchange(struct uring *u, struct io_uring_sqe *sqe, struct ring_op *op)
{
	const struct msghdr *msg = op->exchange.msg;

	if (ring_msg_is_bytes(msg))
		io_uring_prep_send(sqe, op->fd, msg->msg_iov->iov_base, msg->msg_iov->iov_len,
				   MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		io_uring_prep_sendmsg(sqe, op->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	io_uring_sqe_set_data64(sqe, tagged(op, TAG_SEND));
	sqe = io_uring_get_sqe(&u->io);
	io_uring_prep_recv(sqe, op->fd, op->exchange.buf, op->exchange.len, MSG_DONTWAIT);
	io_uring_sqe_set_data64(sqe, tagged(op, 0));
	op->exchange.pending = 2;
}

static void (*const prep[])(struct uring *u, struct io_uring_sqe *sqe, struct ring_op *op) = {
	[RING_OP_ACCEPT] = prep_accept, [RING_OP_RECV] = prep_recv,   [RING_OP_SEND] = prep_send,
	[RING_OP_POLL] = prep_poll,     [RING_OP_WATCH] = prep_watch,
};

/* False if there is no room: nothing has been queued then. */
static bool queue_op(struct uring *u, struct ring_op *op)
{
	struct io_uring_sqe *sqe;

	if (!have_room(u, op->kind == RING_OP_EXCHANGE ? 2 : 1))
		return false;
	sqe = io_uring_get_sqe(&u->io);
	if (op->kind == RING_OP_EXCHANGE) {
		prep_exchange(u, sqe, op);
	} else {
		prep[op->kind](u, sqe, op);
		io_uring_sqe_set_data64(sqe, tagged(op, 0));
	}
	op->stage = STAGE_KERNEL;
	return true;
}

static bool queue_cancel(struct uring *u, const struct ring_op *op)
{
	struct io_uring_sqe *sqe;

	if (!have_room(u, 1))
		return false;
	sqe = io_uring_get_sqe(&u->io);
	io_uring_prep_cancel64(sqe, tagged(op, 0), 0);
	io_uring_sqe_set_data64(sqe, 0);
	return true;
}

static void uring_start(struct ring *ring, struct ring_op *op)
{
	struct uring *u = uring_of(ring);

	if (list_empty(&u->backlog) && queue_op(u, op))
		return;
	op->stage = STAGE_BACKLOG;
	list_add_tail(&u->backlog, &op->link);
}

static void uring_cancel(struct ring *ring, struct ring_op *op)
{
	struct uring *u = uring_of(ring);

	if (op->stage == STAGE_BACKLOG) {
		list_del(&op->link);
		ring_done(ring, op, -ECANCELED);
	} else if (!queue_cancel(u, op)) {
		list_add_tail(&u->backlog, &op->link);
	}
}

/*
 * One enter, with GETEVENTS. EBUSY and EAGAIN: the kernel wants completions reaped, or is short of
 * memory, and what it did not take stays queued. ETIME and EINTR: nothing has happened. Any other
 * error is fatal; EBADR says that completions were lost.
 */
static int uring_wait(struct ring *ring, int64_t timeout_ns)
{
	struct uring *u = uring_of(ring);
	int r;

	while (!list_empty(&u->backlog)) {
		struct ring_op *op = list_first(&u->backlog, struct ring_op, link);

		if (!(op->stage == STAGE_BACKLOG ? queue_op(u, op) : queue_cancel(u, op)))
			break;
		list_del(&op->link);
	}
	ring->stats.enters++;
	if (timeout_ns == 0 || !list_empty(&u->backlog)) {
		r = io_uring_submit_and_get_events(&u->io);
	} else if (timeout_ns < 0) {
		r = io_uring_submit_and_wait(&u->io, 1);
	} else {
		struct __kernel_timespec ts = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
		struct io_uring_cqe *cqe;

		r = io_uring_submit_and_wait_timeout(&u->io, &cqe, 1, &ts, NULL);
	}
	if (r == -EINTR || r == -ETIME || r == -EBUSY || r == -EAGAIN)
		return 0;
	return r < 0 ? r : 0;
}

static void uring_finish(struct uring *u, struct ring_op *op, int res)
{
	list_del(&op->link); /* a cancel request that found no room is no longer needed */
	ring_deliver(&u->ring, op, res);
}

/* What callbacks submit may complete at once; it waits for the next turn, hence the count. */
static void uring_reap(struct ring *ring)
{
	struct uring *u = uring_of(ring);
	struct io_uring_cqe *cqe;

	for (unsigned int n = io_uring_cq_ready(&u->io); n > 0; n--) {
		struct ring_op *op;
		uint64_t data;
		bool more;
		int res;

		if (io_uring_peek_cqe(&u->io, &cqe) < 0)
			return;
		data = cqe->user_data;
		res = cqe->res;
		more = cqe->flags & IORING_CQE_F_MORE;
		io_uring_cqe_seen(&u->io, cqe);
		op = (struct ring_op *)(uintptr_t)(data & ~(uint64_t)TAG_MASK);
		if (!op)
			continue;
		if (op->kind == RING_OP_EXCHANGE) {
			if ((data & TAG_MASK) == TAG_SEND)
				op->exchange.sent = res;
			else
				op->exchange.got = res;
			if (--op->exchange.pending == 0)
				uring_finish(u, op, ring_exchange_result(op));
		} else if (more) {
			ring_deliver_more(ring, op, res);
		} else {
			uring_finish(u, op, res);
		}
	}
}

/* The kernel cancels what is in flight as it takes the ring apart. */
static void uring_free(struct ring *ring)
{
	struct uring *u = uring_of(ring);

	if (u->up)
		io_uring_queue_exit(&u->io);
	free(u);
}

static const struct ring_twin uring_twin = {
	.name = "io_uring",
	.free = uring_free,
	.start = uring_start,
	.cancel = uring_cancel,
	.wait = uring_wait,
	.reap = uring_reap,
};

/* A disabled ring with the best flags the kernel takes. Completions outnumber submissions: an accept
 * makes many, and all connections of the daemon may be waiting at once. */
static int setup(struct uring *u, unsigned int entries)
{
	struct io_uring_params p;
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(setup_flags) && r == -EINVAL; i++) {
		memset(&p, 0, sizeof(p));
		p.flags = setup_flags[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
			  IORING_SETUP_CLAMP;
		p.cq_entries = 4 * entries;
		r = io_uring_queue_init_params(entries, &u->io, &p);
	}
	if (r < 0)
		return r;
	u->up = true;
	return (p.features & FEATURES) == FEATURES ? 0 : -EOPNOTSUPP;
}

static int probe_opcodes(struct uring *u)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&u->io);
	int r = 0;

	if (!probe)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++)
		if (!io_uring_opcode_supported(probe, opcodes[i]))
			r = -EOPNOTSUPP;
	io_uring_free_probe(probe);
	return r;
}

/* What a ring that is enabled answers with EBADFD, and what gives back what io_uring_register_ring_fd() has taken. */
static const uint8_t register_calls[] = { IORING_REGISTER_ENABLE_RINGS,
					  IORING_UNREGISTER_RING_FDS };

/*
 * From the enabling on, only the opcodes are allowed, without any flag of a submission. Other register
 * calls are refused too, which Linux 7.3 does only if at least one has been listed. (liburing 2.3 declares
 * functions for the two calls here, but its shared library lacks them.)
 */
static int restrict_and_enable(struct uring *u)
{
	struct io_uring_restriction res[ARRAY_SIZE(opcodes) + ARRAY_SIZE(register_calls)] = { 0 };
	unsigned int fd = (unsigned int)u->io.ring_fd;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		res[i].opcode = IORING_RESTRICTION_SQE_OP;
		res[i].sqe_op = opcodes[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(register_calls); i++) {
		res[ARRAY_SIZE(opcodes) + i].opcode = IORING_RESTRICTION_REGISTER_OP;
		res[ARRAY_SIZE(opcodes) + i].register_op = register_calls[i];
	}
	r = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, res, ARRAY_SIZE(res));
	if (r < 0)
		return r;
	return io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/*
 * One real request: a multishot accept on no fd. EBADF if the kernel knows multishot accepts (5.19),
 * EINVAL if not; either way the ring works.
 */
static int try_ring(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->io);
	struct io_uring_cqe *cqe;
	int r;

	io_uring_prep_multishot_accept(sqe, -1, NULL, NULL, 0);
	io_uring_sqe_set_data64(sqe, 0);
	do
		r = io_uring_submit_and_wait(&u->io, 1);
	while (r == -EINTR);
	if (r < 0)
		return r;
	r = io_uring_wait_cqe(&u->io, &cqe);
	if (r < 0)
		return r;
	r = cqe->res;
	io_uring_cqe_seen(&u->io, cqe);
	u->multishot = r == -EBADF;
	return r == -EBADF || r == -EINVAL ? 0 : r < 0 ? r : -EIO;
}

int ring_uring_new(unsigned int entries, struct ring **ret)
{
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	ring_init(&u->ring, &uring_twin);
	list_init(&u->backlog);
	r = setup(u, entries);
	if (r == 0)
		r = probe_opcodes(u);
	if (r == 0) {
		/* So that no turn has to look the descriptor up. Linux before 5.18 refuses. */
		(void)io_uring_register_ring_fd(&u->io);
		r = restrict_and_enable(u);
	}
	if (r == 0)
		r = try_ring(u);
	if (r < 0) {
		uring_free(&u->ring);
		return r;
	}
	*ret = &u->ring;
	return 0;
}

static const char *refusal(int r)
{
	_cleanup_close_ int fd = -1;
	char disabled = '0'; /* also where the kernel does not have the sysctl (before 6.6) */

	if (r == -EPERM)
		fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &disabled, 1) != 1)
		disabled = '0';
	if (disabled == '2')
		return "sysctl kernel.io_uring_disabled=2 forbids it to everyone; set it to 0, or to 1 "
		       "and start with CAP_SYS_ADMIN";
	if (disabled == '1')
		return "sysctl kernel.io_uring_disabled=1 forbids it here; set it to 0, or put this "
		       "process's group into kernel.io_uring_group";
	if (r == -EPERM || r == -EACCES)
		return "a seccomp filter or security module forbids io_uring_setup; allow it in the "
		       "container's or the unit's profile";
	if (r == -ENOSYS)
		return "this kernel has no io_uring, or a seccomp filter hides it; allow "
		       "io_uring_setup, io_uring_enter and io_uring_register";
	if (r == -ENOMEM)
		return "there is no memory for it; raise RLIMIT_MEMLOCK (LimitMEMLOCK=) or the "
		       "control group's limit";
	if (r == -EOPNOTSUPP || r == -EINVAL)
		return "this kernel's io_uring is too old; 5.11 is the least that will do";
	return "the kernel refused it";
}

void ring_uring_explain(int r, char *why, size_t size)
{
	snprintf(why, size, "%s: %s", errno_text(r), refusal(r));
}
