/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many deadlines, one timer: a heap of nodes embedded in their owners. Pure, no clock of its own; whoever
 * drives it calls timeq_expire() and sleeps until timeq_next(). It allocates nothing, so setting a deadline
 * cannot fail.
 */
#ifndef KEKD_BASE_TIMEQ_H
#define KEKD_BASE_TIMEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised means not queued. */
struct timeq_node {
	void (*fire)(struct timeq_node
			     *node); /* set by the owner, for timeq_expire(); the node is out */
	uint64_t when;
	/* Private to the queue. */
	uint64_t seq;
	struct timeq_node *child, *next, *prev;
};

/* Zero-initialised is empty. */
struct timeq {
	struct timeq_node *root; /* the earliest */
	uint64_t seq;
};

/* Memory that nothing was in becomes a node that is not queued. */
void timeq_node_init(struct timeq_node *node, void (*fire)(struct timeq_node *node));
/* Queue @node (borrowed until it fires or is taken out) for @when, or move it there. */
void timeq_set(struct timeq *q, struct timeq_node *node, uint64_t when);
/* Take out; nothing happens if it is not queued. */
void timeq_clear(struct timeq *q, struct timeq_node *node);
/* Earliest deadline; 0 if none. */
uint64_t timeq_next(const struct timeq *q);
/*
 * Take out a node that is due at @now, the earliest first and equal ones in the order in which they were
 * set. NULL if none is.
 */
struct timeq_node *timeq_take(struct timeq *q, uint64_t now);
/* Take out and fire every node that is due at @now. A callback may set or clear any node. */
void timeq_expire(struct timeq *q, uint64_t now);

static inline bool timeq_queued(const struct timeq_node *node)
{
	return node->prev;
}

#endif
