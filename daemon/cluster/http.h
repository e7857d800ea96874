/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One gRPC call to one of etcd's endpoints, over HTTP/2 with TLS. An endpoint that does not answer is left for the
 * next one; one that has answered is asked first the next time.
 */
#ifndef KEKD_CLUSTER_HTTP_H
#define KEKD_CLUSTER_HTTP_H

#include "daemon/cluster/carrier.h"

#define HTTP_BODY_MAX CARRIER_ANSWER_MAX /* of an answer */

struct http;

/* All strings of @setup are copied. -ENOMEM, -EIO. */
int http_new(const struct carrier_setup *setup, struct http **ret);
void http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free);

struct http_call {
	const char *path;    /* "/etcdserverpb.KV/Range" */
	struct span message; /* framed */
	long timeout_ms;     /* of one endpoint; 0: what a keyset takes */
	/* The answer: */
	struct span body; /* borrowed until the next call */
	size_t endpoint;
	char words[CARRIER_WORDS_MAX + 1]; /* of an error: what happened and what to do */
};
/*
 * -ETIMEDOUT: none of them has answered. Other errors are of the one that has: -EPERM, -EKEYREJECTED (TLS),
 * -ENOSPC, -ESTALE (compacted), -EMSGSIZE (more than HTTP_BODY_MAX), -EIO.
 */
int http_do(struct http *h, struct http_call *call);

/* Days that the client's certificate has left, as carrier.h has it: the file is read each time. */
int http_days(const struct http *h);

#endif
