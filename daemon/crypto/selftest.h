/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known answers before the first client: does this backend, through this engine, on this machine,
 * compute AES? A daemon whose answer is no must not serve.
 *
 * All questions go in at once, so that they share runs as traffic does.
 */
#ifndef KEKD_CRYPTO_SELFTEST_H
#define KEKD_CRYPTO_SELFTEST_H

#include "daemon/crypto/engine.h"

/*
 * The key to test with. Published in McGrew and Viega, "The Galois/Counter Mode of Operation",
 * appendix B, test cases 13 to 18: it protects nothing and may lie anywhere.
 */
extern const uint8_t selftest_key[KEKD_AES_KEY_MAX];

/*
 * @r: 0; -EBADMSG an answer was wrong; or what a job ended with (-EIO, …). The log names the
 * question. Runs from engine_flush().
 */
typedef void selftest_done_fn(void *ctx, int r);

/*
 * Ask @key, a key over selftest_key. @key must not be removed, nor @engine freed, before @done, which
 * follows once if the result is 0. -ENOMEM, or an error of engine_submit().
 */
int selftest_start(struct engine *engine, struct engine_key *key, selftest_done_fn *done,
		   void *ctx);

#endif
