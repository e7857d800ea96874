/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve SERVER status|encrypt|decrypt|verify|verify-kms IN_FLIGHT RPCS [FILE]: answer so many KMS v2 calls of a client in the
 * same process, IN_FLIGHT of them at a time on one connection, in counted(), for a tool that counts the
 * instructions in there (tests/bench/instructions-rpc).
 *
 * The client is not counted. It looks at each answer: grpc-status, and that a Decrypt brings the
 * plaintext back. A few rounds before, with the first use of every page and symbol, are not counted
 * either. `bare` is not asked for more than an answer.
 *
 * `transform` answers `verify` and `verify-kms` instead: calls of as many values of 2 KiB, of aesgcm and of KMS v2, as
 * kekctl scan --verify sends at once.
 *
 * With FILE the time in counted() is appended to it as tests/bench/bench has figures, as instructions: in
 * a guest of scripts/vm --icount the clock counts those, the kernel's with them.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"
#include "daemon/kms/pb_transform.h"
#include "daemon/sys/ring.h"
#include "daemon/wire/h2.h"
#include "tests/bench/served/served.h"

#define IN_FLIGHT_MAX 128
#define FRAME         5
#define POOL_BYTES    (4U << 20)
#define VALUES        120
#define VALUE_BYTES   2048
#define PATH          "/registry/secrets/ns-000/object-0000000"
#define UID           "3f2c6c1e-2f6e-4a57-9d38-444455556666"

static const uint8_t seed[32] = "a seed of no secret at all, 32 B";

struct request {
	struct h2_stream stream;
	size_t got;
	uint8_t answer[16 * 1024];
	bool good;
};

static struct {
	const struct served *server;
	int fd;
	struct secpool *pool;
	struct h2mem *mem;
	struct h2 *h2;
	struct secbuf body, out; /* a request, framed; what the socket has not taken yet */
	size_t sent;             /* of it */
	const char *path;
	struct request requests[IN_FLIGHT_MAX];
	unsigned int open;
	int error;
	uint64_t counted_ns;
} client;

static struct request *request_of(struct h2_stream *st)
{
	return container_of(st, struct request, stream);
}

/* Events of the client's session. */

static void ev_field(struct h2_stream *st, struct span name, struct span value)
{
	if (span_equal(name, span_str("grpc-status")))
		request_of(st)->good = span_equal(value, span_str("0"));
}

static void ev_headers(struct h2_stream *st _unused_, bool trailer _unused_)
{
}

static void ev_data(struct h2_stream *st, struct span chunk)
{
	struct request *q = request_of(st);

	if (chunk.len > sizeof(q->answer) - q->got) {
		client.error = -EMSGSIZE;
		return;
	}
	memcpy(q->answer + q->got, chunk.data, chunk.len);
	q->got += chunk.len;
}

static void ev_end(struct h2_stream *st _unused_)
{
}

static void ev_closed(struct h2_stream *st, uint32_t error _unused_)
{
	client.open--;
	if (!request_of(st)->good)
		client.error = -EREMOTEIO;
}

static const struct h2_ops client_ops = {
	.field = ev_field,
	.headers = ev_headers,
	.data = ev_data,
	.end = ev_end,
	.closed = ev_closed,
};

static const struct h2_field *fields(void)
{
	static struct h2_field f[] = {
		H2_FIELD(":method", "POST"),
		H2_FIELD(":scheme", "http"),
		{ SPAN_LITERAL(":path"), SPAN_NULL, false },
		H2_FIELD(":authority", "localhost"),
		H2_FIELD("content-type", "application/grpc"),
		H2_FIELD("te", "trailers"),
	};

	f[2].value = span_str(client.path);
	return f;
}

static int request_send(struct request *q)
{
	*q = (struct request){ 0 };
	client.open++;
	return h2_request(client.h2, &q->stream, fields(), 6,
			  span_of(client.body.data, client.body.len));
}

/* All that the socket takes now. */
static int drain(void)
{
	ssize_t n;
	int r;

	for (;;) {
		if (client.sent == client.out.len) {
			client.sent = client.out.len = 0;
			r = h2_drain(client.h2, &client.out);
			if (r < 0 || client.out.len == 0)
				return r;
		}
		n = write(client.fd, client.out.data + client.sent, client.out.len - client.sent);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		client.sent += (size_t)n;
	}
}

static int feed(void)
{
	static uint8_t in[65536];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(client.fd, in, sizeof(in))) > 0)
		r = h2_feed(client.h2, span_of(in, (size_t)n), now_ns());
	return r;
}

/* What is counted: the server, and a call of it. */
__attribute__((noinline)) int counted(void);
int counted(void)
{
	return client.server->turn();
}

static int clocked(void)
{
	uint64_t begun = now_ns();
	int r = counted();

	client.counted_ns += now_ns() - begun;
	return r;
}

static int warming(void)
{
	return client.server->turn();
}

/* @n calls to their end. A server needs no more turns than these, or it is stuck. */
static int batch(unsigned int n, int (*turn)(void))
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < n; i++)
		r = request_send(&client.requests[i]);
	if (r == 0)
		r = drain();
	for (int i = 0; r == 0 && client.open > 0; i++) {
		r = i < 1000 ? turn() : -EDEADLK;
		if (r == 0)
			r = feed();
		if (r == 0)
			r = drain();
	}
	return r < 0 ? r : client.error;
}

/* What is asked. */

static int body_set(enum pb_message which, const struct kms_request *req)
{
	uint32_t len;
	int r;

	memset(client.body.data, 0, FRAME);
	client.body.len = FRAME;
	r = pb_encode_request(which, req, &client.body);
	len = htobe32((uint32_t)(client.body.len - FRAME));
	memcpy(client.body.data + 1, &len, sizeof(len));
	return r;
}

static int answer_parse(enum pb_message which, struct kms_response *ret)
{
	const struct request *q = &client.requests[0];

	return pb_decode_response(which, span_of(q->answer + FRAME, q->got - FRAME), ret);
}

static int ask_encrypt(void)
{
	struct kms_request req = { .data = span_of(seed, sizeof(seed)), .uid = span_str(UID) };

	client.path = "/v2.KeyManagementService/Encrypt";
	return body_set(PB_V2_ENCRYPT_REQUEST, &req);
}

static int ask_status(void)
{
	client.path = "/v2.KeyManagementService/Status";
	return body_set(PB_V2_STATUS_REQUEST, &(struct kms_request){ 0 });
}

/* Needs an answer of Encrypt, and is tried once, as it is what proves that one too. */
static int ask_decrypt(void)
{
	struct kms_request req = { .uid = span_str(UID) };
	struct kms_response rsp;
	int r = ask_encrypt();

	if (r == 0)
		r = batch(1, warming);
	if (r == 0)
		r = answer_parse(PB_V2_ENCRYPT_RESPONSE, &rsp);
	if (r < 0)
		return r;
	client.path = "/v2.KeyManagementService/Decrypt";
	req.data = rsp.data;
	req.key_id = rsp.key_id;
	r = body_set(PB_V2_DECRYPT_REQUEST, &req);
	if (r == 0)
		r = batch(1, warming);
	if (r == 0)
		r = answer_parse(PB_V2_DECRYPT_RESPONSE, &rsp);
	if (r < 0)
		return r;
	return span_equal(rsp.data, span_of(seed, sizeof(seed))) ? 0 : -EBADMSG;
}

static int transform_set(const char *path, const struct transform_value *values, size_t n)
{
	uint32_t len;
	int r;

	client.path = path;
	memset(client.body.data, 0, FRAME);
	client.body.len = FRAME;
	r = pb_transform_request_encode(span_str("secrets"), values, n, &client.body);
	len = htobe32((uint32_t)(client.body.len - FRAME));
	memcpy(client.body.data + 1, &len, sizeof(len));
	return r;
}

/* The answer to one call, whose @n values must all be good; the first is given back. */
static int transform_ask(size_t n, struct span *ret_value)
{
	const struct request *q = &client.requests[0];
	struct transform_result results[VALUES];
	size_t got = 0;
	int r = batch(1, warming);

	if (r == 0)
		r = pb_transform_response_decode(span_of(q->answer + FRAME, q->got - FRAME),
						 results, VALUES, &got);
	for (size_t i = 0; r == 0 && i < got; i++)
		if (results[i].code != 0 || results[i].stale)
			r = -EBADMSG;
	*ret_value = results[0].value;
	return r == 0 && got != n ? -EPROTO : r;
}

static int verify_of(struct span stored)
{
	struct transform_value values[VALUES];
	struct span value;
	int r;

	for (size_t i = 0; i < VALUES; i++)
		values[i] = (struct transform_value){ span_str(PATH), stored };
	r = transform_set("/kekd.v1.Transform/Verify", values, VALUES);
	return r < 0 ? r : transform_ask(VALUES, &value);
}

static const uint8_t plain[VALUE_BYTES];
static uint8_t stored[2 * VALUE_BYTES];

static int ask_verify(void)
{
	const struct transform_value one = { span_str(PATH), span_of(plain, VALUE_BYTES) };
	struct span value;
	int r = transform_set("/kekd.v1.Transform/ToStorage", &one, 1);

	if (r == 0)
		r = transform_ask(1, &value);
	if (r < 0 || value.len > sizeof(stored))
		return r < 0 ? r : -EMSGSIZE;
	memcpy(stored, value.data, value.len);
	return verify_of(span_of(stored, value.len));
}

/* Of the server "transform" only. */
static int ask_verify_kms(void)
{
	size_t len = served_kms_value(span_str(PATH), span_of(plain, VALUE_BYTES), stored,
				      sizeof(stored));

	return len > 0 ? verify_of(span_of(stored, len)) : -EIO;
}

static const struct {
	const char *name;
	int (*ask)(void);
} methods[] = {
	{ "status", ask_status }, { "encrypt", ask_encrypt },       { "decrypt", ask_decrypt },
	{ "verify", ask_verify }, { "verify-kms", ask_verify_kms },
};

static int client_open(void)
{
	int r = secpool_new(POOL_BYTES, &client.pool);

	if (r == 0)
		r = secpool_get(client.pool, 8192, &client.body);
	if (r == 0)
		r = secpool_get(client.pool, 65536, &client.out);
	if (r == 0)
		r = h2mem_new(&client.mem);
	if (r == 0)
		r = h2_new_client(client.mem, &h2_config_default, &client_ops, NULL, now_ns(),
				  &client.h2);
	return r;
}

static int serve(int (*ask)(void), int (*turn)(void), unsigned int n, unsigned long rounds)
{
	int r = client.server->open(&client.fd);

	if (r == 0)
		r = client_open();
	if (r == 0)
		r = ask();
	for (int i = 0; r == 0 && i < 4; i++)
		r = batch(n, warming);
	for (unsigned long i = 0; r == 0 && i < rounds; i++)
		r = batch(n, turn);
	return r;
}

static void client_close(void)
{
	h2_free(client.h2);
	h2mem_free(client.mem);
	secbuf_release(&client.body);
	secbuf_release(&client.out);
	secpool_free(client.pool);
	close(client.fd);
}

static const struct {
	const char *name;
	const struct served *server;
} servers[] = {
	{ "kekd", &served_kekd },           { "bare", &served_bare },
	{ "transform", &served_transform }, { "openssl", &served_openssl },
	{ "holder", &served_holder },       { "kernel", &served_kernel },
	{ "value", &served_value },
};

static int figure_save(const char *path, char **argv, unsigned long rpcs)
{
	FILE *f = fopen(path, "a");

	if (!f)
		return -errno;
	fprintf(f, "rpc\tgcm\t%s\t32\t%s\tv2\t1\t%s\t%s\tinstructions\t%.1f\n", argv[2], argv[3],
		argv[3], argv[1], (double)client.counted_ns / (double)rpcs);
	return fclose(f) == 0 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
	int (*ask)(void) = NULL;
	unsigned long n, rounds;
	int r;

	log_init("serve", LOG_LEVEL_ERROR);
	if (argc != 5 && argc != 6)
		goto usage;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++)
		if (strcmp(argv[1], servers[i].name) == 0)
			client.server = servers[i].server;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (strcmp(argv[2], methods[i].name) == 0)
			ask = methods[i].ask;
	n = strtoul(argv[3], NULL, 10);
	if (!client.server || !ask || n == 0 || n > IN_FLIGHT_MAX)
		goto usage;
	rounds = strtoul(argv[4], NULL, 10) / n;
	r = serve(ask, argc == 6 ? clocked : counted, (unsigned int)n, rounds);
	if (r == 0 && argc == 6)
		r = figure_save(argv[5], argv, rounds * n);
	if (r < 0) {
		fprintf(stderr, "serve: %s\n", errno_text(r));
		return 1;
	}
	client_close();
	client.server->close();
	return 0;
usage:
	fputs("usage: serve kekd|bare|transform|openssl|holder|kernel|value status|encrypt|decrypt|verify|verify-kms IN_FLIGHT RPCS "
	      "[FILE]\n",
	      stderr);
	return 2;
}
