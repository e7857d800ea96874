/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kekd-cluster reads of an etcd that was taken over, and the keeper and kekctl of a kekd-cluster that was: the first byte
 * picks. Whatever is given out lies within what came.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "daemon/base/io.h"
#include "daemon/cluster/carrier.h"
#include "daemon/cluster/etcd.h"
#include "daemon/cluster/page.h"
#include "daemon/cluster/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int within(void *ctx, const struct etcd_kv *kv)
{
	const struct span *body = ctx, fields[] = { kv->key, kv->value };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		require(fields[i].len == 0 ||
			(fields[i].data >= body->data && fields[i].len <= body->len &&
			 (size_t)(fields[i].data - body->data) <= body->len - fields[i].len));
	return 0;
}

static void try_etcd(struct span body)
{
	const struct page_ask ask = { .after = span_str("/a"), .revision = 9, .limit = 3 };
	struct etcd_answer answer;
	struct page_answer page;

	if (page_decode(body, &ask, within, &body, &page) == 0)
		require(page.revision >= ask.revision);
	if (etcd_range_decode(body, within, &body, &answer) == 0)
		require(answer.revision > 0);
	if (etcd_txn_decode(body, within, &body, &answer) == 0)
		require(answer.revision > 0);
}

/* The stream, whose other end is gone behind the last byte: it ends with that, or at what is no message. */
static void try_link(struct span in, enum carrier_side side)
{
	struct carrier_head m;
	struct carrier *c;
	struct span body;
	int fds[2], r;

	require(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	require(carrier_new(fds[0], side, &c) == 0);
	if (in.len > 0 && in.len < 100000)
		require(io_send_all(fds[1], in.data, in.len) == 0);
	close(fds[1]);
	do {
		r = carrier_read(c, &m, &body);
		require(r != 0);
		if (r == 1)
			require(body.len == m.length && body.data[body.len] == '\0');
	} while (r == 1);
	carrier_free(c);
}

static void try_setup(struct span body)
{
	struct carrier_setup s;
	char *text;
	size_t len;

	if (body.len > CARRIER_SETUP_MAX || carrier_setup_parse(body, &s) < 0)
		return;
	require(carrier_setup_format(&s, &text, &len) == 0);
	require(span_equal(body, span_of(text, len)));
	free(text);
}

static void try_words(struct span in)
{
	char text[300], words[CARRIER_WORDS_MAX + 1];

	snprintf(text, sizeof(text), "%.*s", (int)in.len, in.len > 0 ? (const char *)in.data : "");
	require(words_for_status(2, text, words, sizeof(words)) < 0);
	require(words_for_tls(text, words, sizeof(words)) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	if (size == 0)
		return 0;
	in = span_skip(in, 1);
	switch (data[0] % 4) {
	case 0:
		try_etcd(in);
		break;
	case 1:
		try_link(in, data[0] & 8   ? CARRIER_READER
			     : data[0] & 4 ? CARRIER_KEEPER
					   : CARRIER_CLUSTER);
		break;
	case 2:
		try_setup(in);
		break;
	default:
		try_words(in);
	}
	return 0;
}
