/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One AES-256-GCM message or one AES-256 block under a key given as bytes, by libcrypto: what kekd makes is
 * compared with it. All
 * parameters are borrowed for the call. -ENOMEM, -EIO (libcrypto refuses); outputs are untouched on
 * failure unless said otherwise.
 */
#ifndef KEKD_TESTS_OPENSSL_SEAL_H
#define KEKD_TESTS_OPENSSL_SEAL_H

#include <stdint.h>

#include <kekd/limits.h>
#include <kekd/span.h>

/* -EBADMSG: the tag does not hold; @ret is all zero then. */
int openssl_gcm_open(const uint8_t key[static KEKD_AES_KEY_MAX],
		     const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad, struct span in,
		     const uint8_t tag[static KEKD_GCM_TAG], uint8_t *ret);
/* E_K(in). */
int openssl_aes_block(const uint8_t key[static KEKD_AES_KEY_MAX],
		      const uint8_t in[static KEKD_AES_BLOCK], uint8_t ret[static KEKD_AES_BLOCK]);

#endif
