/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob of an `encrypted` key names the key that it is under, "TYPE:NAME", and has a MAC that is over that name too
 * (security/keys/encrypted-keys/encrypted.c: datablob_hmac_append()). A `user` and a `trusted` root of the same bytes wrap
 * alike, so that a blob under the one becomes one under the other by another name and another MAC; nothing is
 * decrypted. The kernel itself changes a name only within a type.
 */
#ifndef KEKD_KEYS_RETYPE_H
#define KEKD_KEYS_RETYPE_H

#include "daemon/keys/record.h"

/*
 * @blob, under a root of the bytes @root (borrowed), as one of @type (keys/root.h) would have made it; the same if it is one.
 * -EINVAL: it is no blob, or not of this root. -ENOMEM; errors of digest.h.
 */
int blob_retype(const char *blob, const char *type, struct span root,
		char ret[static KEY_BLOB_MAX]);

#endif
