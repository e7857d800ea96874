/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit of systemd as it is installed: its file and its drop-ins, read as systemd.unit(5) says. Only what the
 * comparison with kekd.yaml needs: values are texts, and of the specifiers %t and %% are known.
 */
#ifndef KEKD_CTL_UNITFILE_H
#define KEKD_CTL_UNITFILE_H

#include <stdbool.h>

struct unitfile;

/* @root: before every path, "" is this machine. -ENOENT: not installed. Caller frees *ret. */
int unitfile_read(const char *root, const char *name, struct unitfile **ret);
void unitfile_free(struct unitfile *u);

/* What @key is at last, or "". */
const char *unitfile_value(const struct unitfile *u, const char *key);
/*
 * The words of a setting that adds up and that an empty value resets; *@at is 0 at first. NULL: no more. The word
 * is good until the next call.
 */
const char *unitfile_word(struct unitfile *u, const char *key, unsigned int *at);
bool unitfile_is_on(const struct unitfile *u, const char *key);

#endif
