/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl encrypt and decrypt: an ordinary KMS v2 client. What goes in and out as plaintext stays
 * in locked memory; what is printed for later is ciphertext and a key_id, in JSON.
 */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/log.h"
#include "daemon/ctl/ctl.h"
#include "daemon/ctl/relay.h"
#include "daemon/dump/base64.h"
#include "daemon/kms/pb.h"

#define CALL_NS    (UINT64_C(3) * 1000 * 1000 * 1000) /* kube-apiserver's own default */
#define POOL_BYTES (1024 * 1024)
#define INPUT_MAX  (64 * 1024)

static int call(const struct ctl *ctl, struct secpool *pool, const char *method,
		enum pb_message request, const struct kms_request *req, struct secbuf *ret)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	_cleanup_secbuf_ struct secbuf msg = { 0 };
	int r;

	r = ctl_kms_socket(ctl, path, sizeof(path));
	if (r != 0)
		return r;
	r = secpool_get(pool, 1024, &msg);
	if (r == 0)
		r = pb_encode_request(request, req, &msg);
	if (r < 0)
		return ctl_fail("%s: %s", path, errno_text(r));
	return relay_call(path, method, &msg, CALL_NS, pool, ret);
}

int ctl_encrypt(const struct ctl *ctl, int argc, char **argv _unused_)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_secbuf_ struct secbuf in = { 0 }, out = { 0 };
	struct kms_request req = { .uid = span_str("kekctl") };
	_cleanup_(pb_response_done) struct kms_response rsp = { 0 };
	char text[sodium_base64_ENCODED_LEN(KEKD_KMS_CIPHERTEXT_MAX,
					    sodium_base64_VARIANT_ORIGINAL)];
	bool fits;
	int r;

	if (argc != 0)
		return ctl_usage("encrypt reads standard input");
	if (secpool_new(POOL_BYTES, &pool) < 0)
		return ctl_fail("out of memory");
	r = relay_read(pool, INPUT_MAX, &in);
	if (r != 0)
		return r;
	req.data = span_of(in.data, in.len);
	r = call(ctl, pool, "/v2.KeyManagementService/Encrypt", PB_V2_ENCRYPT_REQUEST, &req, &out);
	if (r != 0)
		return r;
	if (pb_decode_response(PB_V2_ENCRYPT_RESPONSE, span_of(out.data, out.len), &rsp) < 0)
		return ctl_fail("the answer is not a KMS v2 EncryptResponse");
	fits = rsp.data.len <= KEKD_KMS_CIPHERTEXT_MAX;
	if (fits)
		sodium_bin2base64(text, sizeof(text), rsp.data.data, rsp.data.len,
				  sodium_base64_VARIANT_ORIGINAL);
	return ctl_print_json(json_pack("{s:s?, s:s%}", "ciphertext", fits ? text : NULL, "keyId",
					rsp.key_id.data, rsp.key_id.len));
}

static int wrapped_parse(const struct secbuf *in, uint8_t *data, size_t size, size_t *ret_len,
			 char *key_id, size_t key_id_size)
{
	const char *b64, *id;
	json_error_t err;
	json_t *j;
	int r = -EINVAL;

	j = json_loadb((const char *)in->data, in->len, JSON_REJECT_DUPLICATES, &err);
	if (j && json_unpack(j, "{s:s, s:s!}", "ciphertext", &b64, "keyId", &id) == 0 &&
	    base64_room(strlen(b64)) <= size && base64_decode(span_str(b64), data, ret_len) == 0 &&
	    (size_t)snprintf(key_id, key_id_size, "%s", id) < key_id_size)
		r = 0;
	json_decref(j);
	return r;
}

int ctl_decrypt(const struct ctl *ctl, int argc, char **argv _unused_)
{
	_cleanup_(secpool_freep) struct secpool *pool = NULL;
	_cleanup_secbuf_ struct secbuf in = { 0 }, out = { 0 };
	struct kms_request req = { .uid = span_str("kekctl") };
	uint8_t data[KEKD_KMS_CIPHERTEXT_MAX + 2]; /* whole groups of three */
	char key_id[KEKD_KMS_KEY_ID_MAX + 1];
	_cleanup_(pb_response_done) struct kms_response rsp = { 0 };
	size_t len;
	int r;

	if (argc != 0)
		return ctl_usage("decrypt reads standard input");
	if (secpool_new(POOL_BYTES, &pool) < 0)
		return ctl_fail("out of memory");
	r = relay_read(pool, INPUT_MAX, &in);
	if (r != 0)
		return r;
	if (wrapped_parse(&in, data, sizeof(data), &len, key_id, sizeof(key_id)) < 0)
		return ctl_fail("standard input must be what kekctl encrypt prints: "
				"{\"ciphertext\": BASE64, \"keyId\": TEXT}");
	req.data = span_of(data, len);
	req.key_id = span_str(key_id);
	r = call(ctl, pool, "/v2.KeyManagementService/Decrypt", PB_V2_DECRYPT_REQUEST, &req, &out);
	if (r != 0)
		return r;
	if (pb_decode_response(PB_V2_DECRYPT_RESPONSE, span_of(out.data, out.len), &rsp) < 0)
		return ctl_fail("the answer is not a KMS v2 DecryptResponse");
	return relay_write(rsp.data);
}
