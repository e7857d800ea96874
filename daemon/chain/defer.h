/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that have their answer already, but may not give it from inside the call that started
 * them (<kekd/op.h>): they wait here for the end of the turn, as the engine's do in the engine.
 */
#ifndef KEKD_CHAIN_DEFER_H
#define KEKD_CHAIN_DEFER_H

#include <kekd/op.h>

/* list_init() makes it empty. */
struct defer {
	struct list ops;
};

/* @op, borrowed, ends with @r at the next defer_run(); with -ECANCELED if cancelled before. */
void defer_op(struct defer *d, struct op *op, int r);
/* Once a turn. True if the callbacks have brought more. */
bool defer_run(struct defer *d);

#endif
