/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a key store: which key files there are, each by the SHA-256 of its text, under a
 * MAC keyed by the root. A file that was swapped, renamed, brought back from an earlier time,
 * deleted or added is noticed.
 *
 *   kekd-manifest 1
 *   generation 12                    grows with every write
 *   root 0123456789abcdef            fingerprint of the root whose MAC it is
 *   key ID WAS IS                    digests in hex, "-" for no file
 *   mac 00112233…                    over SHA-256 of all before this line
 *
 * A file and the manifest cannot change in one step. So a change is announced first: WAS is the
 * file as it was, IS as it is to be, and until the announcement is settled (WAS = IS) both are
 * right. That is what makes every point of a crash a good one; keyset_save() has the order.
 *
 * What it cannot notice: a whole store of an earlier time, manifest included, brought back while
 * the daemon was off. The generation is logged, so that somebody who keeps logs elsewhere can.
 */
#ifndef KEKD_KEYS_MANIFEST_H
#define KEKD_KEYS_MANIFEST_H

#include <stdbool.h>

#include "daemon/base/cleanup.h"
#include "daemon/crypto/digest.h"
#include "daemon/keys/record.h"
#include <kekd/span.h>

#define MANIFEST_TEXT_MAX (256 * 1024)

struct manifest_entry {
	uint8_t id[KEKD_KEY_ID];
	bool had, has; /* a file before, after */
	bool seen;     /* for who reads the store */
	bool held;     /* so is this: before, there was a file that is not in the set */
	bool found;    /* and this: one of two that were announced, and perhaps not on disk yet */
	bool missed;   /* and this: counted in what the store has not got */
	uint8_t was[SHA256_LEN], is[SHA256_LEN];
};

/* Zero-initialised but for the root it is empty. */
struct manifest {
	uint64_t generation;
	uint8_t root[KEY_ROOT_ID];
	size_t n;
	struct manifest_entry *entries; /* its own */
};

/* HMAC-SHA256 of @in under the root; root_key_mac() or soft_root_mac(). */
typedef int manifest_mac_fn(const void *root, struct span in, uint8_t ret[static SHA256_LEN]);

void manifest_clear(struct manifest *m);

/* The text with its MAC; caller frees. Errors of @mac, -ENOMEM, -ENOBUFS. */
int manifest_format(const struct manifest *m, manifest_mac_fn *mac, const void *root, char **ret,
		    size_t *ret_len);
/*
 * Check and read. -EKEYREJECTED: made under another root than @root_id; -EBADMSG: the MAC does not
 * hold; -EINVAL: no manifest. Caller clears *ret.
 */
int manifest_parse(struct span text, const uint8_t root_id[static KEY_ROOT_ID],
		   manifest_mac_fn *mac, const void *root, struct manifest *ret);

bool manifest_has(const struct manifest *m, const uint8_t id[static KEKD_KEY_ID]);
/* NULL if there is none. Borrowed, until the next change. */
struct manifest_entry *manifest_find(struct manifest *m, const uint8_t id[static KEKD_KEY_ID]);
/* Find or add, an added one without files. -ENOMEM. */
int manifest_get(struct manifest *m, const uint8_t id[static KEKD_KEY_ID],
		 struct manifest_entry **ret);

#endif
