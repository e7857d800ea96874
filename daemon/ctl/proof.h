/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says that no value of etcd needs a key: kekctl scan writes it, key retire and
 * key destroy take it as their reason. */
#ifndef KEKD_CTL_PROOF_H
#define KEKD_CTL_PROOF_H

#include "daemon/ctl/ctl.h"

/*
 * Read the proof @path for @key: when it was made, in seconds since 1970, and of which revision of
 * etcd. 0, or 1 and it was said why: no proof, altered, or for another key.
 */
int proof_read(const char *path, const struct admin_key *key, int64_t *ret_time,
	       uint64_t *ret_revision);

#endif
