/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes: nonces, IVs, keys, ids. The kernel's generator is the only source, asked for exactly
 * what is used at once.
 *
 * Nothing is bought ahead. A machine may be saved and resumed twice, and bytes in store would then be
 * used twice, under one key. The kernel's generator is told of it (VM generation id) and goes another
 * way in each copy; our memory is not.
 */
#ifndef KEKD_BASE_RANDOM_H
#define KEKD_BASE_RANDOM_H

#include <stddef.h>

/*
 * @len bytes to @ret, all or none that mean anything. The first call of a boot waits until the kernel's
 * generator has its seed. -errno of getrandom(2).
 */
int random_bytes(void *ret, size_t len);

#endif
