/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the known names did somebody mean who typed another one? The caller offers all of them,
 * one after the other:
 *
 *	struct nearest n = nearest_to(typed);
 *	nearest_offer(&n, "status");
 *	if (n.best)
 *		"did you mean %s?"
 */
#ifndef KEKD_BASE_NEAREST_H
#define KEKD_BASE_NEAREST_H

#include <stddef.h>

#define NEAREST_MAX 32 /* longer names are near to nothing */

/* Texts are borrowed. */
struct nearest {
	const char *typed, *best; /* best: NULL while nothing is near */
	size_t distance;
};

struct nearest nearest_to(const char *typed);
/* Near is what two letters more, less or other make of it, in either case. */
void nearest_offer(struct nearest *n, const char *name);

#endif
