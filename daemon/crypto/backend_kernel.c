/* SPDX-License-Identifier: Apache-2.0 */
/* See backend_kernel.h; the traps it avoids are in kmod-notes/af_alg.md. */
#include "daemon/crypto/backend_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/sys/afalg.h"

#define ASK_NS (UINT64_C(1000) * 1000 * 1000)

struct slot {
	struct ring_op op;
	struct afalg_msg msg;
	struct kernel_key *key;
	struct block_run *run; /* NULL: free */
	int fd;                /* -1: a new one has been asked for, or never given */
	uint64_t asked_ns;     /* when, with fd -1 */
	bool told;             /* fd knows the direction dir */
	enum block_dir dir;
};

struct kernel_key {
	struct block_key block; /* first */
	struct ring *ring;
	uint8_t id[KEKD_KEY_ID];
	backend_need_fn *need;
	void *ctx;
	struct seldom failed;
	struct slot slots[BACKEND_KERNEL_SOCKETS];
};

static struct kernel_key *kernel_key_of(struct block_key *key)
{
	return container_of(key, struct kernel_key, block);
}

static void slot_ask(struct slot *slot, uint64_t now)
{
	slot->asked_ns = now;
	slot->key->need(slot->key->ctx, slot->key->id);
}

/* The operation is over, the slot free. What the run's done is told. */
static int slot_result(struct slot *slot, int res)
{
	struct kernel_key *k = slot->key;

	if (res == 0)
		return 0;
	if (seldom_due(&k->failed, now_ns()))
		log_warning(
			"an operation of the kernel's cipher failed: %s; its messages are tried once "
			"more on another socket (%llu since the last such line)",
			errno_text(res), seldom_take(&k->failed));
	close(move_fd(slot->fd));
	slot_ask(slot, now_ns());
	return -EIO;
}

static void slot_done(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct slot *slot = container_of(op, struct slot, op);
	struct block_run *run = move_ptr(slot->run);

	run->done(run, slot_result(slot, res));
}

static bool slot_is_free(const struct slot *slot)
{
	return !slot->run && slot->fd >= 0;
}

static unsigned int kernel_room(const struct block_key *key)
{
	const struct kernel_key *k = container_of(key, const struct kernel_key, block);
	unsigned int room = 0;

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++)
		room += slot_is_free(&k->slots[i]);
	return room;
}

/*
 * A lone run is two system calls and its answer is there in this very turn. Through the ring it would
 * cost some 1 300 instructions more and another turn of the loop (tests/bench/run --icount, on 6.12 and
 * 7.3). Several runs go through the ring, all in one crossing.
 */
static void slot_start(struct slot *slot, struct block_run *run)
{
	struct ring *ring = slot->key->ring;
	size_t len = run->blocks * KEKD_AES_BLOCK;
	int r;

	if (slot->told && slot->dir == run->dir) {
		afalg_msg_again(&slot->msg, run->in, len);
	} else {
		afalg_msg_init(&slot->msg, run->dir, run->in, len);
		slot->told = true; /* or the operation fails, and the socket goes */
		slot->dir = run->dir;
	}
	if (!run->alone) {
		slot->run = run;
		ring_exchange(ring, &slot->op, slot->fd, &slot->msg.hdr, run->out, len);
		return;
	}
	r = ring_exchange_now(ring, slot->fd, &slot->msg.hdr, run->out, len);
	block_run_defer(run->alone, run, slot_result(slot, r));
}

static int kernel_start(struct block_key *key, struct block_run *run)
{
	struct kernel_key *k = kernel_key_of(key);

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		struct slot *slot = &k->slots[i];

		if (!slot_is_free(slot))
			continue;
		slot_start(slot, run);
		return 0;
	}
	return -EBUSY;
}

static void kernel_free(struct block_key *key)
{
	struct kernel_key *k = kernel_key_of(key);

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++)
		closep(&k->slots[i].fd);
	free(k);
}

static const struct block_key_ops kernel_ops = {
	.name = "kernel",
	.room = kernel_room,
	.start = kernel_start,
	.free = kernel_free,
};

int backend_kernel_new(struct ring *ring, const uint8_t id[static KEKD_KEY_ID],
		       backend_need_fn *need, void *ctx, struct block_key **ret)
{
	struct kernel_key *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->block.ops = &kernel_ops;
	k->ring = ring;
	k->need = need;
	k->ctx = ctx;
	memcpy(k->id, id, KEKD_KEY_ID);
	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		k->slots[i].key = k;
		k->slots[i].fd = -1;
		k->slots[i].op.done = slot_done;
	}
	*ret = &k->block;
	return 0;
}

/* What is larger than the smallest of the sockets takes would be sent in part, which is an error. */
static void bound_runs(struct kernel_key *k)
{
	size_t least = (size_t)KEKD_RUN_BLOCKS_MAX * KEKD_AES_BLOCK;

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		size_t room = k->slots[i].fd < 0 ? least : afalg_room(k->slots[i].fd);

		if (room < least)
			least = room;
	}
	k->block.blocks_max = (uint32_t)(least / KEKD_AES_BLOCK);
}

void backend_kernel_add_socket(struct block_key *key, int fd)
{
	struct kernel_key *k = kernel_key_of(key);

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		if (k->slots[i].fd < 0) {
			k->slots[i].fd = fd;
			k->slots[i].told = false;
			bound_runs(k);
			return;
		}
	}
	close(fd);
}

void backend_kernel_ask(struct block_key *key, uint64_t now)
{
	struct kernel_key *k = kernel_key_of(key);

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		if (k->slots[i].fd < 0 && now - k->slots[i].asked_ns >= ASK_NS)
			slot_ask(&k->slots[i], now);
	}
}

bool backend_kernel_owns(const struct block_key *key)
{
	return key->ops == &kernel_ops;
}
