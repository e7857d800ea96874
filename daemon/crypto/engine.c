/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues and scheduling.
 *
 * Lanes (one key, one direction) take turns: each pass gives every lane that has work and room one
 * run. A lane that was held up keeps its place before those that were served, so neither a busy key
 * nor a busy direction keeps the others out. Inside a lane small messages and large ones have half of
 * a run each, and in either queue jobs take turns: one that needs more blocks than its share goes back
 * to the end. So a small message waits for the small ones before it, whatever the large ones are, and
 * a large one for a share of each before it (tests/unit/fair.c).
 *
 * Re-entrancy: a backend's done only moves jobs between lists. Callbacks run from engine_flush()
 * alone, while no list is being walked, and keys are freed there alone, when no backend is on the
 * stack. So callbacks may do as they please, except free the engine.
 *
 * Nothing is allocated after engine_new() but keys.
 */
#include "daemon/crypto/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crypto/engine_impl.h"

static size_t job_bytes(const struct engine_job *job)
{
	return job->in.len + job->aad.len;
}

/* Let the lane be looked at by the next pass. */
static void lane_wake(struct lane *lane)
{
	if (list_empty(&lane->link))
		list_add_tail(&lane->key->engine->lanes, &lane->link);
}

static struct list *lane_queue_of(struct lane *lane, const struct engine_job *job)
{
	return job->priv.todo <= LANE_SMALL_BLOCKS ? &lane->small : &lane->large;
}

void engine_queue(struct engine_job *job)
{
	struct lane *lane = &job->key->lane[job_dir(job)];

	job->priv.state = JOB_QUEUED;
	list_add_tail(lane_queue_of(lane, job), &job->priv.link);
	lane_wake(lane);
}

void engine_queue_again(struct engine_job *job)
{
	struct lane *lane = &job->key->lane[job_dir(job)];

	job->priv.state = JOB_QUEUED;
	list_add_head(lane_queue_of(lane, job), &job->priv.link);
	lane_wake(lane);
}

void engine_end(struct engine *engine, struct engine_job *job, int r)
{
	list_del(&job->priv.link);
	job_end(job, r);
	list_add_tail(&engine->due, &job->priv.link);
}

int engine_submit(struct engine *engine, struct engine_job *job)
{
	int r;

	if (job->priv.state != JOB_IDLE)
		return -EBUSY;
	r = job_begin(job);
	if (r < 0)
		return r;
	if (job->key->removed)
		return -EKEYREVOKED;
	if (engine->stats.queued >= engine->config.jobs_max ||
	    job_bytes(job) > engine->config.bytes_max - engine->bytes)
		return -ENOBUFS;
	engine->stats.queued++;
	engine->bytes += job_bytes(job);
	if (job_want(job) > 0) {
		engine_queue(job);
	} else { /* CBC of nothing */
		list_init(&job->priv.link);
		engine_end(engine, job, 0);
	}
	return 0;
}

void engine_cancel(struct engine *engine, struct engine_job *job)
{
	if (job->priv.state == JOB_QUEUED)
		engine_end(engine, job, -ECANCELED);
	else if (job->priv.state == JOB_FLYING)
		job->priv.cancelled = true;
}

/* The job is the caller's again before its callback runs. */
static void engine_call_back(struct engine *engine, struct engine_job *job)
{
	int r = job->priv.result;

	list_del(&job->priv.link);
	job->priv.state = JOB_IDLE;
	engine->bytes -= job_bytes(job);
	engine->stats.queued--;
	engine->stats.jobs++;
	if (r < 0 && r != -EBADMSG)
		engine->stats.errors++;
	job->done(job, r);
}

/* Only those due now: what callbacks cause to end is for the next time, or they might never stop. */
static void engine_call_back_due(struct engine *engine)
{
	struct list due;

	list_init(&due);
	list_splice_tail(&due, &engine->due);
	while (!list_empty(&due))
		engine_call_back(engine, list_first(&due, struct engine_job, priv.link));
}

static bool lane_has_room(const struct lane *lane)
{
	const struct block_key *block = lane->key->block;

	return block->ops->room(block) > 0;
}

static bool engine_may_start(const struct engine *engine)
{
	return !list_empty(&engine->idle) && engine->started < ENGINE_TURN_BLOCKS;
}

/* One run for each lane with work and room. True if one was started. */
static bool engine_pass(struct engine *engine)
{
	size_t before = engine->started;
	struct list held, served;

	if (list_empty(&engine->lanes))
		return false;
	list_init(&held);
	list_init(&served);
	while (!list_empty(&engine->lanes) && engine_may_start(engine)) {
		struct lane *lane = list_first(&engine->lanes, struct lane, link);
		bool room = lane_has_room(lane);

		list_del(&lane->link);
		if (room)
			lane_start(lane);
		else
			lane_expire(lane);
		if (!lane_empty(lane) && !list_linked(&lane->link))
			list_add_tail(room ? &served : &held, &lane->link);
	}
	list_splice_tail(&held, &engine->lanes);
	list_splice_tail(&held, &served);
	list_splice_tail(&engine->lanes, &held);
	return engine->started > before;
}

/* Hand over the answers that backends had at once. True if there was one. */
static bool engine_drain(struct engine *engine)
{
	struct list runs;

	if (list_empty(&engine->defer.runs))
		return false;
	list_init(&runs);
	list_splice_tail(&runs, &engine->defer.runs);
	while (!list_empty(&runs)) {
		struct block_run *run = list_first(&runs, struct block_run, link);

		list_del(&run->link);
		run->done(run, run->result);
	}
	return true;
}

static void key_free(struct engine_key *key)
{
	list_del(&key->link);
	key->block->ops->free(key->block);
	free(key->label);
	free(key);
}

static void engine_reap(struct engine *engine)
{
	list_for_each_safe (n, &engine->dying) {
		struct engine_key *key = list_entry(n, struct engine_key, link);

		if (key->flying == 0)
			key_free(key);
	}
}

static bool engine_has_more(const struct engine *engine)
{
	if (!list_empty(&engine->due) || !list_empty(&engine->defer.runs))
		return true;
	if (list_empty(&engine->idle))
		return false;
	list_for_each (n, &engine->lanes) {
		const struct lane *lane = list_entry(n, struct lane, link);

		if (!lane_empty(lane) && lane_has_room(lane))
			return true;
	}
	return false;
}

bool engine_flush(struct engine *engine)
{
	if (engine->flushing)
		return true; /* from inside a callback: the outer flush goes on */
	engine->flushing = true;
	engine->started = 0;
	engine->direct = 0;
	engine->now = 0;
	if (!list_empty(&engine->due))
		engine_call_back_due(engine);
	do {
		while (engine_pass(engine))
			;
	} while (engine_drain(engine) && engine->started < ENGINE_TURN_BLOCKS);
	if (!list_empty(&engine->due))
		engine_call_back_due(engine);
	if (!list_empty(&engine->dying))
		engine_reap(engine);
	engine->flushing = false;
	return engine_has_more(engine);
}

void engine_stats(const struct engine *engine, struct engine_stats *ret)
{
	*ret = engine->stats;
}

static bool config_is_sound(const struct engine_config *c)
{
	return c->jobs_max > 0 && c->runs_max > 0 && c->run_blocks > 1 &&
	       c->run_blocks <= KEKD_RUN_BLOCKS_MAX && c->share_blocks > 0 && c->now && c->ghash &&
	       c->ghash->supported();
}

static size_t bufs_size(const struct engine_config *c)
{
	return (size_t)c->runs_max * c->run_blocks * KEKD_AES_BLOCK;
}

static size_t locked_size(const struct engine_config *c)
{
	return bufs_size(c) + sizeof(struct ghash_key);
}

static int engine_make_runs(struct engine *engine)
{
	const struct engine_config *config = &engine->config;

	engine->runs = calloc(config->runs_max, sizeof(*engine->runs));
	engine->bufs = secmem_alloc(locked_size(config));
	if (!engine->runs || !engine->bufs)
		return -ENOMEM;
	engine->h = (struct ghash_key *)(void *)(engine->bufs + bufs_size(config));
	for (size_t i = 0; i < config->runs_max; i++) {
		struct run *run = &engine->runs[i];

		run->number = (uint32_t)i;
		run->buf = engine->bufs + i * config->run_blocks * KEKD_AES_BLOCK;
		list_init(&run->jobs);
		list_add_tail(&engine->idle, &run->link);
	}
	return 0;
}

int engine_new(const struct engine_config *config, struct engine **ret)
{
	_cleanup_(engine_freep) struct engine *engine = NULL;
	int r;

	if (!config_is_sound(config))
		return -EINVAL;
	engine = calloc(1, sizeof(*engine));
	if (!engine)
		return -ENOMEM;
	engine->config = *config;
	list_init(&engine->keys);
	list_init(&engine->dying);
	list_init(&engine->lanes);
	list_init(&engine->due);
	list_init(&engine->idle);
	list_init(&engine->defer.runs);
	r = engine_make_runs(engine);
	if (r < 0)
		return r;
	*ret = move_ptr(engine);
	return 0;
}

bool engine_idle(const struct engine *engine)
{
	return engine->flying == 0 && engine->stats.queued == 0 && list_empty(&engine->dying);
}

void engine_free(struct engine *engine)
{
	if (!engine)
		return;
	list_splice_tail(&engine->dying, &engine->keys);
	engine_reap(engine);
	assert(engine->stats.queued == 0 && list_empty(&engine->dying));
	secmem_free(engine->bufs, locked_size(&engine->config));
	free(engine->runs);
	free(engine);
}

struct block_defer *engine_defer(struct engine *engine)
{
	return &engine->defer;
}

int engine_key_new(struct engine *engine, struct block_key *block, struct engine_key **ret)
{
	struct engine_key *key = calloc(1, sizeof(*key));

	if (!key)
		return -ENOMEM;
	key->engine = engine;
	key->block = block;
	for (size_t dir = 0; dir < ARRAY_SIZE(key->lane); dir++) {
		struct lane *lane = &key->lane[dir];

		lane->key = key;
		list_init(&lane->link);
		list_init(&lane->small);
		list_init(&lane->large);
	}
	list_add_tail(&engine->keys, &key->link);
	*ret = key;
	return 0;
}

static void lane_revoke(struct lane *lane)
{
	list_del(&lane->link);
	list_splice_tail(&lane->small, &lane->large);
	while (!list_empty(&lane->small))
		engine_end(lane->key->engine,
			   list_first(&lane->small, struct engine_job, priv.link), -EKEYREVOKED);
}

void engine_key_remove(struct engine_key *key)
{
	key->removed = true;
	lane_revoke(&key->lane[BLOCK_ENCRYPT]);
	lane_revoke(&key->lane[BLOCK_DECRYPT]);
	list_del(&key->link);
	list_add_tail(&key->engine->dying, &key->link);
}

void engine_key_label(struct engine_key *key, const char *label)
{
	free(key->label);
	key->label = strdup(label);
}

struct block_key *engine_key_block(struct engine_key *key)
{
	return key->block;
}
