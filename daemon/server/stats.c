/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wire, engine and plugins count since their start becomes what is new since the last report. A
 * report that cannot be sent is made again with the next.
 */
#include <string.h>

#include "daemon/server/server_private.h"

static void add_wire(struct metrics *m, const struct grpc_stats *now, const struct grpc_stats *seen)
{
	m->refused_peers = now->refused_peers - seen->refused_peers;
	m->protocol_errors = now->protocol_errors - seen->protocol_errors;
	m->connections = now->open_connections;
	m->calls = now->open_calls;
}

static void add_engine(struct metrics *m, const struct engine_stats *now,
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

void server_stats_report(struct server *s)
{
	struct link_msg msg = { .type = LINK_STATS };
	struct engine_stats engine;
	struct grpc_stats wire;

	grpc_server_stats(s->grpc, &wire);
	engine_stats(s->engine, &engine);
	add_wire(&s->stats, &wire, &s->seen_wire);
	add_engine(&s->stats, &engine, &s->seen_engine);
	upstreams_stats_take(s->upstreams, add_plugin, &s->stats);
	msg.stats = s->stats;
	if (link_send(s->link_fd, &msg, NULL) < 0)
		return;
	s->seen_wire = wire;
	s->seen_engine = engine;
	s->stats = (struct metrics){ 0 };
}
