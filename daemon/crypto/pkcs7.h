/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The padding of CMS (RFC 5652 §6.3) for 16-byte blocks: 1 to 16 bytes, each holding their number.
 */
#ifndef KEKD_CRYPTO_PKCS7_H
#define KEKD_CRYPTO_PKCS7_H

#include <stddef.h>
#include <stdint.h>

#include <kekd/limits.h>

/* Bytes that @len bytes take when padded: the next multiple of 16 above. @len < SIZE_MAX - 16. */
static inline size_t pkcs7_padded(size_t len)
{
	return len + KEKD_AES_BLOCK - len % KEKD_AES_BLOCK;
}

/* Fill buf[len … pkcs7_padded(len)). */
void pkcs7_pad(uint8_t *buf, size_t len);

/*
 * Bytes of message in buf[0 … len). -EBADMSG for every kind of bad padding, and when @len is zero or
 * not a multiple of 16. Reads the whole last block and takes the same time whatever it holds: a
 * server that answers faster for one kind of bad padding decrypts for its attacker (Vaudenay 2002).
 */
int pkcs7_unpad(const uint8_t *buf, size_t len, size_t *ret_len);

#endif
