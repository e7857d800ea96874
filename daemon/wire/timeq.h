/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many deadlines, one timer: a binary heap of nodes embedded in their owners. Pure, no clock of
 * its own; whoever drives it calls timeq_expire() and sleeps until timeq_next().
 *
 * Places are reserved when an owner is made (timeq_reserve), so that setting a deadline can neither
 * fail nor allocate.
 */
#ifndef KEKD_WIRE_TIMEQ_H
#define KEKD_WIRE_TIMEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timeq_node {
	void (*fire)(struct timeq_node *node); /* set by the owner; the node is already out */
	uint64_t when;
	size_t pos; /* index in the heap plus 1; 0: not queued */
};

struct timeq {
	struct timeq_node **heap;
	size_t n, cap, reserved;
};

/* Zero-initialised is empty. Frees the heap; the nodes are their owners'. */
void timeq_done(struct timeq *q);
/* Room for one more node, given back by timeq_unreserve(). -ENOMEM. */
int timeq_reserve(struct timeq *q, size_t nodes);
void timeq_unreserve(struct timeq *q, size_t nodes);
/* Queue @node (borrowed until it fires or is taken out) for @when, or move it there. */
void timeq_set(struct timeq *q, struct timeq_node *node, uint64_t when);
/* Take out; nothing happens if it is not queued. */
void timeq_clear(struct timeq *q, struct timeq_node *node);
/* Earliest deadline; 0 if none. */
uint64_t timeq_next(const struct timeq *q);
/* Fire every node that is due at @now. A callback may set or clear any node. */
void timeq_expire(struct timeq *q, uint64_t now);

static inline bool timeq_queued(const struct timeq_node *node)
{
	return node->pos != 0;
}

#endif
