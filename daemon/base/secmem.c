/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs of one size class are carved out of locked mappings on demand and kept until the pool is
 * freed: in steady state no call here enters the kernel. A free buffer is all zero but for the
 * link to the next one.
 *
 * MADV_DONTFORK rather than MADV_WIPEONFORK: nothing in this program may use a secret across a
 * fork, so an attempt should fault instead of reading zeros. mlock2(MLOCK_ONFAULT) is not used: a
 * page that faults later could fail to lock later.
 */
#include "daemon/base/secmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <kekd/list.h>

#define PAGE 4096U
#define SLAB (128U * 1024)

/* The smallest is for what a KMS call holds: request, ciphertext, answer, each a few hundred bytes. */
static const size_t class_size[] = { 256, 1024, 4096, 16 * 1024, 80 * 1024 };
#define CLASSES ARRAY_SIZE(class_size)

struct slab {
	struct list link;
	size_t size;
};

struct free_buf {
	struct free_buf *next;
};

struct secpool {
	size_t max;
	size_t mapped; /* slabs and large buffers */
	size_t used;   /* handed out */
	struct list slabs;
	struct free_buf *free[CLASSES];
};

static size_t page_round(size_t n)
{
	return (n + PAGE - 1) & ~(size_t)(PAGE - 1);
}

void *secmem_alloc(size_t size)
{
	void *p;
	int e;

	size = page_round(size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, size) < 0 || madvise(p, size, MADV_DONTDUMP) < 0 ||
	    madvise(p, size, MADV_DONTFORK) < 0) {
		e = errno;
		munmap(p, size);
		errno = e;
		return NULL;
	}
	return p;
}

void secmem_free(void *p, size_t size)
{
	if (!p)
		return;
	size = page_round(size);
	secmem_wipe(p, size);
	munmap(p, size);
}

void secmem_wipe(void *p, size_t size)
{
	if (size > 0)
		explicit_bzero(p, size);
}

bool ct_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	unsigned int diff = 0;

	for (size_t i = 0; i < len; i++)
		diff |= (unsigned int)(x[i] ^ y[i]);
	return diff == 0;
}

int secpool_new(size_t bytes_max, struct secpool **ret)
{
	struct secpool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->max = page_round(bytes_max);
	list_init(&pool->slabs);
	*ret = pool;
	return 0;
}

void secpool_free(struct secpool *pool)
{
	if (!pool)
		return;
	list_for_each_safe (n, &pool->slabs) {
		struct slab *s = list_entry(n, struct slab, link);

		list_del(n);
		secmem_free(s, s->size);
	}
	free(pool);
}

static size_t class_of(size_t cap)
{
	size_t c = 0;

	while (c < CLASSES && class_size[c] < cap)
		c++;
	return c;
}

/* The slab's own header takes the place of the first buffer's bytes: one line of 64 bytes. */
static int slab_add(struct secpool *pool, size_t class)
{
	size_t size = class_size[class], head = 64;
	size_t bytes = page_round(size * 2 + head) > SLAB ? page_round(size * 2 + head) : SLAB;
	struct slab *s;

	if (pool->mapped + bytes > pool->max)
		return -ENOBUFS;
	s = secmem_alloc(bytes);
	if (!s)
		return -ENOBUFS;
	s->size = bytes;
	pool->mapped += bytes;
	list_add_tail(&pool->slabs, &s->link);
	for (size_t off = head; off + size <= bytes; off += size) {
		struct free_buf *f = (void *)((uint8_t *)s + off);

		f->next = pool->free[class];
		pool->free[class] = f;
	}
	return 0;
}

static int large_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	void *p;

	cap = page_round(cap);
	if (cap > pool->max || pool->mapped > pool->max - cap)
		return -ENOBUFS;
	p = secmem_alloc(cap);
	if (!p)
		return -ENOBUFS;
	pool->mapped += cap;
	pool->used += cap;
	*ret = (struct secbuf){ .data = p, .cap = cap, .pool = pool };
	return 0;
}

int secpool_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	size_t class = class_of(cap);
	struct free_buf *f;
	int r;

	if (class == CLASSES)
		return large_get(pool, cap, ret);
	if (!pool->free[class]) {
		r = slab_add(pool, class);
		if (r < 0)
			return r;
	}
	f = pool->free[class];
	pool->free[class] = f->next;
	f->next = NULL;
	pool->used += class_size[class];
	*ret = (struct secbuf){ .data = (uint8_t *)f, .cap = class_size[class], .pool = pool };
	return 0;
}

void secbuf_release(struct secbuf *b)
{
	struct secpool *pool = b->pool;
	struct free_buf *f;
	size_t class;

	if (!b->data)
		return;
	pool->used -= b->cap;
	class = class_of(b->cap);
	if (class == CLASSES) {
		pool->mapped -= b->cap;
		secmem_free(b->data, b->cap);
	} else {
		secmem_wipe(b->data, b->cap);
		f = (void *)b->data;
		f->next = pool->free[class];
		pool->free[class] = f;
	}
	*b = (struct secbuf){ 0 };
}

int secbuf_reserve(struct secbuf *b, size_t cap)
{
	_cleanup_secbuf_ struct secbuf bigger = { 0 };
	struct secbuf old;
	int r;

	if (cap <= b->cap)
		return 0;
	r = secpool_get(b->pool, cap, &bigger);
	if (r < 0)
		return r;
	memcpy(bigger.data, b->data, b->len);
	bigger.len = b->len;
	old = *b;
	*b = secbuf_move(&bigger);
	secbuf_release(&old);
	return 0;
}

int secbuf_append(struct secbuf *b, const void *data, size_t len)
{
	int r;

	if (len > b->cap - b->len) {
		if (len > SIZE_MAX / 2 - b->len)
			return -ENOBUFS;
		r = secbuf_reserve(b, b->len + len);
		if (r < 0)
			return r;
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

size_t secpool_used(const struct secpool *pool)
{
	return pool->used;
}

size_t secpool_max(const struct secpool *pool)
{
	return pool->max;
}
