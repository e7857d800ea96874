/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wire, engine and plugins count since their start becomes what is new since the last report. A
 * report that cannot be sent is made again with the next. --debug gets the sums of a report, not the runs.
 */
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/server/server_private.h"

static void add_wire(struct metrics *m, const struct grpc_stats *now, const struct grpc_stats *seen)
{
	m->refused_peers += now->refused_peers - seen->refused_peers;
	m->protocol_errors += now->protocol_errors - seen->protocol_errors;
	for (size_t i = 0; i < REFUSALS; i++)
		m->refusals[i] += now->refusals[i] - seen->refusals[i];
	m->connections += now->open_connections;
	m->calls += now->open_calls;
}

static void stats_add_engine(struct metrics *m, const struct engine_stats *now,
			     const struct engine_stats *seen)
{
	for (size_t i = 0; i < ENGINE_RUN_SIZES; i++)
		m->runs[i] = now->run_sizes[i] - seen->run_sizes[i];
	m->run_blocks = now->blocks - seen->blocks;
	m->jobs = now->jobs - seen->jobs;
	m->job_errors = now->errors - seen->errors;
	m->broken_runs = now->broken - seen->broken;
	m->queued = now->queued;
}

static void add_plugin(void *ctx, const char *path, const struct upstream_stat *stat)
{
	metrics_upstream(ctx, path, stat->calls, stat->failures, stat->last);
}

/* "up to 4 blocks: 12, more: 1" */
static void sizes_print(const struct metrics *m, char *to, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < METRICS_RUNS && len < room; i++) {
		const char *sep = len > 0 ? ", " : "";

		if (m->runs[i] == 0)
			continue;
		if (i < METRICS_RUNS - 1)
			len += (size_t)snprintf(to + len, room - len, "%sup to %u blocks: %llu",
						sep, engine_run_size(i),
						(unsigned long long)m->runs[i]);
		else
			len += (size_t)snprintf(to + len, room - len, "%smore: %llu", sep,
						(unsigned long long)m->runs[i]);
	}
}

static void log_engine(const struct metrics *m)
{
	char sizes[256] = "no run";

	if (m->jobs == 0 && m->queued == 0 && m->run_blocks == 0)
		return;
	sizes_print(m, sizes, sizeof(sizes));
	log_debug("engine: %llu messages, %llu failed, %u under way; %llu blocks in runs by size: "
		  "%s; %llu broken",
		  (unsigned long long)m->jobs, (unsigned long long)m->job_errors, m->queued,
		  (unsigned long long)m->run_blocks, sizes, (unsigned long long)m->broken_runs);
}

void server_stats_report(struct server *s)
{
	struct link_msg msg = { .type = LINK_STATS };
	struct grpc_stats wire, transform = { 0 };
	struct engine_stats engine;

	upstreams_stats_take(s->upstreams, add_plugin, &s->stats);
	grpc_server_stats(s->grpc, &wire);
	if (s->transform.grpc)
		grpc_server_stats(s->transform.grpc, &transform);
	engine_stats(s->engine, &engine);
	s->stats.log_dropped = log_lines_dropped() - s->seen_log;
	msg.stats = s->stats;
	add_wire(&msg.stats, &wire, &s->seen_wire);
	add_wire(&msg.stats, &transform, &s->seen_transform);
	stats_add_engine(&msg.stats, &engine, &s->seen_engine);
	if (link_send(s->link_fd, &msg, NULL) < 0) {
		log_debug("link %d: full; what was counted is reported later", s->link_fd);
		return;
	}
	if (log_debugging)
		log_engine(&msg.stats);
	s->seen_wire = wire;
	s->seen_transform = transform;
	s->seen_engine = engine;
	s->seen_log += s->stats.log_dropped;
	s->stats = (struct metrics){ 0 };
}
