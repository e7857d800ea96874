/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares of a root key between kekctl and people: shown and typed at a terminal (terminal.h), or written to and read from
 * pipes, a line each. Nothing of them is in an argument, the environment or a file.
 */
#ifndef KEKD_CTL_CEREMONY_H
#define KEKD_CTL_CEREMONY_H

#include "daemon/base/cleanup.h"
#include "daemon/ctl/ctl.h"
#include "daemon/keys/slip39.h"

#define CEREMONY_LINE      1024 /* a share with more blanks than it needs */
#define CEREMONY_SHARES    3    /* unless somebody says otherwise */
#define CEREMONY_THRESHOLD 2

/* In locked memory. */
struct ceremony {
	uint8_t secret[SLIP39_SECRET];
	size_t n;
	struct slip39_share shares[SLIP39_SHARES_MAX];
	char text[CEREMONY_LINE];  /* a share */
	char typed[CEREMONY_LINE]; /* what is said to be one */
};

/* NULL: no memory, or none that can be locked; that was said. */
struct ceremony *ceremony_new(void);
/* Wipes. */
void ceremony_free(struct ceremony *c);
DEFINE_CLEANUP(struct ceremony *, ceremony_free);

/* How many shares, and where they go. */
struct ceremony_plan {
	unsigned int n, threshold;
	bool to_fds;
	int fds[SLIP39_SHARES_MAX];
};

/*
 * What was typed for --shares and --threshold (NULL: nothing, for both) in the place of *n and *k, which are looked at in any
 * case: 0, or 2 if they make no sense, which was said, and both are untouched.
 */
int ceremony_numbers(const char *shares, const char *threshold, unsigned int *n, unsigned int *k);
/* From the options; 0, or 2 if they make no sense, or there is nowhere to go: that was said. */
int ceremony_plan(const struct ctl *ctl, struct ceremony_plan *ret);
/* Splits c->secret, the root key @id, and gives the shares out. 0 or 1 (said). */
int ceremony_give(struct ceremony *c, const struct ceremony_plan *plan, const char *id);
/* Takes shares from standard input, a terminal or a pipe, until they are enough for c->secret. 0 or 1 (said). */
int ceremony_take(struct ceremony *c);

#endif
