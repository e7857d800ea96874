/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many deadlines, one timer: a binary heap of nodes embedded in their owners. Pure, no clock of
 * its own; whoever drives it calls timeq_expire() and sleeps until timeq_next().
 *
 * A node gets its place when its owner is made (timeq_add), so that setting a deadline can neither
 * fail nor allocate.
 */
#ifndef KEKD_WIRE_TIMEQ_H
#define KEKD_WIRE_TIMEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timeq_node {
	void (*fire)(struct timeq_node *node); /* the node is already out */
	uint64_t when;
	size_t pos; /* index in the heap plus 1; 0: not queued */
};

struct timeq {
	struct timeq_node **heap;
	size_t n, cap, added;
};

/* Zero-initialised is empty. Frees the heap; the nodes are their owners'. */
void timeq_done(struct timeq *q);
/* Make @node one of @q's, not queued; @fire runs when it is due. -ENOMEM leaves it as it was. */
int timeq_add(struct timeq *q, struct timeq_node *node, void (*fire)(struct timeq_node *node));
/* Clear, and give the place back. Nothing happens to a node that was never added. */
void timeq_remove(struct timeq *q, struct timeq_node *node);
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
