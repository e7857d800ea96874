/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl scan in its parts: scan.c looks at each value, scan_print.c tells, proof.c writes it down. */
#ifndef KEKD_CTL_SCAN_H
#define KEKD_CTL_SCAN_H

#include <stdio.h>

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/dumpfile.h"
#include "daemon/ctl/proof.h"
#include "daemon/dump/report.h"

/* Exit status of scan; the gravest counts. */
enum { SCAN_CURRENT = 0, SCAN_STALE = 1, SCAN_PLAINTEXT = 2, SCAN_UNREADABLE = 3, SCAN_FAILED = 4 };

#define SCAN_EXAMPLES 10 /* of each verdict */

/* A value that is not as it should be. */
struct scan_example {
	enum verdict verdict;
	char key[256]; /* of etcd, escaped */
	char why[200];
};

/* --uses: which key is meant, and what was found. */
struct scan_use {
	const struct rules_key *key; /* of kekd; NULL: a name of the configuration */
	const char *name;
	uint64_t n;         /* values that need it */
	uint64_t undecided; /* values of which nobody can say what they need */
	uint64_t bytes;     /* of all values */
	bool later;         /* there is a value of a key that follows it */
};

struct scan {
	const struct ctl *ctl;
	struct rules rules;
	struct report report;
	struct dumpfile file;
	struct scan_use use;
	struct scan_example examples[VERDICTS * SCAN_EXAMPLES];
	size_t n_examples, per_verdict[VERDICTS];
	uint64_t other; /* keys that are no object's */
	uint64_t verified;
	struct bulk *bulk; /* --verify */
};

int scan_exit_status(const struct scan *s);
/* On standard output; 0 or SCAN_FAILED. */
int scan_print(struct scan *s);

#endif
