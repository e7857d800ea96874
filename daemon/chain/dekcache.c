/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries come from slabs of locked memory that are added as the cache fills and kept until it is
 * freed. Every entry in use is on one bucket's list and on the list of ages; the others are on the
 * list of free ones, all zero but for the links.
 */
#include "daemon/chain/dekcache.h"

#include <errno.h>

#include "daemon/base/secmem.h"
#include <kekd/list.h>

#define BUCKETS    1024U /* a power of two; the id is a hash already */
#define SLAB_BYTES (16U * 1024)

struct entry {
	struct list bucket, age;
	uint64_t expires_ns; /* 0: never */
	uint8_t id[SHA256_LEN];
	uint8_t dek[KEKD_AES_KEY_MAX];
	uint8_t len;
};

struct slab {
	struct slab *next;
	struct entry entries[];
};

#define SLAB_ENTRIES ((SLAB_BYTES - sizeof(struct slab)) / sizeof(struct entry))

struct dekcache {
	size_t max, count, made;
	uint64_t ttl_ns;
	struct slab *slabs;
	struct list ages; /* the least recently used first */
	struct list free;
	struct list buckets[BUCKETS];
};

int dekcache_new(size_t max, uint64_t ttl_ns, struct dekcache **ret)
{
	struct dekcache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->max = max < DEKCACHE_MAX ? max : DEKCACHE_MAX;
	c->ttl_ns = ttl_ns;
	list_init(&c->ages);
	list_init(&c->free);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&c->buckets[i]);
	*ret = c;
	return 0;
}

void dekcache_free(struct dekcache *c)
{
	struct slab *next;

	if (!c)
		return;
	for (struct slab *s = c->slabs; s; s = next) {
		next = s->next;
		secmem_free(s, SLAB_BYTES);
	}
	free(c);
}

static struct list *bucket_of(struct dekcache *c, const uint8_t *id)
{
	return &c->buckets[(id[0] | (unsigned int)id[1] << 8) % BUCKETS];
}

static void evict(struct dekcache *c, struct entry *e)
{
	list_del(&e->bucket);
	list_del(&e->age);
	secmem_wipe(e, sizeof(*e));
	list_init(&e->bucket);
	list_add_head(&c->free, &e->age);
	c->count--;
}

void dekcache_bound(struct dekcache *c, size_t max)
{
	c->max = max < DEKCACHE_MAX ? max : DEKCACHE_MAX;
	while (c->count > c->max)
		evict(c, list_first(&c->ages, struct entry, age));
}

static struct entry *dekcache_find(struct dekcache *c, const uint8_t *id, uint64_t now_ns)
{
	list_for_each_safe (n, bucket_of(c, id)) {
		struct entry *e = list_entry(n, struct entry, bucket);

		if (memcmp(e->id, id, SHA256_LEN) != 0)
			continue;
		if (e->expires_ns == 0 || now_ns < e->expires_ns)
			return e;
		evict(c, e);
		return NULL;
	}
	return NULL;
}

static void dekcache_slab_add(struct dekcache *c)
{
	struct slab *s = secmem_alloc(SLAB_BYTES);

	if (!s)
		return;
	s->next = c->slabs;
	c->slabs = s;
	for (size_t i = 0; i < SLAB_ENTRIES && c->made < c->max; i++, c->made++) {
		list_init(&s->entries[i].bucket);
		list_add_tail(&c->free, &s->entries[i].age);
	}
}

static struct entry *dekcache_take(struct dekcache *c)
{
	struct entry *e;

	if (list_empty(&c->free) && c->made < c->max)
		dekcache_slab_add(c);
	if ((list_empty(&c->free) || c->count >= c->max) && !list_empty(&c->ages))
		evict(c, list_first(&c->ages, struct entry, age));
	if (list_empty(&c->free) || c->count >= c->max)
		return NULL;
	e = list_first(&c->free, struct entry, age);
	list_del(&e->age);
	c->count++;
	return e;
}

int dekcache_get(struct dekcache *c, const uint8_t id[static SHA256_LEN], uint64_t now_ns,
		 struct span *ret)
{
	struct entry *e = dekcache_find(c, id, now_ns);

	if (!e)
		return -ENOENT;
	list_del(&e->age);
	list_add_tail(&c->ages, &e->age);
	*ret = span_of(e->dek, e->len);
	return 0;
}

void dekcache_put(struct dekcache *c, const uint8_t id[static SHA256_LEN], uint64_t now_ns,
		  struct span dek)
{
	struct entry *e = dekcache_find(c, id, now_ns);

	if (dek.len > sizeof(e->dek))
		return;
	if (e)
		evict(c, e);
	e = dekcache_take(c);
	if (!e)
		return;
	memcpy(e->id, id, sizeof(e->id));
	memcpy(e->dek, dek.data, dek.len);
	e->len = (uint8_t)dek.len;
	e->expires_ns = c->ttl_ns == 0 ? 0 : now_ns + c->ttl_ns;
	list_add_head(bucket_of(c, id), &e->bucket);
	list_add_tail(&c->ages, &e->age);
}
