/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs of one size class are carved out of locked mappings on demand and kept: in steady state no
 * call here enters the kernel. A free buffer is all zero but for the link to the next one.
 *
 * What a pool maps is counted against its share of the whole (share.h), slab by slab, so that buffers
 * kept in many half empty slabs harm only the pool whose they are. A part has no slabs: it counts what it
 * holds of its pool's.
 *
 * Larger buffers are mapped one by one. Some that were given back are kept, wiped, since mapping and locking one is
 * the work of several values of bulk; they count as slabs do of which nothing is in use.
 *
 * Only when a pool or a part has no room left, or gets no more from the kernel, are slabs given up of which nothing is
 * in use, so that a burst of one size takes nothing away from the other sizes once it is over. How much
 * of a slab is free is counted then, and at no other time.
 *
 * MADV_DONTFORK rather than MADV_WIPEONFORK: nothing in this program may use a secret across a
 * fork, so an attempt should fault instead of reading zeros. mlock2(MLOCK_ONFAULT) is not used: a
 * page that faults later could fail to lock later.
 */
#include "daemon/base/secmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/page.h"
#include "daemon/base/share.h"
#include <kekd/list.h>

/* A slab is as large as this, or half of it where a 64th of all (share.h) would be less than four. */
#define SLAB (32U * 1024)
#define HEAD 64U /* of a slab, in the place of the first buffer's bytes: a cache line */
/*
 * After a search for unused slabs that found too little, so many requests are refused without one,
 * unless as much has been given back meanwhile: a search costs more than a request.
 */
#define PAUSE 16U
/* Of a whole pool so much, by each pool below it too, is kept of large buffers; their sizes are steps, to fit again. */
#define KEPT_PART  4U
#define LARGE_STEP ((size_t)32 * 1024)

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

/* A large buffer that is kept. */
struct kept {
	struct kept *next;
	size_t size;
};

struct secpool {
	struct secpool *of;  /* a part: the pool that has its slabs. Otherwise NULL */
	bool gone;           /* a part that nobody takes from any more */
	size_t used;         /* handed out */
	struct share mapped; /* slabs and large buffers, and those of the pools below */
	size_t room;         /* that @mapped had, after so many changes of the whole */
	uint64_t room_at;
	uint64_t changes;      /* of the whole: mappings made and given up, there and below */
	struct secpool *whole; /* with the pools that share its bound; itself, if it is that */
	struct list below;     /* of the whole: these pools; of one of them: its place there */
	struct slab **slabs;   /* by address */
	size_t n_slabs;
	unsigned int pause; /* see PAUSE */
	size_t in_vain;     /* used, at the last search that found too little */
	struct free_buf *free[CLASSES];
	struct kept *kept;
	size_t kept_bytes;
};

/* @p, in no core and not there after a fork; or NULL, and it is unmapped. */
static void *guarded(void *p, size_t size)
{
	int e;

	if (madvise(p, size, MADV_DONTDUMP) == 0 && madvise(p, size, MADV_DONTFORK) == 0)
		return p;
	e = errno;
	munmap(p, size);
	errno = e;
	return NULL;
}

void *secmem_alloc(size_t size)
{
	void *p;
	int e;

	size = page_round(size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (mlock(p, size) < 0) {
		e = errno;
		munmap(p, size);
		errno = e;
		return NULL;
	}
	return guarded(p, size);
}

void secmem_free(void *p, size_t size)
{
	if (!p)
		return;
	size = page_round(size);
	secmem_wipe(p, size);
	munmap(p, size);
}

int secmem_share(size_t size, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

#ifdef SYS_memfd_secret
	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd >= 0) {
		if (ftruncate(fd, (off_t)page_round(size)) < 0)
			return -errno;
		*ret_fd = move_fd(fd);
		return 0;
	}
#endif
	fd = memfd_create("kekd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)page_round(size)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

/* mlock(2) refuses a memfd_secret, which is locked as it is; MAP_LOCKED is right for both. */
void *secmem_map(int fd, size_t size)
{
	void *p = mmap(NULL, page_round(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_LOCKED, fd,
		       0);

	return p == MAP_FAILED ? NULL : guarded(p, page_round(size));
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

static struct secpool *pool_calloc(void)
{
	struct secpool *pool = calloc(1, sizeof(*pool));

	if (pool)
		list_init(&pool->below);
	return pool;
}

int secpool_new(size_t bytes_max, struct secpool **ret)
{
	struct secpool *pool = pool_calloc();

	if (!pool)
		return -ENOMEM;
	pool->mapped.max = page_round(bytes_max);
	pool->whole = pool;
	pool->changes = 1;
	*ret = pool;
	return 0;
}

int secpool_new_below(struct secpool *whole, struct secpool **ret)
{
	struct secpool *pool = pool_calloc();

	if (!pool)
		return -ENOMEM;
	pool->mapped.above = &whole->mapped;
	pool->whole = whole;
	list_add_tail(&whole->below, &pool->below);
	*ret = pool;
	return 0;
}

int secpool_part(struct secpool *of, struct secpool **ret)
{
	struct secpool *part = pool_calloc();

	if (!part)
		return -ENOMEM;
	part->of = of;
	*ret = part;
	return 0;
}

/* Every change of what is mapped comes by here or by map_taken(). */
static void unmap(struct secpool *pool, void *p, size_t bytes)
{
	share_give(&pool->mapped, bytes);
	pool->whole->changes++;
	secmem_free(p, bytes);
}

static void kept_give_up(struct secpool *pool)
{
	while (pool->kept) {
		struct kept *k = pool->kept;

		pool->kept = k->next;
		pool->kept_bytes -= k->size;
		unmap(pool, k, k->size);
	}
}

void secpool_let_go(struct secpool *part)
{
	if (!part)
		return;
	part->gone = true;
	if (part->used == 0)
		free(part);
}

void secpool_free(struct secpool *pool)
{
	if (!pool)
		return;
	kept_give_up(pool);
	for (size_t i = 0; i < pool->n_slabs; i++)
		unmap(pool, pool->slabs[i], pool->slabs[i]->size);
	list_del(&pool->below);
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

/* Give up the slabs of @pool of which nothing is in use. */
static void slabs_sweep(struct secpool *pool)
{
	size_t kept = 0;

	for (size_t i = 0; i < pool->n_slabs; i++)
		pool->slabs[i]->unused = 0;
	for (size_t c = 0; c < CLASSES; c++)
		for (struct free_buf *f = pool->free[c]; f; f = f->next)
			slab_of(pool, f)->unused++;
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
			unmap(pool, s, s->size);
		} else {
			pool->slabs[kept++] = s;
		}
	}
	pool->n_slabs = kept;
}

static void sweep_all(struct secpool *whole)
{
	slabs_sweep(whole);
	list_for_each (n, &whole->below)
		slabs_sweep(list_entry(n, struct secpool, below));
}

static size_t used_all(const struct secpool *whole)
{
	size_t used = whole->used;

	list_for_each (n, &whole->below)
		used += list_entry(n, struct secpool, below)->used;
	return used;
}

/* The last search was in vain, and little has been given back since. */
static bool sweep_is_idle(struct secpool *pool, size_t bytes)
{
	if (pool->pause == 0 || used_all(pool->whole) + bytes <= pool->in_vain)
		return false;
	pool->pause--;
	return true;
}

static void sweep_was_in_vain(struct secpool *pool)
{
	pool->pause = PAUSE;
	pool->in_vain = used_all(pool->whole);
}

/* @bytes that the pool's share has been charged for; NULL, and it is not: beyond the kernel's bound (RLIMIT_MEMLOCK). */
static void *map_taken(struct secpool *pool, size_t bytes)
{
	void *p = secmem_alloc(bytes);

	if (!p)
		share_give(&pool->mapped, bytes);
	pool->whole->changes++;
	return p;
}

/* @bytes more, NULL when they are beyond the pool's share or the kernel's bound. */
static void *map_within(struct secpool *pool, size_t bytes)
{
	return share_take(&pool->mapped, bytes) ? map_taken(pool, bytes) : NULL;
}

/* Give up all large buffers that are kept. They are found without a search. */
static bool kept_sweep(struct secpool *whole)
{
	uint64_t changes = whole->changes;

	kept_give_up(whole);
	list_for_each (n, &whole->below)
		kept_give_up(list_entry(n, struct secpool, below));
	return whole->changes != changes;
}

/* The same; if there is no room, memory that is not used is given up for it. */
static void *room_map(struct secpool *pool, size_t bytes)
{
	size_t max = pool->whole->mapped.max;
	void *p;

	if (bytes > max)
		return NULL;
	p = map_within(pool, bytes);
	if (!p && kept_sweep(pool->whole))
		p = map_within(pool, bytes);
	if (p || pool->used > max - bytes || sweep_is_idle(pool, bytes))
		return p;
	sweep_all(pool->whole);
	p = map_within(pool, bytes);
	if (!p)
		sweep_was_in_vain(pool);
	return p;
}

/*
 * A slab of small buffers for what was let in. Room was asked for in bytes, and what is free may lie in slabs of other sizes, so
 * the pool's share may be less than a slab: then it comes out of the reserve.
 */
static void *slab_map(struct secpool *pool, size_t bytes, bool beyond)
{
	void *p = room_map(pool, bytes);

	if (p || !beyond || bytes > share_room(&pool->whole->mapped))
		return p;
	share_take_over(&pool->mapped, bytes);
	return map_taken(pool, bytes);
}

/* Make room for one more in the table, and put @s in its place there. */
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

static int secmem_slab_add(struct secpool *pool, size_t class, bool beyond)
{
	size_t size = class_size[class];
	size_t bytes = page_round(pool->whole->mapped.max / (4 * SHARE_SMALL)), two;
	struct slab *s;

	two = page_round(size * 2 + HEAD);
	bytes = bytes < SLAB ? SLAB / 2 : SLAB;
	if (bytes < two)
		bytes = two;

	s = slab_map(pool, bytes, beyond);
	if (!s)
		return -ENOBUFS;
	if (slab_note(pool, s) < 0) {
		unmap(pool, s, bytes);
		return -ENOBUFS;
	}
	s->size = bytes;
	s->buffers = (bytes - HEAD) / size;
	for (size_t i = 0; i < s->buffers; i++) {
		struct free_buf *f = (void *)((uint8_t *)s + HEAD + i * size);

		f->next = pool->free[class];
		pool->free[class] = f;
	}
	return 0;
}

static size_t kept_max(const struct secpool *pool)
{
	return pool->whole->mapped.max / KEPT_PART;
}

static void *kept_take(struct secpool *pool, size_t size)
{
	struct kept **at = &pool->kept, *k;

	while (*at && (*at)->size != size)
		at = &(*at)->next;
	k = *at;
	if (!k)
		return NULL;
	*at = k->next;
	pool->kept_bytes -= size;
	*k = (struct kept){ 0 };
	return k;
}

static bool kept_put(struct secpool *pool, void *p, size_t size)
{
	struct kept *k = p;

	if (size > kept_max(pool) - pool->kept_bytes)
		return false;
	secmem_wipe(p, size);
	*k = (struct kept){ pool->kept, size };
	pool->kept = k;
	pool->kept_bytes += size;
	return true;
}

static int large_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	size_t step;
	void *p;

	/* Sizes are rounded up to steps, except those that are too large to be kept. */
	if (__builtin_add_overflow(cap, LARGE_STEP - 1, &step)) {
		cap = SIZE_MAX;
	} else {
		step -= step % LARGE_STEP;
		cap = page_round(step <= kept_max(pool) ? step : cap);
	}
	p = kept_take(pool, cap) ?: room_map(pool, cap);
	if (!p)
		return -ENOBUFS;
	pool->used += cap;
	*ret = (struct secbuf){ .data = p, .cap = cap, .pool = pool };
	return 0;
}

/* A class with a free buffer: if there is no room for a slab of the right one, a larger one that is small. CLASSES: none. */
static size_t class_with_free(struct secpool *pool, size_t class, bool let_in)
{
	bool small = let_in && class_size[class] <= SECPOOL_SMALL;

	if (secmem_slab_add(pool, class, small) == 0)
		return class;
	for (size_t c = class; small && class_size[c] <= SECPOOL_SMALL; c++)
		if (pool->free[c])
			return c;
	return CLASSES;
}

/* @let_in: for what goes on, which gets small buffers as long as there are any. */
static int pool_get(struct secpool *pool, size_t cap, bool let_in, struct secbuf *ret)
{
	size_t class = secmem_class_of(cap);
	struct free_buf *f;

	if (class == CLASSES)
		return large_get(pool, cap, ret);
	if (!pool->free[class]) {
		class = class_with_free(pool, class, let_in);
		if (class == CLASSES)
			return -ENOBUFS;
	}
	f = pool->free[class];
	pool->free[class] = f->next;
	f->next = NULL;
	pool->used += class_size[class];
	*ret = (struct secbuf){ .data = (uint8_t *)f, .cap = class_size[class], .pool = pool };
	return 0;
}

static size_t part_room(struct secpool *part)
{
	struct secpool *of = part->of;
	size_t left;

	if (of->room_at != of->whole->changes) {
		of->room = share_room(&of->mapped);
		of->room_at = of->whole->changes;
	}
	/* What @of could still hand out: what it may map, and what is free in its slabs. */
	left = of->room + of->mapped.used - of->used;
	return share_rule(of->used + left, left, part->used);
}

static bool part_may_have(struct secpool *part, size_t cap)
{
	return cap <= part_room(part);
}

/* If there is no room, memory that no pool uses is given up first. */
static bool part_has_room(struct secpool *part, size_t cap)
{
	struct secpool *of = part->of;

	if (part_may_have(part, cap) || (kept_sweep(of->whole) && part_may_have(part, cap)))
		return true;
	if (sweep_is_idle(of, cap))
		return false;
	sweep_all(of->whole);
	if (part_may_have(part, cap))
		return true;
	sweep_was_in_vain(of);
	return false;
}

bool secpool_lets_in(struct secpool *pool, size_t cap)
{
	return !pool->of || part_has_room(pool, cap);
}

bool secpool_has_plenty(const struct secpool *part)
{
	const struct share *all = &part->of->whole->mapped;

	return all->used <= all->max / 8;
}

size_t secpool_room(struct secpool *part, size_t want)
{
	(void)part_has_room(part, want);
	return part_room(part);
}

int secpool_get(struct secpool *pool, size_t cap, struct secbuf *ret)
{
	struct secpool *of = pool->of;
	int r;

	if (!of)
		return pool_get(pool, cap, false, ret);
	if (cap > SECPOOL_SMALL && !part_has_room(pool, cap))
		return -ENOBUFS;
	r = pool_get(of, cap, true, ret);
	if (r < 0)
		return r;
	ret->pool = pool;
	pool->used += ret->cap;
	return 0;
}

void secbuf_release(struct secbuf *b)
{
	struct secpool *pool = b->pool;
	struct free_buf *f;
	size_t class;

	if (!b->data)
		return;
	if (pool->of) {
		struct secpool *part = pool;

		pool = part->of;
		part->used -= b->cap;
		if (part->gone && part->used == 0)
			free(part);
	}
	pool->used -= b->cap;
	class = secmem_class_of(b->cap);
	if (class == CLASSES) {
		if (!kept_put(pool, b->data, b->cap))
			unmap(pool, b->data, b->cap);
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
	return pool->whole == pool ? used_all(pool) : pool->used;
}

size_t secpool_max(const struct secpool *pool)
{
	return pool->mapped.max;
}
