/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge's streams and the frames about them; forward.c has the protocol and its invariants.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "forward.h"

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* --- frames out ------------------------------------------------------------------------------ */

static size_t out_room(const struct mux *mux)
{
	return sizeof(mux->out) - mux->out_end;
}

/* Appends a frame's head if it fits; returns whether it did. */
static bool out_frame(struct mux *mux, uint32_t stream, enum frame_type type, uint32_t arg)
{
	const struct frame frame = { (uint16_t)stream, (uint16_t)type, arg };

	if (out_room(mux) < sizeof(frame))
		return false;
	memcpy(mux->out + mux->out_end, &frame, sizeof(frame));
	mux->out_end += sizeof(frame);
	return true;
}

int out_flush(struct mux *mux)
{
	ssize_t n;

	if (mux->out_start == mux->out_end)
		return 0;
	n = write(mux->port, mux->out + mux->out_start, mux->out_end - mux->out_start);
	if (n < 0)
		return would_block() ? 0 : -errno;
	mux->out_start += (size_t)n;
	if (mux->out_start == mux->out_end)
		mux->out_start = mux->out_end = 0;
	return 0;
}

/* --- a stream's end -------------------------------------------------------------------------- */

int stream_init(struct stream *s, int fd, uint32_t rule)
{
	uint8_t *buffer = malloc(WINDOW);

	if (!buffer)
		return -ENOMEM;
	*s = (struct stream){
		.used = true, .fd = fd, .rule = rule, .credit = WINDOW, .buffer = buffer
	};
	return 0;
}

static void stream_close_fd(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void stream_release(struct stream *s)
{
	stream_close_fd(s);
	free(s->buffer);
	*s = (struct stream){ .fd = -1 };
}

/* The peer takes no more: what it was to get is dropped, and the other end told to end. */
static void stream_break_out(struct stream *s)
{
	if (s->out_broken)
		return;
	s->out_broken = true;
	s->fill = 0;
	s->stop_owed = !s->fin_got;
}

static void stream_break(struct stream *s)
{
	s->in_over = true;
	stream_break_out(s);
}

/* Nothing will be written to fd any more. */
static bool stream_out_over(const struct stream *s)
{
	return s->out_broken || (s->fin_got && s->fill == 0);
}

static void stream_deliver(struct stream *s)
{
	while (s->fill > 0) {
		uint32_t chunk = s->fill < WINDOW - s->head ? s->fill : WINDOW - s->head;
		ssize_t n = send(s->fd, s->buffer + s->head, chunk, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			if (!would_block())
				stream_break_out(s);
			return;
		}
		s->head = (s->head + (uint32_t)n) % WINDOW;
		s->fill -= (uint32_t)n;
		s->eaten += (uint32_t)n;
	}
}

/* The end of the data from the other side, seen by the peer only after all of it. */
static void stream_half_close(struct stream *s)
{
	if (s->fd >= 0 && !s->connecting && s->fin_got && s->fill == 0)
		shutdown(s->fd, SHUT_WR);
}

/* Reads once from fd into a DATA frame. */
static void stream_read(struct mux *mux, uint32_t number)
{
	struct stream *s = &mux->streams[number];
	uint32_t most = s->credit < CHUNK ? s->credit : CHUNK;
	size_t at = mux->out_end;
	ssize_t n;

	if (out_room(mux) < sizeof(struct frame) + most)
		return;
	n = recv(s->fd, mux->out + at + sizeof(struct frame), most, MSG_DONTWAIT);
	if (n < 0 && would_block())
		return;
	if (n <= 0) {
		s->in_over = true;
		return;
	}
	out_frame(mux, number, DATA, (uint32_t)n);
	mux->out_end += (size_t)n;
	s->credit -= (uint32_t)n;
}

/* The guest's end: connects to the rule's socket, again later if its backlog is full. */
static void stream_connect(const struct mux *mux, struct stream *s)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, mux->rules[s->rule].path);
	s->connecting = false;
	if (s->fd < 0)
		s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
		stream_half_close(s);
		return;
	}
	if (s->fd >= 0 && would_block()) {
		s->connecting = true;
		return;
	}
	stream_close_fd(s);
	stream_break(s);
}

/* Says what is owed to the other end, and ends a stream that is over at both.  FIN comes after
 * all DATA because stream_read() has put that into the buffer already. */
static void stream_settle(struct mux *mux, uint32_t number)
{
	struct stream *s = &mux->streams[number];

	if (s->open_owed && out_frame(mux, number, OPEN, s->rule))
		s->open_owed = false;
	if (s->open_owed)
		return;
	if (s->eaten >= WINDOW / 2 && !s->fin_got && out_frame(mux, number, CREDIT, s->eaten))
		s->eaten = 0;
	if (s->stop_owed && out_frame(mux, number, STOP, 0))
		s->stop_owed = false;
	if (s->in_over && !s->fin_sent)
		s->fin_sent = out_frame(mux, number, FIN, 0);
	if (!s->fin_sent || !s->fin_got || !stream_out_over(s))
		return;
	stream_close_fd(s);
	if (mux->host ? s->closed_got : out_frame(mux, number, CLOSED, 0))
		stream_release(s);
}

/* --- frames in ------------------------------------------------------------------------------- */

static int got_open(struct mux *mux, uint32_t number, uint32_t rule)
{
	struct stream *s = &mux->streams[number];
	int r;

	if (mux->host || s->used || rule >= mux->n_rules)
		return -EPROTO;
	r = stream_init(s, -1, rule);
	if (r < 0)
		return r;
	stream_connect(mux, s);
	return 0;
}

static int got_data(struct stream *s, const uint8_t *bytes, uint32_t n)
{
	uint32_t tail = (s->head + s->fill) % WINDOW;
	uint32_t first = n < WINDOW - tail ? n : WINDOW - tail;

	if (s->fin_got)
		return -EPROTO;
	if (s->out_broken)
		return 0;
	if (n > WINDOW - s->fill - s->eaten)
		return -EPROTO;
	memcpy(s->buffer + tail, bytes, first);
	memcpy(s->buffer, bytes + first, n - first);
	s->fill += n;
	if (!s->connecting)
		stream_deliver(s);
	return 0;
}

static int got_fin(struct stream *s)
{
	if (s->fin_got)
		return -EPROTO;
	s->fin_got = true;
	s->stop_owed = false;
	stream_half_close(s);
	return 0;
}

static int got_credit(struct stream *s, uint32_t n)
{
	if (n > WINDOW - s->credit)
		return -EPROTO;
	s->credit += n;
	return 0;
}

/* The other end drops our data: the peer shall see that nobody reads. */
static int got_stop(struct stream *s)
{
	s->in_over = true;
	if (s->fd >= 0)
		shutdown(s->fd, SHUT_RD);
	return 0;
}

/* Takes one frame, with its bytes behind it.  -EPROTO if it cannot be. */
static int got_frame(struct mux *mux, const struct frame *frame, const uint8_t *bytes)
{
	struct stream *s = &mux->streams[frame->stream % MAX_STREAMS];

	if (frame->stream >= MAX_STREAMS)
		return -EPROTO;
	if (frame->type == READY) {
		mux->ready = true;
		return 0;
	}
	if (frame->type == OPEN)
		return got_open(mux, frame->stream, frame->arg);
	/* The host may still say these of a stream that is over in the guest. */
	if (!s->used && !mux->host && (frame->type == CREDIT || frame->type == STOP))
		return 0;
	if (!s->used)
		return -EPROTO;
	switch (frame->type) {
	case DATA:
		return got_data(s, bytes, frame->arg);
	case CREDIT:
		return got_credit(s, frame->arg);
	case FIN:
		return got_fin(s);
	case STOP:
		return got_stop(s);
	case CLOSED:
		s->closed_got = true;
		return mux->host && s->fin_got && s->fin_sent ? 0 : -EPROTO;
	default:
		return -EPROTO;
	}
}

/* Takes every whole frame that has arrived; the rest stays for the next time. */
static int in_parse(struct mux *mux)
{
	size_t at = 0;
	int r;

	while (mux->in_fill - at >= sizeof(struct frame)) {
		struct frame frame;
		size_t size = sizeof(frame);

		memcpy(&frame, mux->in + at, sizeof(frame));
		if (frame.type == DATA && frame.arg > CHUNK)
			return -EPROTO;
		if (frame.type == DATA)
			size += frame.arg;
		if (mux->in_fill - at < size)
			break;
		r = got_frame(mux, &frame, mux->in + at + sizeof(frame));
		if (r < 0)
			return r;
		at += size;
	}
	mux->in_fill -= at;
	memmove(mux->in, mux->in + at, mux->in_fill);
	return 0;
}

int in_read(struct mux *mux)
{
	ssize_t n;

	n = read(mux->port, mux->in + mux->in_fill, sizeof(mux->in) - mux->in_fill);
	if (n < 0 && would_block())
		return 0;
	if (n <= 0)
		return -EPIPE;
	mux->in_fill += (size_t)n;
	return in_parse(mux);
}

/* --- turns ------------------------------------------------------------------------------------ */

static bool stream_wants_input(const struct mux *mux, const struct stream *s)
{
	return !s->in_over && !s->open_owed && s->credit > 0 &&
	       out_room(mux) >= sizeof(struct frame) + CHUNK;
}

/* Without events a stream is watched only for a peer that closes, and only if that is news:
 * poll() tells it again and again. */
struct pollfd stream_events(const struct mux *mux, const struct stream *s)
{
	struct pollfd p = { .fd = -1 };

	if (!s->used || s->fd < 0 || s->connecting)
		return p;
	if (stream_wants_input(mux, s))
		p.events |= POLLIN;
	if (s->fill > 0)
		p.events |= POLLOUT;
	if (p.events || !stream_out_over(s))
		p.fd = s->fd;
	return p;
}

void stream_turn(struct mux *mux, uint32_t number, short revents)
{
	struct stream *s = &mux->streams[number];

	if (!s->used)
		return;
	if (s->connecting)
		stream_connect(mux, s);
	if (revents & (POLLHUP | POLLERR))
		stream_break_out(s);
	if (s->fill > 0 && !s->connecting) {
		stream_deliver(s);
		stream_half_close(s);
	}
	if ((revents & (POLLIN | POLLHUP | POLLERR)) && stream_wants_input(mux, s))
		stream_read(mux, number);
	stream_settle(mux, number);
}
