/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fairness between connections that share a key: how long a call waits that comes behind thousands of
 * messages, or the largest values, of another connection. Over the whole way, sockets, gRPC, Transform,
 * chain and engine, with a cipher that takes one run at a time and answers one a turn. Waiting is
 * counted in runs and turns, never in time.
 *
 * The bound: the run that is in flight, and then, for each piece of the message, the runs that hold a
 * share of every message before it in its queue. A queue has half of a run while the other one has
 * messages; small messages have one, large ones the other (daemon/crypto/engine_impl.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/kms/transform.h"
#include "daemon/wire/client.h"
#include "tests/harness/ktest.h"
#include "tests/support/chain_bed.h"

#define POOL_BYTES (128U << 20)
#define CALLS      1000 /* of a flood */
#define MANY       (5U * TRANSFORM_VALUES_MAX)
#define SMALL      32U  /* bytes of a value */
#define LARGE      512U /* that has more than LANE_SMALL_BLOCKS */
#define LARGEST    (1532 * 1024)
#define RUN        KEKD_RUN_BLOCKS_MAX
#define HALF       (RUN / 2)
#define PATH       "/registry/secrets/default/a"
/* What conn.c reads of one connection in a turn. */
#define READ_BYTES 4096U
/* Connected, sent, read. */
#define TURNS_TO_ARRIVE 4U
/* And ciphered, sent, read again. */
#define TURNS_OF_A_CALL (TURNS_TO_ARRIVE + 6)
/* Of a call besides its message: two frame headers and gRPC's five bytes. */
#define FRAMES 23U

#define YAML(provider)                             \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"                           \
	"  - " provider ": { keys: [ { name: a } ] }\n"

static const uint8_t key[32] = "a public key for the tests only";

/* A connection, and the calls it has open. */
struct side {
	struct grpc_client *client;
	unsigned int open;
};

FIXTURE(fair)
{
	struct chain_bed bed;
	struct fake_block *cipher;
	struct ring *ring;
	struct secpool *pool, *client_pool;
	struct grpc_limits limits;
	struct grpc_peers peers;
	uid_t uid;
	struct transform_service *service;
	struct grpc_server *server;
	struct side hog, other;
	uint64_t since, until; /* events of a call that began in between set answered */
	bool answered;
	char dir[40], path[64];
	uint8_t *value; /* what is asked for, LARGEST of it and what is around that when stored */
	struct transform_value values[TRANSFORM_VALUES_MAX];
};

FIXTURE_VARIANT(fair)
{
	const char *yaml, *method;
	const char *prefix; /* of a stored value, if that is what is asked for */
	bool lock_step;     /* a block is a piece */
};

/* clang-format off */
FIXTURE_VARIANT_ADD(fair, gcm) {
	YAML("aesgcm"), "/kekd.v1.Transform/ToStorage", "", false };
FIXTURE_VARIANT_ADD(fair, cbc_encrypt) {
	YAML("aescbc"), "/kekd.v1.Transform/ToStorage", "", true };
FIXTURE_VARIANT_ADD(fair, cbc_decrypt) {
	YAML("aescbc"), "/kekd.v1.Transform/FromStorage", "k8s:enc:aescbc:v1:a:", false };
/* clang-format on */

typedef struct ktest_data_of_fair fix;
typedef struct ktest_variant_of_fair var;

static int listening(fix *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_LE(0, fd);
	memcpy(addr.sun_path, f->path, sizeof(f->path));
	ASSERT_EQ(0, bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	ASSERT_EQ(0, listen(fd, 8));
	return fd;
}

static void side_open(fix *f, struct side *s)
{
	const struct grpc_client_config config = {
		.ring = f->ring,
		.pool = f->client_pool,
		.path = f->path,
		.message_bytes = TRANSFORM_MESSAGE_BYTES,
		.calls = CALLS,
		.idle_ns = grpc_limits_default.idle_ns,
	};

	ASSERT_OK(grpc_client_new(&config, &s->client));
}

/* The call of ask() is the only one that was begun while it ran. */
static int on_event(void *ctx, const struct kms_event *e)
{
	fix *f = ctx;

	f->answered |= e->started_ns >= f->since && e->started_ns < f->until;
	return 0;
}

static void server_open(fix *f)
{
	const struct transform_item item = { &f->bed.conf->items[0], f->bed.chain };

	f->limits = grpc_limits_default;
	f->limits.message_bytes = TRANSFORM_MESSAGE_BYTES;
	f->limits.streams = CALLS;
	f->limits.calls = 8 * MANY; /* a connection alone has a seventh of them */
	f->uid = geteuid();
	f->peers = (struct grpc_peers){ .uids = &f->uid, .n_uids = 1 };
	ASSERT_OK(transform_service_new(&item, 1, on_event, f, &f->service));
	ASSERT_OK(grpc_server_new(f->ring, f->pool, &f->limits, &f->server));
	ASSERT_OK(grpc_server_listen(f->server, listening(f), &transform_grpc_service, &f->peers,
				     f->service));
}

FIXTURE_SETUP(fair)
{
	const struct chain_bed_key aes = { "a", "a", key, sizeof(key), false, KEY_ACTIVE };

	ASSERT_OK(chain_bed_open(&self->bed, BED_FAKE, variant->yaml, false));
	ASSERT_LE(0, chain_bed_key(&self->bed, &aes));
	self->cipher = self->bed.bed.fakes[0];
	self->value = calloc(1, LARGEST + strlen(variant->prefix) + 2 * KEKD_AES_BLOCK);
	ASSERT_NOT_NULL(self->value);
	ASSERT_OK(ring_new(RING_EPOLL, 64, &self->ring));
	ASSERT_OK(secpool_new(POOL_BYTES, &self->pool));
	ASSERT_OK(secpool_new(POOL_BYTES, &self->client_pool));
	strcpy(self->dir, "/tmp/kekd-fair-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(self->dir));
	snprintf(self->path, sizeof(self->path), "%s/s", self->dir);
	server_open(self);
	side_open(self, &self->hog);
	side_open(self, &self->other);
}

/* One turn of everybody's loop. Nothing is waited for: there is always somebody who goes on. */
static void turn(fix *f)
{
	defer_run(&f->bed.defer);
	bed_flush(&f->bed.bed);
	grpc_server_flush(f->server);
	grpc_client_flush(f->hog.client);
	grpc_client_flush(f->other.client);
	ASSERT_OK(ring_turn(f->ring, true));
}

static void turn_and_answer(fix *f)
{
	turn(f);
	fake_block_finish(f->cipher);
}

FIXTURE_TEARDOWN(fair)
{
	grpc_client_stop(self->hog.client);
	grpc_client_stop(self->other.client);
	while (!grpc_client_idle(self->hog.client) || !grpc_client_idle(self->other.client))
		turn_and_answer(self);
	grpc_server_abort(self->server);
	while (!grpc_server_drained(self->server) || transform_service_busy(self->service) > 0)
		turn_and_answer(self);
	grpc_client_free(self->hog.client);
	grpc_client_free(self->other.client);
	grpc_server_free(self->server);
	transform_service_free(self->service);
	secpool_free(self->pool);
	secpool_free(self->client_pool);
	ring_free(self->ring);
	chain_bed_close(&self->bed);
	free(self->value);
	unlink(self->path);
	rmdir(self->dir);
}

static void on_done(void *ctx, enum grpc_status status _unused_, const char *text _unused_,
		    struct secbuf *msg _unused_)
{
	struct side *s = ctx;

	s->open--;
}

/*
 * A request of @n values that are @len bytes of text each. To be decrypted, they are as long but of no
 * sense: what becomes of them does not matter, how long they take does.
 */
static void request(fix *f, const var *v, size_t n, size_t len, struct secbuf *ret)
{
	size_t head = strlen(v->prefix);

	memcpy(f->value, v->prefix, head);
	if (head > 0) /* IV and padding */
		len += head + 2 * KEKD_AES_BLOCK;
	for (size_t i = 0; i < n; i++)
		f->values[i] = (struct transform_value){ span_str(PATH), span_of(f->value, len) };
	ASSERT_OK(secpool_get(f->client_pool, n * (len + 64) + 64, ret));
	ASSERT_OK(pb_transform_request_encode(span_str("secrets"), f->values, n, ret));
}

static void calls(fix *f, const var *v, struct side *s, unsigned int times, size_t n, size_t len)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };

	request(f, v, n, len, &msg);
	for (unsigned int i = 0; i < times; i++) {
		ASSERT_OK(grpc_client_call(s->client, v->method, span_of(msg.data, msg.len), 0,
					   GRPC_WAIT_FOR_READY, on_done, s, NULL));
		s->open++;
	}
}

static unsigned int under_way(const fix *f)
{
	struct engine_stats stats;

	engine_stats(f->bed.bed.engine, &stats);
	return stats.queued;
}

/* The cipher answers nothing until all @n are queued: there is nothing that anybody could be given. */
static unsigned int turns_until_queued(fix *f, unsigned int n)
{
	unsigned int turns = 0;

	for (; under_way(f) < n; turns++)
		turn(f);
	return turns;
}

/* Blocks of a message of @len bytes: J0, or a block of padding. */
static unsigned int blocks_of(size_t len)
{
	return (unsigned int)(len / KEKD_AES_BLOCK) + 1;
}

/* See the head comment. @ahead: blocks that those before it are given first. */
static unsigned int bound(const var *v, size_t len, unsigned int ahead, unsigned int room)
{
	unsigned int pieces = v->lock_step ? blocks_of(len) : 1;
	unsigned int piece = v->lock_step ? 1 : blocks_of(len);

	return 1 + pieces * ((ahead + piece + room - 1) / room);
}

/* One call of one value of @len bytes, which comes behind all that is queued. */
static void ask(fix *f, const var *v, size_t len)
{
	f->answered = false;
	f->since = now_ns();
	calls(f, v, &f->other, 1, 1, len);
	EXPECT_GE(TURNS_TO_ARRIVE, turns_until_queued(f, under_way(f) + 1));
	f->until = now_ns();
}

/* Runs that the cipher answers until that call is through. */
static unsigned int runs_until_answered(fix *f)
{
	unsigned int before = f->cipher->finished;

	while (!f->answered) {
		fake_block_finish(f->cipher);
		turn(f);
	}
	return f->cipher->finished - before;
}

/* Four values, of which two fill a request. */
TEST_F(fair, behind_the_largest)
{
	const size_t largest = LARGEST;
	const unsigned int share = variant->lock_step ? 1 : self->bed.bed.config.share_blocks;

	calls(self, variant, &self->hog, 2, 2, largest);
	turns_until_queued(self, 4);
	ask(self, variant, SMALL);
	EXPECT_GE(bound(variant, SMALL, 0, HALF), runs_until_answered(self));
	ask(self, variant, LARGE);
	EXPECT_GE(bound(variant, LARGE, 4 * share, RUN), runs_until_answered(self));
}

/* More than a run holds, and each longer than what is asked. */
TEST_F(fair, behind_thousands)
{
	const unsigned int share = variant->lock_step ? 1 : blocks_of(2 * LARGE);

	calls(self, variant, &self->hog, 5, MANY / 5, 2 * LARGE);
	turns_until_queued(self, MANY);
	ask(self, variant, SMALL);
	EXPECT_GE(bound(variant, SMALL, 0, HALF), runs_until_answered(self));
	ask(self, variant, LARGE);
	EXPECT_GE(bound(variant, LARGE, MANY * share, RUN), runs_until_answered(self));
}

/* A small one waits for the small ones before it; a large one has its half of the next run. */
TEST_F(fair, behind_thousands_of_small)
{
	const unsigned int share = variant->lock_step ? 1 : blocks_of(SMALL) + 1;

	calls(self, variant, &self->hog, 5, MANY / 5, SMALL);
	turns_until_queued(self, MANY);
	ask(self, variant, LARGE);
	EXPECT_GE(bound(variant, LARGE, 0, HALF), runs_until_answered(self));
	ask(self, variant, SMALL);
	EXPECT_GE(bound(variant, SMALL, MANY * share, RUN), runs_until_answered(self));
}

/* Who comes later does not overtake. In lock-step a message comes behind them with its next piece. */
TEST_F(fair, before_thousands_of_small)
{
	calls(self, variant, &self->hog, 1, MANY / 5, SMALL);
	turns_until_queued(self, MANY / 5);
	ask(self, variant, SMALL);
	calls(self, variant, &self->hog, 4, MANY / 5, SMALL);
	turns_until_queued(self, MANY + 1);
	EXPECT_GE(bound(variant, SMALL, variant->lock_step ? MANY : 0, RUN),
		  runs_until_answered(self));
}

/*
 * A connection with a thousand calls to say is read as far as every other: those that are begun while
 * one call of another comes and goes are what fits into its reads.
 */
TEST_F(fair, beside_a_flood)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	struct grpc_stats before, after;
	unsigned int turns = 0;

	calls(self, variant, &self->hog, CALLS, 1, SMALL);
	while (under_way(self) == 0)
		turn(self);
	grpc_server_stats(self->server, &before);
	calls(self, variant, &self->other, 1, 1, SMALL);
	for (; self->other.open > 0; turns++)
		turn_and_answer(self);
	grpc_server_stats(self->server, &after);
	request(self, variant, 1, SMALL, &msg);
	EXPECT_GE(TURNS_OF_A_CALL, turns);
	EXPECT_GE(turns * (READ_BYTES / (FRAMES + msg.len) + 1), after.calls - before.calls);
	EXPECT_LT(0, self->hog.open);
}

TEST_HARNESS_MAIN
