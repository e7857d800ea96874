/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server counts, as one struct of fixed size: it sends the keeper what is new once a second,
 * and the keeper adds it up over all servers, those that are gone too. Some fields are not counters but
 * say what is so now, of those that live. It reaches Prometheus by board.h.
 *
 * Every label has a fixed set of values; what does not fit is counted as "other".
 */
#ifndef KEKD_OBS_METRICS_H
#define KEKD_OBS_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/base/grpc_status.h"
#include "daemon/base/refusal.h"
#include <kekd/engine.h>

#define METRICS_METHODS   8 /* four of KMS, three of Transform, and other */
#define METRICS_CODES     GRPC_STATUSES
#define METRICS_BUCKETS   12 /* of the latency histogram, the last is +Inf */
#define METRICS_RUNS      ENGINE_RUN_SIZES
#define METRICS_UPSTREAMS 8

/* Another KMS plugin; the path is the configuration's, so there are as many as that names. */
struct metrics_upstream {
	char path[108];
	int32_t last; /* result of the last call: 0, -errno */
	uint64_t calls, failures;
};

struct metrics {
	uint64_t requests[METRICS_METHODS][METRICS_CODES];
	uint64_t latency[METRICS_METHODS][METRICS_BUCKETS]; /* not cumulative */
	uint64_t latency_ns[METRICS_METHODS];               /* sum */
	uint64_t refused_peers, protocol_errors;            /* of connections */
	uint64_t refusals[REFUSALS];
	uint32_t connections, calls; /* now open */

	/* The engine: runs by their blocks (<kekd/engine.h>), jobs under way now. */
	uint64_t runs[METRICS_RUNS], run_blocks, jobs, job_errors, broken_runs;
	uint32_t queued;

	/* Tries to encrypt and decrypt with the active keys, and how the last one ended. */
	uint64_t probes;
	int32_t probe_r;

	uint64_t audit_lines, audit_dropped;
	uint32_t audit_stuck; /* lines wait and cannot be written */

	uint64_t log_dropped; /* lines of the log that nobody read */

	uint32_t n_upstreams;
	struct metrics_upstream upstreams[METRICS_UPSTREAMS];
};

/* One answered or abandoned request: @method is "v2.Encrypt", …; @code gRPC's status; @ns it took. */
void metrics_observe(struct metrics *m, const char *method, unsigned int code, uint64_t ns);

/* @total += @more in all that is counted; not what is so now. */
void metrics_add(struct metrics *total, const struct metrics *more);
/* What is so now, of one server's last report: added up, or the worse of the two. */
void metrics_add_now(struct metrics *total, const struct metrics *one);

/* @calls of the plugin at @path have ended since the last report, @failures of them badly. */
void metrics_upstream(struct metrics *m, const char *path, uint64_t calls, uint64_t failures,
		      int last);

/* Upper end of a latency's bucket; the last is UINT64_MAX. */
uint64_t metrics_bound_ns(size_t bucket);

/* Prometheus' text format 0.0.4. */
void metrics_print(const struct metrics *m, FILE *to);

#endif
