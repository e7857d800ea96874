/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Costs are in tokens a frame. The bucket holds enough for the largest burst an honest peer makes: an
 * apiserver whose 10 000 calls of a LIST run into their deadline cancels them all at once.
 */
#include "daemon/wire/h2_watch.h"

#include <errno.h>

#define PREFACE   24U
#define BURST     24000U
#define PER_SEC   2400U
#define REFUND    48U
#define NS        1000000000ULL
#define TINY_DATA 32U
#define TINY_COST 12U

/* RFC 9113 §6 */
enum {
	T_DATA,
	T_HEADERS,
	T_PRIORITY,
	T_RST_STREAM,
	T_SETTINGS,
	T_PUSH_PROMISE,
	T_PING,
	T_GOAWAY,
	T_WINDOW_UPDATE,
	T_CONTINUATION,
	T_KNOWN,
};

static const uint8_t cost_of[T_KNOWN] = {
	[T_DATA] = 0,          [T_HEADERS] = 1,       [T_PRIORITY] = 12, [T_RST_STREAM] = 1,
	[T_SETTINGS] = 96,     [T_PUSH_PROMISE] = 12, [T_PING] = 12,     [T_GOAWAY] = 12,
	[T_WINDOW_UPDATE] = 6, [T_CONTINUATION] = 96,
};

#define FLAG_END_STREAM  0x01U
#define FLAG_END_HEADERS 0x04U

void h2_watch_init(struct h2_watch *w, bool server, uint64_t now_ns)
{
	*w = (struct h2_watch){
		.preface = server ? PREFACE : 0,
		.tokens = BURST,
		.filled_at = now_ns,
	};
}

static void fill(struct h2_watch *w, uint64_t now)
{
	uint64_t ns, add;

	if (now <= w->filled_at)
		return;
	ns = now - w->filled_at;
	if (ns >= BURST / PER_SEC * NS) {
		w->tokens = BURST;
		w->filled_at = now;
		return;
	}
	add = ns * PER_SEC / NS;
	w->filled_at += add * NS / PER_SEC;
	w->tokens = w->tokens + add < BURST ? w->tokens + (uint32_t)add : BURST;
}

static uint32_t frame_cost(uint8_t type, uint8_t flags, uint32_t len)
{
	if (type == T_DATA)
		return len < TINY_DATA && !(flags & FLAG_END_STREAM) ? TINY_COST : 0;
	return type < T_KNOWN ? cost_of[type] : TINY_COST;
}

/* The nine bytes are there: length 24, type 8, flags 8, stream 32. */
static int frame_begins(struct h2_watch *w)
{
	uint8_t type = w->head[3], flags = w->head[4];
	uint32_t cost;

	w->left = (uint32_t)w->head[0] << 16 | (uint32_t)w->head[1] << 8 | w->head[2];
	if (type == T_HEADERS || type == T_CONTINUATION || type == T_PUSH_PROMISE)
		w->in_block = !(flags & FLAG_END_HEADERS);
	cost = frame_cost(type, flags, w->left);
	if (cost > w->tokens)
		return -EPROTO;
	w->tokens -= cost;
	return 0;
}

static void frame_maybe_ends(struct h2_watch *w)
{
	if (w->left > 0)
		return;
	w->have = 0;
	if (!w->in_block)
		w->frames++;
}

static struct span preface_skip(struct h2_watch *w, struct span data)
{
	size_t n = data.len < w->preface ? data.len : w->preface;

	w->preface = (uint8_t)(w->preface - n);
	return span_skip(data, n);
}

int h2_watch_feed(struct h2_watch *w, struct span data, uint64_t now_ns)
{
	int r;

	fill(w, now_ns);
	data = preface_skip(w, data);
	while (data.len > 0) {
		size_t n = sizeof(w->head) - w->have;

		if (n > 0) {
			n = data.len < n ? data.len : n;
			memcpy(w->head + w->have, data.data, n);
			w->have = (uint8_t)(w->have + n);
			data = span_skip(data, n);
			if (w->have < sizeof(w->head))
				break;
			r = frame_begins(w);
			if (r < 0)
				return r;
		}
		n = data.len < w->left ? data.len : w->left;
		w->left -= (uint32_t)n;
		data = span_skip(data, n);
		frame_maybe_ends(w);
	}
	return 0;
}

void h2_watch_refund(struct h2_watch *w)
{
	w->tokens = w->tokens + REFUND < BURST ? w->tokens + REFUND : BURST;
}

bool h2_watch_midway(const struct h2_watch *w)
{
	return w->preface > 0 || w->have > 0 || w->in_block;
}
