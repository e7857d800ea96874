/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a peer against the protocol side of daemon/wire, without a socket: a server session with
 * an echo service, or a client session with three requests open.
 *
 * Input: three bytes of how to go on, then the peer's bytes.
 *	0	bit 0: the client's preface and SETTINGS come first; 1: a pool that runs out;
 *		2: time passes between chunks; 3: answers are rarely drained; 4: graceful end;
 *		5: a client session
 *	1	size of the chunks the bytes come in (0: all at once)
 *	2	when kept calls are answered: every so many chunks (0: never)
 * The service answers at once, keeps the call, or fails it, as the path says.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/grpc_rules.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define KEPT    64

enum {
	HOW_PREFACE = 1U << 0,
	HOW_SMALL_POOL = 1U << 1,
	HOW_TIME = 1U << 2,
	HOW_UNREAD = 1U << 3,
	HOW_GRACEFUL = 1U << 4,
	HOW_CLIENT = 1U << 5,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t fuzz_now;

static uint64_t fuzz_clock(void)
{
	return fuzz_now;
}

/* What holds must hold, whatever the input. */
static void must(bool held)
{
	if (!held)
		abort();
}

struct fuzz {
	struct secpool *pool;
	struct timeq timers;
	uint8_t how, chunk, rhythm;
	struct grpc_call *kept[KEPT];
	struct h2_stream requests[3];
};

/* The server's service. */

static void svc_now(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	(void)ctx;
	grpc_call_reply(call, span_of(msg->data, msg->len));
}

static void svc_fail(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	(void)ctx;
	(void)msg;
	grpc_call_fail(call, GRPC_DATA_LOSS, "no\n%%");
}

static void svc_keep(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	struct fuzz *f = ctx;

	for (size_t i = 0; i < KEPT; i++) {
		if (!f->kept[i]) {
			f->kept[i] = call;
			return;
		}
	}
	svc_now(ctx, call, msg);
}

static void svc_cancel(void *ctx, struct grpc_call *call)
{
	struct fuzz *f = ctx;

	for (size_t i = 0; i < KEPT; i++)
		if (f->kept[i] == call)
			f->kept[i] = NULL;
}

static const struct grpc_method methods[] = {
	{ "/t.T/Now", svc_now },
	{ "/t.T/Keep", svc_keep },
	{ "/t.T/Fail", svc_fail },
	{ NULL, NULL },
};
static const struct grpc_service service = { .methods = methods, .cancel = svc_cancel };

static void answer_kept(struct fuzz *f)
{
	static const uint8_t text[300];

	for (size_t i = 0; i < KEPT; i++)
		if (f->kept[i])
			grpc_call_reply(move_ptr(f->kept[i]), span_of(text, sizeof(text)));
}

/* The client's events: nothing but touching every byte. */

static volatile uint8_t sink;

static void touch(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		sink ^= s.data[i];
}

static void cl_field(struct h2_stream *st, struct span name, struct span value)
{
	char text[GRPC_TEXT_MAX];

	(void)st;
	touch(name);
	grpc_percent_decode(value, text);
}

static void cl_headers(struct h2_stream *st, bool trailer)
{
	(void)st;
	(void)trailer;
}

static void cl_data(struct h2_stream *st, struct span chunk)
{
	touch(chunk);
	if (chunk.len == 7)
		h2_reset(st, H2_CANCEL);
}

static void cl_end(struct h2_stream *st)
{
	(void)st;
}

static void cl_closed(struct h2_stream *st, uint32_t error)
{
	(void)error;
	must(st->h2);
	st->h2 = NULL;
}

static const struct h2_ops client_ops = {
	.field = cl_field,
	.headers = cl_headers,
	.data = cl_data,
	.end = cl_end,
	.closed = cl_closed,
};

static void client_open(struct fuzz *f, struct h2 *h2)
{
	const struct h2_field fields[] = { H2_FIELD(":method", "POST"),
					   H2_FIELD(":path", "/t.T/Now") };

	for (size_t i = 0; i < ARRAY_SIZE(f->requests); i++)
		must(h2_request(h2, &f->requests[i], fields, ARRAY_SIZE(fields),
				span_str("request")) == 0);
}

/* Both. */

static int drain(struct fuzz *f, struct h2 *h2)
{
	struct secbuf out;
	int r;

	if (secpool_get(f->pool, H2_DRAIN_MIN, &out) < 0)
		return 0;
	r = h2_drain(h2, &out);
	must(out.len <= out.cap);
	touch(span_of(out.data, out.len));
	secbuf_release(&out);
	return r;
}

static void feed(struct fuzz *f, struct h2 *h2, struct span input)
{
	size_t step = f->chunk ? f->chunk : input.len;

	for (unsigned int i = 1; input.len > 0; i++) {
		size_t n = input.len < step ? input.len : step;

		if (h2_feed(h2, span_of(input.data, n), fuzz_now) < 0)
			break;
		input = span_skip(input, n);
		if (f->rhythm && i % f->rhythm == 0)
			answer_kept(f);
		if (f->how & HOW_TIME) {
			fuzz_now += 200000000;
			timeq_expire(&f->timers, fuzz_now);
		}
		if (!(f->how & HOW_UNREAD) || i % 16 == 0)
			if (drain(f, h2) < 0)
				break;
		must(h2_backlog(h2) < 64U << 20);
	}
	if (f->how & HOW_GRACEFUL) {
		(void)h2_shutdown(h2);
		answer_kept(f);
	}
	(void)drain(f, h2);
	(void)h2_finished(h2);
}

static void run_server(struct fuzz *f, struct span input)
{
	static const uint8_t settings[9] = { 0, 0, 0, 4 };
	struct grpc_limits limits = grpc_limits_default;
	struct grpc_session_config config = { .service = &service, .ctx = f };
	struct grpc_session *s;
	struct grpc_core core;

	limits.streams = 16;
	limits.calls = 8;
	must(grpc_core_init(&core, &limits, f->pool, &f->timers, fuzz_clock) == 0);
	must(users_get(&core.users, NULL, 0, &config.user) == 0);
	must(grpc_session_new(&core, &config, &s) == 0);
	if (f->how & HOW_PREFACE) {
		must(h2_feed(grpc_session_h2(s), span_str(PREFACE), fuzz_now) == 0);
		must(h2_feed(grpc_session_h2(s), span_of(settings, 9), fuzz_now) == 0);
	}
	feed(f, grpc_session_h2(s), input);
	grpc_session_free(s);
	user_put(config.user);
	must(core.stats.open_calls == 0);
	must(core.users.calls.used == 0);
	for (size_t i = 0; i < KEPT; i++)
		must(!f->kept[i]);
	grpc_core_done(&core);
}

static void run_client(struct fuzz *f, struct span input)
{
	struct h2mem *mem;
	struct h2 *h2;

	must(h2mem_new(&mem) == 0);
	must(h2_new_client(mem, &h2_config_default, &client_ops, f, fuzz_now, &h2) == 0);
	client_open(f, h2);
	(void)drain(f, h2);
	feed(f, h2, input);
	h2_free(h2);
	for (size_t i = 0; i < ARRAY_SIZE(f->requests); i++)
		must(!f->requests[i].h2);
	h2mem_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };

	if (size < 3)
		return 0;
	f.how = data[0];
	f.chunk = data[1];
	f.rhythm = data[2];
	fuzz_now = 1000000000;
	must(secpool_new(f.how & HOW_SMALL_POOL ? 200U << 10 : 8U << 20, &f.pool) == 0);
	if (f.how & HOW_CLIENT)
		run_client(&f, span_of(data + 3, size - 3));
	else
		run_server(&f, span_of(data + 3, size - 3));
	must(timeq_next(&f.timers) == 0);
	must(secpool_used(f.pool) == 0);
	secpool_free(f.pool);
	return 0;
}
