/* SPDX-License-Identifier: Apache-2.0 */
/* See defer.h. What callbacks add waits for the next turn: one run is bounded. */
#include "daemon/chain/defer.h"

#include <errno.h>

#include "daemon/base/cleanup.h"

static void deferred_cancel(struct op *op)
{
	op->wait.result = -ECANCELED;
}

void defer_op(struct defer *d, struct op *op, int r)
{
	op->wait.result = r;
	op->cancel = deferred_cancel;
	list_add_tail(&d->ops, &op->wait.link);
}

bool defer_run(struct defer *d)
{
	struct list batch;

	list_init(&batch);
	list_splice_tail(&batch, &d->ops);
	while (!list_empty(&batch)) {
		struct op *op = list_first(&batch, struct op, wait.link);

		list_del(&op->wait.link);
		op->done(op, op->wait.result);
	}
	return !list_empty(&d->ops);
}
