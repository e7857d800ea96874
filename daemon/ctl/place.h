/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files that kekctl writes: each whole or not at all, and none that somebody has changed is lost. */
#ifndef KEKD_CTL_PLACE_H
#define KEKD_CTL_PLACE_H

#include "daemon/ctl/ctl.h"

enum placed { PLACED_MADE, PLACED_SAME, PLACED_DIFFERS, PLACED_REPLACED };

struct place {
	const struct ctl *ctl; /* --dry-run, --json */
	const char *root;      /* before every path; "" is this machine */
	json_t *files;         /* what became of each, for --json; NULL: not wanted */
	unsigned int made, differ;
};

/*
 * Bring @text to root + @path, mode 0644, with the directories on the way, and say so on standard output. What is
 * there and differs stays, and the text goes beside it as PATH.new: counted in differ; unless the file there begins
 * with @ours, a line of text by which it is known to be made here (NULL: none is). With --dry-run nothing is written,
 * and the text is shown. 0, or 1 (said).
 */
int place_file(struct place *p, const char *path, const char *text, const char *ours);
/* Remove root + @path if it begins with @ours; 0, or 1 (said). */
int place_remove(struct place *p, const char *path, const char *ours);

#endif
