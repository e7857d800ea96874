/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4), HMAC-SHA256 (RFC 2104), HKDF-Expand (RFC 5869 §2.3) and PBKDF2 (RFC 8018 §5.2), from
 * libcrypto.
 *
 * Messages are given in parts, so that nobody has to join secrets in a buffer of his own.
 * Every function allocates inside libcrypto and returns -ENOMEM when that fails, -EIO when libcrypto
 * refuses for another reason (a provider that is not there). Outputs are untouched on failure.
 */
#ifndef KEKD_CRYPTO_DIGEST_H
#define KEKD_CRYPTO_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/span.h>

#define SHA256_LEN 32

/* Digest of the @n @parts joined. All borrowed for the call. */
int sha256(const struct span *parts, size_t n, uint8_t ret[static SHA256_LEN]);

/* HMAC of the @n @parts joined under @key, of any length. All borrowed for the call. */
int hmac_sha256(struct span key, const struct span *parts, size_t n,
		uint8_t ret[static SHA256_LEN]);

/*
 * HKDF-Expand without Extract, its first block, HMAC(@prk, @info ‖ 1): what the apiserver does with a KMS v2 seed (prk = the
 * seed, 32 bytes). -EINVAL unless @prk holds at least SHA256_LEN bytes.
 */
int hkdf_expand_sha256(struct span prk, struct span info, uint8_t ret[static SHA256_LEN]);

/*
 * PBKDF2-HMAC-SHA256, its first block. -EINVAL unless @iterations > 0. The salt may be a secret, as in
 * SLIP-0039: libcrypto's own PBKDF2 would leave a copy of it in freed memory.
 */
int pbkdf2_sha256(struct span password, struct span salt, uint64_t iterations,
		  uint8_t ret[static SHA256_LEN]);

#endif
