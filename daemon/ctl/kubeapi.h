/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster's API, through the kubectl of PATH: whom to ask, which certificate to trust and how to log
 * in is kubectl's business and stays in its configuration. A `kubectl proxy` on a Unix socket in a
 * directory of our own adds the login to what is sent there; it is told to let nothing through but the
 * methods that are needed, and it dies with this process.
 *
 * What comes back may hold secrets (a Secret's annotations may repeat it). So answers lie in one locked
 * arena, the trees that jansson makes of them too, and it is wiped before the next one is read. One kubeapi
 * at a time: jansson's hooks are the process's.
 */
#ifndef KEKD_CTL_KUBEAPI_H
#define KEKD_CTL_KUBEAPI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

struct kubeapi;

struct kubeapi_options {
	const char *kubeconfig; /* --kubeconfig FILE, NULL: kubectl's default */
	const char *context;    /* --context NAME, NULL: the current one */
	bool post;              /* objects may be created */
};

/*
 * Borrowed @options are not needed afterwards. Says on stderr what went wrong; 0 or 1. kubectl's own
 * errors go to stderr too.
 */
int kubeapi_open(const struct kubeapi_options *options, struct kubeapi **ret);
/* Ends kubectl, wipes and removes everything. */
void kubeapi_close(struct kubeapi *api);
DEFINE_CLEANUP(struct kubeapi *, kubeapi_close);

/* One request. All borrowed: @path begins with "/", @body is JSON text or NULL. */
struct kubeapi_request {
	const char *method, *path, *body;
	bool metadata_only; /* of objects, and by GET of lists, only PartialObjectMetadata is wanted */
};

struct kubeapi_answer {
	/*
	 * 0, or why there is none: -ENOBUFS it does not fit into locked memory, -EBADMSG it is not HTTP or
	 * JSON, or was cut off; others of connect(2), read(2), write(2): there is no proxy any more.
	 */
	int r;
	int status;         /* of HTTP */
	int retry_after;    /* seconds; 0: not said */
	const json_t *body; /* NULL unless it is JSON; until the next answer */
	void *ctx;          /* kubeapi_start()'s */
	uint64_t took;      /* ns */
};

/* The only request under way; returns ret->r. */
int kubeapi_call(struct kubeapi *api, const struct kubeapi_request *req,
		 struct kubeapi_answer *ret);

/*
 * Many at once. An answer has room for KUBEAPI_PIECE bytes; a longer one is -ENOBUFS, and kubeapi_call() has more.
 * kubeapi_start: 0, -EBUSY as many are under way as can be, or as the answer's r. kubeapi_next: the next
 * answer, 1; 0 at @until (CLOCK_MONOTONIC, ns) or when a signal came. kubeapi_drop: forget those under way,
 * which may be carried out all the same.
 */
#define KUBEAPI_PIECE (32 * 1024)
int kubeapi_start(struct kubeapi *api, const struct kubeapi_request *req, void *ctx);
int kubeapi_next(struct kubeapi *api, uint64_t until, struct kubeapi_answer *ret);
void kubeapi_drop(struct kubeapi *api);
/* How many can be under way, and are. */
unsigned int kubeapi_room(const struct kubeapi *api);
unsigned int kubeapi_flying(const struct kubeapi *api);

/* CLOCK_MONOTONIC, ns. */
uint64_t kubeapi_now(void);

#endif
