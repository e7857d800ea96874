/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers as an intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): no allocation,
 * O(1) to add, O(log n) amortised to remove. Nearly every timer of this daemon is a deadline that
 * is removed long before its time, so both twins keep timers here instead of in the kernel and only
 * pass the nearest one as the time-out of their wait.
 *
 * A node's `prev` is its left sibling, or its parent if it is the first child. The root has
 * neither `prev` nor `next`.
 */
#include "daemon/sys/ring_impl.h"

static bool earlier(const struct ring_op *a, const struct ring_op *b)
{
	if (a->timer.when != b->timer.when)
		return a->timer.when < b->timer.when;
	return a->timer.seq < b->timer.seq;
}

/* Join two heaps, either of which may be NULL; the later root becomes the other's first child. */
static struct ring_op *meld(struct ring_op *a, struct ring_op *b)
{
	struct ring_op *t;

	if (!a || !b)
		return a ? a : b;
	if (earlier(b, a)) {
		t = a;
		a = b;
		b = t;
	}
	b->timer.prev = a;
	b->timer.next = a->timer.child;
	if (b->timer.next)
		b->timer.next->timer.prev = b;
	a->timer.child = b;
	return a;
}

/* Cut @op from its siblings; returns the one to its right. */
static struct ring_op *cut(struct ring_op *op)
{
	struct ring_op *next = op->timer.next;

	op->timer.next = op->timer.prev = NULL;
	return next;
}

/* One heap out of a row of siblings: pair them from left to right, then join from right to left. */
static struct ring_op *meld_row(struct ring_op *row)
{
	struct ring_op *pairs = NULL, *root = NULL;

	while (row) {
		struct ring_op *a = row, *b = cut(a);

		row = b ? cut(b) : NULL;
		a = meld(a, b);
		a->timer.next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct ring_op *a = pairs;

		pairs = cut(a);
		root = meld(root, a);
	}
	return root;
}

void ring_timers_add(struct ring_op **root, struct ring_op *op)
{
	op->timer.child = op->timer.next = op->timer.prev = NULL;
	*root = meld(*root, op);
}

void ring_timers_remove(struct ring_op **root, struct ring_op *op)
{
	struct ring_op *rest = meld_row(op->timer.child);
	struct ring_op *prev = op->timer.prev, *next = op->timer.next;

	op->timer.child = NULL;
	if (*root == op) {
		*root = rest;
		return;
	}
	if (prev->timer.child == op)
		prev->timer.child = next;
	else
		prev->timer.next = next;
	if (next)
		next->timer.prev = prev;
	cut(op);
	*root = meld(*root, rest);
}
