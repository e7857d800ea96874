/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin covers over EVP_MD, EVP_MAC and EVP_KDF of OpenSSL 3. Contexts are freed, and wiped by
 * libcrypto, on every way out. What libcrypto fails for is a matter of this process (memory,
 * a missing provider) and never of the caller's bytes.
 */
#include "daemon/crypto/digest.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/secmem.h"

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(EVP_MAC *, EVP_MAC_free);
DEFINE_CLEANUP(EVP_MAC_CTX *, EVP_MAC_CTX_free);
DEFINE_CLEANUP(EVP_KDF *, EVP_KDF_free);
DEFINE_CLEANUP(EVP_KDF_CTX *, EVP_KDF_CTX_free);

/* The error queue of libcrypto is per thread and grows: nobody else reads it here. */
static int digest_error(void)
{
	unsigned long e = ERR_peek_last_error();

	ERR_clear_error();
	return ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EIO;
}

int sha256(const struct span *parts, size_t n, uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t md[SHA256_LEN];

	if (!ctx)
		return -ENOMEM;
	if (!EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
		return digest_error();
	for (size_t i = 0; i < n; i++) {
		if (!EVP_DigestUpdate(ctx, parts[i].data, parts[i].len))
			return digest_error();
	}
	if (!EVP_DigestFinal_ex(ctx, md, NULL))
		return digest_error();
	memcpy(ret, md, sizeof(md));
	secmem_wipe(md, sizeof(md));
	return 0;
}

/* A NULL key means "keep the last one" to EVP_MAC_init(): an empty key needs an address. */
static int hmac_key(EVP_MAC_CTX *ctx, struct span key)
{
	char name[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};
	const uint8_t none[1] = { 0 };

	if (!EVP_MAC_init(ctx, key.len > 0 ? key.data : none, key.len, params))
		return digest_error();
	return 0;
}

int hmac_sha256(struct span key, const struct span *parts, size_t n, uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MAC_freep) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t md[SHA256_LEN];
	size_t len;
	int r;

	if (!ctx)
		return digest_error();
	r = hmac_key(ctx, key);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (!EVP_MAC_update(ctx, parts[i].data, parts[i].len))
			return digest_error();
	}
	if (!EVP_MAC_final(ctx, md, &len, sizeof(md)))
		return digest_error();
	memcpy(ret, md, sizeof(md));
	secmem_wipe(md, sizeof(md));
	return 0;
}

/* OSSL_PARAM is not const-correct; libcrypto copies key and info and changes neither. */
static OSSL_PARAM hkdf_octets(const char *name, struct span s)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)s.data, s.len);
}

int hkdf_expand_sha256(struct span prk, struct span info, uint8_t *ret, size_t len)
{
	_cleanup_(EVP_KDF_freep) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	_cleanup_(EVP_KDF_CTX_freep) EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	uint8_t okm[HKDF_SHA256_MAX];
	char name[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		hkdf_octets(OSSL_KDF_PARAM_KEY, prk),
		info.len > 0 ? hkdf_octets(OSSL_KDF_PARAM_INFO, info) : OSSL_PARAM_construct_end(),
		OSSL_PARAM_construct_end(),
	};

	if (len == 0 || len > HKDF_SHA256_MAX || prk.len < SHA256_LEN)
		return -EINVAL;
	if (!ctx)
		return digest_error();
	if (EVP_KDF_derive(ctx, okm, len, params) <= 0) {
		secmem_wipe(okm, len);
		return digest_error();
	}
	memcpy(ret, okm, len);
	secmem_wipe(okm, len);
	return 0;
}
