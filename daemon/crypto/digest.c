/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin covers over EVP_MD and EVP_MAC of OpenSSL 3. Contexts are freed, and wiped by
 * libcrypto, on every way out. What libcrypto fails for is a matter of this process (memory,
 * a missing provider) and never of the caller's bytes.
 */
#include "daemon/crypto/digest.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/secmem.h"

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free);
DEFINE_CLEANUP(EVP_MAC *, EVP_MAC_free);
DEFINE_CLEANUP(EVP_MAC_CTX *, EVP_MAC_CTX_free);

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

/* Under any key: others are copied from it, as to find the digest by its name takes as long as some hundred blocks. */
static EVP_MAC_CTX *hmac_pattern(void)
{
	_cleanup_(EVP_MAC_freep) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	static const uint8_t key[SHA256_LEN];
	char name[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};

	return ctx && EVP_MAC_init(ctx, key, sizeof(key), params) ? move_ptr(ctx) : NULL;
}

/* A NULL key means "keep the last one" to EVP_MAC_init(): an empty key needs an address. */
static int hmac_new(struct span key, EVP_MAC_CTX **ret)
{
	static EVP_MAC_CTX *pattern;
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = NULL;
	const uint8_t none[1] = { 0 };

	if (!pattern)
		pattern = hmac_pattern();
	ctx = pattern ? EVP_MAC_CTX_dup(pattern) : NULL;
	if (!ctx || !EVP_MAC_init(ctx, key.len > 0 ? key.data : none, key.len, NULL))
		return digest_error();
	*ret = move_ptr(ctx);
	return 0;
}

/* HMAC of the @n @parts under the key that @ctx has got just now. */
static int hmac_parts(EVP_MAC_CTX *ctx, const struct span *parts, size_t n, uint8_t *ret)
{
	size_t len;

	for (size_t i = 0; i < n; i++)
		if (parts[i].len > 0 && !EVP_MAC_update(ctx, parts[i].data, parts[i].len))
			return digest_error();
	return EVP_MAC_final(ctx, ret, &len, SHA256_LEN) ? 0 : digest_error();
}

int hmac_sha256(struct span key, const struct span *parts, size_t n, uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = NULL;
	uint8_t md[SHA256_LEN];
	int r = hmac_new(key, &ctx);

	if (r == 0)
		r = hmac_parts(ctx, parts, n, md);
	if (r == 0)
		memcpy(ret, md, sizeof(md));
	secmem_wipe(md, sizeof(md));
	return r;
}

int hkdf_expand_sha256(struct span prk, struct span info, uint8_t ret[static SHA256_LEN])
{
	const struct span parts[] = { info, span_of("\1", 1) };

	return prk.len < SHA256_LEN ? -EINVAL : hmac_sha256(prk, parts, ARRAY_SIZE(parts), ret);
}

/* The same under the key that @ctx has had before. */
static int hmac_again(EVP_MAC_CTX *ctx, const struct span *parts, size_t n, uint8_t *ret)
{
	return EVP_MAC_init(ctx, NULL, 0, NULL) ? hmac_parts(ctx, parts, n, ret) : digest_error();
}

int pbkdf2_sha256(struct span password, struct span salt, uint64_t iterations,
		  uint8_t ret[static SHA256_LEN])
{
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = NULL;
	const uint8_t block[] = { 0, 0, 0, 1 };
	const struct span first[] = { salt, span_of(block, sizeof(block)) };
	uint8_t u[SHA256_LEN], sum[SHA256_LEN];
	const struct span last = span_of(u, sizeof(u));
	int r;

	if (iterations == 0)
		return -EINVAL;
	r = hmac_new(password, &ctx);
	if (r == 0)
		r = hmac_parts(ctx, first, ARRAY_SIZE(first), u);
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
