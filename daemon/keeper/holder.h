/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A holder (crypto/holder.h) as the keeper has it: started, told of keys, ended. What it is told it answers within
 * microseconds. One that is stopped (SIGSTOP) is killed as soon as the keeper hears of it, one that does not answer
 * for another reason after HOLDER_WAIT_MS; the end of either is that of any other.
 */
#ifndef KEKD_KEEPER_HOLDER_H
#define KEKD_KEEPER_HOLDER_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/cleanup.h"
#include "daemon/server/link.h"
#include <kekd/limits.h>
#include <kekd/span.h>

#define HOLDER_WAIT_MS 5000
#define HOLDER_PING_MS 1000
#define HOLDER_LOOK_MS 20 /* who waits for an answer looks so often whether it is stopped */

struct holder_process;

/* Start one as @uid, @gid; it is ready, and has no key but the self-test's, under the id of zeros. */
int holder_start(int exe_fd, uid_t uid, gid_t gid, struct holder_process **ret);
/* Have it wipe all that it has and end, kill it if it does not, and wait for that. May be NULL. */
void holder_stop(struct holder_process *h);
DEFINE_CLEANUP(struct holder_process *, holder_stop);
/* It has ended, and has been waited for. */
void holder_forget(struct holder_process *h);
pid_t holder_pid(const struct holder_process *h);

/* What its server needs: channel, bell, answer. Once; the caller's to close. */
int holder_give(struct holder_process *h, struct link_fds *ret);
/*
 * Take @key (borrowed, locked memory) under @id; let it go. -EPIPE: it has ended, or is killed for not answering:
 * the next will be told. -ENOMEM, -ENOBUFS.
 */
int holder_take(struct holder_process *h, const uint8_t id[static KEKD_KEY_ID], struct span key);
int holder_drop(struct holder_process *h, const uint8_t id[static KEKD_KEY_ID]);

/* Time passes, or SIGCHLD came: is it stopped, is it asked whether it is there, has it answered? Waits for nothing. */
void holder_watch(struct holder_process *h, uint64_t now);
/* The keeper itself stood still until @now: that it has not heard an answer says nothing. */
void holder_excuse(struct holder_process *h, uint64_t now);

#endif
