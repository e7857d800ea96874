/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekd.v1.Transform: its messages, which item a resource belongs to, and the service over a real
 * socket with many values in a call. Server and client share one thread and one ring.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/crypto/openssl_dek.h"
#include "daemon/kms/transform.h"
#include "daemon/wire/client.h"
#include "tests/harness/ktest.h"
#include "tests/support/chain_bed.h"
#include "tests/support/listen.h"

FIXTURE(messages)
{
	struct secpool *pool;
	struct secbuf out;
};

FIXTURE_SETUP(messages)
{
	ASSERT_OK(secpool_new(8 << 20, &self->pool));
	ASSERT_OK(secpool_get(self->pool, 64, &self->out));
}

FIXTURE_TEARDOWN(messages)
{
	secbuf_release(&self->out);
	secpool_free(self->pool);
}

static struct span out_of(const struct secbuf *b)
{
	return span_of(b->data, b->len);
}

TEST_F(messages, request)
{
	const struct transform_value in[] = {
		{ span_str("/registry/a"), span_str("one") },
		{ span_str("/registry/b"), SPAN_NULL },
		{ SPAN_NULL, SPAN_NULL },
	};
	struct transform_value seen[3];
	struct span resource;
	size_t n;

	ASSERT_OK(pb_transform_request_encode(span_str("secrets"), in, 3, &self->out));
	ASSERT_OK(pb_transform_request_decode(out_of(&self->out), &resource, seen, 3, &n));
	EXPECT_EQ(3U, n);
	EXPECT_TRUE(span_equal(span_str("secrets"), resource));
	for (size_t i = 0; i < 3; i++) {
		EXPECT_TRUE(span_equal(in[i].path, seen[i].path));
		EXPECT_TRUE(span_equal(in[i].value, seen[i].value));
	}
	EXPECT_ERR(-E2BIG, pb_transform_request_decode(out_of(&self->out), &resource, seen, 2, &n));
}

/* What protoc and any other implementation write: field numbers and wire types are the contract. */
TEST_F(messages, request_bytes)
{
	static const uint8_t expected[] = "\x0a\x01s\x12\x07\x0a\x02/a\x12\x01x";
	const struct transform_value in = { span_str("/a"), span_str("x") };

	ASSERT_OK(pb_transform_request_encode(span_str("s"), &in, 1, &self->out));
	EXPECT_MEMEQ(expected, sizeof(expected) - 1, self->out.data, self->out.len);
}

TEST_F(messages, response)
{
	const struct transform_result in[] = {
		{ .value = span_str("plain"),
		  .stale = true,
		  .provider = span_str("aescbc"),
		  .key_id = span_str("00.1") },
		{ .code = GRPC_DATA_LOSS, .message = span_str("altered") },
	};
	struct transform_result seen[2];
	size_t n;

	ASSERT_OK(pb_transform_response_encode(in, 2, &self->out));
	ASSERT_OK(pb_transform_response_decode(out_of(&self->out), seen, 2, &n));
	ASSERT_EQ(2U, n);
	EXPECT_TRUE(span_equal(in[0].value, seen[0].value));
	EXPECT_TRUE(seen[0].stale);
	EXPECT_TRUE(span_equal(in[0].provider, seen[0].provider));
	EXPECT_TRUE(span_equal(in[0].key_id, seen[0].key_id));
	EXPECT_EQ(GRPC_DATA_LOSS, seen[1].code);
	EXPECT_FALSE(seen[1].stale);
	EXPECT_TRUE(span_equal(in[1].message, seen[1].message));
}

TEST_F(messages, not_protobuf)
{
	struct transform_value seen[1];
	struct span resource;
	size_t n;

	/* A length beyond the end, outside and inside a value; a wrong wire type. */
	EXPECT_ERR(-EINVAL,
		   pb_transform_request_decode(span_str("\x0a\x7fs"), &resource, seen, 1, &n));
	EXPECT_ERR(-EINVAL, pb_transform_request_decode(span_str("\x12\x02\x0a\x7f"), &resource,
							seen, 1, &n));
	EXPECT_ERR(-EINVAL,
		   pb_transform_request_decode(span_str("\x10\x01"), &resource, seen, 1, &n));
	/* As fixed64: no pointer may come out of it. */
	EXPECT_ERR(-EINVAL,
		   pb_transform_request_decode(span_str("\x09pppppppp"), &resource, seen, 1, &n));
	EXPECT_ERR(-EINVAL, pb_transform_request_decode(span_str("\x11\x0a\x06pppppp"), &resource,
							seen, 1, &n));
}

static struct encconf_resource resource(const char *name)
{
	return (struct encconf_resource){ .name = (char *)(uintptr_t)name };
}

TEST(finds_the_item_of_a_resource)
{
	struct encconf_resource first[] = { resource("secrets"), resource("deployments.apps") };
	struct encconf_resource second[] = { resource("*.apps"), resource("*.") };
	struct encconf_resource third[] = { resource("*.*") };
	const struct encconf_item conf[] = {
		{ .resources = first, .resources_count = 2 },
		{ .resources = second, .resources_count = 2 },
		{ .resources = third, .resources_count = 1 },
	};
	const struct transform_item items[] = { { &conf[0], NULL },
						{ &conf[1], NULL },
						{ &conf[2], NULL } };
	static const struct {
		const char *name;
		size_t item;
	} cases[] = {
		{ "secrets", 0 },    { "deployments.apps", 0 },           { "replicasets.apps", 1 },
		{ "configmaps", 1 }, { "leases.coordination.k8s.io", 2 }, { "x.apps.example", 2 },
	};
	size_t i;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		ASSERT_OK(transform_find(items, 3, span_str(cases[c].name), &i));
		EXPECT_EQ(cases[c].item, i);
	}
	EXPECT_ERR(-ENOENT, transform_find(items, 2, span_str("leases.coordination.k8s.io"), &i));
	EXPECT_ERR(-ENOENT, transform_find(items, 2, SPAN_NULL, &i));
	ASSERT_OK(transform_find(items, 1, SPAN_NULL, &i));
	EXPECT_EQ(0U, i);
}

#define YAML                                         \
	"apiVersion: apiserver.config.k8s.io/v1\n"   \
	"kind: EncryptionConfiguration\n"            \
	"resources:\n"                               \
	"- resources: [secrets]\n"                   \
	"  providers:\n"                             \
	"  - aesgcm: { keys: [ { name: a } ] }\n"    \
	"  - secretbox: { keys: [ { name: s } ] }\n" \
	"  - aescbc: { keys: [ { name: a } ] }\n"
#define MANY        1000
#define CROWD       20
#define FROM        "/kekd.v1.Transform/FromStorage"
#define VERIFY      "/kekd.v1.Transform/Verify"
#define TO          "/kekd.v1.Transform/ToStorage"
#define SERVICE_MAX (64U << 20)

static const uint8_t key[32] = "0123456789abcdef0123456789abcde";

FIXTURE(service)
{
	struct chain_bed bed;
	struct ring *ring;
	struct secpool *pool, *client_pool;
	struct grpc_limits limits;
	struct grpc_peers peers;
	uid_t uid;
	struct transform_service *service;
	struct grpc_server *server;
	struct grpc_client *client;
	char dir[40], path[64];
	/* The last call. */
	bool done;
	unsigned int events;
	struct {
		const char *method;
		char path[64], resource[64];
		int r;
	} event; /* the last of them */
	enum grpc_status status;
	struct secbuf answer;
	struct transform_value values[TRANSFORM_VALUES_MAX + 1];
	struct transform_result results[TRANSFORM_VALUES_MAX + 1];
	size_t n_results;
};

FIXTURE_VARIANT(service)
{
	enum bed_backend backend;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(service, openssl) { BED_OPENSSL };
FIXTURE_VARIANT_ADD(service, fake) { BED_FAKE };
/* clang-format on */

typedef struct ktest_data_of_service fix;

static void client_open(fix *f)
{
	const struct grpc_client_config config = {
		.ring = f->ring,
		.pool = f->client_pool,
		.path = f->path,
		.message_bytes = TRANSFORM_MESSAGE_BYTES,
		.calls = CROWD,
		.idle_ns = grpc_limits_default.idle_ns,
	};

	ASSERT_OK(grpc_client_new(&config, &f->client));
}

static int on_event(void *ctx, const struct kms_event *e)
{
	fix *f = ctx;

	f->events++;
	f->event.method = e->method;
	f->event.r = e->r;
	snprintf(f->event.path, sizeof(f->event.path), "%.*s", (int)e->path.len,
		 (const char *)e->path.data);
	snprintf(f->event.resource, sizeof(f->event.resource), "%.*s", (int)e->resource.len,
		 (const char *)e->resource.data);
	return 0;
}

static void keys_put(fix *f)
{
	const struct chain_bed_key aes = { "a", "a", key, 32, false, KEY_ACTIVE };
	const struct chain_bed_key box = { "s", "s", key, 32, true, KEY_ACTIVE };

	ASSERT_LE(0, chain_bed_key(&f->bed, &aes));
	ASSERT_LE(0, chain_bed_key(&f->bed, &box));
}

FIXTURE_SETUP(service)
{
	struct transform_item item;

	ASSERT_OK(chain_bed_open(&self->bed, variant->backend, YAML, false));
	keys_put(self);
	ASSERT_OK(ring_new(RING_EPOLL, 64, &self->ring));
	ASSERT_OK(secpool_new(SERVICE_MAX, &self->pool));
	ASSERT_OK(secpool_new(SERVICE_MAX, &self->client_pool));
	strcpy(self->dir, "/tmp/kekd-transform-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(self->dir));
	snprintf(self->path, sizeof(self->path), "%s/s", self->dir);
	self->limits = grpc_limits_default;
	self->limits.message_bytes = TRANSFORM_MESSAGE_BYTES;
	self->limits.calls = 16 * TRANSFORM_VALUES_MAX;
	self->uid = geteuid();
	self->peers = (struct grpc_peers){ .uids = &self->uid, .n_uids = 1 };
	item = (struct transform_item){ &self->bed.conf->items[0], self->bed.chain };
	ASSERT_OK(transform_service_new(&item, 1, on_event, self, &self->service));
	ASSERT_OK(grpc_server_new(self->ring, self->pool, &self->limits, &self->server));
	ASSERT_OK(grpc_server_listen(self->server, listen_at(self->path), &transform_grpc_service,
				     &self->peers, self->service));
	client_open(self);
}

/* One turn of the server's loop, and of the client's. Cipher runs of a fake are answered or held. */
static void turn(fix *f, bool answer)
{
	bool more = defer_run(&f->bed.defer);

	if (answer)
		ASSERT_LT(0, bed_run(&f->bed.bed));
	else
		bed_flush(&f->bed.bed);
	more |= !list_empty(&f->bed.defer.ops);
	grpc_server_flush(f->server);
	grpc_client_flush(f->client);
	ASSERT_OK(ring_turn(f->ring, more || transform_service_busy(f->service) > 0));
}

FIXTURE_TEARDOWN(service)
{
	secbuf_release(&self->answer);
	grpc_client_stop(self->client);
	while (!grpc_client_idle(self->client))
		turn(self, true);
	grpc_server_abort(self->server);
	while (!grpc_server_drained(self->server))
		turn(self, true);
	EXPECT_EQ(0U, transform_service_busy(self->service));
	grpc_client_free(self->client);
	grpc_server_free(self->server);
	transform_service_free(self->service);
	EXPECT_EQ(0U, secpool_used(self->pool));
	secpool_free(self->pool);
	secpool_free(self->client_pool);
	ring_free(self->ring);
	chain_bed_close(&self->bed);
	unlink(self->path);
	rmdir(self->dir);
}

static void on_done(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	fix *f = ctx;

	(void)text;
	f->done = true;
	f->status = status;
	f->answer = secbuf_move(msg);
}

static enum grpc_status call_bytes(fix *f, const char *method, struct span msg)
{
	secbuf_release(&f->answer);
	f->done = false;
	ASSERT_OK(grpc_client_call(f->client, method, msg, 0, 0, on_done, f, NULL));
	while (!f->done)
		turn(f, true);
	return f->status;
}

/* The first @n of f->values; the answer to f->results, which point into f->answer. */
static enum grpc_status call(fix *f, const char *method, const char *resource, size_t n)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	enum grpc_status status;

	ASSERT_OK(secpool_get(f->client_pool, TRANSFORM_MESSAGE_BYTES + 1024, &msg));
	ASSERT_OK(pb_transform_request_encode(span_str(resource), f->values, n, &msg));
	status = call_bytes(f, method, out_of(&msg));
	if (status == GRPC_OK)
		EXPECT_OK(pb_transform_response_decode(out_of(&f->answer), f->results,
						       ARRAY_SIZE(f->results), &f->n_results));
	return status;
}

/* A thousand values out and back, each in its place and under its own path. */
TEST_F(service, many_values)
{
	static char paths[MANY][32], plain[MANY][16];
	struct secbuf stored;

	for (size_t i = 0; i < MANY; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/registry/secrets/%zu", i);
		snprintf(plain[i], sizeof(plain[i]), "value %zu", i);
		self->values[i] =
			(struct transform_value){ span_str(paths[i]), span_str(plain[i]) };
	}
	ASSERT_EQ(GRPC_OK, call(self, TO, "secrets", MANY));
	ASSERT_EQ((size_t)MANY, self->n_results);
	for (size_t i = 0; i < MANY; i++) {
		EXPECT_EQ(GRPC_OK, self->results[i].code);
		self->values[i].value = self->results[i].value;
	}
	stored = secbuf_move(&self->answer); /* the values point into it */
	ASSERT_EQ(GRPC_OK, call(self, FROM, "", MANY));
	ASSERT_EQ((size_t)MANY, self->n_results);
	for (size_t i = 0; i < MANY; i++) {
		EXPECT_TRUE(span_equal(span_str(plain[i]), self->results[i].value));
		EXPECT_FALSE(self->results[i].stale);
	}
	secbuf_release(&stored);
}

/* Each value fails by itself, with a code of its own; the call and the others are good. */
/* The linker leads the service's question here (--wrap): each answer is larger than the one before. */
size_t __real_chain_overhead(const struct chain *chain);
size_t __wrap_chain_overhead(const struct chain *chain);
static size_t asked, growing;

size_t __wrap_chain_overhead(const struct chain *chain)
{
	asked++;
	return __real_chain_overhead(chain) + asked * growing;
}

/*
 * A kms chain's growth changes with time: a seed that runs out makes it larger. The buffer for all
 * results and the places in it come from one answer, or the last results lie beyond its end.
 */
TEST_F(service, growth_is_asked_for_once)
{
	char plain[64] = { 0 };

	growing = 20000;
	for (size_t i = 0; i < MANY; i++)
		self->values[i] = (struct transform_value){ span_str("/registry/secrets/a"),
							    span_of(plain, sizeof(plain)) };
	ASSERT_EQ(GRPC_OK, call(self, TO, "secrets", 100));
	EXPECT_EQ(1U, asked);
	ASSERT_EQ((size_t)100, self->n_results);
	for (size_t i = 0; i < 100; i++)
		EXPECT_EQ(GRPC_OK, self->results[i].code);
}

TEST_F(service, bad_values_among_good)
{
	static const struct {
		const char *stored;
		enum grpc_status code;
	} bad[] = {
		{ "k8s:enc:aesgcm:v1:a:", GRPC_INVALID_ARGUMENT },
		{ "k8s:enc:aesgcm:v1:a:0123456789ab0123456789abcdef", GRPC_DATA_LOSS },
		{ "k8s:enc:aescbc:v1:a:0123456789abcdef0123456789abcdef", GRPC_DATA_LOSS },
		{ "k8s:enc:aescbc:v1:a:0123456789abcdef012345678", GRPC_INVALID_ARGUMENT },
		{ "k8s:enc:secretbox:v1:s:0123456789abcdef01234567tag tag tag tag .",
		  GRPC_DATA_LOSS },
		{ "k8s:enc:secretbox:v1:t:", GRPC_FAILED_PRECONDITION },
		{ "k8s:enc:kms:v2:x:y", GRPC_INVALID_ARGUMENT },
		{ "plain", GRPC_INVALID_ARGUMENT },
		{ "", GRPC_INVALID_ARGUMENT },
	};
	const size_t n = ARRAY_SIZE(bad);
	struct secbuf stored;

	self->values[0] = (struct transform_value){ span_str("/p"), span_str("good") };
	ASSERT_EQ(GRPC_OK, call(self, TO, "", 1));
	stored = secbuf_move(&self->answer);
	for (size_t i = 0; i < n; i++)
		self->values[i] =
			(struct transform_value){ span_str("/p"), span_str(bad[i].stored) };
	self->values[n] = (struct transform_value){ span_str("/p"), self->results[0].value };
	self->values[n + 1] = (struct transform_value){ SPAN_NULL, self->results[0].value };
	ASSERT_EQ(GRPC_OK, call(self, FROM, "", n + 2));
	for (size_t i = 0; i < n; i++) {
		EXPECT_EQ((int)bad[i].code, self->results[i].code);
		EXPECT_EQ(0U, self->results[i].value.len);
		EXPECT_NE(0U, self->results[i].message.len);
	}
	EXPECT_EQ(GRPC_OK, self->results[n].code);
	EXPECT_TRUE(span_equal(span_str("good"), self->results[n].value));
	EXPECT_TRUE(span_equal(span_str("aesgcm"), self->results[n].provider));
	EXPECT_EQ(GRPC_INVALID_ARGUMENT, self->results[n + 1].code); /* no path */
	secbuf_release(&stored);
}

/* It opens or it does not; what is in it does not come back. */
TEST_F(service, verify_sends_no_plaintext)
{
	struct secbuf stored;
	uint8_t altered[128];

	self->values[0] = (struct transform_value){ span_str("/p"), span_str("a plaintext") };
	ASSERT_EQ(GRPC_OK, call(self, TO, "", 1));
	stored = secbuf_move(&self->answer);
	ASSERT_LE(self->results[0].value.len, sizeof(altered));
	memcpy(altered, self->results[0].value.data, self->results[0].value.len);
	altered[self->results[0].value.len - 1] ^= 1;
	self->values[0].value = self->results[0].value;
	self->values[1] = (struct transform_value){ span_str("/p"),
						    span_of(altered, self->results[0].value.len) };
	ASSERT_EQ(GRPC_OK, call(self, VERIFY, "", 2));
	EXPECT_EQ(GRPC_OK, self->results[0].code);
	EXPECT_EQ(0U, self->results[0].value.len);
	EXPECT_FALSE(self->results[0].stale);
	EXPECT_EQ(GRPC_DATA_LOSS, self->results[1].code);
	EXPECT_NULL(memmem(self->answer.data, self->answer.len, "a plaintext", 11));
	secbuf_release(&stored);
}

/* Without an item for a resource only envelopes of kekd's own could be opened. */
TEST_F(service, no_item_for_the_resource)
{
	self->values[0] =
		(struct transform_value){ span_str("/p"), span_str("k8s:enc:aesgcm:v1:a:x") };
	ASSERT_EQ(GRPC_OK, call(self, FROM, "leases", 1));
	EXPECT_EQ(GRPC_INVALID_ARGUMENT, self->results[0].code);
	EXPECT_TRUE(span_starts_with(self->results[0].message, span_str("no item")));
}

TEST_F(service, bad_requests)
{
	memset(self->values, 0, sizeof(self->values));
	EXPECT_EQ(GRPC_INVALID_ARGUMENT, call(self, TO, "", TRANSFORM_VALUES_MAX + 1));
	EXPECT_EQ(GRPC_INVALID_ARGUMENT, call(self, TO, "leases", 1));
	EXPECT_EQ(GRPC_INVALID_ARGUMENT, call_bytes(self, TO, span_str("\x0a\x7fs")));
	EXPECT_EQ(GRPC_UNIMPLEMENTED, call(self, "/kekd.v1.Transform/Other", "", 1));
	EXPECT_EQ(GRPC_OK, call(self, TO, "", 0));
	EXPECT_EQ(0U, self->n_results);
	EXPECT_EQ(GRPC_OK, call(self, TO, "", TRANSFORM_VALUES_MAX));
	EXPECT_EQ((size_t)TRANSFORM_VALUES_MAX, self->n_results);
}

/* Every call leaves something for the audit: what was read, or why it was refused. */
TEST_F(service, events)
{
	memset(self->values, 0, sizeof(self->values));
	call(self, FROM, "", TRANSFORM_VALUES_MAX + 1);
	EXPECT_EQ(1, self->events);
	EXPECT_ERR(-E2BIG, self->event.r);
	EXPECT_STREQ("transform.FromStorage", self->event.method);
	call(self, TO, "leases", 1);
	EXPECT_EQ(2, self->events);
	EXPECT_ERR(-ENOENT, self->event.r);
	EXPECT_STREQ("leases", self->event.resource);
	call_bytes(self, TO, span_str("\x0a\x7fs"));
	EXPECT_EQ(3, self->events);
	EXPECT_ERR(-EINVAL, self->event.r);
	call(self, "/kekd.v1.Transform/Other", "", 1);
	EXPECT_EQ(4, self->events);
	EXPECT_ERR(-EOPNOTSUPP, self->event.r);
	EXPECT_STREQ("unknown method", self->event.method);
	self->values[0] = (struct transform_value){ span_str("/registry/x"), span_str("value") };
	ASSERT_EQ(GRPC_OK, call(self, TO, "secrets", 1));
	EXPECT_EQ(5, self->events);
	EXPECT_EQ(0, self->event.r);
	EXPECT_STREQ("/registry/x", self->event.path);
	EXPECT_STREQ("secrets", self->event.resource);
}

TEST_F(service, largest_values)
{
	uint8_t *big = malloc(KEKD_VALUE_MAX + 1);

	ASSERT_NOT_NULL(big);
	memset(big, 'x', KEKD_VALUE_MAX + 1);
	self->values[0] = (struct transform_value){ span_str("/p"), span_of(big, KEKD_VALUE_MAX) };
	self->values[1] = (struct transform_value){ span_str("/p"), span_of(big, 16) };
	ASSERT_EQ(GRPC_OK, call(self, TO, "", 2));
	EXPECT_EQ(GRPC_OK, self->results[0].code);
	EXPECT_EQ(GRPC_OK, self->results[1].code);
	self->values[0].value.len++;
	ASSERT_EQ(GRPC_OK, call(self, TO, "", 2));
	EXPECT_EQ(GRPC_RESOURCE_EXHAUSTED, self->results[0].code);
	EXPECT_EQ(GRPC_OK, self->results[1].code);
	free(big);
}

/* The client goes away while the cipher has its values: they end, unanswered, and nothing is lost. */
TEST_F(service, client_gives_up)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	struct grpc_client_call *open;

	if (variant->backend != BED_FAKE)
		SKIP("only a fake holds its answers back");
	for (size_t i = 0; i < 8; i++)
		self->values[i] = (struct transform_value){ span_str("/p"), span_str("value") };
	ASSERT_OK(secpool_get(self->client_pool, 4096, &msg));
	ASSERT_OK(pb_transform_request_encode(SPAN_NULL, self->values, 8, &msg));
	ASSERT_OK(grpc_client_call(self->client, TO, out_of(&msg), 0, 0, on_done, self, &open));
	while (transform_service_busy(self->service) == 0)
		turn(self, false);
	grpc_client_cancel(open);
	for (struct grpc_stats stats = { 0 }; stats.cancelled == 0;) {
		turn(self, false);
		grpc_server_stats(self->server, &stats);
	}
	EXPECT_EQ(1U, transform_service_busy(self->service));
	while (transform_service_busy(self->service) > 0)
		turn(self, true);
	EXPECT_FALSE(self->done);
	EXPECT_EQ(GRPC_OK, call(self, TO, "", 8));
}

/* What an apiserver has stored at "/p" with kekd as its KMS v1 plugin. Returns its length. */
static size_t own_value(fix *f, uint8_t *out)
{
	static const uint8_t dek[32] = "a data key of the apiserver's ow";
	static const char prefix[] = "k8s:enc:kms:v1:name:";
	size_t n = strlen(prefix);
	struct span edek;

	ASSERT_OK(chain_bed_seal(&f->bed, OP_KMS_V1, span_of(dek, sizeof(dek))));
	edek = chain_bed_output(&f->bed);
	memcpy(out, prefix, n);
	out[n++] = (uint8_t)(edek.len >> 8);
	out[n++] = (uint8_t)edek.len;
	memcpy(out + n, edek.data, edek.len);
	n += edek.len;
	memset(out + n, 7, KEKD_GCM_NONCE);
	ASSERT_OK(openssl_dek_seal(span_of(dek, sizeof(dek)), out + n, span_str("/p"),
				   span_str("plain"), out + n + KEKD_GCM_NONCE));
	return n + KEKD_GCM_NONCE + strlen("plain") + KEKD_GCM_TAG;
}

/*
 * The client goes away when one value has been opened and another has not. What the first needed is in
 * other hands by then, with whatever bytes those put there.
 */
TEST_F(service, gives_up_after_a_value_of_its_own_was_opened)
{
	static const size_t sizes[] = { 256, 1024, 4096 };
	const size_t large = 600 * 1024;
	_cleanup_secbuf_ struct secbuf msg = { 0 }, stored = { 0 };
	struct secbuf taken[3][8] = { 0 };
	struct grpc_client_call *open;
	uint8_t value[1024], *big;

	if (variant->backend != BED_FAKE)
		SKIP("only a fake holds its answers back");
	big = calloc(1, large);
	ASSERT_NOT_NULL(big);
	self->values[0] = (struct transform_value){ span_str("/p"), span_str("small") };
	self->values[1] = (struct transform_value){ span_str("/p"), span_of(big, large) };
	ASSERT_EQ(GRPC_OK, call(self, TO, "", 2));
	stored = secbuf_move(&self->answer);
	self->values[1].value = self->results[1].value;
	self->values[0] =
		(struct transform_value){ span_str("/p"), span_of(value, own_value(self, value)) };
	ASSERT_OK(secpool_get(self->client_pool, TRANSFORM_MESSAGE_BYTES, &msg));
	ASSERT_OK(pb_transform_request_encode(SPAN_NULL, self->values, 2, &msg));
	ASSERT_OK(grpc_client_call(self->client, FROM, out_of(&msg), 0, 0, on_done, self, &open));
	while (transform_service_busy(self->service) == 0)
		turn(self, false);
	/* One run: all of the first value's data key, a part of the second. */
	turn(self, false);
	ASSERT_TRUE(fake_block_finish(self->bed.bed.fakes[0]));
	turn(self, false);
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 8; j++) {
			ASSERT_OK(secpool_get(self->pool, sizes[i], &taken[i][j]));
			memset(taken[i][j].data, 0x5a, taken[i][j].cap);
		}
	grpc_client_cancel(open);
	for (struct grpc_stats stats = { 0 }; stats.cancelled == 0;) {
		turn(self, false);
		grpc_server_stats(self->server, &stats);
	}
	EXPECT_EQ(1U, transform_service_busy(self->service));
	while (transform_service_busy(self->service) > 0)
		turn(self, true);
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 8; j++)
			secbuf_release(&taken[i][j]);
	free(big);
}

static void on_crowd(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	unsigned int *ended = ctx;

	(void)text;
	(void)msg; /* released by the client */
	ended[status == GRPC_OK]++;
}

/* However much bulk work is under way, the engine has room for what a KMS socket brings. */
TEST_F(service, leaves_room_for_others)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	unsigned int ended[2] = { 0 };

	if (variant->backend != BED_FAKE)
		SKIP("only a fake holds its answers back");
	for (size_t i = 0; i < TRANSFORM_VALUES_MAX; i++)
		self->values[i] = (struct transform_value){ span_str("/p"), span_str("value") };
	ASSERT_OK(secpool_get(self->client_pool, TRANSFORM_MESSAGE_BYTES, &msg));
	ASSERT_OK(pb_transform_request_encode(SPAN_NULL, self->values, TRANSFORM_VALUES_MAX, &msg));
	for (size_t i = 0; i < CROWD; i++)
		ASSERT_OK(grpc_client_call(self->client, TO, out_of(&msg), 0, 0, on_crowd, ended,
					   NULL));
	while (transform_service_busy(self->service) + ended[0] + ended[1] < CROWD)
		turn(self, false);
	EXPECT_OK(chain_bed_seal(&self->bed, OP_KMS_V2, span_str("a seed")));
	while (ended[0] + ended[1] < CROWD)
		turn(self, true);
	EXPECT_LE(1U, ended[1]);
	ASSERT_EQ(GRPC_OK, call(self, TO, "", TRANSFORM_VALUES_MAX));
}

TEST_HARNESS_MAIN
