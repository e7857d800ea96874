/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backend `openssl`: AES in this process, by libcrypto. The baseline of the benchmark, and for hosts
 * whose policy forbids AF_ALG; only when the configuration names it.
 *
 * Unlike the kernel backend this one has key bytes in the process's memory. The caller's copy is the
 * caller's to lock and wipe. The key schedule lives in libcrypto's heap: wiped when it is freed
 * (EVP_CIPHER_CTX_free, OPENSSL_clear_free), but not locked, and OpenSSL 3 has no way to place it.
 * CRYPTO_secure_malloc_init() does not help, as cipher contexts do not use the secure heap.
 * CRYPTO_set_mem_functions() would, but replaces every allocation of libcrypto in the process, for
 * all its users, and must come before the first. So a process that makes such keys locks itself
 * whole: backend_openssl_lock_process(), beside PR_SET_DUMPABLE 0 and no core dumps, as everywhere.
 */
#ifndef KEKD_CRYPTO_BACKEND_OPENSSL_H
#define KEKD_CRYPTO_BACKEND_OPENSSL_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/backend.h>

/*
 * mlockall(2) of all that is mapped and will be. Before the first key. -ENOMEM or -EPERM:
 * RLIMIT_MEMLOCK is too low for the whole process (LimitMEMLOCK=infinity in the unit).
 */
int backend_openssl_lock_process(void);

/*
 * A key of @len bytes, 16, 24 or 32; @key is borrowed for the call. @defer is borrowed until the key
 * is freed: engine_defer() of the engine it is for. -EINVAL length, -ENOMEM, -EIO libcrypto has no
 * such cipher. Caller frees the result, or gives it to engine_key_new().
 */
int backend_openssl_new(struct block_defer *defer, const uint8_t *key, size_t len,
			struct block_key **ret);

#endif
