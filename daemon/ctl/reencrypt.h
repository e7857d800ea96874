/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of kekctl reencrypt: one resource's rewriting, page by page (reencrypt_pages.c) and many objects
 * at once (reencrypt_work.c), what could not be rewritten (reencrypt_missed.c), what is remembered of an interrupted
 * run (reencrypt_state.c), which key a resource is written with (reencrypt_key.c), the cluster's own
 * migration (reencrypt_migration.c).
 */
#ifndef KEKD_CTL_REENCRYPT_H
#define KEKD_CTL_REENCRYPT_H

#include <signal.h>
#include <stdint.h>

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/kuberesource.h"
#include "daemon/ctl/pace.h"

/* An object is in one of them. */
struct rewrite_counts {
	uint64_t rewritten; /* stored anew, by us or by somebody else in between */
	uint64_t current;   /* was stored with the present key already */
	uint64_t gone;      /* deleted in between */
	uint64_t failed;    /* not rewritten: refused by the cluster, or unreadable */
	uint64_t listed;    /* with --dry-run only */
	uint64_t conflicts; /* tries that were repeated; not objects */
};

/* An object that was not rewritten, and why. */
struct missed {
	const char *ns, *name;
	int status;         /* of HTTP; 0: there was no whole answer */
	const char *reason; /* Kubernetes' word for it, or "" */
	const char *text;
};

/* So many are named. Of more the number is known, so that memory stays flat. */
#define MISSED_MAX 1000

/* What became of the objects of late: do all fail, and alike? */
struct alike {
	unsigned int n;             /* objects in a row that failed, */
	int status;                 /* all with this, */
	char reason[64];            /* and this */
	char text[256];             /* of the last one */
	char ns[KUBE_NAME_MAX + 1]; /* and in this namespace, */
	bool several;               /* unless they are in several, or in none */
	unsigned int limit;         /* when that is looked into */
	bool well;                  /* one went well in this run */
};

/* One resource. */
struct rewrite {
	struct kube_resource res;
	char resource[KUBE_RESOURCE_TEXT];
	char key_id[128]; /* that it is written with, as kekd says; "": not known */
	bool begun, done;
	char *token;   /* ours; of the next page, NULL: the first or, if done, none */
	char *skipped; /* ours; key in etcd of the last value that a list stopped at */
	struct rewrite_counts counts;
	struct missed *missed;
	size_t n_missed;
	struct alike alike;
};

struct reencrypt {
	const struct ctl *ctl;
	struct kubeapi *api;
	struct rewrite *all;
	size_t n;
	unsigned int page, page_max;
	unsigned int rate; /* objects a second; 0: no bound */
	struct pace pace;
	bool over;                   /* the cluster does not answer: no other resource is tried */
	volatile sig_atomic_t *stop; /* borrowed: set by a signal */
};

/*
 * kekctl reencrypt for another command, with @ctl's options; it says and prints all that it does. *@ret_done: every object
 * was tried, and @ret, of all resources, says what became of them. 0, or 1: not done, or some failed; 2: wrong usage.
 */
int reencrypt_run(const struct ctl *ctl, int argc, char **argv, struct rewrite_counts *ret,
		  bool *ret_done);

/* Everything of @w that is left. Saves the state after each page; 0, or 1 (said) if it cannot go on. */
int rewrite_run(struct reencrypt *re, struct rewrite *w);
/* Where @w goes on; @token is taken, and "" is NULL. */
void rewrite_token_set(struct rewrite *w, char *token);
void rewrite_clear(struct rewrite *w);
/* Through a StorageVersionMigration; 0 or 1 (said). */
int rewrite_by_migration(struct reencrypt *re, struct rewrite *w);

/* An object of a page. */
struct item {
	char *ns, *name, *version;
	uint64_t ready;  /* when it may be tried (again) */
	uint64_t failed; /* when it first failed, 0: never */
	unsigned int tries, conflicts;
	enum { ITEM_WAITS, ITEM_FLIES, ITEM_OVER } at;
	bool alone; /* its answer is long: it is asked for when nothing else is */
};

/* A page's names: the answer they were in does not outlast the next call. */
struct page {
	struct item *items;
	size_t n;
	char *next;         /* token, NULL at the end */
	uint64_t remaining; /* behind this page, as the API estimates */
};

struct bar {
	bool shown;
	uint64_t last;
};
uint64_t reencrypt_done_count(const struct rewrite_counts *c);
void reencrypt_bar_draw(struct bar *bar, const struct rewrite *w, uint64_t total);

/*
 * Every object of @page, counted in @w. 0; 1 (said) when all fail alike or kubectl is gone. With a signal some are
 * left.
 */
int page_rewrite(struct reencrypt *re, struct rewrite *w, struct page *page, struct bar *bar);
/* Does the cluster list objects of @w now? */
bool page_is_served(struct reencrypt *re, const struct rewrite *w);
/* Objects of other namespaces than @ns, or none; 0 or 1 (said). The caller clears @ret. */
int page_of_others(struct reencrypt *re, const struct rewrite *w, const char *ns,
		   unsigned int limit, struct page *ret);
void page_clear(struct page *page);
/* One call, tried again while the cluster has too much to do or is not there; 0 or -errno. */
int reencrypt_call(struct reencrypt *re, const struct kubeapi_request *req,
		   struct kubeapi_answer *ret);
/* Is it overload, or a server that is just being restarted? */
bool reencrypt_may_pass(int status);

/* Not rewritten: counted, and a copy of @m kept while there is room. 0 or 1 (said). */
int missed_add(struct rewrite *w, const struct missed *m);
void missed_print(const struct rewrite *w);
/* New, or in an open API's arena; NULL: no memory. */
json_t *missed_json(const struct rewrite *w);
/* What missed_json() made, of an earlier run; 0 or 1 (said). */
int missed_load(struct rewrite *w, const json_t *list);
void missed_clear(struct rewrite *w);

/*
 * Which key each resource is written with now, from the keeper; "" where that is not known: no keeper here, no
 * key, or a resource that none of its chains names. reencrypt_keys_changed: is any of them another one now?
 */
/* What the keeper says, "CHAIN RESOURCE KEY_ID" a line; caller frees. NULL: no keeper, or it has no answer. */
char *reencrypt_writes_get(const struct ctl *ctl);
/* The resources of kekd's EncryptionConfiguration that @key_id writes, with commas between them; caller frees. "": none. */
char *reencrypt_resources_of(const struct ctl *ctl, const char *key_id);
void reencrypt_keys_get(const struct ctl *ctl, struct rewrite *all, size_t n);
bool reencrypt_keys_changed(const struct reencrypt *re);

/*
 * --state FILE. Loading a file that does not exist begins at the beginning, and a resource of another key, or of
 * one that is not known, too, which is said. Nothing but resources, numbers, key_ids, the API's continue tokens
 * and what was not rewritten is in it. 0 or 1 (said).
 */
int reencrypt_state_load(struct reencrypt *re);
int reencrypt_state_save(const struct reencrypt *re);
/* After the end. */
void reencrypt_state_remove(const struct reencrypt *re);

#endif
