/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of a page, which only the kernel knows: 4 KiB on x86-64 and on Debian's arm64, 64 KiB on other arm64
 * kernels. Nothing else in the daemon may assume one (scripts/lint).
 */
#ifndef KEKD_BASE_PAGE_H
#define KEKD_BASE_PAGE_H

#include <stddef.h>

/* Bytes, a power of two. */
size_t page_size(void);

/* @n up to whole pages; @n is at most SIZE_MAX less a page. */
static inline size_t page_round(size_t n)
{
	size_t page = page_size();

	return (n + page - 1) & ~(page - 1);
}

#endif
