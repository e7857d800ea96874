/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See backend_holder.h. A slot of the channel is a place here, too: the run in it, until it is answered.
 *
 * The watch for answers begins with the first run. A ring that it has reported may stay in the pipe: what counts is
 * the slots. So an answer costs no read(2) and no new watch, where ring_watch() goes on. A ring tells of a run or of
 * more. So there are no more rings in the pipe than runs have been answered, and all of them are read now and then.
 */
#include "daemon/crypto/backend_holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/holder.h"

/* Runs from one reading of rings to the next. With those in flight far less than the smallest pipe takes, 4096. */
#define RINGS 256

struct holder_key {
	struct block_key block; /* first */
	struct holder_client *client;
	uint8_t id[KEKD_KEY_ID];
};

struct holder_client {
	struct ring *ring;
	struct holder_channel *channel; /* NULL: there is no holder */
	int bell, answer;               /* -1: none */
	int next_answer; /* instead of answer, when the watch for that has ended; or -1 */
	bool gone;       /* the holder has ended, and the next is not here */
	struct ring_op watch;
	unsigned int unread; /* runs answered since the rings were read */
	unsigned int flying;
	struct {
		struct block_run *run; /* NULL: free */
		uint8_t id[KEKD_KEY_ID];
	} places[HOLDER_SLOTS];
};

static size_t run_bytes(const struct block_run *run)
{
	return run->blocks * KEKD_AES_BLOCK;
}

static void client_watch(struct holder_client *c)
{
	if (c->flying > 0 && !c->gone && !ring_op_busy(&c->watch))
		ring_watch(c->ring, &c->watch, c->answer, POLLIN);
}

static void client_gone(struct holder_client *c)
{
	if (!c->gone)
		log_debug("the holder has ended; %u runs wait for the next", c->flying);
	c->gone = true;
}

/* A pipe that is full rings already. */
static void client_ring(struct holder_client *c)
{
	if (write(c->bell, "", 1) < 0 && errno != EAGAIN)
		client_gone(c);
}

/* Into its slot; the bell is still to be rung. */
static void client_put(struct holder_client *c, size_t i)
{
	struct holder_slot *slot = &c->channel->slots[i];
	const struct block_run *run = c->places[i].run;

	memcpy(c->channel->blocks[i], run->in, run_bytes(run));
	slot->dir = run->dir;
	slot->blocks = (uint32_t)run->blocks;
	memcpy(slot->id, c->places[i].id, KEKD_KEY_ID);
	atomic_store_explicit(&slot->state, HOLDER_ASKED, memory_order_release);
}

/* What it has answered is the run's, and nothing of it stays in the channel. */
static void client_take(struct holder_client *c, size_t i)
{
	struct holder_slot *slot = &c->channel->slots[i];
	struct block_run *run = c->places[i].run;
	int r = slot->r;

	if (r == 0)
		memcpy(run->out, c->channel->blocks[i], run_bytes(run));
	secmem_wipe(c->channel->blocks[i], run_bytes(run));
	atomic_store_explicit(&slot->state, HOLDER_IDLE, memory_order_relaxed);
	c->places[i].run = NULL;
	c->flying--;
	c->unread++;
	run->done(run, r);
}

static void client_take_all(struct holder_client *c)
{
	for (size_t i = 0; i < HOLDER_SLOTS && c->flying > 0; i++)
		if (c->places[i].run && atomic_load_explicit(&c->channel->slots[i].state,
							     memory_order_acquire) == HOLDER_DONE)
			client_take(c, i);
}

/* The watch for the one before has ended. */
static void client_answer_is(struct holder_client *c, int fd)
{
	closep(&c->answer);
	c->answer = fd;
	c->next_answer = -1;
}

static void client_read_rings(struct holder_client *c)
{
	char rings[RINGS + 2 * HOLDER_SLOTS];
	ssize_t n = read(c->answer, rings, sizeof(rings));

	(void)n; /* only the slots count */
	c->unread = 0;
}

/* Rings are read before the slots are looked at: who answers after that look rings again. */
static void answered(struct ring_op *op, int res, unsigned int flags)
{
	struct holder_client *c = container_of(op, struct holder_client, watch);

	if (c->next_answer >= 0) {
		if (!(flags & RING_MORE))
			client_answer_is(c, c->next_answer);
	} else if (res >= 0) {
		if (!(flags & RING_MORE) || c->unread >= RINGS)
			client_read_rings(c);
		client_take_all(c);
		if (res & POLLHUP)
			client_gone(c);
	}
	client_watch(c);
}

static unsigned int held_room(const struct block_key *key)
{
	const struct holder_client *c = container_of(key, const struct holder_key, block)->client;

	return c->channel && !c->gone ? HOLDER_SLOTS - c->flying : 0;
}

static int held_start(struct block_key *key, struct block_run *run)
{
	struct holder_key *k = container_of(key, struct holder_key, block);
	struct holder_client *c = k->client;
	size_t i = 0;

	if (held_room(key) == 0)
		return -EBUSY;
	while (c->places[i].run)
		i++;
	c->places[i].run = run;
	memcpy(c->places[i].id, k->id, KEKD_KEY_ID);
	c->flying++;
	client_put(c, i);
	client_ring(c);
	client_watch(c);
	return 0;
}

static void held_free(struct block_key *key)
{
	free(container_of(key, struct holder_key, block));
}

static const struct block_key_ops holder_ops = {
	.name = "holder",
	.room = held_room,
	.start = held_start,
	.free = held_free,
};

/* gcc 12's analyzer loses a block to whose first member alone a pointer is left. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

int backend_holder_new(struct holder_client *c, const uint8_t id[static KEKD_KEY_ID],
		       struct block_key **ret)
{
	struct holder_key *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->block.ops = &holder_ops;
	k->client = c;
	memcpy(k->id, id, KEKD_KEY_ID);
	*ret = &k->block;
	return 0;
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

int holder_client_new(struct ring *ring, struct holder_client **ret)
{
	struct holder_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->ring = ring;
	c->bell = c->answer = c->next_answer = -1;
	c->watch.done = answered;
	*ret = c;
	return 0;
}

static void client_detach(struct holder_client *c)
{
	if (c->channel)
		secmem_free(c->channel, sizeof(*c->channel));
	c->channel = NULL;
	closep(&c->bell);
	c->bell = -1;
}

void holder_client_free(struct holder_client *c)
{
	if (!c)
		return;
	client_detach(c);
	closep(&c->answer);
	closep(&c->next_answer);
	free(c);
}

/* The descriptor may only be closed when no watch is under way on it. */
static void client_change_answer(struct holder_client *c, int fd)
{
	if (!ring_op_busy(&c->watch)) {
		client_answer_is(c, fd);
		return;
	}
	closep(&c->next_answer);
	c->next_answer = fd;
	ring_cancel(c->ring, &c->watch);
}

int holder_client_attach(struct holder_client *c, int channel_fd, int bell_fd, int answer_fd)
{
	_cleanup_close_ int channel = channel_fd;

	client_detach(c);
	c->bell = bell_fd;
	client_change_answer(c, answer_fd);
	if (fcntl(bell_fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(answer_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	c->channel = secmem_map(channel, sizeof(*c->channel));
	if (!c->channel)
		return -errno;
	c->gone = false;
	for (size_t i = 0; i < HOLDER_SLOTS; i++)
		if (c->places[i].run)
			client_put(c, i);
	if (c->flying > 0)
		client_ring(c);
	client_watch(c);
	return 0;
}
