/* SPDX-License-Identifier: Apache-2.0 */
/* See defer.h. */
#include "daemon/chain/defer.h"

void op_defer_put(struct op_defer *d, struct op *op, int r)
{
	op->deferred = r;
	list_add_tail(&d->ops, &op->link);
}

bool op_defer_flush(struct op_defer *d)
{
	struct list due = LIST_INIT(due);
	bool any = !list_empty(&d->ops);

	list_splice_tail(&due, &d->ops);
	while (!list_empty(&due)) {
		struct op *op = list_first(&due, struct op, link);

		list_del(&op->link);
		op->done(op, op->deferred);
	}
	return any;
}
