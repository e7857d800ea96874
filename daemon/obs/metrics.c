/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. Names follow Prometheus' conventions: base units, _total, _seconds. */
#include "daemon/obs/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/base/cleanup.h"

static const char *const methods[METRICS_METHODS] = {
	"v2.Encrypt",          "v2.Decrypt",
	"v1beta1.Encrypt",     "v1beta1.Decrypt",
	"transform.ToStorage", "transform.FromStorage",
	"transform.Verify",    "other",
};

/* Upper bounds, inclusive; the text is what the label says. */
static const struct {
	uint64_t ns;
	const char *text;
} bounds[METRICS_BUCKETS] = {
	{ 50000, "5e-05" },    { 100000, "0.0001" },  { 250000, "0.00025" }, { 500000, "0.0005" },
	{ 1000000, "0.001" },  { 2500000, "0.0025" }, { 10000000, "0.01" },  { 50000000, "0.05" },
	{ 250000000, "0.25" }, { 1000000000, "1" },   { 3000000000, "3" },   { UINT64_MAX, "+Inf" },
};

uint64_t metrics_bound_ns(size_t bucket)
{
	return bounds[bucket].ns;
}

void metrics_observe(struct metrics *m, const char *method, unsigned int code, uint64_t ns)
{
	size_t i = 0, bucket = 0;

	while (i < METRICS_METHODS - 1 && strcmp(methods[i], method) != 0)
		i++;
	while (ns > bounds[bucket].ns)
		bucket++;
	m->requests[i][code < METRICS_CODES ? code : GRPC_UNKNOWN]++;
	m->latency[i][bucket]++;
	m->latency_ns[i] += ns;
}

static struct metrics_upstream *upstream_find(struct metrics *m, const char *path)
{
	struct metrics_upstream *u;

	for (uint32_t i = 0; i < m->n_upstreams; i++)
		if (strncmp(m->upstreams[i].path, path, sizeof(m->upstreams[i].path)) == 0)
			return &m->upstreams[i];
	if (m->n_upstreams >= METRICS_UPSTREAMS)
		return NULL;
	u = &m->upstreams[m->n_upstreams++];
	*u = (struct metrics_upstream){ 0 };
	snprintf(u->path, sizeof(u->path), "%s", path);
	return u;
}

void metrics_upstream(struct metrics *m, const char *path, uint64_t calls, uint64_t failures,
		      int last)
{
	struct metrics_upstream *u = upstream_find(m, path);

	if (!u)
		return;
	u->calls += calls;
	u->failures += failures;
	if (calls > 0)
		u->last = last;
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
	for (size_t i = 0; i < REFUSALS; i++)
		total->refusals[i] += more->refusals[i];
	total->probes += more->probes;
	total->audit_lines += more->audit_lines;
	total->audit_dropped += more->audit_dropped;
	total->log_dropped += more->log_dropped;
	for (size_t i = 0; i < METRICS_RUNS; i++)
		total->runs[i] += more->runs[i];
	total->run_blocks += more->run_blocks;
	total->jobs += more->jobs;
	total->job_errors += more->job_errors;
	total->broken_runs += more->broken_runs;
	for (uint32_t i = 0; i < more->n_upstreams && i < METRICS_UPSTREAMS; i++) {
		const struct metrics_upstream *u = &more->upstreams[i];
		char path[sizeof(u->path) + 1] = { 0 };

		memcpy(path, u->path, sizeof(u->path));
		metrics_upstream(total, path, u->calls, u->failures, u->last);
	}
}

void metrics_add_now(struct metrics *total, const struct metrics *one)
{
	total->connections += one->connections;
	total->calls += one->calls;
	total->queued += one->queued;
	total->audit_stuck |= one->audit_stuck;
	if (total->probe_r == 0)
		total->probe_r = one->probe_r;
}

static void metrics_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(FILE *to, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_head(to, name, type, help);
	fprintf(to, "%s %" PRIu64 "\n", name, value);
}

static void print_requests(const struct metrics *m, FILE *to)
{
	metrics_head(to, "kekd_requests_total", "counter", "KMS requests by method and gRPC code.");
	for (size_t i = 0; i < METRICS_METHODS; i++)
		for (size_t j = 0; j < METRICS_CODES; j++)
			if (m->requests[i][j] > 0 || (j == 0 && i < METRICS_METHODS - 1))
				fprintf(to,
					"kekd_requests_total{method=\"%s\",code=\"%s\"} %" PRIu64
					"\n",
					methods[i], grpc_status_name((unsigned int)j),
					m->requests[i][j]);
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

static void print_runs(const struct metrics *m, FILE *to)
{
	uint64_t sum = 0;
	size_t i;

	metrics_head(to, "kekd_engine_run_blocks", "histogram",
		     "Number of AES blocks in one operation of the cipher.");
	for (i = 0; i < METRICS_RUNS - 1; i++) {
		sum += m->runs[i];
		fprintf(to, "kekd_engine_run_blocks_bucket{le=\"%u\"} %" PRIu64 "\n",
			engine_run_size(i), sum);
	}
	sum += m->runs[i];
	fprintf(to, "kekd_engine_run_blocks_bucket{le=\"+Inf\"} %" PRIu64 "\n", sum);
	fprintf(to, "kekd_engine_run_blocks_sum %" PRIu64 "\n", m->run_blocks);
	fprintf(to, "kekd_engine_run_blocks_count %" PRIu64 "\n", sum);
}

static void print_upstream(const char *name, const char *path, uint64_t value, FILE *to)
{
	fprintf(to, "%s{plugin=\"", name);
	for (; *path; path++) { /* backslash, quote and line feed are escaped */
		if (*path == '\\' || *path == '"')
			putc('\\', to);
		if (*path == '\n')
			fputs("\\n", to);
		else
			putc(*path, to);
	}
	fprintf(to, "\"} %" PRIu64 "\n", value);
}

static void print_upstreams(const struct metrics *m, FILE *to)
{
	const struct metrics_upstream *u = m->upstreams;

	metrics_head(to, "kekd_upstream_up", "gauge",
		     "1 if the last call of the other KMS plugin succeeded.");
	for (uint32_t i = 0; i < m->n_upstreams; i++)
		print_upstream("kekd_upstream_up", u[i].path, u[i].last == 0, to);
	metrics_head(to, "kekd_upstream_calls_total", "counter",
		     "Calls that kekd made to another KMS plugin.");
	for (uint32_t i = 0; i < m->n_upstreams; i++)
		print_upstream("kekd_upstream_calls_total", u[i].path, u[i].calls, to);
	metrics_head(to, "kekd_upstream_failures_total", "counter",
		     "Calls to another KMS plugin that failed or were "
		     "refused.");
	for (uint32_t i = 0; i < m->n_upstreams; i++)
		print_upstream("kekd_upstream_failures_total", u[i].path, u[i].failures, to);
}

void metrics_print(const struct metrics *m, FILE *to)
{
	print_requests(m, to);
	metrics_head(to, "kekd_request_duration_seconds", "histogram",
		     "Time from the last byte of a request to its answer.");
	for (size_t i = 0; i < METRICS_METHODS - 1; i++)
		print_histogram(m, i, to);
	one(to, "kekd_refused_peers_total", "counter",
	    "Connections refused because their uid and gid are not in allowedPeers.",
	    m->refused_peers);
	metrics_head(to, "kekd_refusals_total", "counter",
		     "Requests and connections of allowed peers that were refused, by the "
		     "limit they reached.");
	for (size_t i = 0; i < REFUSALS; i++)
		fprintf(to, "kekd_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
			refusal_name((enum refusal)i), m->refusals[i]);
	one(to, "kekd_protocol_errors_total", "counter",
	    "Connections closed because they broke the protocol.", m->protocol_errors);
	one(to, "kekd_open_connections", "gauge", "Number of open connections.", m->connections);
	one(to, "kekd_open_calls", "gauge", "Number of calls that have not been answered yet.",
	    m->calls);
	one(to, "kekd_probes_total", "counter",
	    "Test encryptions and decryptions with the active keys.", m->probes);
	one(to, "kekd_log_dropped_total", "counter",
	    "Log lines that were lost because the log's reader did not keep up.", m->log_dropped);
	print_runs(m, to);
	one(to, "kekd_engine_jobs_total", "counter",
	    "Messages that the engine has finished, failed ones "
	    "included.",
	    m->jobs);
	one(to, "kekd_engine_job_errors_total", "counter",
	    "Messages that failed in the engine for another reason than a wrong tag.",
	    m->job_errors);
	one(to, "kekd_engine_broken_runs_total", "counter",
	    "Operations of the kernel's cipher that failed, after each of which its "
	    "socket was replaced.",
	    m->broken_runs);
	one(to, "kekd_engine_queue_length", "gauge", "Number of messages in the engine.",
	    m->queued);
	one(to, "kekd_audit_lines_total", "counter", "Audit lines that were written.",
	    m->audit_lines);
	one(to, "kekd_audit_dropped_total", "counter",
	    "Audit lines that were dropped because they could not "
	    "be written.",
	    m->audit_dropped);
	one(to, "kekd_audit_stuck", "gauge", "1 while the audit cannot be written.",
	    m->audit_stuck != 0);
	print_upstreams(m, to);
}
