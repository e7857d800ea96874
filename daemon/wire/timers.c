/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's timer is left alone when the earliest deadline moves away, which is what happens with
 * every call that is answered: it then fires early, finds nothing due and is armed again. So a
 * stream of calls with a deadline of three seconds costs one timer operation in three seconds, not
 * one a call.
 */
#include "daemon/wire/timers.h"

static void timers_done_cb(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct timers *t = container_of(op, struct timers, op);

	if (t->stopping)
		return;
	if (res == 0)
		timeq_expire(&t->queue, now_ns());
	timers_arm(t);
}

void timers_init(struct timers *t, struct ring *ring)
{
	*t = (struct timers){ .ring = ring, .op.done = timers_done_cb };
}

void timers_arm(struct timers *t)
{
	uint64_t next = timeq_next(&t->queue);

	if (next == 0 || t->stopping)
		return;
	if (!ring_op_busy(&t->op)) {
		t->armed = next;
		ring_timer(t->ring, &t->op, next);
	} else if (next < t->armed) {
		t->armed = next;
		ring_cancel(t->ring, &t->op);
	}
}

void timers_stop(struct timers *t)
{
	if (t->stopping)
		return;
	t->stopping = true;
	ring_cancel(t->ring, &t->op);
}

bool timers_idle(const struct timers *t)
{
	return !ring_op_busy(&t->op);
}
