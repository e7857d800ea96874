/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted of requests, as one struct of fixed size: the server counts, sends the keeper
 * what is new once a second, the keeper adds it up over all its servers, kekctl asks for it and
 * prints Prometheus' text format. No process with a key or a client's bytes speaks HTTP for it.
 *
 * Every label has a fixed set of values; what does not fit is counted as "other".
 */
#ifndef KEKD_OBS_METRICS_H
#define KEKD_OBS_METRICS_H

#include <stdint.h>
#include <stdio.h>

#define METRICS_METHODS 5  /* four of KMS, and other */
#define METRICS_CODES   17 /* gRPC's, 0 … 16 */
#define METRICS_BUCKETS 12 /* of the latency histogram, the last is +Inf */

struct metrics {
	uint64_t requests[METRICS_METHODS][METRICS_CODES];
	uint64_t latency[METRICS_METHODS][METRICS_BUCKETS]; /* not cumulative */
	uint64_t latency_ns[METRICS_METHODS];               /* sum */
	uint64_t refused_peers, protocol_errors;            /* of connections */
	uint32_t connections, calls;                        /* open now: not added up */
};

/* One answered or abandoned request: @method is "v2.Encrypt", …; @code gRPC's status; @ns it took. */
void metrics_observe(struct metrics *m, const char *method, unsigned int code, uint64_t ns);

/* @total += @more; what is open now is taken from @more as it is. */
void metrics_add(struct metrics *total, const struct metrics *more);

/* Prometheus' text format 0.0.4. */
void metrics_print(const struct metrics *m, FILE *to);

#endif
