/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fake_block.h.
 */
#include "tests/support/fake_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/crypto/backend_openssl.h"

#define GARBAGE 0x5a

struct fake_flight {
	struct list link;
	struct block_run *run;
	uint8_t *input;
};

static struct fake_block *fake_block(const struct block_key *key)
{
	return container_of(key, struct fake_block, base);
}

static unsigned int fake_room(const struct block_key *key)
{
	const struct fake_block *fake = fake_block(key);

	return fake->room > fake->flights ? fake->room - fake->flights : 0;
}

static void fake_encrypt(struct fake_block *fake, struct block_run *run, const uint8_t *input)
{
	struct block_run inner = *run;

	inner.in = input;
	if (fake->real->ops->start(fake->real, &inner) < 0 || inner.result < 0)
		abort();
	list_init(&fake->answers.runs);
	if (fake->lies && inner.dir == BLOCK_DECRYPT)
		inner.out[0] ^= 1;
}

static bool fake_fails_next(const struct fake_block *fake)
{
	return fake->fail_every > 0 && (fake->finished + 1) % fake->fail_every == 0;
}

/* Whether the buffer is wiped can be seen once the flush is over: last_out. */
static void fake_answer_at_once(struct fake_block *fake, struct block_run *run)
{
	int r = fake_fails_next(fake) ? fake->fail_with : 0;

	fake->finished++;
	if (r == 0)
		fake_encrypt(fake, run, run->in);
	block_run_defer(run->alone, run, r);
}

static int fake_start(struct block_key *key, struct block_run *run)
{
	struct fake_block *fake = fake_block(key);
	size_t len = run->blocks * KEKD_AES_BLOCK;
	struct fake_flight *flight;

	if (fake->refuse != 0)
		return fake->refuse;
	fake->started++;
	fake->last_blocks = run->blocks;
	fake->last_dir = run->dir;
	fake->last_out = run->out;
	fake->alone += run->alone != NULL;
	if (fake->prompt && run->alone) {
		fake_answer_at_once(fake, run);
		return 0;
	}
	flight = malloc(sizeof(*flight));
	if (!flight)
		abort();
	flight->run = run;
	flight->input = malloc(len);
	if (!flight->input)
		abort();
	memcpy(flight->input, run->in, len);
	memset(run->out, GARBAGE, len);
	list_add_tail(&fake->flying, &flight->link);
	fake->flights++;
	return 0;
}

static void fake_free(struct block_key *key)
{
	struct fake_block *fake = fake_block(key);

	if (fake->flights > 0)
		abort();
	if (fake->freed)
		*fake->freed = true;
	fake->real->ops->free(fake->real);
	free(fake);
}

static const struct block_key_ops fake_ops = {
	.name = "fake",
	.room = fake_room,
	.start = fake_start,
	.free = fake_free,
};

int fake_block_new(const uint8_t *key, size_t len, struct fake_block **ret)
{
	struct fake_block *fake = calloc(1, sizeof(*fake));
	int r;

	if (!fake)
		return -ENOMEM;
	list_init(&fake->answers.runs);
	list_init(&fake->flying);
	r = backend_openssl_new(&fake->answers, key, len, &fake->real);
	if (r < 0) {
		free(fake);
		return r;
	}
	fake->base.ops = &fake_ops;
	fake->room = 1;
	*ret = fake;
	return 0;
}

bool fake_block_answer(struct fake_block *fake, unsigned int i, int r)
{
	struct list *node = fake->flying.next;
	struct fake_flight *flight;
	const uint8_t *buf;
	size_t len;

	if (i >= fake->flights)
		return false;
	while (i-- > 0)
		node = node->next;
	flight = list_entry(node, struct fake_flight, link);
	list_del(node);
	fake->flights--;
	fake->finished++;
	if (r == 0)
		fake_encrypt(fake, flight->run, flight->input);
	buf = flight->run->in;
	len = flight->run->blocks * KEKD_AES_BLOCK;
	flight->run->done(flight->run, r);
	for (size_t at = 0; at < len; at++)
		fake->dirty |= buf[at] != 0;
	free(flight->input);
	free(flight);
	return true;
}

bool fake_block_finish(struct fake_block *fake)
{
	return fake_block_answer(fake, 0, fake_fails_next(fake) ? fake->fail_with : 0);
}
