/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask bodies SOCKET v1|v2 DIR: ask a KMS plugin once for each method and keep the requests, framed as
 * gRPC sends them, in DIR/status, DIR/encrypt and DIR/decrypt; print for each the length of its
 * answer, framed too. h2load then repeats those requests and knows what a good answer weighs: an error
 * has no message, so a wrong sum of bytes tells what a count of HTTP statuses does not.
 *
 * ask first SOCKET COMMAND...: start a plugin and print the microseconds until it has answered a v2
 * Status with OK. It is ended by SIGTERM afterwards.
 *
 * Exit status 1 when an answer is missing, an error, or a plaintext is not the one that went in.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

#define SECOND    UINT64_C(1000000000)
#define POOL_SIZE (1024 * 1024)
#define BODY_MAX  8192
#define FRAME     5

/* A seed's length, and a uid's as the apiserver makes them. */
#define SEED 32
#define UID  "3f2c6c1e-2f6e-4a57-9d38-444455556666"

enum method { STATUS, ENCRYPT, DECRYPT, METHODS };

struct api {
	const char *name;
	const char *paths[METHODS];
	enum pb_message request[METHODS], response[METHODS];
};

static const struct api apis[] = {
	{ "v1",
	  { "/v1beta1.KeyManagementService/Version", "/v1beta1.KeyManagementService/Encrypt",
	    "/v1beta1.KeyManagementService/Decrypt" },
	  { PB_V1_VERSION_REQUEST, PB_V1_ENCRYPT_REQUEST, PB_V1_DECRYPT_REQUEST },
	  { PB_V1_VERSION_RESPONSE, PB_V1_ENCRYPT_RESPONSE, PB_V1_DECRYPT_RESPONSE } },
	{ "v2",
	  { "/v2.KeyManagementService/Status", "/v2.KeyManagementService/Encrypt",
	    "/v2.KeyManagementService/Decrypt" },
	  { PB_V2_STATUS_REQUEST, PB_V2_ENCRYPT_REQUEST, PB_V2_DECRYPT_REQUEST },
	  { PB_V2_STATUS_RESPONSE, PB_V2_ENCRYPT_RESPONSE, PB_V2_DECRYPT_RESPONSE } },
};
static const char *const names[METHODS] = { "status", "encrypt", "decrypt" };
static const uint8_t seed[SEED] = "a seed of no secret at all, 32 B";

struct asker {
	const struct api *api;
	const char *socket, *dir;
	struct secpool *pool;
};

static int save(const struct asker *a, enum method m, struct span msg)
{
	_cleanup_free_ char *path = NULL;
	uint8_t head[FRAME] = { 0 };
	uint32_t len = htobe32((uint32_t)msg.len);
	FILE *f;
	bool good;

	if (asprintf(&path, "%s/%s", a->dir, names[m]) < 0)
		return -ENOMEM;
	f = fopen(path, "w");
	if (!f)
		return -errno;
	memcpy(head + 1, &len, sizeof(len));
	good = fwrite(head, sizeof(head), 1, f) == 1 &&
	       (msg.len == 0 || fwrite(msg.data, msg.len, 1, f) == 1);
	return fclose(f) == 0 && good ? 0 : -EIO;
}

/* @out holds what @ret points into; caller releases. */
static int call(const struct asker *a, enum method m, struct span msg, struct grpc_outcome *out,
		struct kms_response *ret)
{
	int r = grpc_client_call_sync(a->socket, a->api->paths[m], msg, SECOND, a->pool, out);

	if (r == 0 && out->status != GRPC_OK) {
		fprintf(stderr, "ask: %s: %s: %s\n", names[m], grpc_status_name(out->status),
			out->text);
		r = -EIO;
	}
	if (r == 0)
		r = pb_decode_response(a->api->response[m], span_of(out->msg.data, out->msg.len),
				       ret);
	return r;
}

/* Ask, keep the request, print what the answer weighs. */
static int ask(const struct asker *a, enum method m, const struct kms_request *req,
	       struct grpc_outcome *out, struct kms_response *ret)
{
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	int r;

	r = secpool_get(a->pool, BODY_MAX, &msg);
	if (r == 0)
		r = pb_encode_request(a->api->request[m], req, &msg);
	if (r == 0)
		r = save(a, m, span_of(msg.data, msg.len));
	if (r == 0)
		r = call(a, m, span_of(msg.data, msg.len), out, ret);
	if (r == 0)
		printf("%s %zu\n", names[m], out->msg.len + FRAME);
	return r;
}

static int bodies(const struct asker *a)
{
	struct grpc_outcome out[METHODS] = { 0 };
	struct kms_request req = { .uid = span_str(UID) };
	struct kms_response rsp[METHODS] = { 0 };
	int r;

	if (a->api == &apis[0])
		req.version = span_str("v1beta1");
	r = ask(a, STATUS, &req, &out[STATUS], &rsp[STATUS]);
	req.data = span_of(seed, sizeof(seed));
	if (r == 0)
		r = ask(a, ENCRYPT, &req, &out[ENCRYPT], &rsp[ENCRYPT]);
	req.data = rsp[ENCRYPT].data;
	req.key_id = rsp[ENCRYPT].key_id;
	req.annotations = rsp[ENCRYPT].annotations;
	if (r == 0)
		r = ask(a, DECRYPT, &req, &out[DECRYPT], &rsp[DECRYPT]);
	if (r == 0 && !span_equal(rsp[DECRYPT].data, span_of(seed, sizeof(seed))))
		r = -EBADMSG;
	for (int m = 0; m < METHODS; m++) {
		pb_response_done(&rsp[m]);
		secbuf_release(&out[m].msg);
	}
	return r;
}

/* The plugin's output goes where ours for people goes; it ends with us. */
static pid_t launch(char **argv)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	dup2(STDERR_FILENO, STDOUT_FILENO);
	execvp(argv[0], argv);
	_exit(127);
}

static bool answers(const struct asker *a)
{
	struct grpc_outcome out = { 0 };
	bool good;

	good = grpc_client_call_sync(a->socket, a->api->paths[STATUS], SPAN_NULL, SECOND, a->pool,
				     &out) == 0 &&
	       out.status == GRPC_OK;
	secbuf_release(&out.msg);
	return good;
}

/* A socket that is not there costs a system call, so asking often disturbs little. */
static int first(const struct asker *a, char **argv)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	uint64_t begun = now_ns();
	pid_t pid = launch(argv);
	int status;

	if (pid < 0)
		return -errno;
	while (access(a->socket, F_OK) < 0 || !answers(a)) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			return -ECHILD;
		if (now_ns() - begun > 60 * SECOND) {
			kill(pid, SIGKILL);
			return -ETIME;
		}
		nanosleep(&pause, NULL);
	}
	printf("%llu\n", (unsigned long long)((now_ns() - begun) / 1000));
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return 0;
}

static const struct api *api_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(apis); i++)
		if (strcmp(apis[i].name, name) == 0)
			return &apis[i];
	return NULL;
}

int main(int argc, char **argv)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	struct asker a = { .api = &apis[1] };
	int r = -EINVAL;

	log_init("ask", LOG_LEVEL_ERROR);
	if (argc < 4 || secpool_new(POOL_SIZE, &pool) < 0)
		goto usage;
	a.pool = pool;
	a.socket = argv[2];
	if (strcmp(argv[1], "first") == 0) {
		r = first(&a, argv + 3);
	} else if (strcmp(argv[1], "bodies") == 0 && argc == 5) {
		a.api = api_find(argv[3]);
		a.dir = argv[4];
		if (!a.api)
			goto usage;
		r = bodies(&a);
	} else {
		goto usage;
	}
	if (r < 0)
		fprintf(stderr, "ask: %s\n", errno_text(r));
	return r < 0;
usage:
	fputs("usage: ask bodies SOCKET v1|v2 DIR\n       ask first SOCKET COMMAND...\n", stderr);
	return 2;
}
