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
DEFINE_CLEANUP(EVP_KDF_CTX *, EVP_KDF_CTX_free);

/* The error queue of libcrypto is per thread and grows: nobody else reads it here. */
static int digest_error(void)
{
	unsigned long e = ERR_peek_last_error();

	ERR_clear_error();
	return ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EIO;
}

/* Found once: libcrypto searches its providers at each use of EVP_sha256(), which takes as long as two blocks. */
static const EVP_MD *sha256_md(void)
{
	static EVP_MD *md;

	if (!md)
		md = EVP_MD_fetch(NULL, "SHA256", NULL);
	return md;
}

static int digest_parts(EVP_MD_CTX *ctx, const struct span *parts, size_t n,
			uint8_t ret[static SHA256_LEN])
{
	if (!sha256_md() || !EVP_DigestInit_ex(ctx, sha256_md(), NULL))
		return digest_error();
	for (size_t i = 0; i < n; i++)
		if (parts[i].len > 0 && !EVP_DigestUpdate(ctx, parts[i].data, parts[i].len))
			return digest_error();
	return EVP_DigestFinal_ex(ctx, ret, NULL) ? 0 : digest_error();
}

int sha256(const struct span *parts, size_t n, uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t md[SHA256_LEN];
	int r = ctx ? digest_parts(ctx, parts, n, md) : -ENOMEM;

	if (r == 0)
		memcpy(ret, md, sizeof(md));
	secmem_wipe(md, sizeof(md));
	return r;
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
	_cleanup_(EVP_KDF_CTX_freep) EVP_KDF_CTX *ctx = NULL;
	static EVP_KDF *kdf; /* found once */
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
	if (!kdf)
		kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
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

/* HMAC of @in under the key that @ctx has. */
static int hmac_again(EVP_MAC_CTX *ctx, const struct span *in, size_t n, uint8_t *ret)
{
	size_t len;

	if (!EVP_MAC_init(ctx, NULL, 0, NULL))
		return digest_error();
	for (size_t i = 0; i < n; i++)
		if (!EVP_MAC_update(ctx, in[i].data, in[i].len))
			return digest_error();
	return EVP_MAC_final(ctx, ret, &len, SHA256_LEN) ? 0 : digest_error();
}

int pbkdf2_sha256(struct span password, struct span salt, uint64_t iterations,
		  uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MAC_freep) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	const uint8_t block[] = { 0, 0, 0, 1 };
	const struct span first[] = { salt, span_of(block, sizeof(block)) };
	uint8_t u[SHA256_LEN], sum[SHA256_LEN];
	const struct span last = span_of(u, sizeof(u));
	int r;

	if (iterations == 0)
		return -EINVAL;
	if (!ctx)
		return digest_error();
	r = hmac_key(ctx, password);
	if (r == 0)
		r = hmac_again(ctx, first, ARRAY_SIZE(first), u);
	if (r == 0)
		memcpy(sum, u, sizeof(sum));
	for (uint64_t i = 1; r == 0 && i < iterations; i++) {
		r = hmac_again(ctx, &last, 1, u);
		for (size_t j = 0; r == 0 && j < sizeof(sum); j++)
			sum[j] ^= u[j];
	}
	if (r == 0)
		memcpy(ret, sum, sizeof(sum));
	secmem_wipe(u, sizeof(u));
	secmem_wipe(sum, sizeof(sum));
	return r;
}
