/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test of an escrow: do these shares give back the root key of this keyset? Two short texts under the root's MAC
 * (keydoc_sign()):
 *
 *   kekd-escrow-proof 1              kekctl shows it to the keeper: who made it has the root key's bytes
 *   document 00112233…               SHA-256 of the keyset that was opened
 *   mac …
 *
 * Whoever may ask the admin socket may show the same proof again while the keyset is the same: he makes a test look younger,
 * and could unseal and destroy as well.
 *
 *   kekd-escrow-tested 1             the keeper keeps it in the key store. Under another root it says nothing
 *   time 2026-01-31T12:00:00Z
 *   mac …
 */
#ifndef KEKD_KEYS_ESCROW_H
#define KEKD_KEYS_ESCROW_H

#include <time.h>

#include "daemon/keys/keydoc.h"

#define ESCROW_TEXT_MAX 256 /* with NUL */
#define ESCROW_DAYS     180 /* after so many a test is old: the alert of dist/alerts.yaml, too */

/* NUL-terminated. Errors of the MAC; -EINVAL: a time that has no text. */
int escrow_proof_format(const uint8_t doc[static SHA256_LEN], const struct keydoc_root *root,
			char ret[static ESCROW_TEXT_MAX]);
int escrow_tested_format(time_t when, const struct keydoc_root *root,
			 char ret[static ESCROW_TEXT_MAX]);

/* As keydoc_parse(); -ESTALE: of another document than @doc. */
int escrow_proof_check(struct span text, const uint8_t doc[static SHA256_LEN],
		       const struct keydoc_root *root, uint8_t ret_other[static KEY_ROOT_ID]);
int escrow_tested_parse(struct span text, const struct keydoc_root *root, time_t *ret,
			uint8_t ret_other[static KEY_ROOT_ID]);

#endif
