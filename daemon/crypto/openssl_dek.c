/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVP by the book (EVP_EncryptInit(3)). EVP_DecryptUpdate() writes plaintext before the tag has
 * been compared, so an opening that fails wipes what it wrote.
 */
#include "daemon/crypto/openssl_dek.h"

#include <errno.h>
#include <openssl/evp.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/secmem.h"

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);
#define _cleanup_ctx_ _cleanup_(EVP_CIPHER_CTX_freep)

static const struct {
	size_t len;
	const char *gcm, *cbc;
} ciphers[] = {
	{ 16, "AES-128-GCM", "AES-128-CBC" },
	{ 24, "AES-192-GCM", "AES-192-CBC" },
	{ 32, "AES-256-GCM", "AES-256-CBC" },
};

/*
 * Found once each: libcrypto searches its providers at each use of EVP_aes_256_gcm(), which takes nearly as long
 * as a value of 2 KiB.
 */
static int cipher_find(size_t len, bool gcm, const EVP_CIPHER **ret)
{
	static EVP_CIPHER *found[ARRAY_SIZE(ciphers)][2];

	for (size_t i = 0; i < ARRAY_SIZE(ciphers); i++) {
		if (ciphers[i].len != len)
			continue;
		if (!found[i][gcm])
			found[i][gcm] =
				EVP_CIPHER_fetch(NULL, gcm ? ciphers[i].gcm : ciphers[i].cbc, NULL);
		*ret = found[i][gcm];
		return *ret ? 0 : -EIO;
	}
	return -EINVAL;
}

/* A context under @key; caller frees. */
static int dek_start(struct span key, bool gcm, int encrypt, const uint8_t *iv,
		     EVP_CIPHER_CTX **ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = NULL;
	const EVP_CIPHER *cipher;
	int r = cipher_find(key.len, gcm, &cipher);

	if (r < 0)
		return r;
	ctx = EVP_CIPHER_CTX_new();
	if (!ctx)
		return -ENOMEM;
	if (EVP_CipherInit_ex(ctx, cipher, NULL, key.data, iv, encrypt) != 1)
		return -EIO;
	*ret = move_ptr(ctx);
	return 0;
}

static int start_gcm(struct span key, int encrypt, const uint8_t *nonce, struct span aad,
		     struct span in, EVP_CIPHER_CTX **ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = NULL;
	int n, r;

	if (in.len > KEKD_VALUE_MAX || aad.len > KEKD_VALUE_MAX)
		return -EMSGSIZE;
	r = dek_start(key, true, encrypt, nonce, &ctx);
	if (r < 0)
		return r;
	if (aad.len > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) != 1)
		return -EIO;
	*ret = move_ptr(ctx);
	return 0;
}

int openssl_dek_seal(struct span key, const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad,
		     struct span in, uint8_t *ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = NULL;
	int n = 0, r;

	r = start_gcm(key, 1, nonce, aad, in, &ctx);
	if (r < 0)
		return r;
	if ((in.len > 0 && EVP_CipherUpdate(ctx, ret, &n, in.data, (int)in.len) != 1) ||
	    EVP_CipherFinal_ex(ctx, ret + n, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KEKD_GCM_TAG, ret + in.len) != 1) {
		secmem_wipe(ret, in.len);
		return -EIO;
	}
	return 0;
}

int openssl_dek_open(struct span key, const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad,
		     struct span in, uint8_t *ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = NULL;
	uint8_t tag[KEKD_GCM_TAG], none[KEKD_AES_BLOCK];
	size_t len = in.len - KEKD_GCM_TAG;
	int n = 0, r;

	if (in.len < KEKD_GCM_TAG)
		return -EBADMSG;
	memcpy(tag, in.data + len, sizeof(tag));
	r = start_gcm(key, 0, nonce, aad, in, &ctx);
	if (r < 0)
		return r;
	if ((len > 0 && EVP_CipherUpdate(ctx, ret, &n, in.data, (int)len) != 1) ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, KEKD_GCM_TAG, tag) != 1) {
		secmem_wipe(ret, len);
		return -EIO;
	}
	if (EVP_CipherFinal_ex(ctx, none, &n) != 1) {
		secmem_wipe(ret, len);
		return -EBADMSG;
	}
	return 0;
}

int openssl_dek_cbc_decrypt(struct span key, const uint8_t iv[static KEKD_AES_BLOCK],
			    struct span in, uint8_t *ret)
{
	_cleanup_ctx_ EVP_CIPHER_CTX *ctx = NULL;
	uint8_t none[KEKD_AES_BLOCK];
	int n, r;

	if (in.len == 0 || in.len % KEKD_AES_BLOCK != 0)
		return -EBADMSG;
	if (in.len > KEKD_VALUE_MAX)
		return -EMSGSIZE;
	r = dek_start(key, false, 0, iv, &ctx);
	if (r < 0)
		return r;
	if (EVP_CIPHER_CTX_set_padding(ctx, 0) != 1 ||
	    EVP_CipherUpdate(ctx, ret, &n, in.data, (int)in.len) != 1 ||
	    EVP_CipherFinal_ex(ctx, none, &n) != 1) {
		secmem_wipe(ret, in.len);
		return -EIO;
	}
	return 0;
}
