/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as the server runs it: jobs submitted, a flush, turns of the ring until all have ended. Op
 * sockets of ecb(aes), keyed by serial. A broken op socket would spoil the figures: none is replaced,
 * and the run ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/crypto/backend_kernel.h"
#include "daemon/crypto/engine.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/ring.h"
#include "tests/bench/ways/way.h"

struct bench_engine;

struct bench_job {
	struct engine_job job;
	struct bench_engine *owner;
	struct message *message;
};

struct bench_engine {
	const struct load *load;
	struct ring *ring;
	struct engine *engine;
	struct engine_key *key;
	struct bench_job *jobs;
	unsigned int under_way;
	int error;
};

static void broken(void *ctx, const uint8_t *id _unused_)
{
	struct bench_engine *e = ctx;

	e->error = -EIO;
}

static void done(struct engine_job *job, int r)
{
	struct bench_job *j = container_of(job, struct bench_job, job);
	const struct load *l = j->owner->load;

	j->owner->under_way--;
	if (r < 0)
		j->owner->error = r;
	else if (l->gcm && l->encrypt)
		memcpy(j->message->out + l->bytes, job->tag, KEKD_GCM_TAG);
}

static int submit(struct bench_engine *e, struct bench_job *j, struct message *m)
{
	const struct load *l = e->load;

	j->message = m;
	j->job.in = span_of(m->in, l->bytes);
	j->job.out = m->out;
	memcpy(j->job.iv, m->iv, sizeof(m->iv));
	if (l->gcm && !l->encrypt)
		memcpy(j->job.tag, m->in + l->bytes, KEKD_GCM_TAG);
	e->under_way++;
	return engine_submit(e->engine, &j->job);
}

static int finish(struct bench_engine *e)
{
	int r = 0;

	while (r == 0 && e->under_way > 0 && e->error == 0) {
		bool more = engine_flush(e->engine);

		if (e->under_way > 0)
			r = ring_turn(e->ring, more);
	}
	return r < 0 ? r : e->error;
}

static int engine_batch(void *self, struct message *messages)
{
	struct bench_engine *e = self;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < e->load->in_flight; i++)
		r = submit(e, &e->jobs[i], &messages[i]);
	return r < 0 ? r : finish(e);
}

static void engine_close(void *self)
{
	struct bench_engine *e = self;

	free(e->jobs);
	engine_free(e->engine);
	ring_free(e->ring);
	free(e);
}

/* Consumes nothing; the block key is the engine key's in the end. */
static int block_new(struct bench_engine *e, struct block_key **ret)
{
	static const uint8_t id[KEKD_KEY_ID];
	_cleanup_close_ int tfm = -1;
	struct block_key *block;
	int fd, r;

	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r == 0)
		r = afalg_set_key(tfm, bench_key);
	if (r == 0)
		r = backend_kernel_new(e->ring, id, broken, e, &block);
	if (r < 0)
		return r;
	for (int i = 0; r == 0 && i < BACKEND_KERNEL_SOCKETS; i++) {
		r = afalg_accept(tfm, &fd);
		if (r == 0)
			backend_kernel_add_socket(block, fd);
	}
	if (r < 0)
		block->ops->free(block);
	else
		*ret = block;
	return r;
}

/* What all messages of a load have in common. */
static void jobs_init(struct bench_engine *e)
{
	const struct load *l = e->load;

	for (unsigned int i = 0; i < l->in_flight; i++) {
		struct bench_job *j = &e->jobs[i];

		j->owner = e;
		j->job.key = e->key;
		j->job.mode = l->gcm ? (l->encrypt ? ENGINE_GCM_SEAL : ENGINE_GCM_OPEN)
				     : (l->encrypt ? ENGINE_CBC_ENCRYPT : ENGINE_CBC_DECRYPT);
		j->job.done = done;
	}
}

static int engine_prepare(struct bench_engine *e)
{
	struct engine_config config = ENGINE_CONFIG_DEFAULT;
	struct block_key *block = NULL;
	int r;

	config.now = now_ns;
	e->jobs = calloc(e->load->in_flight, sizeof(*e->jobs));
	r = e->jobs ? ring_new(RING_AUTO, 256, &e->ring) : -ENOMEM;
	if (r == 0)
		r = engine_new(&config, &e->engine);
	if (r == 0)
		r = block_new(e, &block);
	if (r == 0)
		r = engine_key_new(e->engine, block, &e->key);
	if (r == 0)
		jobs_init(e);
	return r;
}

static int engine_open(const struct load *l, void **ret)
{
	struct bench_engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->load = l;
	r = engine_prepare(e);
	if (r == 0)
		*ret = e;
	else
		engine_close(e);
	return r;
}

const struct way way_engine = { "engine", engine_open, engine_batch, engine_close };
