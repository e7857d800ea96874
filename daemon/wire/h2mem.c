/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Powers of two from 32 bytes to 32 KiB, each block behind a header that names its class. What is
 * larger goes to malloc(3) and back. Free blocks are poisoned under AddressSanitizer, so that
 * recycling hides no use after free.
 */
#include "daemon/wire/h2mem.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define SHIFT_MIN 5U
#define CLASSES   11U

struct block {
	alignas(max_align_t) size_t size; /* bytes behind the header */
	union {
		struct block *next; /* while it is free */
		unsigned int class; /* while it is not */
	};
};

struct h2mem {
	struct block *free[CLASSES];
	uint64_t fresh;
};

/* CLASSES: too large for one. */
static unsigned int h2mem_class_of(size_t size)
{
	unsigned int shift;

	if (size <= (size_t)1 << SHIFT_MIN)
		return 0;
	shift = 64U - (unsigned int)__builtin_clzll(size - 1);
	return shift < SHIFT_MIN + CLASSES ? shift - SHIFT_MIN : CLASSES;
}

int h2mem_new(struct h2mem **ret)
{
	struct h2mem *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	*ret = mem;
	return 0;
}

void h2mem_free(struct h2mem *mem)
{
	if (!mem)
		return;
	for (unsigned int c = 0; c < CLASSES; c++) {
		while (mem->free[c]) {
			struct block *b = mem->free[c];

			mem->free[c] = b->next;
			free(b);
		}
	}
	free(mem);
}

static struct block *block_get(struct h2mem *mem, unsigned int class, size_t size)
{
	struct block *b;

	if (class < CLASSES && mem->free[class]) {
		b = mem->free[class];
		mem->free[class] = b->next;
		ASAN_UNPOISON_MEMORY_REGION(b + 1, b->size);
		return b;
	}
	b = malloc(sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = size;
	mem->fresh++;
	return b;
}

void *h2mem_take(struct h2mem_user *user, size_t size)
{
	unsigned int class = h2mem_class_of(size);
	struct block *b;

	if (class < CLASSES)
		size = (size_t)1 << (class + SHIFT_MIN);
	if (size > user->max || user->used > user->max - size)
		return NULL;
	b = block_get(user->mem, class, size);
	if (!b)
		return NULL;
	b->class = class;
	user->used += size;
	return b + 1;
}

void h2mem_give(struct h2mem_user *user, void *p)
{
	struct h2mem *mem = user->mem;
	struct block *b;
	unsigned int class;

	if (!p)
		return;
	b = (struct block *)p - 1;
	user->used -= b->size;
	class = b->class;
	if (class == CLASSES) {
		free(b);
		return;
	}
	ASAN_POISON_MEMORY_REGION(b + 1, b->size);
	b->next = mem->free[class];
	mem->free[class] = b;
}

void *h2mem_resize(struct h2mem_user *user, void *p, size_t size)
{
	struct block *b = p ? (struct block *)p - 1 : NULL;
	void *q;

	if (b && size <= b->size)
		return p;
	q = h2mem_take(user, size);
	if (q && b) {
		memcpy(q, p, b->size);
		h2mem_give(user, p);
	}
	return q;
}

uint64_t h2mem_fresh(const struct h2mem *mem)
{
	return mem->fresh;
}
