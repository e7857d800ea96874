/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations whose answer is known at once. An op's done never runs from inside the call that
 * started it (<kekd/op.h>), so a provider without an engine job leaves the op here, and the loop
 * empties the list once a turn.
 */
#ifndef KEKD_CHAIN_DEFER_H
#define KEKD_CHAIN_DEFER_H

#include <kekd/op.h>

struct op_defer {
	struct list ops;
};

static inline void op_defer_init(struct op_defer *d)
{
	list_init(&d->ops);
}

static inline bool op_defer_empty(const struct op_defer *d)
{
	return list_empty(&d->ops);
}

/* @op, on no list, is done with @r in the next op_defer_flush(). Borrowed until then. */
void op_defer_put(struct op_defer *d, struct op *op, int r);
/* Run what is due; ops that are put meanwhile wait for the next call. True if anything ran. */
bool op_defer_flush(struct op_defer *d);

#endif
