/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES in this process, by libcrypto: what a holder has (crypto/holder.h), and the baseline of the benchmark. No server
 * uses it.
 *
 * The caller's copy of a key is the caller's to lock and wipe. The key schedule lives in libcrypto's heap: wiped
 * when it is freed (EVP_CIPHER_CTX_free, OPENSSL_clear_free), but not locked, and OpenSSL 3 has no way to place
 * it alone; CRYPTO_secure_malloc_init() does not help, as cipher contexts do not use the secure heap. So a holder
 * locks all of that heap (crypto/openssl_heap.h).
 */
#ifndef KEKD_CRYPTO_BACKEND_OPENSSL_H
#define KEKD_CRYPTO_BACKEND_OPENSSL_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/backend.h>

/*
 * A key of @len bytes, 16, 24 or 32; @key is borrowed for the call. @defer is borrowed until the key
 * is freed: engine_defer() of the engine it is for. -EINVAL length, -ENOMEM, -EIO libcrypto has no
 * such cipher. Caller frees the result, or gives it to engine_key_new().
 */
int backend_openssl_new(struct block_defer *defer, const uint8_t *key, size_t len,
			struct block_key **ret);

#endif
