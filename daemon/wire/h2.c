/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that knows nghttp2.
 *
 * Options, and why:
 * - no_http_messaging: see h2_block.h, which keeps the rules instead.
 * - no_auto_window_update: bytes count as consumed when they have been handed over. The library
 *   consumes padding and the data of dead streams by itself.
 * - SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218): no dependency tree for a peer to grow.
 * - no_closed_streams: no memory for streams that are over.
 * - max_outbound_ack: PING and SETTINGS acknowledgements that wait for a peer who does not read.
 * - limits on resets and on CONTINUATION frames exist in later versions and in distributions'
 *   updates of earlier ones, so they are looked for at run time by weak symbols. h2_watch.c bounds
 *   both in any case.
 *
 * A failure of the library inside a callback is remembered in h2->error and ends the session when
 * the library has returned; no callback frees or feeds.
 */
#include "daemon/wire/h2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "daemon/wire/h2_watch.h"

#define FRAME_HEAD  9U
#define DATA_MAX    (H2_DRAIN_MIN - FRAME_HEAD)
#define FIELDS_MAX  12U
#define ACKS_MAX    256U
#define SETTINGS_IN 32U
/* As many cancelled calls as h2_watch lets through, so that one rule is in force. */
#define RESETS_BURST   12000U
#define RESETS_PER_SEC 1200U

/* Two messages of the usual limit in a stream's window: a legal request waits for no update. */
const struct h2_config h2_config_default = {
	.streams = 256,
	.header_bytes = 16 * 1024,
	.stream_window = 128 * 1024,
	.window = 1024 * 1024,
	.memory = H2_MEMORY + 256 * H2_STREAM_MEMORY,
};

/* May be missing from the library; see above. */
void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option *option, uint64_t burst,
						uint64_t rate) __attribute__((weak));
void nghttp2_option_set_max_continuations(nghttp2_option *option, size_t val) __attribute__((weak));

static const uint8_t shutdown_ping[8] = { 's', 'h', 'u', 't', 'd', 'o', 'w', 'n' };

struct h2 {
	nghttp2_session *session;
	struct h2mem_user memory;
	const struct h2_config *config;
	const struct h2_ops *ops;
	void *ctx;
	struct list streams;
	struct h2_stream *recent; /* the one that stream_of() was asked for last; may be NULL */
	struct h2_watch watch;
	struct secbuf *out; /* during h2_drain() */
	struct span tail;   /* made by the library, not yet taken; good until its next send */
	size_t block_bytes; /* of the header block that comes: RFC 9113 §10.5.1 */
	size_t body_bytes;  /* of all streams, unsent */
	size_t blocked;     /* of them, left by the last drain for want of a window */
	bool no_room;       /* a frame did not fit into h2->out */
	uint64_t fed;       /* when the last bytes came */
	uint64_t held, hold_since; /* 0: nothing is kept back; anew when some of it was fed */
	nghttp2_nv nv
		[FIELDS_MAX]; /* for one call of the library; a stack's would be zeroed for each */
	int error;
	bool server;
};

static int h2_errno(int lib)
{
	return lib == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
}

static void h2_fail(struct h2 *h2, int r)
{
	if (h2->error == 0)
		h2->error = r;
}

/* For library calls that fail only for want of memory. */
static void h2_must(struct h2 *h2, int lib)
{
	if (lib < 0)
		h2_fail(h2, h2_errno(lib));
}

static void h2_violation(struct h2 *h2, bool flood)
{
	if (h2->ops->violation)
		h2->ops->violation(h2->ctx, flood);
}

/* Tell the peer, and hear no more of it. @flood: its frames cost work and carry nothing. */
static void h2_hear_no_more(struct h2 *h2, bool flood)
{
	h2_violation(h2, flood);
	nghttp2_session_terminate_session(h2->session, flood ? NGHTTP2_ENHANCE_YOUR_CALM
							     : NGHTTP2_PROTOCOL_ERROR);
	h2_fail(h2, -EPROTO);
}

/* Events of one stream come in a row: some ten events of a call look for the same stream. */
static struct h2_stream *stream_of(struct h2 *h2, int32_t id)
{
	if (!h2->recent || h2->recent->id != id)
		h2->recent = nghttp2_session_get_stream_user_data(h2->session, id);
	return h2->recent;
}

static void stream_init(struct h2 *h2, struct h2_stream *st, int32_t id)
{
	st->h2 = h2;
	st->id = id;
	list_add_tail(&h2->streams, &st->link);
}

static void body_drop(struct h2_stream *st)
{
	st->h2->body_bytes -= st->unsent.len;
	st->unsent = SPAN_NULL;
	secbuf_release(&st->body);
}

static void body_set(struct h2_stream *st, struct span body)
{
	st->unsent = body;
	st->h2->body_bytes += body.len;
}

static void stream_close(struct h2_stream *st, uint32_t error)
{
	struct h2 *h2 = st->h2;

	body_drop(st);
	list_del(&st->link);
	if (h2->recent == st)
		h2->recent = NULL;
	h2->ops->closed(st, error);
}

static void stream_malformed(struct h2_stream *st)
{
	h2_violation(st->h2, false);
	h2_reset(st, H2_PROTOCOL_ERROR);
}

/* Events of the library: receiving. */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st;

	h2->block_bytes = 0;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		st = stream_of(h2, frame->hd.stream_id);
	} else {
		st = h2->ops->open(h2->ctx);
		if (!st) {
			h2_must(h2, nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
							      frame->hd.stream_id,
							      NGHTTP2_REFUSED_STREAM));
			return 0;
		}
		stream_init(h2, st, frame->hd.stream_id);
		nghttp2_session_set_stream_user_data(session, st->id, st);
		h2->recent = st;
	}
	if (st)
		h2_block_begin(&st->block, st->head_done ? H2_TRAILERS
					   : h2->server  ? H2_REQUEST
							 : H2_RESPONSE);
	return 0;
}

static int on_header(nghttp2_session *session _unused_, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
		     uint8_t flags _unused_, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st = stream_of(h2, frame->hd.stream_id);
	struct span n = span_of(name, name_len), v = span_of(value, value_len);
	int r;

	/* A few bytes of HPACK can name a large field many times. */
	h2->block_bytes += n.len + v.len + 32;
	if (h2->block_bytes > h2->config->header_bytes) {
		h2_hear_no_more(h2, true);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (!st)
		return 0;
	r = h2_block_field(&st->block, &st->length, n, v);
	/* The rest of a faulty block must be decoded, too, before the stream can be reset. */
	if (r == 0 && !st->mute && !st->block.informational)
		h2->ops->field(st, n, v);
	return 0;
}

static void stream_end(struct h2_stream *st)
{
	st->remote_end = true;
	if (st->mute)
		return;
	if (h2_length_end(&st->length) < 0)
		stream_malformed(st);
	else
		st->h2->ops->end(st);
}

static void headers_complete(struct h2_stream *st, bool end)
{
	bool trailer = st->head_done;

	if (h2_block_end(&st->block, end) < 0) {
		stream_malformed(st);
		return;
	}
	if (st->block.informational)
		return;
	st->head_done = true;
	st->h2->ops->headers(st, trailer);
	if (end)
		stream_end(st);
}

static int on_frame_recv(nghttp2_session *session _unused_, const nghttp2_frame *frame, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st = stream_of(h2, frame->hd.stream_id);
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (st && st->mute)
			st->remote_end |= end;
		else if (st)
			headers_complete(st, end);
		break;
	case NGHTTP2_DATA:
		if (st && end)
			stream_end(st);
		break;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && h2->server &&
		    memcmp(frame->ping.opaque_data, shutdown_ping, sizeof(shutdown_ping)) == 0)
			h2_go_away(h2);
		break;
	case NGHTTP2_GOAWAY:
		if (h2->ops->goaway)
			h2->ops->goaway(h2->ctx);
		break;
	default:
		break;
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags _unused_, int32_t id,
			 const uint8_t *data, size_t len, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st = stream_of(h2, id);

	h2_must(h2, nghttp2_session_consume(session, id, len));
	if (!st || st->mute)
		return 0;
	if (!st->head_done || h2_length_add(&st->length, len) < 0)
		stream_malformed(st);
	else
		h2->ops->data(st, span_of(data, len));
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
	struct h2_stream *st = stream_of(ctx, id);

	if (!st)
		return 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	/* A refused call gives no tokens back: it cost its peer next to nothing, too. */
	if (st->h2->server ? st->local_end && st->n_trailers > 0 : st->remote_end)
		h2_watch_refund(&st->h2->watch);
	stream_close(st, error);
	return 0;
}

static int on_invalid_frame(nghttp2_session *session _unused_, const nghttp2_frame *frame _unused_,
			    int lib _unused_, void *ctx)
{
	h2_violation(ctx, false);
	return 0;
}

/* Events of the library: sending. */

/* An answer that came before the request's end: the rest is not wanted (RFC 9113 §8.1). */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st;

	if (!h2->server || frame->hd.type != NGHTTP2_HEADERS ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	st = stream_of(h2, frame->hd.stream_id);
	if (!st)
		return 0;
	st->local_end = true;
	if (!st->remote_end)
		h2_must(h2, nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, st->id,
						      NGHTTP2_NO_ERROR));
	return 0;
}

/*
 * A client's request that the library gave up before sending it (GOAWAY, out of stream ids). The
 * library may know the stream no more, so its owner is found in our own list.
 */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int lib _unused_,
			     void *ctx)
{
	struct h2 *h2 = ctx;

	if (h2->server || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	list_for_each_safe (n, &h2->streams) {
		struct h2_stream *st = list_entry(n, struct h2_stream, link);

		if (st->id != frame->hd.stream_id)
			continue;
		nghttp2_session_set_stream_user_data(session, st->id, NULL);
		stream_close(st, H2_REFUSED_STREAM);
		break;
	}
	return 0;
}

static ssize_t data_length(nghttp2_session *session _unused_, uint8_t type _unused_,
			   int32_t id _unused_, int32_t window _unused_,
			   int32_t stream_window _unused_, uint32_t frame_max _unused_,
			   void *ctx _unused_)
{
	return DATA_MAX;
}

static size_t fields_make(struct h2 *h2, const struct h2_field *fields, size_t n);

/* How much of the body goes into the next frame; send_data() moves it. */
static ssize_t data_read(nghttp2_session *session, int32_t id _unused_, uint8_t *buf _unused_,
			 size_t len, uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *st = source->ptr;
	size_t left = st->unsent.len, n;
	int r;

	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len < left)
		return (ssize_t)len;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (st->n_trailers > 0) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		n = fields_make(st->h2, st->trailers, st->n_trailers);
		r = nghttp2_submit_trailer(session, st->id, st->h2->nv, n);
		if (r < 0) {
			h2_must(ctx, r);
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		}
	}
	return (ssize_t)left;
}

static int send_data(nghttp2_session *session _unused_, nghttp2_frame *frame _unused_,
		     const uint8_t *head, size_t len, nghttp2_data_source *source, void *ctx)
{
	struct h2 *h2 = ctx;
	struct h2_stream *st = source->ptr;
	struct secbuf *out = h2->out;

	if (out->cap - out->len < FRAME_HEAD + len) {
		h2->no_room = true;
		return NGHTTP2_ERR_WOULDBLOCK;
	}
	memcpy(out->data + out->len, head, FRAME_HEAD);
	memcpy(out->data + out->len + FRAME_HEAD, st->unsent.data, len);
	out->len += FRAME_HEAD + len;
	st->unsent = span_skip(st->unsent, len);
	h2->body_bytes -= len;
	if (st->unsent.len == 0)
		body_drop(st);
	return 0;
}

/* Making a session. */

static void *mem_malloc(size_t size, void *ctx)
{
	return h2mem_take(ctx, size);
}

static void mem_free(void *p, void *ctx)
{
	h2mem_give(ctx, p);
}

static void *mem_calloc(size_t n, size_t size, void *ctx)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	p = h2mem_take(ctx, bytes);
	if (p)
		memset(p, 0, bytes);
	return p;
}

static void *mem_realloc(void *p, size_t size, void *ctx)
{
	return h2mem_resize(ctx, p, size);
}

static void options_set(nghttp2_option *o)
{
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
	nghttp2_option_set_max_settings(o, SETTINGS_IN);
	nghttp2_option_set_max_reserved_remote_streams(o, 0);
	if (nghttp2_option_set_stream_reset_rate_limit)
		nghttp2_option_set_stream_reset_rate_limit(o, RESETS_BURST, RESETS_PER_SEC);
	if (nghttp2_option_set_max_continuations)
		nghttp2_option_set_max_continuations(o, 8);
}

static void callbacks_set(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
	nghttp2_session_callbacks_set_data_source_read_length_callback(c, data_length);
	nghttp2_session_callbacks_set_send_data_callback(c, send_data);
}

static int session_make(struct h2 *h2)
{
	nghttp2_mem mem = { &h2->memory, mem_malloc, mem_free, mem_calloc, mem_realloc };
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int r;

	r = nghttp2_session_callbacks_new(&callbacks);
	if (r == 0)
		r = nghttp2_option_new(&option);
	if (r == 0) {
		callbacks_set(callbacks);
		options_set(option);
		r = h2->server
			    ? nghttp2_session_server_new3(&h2->session, callbacks, h2, option, &mem)
			    : nghttp2_session_client_new3(&h2->session, callbacks, h2, option,
							  &mem);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return r < 0 ? h2_errno(r) : 0;
}

static int session_greet(struct h2 *h2)
{
	const struct h2_config *c = h2->config;
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->stream_window },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->header_bytes },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->streams },
	};
	int r;

	r = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
	if (r == 0)
		r = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
							  (int32_t)c->window);
	return r < 0 ? h2_errno(r) : 0;
}

static int h2_new(struct h2 *init, uint64_t now, struct h2 **ret)
{
	_cleanup_(h2_freep) struct h2 *h2 = calloc(1, sizeof(*h2));
	int r;

	if (!h2)
		return -ENOMEM;
	*h2 = *init;
	list_init(&h2->streams);
	h2_watch_init(&h2->watch, h2->server, now);
	r = session_make(h2);
	if (r == 0)
		r = session_greet(h2);
	if (r < 0)
		return r;
	*ret = move_ptr(h2);
	return 0;
}

int h2_new_server(struct h2mem *mem, const struct h2_config *config, const struct h2_ops *ops,
		  void *ctx, uint64_t now, struct h2 **ret)
{
	struct h2 init = {
		.memory = { .mem = mem, .max = config->memory },
		.config = config,
		.ops = ops,
		.ctx = ctx,
		.server = true,
	};

	return h2_new(&init, now, ret);
}

int h2_new_client(struct h2mem *mem, const struct h2_config *config, const struct h2_ops *ops,
		  void *ctx, uint64_t now, struct h2 **ret)
{
	struct h2 init = {
		.memory = { .mem = mem, .max = config->memory },
		.config = config,
		.ops = ops,
		.ctx = ctx,
	};

	return h2_new(&init, now, ret);
}

void h2_free(struct h2 *h2)
{
	if (!h2)
		return;
	list_for_each_safe (n, &h2->streams)
		stream_close(list_entry(n, struct h2_stream, link), H2_CANCEL);
	nghttp2_session_del(h2->session);
	free(h2);
}

/* Bytes in, bytes out. */

int h2_feed(struct h2 *h2, struct span data, uint64_t now)
{
	ssize_t n;
	int r;

	if (h2->error < 0)
		return h2->error;
	h2->fed = now;
	r = h2_watch_feed(&h2->watch, data, now);
	if (r < 0) {
		h2_hear_no_more(h2, r == -EPROTO);
		return h2->error;
	}
	n = nghttp2_session_mem_recv(h2->session, data.data, data.len);
	if (n < 0 && h2->error == 0) {
		h2_violation(h2, false);
		h2_fail(h2, h2_errno((int)n));
	}
	return h2->error;
}

int h2_drain(struct h2 *h2, struct secbuf *out)
{
	const uint8_t *p;
	ssize_t n;

	h2->out = out;
	h2->no_room = false;
	for (;;) {
		if (h2->tail.len > 0) {
			size_t room = out->cap - out->len;
			size_t take = h2->tail.len < room ? h2->tail.len : room;

			memcpy(out->data + out->len, h2->tail.data, take);
			out->len += take;
			h2->tail = span_skip(h2->tail, take);
		}
		if (out->len == out->cap) {
			h2->no_room = true;
			break;
		}
		n = nghttp2_session_mem_send(h2->session, &p);
		if (n < 0)
			h2_fail(h2, h2_errno((int)n));
		if (n <= 0)
			break;
		h2->tail = span_of(p, (size_t)n);
	}
	h2->out = NULL;
	h2->blocked = h2->no_room ? 0 : h2->body_bytes;
	return h2->error;
}

bool h2_pending(const struct h2 *h2)
{
	return h2->tail.len > 0 || nghttp2_session_want_write(h2->session);
}

/* A queued frame without a body is about this long. */
#define FRAME_GUESS 64U

size_t h2_backlog(const struct h2 *h2)
{
	return h2->body_bytes + h2->tail.len +
	       FRAME_GUESS * nghttp2_session_get_outbound_queue_size(h2->session);
}

size_t h2_blocked(const struct h2 *h2)
{
	return h2->blocked;
}

bool h2_midway(const struct h2 *h2)
{
	return h2_watch_midway(&h2->watch);
}

size_t h2_owed(const struct h2 *h2)
{
	return h2->watch.left;
}

size_t h2_step(const struct h2 *h2)
{
	return h2_watch_step(&h2->watch);
}

bool h2_opens(const struct h2 *h2, struct span next)
{
	return h2_watch_opens(&h2->watch, next);
}

uint64_t h2_frames(const struct h2 *h2)
{
	return h2->watch.frames;
}

uint64_t h2_fed(const struct h2 *h2)
{
	return h2->fed;
}

void h2_hold(struct h2 *h2, bool held, uint64_t now)
{
	if (held && h2->hold_since > 0 && h2->fed <= h2->hold_since)
		return;
	h2->held = h2_held(h2, now);
	h2->hold_since = held ? now : 0;
}

uint64_t h2_held(const struct h2 *h2, uint64_t now)
{
	return h2->held + (h2->hold_since ? now - h2->hold_since : 0);
}

uint64_t h2_waiting(const struct h2 *h2, uint64_t now)
{
	return h2->hold_since ? now - h2->hold_since : 0;
}

bool h2_finished(const struct h2 *h2)
{
	return !h2_pending(h2) && !nghttp2_session_want_read(h2->session);
}

bool h2_greeted(const struct h2 *h2)
{
	return h2->watch.preface == 0;
}

/* Streams. */

/* In h2->nv. */
static size_t fields_make(struct h2 *h2, const struct h2_field *fields, size_t n)
{
	if (n > FIELDS_MAX)
		n = FIELDS_MAX;
	for (size_t i = 0; i < n; i++)
		h2->nv[i] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)fields[i].name.data,
			.value = (uint8_t *)(uintptr_t)fields[i].value.data,
			.namelen = fields[i].name.len,
			.valuelen = fields[i].value.len,
			.flags = fields[i].lasts ? NGHTTP2_NV_FLAG_NO_COPY_NAME |
							   NGHTTP2_NV_FLAG_NO_COPY_VALUE
						 : NGHTTP2_NV_FLAG_NO_COPY_NAME,
		};
	return n;
}

int h2_answer(struct h2_stream *st, const struct h2_field *fields, size_t n, struct secbuf *body,
	      const struct h2_field *trailers, size_t n_trailers)
{
	const nghttp2_data_provider provider = { { .ptr = st }, data_read };
	struct h2 *h2 = st->h2;
	int r;

	st->mute = true;
	st->trailers = trailers;
	st->n_trailers = n_trailers;
	if (body) {
		st->body = secbuf_move(body);
		body_set(st, span_of(st->body.data, st->body.len));
	}
	n = fields_make(h2, fields, n);
	r = nghttp2_submit_response(h2->session, st->id, h2->nv, n, body ? &provider : NULL);
	h2_must(h2, r);
	return r < 0 ? h2_errno(r) : 0;
}

int h2_request(struct h2 *h2, struct h2_stream *st, const struct h2_field *fields, size_t n,
	       struct span body)
{
	const nghttp2_data_provider provider = { { .ptr = st }, data_read };
	int32_t id;

	n = fields_make(h2, fields, n);
	id = nghttp2_submit_request(h2->session, NULL, h2->nv, n, &provider, st);
	if (id < 0)
		return id == NGHTTP2_ERR_NOMEM ? -ENOMEM : -ECONNRESET;
	stream_init(h2, st, id);
	body_set(st, body);
	return 0;
}

void h2_reset(struct h2_stream *st, enum h2_error error)
{
	st->mute = true;
	h2_must(st->h2, nghttp2_submit_rst_stream(st->h2->session, NGHTTP2_FLAG_NONE, st->id,
						  (uint32_t)error));
}

int h2_shutdown(struct h2 *h2)
{
	int r;

	r = nghttp2_submit_shutdown_notice(h2->session);
	if (r == 0)
		r = nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, shutdown_ping);
	return r < 0 ? h2_errno(r) : 0;
}

void h2_end(struct h2 *h2)
{
	h2_must(h2, nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR));
}

void h2_go_away(struct h2 *h2)
{
	h2_must(h2, nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
					  nghttp2_session_get_last_proc_stream_id(h2->session),
					  NGHTTP2_NO_ERROR, NULL, 0));
}
