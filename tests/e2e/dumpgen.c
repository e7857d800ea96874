/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump as `etcdctl get / --prefix -w json` prints it, of as many Secrets as wanted:
 *
 *	dumpgen COUNT BYTES [transform:SOCKET | kms:SOCKET]
 *
 * Values are plaintext, or what a Transform service stores for it, or what kube-apiserver would store with
 * the KMS v2 plugin on that socket, called "plugin" and asked once for all values, as it would be.
 * Each is protobuf of Kubernetes with BYTES bytes of data; one namespace for a thousand of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/chain/encobj.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/openssl_dek.h"
#include "daemon/ctl/bulk.h"
#include "daemon/kms/pb.h"
#include "daemon/wire/client.h"

#define VALUE_MAX (1024 * 1024)

static uint64_t printed;

static int print(void *ctx _unused_, void *tag _unused_, struct span path,
		 const struct transform_result *result)
{
	static char text[2 * VALUE_MAX];

	if (result->code != 0 || result->value.len > VALUE_MAX) {
		fprintf(stderr, "dumpgen: %.*s\n", (int)result->message.len,
			(const char *)result->message.data);
		return 1;
	}
	sodium_bin2base64(text, sizeof(text), path.data, path.len, sodium_base64_VARIANT_ORIGINAL);
	printf("%s{\"key\":\"%s\",\"create_revision\":%" PRIu64 ",\"mod_revision\":%" PRIu64
	       ",\"version\":1,\"value\":\"",
	       printed ? "," : "", text, printed + 2, printed + 2);
	sodium_bin2base64(text, sizeof(text), result->value.data, result->value.len,
			  sodium_base64_VARIANT_ORIGINAL);
	fputs(text, stdout);
	fputs("\"}", stdout);
	printed++;
	return 0;
}

/* A field of protobuf with its length; @out has room. */
static size_t put(uint8_t *out, uint8_t tag, const void *data, size_t len)
{
	size_t n = 0, rest = len;

	out[n++] = tag;
	for (; rest >= 0x80; rest >>= 7)
		out[n++] = (uint8_t)(rest | 0x80);
	out[n++] = (uint8_t)rest;
	memcpy(out + n, data, len);
	return n + len;
}

/* runtime.Unknown of a Secret with one entry "data" of @bytes bytes. */
static size_t secret(uint8_t *out, uint64_t number, size_t bytes)
{
	static uint8_t entry[VALUE_MAX], raw[VALUE_MAX], data[VALUE_MAX];
	static const uint8_t type_meta[] = "\x0a\x02v1\x12\x06Secret";
	size_t n = 0, r = 0, e;

	memset(data, 'a' + (int)(number % 26), bytes);
	e = put(entry, 0x0a, "data", 4);
	e += put(entry + e, 0x12, data, bytes);
	r = put(raw, 0x12, entry, e);
	r += put(raw + r, 0x1a, "Opaque", 6);
	memcpy(out, "k8s", 4);
	n = 4;
	n += put(out + n, 0x0a, type_meta, sizeof(type_meta) - 1);
	return n + put(out + n, 0x12, raw, r);
}

/* A seed, and the end of each EncryptedObject: key_id and the seed as the plugin has sealed it. */
static uint8_t seed[32];
static uint8_t *tail;
static size_t tail_len;

static int plugin_ask(const char *socket)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	struct kms_request req = { .data = span_of(seed, sizeof(seed)),
				   .uid = span_str("dumpgen") };
	struct encobj obj = { .type = DEK_HKDF_XNONCE_SEED };
	struct grpc_outcome out = { 0 };
	struct kms_response rsp;
	int r;

	randombytes_buf(seed, sizeof(seed));
	r = secpool_new(1 << 20, &pool);
	if (r == 0)
		r = secpool_get(pool, 1024, &msg);
	if (r == 0)
		r = pb_encode_request(PB_V2_ENCRYPT_REQUEST, &req, &msg);
	if (r == 0)
		r = grpc_client_call_sync(socket, "/v2.KeyManagementService/Encrypt",
					  span_of(msg.data, msg.len), UINT64_C(30000000000), pool,
					  &out);
	if (r == 0 && out.status != GRPC_OK)
		r = -EIO;
	if (r == 0)
		r = pb_decode_response(PB_V2_ENCRYPT_RESPONSE, span_of(out.msg.data, out.msg.len),
				       &rsp);
	if (r == 0) {
		obj.dek = rsp.data;
		obj.key_id = rsp.key_id;
		r = encobj_tail(&obj, &tail, &tail_len);
	}
	secbuf_release(&out.msg);
	return r;
}

/* What stands in etcd for @plain under @path. */
static size_t plugin_seal(struct span path, struct span plain, uint8_t *out)
{
	static const char prefix[] = "k8s:enc:kms:v2:plugin:";
	size_t data = 32 + KEKD_GCM_NONCE + plain.len + KEKD_GCM_TAG, n = sizeof(prefix) - 1;
	uint8_t dek[32];

	memcpy(out, prefix, n);
	n += encobj_head(out + n, data);
	randombytes_buf(out + n, 32 + KEKD_GCM_NONCE);
	if (hkdf_expand_sha256(span_of(seed, sizeof(seed)), span_of(out + n, 32), dek) < 0 ||
	    openssl_dek_seal(span_of(dek, 32), out + n + 32, path, plain,
			     out + n + 32 + KEKD_GCM_NONCE) < 0)
		abort();
	memcpy(out + n + data, tail, tail_len);
	return n + data + tail_len;
}

int main(int argc, char **argv)
{
	static uint8_t value[VALUE_MAX], sealed[VALUE_MAX];
	_cleanup_(bulk_freep) struct bulk *bulk = NULL;
	uint64_t count = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	int r = 0;

	if (argc < 3 || argc > 4 || bytes > VALUE_MAX / 2 || sodium_init() < 0) {
		fputs("usage: dumpgen COUNT BYTES [transform:SOCKET | kms:SOCKET]\n", stderr);
		return 2;
	}
	if (argc == 4 && strncmp(argv[3], "kms:", 4) == 0)
		r = plugin_ask(argv[3] + 4);
	else if (argc == 4)
		r = bulk_new(argv[3] + strlen("transform:"), "/kekd.v1.Transform/ToStorage", 1,
			     print, NULL, &bulk);
	printf("{\"header\":{\"cluster_id\":14841639068965178418,\"member_id\":10276657743932975437,"
	       "\"revision\":%" PRIu64 ",\"raft_term\":2},\"kvs\":[",
	       count + 1);
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		struct transform_result plain = { 0 };
		struct span path;
		char key[128];

		path = span_of(key, (size_t)snprintf(key, sizeof(key),
						     "/registry/secrets/ns-%03" PRIu64
						     "/object-%07" PRIu64,
						     i / 1000, i));
		plain.value = span_of(value, secret(value, i, bytes));
		if (tail)
			plain.value = span_of(sealed, plugin_seal(path, plain.value, sealed));
		r = bulk ? bulk_add(bulk, "secrets", path, plain.value, NULL)
			 : print(NULL, NULL, path, &plain);
	}
	if (r == 0 && bulk)
		r = bulk_finish(bulk);
	printf("],\"count\":%" PRIu64 "}\n", count);
	if (r < 0)
		fprintf(stderr, "dumpgen: %s\n", bulk ? bulk_why(bulk) : strerror(-r));
	free(tail);
	return r == 0 && fflush(stdout) == 0 ? 0 : 1;
}
