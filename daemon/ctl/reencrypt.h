/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of kekctl reencrypt: one resource's rewriting (reencrypt_pages.c), what is remembered of an
 * interrupted one (reencrypt_state.c), the cluster's own migration (reencrypt_migration.c).
 */
#ifndef KEKD_CTL_REENCRYPT_H
#define KEKD_CTL_REENCRYPT_H

#include <signal.h>
#include <stdint.h>

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/kuberesource.h"

/* An object is in one of them. */
struct rewrite_counts {
	uint64_t rewritten; /* stored anew, by us or by somebody else in between */
	uint64_t current;   /* was stored with the present key already */
	uint64_t gone;      /* deleted in between */
	uint64_t failed;    /* refused by the cluster; named on stderr */
	uint64_t listed;    /* with --dry-run only */
	uint64_t conflicts; /* tries that were repeated; not objects */
};

/* One resource. Zero-initialised is "not begun". */
struct rewrite {
	const char *resource; /* of the command line, borrowed */
	bool begun, done;
	char *token; /* ours; of the next page, NULL: the first or, if done, none */
	struct rewrite_counts counts;
};

struct reencrypt {
	const struct ctl *ctl;
	struct kubeapi *api;
	struct rewrite *all;
	size_t n;
	unsigned int page;
	unsigned int rate;           /* objects a second; 0: no bound */
	char key_id[128];            /* of kekd when this began; "" if it was not asked */
	volatile sig_atomic_t *stop; /* borrowed: set by a signal */
};

/* Everything of @w that is left. Saves the state after each page; 0, or 1 (said) if it cannot go on. */
int rewrite_run(struct reencrypt *re, struct rewrite *w);
/* Where @w goes on; @token is taken, and "" is NULL. */
void rewrite_token_set(struct rewrite *w, char *token);
/* Through a StorageVersionMigration; 0 or 1 (said). */
int rewrite_by_migration(struct reencrypt *re, struct rewrite *w);

/*
 * --state FILE. Loading a file that does not exist, or of another key, begins at the beginning and says
 * so. Nothing but resources, numbers, the key_id and the API's continue tokens is in it. 0 or 1 (said).
 */
int reencrypt_state_load(struct reencrypt *re);
int reencrypt_state_save(const struct reencrypt *re);
/* After the end. */
void reencrypt_state_remove(const struct reencrypt *re);

#endif
