/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVP by the book (EVP_EncryptInit(3)). EVP_DecryptUpdate() writes plaintext before the tag has
 * been compared, so an opening that fails wipes what it wrote.
 */
#include "tests/support/openssl_seal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/secmem.h"

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);
#define _cleanup_ctx_ _cleanup_(EVP_CIPHER_CTX_freep)

static int gcm_start(EVP_CIPHER_CTX *ctx, int encrypt, const uint8_t *key, const uint8_t *nonce,
		     struct span aad)
{
	int n;

	if (aad.len > INT_MAX)
		return -EINVAL;
	if (EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) != 1)
		return -EIO;
	if (aad.len > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) != 1)
		return -EIO;
	return 0;
}

int openssl_gcm_open(const uint8_t key[static KEKD_AES_KEY_MAX],
		     const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad, struct span in,
		     const uint8_t tag[static KEKD_GCM_TAG], uint8_t *ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, r;

	if (!ctx)
		return -ENOMEM;
	if (in.len > INT_MAX)
		return -EINVAL;
	r = gcm_start(ctx, 0, key, nonce, aad);
	if (r < 0)
		return r;
	if (EVP_DecryptUpdate(ctx, ret, &n, in.data, (int)in.len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, KEKD_GCM_TAG, (void *)(uintptr_t)tag) !=
		    1) {
		secmem_wipe(ret, in.len);
		return -EIO;
	}
	if (EVP_DecryptFinal_ex(ctx, ret + n, &n) != 1) {
		secmem_wipe(ret, in.len);
		return -EBADMSG;
	}
	return 0;
}

int openssl_aes_block(const uint8_t key[static KEKD_AES_KEY_MAX],
		      const uint8_t in[static KEKD_AES_BLOCK], uint8_t ret[static KEKD_AES_BLOCK])
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	if (!ctx)
		return -ENOMEM;
	if (EVP_EncryptInit_ex(ctx, EVP_aes_256_ecb(), NULL, key, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
	    EVP_EncryptUpdate(ctx, ret, &n, in, KEKD_AES_BLOCK) != 1 || n != KEKD_AES_BLOCK)
		return -EIO;
	return 0;
}
