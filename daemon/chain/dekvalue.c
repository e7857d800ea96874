/* SPDX-License-Identifier: Apache-2.0 */
/* See dekvalue.h. */
#include "daemon/chain/dekvalue.h"

#include <errno.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/openssl_dek.h"
#include "daemon/crypto/pkcs7.h"

int dekvalue_open_gcm(struct span dek, struct span aad, struct span body, uint8_t *out, size_t cap,
		      size_t *ret_len)
{
	size_t len;
	int r;

	if (body.len < KEKD_GCM_NONCE + KEKD_GCM_TAG)
		return -EBADMSG;
	len = body.len - KEKD_GCM_NONCE - KEKD_GCM_TAG;
	if (len > cap)
		return -EMSGSIZE;
	r = openssl_dek_open(dek, body.data, aad, span_skip(body, KEKD_GCM_NONCE), out);
	if (r == 0)
		*ret_len = len;
	return r;
}

int dekvalue_open_seeded(struct span seed, struct span aad, struct span body,
			 uint8_t scratch[static KEKD_AES_KEY_MAX], uint8_t *out, size_t cap,
			 size_t *ret_len)
{
	int r;

	if (seed.len != DEKVALUE_SEED)
		return -EPROTO;
	if (body.len < DEKVALUE_INFO)
		return -EBADMSG;
	r = hkdf_expand_sha256(seed, span_of(body.data, DEKVALUE_INFO), scratch);
	if (r == 0)
		r = dekvalue_open_gcm(span_of(scratch, KEKD_AES_KEY_MAX), aad,
				      span_skip(body, DEKVALUE_INFO), out, cap, ret_len);
	secmem_wipe(scratch, KEKD_AES_KEY_MAX);
	return r;
}

int dekvalue_open_cbc(struct span dek, struct span body, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t len;
	int r;

	if (body.len < 2 * KEKD_AES_BLOCK)
		return -EBADMSG;
	len = body.len - KEKD_AES_BLOCK;
	if (len > cap)
		return -EMSGSIZE;
	r = openssl_dek_cbc_decrypt(dek, body.data, span_skip(body, KEKD_AES_BLOCK), out);
	if (r < 0)
		return r;
	r = pkcs7_unpad(out, len, ret_len);
	if (r < 0)
		secmem_wipe(out, len);
	return r;
}
