/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server that is warm spends on a call: system calls, heap, locked memory. A server as
 * daemon/server/server.c runs it, in a thread of its own with a ring of its own, and a client in
 * another; what is counted is the server's alone, by the ring's counters and by a malloc that stands
 * before the C library's.
 *
 * Bounds, not exact numbers: how the client's bytes meet the server's turns is up to the scheduler,
 * but with IN_FLIGHT calls at a time no schedule takes more.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/kms/pb.h"
#include "daemon/kms/service.h"
#include "daemon/wire/client.h"
#include "tests/harness/ktest.h"
#include "tests/support/chain_bed.h"
#include "tests/support/listen.h"

#define CALLS      1000
#define WARM       300
#define FEW        50
#define FLIGHT_MAX 64
#define POOL_BYTES (8U << 20)
#define YAML                                       \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"                           \
	"  - aesgcm: { keys: [ { name: a } ] }\n"

/* What is called, in this order: Decrypt opens what the Encrypt before it made. */
enum call { STATUS, ENCRYPT_V1, DECRYPT_V1, ENCRYPT, DECRYPT, CALL_KINDS };

static const struct {
	const char *method;
	enum pb_message request, response;
} kinds[CALL_KINDS] = {
	[STATUS] = { "/v2.KeyManagementService/Status", PB_V2_STATUS_REQUEST,
		     PB_V2_STATUS_RESPONSE },
	[ENCRYPT_V1] = { "/v1beta1.KeyManagementService/Encrypt", PB_V1_ENCRYPT_REQUEST,
			 PB_V1_ENCRYPT_RESPONSE },
	[DECRYPT_V1] = { "/v1beta1.KeyManagementService/Decrypt", PB_V1_DECRYPT_REQUEST,
			 PB_V1_DECRYPT_RESPONSE },
	[ENCRYPT] = { "/v2.KeyManagementService/Encrypt", PB_V2_ENCRYPT_REQUEST,
		      PB_V2_ENCRYPT_RESPONSE },
	[DECRYPT] = { "/v2.KeyManagementService/Decrypt", PB_V2_DECRYPT_REQUEST,
		      PB_V2_DECRYPT_RESPONSE },
};

/* The heap, as the thread that asks sees it. */

static _Thread_local uint64_t heap_calls;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

#if !defined(__SANITIZE_ADDRESS__)
void *malloc(size_t size)
{
	heap_calls++;
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	heap_calls++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	heap_calls++;
	return __libc_realloc(p, size);
}
#endif

/* A sanitizer and valgrind have a malloc of their own. */
static bool heap_is_counted(void)
{
	uint64_t before = heap_calls;
	void *volatile p = malloc(1);

	free(p);
	return heap_calls > before;
}

/* Of this process, in KiB. */
static unsigned long locked_memory(void)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	ASSERT_NOT_NULL(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %lu", &kib) == 1)
			break;
	return kib;
}

struct counts {
	struct ring_stats ring;
	uint64_t heap;
	bool heap_counted;
};

FIXTURE(steady)
{
	/* The server's thread. */
	struct chain_bed bed;
	struct ring *ring;
	struct secpool *pool;
	struct grpc_peers peers;
	uid_t uid;
	struct kms_service *kms;
	struct grpc_server *server;
	struct ring_op control_op;
	struct counts counts;
	int control[2]; /* a byte asks for counts, the end of it for the server's */
	char dir[40], path[64];
	pthread_t thread;
	/* The client. */
	struct ring *client_ring;
	struct secpool *client_pool;
	struct grpc_client *client;
	unsigned int open, good;
	enum call kind;
	uint8_t wrapped[512], key_id[128]; /* by the last Encrypt */
	size_t wrapped_len, key_id_len;
};

FIXTURE_VARIANT(steady)
{
	enum bed_backend backend;
	enum ring_kind ring;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(steady, openssl_io_uring) { BED_OPENSSL, RING_IO_URING };
FIXTURE_VARIANT_ADD(steady, openssl_epoll) { BED_OPENSSL, RING_EPOLL };
FIXTURE_VARIANT_ADD(steady, kernel) { BED_KERNEL, RING_AUTO };
/* clang-format on */

typedef struct ktest_data_of_steady fix;

static const uint8_t key[32] = "a public key for the tests only";

static void controlled(struct ring_op *op, int res, unsigned int flags _unused_)
{
	fix *f = container_of(op, fix, control_op);
	char c;

	ASSERT_LT(0, res);
	if (recv(f->control[1], &c, 1, 0) != 1) {
		grpc_server_shutdown(f->server);
		return;
	}
	ring_stats(f->ring, &f->counts.ring);
	f->counts.heap = heap_calls;
	ASSERT_EQ(1, send(f->control[1], &c, 1, 0));
	ring_poll(f->ring, op, f->control[1], POLLIN);
}

static void server_open(fix *f, enum bed_backend backend, enum ring_kind kind)
{
	const struct chain_bed_key aes = { "a", "a", key, sizeof(key), false, KEY_ACTIVE };

	ASSERT_OK(chain_bed_open(&f->bed, backend, YAML, false));
	ASSERT_LE(0, chain_bed_key(&f->bed, &aes));
	f->ring = f->bed.bed.ring;
	if (!f->ring)
		ASSERT_OK(ring_new(kind, 64, &f->ring));
	ASSERT_OK(secpool_new(POOL_BYTES, &f->pool));
	f->uid = geteuid();
	f->peers = (struct grpc_peers){ .uids = &f->uid, .n_uids = 1 };
	ASSERT_OK(kms_service_new(f->bed.chain, NULL, NULL, &f->kms));
	ASSERT_OK(grpc_server_new(f->ring, f->pool, &grpc_limits_default, &f->server));
	ASSERT_OK(grpc_server_listen(f->server, listen_at(f->path), &kms_grpc_service, &f->peers,
				     f->kms));
	f->control_op.done = controlled;
	ring_poll(f->ring, &f->control_op, f->control[1], POLLIN);
}

static void server_close(fix *f)
{
	grpc_server_free(f->server);
	kms_service_free(f->kms);
	secpool_free(f->pool);
	if (!f->bed.bed.ring)
		ring_free(f->ring);
	chain_bed_close(&f->bed);
}

struct server_args {
	fix *f;
	enum bed_backend backend;
	enum ring_kind ring;
};

/* The loop of daemon/server/server.c, without what is of no use here. */
static void *serve(void *arg)
{
	struct server_args *a = arg;
	fix *f = a->f;
	char c = 0;

	f->counts.heap_counted = heap_is_counted();
	server_open(f, a->backend, a->ring);
	ASSERT_EQ(1, send(f->control[1], &c, 1, 0));
	while (!grpc_server_drained(f->server)) {
		bool more;

		defer_run(&f->bed.defer);
		more = engine_flush(f->bed.bed.engine);
		more |= !list_empty(&f->bed.defer.ops);
		grpc_server_flush(f->server);
		if (!grpc_server_drained(f->server))
			ASSERT_OK(ring_turn(f->ring, more));
	}
	server_close(f);
	return NULL;
}

static void hear(const fix *f)
{
	char c;

	ASSERT_EQ(1, recv(f->control[0], &c, 1, 0));
}

static void client_open(fix *f)
{
	const struct grpc_client_config config = {
		.ring = f->client_ring,
		.pool = f->client_pool,
		.path = f->path,
		.message_bytes = KEKD_GRPC_MESSAGE_MAX,
		.calls = FLIGHT_MAX,
		.idle_ns = grpc_limits_default.idle_ns,
	};

	ASSERT_OK(grpc_client_new(&config, &f->client));
}

FIXTURE_SETUP(steady)
{
	struct server_args args = { self, variant->backend, variant->ring };
	struct ring *probe;

	SKIP_UNLESS("afalg", variant->backend != BED_KERNEL || bed_kernel_serves(),
		    "no AF_ALG with keys by serial here");
	if (variant->ring == RING_IO_URING) {
		int r = ring_new(RING_IO_URING, 64, &probe);

		SKIP_UNLESS("io_uring", r == 0, "the kernel refuses it");
		ring_free(probe);
	}
	strcpy(self->dir, "/tmp/kekd-steady-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(self->dir));
	snprintf(self->path, sizeof(self->path), "%s/s", self->dir);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->control));
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, serve, &args));
	hear(self);
	ASSERT_OK(ring_new(RING_EPOLL, 64, &self->client_ring));
	ASSERT_OK(secpool_new(POOL_BYTES, &self->client_pool));
	client_open(self);
}

static void client_turn(fix *f)
{
	grpc_client_flush(f->client);
	ASSERT_OK(ring_turn(f->client_ring, false));
}

FIXTURE_TEARDOWN(steady)
{
	grpc_client_stop(self->client);
	while (!grpc_client_idle(self->client))
		client_turn(self);
	grpc_client_free(self->client);
	secpool_free(self->client_pool);
	ring_free(self->client_ring);
	ASSERT_EQ(0, shutdown(self->control[0], SHUT_WR));
	ASSERT_EQ(0, pthread_join(self->thread, NULL));
	closep(&self->control[0]);
	closep(&self->control[1]);
	unlink(self->path);
	rmdir(self->dir);
}

static struct counts counts(fix *f)
{
	char c = 0;

	ASSERT_EQ(1, send(f->control[0], &c, 1, 0));
	hear(f);
	return f->counts;
}

static void remember(fix *f, const struct kms_response *rsp)
{
	ASSERT_GE(sizeof(f->wrapped), rsp->data.len);
	ASSERT_GE(sizeof(f->key_id), rsp->key_id.len);
	memcpy(f->wrapped, rsp->data.data, rsp->data.len);
	f->wrapped_len = rsp->data.len;
	if (rsp->key_id.len > 0)
		memcpy(f->key_id, rsp->key_id.data, rsp->key_id.len);
	f->key_id_len = rsp->key_id.len;
}

static void on_done(void *ctx, enum grpc_status status, const char *text _unused_,
		    struct secbuf *msg)
{
	struct kms_response rsp = { 0 };
	fix *f = ctx;

	f->open--;
	if (status != GRPC_OK ||
	    pb_decode_response(kinds[f->kind].response, span_of(msg->data, msg->len), &rsp) < 0)
		return;
	if (f->kind == DECRYPT || f->kind == DECRYPT_V1)
		f->good += span_equal(rsp.data, span_of(key, sizeof(key)));
	else
		f->good += f->kind == STATUS || rsp.data.len > sizeof(key);
	if (f->kind == ENCRYPT || f->kind == ENCRYPT_V1)
		remember(f, &rsp);
	pb_response_done(&rsp);
}

static void request(const fix *f, struct secbuf *ret)
{
	struct kms_request req = { .data = span_of(key, sizeof(key)),
				   .uid = span_str("uid"),
				   .version = span_str("v1beta1") };

	if (f->kind == DECRYPT || f->kind == DECRYPT_V1)
		req.data = span_of(f->wrapped, f->wrapped_len);
	if (f->kind == DECRYPT)
		req.key_id = span_of(f->key_id, f->key_id_len);
	ASSERT_OK(secpool_get(f->client_pool, 1024, ret));
	ASSERT_OK(pb_encode_request(kinds[f->kind].request, &req, ret));
}

/* @n calls, @in_flight at a time: all of them are sent together, and all answered before the next. */
static void calls(fix *f, unsigned int n, unsigned int in_flight)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };

	request(f, &msg);
	f->good = 0;
	for (unsigned int done = 0; done < n; done += in_flight) {
		for (f->open = 0; f->open < in_flight; f->open++)
			ASSERT_OK(grpc_client_call(f->client, kinds[f->kind].method,
						   span_of(msg.data, msg.len), 0,
						   GRPC_WAIT_FOR_READY, on_done, f, NULL));
		while (f->open > 0)
			client_turn(f);
	}
	EXPECT_LE(n, f->good);
}

/* System calls of the server for CALLS calls, as warm as can be. */
static uint64_t crossings(fix *f, unsigned int in_flight)
{
	struct counts before, after;
	uint64_t n;

	f->kind = ENCRYPT;
	calls(f, WARM, in_flight);
	before = counts(f);
	calls(f, CALLS, in_flight);
	after = counts(f);
	n = after.ring.enters - before.ring.enters + 2 * (after.ring.direct - before.ring.direct);
	/* Shown if the test fails. */
	fprintf(stderr, "%u in flight: %lu system calls for %u calls, %lu operations, %lu direct\n",
		in_flight, n, CALLS, after.ring.submissions - before.ring.submissions,
		after.ring.direct - before.ring.direct);
	return n;
}

/*
 * Through io_uring one crossing brings the requests, and one takes the answers along and re-arms the
 * receive. A run of the kernel backend is two plain calls more, however many calls are in it. One is
 * allowed on top, for what HTTP/2 says besides.
 */
static unsigned int crossings_max(const fix *f, enum bed_backend backend)
{
	if (strcmp(ring_name(f->ring), "io_uring") != 0)
		return 10;
	return backend == BED_KERNEL ? 5 : 3;
}

TEST_F(steady, crossings)
{
	/* A connection is read a few KiB at a time: that is how many reads the requests take. */
	static const struct {
		unsigned int in_flight, reads;
	} t[] = { { 1, 1 }, { 8, 1 }, { FLIGHT_MAX, 3 } };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned int batches = (CALLS + t[i].in_flight - 1) / t[i].in_flight;

		EXPECT_GE(batches * t[i].reads * crossings_max(self, variant->backend),
			  crossings(self, t[i].in_flight));
	}
}

TEST_F(steady, no_allocation)
{
	struct counts before, after;
	unsigned long locked;

	for (self->kind = 0; self->kind < CALL_KINDS; self->kind++) {
		calls(self, WARM, FLIGHT_MAX);
		calls(self, FEW, 1);
	}
	before = counts(self);
	if (!before.heap_counted)
		SKIP("malloc is somebody else's here");
	locked = locked_memory();
	for (self->kind = 0; self->kind < CALL_KINDS; self->kind++) {
		calls(self, FEW, 1);
		calls(self, WARM, FLIGHT_MAX);
	}
	after = counts(self);
	EXPECT_EQ(0, after.heap - before.heap);
	EXPECT_EQ(locked, locked_memory());
}

TEST_HARNESS_MAIN
