/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC rules of the server (PROTOCOL-HTTP2.md), no I/O.
 *
 * What a request is refused for, and how:
 *   not POST                                    HTTP 405
 *   content-type not gRPC with protobuf         HTTP 415
 *   no te: trailers, grpc-timeout malformed     INTERNAL
 *   unknown path                                UNIMPLEMENTED
 *   message compressed                          UNIMPLEMENTED, with grpc-accept-encoding
 *   no message, or more than one                UNIMPLEMENTED (statuscodes.md: cardinality)
 *   message cut short, impossible flag          INTERNAL
 *   message too long, too many calls, no memory RESOURCE_EXHAUSTED, where grpc_session_room() could not wait
 *   megabytes of answers wait for its windows   RESOURCE_EXHAUSTED
 *   message not complete in limits->idle_ns     DEADLINE_EXCEEDED, but see grpc_session_room()
 * All of them leave the connection as it is. What breaks HTTP/2 itself ends the stream or the
 * connection, in h2.c; so does a header block that is too large.
 *
 * A call goes HEAD → BODY → SERVICE → ANSWERED. It is the service's only in SERVICE. The object lives
 * until its stream is closed, holding an answer that has not been sent; the same timer that kept its
 * deadline then bounds how long that may take, so that a peer who grants no window cannot keep it for
 * ever. As long it counts against the shares in limits->calls: from the first byte of its headers.
 */
#include "daemon/wire/grpc.h"

#include <errno.h>
#include <stdarg.h>

#include "daemon/base/probe.h"
#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/grpc_rules.h"

enum call_state { CALL_HEAD, CALL_BODY, CALL_SERVICE, CALL_ANSWERED };

/* For how long in all a call's clock may stand still, in units of limits->idle_ns. */
#define HELD_TIMES 8U

/* Answers kept back by the client's windows, in units of limits->send_queue_bytes. */
#define BLOCKED_TIMES 8U

/*
 * What bytes that are fed may cost: a call's headers are about so long at the least, and a message with its
 * frame's head so long; what is kept for one (request, answer, and what its service notes) is so much, or so many
 * times its length.
 */
#define CALL_BYTES_MIN    14U
#define MESSAGE_BYTES_MIN 14U
#define CALL_LOCKED       (4U * 1024)
#define FRAME_TIMES       4U
#define FEW_BYTES         512U /* of a few calls */

struct grpc_call {
	struct h2_stream stream;
	struct grpc_call *next; /* while idle */
	struct grpc_session *session;
	const struct grpc_method *method;
	struct grpc_intake intake;
	struct timeq_node timer;
	uint64_t limit;    /* when it must have got on; 0: it may take its time */
	uint64_t deadline; /* 0: none */
	uint64_t arrived;  /* its message was whole */
	uint64_t held;     /* h2_held() when @limit was set */
	enum call_state state;
	size_t weight; /* of the shares in limits->calls */
	bool post, content_type, te, bad_timeout;
	void *ctx;
};

struct grpc_session {
	struct grpc_core *core;
	struct h2 *h2;
	struct share calls;
	unsigned int serving;             /* calls that their service has: they end by themselves */
	struct secpool *pool;             /* its part of the user's */
	uint64_t since;                   /* core->begun at its last call; 0: it had none */
	const struct grpc_method *method; /* of its last call; NULL: unknown */
	size_t path_len;                  /* of that */
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

/*
 * It must have got on at @limit, 0: when it may. A timer that fires earlier is left alone, and set again if it
 * does: nearly every call is over by then.
 */
static void call_bound(struct grpc_call *call, uint64_t limit)
{
	call->limit = limit;
	if (limit != 0 && (!timeq_queued(&call->timer) || limit < call->timer.when))
		timeq_set(call->session->core->timers, &call->timer, limit);
}

/* The call leaves the state in which somebody waits for it and it may be the service's. */
static void call_leave(struct grpc_call *call, enum call_state to)
{
	struct grpc_core *core = call->session->core;

	if (call->state == CALL_BODY || call->state == CALL_SERVICE)
		core->stats.open_calls--;
	if (call->state == CALL_SERVICE) {
		call->session->serving--;
		call->session->config.user->serving--;
	}
	call->state = to;
}

static void call_answered(struct grpc_call *call, enum grpc_status status, size_t bytes)
{
	struct grpc_session *s = call->session;
	struct grpc_core *core = s->core;
	uint64_t now = core->clock();

	if (call->state == CALL_SERVICE)
		PROBE_CALL_END(s->config.service->name, call->method->path, bytes, status,
			       now - call->arrived);
	call_leave(call, CALL_ANSWERED);
	grpc_intake_release(&call->intake);
	call->held = h2_held(s->h2, now);
	call_bound(call, grpc_deadline(now, core->limits->idle_ns));
	if (s->config.wake)
		s->config.wake(s->config.wake_ctx);
}

/* Answers. */

static const struct h2_field response_fields[] = {
	H2_FIELD(":status", "200"),
	H2_FIELD("content-type", "application/grpc"),
};
static const struct h2_field trailers_ok[] = {
	H2_FIELD("grpc-status", "0"),
};

/* @http: a literal. */
static void call_refuse(struct grpc_call *call, const char *http, enum grpc_status status,
			const char *text)
{
	char number[12], encoded[GRPC_ENCODED_MAX];
	struct h2_field fields[] = {
		{ SPAN_LITERAL(":status"), span_str(http), true },
		H2_FIELD("content-type", "application/grpc"),
		{ SPAN_LITERAL("grpc-status"), SPAN_NULL, false },
		{ SPAN_LITERAL("grpc-message"), SPAN_NULL, false },
		H2_FIELD("grpc-accept-encoding", "identity"),
	};
	size_t n = status == GRPC_UNIMPLEMENTED ? ARRAY_SIZE(fields) : ARRAY_SIZE(fields) - 1;

	snprintf(number, sizeof(number), "%d", (int)status);
	grpc_percent_encode(text, encoded);
	fields[2].value = span_str(number);
	fields[3].value = span_str(encoded);
	h2_answer(&call->stream, fields, n, NULL, NULL, 0);
	call->session->core->stats.failures++;
	call_answered(call, status, 0);
}

static void call_error(struct grpc_call *call, enum grpc_status status, const char *text)
{
	call_refuse(call, "200", status, text);
}

/* The service never sees it; what it is told instead. @r: as in <kekd/errors.h>. */
static void call_turn_away(struct grpc_call *call, int r, const char *http, enum grpc_status status,
			   const char *text)
{
	const struct grpc_session *s = call->session;

	if (s->config.service->refused)
		s->config.service->refused(s->config.ctx, &(struct grpc_refused){
								  .peer = &s->config.peer,
								  .method = call->method,
								  .status = status,
								  .r = r,
							  });
	call_refuse(call, http, status, text);
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

void grpc_call_reply_with(struct grpc_call *call, struct secbuf *msg)
{
	size_t len = msg->len - GRPC_PREFIX;

	grpc_prefix(len, msg->data);
	h2_answer(&call->stream, response_fields, ARRAY_SIZE(response_fields), msg, trailers_ok,
		  ARRAY_SIZE(trailers_ok));
	call->session->core->stats.replies++;
	call_answered(call, GRPC_OK, len);
}

void grpc_call_reply(struct grpc_call *call, struct span msg)
{
	struct secbuf body;

	if (grpc_frame(call->session->pool, msg, &body) < 0) {
		grpc_call_overloaded(call, REFUSAL_MEMORY);
		grpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
		return;
	}
	grpc_call_reply_with(call, &body);
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

/* Most calls of a connection are of one method. */
static void on_path(struct grpc_call *call, struct span value)
{
	struct grpc_session *s = call->session;
	const struct grpc_method *m = s->config.service->methods;

	if (s->method && value.len == s->path_len &&
	    memcmp(s->method->path, value.data, value.len) == 0) {
		call->method = s->method;
		return;
	}
	while (m->path && !path_is(m, value))
		m++;
	call->method = m->path ? m : NULL;
	s->method = call->method;
	s->path_len = value.len;
}

static void grpc_on_content_type(struct grpc_call *call, struct span value)
{
	call->content_type = grpc_content_type(value);
}

static void on_te(struct grpc_call *call, struct span value)
{
	call->te = value.len > 0; /* h2_block.h lets nothing through but "trailers" */
}

static void on_timeout(struct grpc_call *call, struct span value)
{
	uint64_t ns;

	call->bad_timeout = grpc_timeout_parse(value, &ns) < 0;
	if (!call->bad_timeout)
		call->deadline = grpc_deadline(h2_fed(call->session->h2), ns);
}

static const struct {
	struct span name;
	void (*take)(struct grpc_call *call, struct span value);
} header_fields[] = {
	{ SPAN_LITERAL("te"), on_te },
	{ SPAN_LITERAL(":path"), on_path },
	{ SPAN_LITERAL(":method"), on_method },
	{ SPAN_LITERAL("content-type"), grpc_on_content_type },
	{ SPAN_LITERAL("grpc-timeout"), on_timeout },
};

/* They are in the order of their lengths. This is where each length begins, as in h2_block.c. */
static const uint8_t field_at[] = { [2] = 0, [5] = 1, [7] = 2, [12] = 3 };

/* Events of a stream. */

static struct h2_stream *ev_open(void *ctx)
{
	struct grpc_session *s = ctx;
	struct grpc_call *call = grpc_call_take(s->core);

	if (!call)
		return NULL;
	*call = (struct grpc_call){
		.session = s,
		.timer = call->timer,
		.intake.room = s->config.service->room,
	};
	call->weight = share_take(&s->calls, 1);
	s->since = ++s->core->begun;
	return &call->stream;
}

static void grpc_ev_field(struct h2_stream *st, struct span name, struct span value)
{
	struct grpc_call *call = grpc_call_of(st);

	if (call->state != CALL_HEAD || name.len >= ARRAY_SIZE(field_at))
		return;
	for (size_t i = field_at[name.len];
	     i < ARRAY_SIZE(header_fields) && header_fields[i].name.len == name.len; i++) {
		if (memcmp(name.data, header_fields[i].name.data, name.len) != 0)
			continue;
		header_fields[i].take(call, value);
		break;
	}
}

static void head_overloaded(struct grpc_call *call, enum refusal why, const char *text)
{
	grpc_call_overloaded(call, why);
	call_turn_away(call, -ENOBUFS, "200", GRPC_RESOURCE_EXHAUSTED, text);
}

static void head_malformed(struct grpc_call *call, const char *http, const char *text)
{
	call_turn_away(call, -EINVAL, http, GRPC_INTERNAL, text);
}

/* True if the headers are those of a call that may go on; otherwise it has been answered. */
static bool head_accept(struct grpc_call *call)
{
	const struct grpc_session *s = call->session;

	if (!call->post)
		head_malformed(call, "405", "method is not POST");
	else if (!call->content_type)
		head_malformed(call, "415", "content-type is not application/grpc");
	else if (!call->te)
		head_malformed(call, "200", "te: trailers is missing");
	else if (call->bad_timeout)
		head_malformed(call, "200", "malformed grpc-timeout");
	else if (!call->method)
		call_turn_away(call, -EOPNOTSUPP, "200", GRPC_UNIMPLEMENTED,
			       "unknown service or method");
	else if (call->weight == 0)
		head_overloaded(call, REFUSAL_CALLS, "too many calls in flight");
	else if (h2_blocked(s->h2) > BLOCKED_TIMES * s->core->limits->send_queue_bytes)
		head_overloaded(call, REFUSAL_ANSWERS, "earlier answers were not taken");
	else
		return true;
	return false;
}

static void grpc_ev_headers(struct h2_stream *st, bool trailer)
{
	struct grpc_call *call = grpc_call_of(st);
	struct grpc_core *core = call->session->core;
	uint64_t limit;

	if (trailer || !head_accept(call))
		return;
	call->state = CALL_BODY;
	core->stats.open_calls++;
	limit = grpc_deadline(h2_fed(call->session->h2), core->limits->idle_ns);
	if (call->deadline && call->deadline < limit)
		limit = call->deadline;
	call->held = h2_held(call->session->h2, h2_fed(call->session->h2));
	call_bound(call, limit);
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
	if (r == -ENOBUFS)
		grpc_call_overloaded(call, REFUSAL_MEMORY);
	call_turn_away(call, r, "200", e->status, e->text);
}

static void grpc_ev_data(struct h2_stream *st, struct span chunk)
{
	struct grpc_call *call = grpc_call_of(st);
	struct grpc_core *core = call->session->core;
	int r;

	r = grpc_intake_feed(&call->intake, call->session->pool, core->limits->message_bytes,
			     chunk);
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
	call_bound(call, call->deadline);
	call->arrived = h2_fed(s->h2);
	msg = secbuf_move(&call->intake.msg);
	call->state = CALL_SERVICE;
	s->serving++;
	s->config.user->serving++;
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
			       s->core->clock() - call->arrived);
		call_cancel(call);
	}
	share_give(&call->session->calls, call->weight);
	grpc_call_give(call->session->core, call);
}

static void ev_violation(void *ctx, bool flood)
{
	struct grpc_session *s = ctx;

	s->core->stats.protocol_errors++;
	if (flood)
		grpc_core_refuse(s->core, REFUSAL_FRAMES, &s->config.peer);
}

/*
 * When it must have got on. What the peer owes, a message or that an answer is taken, may come later by as long as
 * it was kept back, which has its bound, too; but no message after its deadline.
 */
static uint64_t call_until(const struct grpc_call *call, uint64_t now)
{
	const struct grpc_session *s = call->session;
	uint64_t held = h2_held(s->h2, now), most = HELD_TIMES * s->core->limits->idle_ns, until;

	if (call->limit == 0 || call->state == CALL_SERVICE || held <= call->held)
		return call->limit;
	held -= call->held;
	until = grpc_deadline(call->limit, held < most ? held : most);
	return call->state == CALL_BODY && call->deadline && call->deadline < until ? call->deadline
										    : until;
}

/* A deadline has passed, the message did not come, or the answer could not be sent. */
static void grpc_call_fire(struct timeq_node *node)
{
	struct grpc_call *call = container_of(node, struct grpc_call, timer);
	struct grpc_session *s = call->session;
	bool cancel = call->state == CALL_SERVICE;
	uint64_t now = s->core->clock(), until = call_until(call, now), soon;

	if (until == 0)
		return;
	if (until > now) {
		/* While it is kept back, what is left stays the same, and could be some nanoseconds. */
		soon = now + s->core->limits->idle_ns / 8;
		if (until != call->limit && until != call->deadline && until < soon)
			until = soon;
		timeq_set(s->core->timers, &call->timer, until);
		return;
	}
	if (call->state == CALL_ANSWERED) {
		h2_reset(&call->stream, H2_CANCEL);
		if (s->config.wake)
			s->config.wake(s->config.wake_ctx);
		return;
	}
	if (!cancel) {
		call_turn_away(call, -ETIME, "200", GRPC_DEADLINE_EXCEEDED,
			       "request not complete in time");
		return;
	}
	call_error(call, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
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
		.timers = timers,
		.clock = clock,
		.h2 = h2_config_default,
		.mem = mem,
	};
	users_init(&core->users, pool, limits->connections, limits->calls);
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
	users_done(&core->users);
	h2mem_free(core->mem);
}

void grpc_core_refuse(struct grpc_core *core, enum refusal why, const struct op_peer *peer)
{
	core->stats.refusals[why]++;
	if (core->refused)
		core->refused(core, why, peer);
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
	s->calls.above = &config->user->calls;
	r = secpool_part(config->user->pool, &s->pool);
	if (r == 0)
		r = h2_new_server(core->mem, &core->h2, &session_ops, s, core->clock(), &s->h2);
	if (r < 0) {
		secpool_let_go(s->pool);
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
	secpool_let_go(s->pool);
	free(s);
}

struct h2 *grpc_session_h2(struct grpc_session *s)
{
	return s->h2;
}

size_t grpc_session_room(const struct grpc_session *s, struct span next, bool sending)
{
	size_t calls = share_room(&s->calls), len = next.len, owed, step, bytes, fits;

	if (calls > len / CALL_BYTES_MIN && len <= FEW_BYTES && !sending && s->serving == 0 &&
	    secpool_has_plenty(s->pool))
		return len;
	/* Answers that have yet to be sent give back what they hold, too. */
	sending = sending || h2_pending(s->h2);
	owed = FRAME_TIMES * h2_owed(s->h2);
	bytes = secpool_room(s->pool, CALL_LOCKED + owed);
	fits = bytes / CALL_LOCKED * MESSAGE_BYTES_MIN;
	if (fits > calls * CALL_BYTES_MIN)
		fits = calls * CALL_BYTES_MIN;
	if (fits >= len)
		return len;
	/*
	 * A frame at a time, if there is room for that; or if there is nothing to wait for, or it was waited for long
	 * enough, to say that there is none.
	 */
	step = h2_step(s->h2);
	if (step > len)
		step = len;
	if (fits > step)
		return fits;
	if (((calls == 0 && h2_opens(s->h2, next)) ||
	     bytes < CALL_LOCKED + owed + FRAME_TIMES * step) &&
	    (s->serving > 0 || ((sending || s->config.user->serving > 0) &&
				h2_waiting(s->h2, s->core->clock()) < s->core->limits->idle_ns)))
		return 0;
	return step;
}

bool grpc_session_idle(const struct grpc_session *s, uint64_t *ret_since)
{
	*ret_since = s->since;
	return s->calls.used == 0;
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

uint64_t grpc_call_arrived(const struct grpc_call *call)
{
	return call->arrived;
}

const struct op_peer *grpc_call_peer(const struct grpc_call *call)
{
	return &call->session->config.peer;
}

struct secpool *grpc_call_pool(const struct grpc_call *call)
{
	return call->session->pool;
}

int grpc_call_weigh(struct grpc_call *call, size_t n)
{
	if (!share_take(&call->session->calls, n))
		return -ENOBUFS;
	call->weight += n;
	return 0;
}

void grpc_call_overloaded(struct grpc_call *call, enum refusal why)
{
	grpc_core_refuse(call->session->core, why, &call->session->config.peer);
}
