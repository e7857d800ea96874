/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's protocol side without a socket: frames made by hand go in, what comes out is read
 * frame by frame and, for header blocks, by a client session of our own that shadows the same
 * streams. Time is the test's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/wire/grpc_impl.h"
#include "daemon/wire/grpc_rules.h"
#include "tests/harness/ktest.h"
#include "tests/support/h2_frames.h"

#define SECOND  1000000000ULL
#define STREAMS 1024

static uint64_t fake_now = 1000 * SECOND;

static uint64_t fake_clock(void)
{
	return fake_now;
}

/* What the peer got on one stream. */
struct got {
	struct h2_stream shadow;
	int http, status;
	char text[GRPC_TEXT_MAX];
	bool accept_encoding, ended, closed;
	int rst; /* -1: none */
	struct h2f_buf body;
};

FIXTURE(session)
{
	struct secpool *pool, *shadow_pool;
	struct timeq timers;
	struct grpc_limits limits;
	struct grpc_core core;
	struct grpc_session *s;
	struct h2 *h2;
	struct user *user;
	struct h2mem *shadow_mem;
	struct h2 *shadow;
	struct h2f_buf in, out;
	struct got got[STREAMS];
	uint32_t next; /* stream */
	int goaway;    /* error code of the last one, -1: none */
	uint32_t goaway_last;
	unsigned int goaways, acks, settings_acks;
	int64_t window; /* given back on the connection */
	/* The service. */
	struct grpc_call *kept[STREAMS];
	unsigned int n_kept, cancelled, served;
	bool answered_at_cancel;
	bool shadowless; /* header blocks of the answers are not read */
};

typedef struct ktest_data_of_session fix;
static fix *self_of; /* the shadow's events have no other way to it */

/* The service. */

static void svc_now(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	fix *f = ctx;

	f->served++;
	grpc_call_reply(call, span_of(msg->data, msg->len));
}

static void svc_keep(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	fix *f = ctx;

	(void)msg;
	f->served++;
	grpc_call_set_ctx(call, f);
	f->kept[f->n_kept++] = call;
}

static void svc_fail(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	(void)ctx;
	(void)msg;
	grpc_call_fail(call, GRPC_DATA_LOSS, "bad %s: 100%%", "tag");
}

static void svc_big(void *ctx, struct grpc_call *call, struct secbuf *msg)
{
	uint8_t big[65536];

	(void)ctx;
	(void)msg;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	grpc_call_reply(call, span_of(big, sizeof(big)));
}

static void svc_cancel(void *ctx, struct grpc_call *call)
{
	fix *f = ctx;

	f->cancelled++;
	f->answered_at_cancel = f->core.stats.failures > 0;
	for (unsigned int i = 0; i < f->n_kept; i++)
		if (f->kept[i] == call)
			f->kept[i] = NULL;
}

static const struct grpc_method methods[] = {
	{ "/t.T/Now", svc_now },
	{ "/t.T/Keep", svc_keep },
	{ "/t.T/Fail", svc_fail },
	{ "/t.T/Big", svc_big },
	{ NULL, NULL },
};
static const struct grpc_service service = { .methods = methods, .cancel = svc_cancel };

/* The shadow client. */

static struct got *got_of(struct h2_stream *st)
{
	return container_of(st, struct got, shadow);
}

static int to_int(struct span v)
{
	int n = 0;

	for (size_t i = 0; i < v.len; i++)
		n = n * 10 + v.data[i] - '0';
	return n;
}

static void sh_field(struct h2_stream *st, struct span name, struct span value)
{
	struct got *g = got_of(st);

	if (span_equal(name, span_str(":status")))
		g->http = to_int(value);
	if (span_equal(name, span_str("grpc-status")))
		g->status = to_int(value);
	if (span_equal(name, span_str("grpc-message")))
		grpc_percent_decode(value, g->text);
	if (span_equal(name, span_str("grpc-accept-encoding")))
		g->accept_encoding = true;
}

static void sh_headers(struct h2_stream *st, bool trailer)
{
	(void)st;
	(void)trailer;
}

static void sh_data(struct h2_stream *st, struct span chunk)
{
	h2f_bytes(&got_of(st)->body, chunk.data, chunk.len);
}

static void sh_end(struct h2_stream *st)
{
	got_of(st)->ended = true;
}

static void sh_closed(struct h2_stream *st, uint32_t error)
{
	(void)error;
	got_of(st)->closed = true;
}

static const struct h2_ops shadow_ops = {
	.field = sh_field,
	.headers = sh_headers,
	.data = sh_data,
	.end = sh_end,
	.closed = sh_closed,
};

/* Moving bytes. */

static void look(fix *f, const struct h2f_seen *seen)
{
	switch (seen->type) {
	case H2F_RST_STREAM:
		if (seen->stream / 2 < STREAMS)
			f->got[seen->stream / 2].rst = (int)h2f_get32(seen->payload);
		break;
	case H2F_GOAWAY:
		f->goaways++;
		f->goaway_last = h2f_get32(seen->payload);
		f->goaway = (int)h2f_get32(seen->payload + 4);
		break;
	case H2F_PING:
		f->acks += (seen->flags & H2F_ACK) != 0;
		break;
	case H2F_SETTINGS:
		f->settings_acks += (seen->flags & H2F_ACK) != 0;
		break;
	case H2F_WINDOW_UPDATE:
		if (seen->stream == 0)
			f->window += h2f_get32(seen->payload);
		break;
	default:
		break;
	}
}

/* The shadow has sent SETTINGS once; acknowledgements of the test's own would confuse it. */
static bool shadow_may_see(const fix *f, const struct h2f_seen *seen)
{
	bool ack = seen->type == H2F_SETTINGS && (seen->flags & H2F_ACK);

	return !f->shadowless && !(ack && f->settings_acks > 1);
}

/* Take everything the server has to say. */
static void drain(fix *f)
{
	struct secbuf b;
	struct h2f_seen seen;
	size_t from = f->out.len, off = from;

	do {
		ASSERT_OK(secpool_get(f->shadow_pool, H2_DRAIN_MIN, &b));
		(void)h2_drain(f->h2, &b);
		h2f_bytes(&f->out, b.data, b.len);
		secbuf_release(&b);
	} while (h2_pending(f->h2));
	for (; h2f_next(f->out.data, f->out.len, &off, &seen); from = off) {
		look(f, &seen);
		if (shadow_may_see(f, &seen))
			EXPECT_OK(h2_feed(f->shadow, span_of(f->out.data + from, off - from), 1));
	}
	EXPECT_EQ(f->out.len, off);
}

/* Give the server what the test has made; 0 or what h2_feed() says. */
static int push(fix *f)
{
	int r = h2_feed(f->h2, span_of(f->in.data, f->in.len), fake_now);

	f->in.len = 0;
	drain(f);
	return r;
}

/* A stream of the shadow with the id that the next hand-made request uses. */
static uint32_t open_stream(fix *f)
{
	const struct h2_field fields[] = { H2_FIELD(":method", "POST") };
	struct got *g = &f->got[f->next / 2];
	static const uint8_t empty[GRPC_PREFIX];
	uint32_t id = f->next;
	struct secbuf b;

	f->next += 2;
	ASSERT_LT(id / 2, STREAMS);
	*g = (struct got){ .http = -1, .status = -1, .rst = -1 };
	if (f->shadowless)
		return id;
	ASSERT_OK(h2_request(f->shadow, &g->shadow, fields, 1, span_of(empty, sizeof(empty))));
	ASSERT_EQ((int32_t)id, g->shadow.id);
	do {
		ASSERT_OK(secpool_get(f->shadow_pool, H2_DRAIN_MIN, &b));
		ASSERT_OK(h2_drain(f->shadow, &b));
		secbuf_release(&b);
	} while (h2_pending(f->shadow));
	return id;
}

static struct got *call_with(fix *f, const struct h2f_call *c, const void *msg, size_t len)
{
	uint32_t id = open_stream(f);

	h2f_call_headers(&f->in, id, 0, c);
	h2f_message(&f->in, id, H2F_END_STREAM, msg, len);
	EXPECT_OK(push(f));
	return &f->got[id / 2];
}

static struct got *call_path(fix *f, const char *path, const void *msg, size_t len)
{
	return call_with(f, &H2F_CALL(.path = path), msg, len);
}

static bool works(fix *f)
{
	struct got *g = call_path(f, "/t.T/Now", "still here", 10);

	return EXPECT_EQ(0, g->status) && EXPECT_EQ(15, g->body.len);
}

static void expect_status(const struct got *g, int status)
{
	EXPECT_EQ(status, g->status);
	EXPECT_EQ(200, g->http);
	EXPECT_TRUE(g->ended);
}

static void passes(fix *f, uint64_t ns)
{
	fake_now += ns;
	timeq_expire(&f->timers, fake_now);
	drain(f);
}

FIXTURE_SETUP(session)
{
	struct grpc_session_config config = { .service = &service, .ctx = self };

	self_of = self;
	self->next = 1;
	self->goaway = -1;
	self->limits = grpc_limits_default;
	self->limits.streams = 100;
	self->limits.calls = 64;
	ASSERT_OK(secpool_new(8U << 20, &self->pool));
	ASSERT_OK(secpool_new(1U << 20, &self->shadow_pool));
	ASSERT_OK(
		grpc_core_init(&self->core, &self->limits, self->pool, &self->timers, fake_clock));
	ASSERT_OK(users_get(&self->core.users, NULL, 0, &self->user));
	config.user = self->user;
	ASSERT_OK(grpc_session_new(&self->core, &config, &self->s));
	self->h2 = grpc_session_h2(self->s);
	ASSERT_OK(h2mem_new(&self->shadow_mem));
	ASSERT_OK(h2_new_client(self->shadow_mem, &h2_config_default, &shadow_ops, self, 1,
				&self->shadow));
	h2f_hello(&self->in);
	ASSERT_OK(push(self));
}

FIXTURE_TEARDOWN(session)
{
	unsigned int open = self->core.stats.open_calls, before = self->cancelled;

	h2_free(self->shadow);
	h2mem_free(self->shadow_mem);
	grpc_session_free(self->s);
	user_put(self->user);
	EXPECT_LE(self->cancelled - before, open);
	EXPECT_EQ(0, self->core.stats.open_calls);
	EXPECT_EQ(0, timeq_next(&self->timers));
	grpc_core_done(&self->core);
	for (size_t i = 0; i < STREAMS; i++)
		h2f_release(&self->got[i].body);
	h2f_release(&self->in);
	h2f_release(&self->out);
	EXPECT_EQ(0, secpool_used(self->pool));
	secpool_free(self->pool);
	secpool_free(self->shadow_pool);
}

/* Calls that go well. */

TEST_F(session, unary)
{
	struct got *g = call_path(self, "/t.T/Now", "hello", 5);

	expect_status(g, GRPC_OK);
	EXPECT_MEMEQ("\0\0\0\0\5hello", 10, g->body.data, g->body.len);
	EXPECT_EQ(-1, g->rst);
	EXPECT_TRUE(g->closed);
	EXPECT_EQ(1, self->core.stats.replies);
	EXPECT_EQ(1, self->settings_acks);
}

TEST_F(session, empty_message)
{
	struct got *g = call_path(self, "/t.T/Now", "", 0);

	expect_status(g, GRPC_OK);
	EXPECT_EQ(5, g->body.len);
}

TEST_F(session, byte_by_byte)
{
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	h2f_message(&self->in, id, H2F_END_STREAM, "hello", 5);
	for (size_t i = 0; i < self->in.len; i++)
		ASSERT_OK(h2_feed(self->h2, span_of(self->in.data + i, 1), fake_now));
	self->in.len = 0;
	drain(self);
	expect_status(&self->got[id / 2], GRPC_OK);
}

TEST_F(session, message_in_many_frames)
{
	uint32_t id = open_stream(self);
	static const uint8_t bytes[] = { 0, 0, 0, 0, 3, 'a', 'b', 'c' };

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	for (size_t i = 0; i < sizeof(bytes); i++)
		h2f_frame(&self->in, H2F_DATA, 0, id, bytes + i, 1);
	h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, NULL, 0);
	ASSERT_OK(push(self));
	expect_status(&self->got[id / 2], GRPC_OK);
}

TEST_F(session, padded_frames)
{
	uint32_t id = open_stream(self);
	static const uint8_t padded[] = { 4, 0, 0, 0, 0, 1, 'x', 0, 0, 0, 0 };

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	h2f_frame(&self->in, H2F_DATA, H2F_PADDED | H2F_END_STREAM, id, padded, sizeof(padded));
	ASSERT_OK(push(self));
	expect_status(&self->got[id / 2], GRPC_OK);
}

TEST_F(session, any_authority)
{
	static const char *const authorities[] = { "localhost", "/run/kekd/kms.sock",
						   "%2Frun%2Fkekd%2Fkms.sock", "", "a b@[::" };

	for (size_t i = 0; i < ARRAY_SIZE(authorities); i++)
		expect_status(call_with(self, &H2F_CALL(.authority = authorities[i]), "x", 1),
			      GRPC_OK);
	expect_status(call_with(self, &H2F_CALL(.authority = H2F_OMIT), "x", 1), GRPC_OK);
}

TEST_F(session, later_answer)
{
	struct got *g = call_path(self, "/t.T/Keep", "x", 1);

	EXPECT_FALSE(g->ended);
	ASSERT_EQ(1, self->n_kept);
	EXPECT_EQ(self, grpc_call_ctx(self->kept[0]));
	EXPECT_EQ(0, grpc_call_deadline(self->kept[0]));
	grpc_call_reply(self->kept[0], span_str("late"));
	drain(self);
	expect_status(g, GRPC_OK);
	EXPECT_EQ(0, self->core.stats.open_calls);
}

TEST_F(session, failure_is_percent_encoded)
{
	struct got *g = call_path(self, "/t.T/Fail", "x", 1);

	expect_status(g, GRPC_DATA_LOSS);
	EXPECT_STREQ("bad tag: 100%", g->text);
	EXPECT_EQ(0, g->body.len);
}

TEST_F(session, client_trailers_are_ignored)
{
	uint32_t id = open_stream(self);
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	h2f_message(&self->in, id, 0, "x", 1);
	h2f_field(&block, "x-checksum", "1");
	h2f_frame(&self->in, H2F_HEADERS, H2F_END_HEADERS | H2F_END_STREAM, id, block.data,
		  block.len);
	ASSERT_OK(push(self));
	expect_status(&self->got[id / 2], GRPC_OK);
}

/* Requests that are refused. */

TEST_F(session, refused_headers)
{
	static const struct {
		struct h2f_call call;
		int http, status;
	} cases[] = {
		{ { .path = "/t.T/Nope" }, 200, GRPC_UNIMPLEMENTED },
		{ { .path = "/" }, 200, GRPC_UNIMPLEMENTED },
		{ { .path = "/t.T/Now/" }, 200, GRPC_UNIMPLEMENTED },
		{ { .method = "GET" }, 405, GRPC_INTERNAL },
		{ { .content_type = "text/plain" }, 415, GRPC_INTERNAL },
		{ { .content_type = H2F_OMIT }, 415, GRPC_INTERNAL },
		{ { .te = H2F_OMIT }, 200, GRPC_INTERNAL },
		{ { .timeout = "1x" }, 200, GRPC_INTERNAL },
		{ { .timeout = "123456789n" }, 200, GRPC_INTERNAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct got *g = call_with(self, &cases[i].call, "x", 1);

		EXPECT_EQ(cases[i].http, g->http);
		EXPECT_EQ(cases[i].status, g->status);
		EXPECT_EQ(0, self->served);
	}
	EXPECT_TRUE(works(self));
}

TEST_F(session, malformed_headers_reset_the_stream)
{
	static const struct h2f_call cases[] = {
		{ .method = H2F_OMIT },
		{ .scheme = H2F_OMIT },
		{ .path = H2F_OMIT },
		{ .te = "gzip" },
		{ .name = "Upper", .value = "x" },
		{ .name = "connection", .value = "close" },
		{ .name = ":path", .value = "/late" },
		{ .name = "content-length", .value = "7" },
		{ .name = "content-length", .value = "5" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct got *g = call_with(self, &cases[i], "x", 1);

		if (!EXPECT_EQ(H2_PROTOCOL_ERROR, g->rst))
			ktest_log("case %zu", i);
	}
	EXPECT_EQ(ARRAY_SIZE(cases), self->core.stats.protocol_errors);
	EXPECT_EQ(0, self->served);
	EXPECT_EQ(-1, self->goaway);
	EXPECT_TRUE(works(self));
}

TEST_F(session, trailers_that_do_not_end_the_stream)
{
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	EXPECT_EQ(H2_PROTOCOL_ERROR, self->got[id / 2].rst);
	EXPECT_TRUE(works(self));
}

/* What is advertised is the bound: no honest client goes beyond, and decoding for nobody is work too. */
TEST_F(session, header_block_too_large)
{
	char value[3000];
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };
	uint32_t id = open_stream(self);

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	h2f_call_block(&block, &H2F_CALL(0));
	for (unsigned int i = 0; i < 10; i++)
		h2f_field(&block, "x-large", value);
	h2f_frame(&self->in, H2F_HEADERS, 0, id, block.data, 16000);
	h2f_frame(&self->in, H2F_CONTINUATION, H2F_END_HEADERS, id, block.data + 16000,
		  block.len - 16000);
	h2f_message(&self->in, id, H2F_END_STREAM, "x", 1);
	EXPECT_ERR(-EPROTO, push(self));
	EXPECT_EQ(H2_ENHANCE_YOUR_CALM, self->goaway);
	EXPECT_EQ(0, self->served);
	EXPECT_EQ(1, self->core.stats.refusals[REFUSAL_FRAMES]);
}

/* A field put into the HPACK table once and named by one byte ten thousand times. */
static void header_bomb(fix *f, const char *name)
{
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };
	char value[3000];
	uint32_t id = open_stream(f);

	memset(value, 'v', sizeof(value));
	h2f_byte(&block, 0x40);
	h2f_string(&block, name, strlen(name));
	h2f_string(&block, value, sizeof(value));
	for (unsigned int i = 0; i < 10000; i++)
		h2f_byte(&block, 0x80 | 62);
	h2f_frame(&f->in, H2F_HEADERS, H2F_END_HEADERS, id, block.data, block.len);
	EXPECT_ERR(-EPROTO, push(f));
}

TEST_F(session, header_bomb_ends_the_connection)
{
	header_bomb(self, "bomb");
}

/* A block with a fault is decoded all the same: it has the same bound. */
TEST_F(session, header_bomb_with_a_fault)
{
	header_bomb(self, "Bomb");
}

TEST_F(session, bad_messages)
{
	static const struct {
		const char *bytes;
		size_t len;
		int status;
	} cases[] = {
		{ "", 0, GRPC_UNIMPLEMENTED },
		{ "\0\0\0", 3, GRPC_INTERNAL },
		{ "\0\0\0\0\2x", 6, GRPC_INTERNAL },
		{ "\0\0\0\0\1xx", 7, GRPC_UNIMPLEMENTED },
		{ "\0\0\0\0\1x\0\0\0\0\1y", 12, GRPC_UNIMPLEMENTED },
		{ "\1\0\0\0\1x", 6, GRPC_UNIMPLEMENTED },
		{ "\2\0\0\0\1x", 6, GRPC_INTERNAL },
		{ "\0\0\1\0\1x", 6, GRPC_RESOURCE_EXHAUSTED },
		{ "\0\377\377\377\377x", 6, GRPC_RESOURCE_EXHAUSTED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t id = open_stream(self);
		struct got *g = &self->got[id / 2];

		h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
		h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, cases[i].bytes, cases[i].len);
		ASSERT_OK(push(self));
		expect_status(g, cases[i].status);
		EXPECT_EQ(cases[i].status == GRPC_UNIMPLEMENTED, g->accept_encoding);
		EXPECT_EQ(-1, g->rst);
	}
	EXPECT_EQ(0, self->served);
	EXPECT_TRUE(works(self));
}

TEST_F(session, compressed_with_a_named_encoding)
{
	struct h2f_call c = H2F_CALL(.name = "grpc-encoding", .value = "gzip");
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &c);
	h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, "\1\0\0\0\1x", 6);
	ASSERT_OK(push(self));
	expect_status(&self->got[id / 2], GRPC_UNIMPLEMENTED);
	EXPECT_TRUE(self->got[id / 2].accept_encoding);
	/* The encoding alone, with an uncompressed message, is fine. */
	expect_status(call_with(self, &c, "x", 1), GRPC_OK);
}

/*
 * Messages beyond the limit, 6 MB of them through a connection window of 1 MiB: refused at their
 * prefix, the rest discarded, the window given back, the connection as it was.
 */
TEST_F(session, too_large_message_and_the_connection_lives)
{
	static uint8_t big[65537];

	for (unsigned int i = 0; i < 90; i++) {
		uint32_t id = open_stream(self);
		struct got *g = &self->got[id / 2];

		h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
		h2f_message(&self->in, id, 0, big, sizeof(big));
		ASSERT_OK(push(self));
		expect_status(g, GRPC_RESOURCE_EXHAUSTED);
		ASSERT_EQ(H2_NO_ERROR, g->rst);
		/* More of it, sent before the peer saw the reset. */
		h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, big, 1000);
		ASSERT_OK(push(self));
	}
	EXPECT_GT(self->window, 4 << 20);
	EXPECT_EQ(0, self->served);
	EXPECT_EQ(-1, self->goaway);
	EXPECT_TRUE(works(self));
}

TEST_F(session, largest_message)
{
	static const uint8_t window[6] = { 0, 4, 0, 2, 0, 0 };
	static uint8_t big[65536];

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, window, sizeof(window));
	for (unsigned int i = 0; i < 40; i++) {
		struct got *g;

		h2f_head(&self->in, 4, H2F_WINDOW_UPDATE, 0, 0);
		h2f_u32(&self->in, sizeof(big) + 5);
		g = call_path(self, "/t.T/Now", big, sizeof(big));
		expect_status(g, GRPC_OK);
		ASSERT_EQ(sizeof(big) + 5, g->body.len);
	}
}

/* Limits. */

/* A connection that is alone has a seventh of them: the rest is for others of its user, and for others. */
TEST_F(session, calls_bound)
{
	for (unsigned int i = 0; i < 9; i++)
		call_path(self, "/t.T/Keep", "x", 1);
	EXPECT_EQ(9, self->core.stats.open_calls);
	expect_status(call_path(self, "/t.T/Now", "x", 1), GRPC_RESOURCE_EXHAUSTED);
	EXPECT_EQ(1, self->core.stats.refusals[REFUSAL_CALLS]);
	grpc_call_reply(self->kept[0], SPAN_NULL);
	drain(self);
	EXPECT_TRUE(works(self));
}

/* Who has none gets the last one. */
TEST_F(session, a_single_call)
{
	self->core.users.calls.max = 1;
	EXPECT_TRUE(works(self));
	call_path(self, "/t.T/Keep", "x", 1);
	expect_status(call_path(self, "/t.T/Now", "x", 1), GRPC_RESOURCE_EXHAUSTED);
}

/* Headers that do not end, requests that do not, answers that are not taken: all of it counts. */
TEST_F(session, calls_count_from_headers_to_the_last_byte)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	uint32_t id;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	for (unsigned int i = 0; i < 3; i++)
		call_path(self, "/t.T/Now", "x", 1);
	for (unsigned int i = 0; i < 4; i++)
		h2f_call_headers(&self->in, open_stream(self), 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	EXPECT_EQ(4, self->core.stats.open_calls);
	EXPECT_EQ(7, self->core.users.calls.used);
	id = open_stream(self);
	h2f_frame(&self->in, H2F_HEADERS, 0, id, NULL, 0);
	ASSERT_OK(push(self));
	EXPECT_EQ(8, self->core.users.calls.used);
	h2f_frame(&self->in, H2F_CONTINUATION, H2F_END_HEADERS, id, NULL, 0);
	ASSERT_OK(push(self));
	EXPECT_EQ(7, self->core.users.calls.used); /* reset, as it says nothing */
}

/* What a call does the work of counts too, and is given back with it. */
TEST_F(session, calls_that_weigh_more)
{
	call_path(self, "/t.T/Keep", "x", 1);
	EXPECT_OK(grpc_call_weigh(self->kept[0], 6));
	EXPECT_ERR(-ENOBUFS, grpc_call_weigh(self->kept[0], 3));
	EXPECT_EQ(7, self->core.users.calls.used);
	grpc_call_reply(self->kept[0], SPAN_NULL);
	drain(self);
	EXPECT_EQ(0, self->core.users.calls.used);
}

TEST_F(session, streams_bound)
{
	self->core.users.calls.max = 1000;
	for (unsigned int i = 0; i < 100; i++)
		call_path(self, "/t.T/Keep", "x", 1);
	EXPECT_EQ(100, self->core.stats.open_calls);
	/* The peer has not acknowledged our SETTINGS, so it may not know yet. The shadow does. */
	self->shadowless = true;
	EXPECT_EQ(H2_REFUSED_STREAM, call_path(self, "/t.T/Keep", "x", 1)->rst);
	EXPECT_EQ(100, self->core.stats.open_calls);
	EXPECT_EQ(-1, self->goaway);
	grpc_call_reply(self->kept[5], SPAN_NULL);
	drain(self);
	call_path(self, "/t.T/Now", "x", 1);
	EXPECT_EQ(2, self->core.stats.replies);
}

TEST_F(session, exhausted_pool)
{
	struct secbuf taken[200];
	size_t n = 0;
	struct got *g;

	/* All but a little: the answer of another call must still go out. */
	while (secpool_used(self->pool) < (8U << 20) - (512U << 10) &&
	       secpool_get(self->pool, 80 * 1024, &taken[n]) == 0)
		n++;
	while (n < ARRAY_SIZE(taken) && secpool_get(self->pool, 40 * 1024, &taken[n]) == 0)
		n++;
	{
		static uint8_t big[60000];
		uint32_t id = open_stream(self);

		h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
		h2f_message(&self->in, id, H2F_END_STREAM, big, sizeof(big));
		ASSERT_OK(push(self));
		g = &self->got[id / 2];
	}
	expect_status(g, GRPC_RESOURCE_EXHAUSTED);
	while (n > 0)
		secbuf_release(&taken[--n]);
	EXPECT_TRUE(works(self));
}

/* Deadlines and cancellation. */

TEST_F(session, deadline_answers_then_cancels)
{
	struct got *g = call_with(self, &H2F_CALL(.path = "/t.T/Keep", .timeout = "3S"), "x", 1);

	EXPECT_EQ(fake_now + 3 * SECOND, grpc_call_deadline(self->kept[0]));
	EXPECT_EQ(fake_now + 3 * SECOND, timeq_next(&self->timers));
	passes(self, 3 * SECOND - 1);
	EXPECT_FALSE(g->ended);
	passes(self, 1);
	expect_status(g, GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(1, self->cancelled);
	EXPECT_TRUE(self->answered_at_cancel);
	EXPECT_EQ(0, self->core.stats.open_calls);
	EXPECT_TRUE(works(self));
}

/* Longer than a message may take to come: its timer is that of the message first. */
TEST_F(session, long_deadline)
{
	struct got *g = call_with(self, &H2F_CALL(.path = "/t.T/Keep", .timeout = "30S"), "x", 1);

	passes(self, self->limits.idle_ns);
	passes(self, 30 * SECOND - self->limits.idle_ns - 1);
	EXPECT_FALSE(g->ended);
	EXPECT_EQ(fake_now + 1, timeq_next(&self->timers));
	passes(self, 1);
	expect_status(g, GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(1, self->cancelled);
}

TEST_F(session, no_deadline)
{
	struct got *g = call_path(self, "/t.T/Keep", "x", 1);

	passes(self, 1000 * self->limits.idle_ns);
	EXPECT_FALSE(g->ended);
	EXPECT_EQ(0, timeq_next(&self->timers));
	EXPECT_EQ(0, self->cancelled);
}

/* An answer has its time from when it was made, however long that took. */
TEST_F(session, late_answer_without_a_window)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	struct got *g;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	g = call_path(self, "/t.T/Keep", "x", 1);
	passes(self, 5 * self->limits.idle_ns);
	grpc_call_reply(self->kept[0], span_str("answer"));
	self->kept[0] = NULL;
	drain(self);
	passes(self, self->limits.idle_ns - 1);
	EXPECT_FALSE(g->ended);
	EXPECT_NE(H2_CANCEL, g->rst);
	passes(self, 1);
	EXPECT_EQ(H2_CANCEL, g->rst);
}

/* One connection, one method after the other and one twice. */
TEST_F(session, methods_in_turn)
{
	static const struct {
		const char *path;
		bool known;
	} calls[] = {
		{ "/t.T/Now", true }, { "/t.T/Now", true },  { "/t.T/Fail", true },
		{ "/t.T/Now", true }, { "/t.T/Nox", false }, { "/t.T/Nows", false },
		{ "/t.T/Now", true }, { "/t.T/No", false },  { "/t.T/Fail", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct got *g = call_path(self, calls[i].path, "x", 1);

		EXPECT_TRUE(g->ended);
		EXPECT_EQ(calls[i].known, g->status != GRPC_UNIMPLEMENTED);
	}
}

TEST_F(session, deadline_while_the_message_comes)
{
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(.timeout = "100m"));
	h2f_frame(&self->in, H2F_DATA, 0, id, "\0\0\0\0\2x", 6);
	ASSERT_OK(push(self));
	passes(self, SECOND / 10);
	expect_status(&self->got[id / 2], GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(H2_NO_ERROR, self->got[id / 2].rst);
	EXPECT_EQ(0, self->cancelled);
	h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, "y", 1);
	ASSERT_OK(push(self));
	EXPECT_EQ(0, self->served);
	EXPECT_TRUE(works(self));
}

TEST_F(session, a_message_has_limited_time_to_arrive)
{
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	passes(self, self->limits.idle_ns);
	expect_status(&self->got[id / 2], GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(0, self->core.stats.open_calls);
}

/* But not while it is kept back; then for the rest of it. */
TEST_F(session, a_message_that_is_kept_back_is_not_late)
{
	uint32_t id = open_stream(self);
	const struct got *g = &self->got[id / 2];

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	passes(self, self->limits.idle_ns / 2);
	for (unsigned int i = 0; i < 3; i++) {
		h2_hold(self->h2, true, fake_now);
		passes(self, 2 * self->limits.idle_ns + 7);
		h2_hold(self->h2, false, fake_now);
		passes(self, self->limits.idle_ns / 8);
	}
	passes(self, self->limits.idle_ns / 8 - 1);
	EXPECT_FALSE(g->ended);
	passes(self, 1);
	expect_status(g, GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(0, self->core.stats.open_calls);
	EXPECT_TRUE(works(self));
}

/* However little was left, its timer fires seldom. */
TEST_F(session, kept_back_at_the_last_moment)
{
	uint32_t id = open_stream(self);
	const struct got *g = &self->got[id / 2];

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	passes(self, self->limits.idle_ns - 1);
	h2_hold(self->h2, true, fake_now);
	for (unsigned int i = 0; i < 60; i++) {
		passes(self, timeq_next(&self->timers) - fake_now);
		EXPECT_LE(fake_now + self->limits.idle_ns / 8, timeq_next(&self->timers));
	}
	EXPECT_FALSE(g->ended);
	h2_hold(self->h2, false, fake_now);
	passes(self, timeq_next(&self->timers) - fake_now);
	expect_status(g, GRPC_DEADLINE_EXCEEDED);
}

/* A peer that sees to it that something is always kept back keeps no call for ever. */
TEST_F(session, kept_back_without_end)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	uint32_t id = open_stream(self);
	struct got *g;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	ASSERT_OK(push(self));
	g = call_path(self, "/t.T/Now", "x", 1);
	h2_hold(self->h2, true, fake_now);
	passes(self, 9 * self->limits.idle_ns - 1);
	EXPECT_FALSE(self->got[id / 2].ended);
	EXPECT_NE(H2_CANCEL, g->rst);
	passes(self, self->limits.idle_ns / 8);
	expect_status(&self->got[id / 2], GRPC_DEADLINE_EXCEEDED);
	EXPECT_EQ(H2_CANCEL, g->rst);
}

/* The window for it may be what is kept back. */
TEST_F(session, an_answer_for_which_a_window_is_kept_back)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	struct got *g;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	g = call_path(self, "/t.T/Now", "x", 1);
	passes(self, self->limits.idle_ns / 2);
	h2_hold(self->h2, true, fake_now);
	passes(self, 5 * self->limits.idle_ns);
	h2_hold(self->h2, false, fake_now);
	passes(self, self->limits.idle_ns / 2 - 1);
	EXPECT_NE(H2_CANCEL, g->rst);
	passes(self, 1);
	EXPECT_EQ(H2_CANCEL, g->rst);
}

TEST_F(session, deadline_while_its_message_is_kept_back)
{
	uint32_t id = open_stream(self);
	const struct got *g = &self->got[id / 2];

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(.timeout = "3S"));
	ASSERT_OK(push(self));
	h2_hold(self->h2, true, fake_now);
	passes(self, 3 * SECOND - 1);
	EXPECT_FALSE(g->ended);
	passes(self, 1);
	expect_status(g, GRPC_DEADLINE_EXCEEDED);
}

TEST_F(session, reset_cancels)
{
	uint32_t id = self->next;

	call_path(self, "/t.T/Keep", "x", 1);
	h2f_head(&self->in, 4, H2F_RST_STREAM, 0, id);
	h2f_u32(&self->in, H2_CANCEL);
	ASSERT_OK(push(self));
	EXPECT_EQ(1, self->cancelled);
	EXPECT_EQ(1, self->core.stats.cancelled);
	EXPECT_EQ(0, self->core.stats.open_calls);
	EXPECT_TRUE(works(self));
}

TEST_F(session, lost_connection_cancels)
{
	for (unsigned int i = 0; i < 5; i++)
		call_path(self, "/t.T/Keep", "x", 1);
	grpc_call_reply(self->kept[2], SPAN_NULL);
	self->kept[2] = NULL;
	/* The teardown frees the session: four cancellations, counted there and here. */
	EXPECT_EQ(4, self->core.stats.open_calls);
}

TEST_F(session, answer_without_a_window_is_given_up)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };
	size_t used;
	struct got *g;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	ASSERT_OK(push(self));
	used = secpool_used(self->pool);
	g = call_path(self, "/t.T/Big", "x", 1);
	EXPECT_EQ(200, g->http);
	EXPECT_FALSE(g->ended);
	EXPECT_GT(secpool_used(self->pool), used);
	EXPECT_GT(h2_backlog(self->h2), 65536);
	passes(self, self->limits.idle_ns);
	EXPECT_EQ(H2_CANCEL, g->rst);
	EXPECT_EQ(used, secpool_used(self->pool));
	EXPECT_EQ(0, h2_backlog(self->h2));
}

TEST_F(session, answer_waits_for_the_window)
{
	static const uint8_t small_window[6] = { 0, 4, 0, 0, 0, 100 };
	struct got *g;

	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, small_window, sizeof(small_window));
	ASSERT_OK(push(self));
	g = call_path(self, "/t.T/Big", "x", 1);
	EXPECT_EQ(100, g->body.len);
	for (unsigned int i = 0; i < 10; i++) {
		h2f_head(&self->in, 4, H2F_WINDOW_UPDATE, 0, self->next - 2);
		h2f_u32(&self->in, 10000);
		ASSERT_OK(push(self));
	}
	/* What is left needs the connection's window too. */
	EXPECT_FALSE(g->ended);
	h2f_head(&self->in, 4, H2F_WINDOW_UPDATE, 0, 0);
	h2f_u32(&self->in, 10000);
	ASSERT_OK(push(self));
	expect_status(g, GRPC_OK);
	ASSERT_EQ(65541, g->body.len);
	for (size_t i = 0; i < 65536; i++)
		ASSERT_EQ((uint8_t)(i * 7), g->body.data[5 + i]);
}

TEST_F(session, answers_without_a_window_are_bounded)
{
	static const uint8_t no_window[6] = { 0, 4, 0, 0, 0, 0 };

	self->limits.send_queue_bytes = 40000;
	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, no_window, sizeof(no_window));
	for (unsigned int i = 0; i < 5; i++)
		EXPECT_FALSE(call_path(self, "/t.T/Big", "x", 1)->ended);
	expect_status(call_path(self, "/t.T/Big", "x", 1), GRPC_RESOURCE_EXHAUSTED);
	passes(self, self->limits.idle_ns);
	EXPECT_FALSE(call_path(self, "/t.T/Big", "x", 1)->ended);
}

/* Connection management. */

TEST_F(session, ping_is_acknowledged)
{
	h2f_frame(&self->in, H2F_PING, 0, 0, "12345678", 8);
	ASSERT_OK(push(self));
	EXPECT_EQ(1, self->acks);
}

TEST_F(session, goaway_in_two_steps)
{
	call_path(self, "/t.T/Keep", "x", 1);
	/* From here on the shadow would open no stream: count answers instead of reading them. */
	self->shadowless = true;
	ASSERT_OK(h2_shutdown(self->h2));
	drain(self);
	EXPECT_EQ(1, self->goaways);
	EXPECT_EQ(0x7fffffff, self->goaway_last);
	EXPECT_FALSE(h2_finished(self->h2));
	/* Sent before the peer saw the notice: still served. */
	call_path(self, "/t.T/Now", "x", 1);
	EXPECT_EQ(1, self->core.stats.replies);
	h2f_frame(&self->in, H2F_PING, H2F_ACK, 0, "shutdown", 8);
	ASSERT_OK(push(self));
	EXPECT_EQ(2, self->goaways);
	EXPECT_EQ(3, self->goaway_last);
	EXPECT_EQ(H2_NO_ERROR, self->goaway);
	EXPECT_FALSE(h2_finished(self->h2));
	grpc_call_reply(self->kept[0], span_str("in time"));
	EXPECT_FALSE(h2_finished(self->h2));
	drain(self);
	EXPECT_TRUE(h2_finished(self->h2));
}

TEST_F(session, goaway_of_an_idle_connection)
{
	ASSERT_OK(h2_shutdown(self->h2));
	drain(self);
	h2f_frame(&self->in, H2F_PING, H2F_ACK, 0, "shutdown", 8);
	ASSERT_OK(push(self));
	EXPECT_TRUE(h2_finished(self->h2));
}

TEST_F(session, not_http2)
{
	struct grpc_session_config config = { .service = &service,
					      .ctx = self,
					      .user = self->user };
	_cleanup_(grpc_session_freep) struct grpc_session *s = NULL;

	ASSERT_OK(grpc_session_new(&self->core, &config, &s));
	EXPECT_ERR(-EPROTO, h2_feed(grpc_session_h2(s), span_str("GET / HTTP/1.1\r\n\r\n"), 1));
}

TEST_F(session, broken_frames_end_the_connection)
{
	h2f_frame(&self->in, H2F_PING, 0, 0, "1234", 4);
	ASSERT_OK(push(self));
	EXPECT_EQ(6, self->goaway); /* FRAME_SIZE_ERROR */
	EXPECT_TRUE(h2_finished(self->h2));
}

TEST_F(session, broken_hpack_ends_the_connection)
{
	uint32_t id = open_stream(self);

	h2f_frame(&self->in, H2F_HEADERS, H2F_END_HEADERS, id, "\xff\xff\xff\xff\xff", 5);
	ASSERT_OK(push(self));
	EXPECT_EQ(9, self->goaway); /* COMPRESSION_ERROR */
	EXPECT_TRUE(h2_finished(self->h2));
}

TEST_F(session, flow_control_is_enforced)
{
	static uint8_t big[16384];
	uint32_t id = open_stream(self);

	h2f_call_headers(&self->in, id, 0, &H2F_CALL(0));
	/* Twice the stream's window in one go, as no honest peer would send it. */
	h2f_frame(&self->in, H2F_DATA, 0, id, "\0\0\1\0\0", 5);
	for (unsigned int i = 0; i < 200; i++)
		h2f_frame(&self->in, H2F_DATA, 0, id, big, sizeof(big));
	(void)push(self);
	EXPECT_EQ(0, self->served);
	EXPECT_LE(secpool_used(self->pool), 256U << 10);
}

/* What RFC 9113 says of frames that do not fit the state of a stream; kmod-notes/http2.md has the table. */

static void trailers_with(fix *f, const char *name, const char *value)
{
	_cleanup_(h2f_release) struct h2f_buf block = { 0 };
	uint32_t id = open_stream(f);

	h2f_call_headers(&f->in, id, 0, &H2F_CALL(0));
	h2f_message(&f->in, id, 0, "x", 1);
	h2f_field(&block, name, value);
	h2f_frame(&f->in, H2F_HEADERS, H2F_END_HEADERS | H2F_END_STREAM, id, block.data, block.len);
	ASSERT_OK(push(f));
	EXPECT_EQ(H2_PROTOCOL_ERROR, f->got[id / 2].rst);
}

/* §8.1: a message with them is malformed. */
TEST_F(session, pseudo_fields_in_trailers)
{
	trailers_with(self, ":method", "POST");
	trailers_with(self, ":status", "200");
	EXPECT_EQ(0, self->served);
	EXPECT_TRUE(works(self));
}

/* §8.1.1: more and fewer bytes than announced, in one frame and in several. */
TEST_F(session, content_length_that_does_not_match)
{
	static const char *const lengths[] = { "0", "5", "7", "8" };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct h2f_call c = { .name = "content-length", .value = lengths[i] };
		uint32_t id = open_stream(self);

		h2f_call_headers(&self->in, id, 0, &c);
		h2f_frame(&self->in, H2F_DATA, 0, id, "\0\0\0", 3);
		h2f_frame(&self->in, H2F_DATA, H2F_END_STREAM, id, "\0\1x", 3);
		ASSERT_OK(push(self));
		EXPECT_EQ(H2_PROTOCOL_ERROR, self->got[id / 2].rst);
	}
	EXPECT_EQ(0, self->served);
	EXPECT_TRUE(works(self));
}

/* §5.1: nothing but PRIORITY may come for a stream that nobody has opened. */
TEST_F(session, frames_of_an_idle_stream)
{
	static const enum h2f_type types[] = { H2F_DATA, H2F_RST_STREAM, H2F_WINDOW_UPDATE,
					       H2F_CONTINUATION };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct grpc_session_config config = { .service = &service,
							    .ctx = self,
							    .user = self->user };
		_cleanup_(grpc_session_freep) struct grpc_session *s = NULL;
		_cleanup_(h2f_release) struct h2f_buf b = { 0 };
		_cleanup_secbuf_ struct secbuf out = { 0 };

		ASSERT_OK(grpc_session_new(&self->core, &config, &s));
		h2f_hello(&b);
		h2f_frame(&b, types[i], 0, 9, "\0\0\0\1", 4);
		(void)h2_feed(grpc_session_h2(s), span_of(b.data, b.len), fake_now);
		ASSERT_OK(secpool_get(self->shadow_pool, H2_DRAIN_MIN, &out));
		(void)h2_drain(grpc_session_h2(s), &out);
		EXPECT_TRUE(h2_finished(grpc_session_h2(s)));
	}
}

/* §5.1.1: they are the client's, so odd. */
TEST_F(session, an_even_stream)
{
	h2f_call_headers(&self->in, 2, H2F_END_STREAM, &H2F_CALL(0));
	ASSERT_OK(push(self));
	EXPECT_EQ(H2_PROTOCOL_ERROR, self->goaway);
	EXPECT_TRUE(h2_finished(self->h2));
}

/* §6.3 */
TEST_F(session, priority_of_no_stream)
{
	h2f_frame(&self->in, H2F_PRIORITY, 0, 0, "\0\0\0\1\7", 5);
	(void)push(self);
	EXPECT_EQ(H2_PROTOCOL_ERROR, self->goaway);
	EXPECT_TRUE(h2_finished(self->h2));
}

/* §5.3.2: priorities are no more, whatever they say. */
TEST_F(session, priority_is_ignored)
{
	uint32_t id = self->next;

	h2f_frame(&self->in, H2F_PRIORITY, 0, id, "\0\0\0\1\7", 5);
	h2f_frame(&self->in, H2F_PRIORITY, 0, 101, "\0\0\0\145\7", 5);
	ASSERT_OK(push(self));
	EXPECT_EQ(-1, self->goaway);
	EXPECT_TRUE(works(self));
}

/*
 * §5.1: what comes for a stream that is over was on its way, or is a fault; nobody is served by it, and the
 * connection's window is given back.
 */
TEST_F(session, frames_of_a_closed_stream)
{
	static uint8_t big[16384];
	uint32_t id = self->next;

	call_path(self, "/t.T/Now", "x", 1);
	self->shadowless = true;
	for (unsigned int i = 0; i < 100; i++) {
		h2f_frame(&self->in, H2F_DATA, 0, id, big, sizeof(big));
		ASSERT_OK(push(self));
	}
	h2f_call_headers(&self->in, id, H2F_END_STREAM, &H2F_CALL(0));
	h2f_head(&self->in, 4, H2F_WINDOW_UPDATE, 0, id);
	h2f_u32(&self->in, 1);
	h2f_head(&self->in, 4, H2F_RST_STREAM, 0, id);
	h2f_u32(&self->in, H2_CANCEL);
	(void)push(self);
	EXPECT_EQ(1, self->served);
	EXPECT_EQ(-1, self->goaway);
	EXPECT_LT(1 << 20, self->window);
}

/* §5.1.1: a stream id below the last one is no new stream. */
TEST_F(session, a_stream_below_the_last)
{
	self->shadowless = true;
	self->next = 5;
	call_path(self, "/t.T/Now", "x", 1);
	h2f_call_headers(&self->in, 3, H2F_END_STREAM, &H2F_CALL(0));
	(void)push(self);
	EXPECT_EQ(1, self->served);
	EXPECT_EQ(0, self->core.stats.open_calls);
	EXPECT_EQ(-1, self->goaway);
}

/* Floods: the connection ends, with bounded work and memory. */

static int flood(fix *f, const struct h2f_buf *unit, unsigned int times)
{
	int r = 0;

	for (unsigned int i = 0; i < times && r == 0; i++) {
		r = h2_feed(f->h2, span_of(unit->data, unit->len), fake_now);
		if (h2_finished(f->h2))
			return -EPROTO;
	}
	return r;
}

TEST_F(session, ping_flood_of_a_peer_that_does_not_read)
{
	_cleanup_(h2f_release) struct h2f_buf unit = { 0 };

	h2f_frame(&unit, H2F_PING, 0, 0, "12345678", 8);
	EXPECT_ERR(-EPROTO, flood(self, &unit, 100000));
	EXPECT_LE(h2_backlog(self->h2), 256U << 10);
}

TEST_F(session, settings_flood)
{
	_cleanup_(h2f_release) struct h2f_buf unit = { 0 };

	h2f_frame(&unit, H2F_SETTINGS, 0, 0, NULL, 0);
	EXPECT_ERR(-EPROTO, flood(self, &unit, 100000));
}

/* Refused calls fill no budget up again; those that are served do. */
TEST_F(session, settings_flood_beside_refused_calls)
{
	unsigned int n = 0;
	int r = 0;

	self->shadowless = true;
	for (; n < 2000 && r == 0; n++) {
		for (unsigned int i = 0; i < 3; i++, self->next += 2)
			h2f_call_headers(&self->in, self->next, H2F_END_STREAM,
					 &H2F_CALL(.content_type = "text/plain"));
		h2f_frame(&self->in, H2F_SETTINGS, 0, 0, NULL, 0);
		r = push(self);
	}
	EXPECT_ERR(-EPROTO, r);
	EXPECT_GE(260, n);
	EXPECT_EQ(H2_ENHANCE_YOUR_CALM, self->goaway);
	EXPECT_EQ(1, self->core.stats.refusals[REFUSAL_FRAMES]);
}

TEST_F(session, pings_of_a_busy_client_are_fine)
{
	self->shadowless = true;
	for (unsigned int n = 0; n < 4000; n++, self->next += 2) {
		h2f_call_headers(&self->in, self->next, 0, &H2F_CALL(0));
		h2f_message(&self->in, self->next, H2F_END_STREAM, "x", 1);
		h2f_frame(&self->in, H2F_PING, 0, 0, "12345678", 8);
		ASSERT_OK(push(self));
	}
	EXPECT_EQ(4000, self->core.stats.replies);
}

TEST_F(session, settings_with_a_hundred_entries)
{
	uint8_t entries[600];

	for (size_t i = 0; i < 100; i++)
		memcpy(entries + 6 * i, "\0\4\0\0\377\377", 6);
	h2f_frame(&self->in, H2F_SETTINGS, 0, 0, entries, sizeof(entries));
	(void)push(self);
	EXPECT_TRUE(self->goaway > 0 || h2_feed(self->h2, SPAN_NULL, fake_now) < 0);
}

TEST_F(session, continuation_flood)
{
	uint32_t id = open_stream(self);
	int r;

	h2f_frame(&self->in, H2F_HEADERS, 0, id, NULL, 0);
	for (unsigned int i = 0; i < 1000; i++)
		h2f_frame(&self->in, H2F_CONTINUATION, 0, id, NULL, 0);
	r = push(self);
	EXPECT_TRUE(r < 0 || h2_finished(self->h2));
}

TEST_F(session, rapid_reset)
{
	int r = 0;

	self->shadowless = true;
	for (uint32_t id = 1; id < 2 * 13000 && r == 0; id += 2) {
		h2f_call_headers(&self->in, id, H2F_END_STREAM, &H2F_CALL(.path = "/t.T/Now"));
		h2f_head(&self->in, 4, H2F_RST_STREAM, 0, id);
		h2f_u32(&self->in, H2_CANCEL);
		r = push(self);
	}
	EXPECT_ERR(-EPROTO, r);
	EXPECT_EQ(0, self->core.stats.open_calls);
}

/* Steady state. */

TEST_F(session, a_thousand_calls_allocate_nothing)
{
	uint64_t fresh = 0;

	self->shadowless = true;
	for (unsigned int i = 0; i < 1000; i++) {
		uint32_t id = open_stream(self);

		h2f_call_headers(&self->in, id, 0, &H2F_CALL(.timeout = "3S"));
		h2f_message(&self->in, id, H2F_END_STREAM, "0123456789abcdef", 16);
		ASSERT_OK(push(self));
		if (i == 100)
			fresh = h2mem_fresh(self->core.mem);
	}
	EXPECT_EQ(1000, self->core.stats.replies);
	EXPECT_EQ(fresh, h2mem_fresh(self->core.mem));
}

TEST_HARNESS_MAIN
