/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC rules of the server (PROTOCOL-HTTP2.md), no I/O.
 *
 * What a request is refused for, and how:
 *   not POST                                    HTTP 405
 *   content-type not gRPC with protobuf         HTTP 415
 *   no te: trailers, grpc-timeout malformed     INTERNAL
 *   header block too large                      RESOURCE_EXHAUSTED
 *   unknown path                                UNIMPLEMENTED
 *   message compressed                          UNIMPLEMENTED, with grpc-accept-encoding
 *   no message, or more than one                UNIMPLEMENTED (statuscodes.md: cardinality)
 *   message cut short, impossible flag          INTERNAL
 *   message too long, too many calls, no memory RESOURCE_EXHAUSTED
 *   megabytes of answers wait for its windows   RESOURCE_EXHAUSTED
 *   message not complete in limits->idle_ns     DEADLINE_EXCEEDED
 * All of them leave the connection as it is. What breaks HTTP/2 itself ends the stream or the
 * connection, in h2.c.
 *
 * A call goes HEAD → BODY → SERVICE → ANSWERED. It is the service's only in SERVICE; it counts
 * against limits->calls from the headers to the answer. The object lives until its stream is
 * closed, holding an answer that has not been sent; the same timer that kept its deadline then
 * bounds how long that may take, so that a peer who grants no window cannot keep it for ever.
 */
#include "daemon/wire/grpc.h"

#include <errno.h>
#include <stdarg.h>

#include "daemon/base/probe.h"
#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/grpc_rules.h"

enum call_state { CALL_HEAD, CALL_BODY, CALL_SERVICE, CALL_ANSWERED };

/* Answers kept back by the client's windows, in units of limits->send_queue_bytes. */
#define BLOCKED_TIMES 8U

struct grpc_call {
	struct h2_stream stream;
	struct grpc_call *next; /* while idle */
	struct grpc_session *session;
	const struct grpc_method *method;
	struct grpc_intake intake;
	struct timeq_node timer;
	uint64_t deadline; /* 0: none */
	uint64_t started;  /* its headers were there */
	enum call_state state;
	bool post, content_type, te, bad_timeout;
	void *ctx;
};

struct grpc_session {
	struct grpc_core *core;
	struct h2 *h2;
	struct grpc_session_config config;
};

const struct grpc_limits grpc_limits_default = {
	.message_bytes = KEKD_GRPC_MESSAGE_MAX,
	.streams = 256,
	.connections = 64,
	.calls = 4096,
	.send_queue_bytes = 256 * 1024,
	.idle_ns = 10ULL * 1000 * 1000 * 1000,
};

static struct grpc_call *grpc_call_of(struct h2_stream *st)
{
	return container_of(st, struct grpc_call, stream);
}

/* Call objects. */

static void grpc_call_fire(struct timeq_node *node);

static struct grpc_call *grpc_call_take(struct grpc_core *core)
{
	struct grpc_call *call = core->idle;

	if (call) {
		core->idle = call->next;
		return call;
	}
	call = malloc(sizeof(*call));
	if (call)
		timeq_node_init(&call->timer, grpc_call_fire);
	return call;
}

static void grpc_call_give(struct grpc_core *core, struct grpc_call *call)
{
	timeq_clear(core->timers, &call->timer);
	grpc_intake_release(&call->intake);
	call->next = core->idle;
	core->idle = call;
}

/* The call leaves the state in which it counts and may be the service's. */
static void call_leave(struct grpc_call *call, enum call_state to)
{
	struct grpc_core *core = call->session->core;

	if (call->state == CALL_BODY || call->state == CALL_SERVICE)
		core->stats.open_calls--;
	call->state = to;
}

static void call_answered(struct grpc_call *call, enum grpc_status status, size_t bytes)
{
	struct grpc_session *s = call->session;
	struct grpc_core *core = s->core;
	uint64_t now = core->clock();

	if (call->state == CALL_SERVICE)
		PROBE_CALL_END(s->config.service->name, call->method->path, bytes, status,
			       now - call->started);
	call_leave(call, CALL_ANSWERED);
	grpc_intake_release(&call->intake);
	timeq_set(core->timers, &call->timer, grpc_deadline(now, core->limits->idle_ns));
	if (s->config.wake)
		s->config.wake(s->config.wake_ctx);
}

/* Answers. */

static const struct h2_field response_fields[] = {
	{ ":status", "200" },
	{ "content-type", "application/grpc" },
};
static const struct h2_field trailers_ok[] = {
	{ "grpc-status", "0" },
};

static void call_refuse(struct grpc_call *call, const char *http, enum grpc_status status,
			const char *text)
{
	char number[12], encoded[GRPC_ENCODED_MAX];
	const struct h2_field fields[] = {
		{ ":status", http },
		{ "content-type", "application/grpc" },
		{ "grpc-status", number },
		{ "grpc-message", encoded },
		{ "grpc-accept-encoding", "identity" },
	};
	size_t n = status == GRPC_UNIMPLEMENTED ? ARRAY_SIZE(fields) : ARRAY_SIZE(fields) - 1;

	snprintf(number, sizeof(number), "%d", (int)status);
	grpc_percent_encode(text, encoded);
	h2_answer(&call->stream, fields, n, NULL, NULL, 0);
	call->session->core->stats.failures++;
	call_answered(call, status, 0);
}

static void call_error(struct grpc_call *call, enum grpc_status status, const char *text)
{
	call_refuse(call, "200", status, text);
}

void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *text, ...)
{
	char buf[GRPC_TEXT_MAX];
	va_list ap;

	va_start(ap, text);
	vsnprintf(buf, sizeof(buf), text, ap);
	va_end(ap);
	call_error(call, status, buf);
}

void grpc_call_reply(struct grpc_call *call, struct span msg)
{
	struct grpc_core *core = call->session->core;
	struct secbuf body;

	if (grpc_frame(core->pool, msg, &body) < 0) {
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
		return;
	}
	h2_answer(&call->stream, response_fields, ARRAY_SIZE(response_fields), &body, trailers_ok,
		  ARRAY_SIZE(trailers_ok));
	core->stats.replies++;
	call_answered(call, GRPC_OK, msg.len);
}

/* Header fields. */

static void on_method(struct grpc_call *call, struct span value)
{
	call->post = span_equal(value, span_str("POST"));
}

/* A value holds no NUL (h2_block.h): what agrees with all of it is at least as long. */
static bool path_is(const struct grpc_method *m, struct span value)
{
	return strncmp(m->path, (const char *)value.data, value.len) == 0 &&
	       m->path[value.len] == '\0';
}

static void on_path(struct grpc_call *call, struct span value)
{
	const struct grpc_method *m = call->session->config.service->methods;

	while (m->path && !path_is(m, value))
		m++;
	call->method = m->path ? m : NULL;
}

static void grpc_on_content_type(struct grpc_call *call, struct span value)
{
	call->content_type = grpc_content_type(value);
}

static void on_te(struct grpc_call *call, struct span value)
{
	call->te = span_equal(value, span_str("trailers"));
}

static void on_timeout(struct grpc_call *call, struct span value)
{
	uint64_t ns;

	call->bad_timeout = grpc_timeout_parse(value, &ns) < 0;
	if (!call->bad_timeout)
		call->deadline = grpc_deadline(call->session->core->clock(), ns);
}

static const struct {
	struct span name;
	void (*take)(struct grpc_call *call, struct span value);
} header_fields[] = {
	{ SPAN_LITERAL(":method"), on_method },
	{ SPAN_LITERAL(":path"), on_path },
	{ SPAN_LITERAL("content-type"), grpc_on_content_type },
	{ SPAN_LITERAL("te"), on_te },
	{ SPAN_LITERAL("grpc-timeout"), on_timeout },
};

/* Events of a stream. */

static struct h2_stream *ev_open(void *ctx)
{
	struct grpc_session *s = ctx;
	struct grpc_call *call = grpc_call_take(s->core);

	if (!call)
		return NULL;
	*call = (struct grpc_call){ .session = s, .timer = call->timer };
	return &call->stream;
}

static void grpc_ev_field(struct h2_stream *st, struct span name, struct span value)
{
	struct grpc_call *call = grpc_call_of(st);

	if (call->state != CALL_HEAD)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(header_fields); i++)
		if (span_equal(name, header_fields[i].name))
			header_fields[i].take(call, value);
}

/* True if the headers are those of a call that may go on; otherwise it has been answered. */
static bool head_accept(struct grpc_call *call)
{
	const struct grpc_core *core = call->session->core;

	if (call->stream.too_large)
		call_error(call, GRPC_RESOURCE_EXHAUSTED, "request headers too large");
	else if (!call->post)
		call_refuse(call, "405", GRPC_INTERNAL, "method is not POST");
	else if (!call->content_type)
		call_refuse(call, "415", GRPC_INTERNAL, "content-type is not application/grpc");
	else if (!call->te)
		call_error(call, GRPC_INTERNAL, "te: trailers is missing");
	else if (call->bad_timeout)
		call_error(call, GRPC_INTERNAL, "malformed grpc-timeout");
	else if (!call->method)
		call_error(call, GRPC_UNIMPLEMENTED, "unknown service or method");
	else if (core->stats.open_calls >= core->limits->calls)
		call_error(call, GRPC_RESOURCE_EXHAUSTED, "too many calls in flight");
	else if (h2_blocked(call->session->h2) > BLOCKED_TIMES * core->limits->send_queue_bytes)
		call_error(call, GRPC_RESOURCE_EXHAUSTED, "earlier answers were not taken");
	else
		return true;
	return false;
}

static void grpc_ev_headers(struct h2_stream *st, bool trailer)
{
	struct grpc_call *call = grpc_call_of(st);
	struct grpc_core *core = call->session->core;
	uint64_t now, limit;

	if (trailer || !head_accept(call))
		return;
	call->state = CALL_BODY;
	core->stats.open_calls++;
	now = core->clock();
	call->started = now;
	limit = grpc_deadline(now, core->limits->idle_ns);
	if (call->deadline && call->deadline < limit)
		limit = call->deadline;
	timeq_set(core->timers, &call->timer, limit);
}

static const struct intake_error {
	int r;
	enum grpc_status status;
	const char *text;
} intake_errors[] = {
	{ -EMSGSIZE, GRPC_RESOURCE_EXHAUSTED, "message larger than the limit" },
	{ -ENOBUFS, GRPC_RESOURCE_EXHAUSTED, "no memory for the message" },
	{ -EOPNOTSUPP, GRPC_UNIMPLEMENTED, "compressed messages are not supported" },
	{ -EEXIST, GRPC_UNIMPLEMENTED, "more than one message in a unary call" },
	{ -ENOMSG, GRPC_UNIMPLEMENTED, "no message in a unary call" },
	{ -ENODATA, GRPC_INTERNAL, "message cut short" },
	{ 0, GRPC_INTERNAL, "malformed message prefix" },
};

static void intake_fail(struct grpc_call *call, int r)
{
	const struct intake_error *e = intake_errors;

	while (e->r != 0 && e->r != r)
		e++;
	call_error(call, e->status, e->text);
}

static void grpc_ev_data(struct h2_stream *st, struct span chunk)
{
	struct grpc_call *call = grpc_call_of(st);
	struct grpc_core *core = call->session->core;
	int r;

	r = grpc_intake_feed(&call->intake, core->pool, core->limits->message_bytes, chunk);
	if (r < 0)
		intake_fail(call, r);
}

static void grpc_ev_end(struct h2_stream *st)
{
	struct grpc_call *call = grpc_call_of(st);
	struct grpc_session *s = call->session;
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	int r;

	r = grpc_intake_end(&call->intake);
	if (r < 0) {
		intake_fail(call, r);
		return;
	}
	if (call->deadline)
		timeq_set(s->core->timers, &call->timer, call->deadline);
	else
		timeq_clear(s->core->timers, &call->timer);
	msg = secbuf_move(&call->intake.msg);
	call->state = CALL_SERVICE;
	s->core->stats.calls++;
	PROBE_CALL_START(s->config.service->name, call->method->path, msg.len);
	call->method->call(s->config.ctx, call, &msg);
}

static void call_cancel(struct grpc_call *call)
{
	struct grpc_session *s = call->session;

	s->core->stats.cancelled++;
	s->config.service->cancel(s->config.ctx, call);
}

static void grpc_ev_closed(struct h2_stream *st, uint32_t error _unused_)
{
	struct grpc_call *call = grpc_call_of(st);
	const struct grpc_session *s = call->session;
	bool cancel = call->state == CALL_SERVICE;

	call_leave(call, CALL_ANSWERED);
	if (cancel) {
		PROBE_CALL_END(s->config.service->name, call->method->path, 0, GRPC_CANCELLED,
			       s->core->clock() - call->started);
		call_cancel(call);
	}
	grpc_call_give(call->session->core, call);
}

static void ev_violation(void *ctx)
{
	struct grpc_session *s = ctx;

	s->core->stats.protocol_errors++;
}

/* A deadline has passed, the message did not come, or the answer could not be sent. */
static void grpc_call_fire(struct timeq_node *node)
{
	struct grpc_call *call = container_of(node, struct grpc_call, timer);
	struct grpc_session *s = call->session;
	bool cancel = call->state == CALL_SERVICE;

	if (call->state == CALL_ANSWERED) {
		h2_reset(&call->stream, H2_CANCEL);
		if (s->config.wake)
			s->config.wake(s->config.wake_ctx);
		return;
	}
	call_error(call, GRPC_DEADLINE_EXCEEDED,
		   cancel ? "deadline exceeded" : "request not complete in time");
	if (cancel)
		call_cancel(call);
}

static const struct h2_ops session_ops = {
	.open = ev_open,
	.field = grpc_ev_field,
	.headers = grpc_ev_headers,
	.data = grpc_ev_data,
	.end = grpc_ev_end,
	.closed = grpc_ev_closed,
	.violation = ev_violation,
};

/* Core and sessions. */

int grpc_core_init(struct grpc_core *core, const struct grpc_limits *limits, struct secpool *pool,
		   struct timeq *timers, uint64_t (*clock)(void))
{
	struct h2mem *mem;
	int r;

	r = h2mem_new(&mem);
	if (r < 0)
		return r;
	*core = (struct grpc_core){
		.limits = limits,
		.pool = pool,
		.timers = timers,
		.clock = clock,
		.h2 = h2_config_default,
		.mem = mem,
	};
	core->h2.streams = limits->streams;
	core->h2.memory = H2_MEMORY + limits->streams * H2_STREAM_MEMORY;
	return 0;
}

void grpc_core_done(struct grpc_core *core)
{
	while (core->idle) {
		struct grpc_call *call = core->idle;

		core->idle = call->next;
		timeq_clear(core->timers, &call->timer);
		free(call);
	}
	h2mem_free(core->mem);
}

int grpc_session_new(struct grpc_core *core, const struct grpc_session_config *config,
		     struct grpc_session **ret)
{
	struct grpc_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->core = core;
	s->config = *config;
	r = h2_new_server(core->mem, &core->h2, &session_ops, s, core->clock(), &s->h2);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void grpc_session_free(struct grpc_session *s)
{
	if (!s)
		return;
	s->config.wake = NULL;
	h2_free(s->h2);
	free(s);
}

struct h2 *grpc_session_h2(struct grpc_session *s)
{
	return s->h2;
}

/* A call, as its service sees it. */

void grpc_call_set_ctx(struct grpc_call *call, void *ctx)
{
	call->ctx = ctx;
}

void *grpc_call_ctx(const struct grpc_call *call)
{
	return call->ctx;
}

uint64_t grpc_call_deadline(const struct grpc_call *call)
{
	return call->deadline;
}

const struct op_peer *grpc_call_peer(const struct grpc_call *call)
{
	return &call->session->config.peer;
}
