/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence that no value needs a key since it was marked: scan.c has it written, key_step.c shows it to the keeper. */
#ifndef KEKD_CTL_PROOF_H
#define KEKD_CTL_PROOF_H

#include "daemon/ctl/admin.h"
#include "daemon/dump/dump.h"
#include "daemon/dump/stored.h"

struct scan;

/* Before anything is read: which document is the mark? 0 or SCAN_FAILED (said), also when the key is not marked. */
int proof_begin(struct scan *s);
/* Is this value the mark, or another document of a keyset? */
void proof_look(struct scan *s, const struct dump_value *v, const struct stored *stored);
void proof_done(struct scan *s);
/*
 * Write that no value needs the key, to a new file. 0 or SCAN_FAILED (said), also when it is not so, or
 * not known for every value, or of another etcd or time than the mark.
 */
int proof_write(const struct scan *s, const char *path);
/* The same without a file: the mark that it is of. */
int proof_take(const struct scan *s, struct admin_mark *ret);

/* Is @path such a file for @key, whole as it was written? The mark it is of, for the keeper to judge. 0 or 1 (said). */
int proof_check(const char *path, const struct board_key *key, struct admin_mark *ret);

#endif
