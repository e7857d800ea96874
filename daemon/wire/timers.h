/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A timeq driven by one ring timer.
 */
#ifndef KEKD_WIRE_TIMERS_H
#define KEKD_WIRE_TIMERS_H

#include "daemon/base/timeq.h"
#include "daemon/sys/ring.h"

struct timers {
	struct ring *ring;
	struct ring_op op;
	struct timeq queue;
	uint64_t armed; /* what the ring waits for */
	bool stopping;
};

/* @ring borrowed until timers_idle() after timers_stop(). */
void timers_init(struct timers *t, struct ring *ring);
/* See that the ring wakes up in time for the earliest deadline. To be called once a turn. */
void timers_arm(struct timers *t);
/* End the ring's timer; it is gone when timers_idle(). */
void timers_stop(struct timers *t);
bool timers_idle(const struct timers *t);

#endif
