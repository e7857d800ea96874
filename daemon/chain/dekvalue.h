/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a KMS value, once its DEK or seed is there: nonce 12 ‖ ciphertext ‖ tag 16; behind info 32
 * for a seed, which gives each value a DEK of its own; IV 16 ‖ AES-CBC up to 1.24. Shared by the kms
 * providers and by own.c.
 *
 * All borrowed for the call. @out has @cap bytes of locked memory. -EBADMSG: it does not open; -EMSGSIZE:
 * @cap is too small; -EINVAL: a DEK of no size that AES has; -ENOMEM, -EIO.
 */
#ifndef KEKD_CHAIN_DEKVALUE_H
#define KEKD_CHAIN_DEKVALUE_H

#include <kekd/limits.h>
#include <kekd/span.h>

#define DEKVALUE_SEED 32 /* bytes of a seed, and of the info before a value */
#define DEKVALUE_INFO 32

int dekvalue_open_gcm(struct span dek, struct span aad, struct span body, uint8_t *out, size_t cap,
		      size_t *ret_len);
/* @scratch: locked; wiped afterwards. @seed of another size is -EPROTO. */
int dekvalue_open_seeded(struct span seed, struct span aad, struct span body,
			 uint8_t scratch[static KEKD_AES_KEY_MAX], uint8_t *out, size_t cap,
			 size_t *ret_len);
/* Nothing authenticates the result but its padding. */
int dekvalue_open_cbc(struct span dek, struct span body, uint8_t *out, size_t cap, size_t *ret_len);

#endif
