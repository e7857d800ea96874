/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): no allocation, O(1) to add,
 * O(log n) amortised to remove. Nearly every deadline of this daemon is taken out long before its time.
 *
 * A node's `prev` is its left sibling, or its parent if it is the first child; that of the root is the
 * root itself, so that it is NULL only outside of a queue.
 */
#include "daemon/base/timeq.h"

static bool earlier(const struct timeq_node *a, const struct timeq_node *b)
{
	if (a->when != b->when)
		return a->when < b->when;
	return a->seq < b->seq;
}

/* Join two heaps, either of which may be NULL; the later root becomes the other's first child. */
static struct timeq_node *meld(struct timeq_node *a, struct timeq_node *b)
{
	struct timeq_node *t;

	if (!a || !b)
		return a ? a : b;
	if (earlier(b, a)) {
		t = a;
		a = b;
		b = t;
	}
	b->prev = a;
	b->next = a->child;
	if (b->next)
		b->next->prev = b;
	a->child = b;
	return a;
}

/* Cut @node from its siblings; returns the one to its right. */
static struct timeq_node *timeq_cut(struct timeq_node *node)
{
	struct timeq_node *next = node->next;

	node->next = node->prev = NULL;
	return next;
}

/* One heap out of a row of siblings: pair them from left to right, then join from right to left. */
static struct timeq_node *meld_row(struct timeq_node *row)
{
	struct timeq_node *pairs = NULL, *root = NULL;

	while (row) {
		struct timeq_node *a = row, *b = timeq_cut(a);

		row = b ? timeq_cut(b) : NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct timeq_node *a = pairs;

		pairs = timeq_cut(a);
		root = meld(root, a);
	}
	return root;
}

static void timeq_join(struct timeq *q, struct timeq_node *heap)
{
	q->root = meld(q->root, heap);
	if (q->root)
		q->root->prev = q->root;
}

void timeq_node_init(struct timeq_node *node, void (*fire)(struct timeq_node *node))
{
	*node = (struct timeq_node){ .fire = fire };
}

void timeq_set(struct timeq *q, struct timeq_node *node, uint64_t when)
{
	timeq_clear(q, node);
	node->when = when;
	node->seq = q->seq++;
	timeq_join(q, node);
}

void timeq_clear(struct timeq *q, struct timeq_node *node)
{
	struct timeq_node *rest, *prev = node->prev, *next = node->next;

	if (!timeq_queued(node))
		return;
	rest = meld_row(node->child);
	node->child = NULL;
	if (q->root == node)
		q->root = NULL;
	else if (prev->child == node)
		prev->child = next;
	else
		prev->next = next;
	if (next)
		next->prev = prev;
	timeq_cut(node);
	timeq_join(q, rest);
}

uint64_t timeq_next(const struct timeq *q)
{
	return q->root ? q->root->when : 0;
}

struct timeq_node *timeq_take(struct timeq *q, uint64_t now)
{
	struct timeq_node *node = q->root;

	if (!node || node->when > now)
		return NULL;
	timeq_clear(q, node);
	return node;
}

void timeq_expire(struct timeq *q, uint64_t now)
{
	struct timeq_node *node;

	while ((node = timeq_take(q, now)))
		node->fire(node);
}
