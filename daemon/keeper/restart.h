/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a process that ended is started again: at once if it had lived for some seconds, otherwise after pauses that
 * double. Servers and holders have one each.
 */
#ifndef KEKD_KEEPER_RESTART_H
#define KEKD_KEEPER_RESTART_H

#include <stdint.h>

#define RESTART_MIN_NS    UINT64_C(50000000)
#define RESTART_MAX_NS    UINT64_C(2000000000)
#define RESTART_STEADY_NS UINT64_C(5000000000) /* one that lived so long is replaced at once */

struct restart {
	uint64_t start_ns; /* when it was last started */
	uint64_t at_ns;    /* the next may be started then */
	uint64_t pause_ns; /* before the one after that, if the next does not live long */
};

static inline void restart_started(struct restart *r, uint64_t now)
{
	r->start_ns = now;
	r->at_ns = 0;
}

static inline void restart_ended(struct restart *r, uint64_t now)
{
	uint64_t pause = now - r->start_ns >= RESTART_STEADY_NS ? 0 : r->pause_ns, next = pause * 2;

	r->at_ns = now + pause;
	r->pause_ns = next == 0 ? RESTART_MIN_NS : next < RESTART_MAX_NS ? next : RESTART_MAX_NS;
}

/* It could not be started at all. */
static inline void restart_failed(struct restart *r, uint64_t now)
{
	r->at_ns = now + RESTART_MAX_NS;
}

#endif
