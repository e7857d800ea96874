/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 session (RFC 9113), server or client, without I/O: bytes in with h2_feed(), bytes out
 * with h2_drain(), events through struct h2_ops. The library behind it is seen by h2.c alone.
 *
 * Invariants:
 * - Body bytes never rest in the library's memory. Incoming chunks are handed on where they lie, in
 *   the caller's (locked) receive buffer; an outgoing body lies in a locked buffer and is copied
 *   from there into the caller's locked send buffer, frame header and all.
 * - Events come only from inside h2_feed() and h2_drain(), and from h2_free(). In an event any
 *   function on streams may be called, but not feed, drain or free.
 * - Every stream that was opened ends with exactly one closed event. After h2_answer() on a server
 *   or h2_reset() that is the only event still to come: what the peer goes on sending is discarded
 *   and its flow-control window given back.
 * - Bytes are given back to the flow-control windows as they are handed over: it is the owner's
 *   bound on what it keeps, not the window, that limits memory.
 */
#ifndef KEKD_WIRE_H2_H
#define KEKD_WIRE_H2_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/secmem.h"
#include "daemon/wire/h2_block.h"
#include "daemon/wire/h2mem.h"
#include <kekd/list.h>
#include <kekd/span.h>

/* RFC 9113 §7 */
enum h2_error {
	H2_NO_ERROR = 0x0,
	H2_PROTOCOL_ERROR = 0x1,
	H2_INTERNAL_ERROR = 0x2,
	H2_REFUSED_STREAM = 0x7,
	H2_CANCEL = 0x8,
	H2_ENHANCE_YOUR_CALM = 0xb,
};

/* The least capacity of a buffer given to h2_drain(): a DATA frame goes out in one piece. */
#define H2_DRAIN_MIN (16U * 1024)

struct h2;

/* A stream, embedded in its owner's object. All members are h2's. */
struct h2_stream {
	struct h2 *h2;
	struct list link;
	int32_t id;
	struct h2_block block;
	struct h2_length length;
	bool head_done; /* the first, final header block is complete */
	bool remote_end, local_end;
	bool mute;          /* nothing but closed is to be told */
	struct secbuf body; /* of an answer */
	struct span unsent; /* of it, or of a request's */
	const struct h2_field *trailers;
	size_t n_trailers;
};

/* The name is a literal in lower case, which is not copied. Nor is the value, if it @lasts as long. */
struct h2_field {
	struct span name;
	struct span value;
	bool lasts;
};
#define H2_FIELD(name, value)                                 \
	{                                                     \
		SPAN_LITERAL(name), SPAN_LITERAL(value), true \
	}

struct h2_ops {
	/*
	 * Server: the peer opens a stream. The owner's h2_stream, zeroed, or NULL to refuse it
	 * (REFUSED_STREAM: not processed, may be tried again).
	 */
	struct h2_stream *(*open)(void *ctx);
	/* One well-formed field, pseudo-header fields included. Bytes are good during the call. */
	void (*field)(struct h2_stream *st, struct span name, struct span value);
	/* The header block is complete. @trailer: the one behind the data. */
	void (*headers)(struct h2_stream *st, bool trailer);
	void (*data)(struct h2_stream *st, struct span chunk);
	/* The peer has said everything. */
	void (*end)(struct h2_stream *st);
	/* The stream is gone and the owner's again. @error: RFC 9113 §7. */
	void (*closed)(struct h2_stream *st, uint32_t error);
	/*
	 * The peer broke a rule; counted by the owner. @flood: that of work for nothing (frames beyond
	 * their budget, a header block beyond its bound), which ends the session. May be NULL.
	 */
	void (*violation)(void *ctx, bool flood);
	/* Client: the peer takes no new stream. May be NULL. */
	void (*goaway)(void *ctx);
};

/*
 * What the library may take for a session and for each of its streams: one that is answered, with the
 * answer's trailers waiting behind a closed window, takes some 550 bytes; and header fields on their way.
 */
#define H2_MEMORY        (1024UL * 1024)
#define H2_STREAM_MEMORY 1024UL

struct h2_config {
	uint32_t streams;               /* server: SETTINGS_MAX_CONCURRENT_STREAMS */
	uint32_t header_bytes;          /* SETTINGS_MAX_HEADER_LIST_SIZE; more ends the session */
	uint32_t stream_window, window; /* flow control, bytes */
	size_t memory;                  /* bound on the library's memory for this session */
};
extern const struct h2_config h2_config_default;

/* @mem, @config, @ops borrowed for the session's life. @now: CLOCK_MONOTONIC ns. -ENOMEM. */
int h2_new_server(struct h2mem *mem, const struct h2_config *config, const struct h2_ops *ops,
		  void *ctx, uint64_t now, struct h2 **ret);
int h2_new_client(struct h2mem *mem, const struct h2_config *config, const struct h2_ops *ops,
		  void *ctx, uint64_t now, struct h2 **ret);
/* Streams still open are closed first (H2_CANCEL). */
void h2_free(struct h2 *h2);
DEFINE_CLEANUP(struct h2 *, h2_free);

/*
 * Bytes from the peer. -EPROTO or -ENOMEM end the session: drain once more (there may be a GOAWAY
 * to send) and close. A connection error that the library answers with GOAWAY returns 0;
 * h2_finished() tells when it is out.
 */
int h2_feed(struct h2 *h2, struct span data, uint64_t now);
/*
 * Append what is to be sent to @out, up to its capacity (which is at least H2_DRAIN_MIN and never
 * grown). 0 or -errno that ends the session.
 */
int h2_drain(struct h2 *h2, struct secbuf *out);
bool h2_pending(const struct h2 *h2);   /* h2_drain() would yield something */
size_t h2_backlog(const struct h2 *h2); /* bytes waiting inside, roughly */
size_t h2_blocked(const struct h2 *h2); /* body bytes that the peer's windows kept back */
bool h2_midway(const struct h2 *h2);    /* the peer owes the rest of a frame */
size_t h2_owed(const struct h2 *h2);    /* bytes of it still to come */
size_t h2_step(const struct h2 *h2);    /* bytes to the end of the part of a frame that is due */
/* Is that part, of which @next begins, the head of HEADERS? */
bool h2_opens(const struct h2 *h2, struct span next);
uint64_t h2_frames(const struct h2 *h2); /* complete ones so far */
uint64_t h2_fed(const struct h2 *h2);    /* @now of the last h2_feed(); 0: there was none */
/* Whether bytes that have come are kept back from it, for want of room. */
void h2_hold(struct h2 *h2, bool held, uint64_t now);
/* For how long in all, ns; that is not the peer's fault. */
uint64_t h2_held(const struct h2 *h2, uint64_t now);
/* For how long none of them was fed, ns, up to the last h2_hold(); 0: none are kept back. */
uint64_t h2_waiting(const struct h2 *h2, uint64_t now);
bool h2_finished(const struct h2 *h2); /* nothing more to read or to write: close */

/*
 * Server: headers, then @body (consumed in any case; may be NULL), then @trailers (borrowed until
 * closed). Without a body the headers end the stream (gRPC's Trailers-Only). -ENOMEM ends the
 * session at its next turn.
 */
int h2_answer(struct h2_stream *st, const struct h2_field *fields, size_t n, struct secbuf *body,
	      const struct h2_field *trailers, size_t n_trailers);
/*
 * Client: open @st (zeroed) with @body (borrowed until closed), which ends our side of it. -ENOMEM,
 * -ECONNRESET: the session takes no more.
 */
int h2_request(struct h2 *h2, struct h2_stream *st, const struct h2_field *fields, size_t n,
	       struct span body);
/* End a stream early. */
void h2_reset(struct h2_stream *st, enum h2_error error);
/*
 * Server: GOAWAY in two steps (RFC 9113 §6.8): a notice and a PING now, the final word with the
 * last stream when the PING comes back. Streams in flight go on. Then h2_finished().
 */
int h2_shutdown(struct h2 *h2);
/*
 * Server: GOAWAY in one step, and then h2_finished(), whatever is open. A call that the peer sends
 * meanwhile is one that the GOAWAY says was not begun.
 */
void h2_end(struct h2 *h2);
/* The same, but the streams that are open go on, and then h2_finished(). */
void h2_go_away(struct h2 *h2);
/* Has the peer shown its preface? */
bool h2_greeted(const struct h2 *h2);

#endif
