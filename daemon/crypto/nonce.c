/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source is one locked page of its own. `alive` lies in that page on purpose: a fork wipes it
 * together with the bytes, without a system call per nonce to ask who we are.
 *
 * getrandom(2) returns up to 256 bytes whole once the kernel's generator is initialised, which it is
 * long before a daemon starts; a short answer is treated as a failure, not completed.
 */
#include "daemon/crypto/nonce.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "daemon/base/secmem.h"

struct nonce_source {
	bool alive;
	size_t used; /* bytes[0 … used) are gone and zero */
	uint8_t bytes[240];
};

static int nonce_refill(struct nonce_source *src)
{
	ssize_t n = getrandom(src->bytes, sizeof(src->bytes), 0);

	if (n == (ssize_t)sizeof(src->bytes)) {
		src->used = 0;
		return 0;
	}
	n = n < 0 ? -errno : -EIO;
	secmem_wipe(src->bytes, sizeof(src->bytes));
	src->used = sizeof(src->bytes);
	return (int)n;
}

int nonce_source_new(struct nonce_source **ret)
{
	_cleanup_(nonce_source_freep) struct nonce_source *src = NULL;
	void *page;
	int r;

	page = mmap(NULL, sizeof(*src), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -ENOMEM;
	src = page;
	if (mlock(src, sizeof(*src)) < 0 || madvise(src, sizeof(*src), MADV_WIPEONFORK) < 0 ||
	    madvise(src, sizeof(*src), MADV_DONTDUMP) < 0)
		return -errno;
	r = nonce_refill(src);
	if (r < 0)
		return r;
	src->alive = true;
	*ret = move_ptr(src);
	return 0;
}

void nonce_source_free(struct nonce_source *src)
{
	if (!src)
		return;
	secmem_wipe(src, sizeof(*src));
	munmap(src, sizeof(*src));
}

int nonce_get(struct nonce_source *src, uint8_t *ret, size_t len)
{
	int r;

	if (len == 0 || len > NONCE_MAX)
		return -EINVAL;
	if (!src->alive)
		return -ESTALE;
	if (sizeof(src->bytes) - src->used < len) {
		r = nonce_refill(src);
		if (r < 0)
			return r;
	}
	memcpy(ret, src->bytes + src->used, len);
	secmem_wipe(src->bytes + src->used, len);
	src->used += len;
	return 0;
}
