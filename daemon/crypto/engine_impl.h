/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine: engine.c queues and schedules, engine_run.c builds runs and takes their
 * answers. Nobody else includes this.
 *
 * Where a job is, and on which list its priv.link:
 *
 *   JOB_IDLE     the caller's; on no list
 *   JOB_QUEUED   lane->small or lane->large of its key and direction
 *   JOB_FLYING   run->jobs of a run that the backend holds
 *   JOB_DUE      engine->due, its result known, its callback not yet run
 */
#ifndef KEKD_CRYPTO_ENGINE_IMPL_H
#define KEKD_CRYPTO_ENGINE_IMPL_H

#include "daemon/crypto/engine.h"
#include "daemon/crypto/job.h"

enum job_state { JOB_IDLE, JOB_QUEUED, JOB_FLYING, JOB_DUE };

/*
 * Messages of at most so many blocks wait in a queue of their own, and while there are others each
 * queue has half of a run: a KMS call, a few blocks, does not wait for bulk work on the same key.
 */
#define LANE_SMALL_BLOCKS 16

/* Jobs of one key that go through the cipher in one direction: a run has only one. */
struct lane {
	struct engine_key *key;
	struct list link;         /* engine->lanes while jobs wait here (or did until a cancel) */
	struct list small, large; /* jobs */
	bool odd_large;           /* whose the odd block of a run is, if both have jobs */
};

static inline bool lane_empty(const struct lane *lane)
{
	return list_empty(&lane->small) && list_empty(&lane->large);
}

struct engine_key {
	struct engine *engine;
	struct block_key *block; /* owned */
	struct list link;        /* engine->keys, or engine->dying once removed */
	struct lane lane[2];     /* by enum block_dir */
	uint32_t flying;         /* runs */
	bool removed;
	char *label; /* for probes; owned, or NULL */
};

/* A run and its buffer, both for the life of the engine. */
struct run {
	struct block_run block;
	struct list link; /* engine->idle */
	struct engine_key *key;
	struct list jobs;          /* in the order of their blocks */
	uint32_t number, messages; /* for probes: which of engine->runs, and jobs in it */
	bool fetch_h;              /* the last block is the zero block that gives H */
	size_t draw;               /* bytes of IVs to be drawn for jobs that begin here */
	uint8_t *buf;
};

struct engine {
	struct engine_config config;
	struct list keys, dying;
	struct list lanes; /* with work; the first has waited longest */
	struct list due;
	struct list idle; /* runs */
	struct block_defer defer;
	struct run *runs; /* runs_max of them */
	uint8_t *bufs;
	struct ghash_key *h; /* of the run that is being answered; behind bufs, in locked memory */
	size_t bytes;        /* of jobs under way */
	size_t started;      /* blocks, in this flush */
	unsigned int direct; /* runs that were offered to be answered at once, in this flush */
	unsigned int flying; /* runs */
	bool flushing;
	uint64_t now; /* of this flush; 0 = not asked for yet */
	struct engine_stats stats;
};

/* @job has ended with @r; whoever calls this sees to it that it comes to engine->due. */
static inline void job_end(struct engine_job *job, int r)
{
	job_forget(job);
	job->priv.result = r;
	job->priv.state = JOB_DUE;
}

/* End @job, wherever it is, with @r; its callback is due. */
void engine_end(struct engine *engine, struct engine_job *job, int r);
/* Put @job, which is on no list, at the end of its queue. */
void engine_queue(struct engine_job *job);
/* The same at its front: its run broke, and it keeps its turn. */
void engine_queue_again(struct engine_job *job);

/* End the jobs of @lane whose deadline is over. */
void lane_expire(struct lane *lane);
/* Build a run from the jobs of @lane and start it; there must be room and an idle run. */
void lane_start(struct lane *lane);

#endif
