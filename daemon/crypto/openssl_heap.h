/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that libcrypto allocates, in locked memory: key schedules lie on its heap, and it has no way to
 * place them alone (crypto/backend_openssl.h). For a process that does nothing but use keys.
 *
 * The heap has one size for ever and asks the kernel for nothing, so it goes on under a filter that
 * allows no more than read(2) and write(2). What is freed is wiped.
 */
#ifndef KEKD_CRYPTO_OPENSSL_HEAP_H
#define KEKD_CRYPTO_OPENSSL_HEAP_H

#include <stddef.h>

/*
 * Before anything of libcrypto has been used in this process: -EALREADY otherwise. @size bytes of memory that is
 * locked, and secret where the kernel has that (base/secmem.h). -EAGAIN, -ENOMEM: so much cannot be locked.
 */
int openssl_heap_new(size_t size);
/* What was taken until now, at most, in bytes. */
size_t openssl_heap_used(void);
/* Wipe all of it. Nothing of libcrypto may be used after that. */
void openssl_heap_wipe(void);

#endif
