/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KMS plugin that is a few lines of this process: <kekd/upstream.h> without a socket. A call waits
 * until fake_answer() or fake_fail(). It seals by XOR with 0x5a behind "fake:", and opens that, or
 * whatever @open says; it counts what it is asked.
 */
#ifndef KEKD_TESTS_FAKE_UPSTREAM_H
#define KEKD_TESTS_FAKE_UPSTREAM_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include <kekd/list.h>
#include <kekd/upstream.h>

#define FAKE_MARK "fake:"

struct fake_upstream {
	struct upstream_source source; /* first */
	struct upstream upstream;
	struct list calls;
	unsigned int opened, freed;
	unsigned int asked[3]; /* by method */
	unsigned int open_calls, calls_max;
	const char *key_id;     /* of Status */
	const char *encrypt_id; /* of Encrypt; NULL: the same */
	const char *healthz, *version;
	struct annotations annotations; /* of Encrypt */
	size_t edek_len;                /* of Encrypt; 0: what it takes */
	/* Opens what fake: does not; NULL: nobody does. */
	bool (*open)(struct span edek, uint8_t *ret, size_t *ret_len);
};

struct upstream_call {
	struct list link;
	struct fake_upstream *fake;
	enum upstream_method method;
	upstream_done_fn *done;
	void *ctx;
	size_t len;
	uint8_t data[];
};

static inline int fake_call(struct upstream *u, const struct upstream_request *req,
			    upstream_done_fn *done, void *ctx, struct upstream_call **ret)
{
	struct fake_upstream *f = container_of(u, struct fake_upstream, upstream);
	struct upstream_call *c;

	if (f->open_calls >= f->calls_max)
		return -ENOBUFS;
	c = calloc(1, sizeof(*c) + req->data.len);
	if (!c)
		return -ENOMEM;
	c->fake = f;
	c->method = req->method;
	c->done = done;
	c->ctx = ctx;
	c->len = req->data.len;
	if (req->data.len > 0)
		memcpy(c->data, req->data.data, req->data.len);
	list_add_tail(&f->calls, &c->link);
	f->open_calls++;
	f->asked[req->method]++;
	*ret = c;
	return 0;
}

static inline void fake_call_end(struct upstream_call *c)
{
	list_del(&c->link);
	c->fake->open_calls--;
	free(c);
}

static inline void fake_free(struct upstream *u)
{
	container_of(u, struct fake_upstream, upstream)->freed++;
}

static const struct upstream_ops fake_upstream_ops = { fake_call, fake_call_end, fake_free };

static inline int fake_open(struct upstream_source *source, const char *path _unused_,
			    unsigned int version _unused_, struct upstream **ret)
{
	struct fake_upstream *f = container_of(source, struct fake_upstream, source);

	f->opened++;
	*ret = &f->upstream;
	return 0;
}

static inline void fake_upstream_init(struct fake_upstream *f)
{
	*f = (struct fake_upstream){
		.source.open = fake_open,
		.upstream.ops = &fake_upstream_ops,
		.calls_max = 64,
		.key_id = "fake-key-1",
		.healthz = "ok",
		.version = "v2",
	};
	list_init(&f->calls);
}

static inline size_t fake_seal(const struct upstream_call *c, uint8_t *out)
{
	size_t mark = strlen(FAKE_MARK);

	memcpy(out, FAKE_MARK, mark);
	for (size_t i = 0; i < c->len; i++)
		out[mark + i] = c->data[i] ^ 0x5a;
	if (c->fake->edek_len == SIZE_MAX)
		return 0;
	return c->fake->edek_len ? c->fake->edek_len : mark + c->len;
}

static inline int fake_unseal(const struct upstream_call *c, uint8_t *out, size_t *ret_len)
{
	size_t mark = strlen(FAKE_MARK);

	if (c->len >= mark && memcmp(c->data, FAKE_MARK, mark) == 0) {
		for (size_t i = mark; i < c->len; i++)
			out[i - mark] = c->data[i] ^ 0x5a;
		*ret_len = c->len - mark;
		return 0;
	}
	if (c->fake->open && c->fake->open(span_of(c->data, c->len), out, ret_len))
		return 0;
	return -EREMOTEIO;
}

static inline void fake_answer_one(struct upstream_call *c)
{
	struct fake_upstream *f = c->fake;
	struct upstream_answer a = { 0 };
	_cleanup_free_ uint8_t *out = calloc(1, c->len + 4096);
	int r = 0;

	if (!out)
		abort();

	switch (c->method) {
	case UPSTREAM_STATUS:
		a.version = span_str(f->version);
		a.healthz = span_str(f->healthz);
		a.key_id = span_str(f->key_id);
		break;
	case UPSTREAM_ENCRYPT:
		a.data = span_of(out, fake_seal(c, out));
		a.key_id = span_str(f->encrypt_id ? f->encrypt_id : f->key_id);
		a.annotations = f->annotations;
		break;
	case UPSTREAM_DECRYPT:
		r = fake_unseal(c, out, &a.data.len);
		a.data.data = out;
		break;
	}
	c->done(c->ctx, r, r < 0 ? "refused" : "", r < 0 ? NULL : &a);
	fake_call_end(c);
}

/* Answer, or fail, everything that is asked now and because of the answers. */
static inline void fake_answer(struct fake_upstream *f)
{
	while (!list_empty(&f->calls))
		fake_answer_one(list_first(&f->calls, struct upstream_call, link));
}

static inline void fake_fail(struct fake_upstream *f, int r)
{
	while (!list_empty(&f->calls)) {
		struct upstream_call *c = list_first(&f->calls, struct upstream_call, link);

		c->done(c->ctx, r, "failed on request", NULL);
		fake_call_end(c);
	}
}

#endif
