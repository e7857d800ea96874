/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC server on Unix sockets, unary calls only: what a KMS plugin needs, as grpc-go and grpc
 * C-core speak it (gRPC over HTTP2: PROTOCOL-HTTP2.md of the gRPC project; RFC 9113).
 *
 * wire knows bytes, streams, deadlines and limits. It knows nothing of keys or of what a message
 * says. conn.c moves bytes (ring, buffers, peer), h2.c holds nghttp2 (the only file that does),
 * grpc.c holds the gRPC rules. h2.c and grpc.c do no I/O and are fuzzed as they are.
 *
 * Life of a call: headers, one message, end of stream → ops->call() with the whole message. The
 * service answers once, now or later, with grpc_call_reply() or grpc_call_fail(); the call is gone
 * after that. If the client goes away first (reset, deadline, connection lost), ops->cancel() is
 * called and the call is gone after it returns. Message bytes live in locked memory, from the
 * read(2) on; they are wiped when released.
 */
#ifndef KEKD_WIRE_GRPC_H
#define KEKD_WIRE_GRPC_H

#include <stdint.h>

#include "daemon/base/grpc_status.h"
#include "daemon/base/refusal.h"
#include "daemon/base/secmem.h"
#include "daemon/sys/ring.h"
#include "daemon/wire/grpc_rules.h"
#include <kekd/op.h>
#include <kekd/span.h>

struct grpc_server;
struct grpc_call;

/* One line of a service's dispatch table. */
struct grpc_method {
	const char *path; /* "/v2.KeyManagementService/Encrypt" */
	/*
	 * @msg: the message without its 5-byte prefix; consumed (move it out, or leave it and wire
	 * releases it). @ctx: the listener's service context.
	 */
	void (*call)(void *ctx, struct grpc_call *call, struct secbuf *msg);
};

/* A call that its service did not get to see. */
struct grpc_refused {
	const struct op_peer *peer;
	const struct grpc_method *method; /* NULL: none of the service's */
	enum grpc_status status;
	int r; /* -errno, as in <kekd/errors.h> */
};

struct grpc_service {
	const struct grpc_method *methods; /* ends with path == NULL */
	/* The call is going away unanswered; forget it. Not called after a reply or fail. */
	void (*cancel)(void *ctx, struct grpc_call *call);
	const char *name; /* for who watches: "kms" */
	/* May be NULL. */
	void (*refused)(void *ctx, const struct grpc_refused *refused);
	/* So many bytes behind a message that came in one piece are there for the service, and are zero. */
	size_t room;
};

struct grpc_limits {
	uint32_t message_bytes; /* larger: RESOURCE_EXHAUSTED, the connection lives */
	uint32_t streams;       /* SETTINGS_MAX_CONCURRENT_STREAMS of a connection */
	/*
	 * Of the server. A user has a share of them (user.h), and when that is used up, the oldest connection
	 * without a call of who has most gives way to the next, unless that user would be left with fewer than
	 * the next one's. If none does, the next is accepted and closed at once.
	 */
	uint32_t connections;
	uint32_t calls; /* of the server, and of them a user and a connection a share; one more:
			   RESOURCE_EXHAUSTED */
	/*
	 * After a connection that stays, so that other processes get the next; or 0. It is left out for a while
	 * after each, and after those that are refused: whoever queues behind many is not to wait for it.
	 */
	uint64_t accept_pause_ns;
	/*
	 * Unsent bytes of a connection, while its socket takes no more, before it is read no
	 * further. Bytes held back by the client's flow-control windows cannot be waited for like
	 * that, as the way out is a frame to be read: beyond eight times as much new calls get
	 * RESOURCE_EXHAUSTED.
	 */
	uint32_t send_queue_bytes;
	uint64_t idle_ns; /* a connection that holds half a frame or unsent bytes this long
				      without moving is closed (slow reader, slow writer) */
};
extern const struct grpc_limits grpc_limits_default;

/* Who may talk to a listener. Root of this user namespace is not special: list it. */
struct grpc_peers {
	const uid_t *uids;
	size_t n_uids;
	const gid_t *gids; /* primary gid of the peer, SO_PEERCRED */
	size_t n_gids;
};

/* @ring, @pool borrowed for the server's life. */
int grpc_server_new(struct ring *ring, struct secpool *pool, const struct grpc_limits *limits,
		    struct grpc_server **ret);
/* Everything closed (grpc_server_drained()). */
void grpc_server_free(struct grpc_server *server);
DEFINE_CLEANUP(struct grpc_server *, grpc_server_free);

/*
 * Serve @service on a listening socket. @fd consumed on success. @service, @peers, @ctx borrowed
 * for the server's life. A peer that is not listed gets its connection closed after accept, and a
 * line in the log (rate-limited).
 */
int grpc_server_listen(struct grpc_server *server, int fd, const struct grpc_service *service,
		       const struct grpc_peers *peers, void *ctx);

/* What the listeners' @peers point to is not what it was: close the connections of those no longer listed. */
void grpc_server_peers_changed(struct grpc_server *server);

/*
 * Send what calls have queued since the last turn. To be called once a turn, after the engine's
 * flush: one send a connection, however many calls it answered. True if calls that had waited for room
 * may have begun: another turn is due.
 */
bool grpc_server_flush(struct grpc_server *server);

/*
 * Graceful end: stop accepting, GOAWAY on every connection, calls in flight finish and are sent,
 * then connections close. grpc_server_drained() says when nothing is left; the caller bounds the
 * wait and then calls grpc_server_abort(), after which a few more turns drain everything.
 */
void grpc_server_shutdown(struct grpc_server *server);
void grpc_server_abort(struct grpc_server *server);
bool grpc_server_drained(const struct grpc_server *server);

/* A call, as its service sees it. */
void grpc_call_set_ctx(struct grpc_call *call, void *ctx);
void *grpc_call_ctx(const struct grpc_call *call);
uint64_t grpc_call_deadline(const struct grpc_call *call); /* CLOCK_MONOTONIC ns, 0 = none */
uint64_t grpc_call_arrived(const struct grpc_call *call);  /* the same: its message was whole */
const struct op_peer *grpc_call_peer(const struct grpc_call *call);
/* For what the service keeps for this call: it counts against the shares of the connection and its user. */
struct secpool *grpc_call_pool(const struct grpc_call *call);
/* It does the work of @n calls more, and counts as such until it is gone. -ENOBUFS: beyond the shares. */
int grpc_call_weigh(struct grpc_call *call, size_t n);
/* The service is about to fail it for overload (-ENOBUFS): count and say so. */
void grpc_call_overloaded(struct grpc_call *call, enum refusal why);
/* Answer. @msg is copied. The call is gone. */
void grpc_call_reply(struct grpc_call *call, struct span msg);
/* The same without a copy. @msg: GRPC_PREFIX bytes of room, and behind them the message; consumed. */
void grpc_call_reply_with(struct grpc_call *call, struct secbuf *msg);
/* @text: what the operator should read; printable, no secret; percent-encoded on the wire. Gone. */
void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *text, ...)
	_printf_(3, 4);

struct grpc_stats {
	uint64_t calls, replies, failures, cancelled, connections, refused_peers, protocol_errors;
	uint64_t refusals[REFUSALS];
	uint32_t open_connections, open_calls;
};
void grpc_server_stats(const struct grpc_server *server, struct grpc_stats *ret);

#endif
