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

static void watch_fill(struct h2_watch *w, uint64_t now)
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

/* The nine bytes are there: length 24, type 8, flags 8, stream 32. */
static int frame_begins(struct h2_watch *w)
{
	uint8_t type = w->head[3], flags = w->head[4];
	uint32_t cost;

	w->left = (uint32_t)w->head[0] << 16 | (uint32_t)w->head[1] << 8 | w->head[2];
	if (type == T_HEADERS || type == T_CONTINUATION || type == T_PUSH_PROMISE)
		w->in_block = !(flags & FLAG_END_HEADERS);
	if (type == T_PRIORITY && (w->head[5] & 0x7f) == 0 && w->head[6] == 0 && w->head[7] == 0 &&
	    w->head[8] == 0)
		return -EBADMSG;
	if (type == T_DATA)
		cost = w->left < TINY_DATA && !(flags & FLAG_END_STREAM) ? TINY_COST : 0;
	else
		cost = type < T_KNOWN ? cost_of[type] : TINY_COST;
	if (cost > w->tokens)
		return -EPROTO;
	w->tokens -= cost;
	return 0;
}

static size_t at_most(size_t a, size_t b)
{
	return a < b ? a : b;
}

int h2_watch_feed(struct h2_watch *w, struct span data, uint64_t now_ns)
{
	size_t off = at_most(data.len, w->preface), n;
	int r = 0;

	w->preface = (uint8_t)(w->preface - off);
	watch_fill(w, now_ns);
	while (off < data.len && r == 0) {
		if (w->have < sizeof(w->head)) {
			n = at_most(data.len - off, sizeof(w->head) - w->have);
			memcpy(w->head + w->have, data.data + off, n);
			w->have = (uint8_t)(w->have + n);
			if (w->have == sizeof(w->head))
				r = frame_begins(w);
		} else {
			n = at_most(data.len - off, w->left);
			w->left -= (uint32_t)n;
		}
		off += n;
		if (w->have == sizeof(w->head) && w->left == 0) {
			w->have = 0;
			w->frames += !w->in_block;
		}
	}
	return r;
}

void h2_watch_refund(struct h2_watch *w)
{
	w->tokens = w->tokens + REFUND < BURST ? w->tokens + REFUND : BURST;
}

bool h2_watch_midway(const struct h2_watch *w)
{
	return w->preface > 0 || w->have > 0 || w->in_block;
}

size_t h2_watch_step(const struct h2_watch *w)
{
	if (w->preface > 0)
		return w->preface;
	return w->have < sizeof(w->head) ? sizeof(w->head) - w->have : w->left;
}

bool h2_watch_opens(const struct h2_watch *w, struct span next)
{
	const size_t type = 3; /* its place */

	if (w->preface > 0 || w->have == sizeof(w->head))
		return false;
	if (w->have > type)
		return w->head[type] == T_HEADERS;
	return next.len > type - w->have && next.data[type - w->have] == T_HEADERS;
}
