/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream KMS plugins: <kekd/upstream.h> over the gRPC client. One connection each, made when a call
 * needs it and made again when it is lost, with a pause that doubles up to two seconds; calls wait
 * for it as the apiserver's do, and end when their timeout does.
 *
 * The process that serves may make no socket (daemon/sys/sandbox.h): connections are asked for, and
 * come from the keeper, which connects to sockets that the configuration names and to no other.
 */
#ifndef KEKD_KMS_UPSTREAM_H
#define KEKD_KMS_UPSTREAM_H

#include "daemon/base/secmem.h"
#include "daemon/sys/ring.h"
#include <kekd/upstream.h>

/*
 * Calls of one plugin open at once; one more is -ENOBUFS. A client decides how many values are opened, so
 * some are kept for the others: without Status for three minutes nothing may be written.
 */
#define UPSTREAM_CALLS    1024
#define UPSTREAM_DECRYPTS (UPSTREAM_CALLS - 16)

struct upstreams;

/* Ask for a connection to @path, borrowed; upstreams_connected() brings it. 0 or -errno. */
typedef int upstream_connect_fn(void *ctx, uint32_t id, const char *path);

/* All borrowed for the life of *@ret. */
int upstreams_new(struct ring *ring, struct secpool *pool, upstream_connect_fn *connect, void *ctx,
		  struct upstreams **ret);
/* Only when the ring turns no more and no upstream is open. */
void upstreams_free(struct upstreams *u);
DEFINE_CLEANUP(struct upstreams *, upstreams_free);

/* What a chain opens its upstreams with. */
struct upstream_source *upstreams_source(struct upstreams *u);
/* The answer for @id. @fd as for grpc_client_connected(), consumed. */
void upstreams_connected(struct upstreams *u, uint32_t id, int fd, int r);
/* Send what was queued, end what was given up. Once a turn. */
void upstreams_flush(struct upstreams *u);

/* What calls of one plugin have come to. */
struct upstream_stat {
	uint64_t calls, failures;
	int last; /* 0 or -errno */
};
/* @each hears of every plugin that is open, @path borrowed; what it was told is not told again. */
typedef void upstream_stat_fn(void *ctx, const char *path, const struct upstream_stat *stat);
void upstreams_stats_take(struct upstreams *u, upstream_stat_fn *each, void *ctx);

#endif
