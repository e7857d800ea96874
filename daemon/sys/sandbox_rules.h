/* SPDX-License-Identifier: Apache-2.0 */
/* What the seccomp filters of keeper, server and observer are made of. @ctx is borrowed. */
#ifndef KEKD_SYS_SANDBOX_RULES_H
#define KEKD_SYS_SANDBOX_RULES_H

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"

DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release);

/* @action for each of @n system calls, whatever their arguments. */
int rules_add(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n);

/* mmap and mprotect without PROT_EXEC. */
int rules_memory(scmp_filter_ctx ctx);

/*
 * fstat(3) of glibc 2.33 to 2.38 is newfstatat(2) with AT_EMPTY_PATH. seccomp cannot look at the
 * path; what a taken-over process gains is the stat of a name, never a descriptor.
 */
int rules_fstat(scmp_filter_ctx ctx);

/*
 * fcntl without F_SETOWN and its like: by those, with O_ASYNC, the kernel sends whatever signal is wanted to any process
 * of the same user (fcntl(2)), a holder or another server, which kill(2) is refused for. And without making an open file
 * that others share one that blocks.
 */
int rules_fcntl(scmp_filter_ctx ctx);

#endif
