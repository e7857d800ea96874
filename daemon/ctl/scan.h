/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl scan in its parts: scan.c looks at each value, scan_notes.c says what the counts do not,
 * scan_print.c tells, proof.c writes it down, scan_etcd.c says which etcd is read,
 * snapshots.c which snapshot.
 */
#ifndef KEKD_CTL_SCAN_H
#define KEKD_CTL_SCAN_H

#include <stdio.h>

#include "daemon/chain/config.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/dumpfile.h"
#include "daemon/ctl/elsewhere.h"
#include "daemon/ctl/etcdread.h"
#include "daemon/ctl/proof.h"
#include "daemon/dump/report.h"

/* Exit status of scan; the gravest counts. */
enum { SCAN_CURRENT = 0, SCAN_STALE = 1, SCAN_PLAINTEXT = 2, SCAN_UNREADABLE = 3, SCAN_FAILED = 4 };

#define SCAN_EXAMPLES 10 /* of each verdict */

/* A value that is not as it should be. */
struct scan_example {
	const char *what; /* "stale" */
	char key[256];    /* of etcd, escaped */
	char why[200];
};

/* --uses: which key is meant, and what was found. */
struct scan_use {
	const struct rules_key *key; /* of kekd; NULL: a name of the configuration */
	const char *name;
	bool known;         /* the daemon or --config has it */
	uint64_t n;         /* values that need it */
	uint64_t undecided; /* values of which nobody can say what they need */
	uint64_t bytes;     /* of all values */
};

/* --proof: the mark, as the keeper has it, and what was seen of it: any keyset documents of etcd. */
struct scan_mark {
	struct admin_mark is;
	uint64_t revision;   /* mod_revision of that very document; 0: it was not seen */
	uint64_t generation; /* the highest of another document of that keyset; 0: there is none */
	bool foreign;        /* there is one of another cluster */
	char *written;       /* resources that kekd names: patterns, a line each */
	const char **named;  /* into that */
	size_t n_named;
	bool *seen; /* of each: a value of it was read */
};

struct scan {
	const struct ctl *ctl;
	struct rules rules;
	struct report report;
	struct dumpfile file;
	struct scan_use use;
	struct scan_mark mark;
	struct scan_example examples[(VERDICTS + 1) * SCAN_EXAMPLES];
	size_t n_examples, per_verdict[VERDICTS + 1]; /* the last is of older revisions */
	char prefix[PREFIX_MAX];
	struct elsewhere elsewhere;
	uint64_t other;                        /* keys that are no object's */
	uint64_t objects;                      /* that are */
	uint64_t empty;                        /* of them without a value */
	uint64_t unopened;                     /* larger than the daemon takes */
	uint64_t distrusted;                   /* see report_distrust() */
	uint64_t past;                         /* older revisions that are plaintext */
	uint64_t etcds[CONFIG_OTHERS_MAX + 1]; /* --etcd: cluster_ids of those that were read */
	size_t n_etcds;
	uint64_t *patterns; /* values for each of rules_pattern() */
	uint64_t verified;
	struct bulk *bulk; /* --verify */
	struct admin_mark
		*evidence; /* scan_evidence(): what it is of; borrowed, NULL: --proof or none */
	json_t *notes;     /* texts: scan_notes() */
	bool ended;        /* all was read, and told */
	bool gap;          /* one of them says that something was not judged */
};

/*
 * scan --etcd: as the options say, or `cluster:` of the kekd.yaml at @path, NULL being the default; with a mark that
 * etcd carries at the revision of that. Then `otherEtcds:` of that file, each as it is now. As etcdread_all().
 */
int scan_etcd(struct scan *s, const char *path, dump_each_fn *each);
/* Is it an object, and of which resource? In the clear it says itself what it is. */
bool scan_object_of(const struct scan *s, const struct dump_value *v, const struct stored *stored,
		    struct resource *ret);
int scan_exit_status(const struct scan *s);
/* What kekd.yaml at @path says, the caller's to free; 0 or 1 (said). */
int scan_conf_read(const char *path, struct config **ret);
/*
 * scan --etcd --uses KEY as @ctl and kekd.yaml at @path have it: evidence that no value needs the key, for the keeper,
 * and no file. As an exit status; @ret is set with 0.
 */
int scan_evidence(const struct ctl *ctl, const char *path, struct admin_mark *ret);
/* What there is to say beyond the counts, once all was read: scan_notes.c. 0 or SCAN_FAILED. */
int scan_notes(struct scan *s);
/* On standard output; 0 or SCAN_FAILED. */
int scan_print(struct scan *s);

#endif
