/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/base/share.h"

static size_t share_bound(const struct share *top)
{
	return top->max > top->used ? top->max - top->used : 0;
}

/* Shares are two or three high, and each call asks twice. */
size_t share_room(const struct share *s)
{
	const struct share *above = s->above;
	size_t left;

	if (!above)
		return share_bound(s);
	left = above->above ? share_room(above) : share_bound(above);
	return share_rule(above->used + left, left, s->used);
}

bool share_take(struct share *s, size_t n)
{
	if (n > share_room(s))
		return false;
	share_take_over(s, n);
	return true;
}

void share_take_over(struct share *s, size_t n)
{
	for (; s; s = s->above)
		s->used += n;
}

void share_give(struct share *s, size_t n)
{
	for (; s; s = s->above)
		s->used -= n;
}
