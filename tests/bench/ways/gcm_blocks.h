/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One GCM message around the block cipher of somebody else: its counter blocks, and what to do with
 * E_K of them. daemon/crypto/gcm.h for messages that lie as the benchmark's do.
 */
#ifndef KEKD_TESTS_BENCH_GCM_BLOCKS_H
#define KEKD_TESTS_BENCH_GCM_BLOCKS_H

#include <errno.h>
#include <string.h>

#include "daemon/crypto/block.h"
#include "daemon/crypto/gcm.h"
#include "daemon/crypto/xor.h"
#include "tests/bench/ways/way.h"

/* J0 and one a block of text. */
static inline size_t gcm_blocks(const struct load *l)
{
	return l->bytes / KEKD_AES_BLOCK + 1;
}

/* @blocks = E_K of gcm_counters(m->iv, 0, gcm_blocks()). -EBADMSG: the tag does not hold. */
static inline int gcm_finish(struct ghash_key *h, const struct load *l, struct message *m,
			     const uint8_t *blocks)
{
	const uint8_t *stream = blocks + KEKD_AES_BLOCK;
	uint8_t tag[KEKD_GCM_TAG];

	if (l->encrypt) {
		xor_bytes(m->out, m->in, stream, l->bytes);
		gcm_tag_whole(h, SPAN_NULL, span_of(m->out, l->bytes), blocks, m->out + l->bytes);
		return 0;
	}
	gcm_tag_whole(h, SPAN_NULL, span_of(m->in, l->bytes), blocks, tag);
	if (!block_equal(tag, m->in + l->bytes))
		return -EBADMSG;
	xor_bytes(m->out, m->in, stream, l->bytes);
	return 0;
}

#endif
