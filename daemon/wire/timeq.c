/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap order is by deadline alone. Each node knows its place, so that taking one out of the
 * middle is O(log n): most calls are answered long before their deadline.
 */
#include "daemon/wire/timeq.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static void place(struct timeq *q, size_t i, struct timeq_node *node)
{
	q->heap[i] = node;
	node->pos = i + 1;
}

static size_t sift_up(struct timeq *q, size_t i, struct timeq_node *node)
{
	while (i > 0) {
		size_t up = (i - 1) / 2;

		if (q->heap[up]->when <= node->when)
			break;
		place(q, i, q->heap[up]);
		i = up;
	}
	return i;
}

static size_t sift_down(struct timeq *q, size_t i, struct timeq_node *node)
{
	for (;;) {
		size_t down = 2 * i + 1;

		if (down + 1 < q->n && q->heap[down + 1]->when < q->heap[down]->when)
			down++;
		if (down >= q->n || q->heap[down]->when >= node->when)
			return i;
		place(q, i, q->heap[down]);
		i = down;
	}
}

static void settle(struct timeq *q, size_t i, struct timeq_node *node)
{
	i = sift_up(q, i, node);
	place(q, sift_down(q, i, node), node);
}

void timeq_done(struct timeq *q)
{
	free(q->heap);
	*q = (struct timeq){ 0 };
}

static int room_for(struct timeq *q, size_t nodes)
{
	size_t cap = q->cap ? q->cap : 64;
	struct timeq_node **heap;

	while (cap < nodes)
		cap *= 2;
	if (cap == q->cap)
		return 0;
	heap = reallocarray(q->heap, cap, sizeof(struct timeq_node *));
	if (!heap)
		return -ENOMEM;
	q->heap = heap;
	q->cap = cap;
	return 0;
}

int timeq_add(struct timeq *q, struct timeq_node *node, void (*fire)(struct timeq_node *node))
{
	int r = room_for(q, q->added + 1);

	if (r < 0)
		return r;
	q->added++;
	*node = (struct timeq_node){ .fire = fire };
	return 0;
}

void timeq_remove(struct timeq *q, struct timeq_node *node)
{
	if (!node->fire)
		return;
	timeq_clear(q, node);
	node->fire = NULL;
	q->added--;
}

void timeq_set(struct timeq *q, struct timeq_node *node, uint64_t when)
{
	size_t i = node->pos - 1;

	if (!timeq_queued(node)) {
		assert(q->n < q->added);
		i = q->n++;
	}
	node->when = when;
	settle(q, i, node);
}

void timeq_clear(struct timeq *q, struct timeq_node *node)
{
	struct timeq_node *last;
	size_t i = node->pos - 1;

	if (!timeq_queued(node))
		return;
	node->pos = 0;
	last = q->heap[--q->n];
	if (last != node)
		settle(q, i, last);
}

uint64_t timeq_next(const struct timeq *q)
{
	return q->n > 0 ? q->heap[0]->when : 0;
}

void timeq_expire(struct timeq *q, uint64_t now)
{
	while (q->n > 0 && q->heap[0]->when <= now) {
		struct timeq_node *node = q->heap[0];

		timeq_clear(q, node);
		node->fire(node);
	}
}
