/* SPDX-License-Identifier: Apache-2.0 */
/* See backend_kernel.h; the traps it avoids are in kmod-notes/af_alg.md. */
#include "daemon/crypto/backend_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/sys/afalg.h"

struct slot {
	struct ring_op op;
	struct afalg_msg msg;
	struct kernel_key *key;
	struct block_run *run; /* NULL: free */
	int fd;                /* -1: a new one has been asked for, or never given */
};

struct kernel_key {
	struct block_key block; /* first */
	struct ring *ring;
	uint8_t id[KEKD_KEY_ID];
	backend_need_fn *need;
	void *ctx;
	struct slot slots[BACKEND_KERNEL_SOCKETS];
};

static struct kernel_key *kernel_key_of(struct block_key *key)
{
	return container_of(key, struct kernel_key, block);
}

static void slot_done(struct ring_op *op, int res, unsigned int flags _unused_)
{
	struct slot *slot = container_of(op, struct slot, op);
	struct kernel_key *k = slot->key;
	struct block_run *run = move_ptr(slot->run);

	if (res < 0) {
		log_warning("AF_ALG operation failed: %s; the op socket is replaced",
			    errno_text(res));
		close(move_fd(slot->fd));
		k->need(k->ctx, k->id);
		res = -EIO;
	}
	run->done(run, res);
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

static int kernel_start(struct block_key *key, struct block_run *run)
{
	struct kernel_key *k = kernel_key_of(key);
	size_t len = run->blocks * KEKD_AES_BLOCK;

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		struct slot *slot = &k->slots[i];

		if (!slot_is_free(slot))
			continue;
		slot->run = run;
		afalg_msg_init(&slot->msg, run->dir, run->in, len);
		ring_exchange(k->ring, &slot->op, slot->fd, &slot->msg.hdr, run->out, len);
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

void backend_kernel_add_socket(struct block_key *key, int fd)
{
	struct kernel_key *k = kernel_key_of(key);

	for (size_t i = 0; i < ARRAY_SIZE(k->slots); i++) {
		if (k->slots[i].fd < 0) {
			k->slots[i].fd = fd;
			return;
		}
	}
	close(fd);
}

bool backend_kernel_owns(const struct block_key *key)
{
	return key->ops == &kernel_ops;
}
