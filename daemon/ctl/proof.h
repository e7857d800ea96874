/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that no value needs a key: scan.c has it written, key_step.c believes it. */
#ifndef KEKD_CTL_PROOF_H
#define KEKD_CTL_PROOF_H

#include "daemon/ctl/admin.h"

struct scan;

/*
 * Write that no value needs the key, to a new file. 0 or SCAN_FAILED (said), also when it is not so, or
 * not known for every value.
 */
int proof_write(const struct scan *s, const char *path);

/*
 * Is @path the proof that no value needs @key, whole as it was written? Of when it is, in seconds since
 * 1970, and of which revision of etcd; the keeper holds that against the key's last use. 0 or 1 (said).
 */
int proof_check(const char *path, const struct admin_key *key, int64_t *ret_time,
		uint64_t *ret_revision);

#endif
