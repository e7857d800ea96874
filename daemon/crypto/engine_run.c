/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs: many jobs' blocks side by side in one buffer, through the cipher at once, and back.
 *
 * A buffer holds, in turn, counter blocks and keystream, or ciphertext and what it decrypts to. It
 * is wiped after every run, also after a failed one, whose content nobody looks at.
 *
 * H, the key of the tags, is E_K of the zero block. It is fetched by every run that has messages of GCM, as
 * one more block, and wiped with it, so that nothing by which tags could be forged lies here between two
 * runs. What it costs: daemon/crypto/engine.h.
 *
 * First of all it holds the IVs that are drawn for its messages, at its end. As each of them needs no more
 * bytes than the blocks of its message, the blocks that are laid from the front have covered all IVs when the
 * run is whole, and none before it is taken. So they need no memory of their own and leave nothing.
 *
 * A broken run (-EIO) is not sent again as it is: the cipher may have worked in place and destroyed
 * its input. Its jobs go back to the front of their lane and are laid out anew. A piece of a job is
 * tried twice and no more.
 */
#include <errno.h>

#include "daemon/base/probe.h"
#include "daemon/base/random.h"
#include "daemon/crypto/engine_impl.h"

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* The clock is read at most once a flush, and not at all while no job has a deadline. */
static bool job_expired(struct engine *engine, const struct engine_job *job)
{
	if (job->deadline_ns == 0)
		return false;
	if (engine->now == 0)
		engine->now = engine->config.now();
	return engine->now >= job->deadline_ns;
}

static void queue_expire(struct engine *engine, struct list *jobs)
{
	list_for_each_safe (n, jobs) {
		struct engine_job *job = list_entry(n, struct engine_job, priv.link);

		if (job_expired(engine, job))
			engine_end(engine, job, -ETIME);
	}
}

void lane_expire(struct lane *lane)
{
	queue_expire(lane->key->engine, &lane->small);
	queue_expire(lane->key->engine, &lane->large);
}

/* Nobody else waits for the blocks that are left: large jobs may have them, first come first. */
static uint32_t run_extend(struct run *run, uint32_t left)
{
	list_for_each (n, &run->jobs) {
		struct engine_job *job = list_entry(n, struct engine_job, priv.link);
		uint32_t more = min_u32(job_want(job) - job->priv.take, left);

		job->priv.take += more;
		left -= more;
	}
	return left;
}

/* Move the first nodes of @from, up to and with @last, to the tail of @to. */
static void list_cut(struct list *to, struct list *from, struct list *last)
{
	struct list *first = from->next;

	from->next = last->next;
	from->next->prev = from;
	first->prev = to->prev;
	to->prev->next = first;
	last->next = to;
	to->prev = last;
}

/*
 * Move jobs from @jobs to @run, each with its share of @left blocks, until those are used up or nobody
 * waits. Returns the blocks left over. A job that could do with more than its share sets @some_want_more.
 */
static uint32_t run_take_from(struct run *run, struct list *jobs, uint32_t left,
			      bool *some_want_more)
{
	struct engine *engine = run->key->engine;
	struct list *last = NULL;

	list_for_each_safe (n, jobs) {
		struct engine_job *job = list_entry(n, struct engine_job, priv.link);
		uint32_t want = job_want(job);

		if (left == 0)
			break;
		if (job_expired(engine, job)) {
			engine_end(engine, job, -ETIME);
			continue;
		}
		run->fetch_h |= job_is_gcm(job);
		job->priv.take = min_u32(min_u32(want, engine->config.share_blocks), left);
		job->priv.state = JOB_FLYING;
		run->draw += job_draws(job);
		left -= job->priv.take;
		*some_want_more |= job->priv.take < want;
		last = n;
	}
	if (last)
		list_cut(&run->jobs, jobs, last);
	return left;
}

/*
 * Half of the run's @left blocks are kept for large messages if there are any, the other half for small ones;
 * what the one does not need is the other's. An odd block goes to the one and the other in turn, as a
 * run may have just one. Returns the blocks left over.
 */
static uint32_t run_take(struct run *run, struct lane *lane, uint32_t left)
{
	bool some_want_more = false;
	uint32_t kept;

	if (list_empty(&lane->large)) { /* as almost always */
		left = run_take_from(run, &lane->small, left, &some_want_more);
		return some_want_more ? run_extend(run, left) : left;
	}
	kept = (left + lane->odd_large) / 2;
	lane->odd_large = !lane->odd_large;
	left = kept + run_take_from(run, &lane->small, left - kept, &some_want_more);
	left = run_take_from(run, &lane->large, left, &some_want_more);
	left = run_take_from(run, &lane->small, left, &some_want_more);
	return some_want_more ? run_extend(run, left) : left;
}

static int run_fill(struct run *run)
{
	uint8_t *at = run->buf, *iv = at + run->block.blocks * KEKD_AES_BLOCK - run->draw;

	run->messages = 0;
	if (run->draw > 0) {
		int r = random_bytes(iv, run->draw);

		if (r < 0)
			return r;
	}
	list_for_each (n, &run->jobs) {
		struct engine_job *job = list_entry(n, struct engine_job, priv.link);
		size_t draws = job_draws(job);

		run->messages++;
		if (draws > 0) {
			job_begin_with(job, iv);
			iv += draws;
		}
		job_fill(job, job->priv.take, at);
		at += (size_t)job->priv.take * KEKD_AES_BLOCK;
	}
	if (run->fetch_h)
		memset(at, 0, KEKD_AES_BLOCK);
	return 0;
}

/*
 * One job's answer. It ends, staying on the run's list, or queues up again behind the others for its
 * next piece.
 */
static void run_land(struct run *run, struct engine_job *job, const uint8_t *blocks)
{
	struct engine_key *key = run->key;
	int r;

	if (job->priv.cancelled)
		r = -ECANCELED;
	else
		r = job_absorb(job, key->engine->h, blocks, job->priv.take);
	if (r == 0 && job_want(job) > 0) {
		if (!key->removed) {
			job->priv.retried = false;
			list_del(&job->priv.link);
			engine_queue(job);
			return;
		}
		r = -EKEYREVOKED;
	}
	job_end(job, r);
}

static void run_succeed(struct run *run)
{
	struct engine_key *key = run->key;
	const uint8_t *at = run->buf;

	if (run->fetch_h)
		ghash_key_init(key->engine->h, run->buf + (run->block.blocks - 1) * KEKD_AES_BLOCK,
			       key->engine->config.ghash);
	list_for_each_safe (n, &run->jobs) {
		struct engine_job *job = list_entry(n, struct engine_job, priv.link);
		size_t len = (size_t)job->priv.take * KEKD_AES_BLOCK;

		run_land(run, job, at);
		at += len;
	}
	list_splice_tail(&key->engine->due, &run->jobs);
	if (run->fetch_h)
		ghash_key_forget(key->engine->h);
}

/* From the last job to the first, so that those which try again keep their order. */
static void run_fail(struct run *run, int r)
{
	struct engine_key *key = run->key;

	while (!list_empty(&run->jobs)) {
		struct engine_job *job = list_entry(run->jobs.prev, struct engine_job, priv.link);

		list_del(&job->priv.link);
		if (job->priv.cancelled) {
			engine_end(key->engine, job, -ECANCELED);
		} else if (key->removed) {
			engine_end(key->engine, job, -EKEYREVOKED);
		} else if (r == -EIO && !job->priv.retried) {
			job->priv.retried = true;
			engine_queue_again(job);
		} else {
			engine_end(key->engine, job, r);
		}
	}
}

static void run_count(struct engine_stats *stats, size_t blocks)
{
	size_t i = 0;

	while (i < ENGINE_RUN_SIZES - 1 && blocks > engine_run_size(i))
		i++;
	stats->run_sizes[i]++;
	stats->runs++;
	stats->blocks += blocks;
}

static void run_done(struct block_run *block, int r)
{
	struct run *run = container_of(block, struct run, block);
	struct engine_key *key = run->key;
	struct engine *engine = key->engine;

	PROBE_RUN_END(run->number, key->label, block->dir, run->messages, block->blocks, r);
	key->flying--;
	engine->flying--;
	if (r < 0) {
		engine->stats.broken += r == -EIO;
		run_fail(run, r);
	} else {
		run_count(&engine->stats, block->blocks);
		run_succeed(run);
	}
	secmem_wipe(run->buf, block->blocks * KEKD_AES_BLOCK);
	run->key = NULL;
	list_add_head(&engine->idle, &run->link);
}

/* @lane's run, which has been taken from it, is all that this flush has to do, as far as one can see. */
static bool run_is_alone(struct engine *engine, const struct lane *lane)
{
	return engine->flying == 0 && lane_empty(lane) && list_empty(&engine->lanes) &&
	       engine->direct++ < ENGINE_TURN_DIRECT;
}

void lane_start(struct lane *lane)
{
	struct engine_key *key = lane->key;
	struct engine *engine = key->engine;
	struct run *run = list_first(&engine->idle, struct run, link);
	bool decrypts = lane == &key->lane[BLOCK_DECRYPT];
	uint32_t room = engine->config.run_blocks, most = key->block->blocks_max, left;
	int r;

	run->key = key;
	run->fetch_h = false;
	run->draw = 0;
	if (most > 0 && most < room)
		room = most;
	room -= !decrypts; /* one is for H */
	left = run_take(run, lane, room);
	if (left == room)
		return; /* every job had run out of time; the run stays idle */
	list_del(&run->link);
	run->block = (struct block_run){
		.in = run->buf,
		.out = run->buf,
		.blocks = room - left + run->fetch_h,
		.dir = decrypts ? BLOCK_DECRYPT : BLOCK_ENCRYPT,
		.done = run_done,
		.alone = run_is_alone(engine, lane) ? &engine->defer : NULL,
	};
	engine->started += run->block.blocks;
	engine->flying++;
	key->flying++;
	r = run_fill(run);
	if (r == 0) {
		PROBE_RUN_START(run->number, key->label, run->block.dir, run->messages,
				run->block.blocks);
		r = key->block->ops->start(key->block, &run->block);
	}
	if (r < 0)
		run_done(&run->block, r);
}
