/* SPDX-License-Identifier: Apache-2.0 */
/* See nearest.h. */
#include "daemon/base/nearest.h"

#include <ctype.h>
#include <string.h>

/* Levenshtein's distance without regard to case; both at most NEAREST_MAX characters. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NEAREST_MAX + 1], above, corner, best, len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		corner = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			above = row[j + 1];
			best = corner +
			       (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]));
			if (above + 1 < best)
				best = above + 1;
			if (row[j] + 1 < best)
				best = row[j] + 1;
			row[j + 1] = best;
			corner = above;
		}
	}
	return row[len];
}

struct nearest nearest_to(const char *typed)
{
	return (struct nearest){ .typed = typed, .distance = 3 };
}

void nearest_offer(struct nearest *n, const char *name)
{
	size_t d;

	if (strlen(n->typed) > NEAREST_MAX || strlen(name) > NEAREST_MAX)
		return;
	d = distance(n->typed, name);
	if (d < n->distance && d < strlen(name)) {
		n->best = name;
		n->distance = d;
	}
}
