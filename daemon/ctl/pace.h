/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests may be under way at once, and when the next one may begin, so that a server is kept busy
 * and not flooded. Numbers in, numbers out: the caller has the clock and the requests.
 *
 * As many answers as may be under way, and at least sixteen, make a round. A round that was answered about as fast
 * as the fastest yet allows more of them: twice as many until the first trouble, one more afterwards. One
 * that took more than twice as long, and ten milliseconds, found a queue, and takes a quarter away; "too many
 * requests" and a server that is not there take half. So it settles where the server is busy and nothing waits
 * for long. As a server may become slower or faster for good, a quarter of them shows now and then what fast is.
 */
#ifndef KEKD_CTL_PACE_H
#define KEKD_CTL_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	unsigned int max, window; /* requests at once, and at most */
	uint64_t gap, next;       /* ns between two of them, 0: no bound; when the next may begin */
	uint64_t best;            /* ns: mean of the fastest round, 0: none yet */
	uint64_t sum;             /* of the present round: ns of its answers, */
	unsigned int answers, peak; /* how many, and how many were under way at once */
	uint64_t shaken;            /* when trouble was taken notice of last */
	bool steady;                /* there was trouble */
	unsigned int rounds;        /* since it was last looked what fast is */
	unsigned int looking,
		kept; /* rounds for that, which begin now; as many as may be after it */
};

/* @rate: a second, 0: no bound. */
void pace_init(struct pace *p, unsigned int max, unsigned int rate);
/* May one begin at @now, in ns, with @flying under way? If not for want of time, it may at p->next. */
bool pace_may(const struct pace *p, unsigned int flying, uint64_t now);
/* One has begun; @flying with it. */
void pace_begun(struct pace *p, unsigned int flying, uint64_t now);
/* One was answered, and that took @took ns. */
void pace_answered(struct pace *p, uint64_t took);
/* The server has too much to do, or is not there. Many answers at once that say so are one trouble. */
void pace_trouble(struct pace *p, uint64_t now);

#endif
