/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulk SOCKET VALUES BYTES ROUNDS [CHUNK]: so many values of so many bytes through the Transform service, in
 * requests of CHUNK values (256) of which IN_FLIGHT are under way: to storage, and back from there. Prints
 * for each round "encrypt N" and "decrypt N", in values a second.
 *
 * All requests of a direction are the same one. Each value of each answer is looked at: its status,
 * its length, and on the way back its bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb_transform.h"
#include "daemon/wire/client.h"

#define CHUNK_MAX 256U
#define IN_FLIGHT 4U
#define POOL_SIZE (96U << 20)
#define ROOM      256U /* of a value, beside its bytes: path, tag, lengths, names */
#define PATH      "/registry/secrets/default/a-name-of-usual-length"

static const char *const methods[] = { "/kekd.v1.Transform/ToStorage",
				       "/kekd.v1.Transform/FromStorage" };
static const char *const directions[] = { "encrypt", "decrypt" };
enum { TO_STORAGE, FROM_STORAGE };

struct bulk {
	struct ring *ring;
	struct secpool *pool;
	struct grpc_client *client;
	size_t bytes, chunk;
	unsigned int direction;
	uint8_t *text;          /* one value */
	struct secbuf request;  /* of the direction that runs */
	struct secbuf stored;   /* an answer of ToStorage, that FromStorage takes back */
	uint64_t todo, waiting; /* requests */
	int error;
};

static bool is_right(const struct bulk *b, const struct transform_result *result)
{
	if (result->code != 0 || result->stale)
		return false;
	if (b->direction == TO_STORAGE)
		return result->value.len > b->bytes;
	return span_equal(result->value, span_of(b->text, b->bytes));
}

static int judge(struct bulk *b, enum grpc_status status, const char *text, struct span msg)
{
	struct transform_result results[CHUNK_MAX];
	size_t n;
	int r;

	if (status != GRPC_OK) {
		fprintf(stderr, "bulk: %s: %s\n", grpc_status_name(status), text);
		return -EIO;
	}
	r = pb_transform_response_decode(msg, results, CHUNK_MAX, &n);
	if (r < 0 || n != b->chunk)
		return r < 0 ? r : -EPROTO;
	for (size_t i = 0; i < n; i++)
		if (!is_right(b, &results[i]))
			return -EBADMSG;
	return 0;
}

static void answered(void *ctx, enum grpc_status status, const char *text, struct secbuf *msg)
{
	struct bulk *b = ctx;
	int r = judge(b, status, text, span_of(msg->data, msg->len));

	b->waiting--;
	if (r < 0)
		b->error = r;
	else if (b->direction == TO_STORAGE && !b->stored.data)
		b->stored = secbuf_move(msg);
}

static int request_make(struct bulk *b)
{
	struct transform_value values[CHUNK_MAX];
	struct transform_result results[CHUNK_MAX];
	size_t n = b->chunk;
	int r = 0;

	if (b->direction == FROM_STORAGE)
		r = pb_transform_response_decode(span_of(b->stored.data, b->stored.len), results,
						 CHUNK_MAX, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		values[i] = (struct transform_value){
			.path = span_str(PATH),
			.value = b->direction == TO_STORAGE ? span_of(b->text, b->bytes)
							    : results[i].value,
		};
	secbuf_release(&b->request);
	if (r == 0)
		r = secpool_get(b->pool, b->chunk * (b->bytes + ROOM), &b->request);
	return r < 0 ? r : pb_transform_request_encode(SPAN_NULL, values, n, &b->request);
}

/* As many as may be under way. */
static int top_up(struct bulk *b)
{
	struct span msg = span_of(b->request.data, b->request.len);
	int r = 0;

	while (r == 0 && b->todo > 0 && b->waiting < IN_FLIGHT) {
		r = grpc_client_call(b->client, methods[b->direction], msg, 0, GRPC_WAIT_FOR_READY,
				     answered, b, NULL);
		b->todo--;
		b->waiting++;
	}
	return r;
}

static int run(struct bulk *b, uint64_t requests)
{
	int r = 0;

	b->todo = requests;
	while (r == 0 && b->error == 0 && b->todo + b->waiting > 0) {
		r = top_up(b);
		grpc_client_flush(b->client);
		if (r == 0)
			r = ring_turn(b->ring, false);
	}
	return r < 0 ? r : b->error;
}

static int round_of(struct bulk *b, uint64_t requests)
{
	uint64_t begun;
	int r = 0;

	for (b->direction = TO_STORAGE; r == 0 && b->direction <= FROM_STORAGE; b->direction++) {
		r = request_make(b);
		begun = now_ns();
		if (r == 0)
			r = run(b, requests);
		if (r == 0)
			printf("%s %.1f\n", directions[b->direction],
			       (double)(requests * b->chunk) * 1e9 / (double)(now_ns() - begun));
	}
	return r;
}

static int bulk_open(struct bulk *b, const char *path)
{
	struct grpc_client_config config = {
		.path = path,
		.message_bytes = TRANSFORM_MESSAGE_BYTES,
		.calls = IN_FLIGHT,
		.idle_ns = grpc_limits_default.idle_ns,
	};
	int r;

	b->text = malloc(b->bytes);
	if (!b->text)
		return -ENOMEM;
	for (size_t i = 0; i < b->bytes; i++)
		b->text[i] = (uint8_t)(i * 7 + i / 256);
	r = ring_new(RING_AUTO, 64, &b->ring);
	if (r == 0)
		r = secpool_new(POOL_SIZE, &b->pool);
	config.ring = b->ring;
	config.pool = b->pool;
	return r < 0 ? r : grpc_client_new(&config, &b->client);
}

static int bulk(struct bulk *b, const char *path, uint64_t values, unsigned int rounds)
{
	int r = bulk_open(b, path);

	for (unsigned int i = 0; r == 0 && i < rounds; i++)
		r = round_of(b, (values + b->chunk - 1) / b->chunk);
	return r;
}

int main(int argc, char **argv)
{
	struct bulk b = { .chunk = CHUNK_MAX };
	int r;

	log_init("bulk", LOG_LEVEL_ERROR);
	if (argc == 6)
		b.chunk = strtoul(argv[5], NULL, 10);
	if (argc < 5 || argc > 6 || (b.bytes = strtoul(argv[3], NULL, 10)) == 0 || b.bytes > 8192 ||
	    b.chunk == 0 || b.chunk > CHUNK_MAX) {
		fputs("usage: bulk SOCKET VALUES BYTES ROUNDS [CHUNK]\n", stderr);
		return 2;
	}
	r = bulk(&b, argv[1], strtoull(argv[2], NULL, 10), (unsigned int)atoi(argv[4]));
	if (r < 0)
		fprintf(stderr, "bulk: %s\n", errno_text(r));
	return r < 0; /* the process ends here, with its connection and its memory */
}
