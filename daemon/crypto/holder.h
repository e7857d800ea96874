/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder: a process that has keys and encrypts blocks with them, and can do nothing else
 * (`custody: holder`). Each server has one of its own, which the keeper starts beside it and ends with it.
 *
 *   server --- channel: runs of blocks, there and back ---  holder  --- orders: take, drop --- keeper
 *
 * Two mappings of shared memory, each with nobody else, and three pipes with bytes that mean nothing but
 * "look": the bell, which server and keeper write to; the answer, to the server; the reply, to the keeper.
 * Pipes, as both ends of an eventfd are one open file: a server could take the keeper's ring away, or make the
 * holder wait. A pipe of which the other end is gone says so. The ends that are written to do not block: a pipe
 * that is full rings already.
 *
 * The holder reads from the shared memory, once each: which key, which direction, how many blocks. It looks at
 * no block. So there is nothing that a client's bytes could mean to it. Under its filter it may read(2),
 * write(2) and end, and it has no descriptor but the three ends. Its keys, and all else of libcrypto's heap, are
 * in memory that no other process gets at (crypto/openssl_heap.h).
 *
 * A run costs one write(2) of the server, which watches the answers' pipe and reads it seldom; the answer never comes
 * in the same turn.
 */
#ifndef KEKD_CRYPTO_HOLDER_H
#define KEKD_CRYPTO_HOLDER_H

#include <stdatomic.h>
#include <stdint.h>

#include <kekd/backend.h>
#include <kekd/limits.h>

#define HOLDER_NAME "kekd-holder" /* as ps(1) shows it, and argv[0] */

/* Its descriptors when it starts. */
enum holder_fd { HOLDER_BELL = 3, HOLDER_ANSWER, HOLDER_REPLY, HOLDER_CHANNEL, HOLDER_ORDERS };
#define HOLDER_FDS 5

enum holder_state {
	HOLDER_IDLE, /* whoever asks may write */
	HOLDER_ASKED,
	HOLDER_DONE,
};

/* One run. */
struct holder_slot {
	_Atomic uint32_t state;
	uint32_t dir, blocks;
	int32_t r; /* 0; -EKEYREVOKED: it has no such key; -EINVAL; -EIO */
	uint8_t id[KEKD_KEY_ID];
};

#define HOLDER_SLOTS 8U /* as many runs as an engine has in flight (ENGINE_CONFIG_DEFAULT) */

struct holder_channel {
	struct holder_slot slots[HOLDER_SLOTS];
	_Alignas(4096) uint8_t blocks[HOLDER_SLOTS][KEKD_RUN_BLOCKS_MAX * KEKD_AES_BLOCK];
};

enum holder_what {
	HOLDER_TAKE, /* the key, in place of what it had under that id */
	HOLDER_DROP, /* it, if it is there */
	HOLDER_PING, /* nothing: is it there? */
	HOLDER_END,  /* wipe all, and end */
};

/* What the keeper wants, one thing at a time. */
struct holder_orders {
	_Atomic uint32_t state;
	uint32_t what, key_bytes;
	int32_t r;
	uint8_t id[KEKD_KEY_ID];
	uint8_t key[KEKD_AES_KEY_MAX]; /* wiped when it is taken */
};

/*
 * The process, from its first instruction on: it takes its descriptors, locks itself in and says by a reply that it
 * is ready. Returns an exit status.
 */
int holder_main(void);
/* The work alone, for tests: until END, or until nobody is left at the other end of the bell. */
struct holder;
int holder_new(struct holder_channel *channel, struct holder_orders *orders,
	       const int fds[static 3], struct holder **ret);
void holder_serve(struct holder *h);

#endif
