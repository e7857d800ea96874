/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load SOCKET [MS]: Encrypt and Decrypt one after the other, each tried again until it is answered,
 * as kube-apiserver does within its timeout. Says "ready" after the first pair and goes on until
 * standard input ends. Then it prints, as key=value: the pairs that went well, the calls that had
 * to be repeated, the longest time a call took in all, and how many key_ids were seen.
 *
 * Exit status 1 for a wrong answer, or for a call that is not answered within MS milliseconds in
 * all (default WAIT_MS).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

#define SEED      32
#define MS        UINT64_C(1000000)
#define CALL_NS   (3000 * MS) /* of one try */
#define WAIT_MS   60000
#define POOL_SIZE (1024 * 1024)

struct load {
	const char *path;
	struct secpool *pool;
	uint64_t wait_ns;
	uint64_t pairs, repeated, longest_ns, key_ids;
	char key_id[KEKD_KMS_KEY_ID_MAX + 1];
};

/* Statuses of a plugin that is away, not of one that refuses. */
static bool is_away(enum grpc_status status)
{
	return status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED;
}

/* @ret: the answer, caller releases. */
static int call(struct load *l, const char *method, struct span msg, struct secbuf *ret)
{
	uint64_t start = now_ns(), took;
	struct grpc_outcome out;
	int r;

	for (;;) {
		r = grpc_client_call_sync(l->path, method, msg, CALL_NS, l->pool, &out);
		if (r < 0)
			return r;
		took = now_ns() - start;
		if (!is_away(out.status) || took > l->wait_ns)
			break;
		secbuf_release(&out.msg);
		l->repeated++;
		poll(NULL, 0, 10);
	}
	if (took > l->longest_ns)
		l->longest_ns = took;
	if (out.status != GRPC_OK) {
		fprintf(stderr, "load: %s: %s: %s\n", method, grpc_status_name(out.status),
			out.text);
		secbuf_release(&out.msg);
		return -EIO;
	}
	*ret = secbuf_move(&out.msg);
	return 0;
}

/* Both directions differ in the names of their messages only. */
static int kms(struct load *l, bool encrypt, const struct kms_request *req, struct secbuf *ret,
	       struct kms_response *ret_rsp)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	int r;

	r = secpool_get(l->pool, 4096, &msg);
	if (r == 0)
		r = pb_encode_request(encrypt ? PB_V2_ENCRYPT_REQUEST : PB_V2_DECRYPT_REQUEST, req,
				      &msg);
	if (r == 0)
		r = call(l,
			 encrypt ? "/v2.KeyManagementService/Encrypt"
				 : "/v2.KeyManagementService/Decrypt",
			 span_of(msg.data, msg.len), ret);
	if (r == 0)
		r = pb_decode_response(encrypt ? PB_V2_ENCRYPT_RESPONSE : PB_V2_DECRYPT_RESPONSE,
				       span_of(ret->data, ret->len), ret_rsp);
	return r;
}

static void key_id_note(struct load *l, struct span key_id)
{
	if (span_equal(key_id, span_str(l->key_id)))
		return;
	memcpy(l->key_id, key_id.data, key_id.len);
	l->key_id[key_id.len] = '\0';
	l->key_ids++;
}

static int pair(struct load *l)
{
	_cleanup_secbuf_ struct secbuf wrapped = { 0 }, opened = { 0 };
	struct kms_request req = { .uid = span_str("load") };
	struct kms_response rsp;
	uint8_t seed[SEED];
	int r;

	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -EIO;
	req.data = span_of(seed, sizeof(seed));
	r = kms(l, true, &req, &wrapped, &rsp);
	if (r < 0)
		return r;
	if (rsp.key_id.len > KEKD_KMS_KEY_ID_MAX)
		return -EMSGSIZE;
	key_id_note(l, rsp.key_id);
	req.data = rsp.data;
	req.key_id = rsp.key_id;
	r = kms(l, false, &req, &opened, &rsp);
	if (r < 0)
		return r;
	l->pairs++;
	return span_equal(rsp.data, span_of(seed, sizeof(seed))) ? 0 : -EBADMSG;
}

static bool input_ended(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char c;

	return poll(&p, 1, 0) > 0 && read(STDIN_FILENO, &c, 1) <= 0;
}

int main(int argc, char **argv)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	struct load l = { 0 };
	int r;

	if (argc < 2 || argc > 3 || secpool_new(POOL_SIZE, &pool) < 0)
		return 2;
	l.path = argv[1];
	l.pool = pool;
	l.wait_ns = (argc == 3 ? strtoull(argv[2], NULL, 10) : WAIT_MS) * MS;
	r = pair(&l);
	if (r == 0) {
		puts("ready");
		fflush(stdout);
	}
	while (r == 0 && !input_ended())
		r = pair(&l);
	printf("pairs=%llu repeated=%llu longest_ms=%llu key_ids=%llu\n",
	       (unsigned long long)l.pairs, (unsigned long long)l.repeated,
	       (unsigned long long)(l.longest_ns / MS), (unsigned long long)l.key_ids);
	if (r < 0)
		fprintf(stderr, "load: %s\n", errno_text(r));
	return r < 0;
}
