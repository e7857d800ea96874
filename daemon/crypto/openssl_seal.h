/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One AES-256-GCM message or one AES-256 block under a key given as bytes: what the key store needs
 * to seal the keys of the openssl backend. Traffic does not come this way, it has the engine.
 *
 * libcrypto keeps the key schedule on its heap while a call lasts and cleanses it on free. All
 * parameters are borrowed for the call. -ENOMEM, -EIO (libcrypto refuses); outputs are untouched on
 * failure unless said otherwise.
 */
#ifndef KEKD_CRYPTO_OPENSSL_SEAL_H
#define KEKD_CRYPTO_OPENSSL_SEAL_H

#include <stdint.h>

#include <kekd/limits.h>
#include <kekd/span.h>

/* in.len bytes to @ret and the tag. A nonce serves one message only: 96 random bits. */
int openssl_gcm_seal(const uint8_t key[static KEKD_AES_KEY_MAX],
		     const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad, struct span in,
		     uint8_t *ret, uint8_t ret_tag[static KEKD_GCM_TAG]);
/* -EBADMSG: the tag does not hold; @ret is all zero then. */
int openssl_gcm_open(const uint8_t key[static KEKD_AES_KEY_MAX],
		     const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad, struct span in,
		     const uint8_t tag[static KEKD_GCM_TAG], uint8_t *ret);
/* E_K(in). */
int openssl_aes_block(const uint8_t key[static KEKD_AES_KEY_MAX],
		      const uint8_t in[static KEKD_AES_BLOCK], uint8_t ret[static KEKD_AES_BLOCK]);

#endif
