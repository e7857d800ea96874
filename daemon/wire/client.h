/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC client on a Unix socket: unary calls, several in flight on one connection, asynchronous on
 * the ring; and a blocking wrapper for command lines.
 *
 * The connection is made when a call needs it, and made again when it is lost, with a pause that
 * doubles from 50 ms to 2 s. A call whose request the server certainly has not processed (refused
 * stream, GOAWAY) is sent again; any other loss of the connection ends it with UNAVAILABLE.
 */
#ifndef KEKD_WIRE_CLIENT_H
#define KEKD_WIRE_CLIENT_H

#include <stdint.h>

#include "daemon/base/secmem.h"
#include "daemon/sys/ring.h"
#include "daemon/wire/grpc.h"
#include "daemon/wire/grpc_rules.h"
#include <kekd/span.h>

struct grpc_client;
struct grpc_client_call;

struct grpc_client_config {
	struct ring *ring;      /* borrowed for the client's life */
	struct secpool *pool;   /* borrowed for the client's life */
	const char *path;       /* of the socket; copied. No abstract names. */
	uint32_t message_bytes; /* largest answer */
	uint32_t calls;         /* open at once; one more is -ENOBUFS */
	uint32_t out_bytes;     /* of one send at most; 0: H2_DRAIN_MIN */
	uint64_t idle_ns;       /* a connection that owes us bytes this long is closed */
	/*
	 * For a process that may make no socket: ask someone else for a connected one, who answers
	 * with grpc_client_connected(), later. -errno: it could not be asked for. NULL: connect(2).
	 */
	int (*connect)(void *ctx);
	void *connect_ctx;
};

/* @text: what the server said, printable; never NULL. @msg: the answer, consumed or left. */
typedef void grpc_client_done_fn(void *ctx, enum grpc_status status, const char *text,
				 struct secbuf *msg);

/* -ENOMEM, -ENAMETOOLONG, -EINVAL (an abstract name, or none). */
int grpc_client_new(const struct grpc_client_config *config, struct grpc_client **ret);
/* Stopped and idle (grpc_client_idle()). */
void grpc_client_free(struct grpc_client *client);
DEFINE_CLEANUP(struct grpc_client *, grpc_client_free);

/* Wait for a connection until the deadline instead of failing when there is none. */
#define GRPC_WAIT_FOR_READY 1U

/*
 * Queue a call of @method ("/package.Service/Method", borrowed until done). @msg is copied into
 * locked memory. @timeout_ns: 0 for none; sent to the server and kept here too. @done runs once,
 * from a later turn or flush, unless the call is cancelled. Errors: -ENOBUFS, -ENOMEM.
 */
int grpc_client_call(struct grpc_client *client, const char *method, struct span msg,
		     uint64_t timeout_ns, unsigned int flags, grpc_client_done_fn *done, void *ctx,
		     struct grpc_client_call **ret);
/* The same with a message that has GRPC_PREFIX bytes of room before it, consumed on success: it is not copied. */
int grpc_client_call_with(struct grpc_client *client, const char *method, struct secbuf *msg,
			  uint64_t timeout_ns, unsigned int flags, grpc_client_done_fn *done,
			  void *ctx, struct grpc_client_call **ret);
/* The call is gone; @done does not run. */
void grpc_client_cancel(struct grpc_client_call *call);

/*
 * The answer to config->connect. @fd: a connected, non-blocking stream socket, consumed; ignored
 * when @r, a -errno, says why there is none.
 */
void grpc_client_connected(struct grpc_client *client, int fd, int r);

/* Connect, send what was queued. Once a turn. */
void grpc_client_flush(struct grpc_client *client);
/* End everything; open calls are done with CANCELLED. A few turns later the client is idle. */
void grpc_client_stop(struct grpc_client *client);
bool grpc_client_idle(const struct grpc_client *client);

/* What a blocking call brought. */
struct grpc_outcome {
	enum grpc_status status;
	char text[GRPC_TEXT_MAX];
	struct secbuf msg; /* caller releases */
};

/*
 * One call on a connection of its own, waited for. An answer may be as large as @pool. 0: @ret tells how it went, the socket that does
 * not answer included (UNAVAILABLE). -errno: it could not be tried.
 */
int grpc_client_call_sync(const char *path, const char *method, struct span msg,
			  uint64_t timeout_ns, struct secpool *pool, struct grpc_outcome *ret);

#endif
