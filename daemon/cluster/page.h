/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that etcd has at one revision, a page at a time: bytes in, bytes out, as etcd.h. kekctl reads etcd so.
 *
 * The answer to the first page has the revision that the others ask for. What does not follow from that (a key twice or
 * out of order, another revision, a page without an end) is refused, so that whatever answers, the reading ends.
 */
#ifndef KEKD_CLUSTER_PAGE_H
#define KEKD_CLUSTER_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <kekd/span.h>

#include "daemon/cluster/etcd.h"

struct page_ask {
	struct span after; /* the last key that was read; empty: from the beginning */
	uint64_t revision; /* 0: the newest, linearizable */
	uint64_t limit;    /* keys */
	struct span only;  /* this key and no other */
};

struct page_answer {
	uint64_t cluster, revision; /* of etcd as it is now */
	uint64_t count;             /* keys from this page on; etcd's word */
	bool more;
};

/* @message: for one call; caller frees. -ENOMEM. */
int page_encode(const struct page_ask *ask, uint8_t **ret, size_t *ret_len);
/*
 * Called for each key, all borrowed from the answer; anything but 0 ends it and is the result. -EPROTO: it is no
 * answer to @ask.
 */
int page_decode(struct span body, const struct page_ask *ask, etcd_each_fn *each, void *ctx,
		struct page_answer *ret);

#endif
