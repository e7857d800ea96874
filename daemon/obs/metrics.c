/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. Names follow Prometheus' conventions: base units, _total, _seconds. */
#include "daemon/obs/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/base/cleanup.h"

static const char *const methods[METRICS_METHODS] = {
	"v2.Encrypt", "v2.Decrypt", "v1beta1.Encrypt", "v1beta1.Decrypt", "other",
};

static const char *const codes[METRICS_CODES] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

#define CODE_UNKNOWN 2

/* Upper bounds, inclusive; the text is what the label says. */
static const struct {
	uint64_t ns;
	const char *text;
} bounds[METRICS_BUCKETS] = {
	{ 50000, "5e-05" },    { 100000, "0.0001" },  { 250000, "0.00025" }, { 500000, "0.0005" },
	{ 1000000, "0.001" },  { 2500000, "0.0025" }, { 10000000, "0.01" },  { 50000000, "0.05" },
	{ 250000000, "0.25" }, { 1000000000, "1" },   { 3000000000, "3" },   { UINT64_MAX, "+Inf" },
};

static size_t method_index(const char *method)
{
	size_t i = 0;

	while (i < METRICS_METHODS - 1 && strcmp(methods[i], method) != 0)
		i++;
	return i;
}

void metrics_observe(struct metrics *m, const char *method, unsigned int code, uint64_t ns)
{
	size_t i = method_index(method), bucket = 0;

	while (ns > bounds[bucket].ns)
		bucket++;
	m->requests[i][code < METRICS_CODES ? code : CODE_UNKNOWN]++;
	m->latency[i][bucket]++;
	m->latency_ns[i] += ns;
}

void metrics_add(struct metrics *total, const struct metrics *more)
{
	for (size_t i = 0; i < METRICS_METHODS; i++) {
		for (size_t j = 0; j < METRICS_CODES; j++)
			total->requests[i][j] += more->requests[i][j];
		for (size_t j = 0; j < METRICS_BUCKETS; j++)
			total->latency[i][j] += more->latency[i][j];
		total->latency_ns[i] += more->latency_ns[i];
	}
	total->refused_peers += more->refused_peers;
	total->protocol_errors += more->protocol_errors;
	total->connections = more->connections;
	total->calls = more->calls;
}

static void head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *to, const char *name, const char *type, const char *help, uint64_t value)
{
	head(to, name, type, help);
	fprintf(to, "%s %" PRIu64 "\n", name, value);
}

static void print_requests(const struct metrics *m, FILE *to)
{
	head(to, "kekd_requests_total", "counter", "KMS requests by method and gRPC code.");
	for (size_t i = 0; i < METRICS_METHODS; i++)
		for (size_t j = 0; j < METRICS_CODES; j++)
			if (m->requests[i][j] > 0 || (j == 0 && i < METRICS_METHODS - 1))
				fprintf(to,
					"kekd_requests_total{method=\"%s\",code=\"%s\"} %" PRIu64
					"\n",
					methods[i], codes[j], m->requests[i][j]);
}

static void print_histogram(const struct metrics *m, size_t i, FILE *to)
{
	uint64_t sum = 0;

	for (size_t j = 0; j < METRICS_BUCKETS; j++) {
		sum += m->latency[i][j];
		fprintf(to,
			"kekd_request_duration_seconds_bucket{method=\"%s\",le=\"%s\"} %" PRIu64
			"\n",
			methods[i], bounds[j].text, sum);
	}
	fprintf(to, "kekd_request_duration_seconds_sum{method=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n",
		methods[i], m->latency_ns[i] / 1000000000, m->latency_ns[i] % 1000000000);
	fprintf(to, "kekd_request_duration_seconds_count{method=\"%s\"} %" PRIu64 "\n", methods[i],
		sum);
}

void metrics_print(const struct metrics *m, FILE *to)
{
	print_requests(m, to);
	head(to, "kekd_request_duration_seconds", "histogram",
	     "Time from a whole request to its answer.");
	for (size_t i = 0; i < METRICS_METHODS - 1; i++)
		print_histogram(m, i, to);
	one(to, "kekd_refused_peers_total", "counter",
	    "Connections refused by the peer's uid and gid.", m->refused_peers);
	one(to, "kekd_protocol_errors_total", "counter", "Connections closed as ill-formed.",
	    m->protocol_errors);
	one(to, "kekd_open_connections", "gauge", "Connections that are open.", m->connections);
	one(to, "kekd_open_calls", "gauge", "Calls that wait for their answer.", m->calls);
}
