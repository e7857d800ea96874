/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcrypto need not do for kekd, said before its first use.
 */
#ifndef KEKD_CRYPTO_OPENSSL_START_H
#define KEKD_CRYPTO_OPENSSL_START_H

/*
 * Once, first thing in a process that uses digests, ciphers and MACs alone; not with TLS or certificates. -EIO: the
 * machine's configuration leaves no provider that can be used, which has been logged.
 */
int openssl_start(void);

#endif
