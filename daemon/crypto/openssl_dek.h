/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values under a data-encryption key: AES-GCM and AES-CBC of one message with a key given as bytes.
 *
 * A DEK is no KEK. kube-apiserver makes DEKs in its own memory, a plugin hands them over as
 * plaintext, and a `kms` provider of the chain does what the apiserver does with them; there is
 * nothing that the kernel could keep from this process. libcrypto keeps the key schedule on its heap
 * while a call lasts and cleanses it on free.
 *
 * Keys hold 16, 24 or 32 bytes, else -EINVAL. All parameters are borrowed for the call. -ENOMEM,
 * -EIO (libcrypto refuses).
 */
#ifndef KEKD_CRYPTO_OPENSSL_DEK_H
#define KEKD_CRYPTO_OPENSSL_DEK_H

#include <stdint.h>

#include <kekd/limits.h>
#include <kekd/span.h>

/* in.len bytes and the tag to @ret, which has room for in.len + KEKD_GCM_TAG. */
int openssl_dek_seal(struct span key, const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad,
		     struct span in, uint8_t *ret);
/*
 * @in: ciphertext and tag. in.len - KEKD_GCM_TAG bytes to @ret. -EBADMSG: shorter than a tag, or
 * the tag does not hold; @ret is wiped then.
 */
int openssl_dek_open(struct span key, const uint8_t nonce[static KEKD_GCM_NONCE], struct span aad,
		     struct span in, uint8_t *ret);
/*
 * CBC without its padding removed: in.len bytes to @ret. -EBADMSG: no whole number of blocks.
 * Nothing authenticates the result.
 */
int openssl_dek_cbc_decrypt(struct span key, const uint8_t iv[static KEKD_AES_BLOCK],
			    struct span in, uint8_t *ret);

#endif
