/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster's API, through the kubectl of PATH: whom to ask, which certificate to trust and how to log
 * in is kubectl's business and stays in its configuration. A `kubectl proxy` on a Unix socket in a
 * directory of our own adds the login to what is sent there; it is told to let nothing through but the
 * methods that are needed, and it dies with this process.
 *
 * What comes back may hold secrets (a Secret's annotations may repeat it). So answers lie in one locked
 * arena, the trees that jansson makes of them too, and it is wiped before the next call. One at a time:
 * jansson's hooks are the process's.
 */
#ifndef KEKD_CTL_KUBEAPI_H
#define KEKD_CTL_KUBEAPI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

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

struct kubeapi_answer {
	int status;         /* of HTTP */
	int retry_after;    /* seconds; 0: not said */
	const json_t *body; /* NULL unless it is JSON; until the next call */
};

/*
 * One request. @path begins with "/"; @body is JSON text or NULL, all borrowed. @metadata_only: of
 * objects, and by GET of lists, only PartialObjectMetadata is wanted. Errors: -ENOBUFS the answer does not fit into the arena,
 * -EBADMSG it is not HTTP or JSON, others of connect(2), read(2), write(2).
 */
int kubeapi_call(struct kubeapi *api, const char *method, const char *path, const char *body,
		 bool metadata_only, struct kubeapi_answer *ret);

#endif
