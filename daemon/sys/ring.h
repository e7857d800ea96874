/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop's one door to the kernel: asynchronous operations that are queued here, go in
 * together at the next ring_turn(), and come back through a callback.
 *
 * Two twins stand behind it. `io_uring` queues real submissions; `epoll` waits for readiness and
 * makes the plain system calls. What a caller can observe is the same for both (tests/unit/ring.c
 * runs every test on each). ring_new(RING_AUTO) probes: io_uring where it works, otherwise epoll,
 * and ring_why() says why.
 *
 * Contract:
 * - A ring_op belongs to its caller and must stay in place until its callback has run. One ring_op
 *   carries one operation at a time; starting it again inside its own callback is fine.
 * - Buffers, msghdrs and fds named by an operation are borrowed until its callback has run. An fd
 *   must not be closed while an operation on it is in flight: cancel first, close in the callback.
 * - An fd carries at most one reading operation (accept, recv, poll, watch) and one writing operation
 *   (send, poll for POLLOUT alone) at a time. The epoll twin asserts it.
 * - Fds may be blocking or not; nothing here ever blocks on them. (The epoll twin makes a listener
 *   non-blocking, see there.)
 * - Callbacks run only from ring_turn(), never from inside a ring_… start call, so there is no
 *   re-entrancy to think about.
 * - Every started operation completes exactly once (multishot ones: once without RING_MORE),
 *   cancelled or not.
 * - Starting an operation cannot fail. When the submission queue is full it is submitted at once.
 * - One thread, and the process that made the ring: a child of fork must not touch it.
 */
#ifndef KEKD_SYS_RING_H
#define KEKD_SYS_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/timeq.h"
#include <kekd/list.h>

enum ring_kind { RING_AUTO, RING_IO_URING, RING_EPOLL };

/* More completions of this multishot operation will follow. */
#define RING_MORE 1U

struct ring;
struct ring_op;

/* @res: bytes, a new fd (ring_accept), 0, or -errno. @flags: RING_MORE. */
typedef void ring_done_fn(struct ring_op *op, int res, unsigned int flags);

/* Zero-initialised means idle. */
struct ring_op {
	ring_done_fn *done; /* set by the caller before the first start */
	/* Private to the ring. */
	struct list link;
	uint8_t kind, state, stage;
	bool cancelled;
	int fd;
	int res;
	union {
		struct {
			union {
				void *in;
				const void *out;
			};
			size_t len;
		} data;
		unsigned int events;
		struct {
			const struct msghdr *msg;
			void *buf;
			size_t send_len, len;
			int sent, got;
			unsigned int pending;
		} exchange;
		struct timeq_node timer;
	};
};

static inline bool ring_op_busy(const struct ring_op *op)
{
	return op->state != 0;
}

/*
 * @entries: submissions a turn can hold (power of two, at least 2). -ENOSYS, -EPERM, … when @want
 * is RING_IO_URING and the kernel refuses, after a log line that names the cure; RING_AUTO falls
 * back to epoll and remembers why.
 */
int ring_new(enum ring_kind want, unsigned int entries, struct ring **ret);
/* No operation may be in flight. */
void ring_free(struct ring *ring);
DEFINE_CLEANUP(struct ring *, ring_free);

const char *ring_name(const struct ring *ring); /* "io_uring" or "epoll" */
const char *ring_why(const struct ring *ring);  /* why not io_uring and the cure, or "" */

/*
 * res = connected fd (CLOEXEC, NONBLOCK), again and again with RING_MORE. Owned by the callback. An error
 * ends it. After -EMFILE or -ENFILE wait before starting again: the connection is still queued and
 * would fail again at once.
 */
void ring_accept(struct ring *ring, struct ring_op *op, int listen_fd);
/*
 * From now on each accept is for one connection and comes without RING_MORE, for a listener that other
 * processes accept from too. With io_uring a connection then goes to the process that has waited
 * longest; a multishot accept would stay in front of the others and get them all.
 */
void ring_accept_in_turns(struct ring *ring);
/* res = bytes, 0 at end of stream. @buf[len]. */
void ring_recv(struct ring *ring, struct ring_op *op, int fd, void *buf, size_t len);
/* res = bytes taken, may be fewer than @len; the caller sends the rest. MSG_NOSIGNAL. */
void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *buf, size_t len);
/* res = poll(2) revents. One shot. */
void ring_poll(struct ring *ring, struct ring_op *op, int fd, short events);
/*
 * The same, for a pipe: with RING_MORE it goes on, and reports what is written from then on, whether or not the
 * bytes that it has reported are read. Without, it has ended: the bytes are to be read before it is started again.
 */
void ring_watch(struct ring *ring, struct ring_op *op, int fd, short events);
/*
 * res = 0 when CLOCK_MONOTONIC has reached @when_ns; -ECANCELED if cancelled before the callback
 * ran. Timers run in the order of their times, equal ones in the order of their start.
 */
void ring_timer(struct ring *ring, struct ring_op *op, uint64_t when_ns);
/*
 * One AF_ALG operation on an op socket: send @msg whole, then receive exactly @len bytes into
 * @buf. res = 0 only if both were complete; otherwise the first -errno, or -EIO for a short send
 * or receive: the socket's state is then unknown and it must be closed. Nothing is waited for:
 * -EAGAIN means that the kernel would not take or had not got the bytes at once. Not cancellable.
 */
void ring_exchange(struct ring *ring, struct ring_op *op, int fd, const struct msghdr *msg,
		   void *buf, size_t len);

/*
 * The same without the loop, for a lone operation: two plain system calls, no completion, and the
 * answer is there when this returns. Works on either twin and from anywhere. 0 or -errno, as the res
 * of ring_exchange(); nothing is waited for.
 */
int ring_exchange_now(struct ring *ring, int fd, const struct msghdr *msg, void *buf, size_t len);

/*
 * Ask @op to end early. Its callback still runs, from a later turn, with -ECANCELED or with what
 * it had reached already. Nothing happens if not busy.
 */
void ring_cancel(struct ring *ring, struct ring_op *op);

/*
 * Submit everything queued, wait until something completes (or return at once if @nowait), run the
 * callbacks of all completions that are there. It may return without having run any: callers loop.
 * 0, or -errno that ends the daemon. EINTR is 0.
 */
int ring_turn(struct ring *ring, bool nowait);

/* Counters since ring_new(), for tests. */
struct ring_stats {
	uint64_t enters;      /* io_uring_enter calls, or epoll calls plus every plain call */
	uint64_t submissions; /* operations started */
	uint64_t completions; /* callbacks run */
	uint64_t direct;      /* ring_exchange_now() calls, each two more system calls */
};
void ring_stats(const struct ring *ring, struct ring_stats *ret);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);
/* The same as of this turn: read once after its wait, so late by no more than a turn works. */
uint64_t ring_now(struct ring *ring);
/* CLOCK_BOOTTIME: the same, and it goes on while the machine is suspended. Nobody sets either. */
int64_t boot_ns(void);

#endif
