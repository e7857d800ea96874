/* SPDX-License-Identifier: Apache-2.0 */
/* See pace.h. */
#include "daemon/ctl/pace.h"

#define SECOND      UINT64_C(1000000000)
#define FIRST       4
#define SLACK       (SECOND / 100) /* a machine's own doing, and no queue */
#define ROUND_MIN   16             /* answers: the mean of fewer says little */
#define LOOK_EVERY  256            /* rounds */
#define ONE_TROUBLE (SECOND / 4)

void pace_init(struct pace *p, unsigned int max, unsigned int rate)
{
	*p = (struct pace){
		.max = max,
		.window = max < FIRST ? max : FIRST,
		.gap = rate > 0 ? (SECOND + rate - 1) / rate : 0,
	};
}

bool pace_may(const struct pace *p, unsigned int flying, uint64_t now)
{
	return flying < p->window && now >= p->next;
}

/* Who comes late may catch up with one, so that it is the rate that was asked for and never more. */
void pace_begun(struct pace *p, unsigned int flying, uint64_t now)
{
	p->next = (now > p->next + p->gap ? now : p->next) + p->gap;
	if (flying > p->peak)
		p->peak = flying;
}

static void round_begin(struct pace *p)
{
	p->sum = 0;
	p->answers = p->peak = 0;
}

static void window_less(struct pace *p, unsigned int by)
{
	p->steady = true;
	p->window -= by < p->window ? by : p->window - 1;
}

void pace_answered(struct pace *p, uint64_t took)
{
	bool full = p->peak >= p->window;
	uint64_t mean;

	p->sum += took;
	if (++p->answers < p->window || p->answers < ROUND_MIN)
		return;
	mean = p->sum / p->answers;
	if (p->best == 0 || mean < p->best)
		p->best = mean;
	if (p->looking > 0) {
		if (--p->looking == 0) {
			p->best = mean;
			p->window = p->kept;
		}
	} else if (++p->rounds == LOOK_EVERY) {
		p->rounds = 0;
		p->looking = 2; /* rounds, as the first has answers of before */
		p->kept = p->window;
		p->window = (p->window + 3) / 4;
	} else if (mean > 2 * p->best + SLACK) {
		window_less(p, p->window / 4 > 0 ? p->window / 4 : 1);
	} else if (full) {
		p->window += p->steady ? 1 : p->window;
		if (p->window > p->max)
			p->window = p->max;
	}
	round_begin(p);
}

void pace_trouble(struct pace *p, uint64_t now)
{
	if (p->shaken != 0 && now - p->shaken < ONE_TROUBLE)
		return;
	p->shaken = now;
	p->looking = 0;
	window_less(p, p->window - p->window / 2);
	round_begin(p);
}
