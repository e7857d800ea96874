/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs of one size class are carved out of locked mappings on demand and kept: in steady state no
 * call here enters the kernel. A free buffer is all zero but for the link to the next one.
 *
 * Only a pool that has no room left, or gets no more from the kernel, gives up slabs of which nothing is
 * in use, so that a burst of one size takes nothing away from the other sizes once it is over. How much
 * of a slab is free is counted then, and at no other time.
 *
 * MADV_DONTFORK rather than MADV_WIPEONFORK: nothing in this program may use a secret across a
 * fork, so an attempt should fault instead of reading zeros. mlock2(MLOCK_ONFAULT) is not used: a
 * page that faults later could fail to lock later.
 */
#include "daemon/base/secmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096U
#define SLAB (128U * 1024)
#define HEAD 64U /* of a slab, in the place of the first buffer's bytes: a cache line */
/*
 * After a search for unused slabs that found too little, so many requests are refused without one,
 * unless as much has been given back meanwhile: a search costs more than a request.
 */
#define PAUSE 16U

/* The smallest is for what a KMS call holds: request, ciphertext, answer, each a few hundred bytes. */
static const size_t class_size[] = { 256, 1024, 4096, 16 * 1024, 80 * 1024 };
#define CLASSES ARRAY_SIZE(class_size)

struct slab {
	size_t size;
	size_t buffers;
	size_t unused; /* of them; only while they are counted */
};

struct free_buf {
	struct free_buf *next;
};

struct secpool {
	size_t max;
	size_t mapped;       /* slabs and large buffers */
	size_t used;         /* handed out */
	struct slab **slabs; /* by address */
	size_t n_slabs;
	unsigned int pause; /* see PAUSE */
	size_t in_vain;     /* used, at the last search that found too little */
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
	*ret = pool;
	return 0;
}

void secpool_free(struct secpool *pool)
{
	if (!pool)
		return;
	for (size_t i = 0; i < pool->n_slabs; i++)
		secmem_free(pool->slabs[i], pool->slabs[i]->size);
	free(pool->slabs);
	free(pool);
}

static size_t secmem_class_of(size_t cap)
{
	size_t c = 0;

	while (c < CLASSES && class_size[c] < cap)
		c++;
	return c;
}

/* The slab that @buf lies in: the last that does not begin behind it. */
static struct slab *slab_of(const struct secpool *pool, const void *buf)
{
	size_t low = 0, high = pool->n_slabs;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if ((uintptr_t)pool->slabs[middle] <= (uintptr_t)buf)
			low = middle;
		else
			high = middle;
	}
	return pool->slabs[low];
}

static bool slab_is_unused(const struct slab *s)
{
	return s->unused == s->buffers;
}

static void slabs_count(struct secpool *pool)
{
	for (size_t i = 0; i < pool->n_slabs; i++)
		pool->slabs[i]->unused = 0;
	for (size_t c = 0; c < CLASSES; c++)
		for (struct free_buf *f = pool->free[c]; f; f = f->next)
			slab_of(pool, f)->unused++;
}

/* Give up the slabs of which nothing is in use. */
static void slabs_sweep(struct secpool *pool)
{
	size_t kept = 0;

	slabs_count(pool);
	for (size_t c = 0; c < CLASSES; c++) {
		struct free_buf **at = &pool->free[c];

		while (*at) {
			if (slab_is_unused(slab_of(pool, *at)))
				*at = (*at)->next;
			else
				at = &(*at)->next;
		}
	}
	for (size_t i = 0; i < pool->n_slabs; i++) {
		struct slab *s = pool->slabs[i];

		if (slab_is_unused(s)) {
			pool->mapped -= s->size;
			secmem_free(s, s->size);
		} else {
			pool->slabs[kept++] = s;
		}
	}
	pool->n_slabs = kept;
}

/* The last search was in vain, and little has been given back since. */
static bool sweep_is_idle(struct secpool *pool, size_t bytes)
{
	if (pool->pause == 0 || pool->used + bytes <= pool->in_vain)
		return false;
	pool->pause--;
	return true;
}

/* @bytes more, NULL when they are beyond the pool's bound or the kernel's (RLIMIT_MEMLOCK). */
static void *map_within(const struct secpool *pool, size_t bytes)
{
	return pool->mapped <= pool->max - bytes ? secmem_alloc(bytes) : NULL;
}

/* The same, and if need be in the place of slabs that are not used. */
static void *room_map(struct secpool *pool, size_t bytes)
{
	void *p;

	if (bytes > pool->max)
		return NULL;
	p = map_within(pool, bytes);
	if (p || pool->used > pool->max - bytes || sweep_is_idle(pool, bytes))
		return p;
	slabs_sweep(pool);
	p = map_within(pool, bytes);
	if (!p) {
		pool->pause = PAUSE;
		pool->in_vain = pool->used;
	}
	return p;
}

/* Room for one more in the table, and then @s in its place there. */
static int slab_note(struct secpool *pool, struct slab *s)
{
	struct slab **slabs = reallocarray(pool->slabs, pool->n_slabs + 1, sizeof(struct slab *));
	size_t i = pool->n_slabs;

	if (!slabs)
		return -ENOBUFS;
	pool->slabs = slabs;
	for (; i > 0 && (uintptr_t)slabs[i - 1] > (uintptr_t)s; i--)
		slabs[i] = slabs[i - 1];
	slabs[i] = s;
	pool->n_slabs++;
	return 0;
}

static int secmem_slab_add(struct secpool *pool, size_t class)
{
	size_t size = class_size[class];
	size_t bytes = page_round(size * 2 + HEAD) > SLAB ? page_round(size * 2 + HEAD) : SLAB;
	struct slab *s;

	s = room_map(pool, bytes);
	if (!s)
		return -ENOBUFS;
	if (slab_note(pool, s) < 0) {
		secmem_free(s, bytes);
		return -ENOBUFS;
	}
	s->size = bytes;
	s->buffers = (bytes - HEAD) / size;
	pool->mapped += bytes;
	for (size_t i = 0; i < s->buffers; i++) {
		struct free_buf *f = (void *)((uint8_t *)s + HEAD + i * size);

		f->next = pool->free[class];
		pool->free[class] = f;
	}
	return 0;
}

static int large_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	void *p;

	cap = page_round(cap);
	p = room_map(pool, cap);
	if (!p)
		return -ENOBUFS;
	pool->mapped += cap;
	pool->used += cap;
	*ret = (struct secbuf){ .data = p, .cap = cap, .pool = pool };
	return 0;
}

int secpool_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	size_t class = secmem_class_of(cap);
	struct free_buf *f;
	int r;

	if (class == CLASSES)
		return large_get(pool, cap, ret);
	if (!pool->free[class]) {
		r = secmem_slab_add(pool, class);
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
	class = secmem_class_of(b->cap);
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
