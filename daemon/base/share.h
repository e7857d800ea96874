/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something bounded that several holders have a share in: bytes, calls, connections. Shares stand one above
 * the other, such as a connection's below its user's below that of the whole server, and the uppermost has
 * the bound.
 *
 * Nobody holds more than he leaves to be had by another of his kind: one greedy holder gets half, two get a
 * third each. A quarter of it all is a reserve that is not counted as left, so that those who come one after
 * the other and each take half of what they find leave something. From the reserve a holder is given what he
 * is short of a 64th of it all, or the one that he has none of. No number has to be configured.
 */
#ifndef KEKD_BASE_SHARE_H
#define KEKD_BASE_SHARE_H

#include <stdbool.h>
#include <stddef.h>

/* Parts of all. */
#define SHARE_RESERVE 4U
#define SHARE_SMALL   64U

struct share {
	struct share *above; /* borrowed; NULL: the uppermost */
	size_t max;          /* of the uppermost */
	size_t used;         /* here and below */
};

/* How much more @s may take now. */
size_t share_room(const struct share *s);
/* The rule, for who counts in another way: of @all, of which @left is there, how much more for a holder of @used. */
static inline size_t share_rule(size_t all, size_t left, size_t used)
{
	/* With x more he holds used + x and leaves left - x: at most half of left - used. */
	size_t reserve = all / SHARE_RESERVE, small = all / SHARE_SMALL;

	if (left > reserve + used)
		return (left - reserve - used + 1) / 2;
	if (small == 0)
		small = 1;
	if (used >= small)
		return 0;
	return small - used < left ? small - used : left;
}
/* Take @n here and all the way up, or nothing. */
bool share_take(struct share *s, size_t n);
/* The same without asking, for what another has just given back for it. */
void share_take_over(struct share *s, size_t n);
void share_give(struct share *s, size_t n);

#endif
