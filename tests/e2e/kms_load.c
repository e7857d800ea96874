/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kms_load [-p] SOCKET [IN_FLIGHT [CONNECTIONS]]: a KMS v2 client that wraps random seeds of 32 bytes and
 * unwraps what came back, IN_FLIGHT (64) seeds at a time, until SIGTERM. With several CONNECTIONS (1) a
 * seed is wrapped over one of them and unwrapped over the next: it must not matter which process of a
 * daemon is at the other end. A lost connection is made anew. With -p an Encrypt that is refused for want
 * of a key is tried again, a Decrypt never.
 *
 * Standard output: the number of seeds that came back right, one line each EACH seeds. Exit status 0
 * only if no call failed and every seed was right.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"
#include <kekd/limits.h>

#define SEED       32
#define EACH       64
#define SLOTS_MAX  1024
#define CLIENTS    16
#define CALL_NS    (UINT64_C(60) * 1000 * 1000 * 1000) /* ends a run that hangs, judges no speed */
#define POOL_BYTES (16U << 20)

struct load;

struct slot {
	struct load *load;
	uint8_t seed[SEED];
};

struct load {
	struct ring *ring;
	struct secpool *pool;
	struct grpc_client *clients[CLIENTS];
	unsigned int n_clients;
	struct ring_op signal;
	struct slot slots[SLOTS_MAX];
	unsigned int open;
	uint64_t good;
	bool patient, stopping, failed;
};

static void wrap(struct slot *s);

static void fail(struct load *l, const char *what, const char *text)
{
	if (!l->failed)
		log_error("%s: %s", what, text);
	l->failed = l->stopping = true;
}

/* Over connection @i, counted from the slot's own. */
static void call(struct slot *s, unsigned int i, const char *method, enum pb_message kind,
		 const struct kms_request *req, grpc_client_done_fn *done)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	struct load *l = s->load;
	struct grpc_client *client = l->clients[((size_t)(s - l->slots) + i) % l->n_clients];
	int r;

	r = secpool_get(l->pool, 1024, &msg);
	if (r == 0)
		r = pb_encode_request(kind, req, &msg);
	if (r == 0)
		r = grpc_client_call(client, method, span_of(msg.data, msg.len), CALL_NS,
				     GRPC_WAIT_FOR_READY, done, s, NULL);
	if (r < 0)
		fail(l, method, errno_text(r));
	else
		l->open++;
}

static void came_back(struct load *l)
{
	if (++l->good % EACH != 0)
		return;
	printf("%llu\n", (unsigned long long)l->good);
	fflush(stdout);
}

/* True for a call that a lost connection took along: it is made anew, as every gRPC client does. */
static bool mend(struct slot *s, enum grpc_status status)
{
	if (status != GRPC_UNAVAILABLE)
		return false;
	if (!s->load->stopping)
		wrap(s);
	return true;
}

static void unwrapped(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct slot *s = ctx;
	struct load *l = s->load;
	struct kms_response rsp;

	l->open--;
	if (mend(s, status))
		return;
	if (status != GRPC_OK)
		fail(l, "Decrypt", text);
	else if (pb_decode_response(PB_V2_DECRYPT_RESPONSE, span_of(msg->data, msg->len), &rsp) <
			 0 ||
		 !span_equal(rsp.data, span_of(s->seed, SEED)))
		fail(l, "Decrypt", "another seed came back");
	else
		came_back(l);
	if (!l->stopping)
		wrap(s);
}

static void wrapped(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct slot *s = ctx;
	struct load *l = s->load;
	struct kms_request req = { .uid = span_str("load") };
	struct kms_response rsp;

	l->open--;
	if (mend(s, status))
		return;
	if (l->patient && status == GRPC_FAILED_PRECONDITION && !l->stopping) {
		wrap(s);
		return;
	}
	if (status != GRPC_OK) {
		fail(l, "Encrypt", text);
		return;
	}
	if (pb_decode_response(PB_V2_ENCRYPT_RESPONSE, span_of(msg->data, msg->len), &rsp) < 0) {
		fail(l, "Encrypt", "not an EncryptResponse");
		return;
	}
	req.data = rsp.data;
	req.key_id = rsp.key_id;
	call(s, 1, "/v2.KeyManagementService/Decrypt", PB_V2_DECRYPT_REQUEST, &req, unwrapped);
}

static void wrap(struct slot *s)
{
	struct kms_request req = { .data = span_of(s->seed, SEED), .uid = span_str("load") };

	if (getrandom(s->seed, SEED, 0) != SEED) {
		fail(s->load, "getrandom", errno_text(errno));
		return;
	}
	call(s, 0, "/v2.KeyManagementService/Encrypt", PB_V2_ENCRYPT_REQUEST, &req, wrapped);
}

static void on_signal(struct ring_op *op, int res _unused_, unsigned int flags _unused_)
{
	container_of(op, struct load, signal)->stopping = true;
}

static int signal_open(int *ret)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

static int turn(struct load *l)
{
	for (unsigned int i = 0; i < l->n_clients; i++)
		grpc_client_flush(l->clients[i]);
	return ring_turn(l->ring, false);
}

static bool idle(const struct load *l)
{
	for (unsigned int i = 0; i < l->n_clients; i++)
		if (!grpc_client_idle(l->clients[i]))
			return false;
	return !ring_op_busy(&l->signal);
}

static int run(struct load *l, unsigned int in_flight, int signal_fd)
{
	int r = 0;

	l->signal.done = on_signal;
	ring_poll(l->ring, &l->signal, signal_fd, POLLIN);
	for (unsigned int i = 0; i < in_flight; i++) {
		l->slots[i].load = l;
		wrap(&l->slots[i]);
	}
	while (r == 0 && (!l->stopping || (l->open > 0 && !l->failed)))
		r = turn(l);
	for (unsigned int i = 0; i < l->n_clients; i++)
		grpc_client_stop(l->clients[i]);
	ring_cancel(l->ring, &l->signal);
	while (r == 0 && !idle(l))
		r = turn(l);
	return r;
}

static int open_and_run(struct load *l, const char *path, unsigned int in_flight)
{
	_cleanup_(ring_freep) struct ring *ring = NULL;
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_close_ int signal_fd = -1;
	struct grpc_client_config config = {
		.path = path,
		.message_bytes = KEKD_GRPC_MESSAGE_MAX,
		.calls = in_flight + 1,
		.idle_ns = grpc_limits_default.idle_ns,
	};
	int r;

	r = signal_open(&signal_fd);
	if (r == 0)
		r = ring_new(RING_EPOLL, 64, &ring);
	if (r == 0)
		r = secpool_new(POOL_BYTES, &pool);
	config.ring = l->ring = ring;
	config.pool = l->pool = pool;
	for (unsigned int i = 0; r == 0 && i < l->n_clients; i++)
		r = grpc_client_new(&config, &l->clients[i]);
	if (r == 0)
		r = run(l, in_flight, signal_fd);
	for (unsigned int i = 0; i < l->n_clients; i++)
		grpc_client_free(l->clients[i]);
	return r;
}

int main(int argc, char **argv)
{
	static struct load load;
	unsigned int in_flight = 64;
	int r;

	log_init("kms_load", LOG_LEVEL_INFO);
	load.patient = argc > 1 && strcmp(argv[1], "-p") == 0;
	argc -= load.patient;
	argv += load.patient;
	if (argc > 2)
		in_flight = (unsigned int)strtoul(argv[2], NULL, 10);
	load.n_clients = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : 1;
	if (argc < 2 || in_flight == 0 || in_flight > SLOTS_MAX || load.n_clients == 0 ||
	    load.n_clients > CLIENTS) {
		fputs("usage: kms_load [-p] SOCKET [IN_FLIGHT [CONNECTIONS]]\n", stderr);
		return 2;
	}
	r = open_and_run(&load, argv[1], in_flight);
	if (r < 0)
		log_error("%s", errno_text(r));
	return r < 0 || load.failed;
}
