/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the ring share: the twin's vtable, and the rules by which an operation passes
 * between ring.c and a twin. Included by daemon/sys/ring*.c and the ring's own test only.
 *
 * An operation is IDLE, or it is in exactly one of three places: in the queue of timers, with the twin,
 * or on ring->done, its result known and its callback still to run. Timers and the list of results
 * are shared code, so the twins can differ only in how they talk to the kernel.
 */
#ifndef KEKD_SYS_RING_IMPL_H
#define KEKD_SYS_RING_IMPL_H

#include "daemon/sys/ring.h"

enum ring_op_kind {
	RING_OP_ACCEPT,
	RING_OP_RECV,
	RING_OP_SEND,
	RING_OP_POLL,
	RING_OP_WATCH,
	RING_OP_EXCHANGE,
	RING_OP_TIMER,
};

enum ring_op_state { RING_STATE_IDLE, RING_STATE_TIMER, RING_STATE_TWIN, RING_STATE_DONE };

struct ring_twin {
	const char *name;
	/* Free the ring and all that it holds. */
	void (*free)(struct ring *ring);
	/* Take over @op, which is filled in. Also called again for an accept that goes on. */
	void (*start)(struct ring *ring, struct ring_op *op);
	/* @op is with the twin, is not an exchange, and is cancelled for the first time. */
	void (*cancel)(struct ring *ring, struct ring_op *op);
	/*
	 * Hand all that is queued to the kernel and wait @timeout_ns (-1: for ever) for something to
	 * happen. May call ring_done(), runs no callback. 0 or a fatal -errno.
	 */
	int (*wait)(struct ring *ring, int64_t timeout_ns);
	/* Run the callbacks of results that are not on ring->done. NULL if there are none such. */
	void (*reap)(struct ring *ring);
};

struct ring {
	const struct ring_twin *twin;
	struct list done;
	struct timeq timers;
	uint64_t now; /* ring_now(); 0: not read in this turn */
	struct ring_stats stats;
	bool turning, accept_in_turns;
	char why[256];
};

/* @ring is zeroed memory inside the twin's own struct; @twin is borrowed for ever. */
void ring_init(struct ring *ring, const struct ring_twin *twin);
/* @op's result is known; its callback runs later in this turn or in the next one. */
void ring_done(struct ring *ring, struct ring_op *op, int res);
/* Run @op's callback now. An accepted fd goes out with RING_MORE and the accept is started again. */
void ring_deliver(struct ring *ring, struct ring_op *op, int res);
/* Run @op's callback with RING_MORE; the operation stays where it is. */
void ring_deliver_more(struct ring *ring, struct ring_op *op, int res);
/* Result of an exchange whose halves returned op->exchange.sent and .got. */
int ring_exchange_result(const struct ring_op *op);
/* Is @msg what send(2) sends? That is cheaper: the kernel has no header and no vector to copy. */
static inline bool ring_msg_is_bytes(const struct msghdr *msg)
{
	return msg->msg_iovlen == 1 && msg->msg_controllen == 0 && msg->msg_namelen == 0;
}
/* Both halves of @op by plain system calls, which never wait. Their result. */
int ring_exchange_plain(struct ring_op *op);

/* The twins. @ret is owned by the caller and freed with ring_free(). */
int ring_uring_new(unsigned int entries, struct ring **ret);
int ring_epoll_new(struct ring **ret);
/* Why ring_uring_new() returned @r, and the cure. Writes at most @size bytes, NUL included. */
void ring_uring_explain(int r, char *why, size_t size);

#endif
