/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the frame headers of an incoming HTTP/2 stream (RFC 9113 §4.1) go by, without touching
 * them: it knows whether the peer stopped in the middle of something, and it keeps a budget of
 * frames that cost work and carry none (RFC 9113 §10.5).
 *
 * Each such frame takes tokens from a bucket that fills with time; a call that is answered gives
 * some back. An honest client never comes near the bottom, whatever its rate. Floods of PING,
 * SETTINGS, PRIORITY, WINDOW_UPDATE, CONTINUATION, empty DATA, and streams opened only to be reset
 * (rapid reset) all run dry, and the connection ends. The library has limits of its own for some
 * of these; which, depends on its version. This one is the same everywhere.
 */
#ifndef KEKD_WIRE_H2_WATCH_H
#define KEKD_WIRE_H2_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <kekd/span.h>

struct h2_watch {
	uint8_t head[9];
	uint8_t have;    /* bytes of head */
	uint8_t preface; /* bytes of the client's preface still to come */
	bool in_block;   /* a header block is open: CONTINUATION must follow */
	uint32_t left;   /* payload bytes still to come */
	uint32_t tokens;
	uint64_t filled_at; /* ns */
	uint64_t frames;    /* complete ones, header blocks counting as one */
};

/* @server: the peer opens with the client's connection preface (RFC 9113 §3.4). */
void h2_watch_init(struct h2_watch *w, bool server, uint64_t now_ns);
/*
 * Bytes that are about to be parsed. -EPROTO: the budget is spent. -EBADMSG: PRIORITY of stream 0, which the
 * library ignores and RFC 9113 §6.3 makes an error of the connection.
 */
int h2_watch_feed(struct h2_watch *w, struct span data, uint64_t now_ns);
/* An answer went out whole: give back what the call's frames took. */
void h2_watch_refund(struct h2_watch *w);
/* The peer owes us the rest of a preface, a frame or a header block. */
bool h2_watch_midway(const struct h2_watch *w);
/* Bytes to the end of the preface, of a frame's header or of its payload; never 0. */
size_t h2_watch_step(const struct h2_watch *w);
/* Is that part, of which @next begins, the head of HEADERS? They open a stream, or are trailers. */
bool h2_watch_opens(const struct h2_watch *w, struct span next);

#endif
