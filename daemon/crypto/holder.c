/* SPDX-License-Identifier: Apache-2.0 */
/* See holder.h. */
#include "daemon/crypto/holder.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/backend_openssl.h"
#include "daemon/crypto/ghash.h"
#include "daemon/crypto/openssl_heap.h"
#include "daemon/crypto/openssl_start.h"
#include "daemon/sys/sandbox.h"

/* libcrypto itself, and KEKD_KEYS_MAX keys (tests/unit/holder.c). RLIMIT_MEMLOCK is 8 MiB on many hosts. */
#define HEAP (4U << 20)

struct held {
	uint8_t id[KEKD_KEY_ID];
	struct block_key *block; /* NULL: free */
};

struct holder {
	struct holder_channel *channel;
	struct holder_orders *orders;
	int bell, answer, reply;
	struct block_defer answers;
	void (*forget)(void); /* clears the registers; or NULL */
	bool ended;
	struct held keys[KEKD_KEYS_MAX + 1]; /* and the self-test's */
};

static struct held *holder_find(struct holder *h, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < ARRAY_SIZE(h->keys); i++)
		if (h->keys[i].block && memcmp(h->keys[i].id, id, KEKD_KEY_ID) == 0)
			return &h->keys[i];
	return NULL;
}

static struct held *holder_room(struct holder *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(h->keys); i++)
		if (!h->keys[i].block)
			return &h->keys[i];
	return NULL;
}

static void held_drop(struct held *held)
{
	held->block->ops->free(held->block);
	held->block = NULL;
}

/* The key is wiped, taken or not. */
static int order_take(struct holder *h, const uint8_t id[static KEKD_KEY_ID])
{
	struct held *held = holder_find(h, id);
	struct block_key *block;
	int r;

	r = backend_openssl_new(&h->answers, h->orders->key, h->orders->key_bytes, &block);
	secmem_wipe(h->orders->key, sizeof(h->orders->key));
	if (r < 0)
		return r;
	if (held)
		held_drop(held);
	else
		held = holder_room(h);
	if (!held) {
		block->ops->free(block);
		return -ENOBUFS;
	}
	memcpy(held->id, id, KEKD_KEY_ID);
	held->block = block;
	return 0;
}

static int order_do(struct holder *h)
{
	uint8_t id[KEKD_KEY_ID];
	struct held *held;

	memcpy(id, h->orders->id, sizeof(id));
	switch (h->orders->what) {
	case HOLDER_TAKE:
		return order_take(h, id);
	case HOLDER_DROP:
		held = holder_find(h, id);
		if (held)
			held_drop(held);
		return 0;
	case HOLDER_PING:
		return 0;
	case HOLDER_END:
		h->ended = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* That a pipe is full, or that nobody reads it, is no trouble of this process. */
static void ring_at(int fd)
{
	ssize_t n = write(fd, "", 1);

	(void)n;
}

static void orders_serve(struct holder *h)
{
	if (atomic_load_explicit(&h->orders->state, memory_order_acquire) != HOLDER_ASKED)
		return;
	h->orders->r = order_do(h);
	if (h->ended)
		return; /* the reply follows when all is wiped */
	atomic_store_explicit(&h->orders->state, HOLDER_DONE, memory_order_release);
	ring_at(h->reply);
}

/* The server may change all of it meanwhile, so each word is read once. */
static int slot_run(struct holder *h, volatile struct holder_slot *slot, uint8_t *blocks)
{
	uint32_t dir = slot->dir, n = slot->blocks;
	uint8_t id[KEKD_KEY_ID];
	struct block_run run;
	struct held *held;
	int r;

	if (dir > BLOCK_DECRYPT || n < 1 || n > KEKD_RUN_BLOCKS_MAX)
		return -EINVAL;
	memcpy(id, (const void *)slot->id, sizeof(id));
	atomic_signal_fence(memory_order_acq_rel); /* and never from the slot again */
	held = holder_find(h, id);
	if (!held)
		return -EKEYREVOKED;
	run = (struct block_run){
		.in = blocks, .out = blocks, .blocks = n, .dir = (enum block_dir)dir
	};
	r = held->block->ops->start(held->block, &run);
	if (r == 0) { /* it has its answer at once */
		list_del(&run.link);
		r = run.result;
	}
	return r;
}

static void slots_serve(struct holder *h)
{
	bool any = false;

	for (size_t i = 0; i < HOLDER_SLOTS; i++) {
		struct holder_slot *slot = &h->channel->slots[i];

		if (atomic_load_explicit(&slot->state, memory_order_acquire) != HOLDER_ASKED)
			continue;
		slot->r = slot_run(h, slot, h->channel->blocks[i]);
		atomic_store_explicit(&slot->state, HOLDER_DONE, memory_order_release);
		any = true;
	}
	if (!any)
		return;
	/* libcrypto leaves the last blocks of a run in them, H among those (tests/e2e/kek_nowhere). */
	if (h->forget)
		h->forget();
	ring_at(h->answer);
}

int holder_new(struct holder_channel *channel, struct holder_orders *orders,
	       const int fds[static 3], struct holder **ret)
{
	struct holder *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->channel = channel;
	h->orders = orders;
	h->bell = fds[0];
	h->answer = fds[1];
	h->reply = fds[2];
	h->forget = ghash_best()->forget;
	list_init(&h->answers.runs);
	*ret = h;
	return 0;
}

void holder_serve(struct holder *h)
{
	char rings[256];

	ring_at(h->reply);
	while (!h->ended && io_retry(read(h->bell, rings, sizeof(rings))) > 0) {
		orders_serve(h);
		slots_serve(h);
	}
	for (size_t i = 0; i < ARRAY_SIZE(h->keys); i++)
		if (h->keys[i].block)
			held_drop(&h->keys[i]);
}

/* What libcrypto fetches and keeps when it first uses a cipher must be there before the filter is. */
static int holder_try_cipher(void)
{
	static const uint8_t key[KEKD_AES_KEY_MAX];
	struct block_defer answers;
	uint8_t block[KEKD_AES_BLOCK] = { 0 };
	int r = 0;

	list_init(&answers.runs);
	for (size_t len = 16; r == 0 && len <= sizeof(key); len += 8) {
		struct block_run run = { .in = block, .out = block, .blocks = 1 };
		struct block_key *k;

		r = backend_openssl_new(&answers, key, len, &k);
		if (r < 0)
			break;
		r = k->ops->start(k, &run);
		if (r == 0)
			r = run.result;
		k->ops->free(k);
	}
	return r;
}

static int holder_lock_in(void)
{
	int r;

	r = sandbox_files_server();
	if (r == -EOPNOTSUPP)
		r = 0; /* the keeper has said so */
	if (r == 0 &&
	    (close_range(0, HOLDER_BELL - 1, 0) < 0 || close_range(HOLDER_CHANNEL, ~0U, 0) < 0))
		r = -errno;
	return r == 0 ? sandbox_seccomp_holder() : r;
}

static int holder_fail(const char *what, int r)
{
	log_error("%s: %s", what, errno_text(r));
	return EXIT_FAILURE;
}

/* Both mappings; errno. */
static bool holder_map(struct holder_channel **ret_channel, struct holder_orders **ret_orders)
{
	*ret_channel = secmem_map(HOLDER_CHANNEL, sizeof(**ret_channel));
	*ret_orders = *ret_channel ? secmem_map(HOLDER_ORDERS, sizeof(**ret_orders)) : NULL;
	return *ret_orders;
}

int holder_main(void)
{
	static const int fds[] = { HOLDER_BELL, HOLDER_ANSWER, HOLDER_REPLY };
	struct holder_channel *channel = NULL;
	struct holder_orders *orders = NULL;
	struct holder *h = NULL;
	int r;

	prctl(PR_SET_NAME, HOLDER_NAME);
	r = sandbox_init();
	if (r == 0)
		r = openssl_heap_new(HEAP);
	if (r == 0 && openssl_start() < 0)
		return EXIT_FAILURE; /* it has said why */
	if (r == 0 && !holder_map(&channel, &orders))
		r = errno > 0 ? -errno : -ENOMEM;
	if (r < 0 || !orders)
		return holder_fail(
			"no locked memory; it needs 5 MiB (LimitMEMLOCK= of the service)", r);
	r = holder_try_cipher();
	if (r < 0)
		return holder_fail("AES of libcrypto", r);
	r = holder_new(channel, orders, fds, &h);
	if (r == 0)
		r = holder_lock_in(); /* no memory is to be had after that */
	if (r < 0) {
		free(h);
		return holder_fail("cannot give up files or system calls", r);
	}
	holder_serve(h);
	openssl_heap_wipe();
	atomic_store_explicit(&orders->state, HOLDER_DONE, memory_order_release);
	ring_at(HOLDER_REPLY);
	_exit(EXIT_SUCCESS);
}
