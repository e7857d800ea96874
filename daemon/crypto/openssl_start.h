/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcrypto need not do for kekd, said before its first use.
 */
#ifndef KEKD_CRYPTO_OPENSSL_START_H
#define KEKD_CRYPTO_OPENSSL_START_H

#include <stdbool.h>

/*
 * Once, first thing in a process that uses digests, ciphers and MACs alone; not with TLS or certificates. -EIO: the
 * machine's configuration leaves no provider that can be used, which has been logged.
 */
int openssl_start(void);

/* After that: whether its configuration asks for implementations with the property fips=yes alone. */
bool openssl_asks_for_fips(void);

#endif
