/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/base/share.h"

size_t share_room(const struct share *s)
{
	size_t left;

	if (!s->above)
		return s->max > s->used ? s->max - s->used : 0;
	left = share_room(s->above);
	return share_rule(s->above->used + left, left, s->used);
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
