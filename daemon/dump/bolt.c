/* SPDX-License-Identifier: Apache-2.0 */
/* See bolt.h. Numbers are little-endian: bbolt writes its host's, and etcd runs on no other. */
#include "daemon/dump/bolt.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"

#define MAGIC         0xED0CDAEDU
#define VERSION       2U
#define PAGE_SIZE_MIN 1024U
#define PAGE_SIZE_MAX 65536U
#define PAGES_MAX     (UINT64_C(1) << 27) /* one bit each: 16 MiB */
#define DEPTH_MAX     32U
#define KEY_MAX       32768U /* bbolt's MaxKeySize */
#define BRANCH_MAX    (1024U * 1024)
#define LEAF_MAX      (4U * DUMP_VALUE_MAX)
#define GUESSED       256U
#define STRAYS_MAX    (1U << 26) /* 3 GiB of memory */

enum page_flag { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_META = 4 };
#define LEAF_BUCKET 1U

struct page_header {
	uint64_t id;
	uint16_t flags, count;
	uint32_t overflow;
};

struct meta {
	uint32_t magic, version, page_size, flags;
	uint64_t root, sequence, freelist, pages, txid, checksum;
};

/* Of both kinds, 16 bytes; @pos counts from the element itself. */
struct branch_element {
	uint32_t pos, key_size;
	uint64_t page;
};

struct leaf_element {
	uint32_t flags, pos, key_size, value_size;
};

#define HEADER        sizeof(struct page_header)
#define ELEMENT       sizeof(struct leaf_element)
#define BUCKET_HEADER 16U

struct bolt {
	int fd;
	struct dump_error *err;
	uint64_t size, pages, root;
	uint32_t page_size;
	uint8_t *visited;                   /* a bit for each page, of this walk */
	bool lenient, damaged;              /* damaged: a page is lost */
	const struct dump_salvage *salvage; /* NULL: nobody is told */
	uint64_t older_root;                /* of the transaction before; 0: there is none */
};

/* One walk over one tree. */
struct walk {
	struct bolt *bolt;
	/* NULL: elements are only counted. */
	int (*each)(struct walk *w, const struct leaf_element *e, struct span key,
		    struct span value);
	uint64_t n; /* elements of the leaf pages, by their headers */
	void *ctx;
	bolt_each_fn *outer;
	bool first; /* no key yet */
	size_t last_len;
	uint8_t last[KEY_MAX];
};

static int damaged(struct bolt *b, const char *what)
{
	return dump_fail(b->err, -EBADMSG, "damaged database: %s", what);
}

void bolt_tell(struct bolt *b, const struct dump_salvage *salvage)
{
	b->salvage = salvage;
}

/* Lenient: damage is reported and passed over. An error that has no text of ours came from each(), and is returned. */
static int pass_over(struct bolt *b, uint64_t page, int r)
{
	char text[sizeof(b->err->text) + 32];

	if (!b->lenient || r >= 0 || !*b->err->text)
		return r;
	snprintf(text, sizeof(text), "page %" PRIu64 ": %s", page, b->err->text);
	if (b->salvage)
		b->salvage->lost(b->salvage->ctx, text);
	*b->err->text = '\0';
	return 0;
}

bool bolt_is_damaged(const struct bolt *b)
{
	return b->damaged;
}

/* All @len bytes. -EBADMSG: the file has become shorter. */
static int read_at(int fd, uint64_t offset, void *buf, size_t len)
{
	int r = io_pread_exactly(fd, buf, len, offset);

	return r == -ENODATA ? -EBADMSG : r;
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo; IETF draft-eastlake-fnv). */
static uint64_t fnv1a(const uint8_t *p, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static struct page_header header_of(const uint8_t *page)
{
	struct page_header h;

	memcpy(&h, page, sizeof(h));
	h.id = le64toh(h.id);
	h.flags = le16toh(h.flags);
	h.count = le16toh(h.count);
	h.overflow = le32toh(h.overflow);
	return h;
}

/* The meta page at @offset, if it is a good one. */
static bool meta_read(struct bolt *b, uint64_t offset, struct meta *ret)
{
	uint8_t page[HEADER + sizeof(struct meta)];
	struct meta m;

	if (b->size < sizeof(page) || offset > b->size - sizeof(page) ||
	    read_at(b->fd, offset, page, sizeof(page)) < 0)
		return false;
	memcpy(&m, page + HEADER, sizeof(m));
	if (!(header_of(page).flags & PAGE_META) || le32toh(m.magic) != MAGIC ||
	    le32toh(m.version) != VERSION)
		return false;
	if (le64toh(m.checksum) != fnv1a(page + HEADER, offsetof(struct meta, checksum)))
		return false;
	*ret = m;
	return true;
}

static bool page_size_valid(uint32_t size)
{
	return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

/* Take the newer of the two meta pages. The first says where the second is; if the first is broken, try every page size. */
static int meta_choose(struct bolt *b, struct meta *ret)
{
	struct meta m[2];
	bool good[2];

	good[0] = meta_read(b, 0, &m[0]);
	good[1] = false;
	if (good[0] && page_size_valid(le32toh(m[0].page_size)))
		good[1] = meta_read(b, le32toh(m[0].page_size), &m[1]);
	for (uint32_t size = PAGE_SIZE_MIN; !good[0] && !good[1] && size <= PAGE_SIZE_MAX;
	     size *= 2)
		good[1] = meta_read(b, size, &m[1]) && le32toh(m[1].page_size) == size;
	if (!good[0] && !good[1])
		return dump_fail(b->err, -EBADMSG, "not a database of etcd: no good meta page");
	if (good[0] && good[1]) {
		unsigned int newer = le64toh(m[1].txid) > le64toh(m[0].txid);

		*ret = m[newer];
		b->older_root = le64toh(m[!newer].root);
	} else {
		*ret = good[0] ? m[0] : m[1];
	}
	return 0;
}

/* The page size by which most of the first pages have their own number in their header. 0: none. */
static uint32_t page_size_guess(int fd)
{
	uint32_t best = 0, most = 0;

	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		uint32_t n = 0;

		for (uint64_t id = 1; id < GUESSED; id++) {
			uint8_t head[HEADER];
			struct page_header h;

			if (read_at(fd, id * size, head, sizeof(head)) < 0)
				break;
			h = header_of(head);
			n += h.id == id && (h.flags == PAGE_LEAF || h.flags == PAGE_BRANCH);
		}
		if (n > most) {
			most = n;
			best = size;
		}
	}
	return best;
}

bool bolt_is_torn(int fd)
{
	return page_size_guess(fd) != 0;
}

int bolt_open(int fd, uint64_t size, bool lenient, struct dump_error *err, struct bolt **ret)
{
	_cleanup_(bolt_freep) struct bolt *b = calloc(1, sizeof(*b));
	struct meta m = { 0 };
	int r;

	if (!b)
		return -ENOMEM;
	b->fd = fd;
	b->err = err;
	b->size = size;
	b->lenient = lenient;
	r = meta_choose(b, &m);
	if (r < 0 && lenient) {
		m.page_size = htole32(page_size_guess(fd));
		m.pages = htole64(UINT64_MAX);
		b->damaged = m.page_size != 0;
	}
	if (r < 0 && !b->damaged)
		return r;
	b->page_size = le32toh(m.page_size);
	b->pages = le64toh(m.pages);
	b->root = le64toh(m.root);
	if (!page_size_valid(b->page_size))
		return damaged(b, "an impossible page size");
	if (lenient && b->pages > size / b->page_size)
		b->pages = size / b->page_size;
	if (b->pages > size / b->page_size)
		return damaged(b, "the file is shorter than its meta page says");
	if (b->pages > PAGES_MAX)
		return dump_fail(err, -EFBIG, "the database is too large");
	b->visited = malloc((size_t)(b->pages / CHAR_BIT + 1));
	if (!b->visited)
		return -ENOMEM;
	*ret = move_ptr(b);
	return 0;
}

void bolt_free(struct bolt *b)
{
	if (!b)
		return;
	free(b->visited);
	free(b);
}

static bool is_visited(const struct bolt *b, uint64_t id)
{
	return b->visited[id / CHAR_BIT] & 1U << (id % CHAR_BIT);
}

/* Note that pages @id … @id + @n - 1 are visited; the range is checked. */
static int visit(struct bolt *b, uint64_t id, uint64_t n)
{
	if (id < 2 || id >= b->pages || n > b->pages - id)
		return damaged(b, "a page lies outside of the file");
	for (uint64_t p = id; p < id + n; p++) {
		if (is_visited(b, p))
			return damaged(b, "a page is used twice");
		b->visited[p / CHAR_BIT] |= (uint8_t)(1U << (p % CHAR_BIT));
	}
	return 0;
}

static int read_failed(struct bolt *b, int r)
{
	return dump_fail(b->err, r, "damaged database: %s",
			 r == -EBADMSG ? "the file ends too early" : errno_text(r));
}

/* The first @len bytes of a page of a tree, at least its header and at most one page size. */
static int page_begin(struct bolt *b, uint64_t id, uint8_t *ret, size_t len)
{
	struct page_header h;
	int r;

	if (id >= b->pages)
		return damaged(b, "a page lies outside of the file");
	r = read_at(b->fd, id * b->page_size, ret, len);
	if (r < 0)
		return read_failed(b, r);
	h = header_of(ret);
	if (h.id != id || (h.flags != PAGE_BRANCH && h.flags != PAGE_LEAF))
		return damaged(b, "a page is not the one that it should be");
	return 0;
}

/* Notes that a page with all it runs over is visited; *ret_len: its bytes. */
static int page_visit(struct bolt *b, struct page_header h, size_t *ret_len)
{
	uint64_t len = ((uint64_t)h.overflow + 1) * b->page_size;
	int r = visit(b, h.id, (uint64_t)h.overflow + 1);

	if (r < 0)
		return r;
	if (len > (h.flags == PAGE_LEAF ? LEAF_MAX : BRANCH_MAX))
		return dump_fail(b->err, -EMSGSIZE, "a page is larger than etcd makes them");
	*ret_len = (size_t)len;
	return 0;
}

/* A page with all it runs over, in memory that the caller frees. */
static int page_read(struct bolt *b, uint64_t id, uint8_t **ret, size_t *ret_len)
{
	_cleanup_free_ uint8_t *page = malloc(b->page_size);
	uint8_t *whole;
	size_t len = 0;
	int r;

	if (!page)
		return -ENOMEM;
	memset(page, 0, HEADER); /* gcc 12's analyzer does not see that it is read from the file */
	r = page_begin(b, id, page, b->page_size);
	if (r == 0)
		r = page_visit(b, header_of(page), &len);
	if (r < 0)
		return r;
	if (len > b->page_size) {
		whole = realloc(page, len);
		if (!whole)
			return -ENOMEM;
		page = whole;
		r = read_at(b->fd, (id + 1) * b->page_size, page + b->page_size,
			    len - b->page_size);
		if (r < 0)
			return read_failed(b, r);
	}
	*ret = move_ptr(page);
	*ret_len = len;
	return 0;
}

static int walk_page(struct walk *w, uint64_t id, unsigned int depth);

/* From the last element to the first; @page holds at least a header. */
static int walk_branch(struct walk *w, const uint8_t *page, size_t len, unsigned int depth)
{
	struct branch_element e;
	unsigned int n = header_of(page).count;
	int r = 0;

	if (n == 0 || n > (len - HEADER) / ELEMENT)
		return damaged(w->bolt, "a branch page has an impossible number of elements");
	while (r == 0 && n-- > 0) {
		memcpy(&e, page + HEADER + n * ELEMENT, sizeof(e));
		r = walk_page(w, le64toh(e.page), depth + 1);
	}
	return r;
}

/* NULL, or what is wrong with the element at @at. */
static const char *element_read(const uint8_t *page, size_t len, size_t at,
				struct leaf_element *ret, struct span *ret_key,
				struct span *ret_value)
{
	uint64_t start, end;
	struct leaf_element e;

	memcpy(&e, page + at, sizeof(e));
	e.flags = le32toh(e.flags);
	e.key_size = le32toh(e.key_size);
	e.value_size = le32toh(e.value_size);
	start = (uint64_t)at + le32toh(e.pos);
	end = start + e.key_size + e.value_size;
	if (end > len)
		return "a value reaches over the end of its page";
	if (e.key_size == 0 || e.key_size > KEY_MAX)
		return "a key has an impossible size";
	*ret_key = span_of(page + start, e.key_size);
	*ret_value = span_of(page + start + e.key_size, e.value_size);
	*ret = e;
	return NULL;
}

static int walk_element(struct walk *w, const uint8_t *page, size_t len, size_t at)
{
	struct span key = SPAN_NULL, value = SPAN_NULL;
	struct leaf_element e;
	const char *wrong = element_read(page, len, at, &e, &key, &value);
	int order;

	if (wrong)
		return damaged(w->bolt, wrong);
	/* The walk goes back: each key is smaller than the one before. */
	order = w->first ? -1
			 : memcmp(key.data, w->last, key.len < w->last_len ? key.len : w->last_len);
	if (!w->bolt->lenient && (order > 0 || (order == 0 && key.len >= w->last_len)))
		return damaged(w->bolt, "keys are out of order");
	memcpy(w->last, key.data, key.len);
	w->last_len = key.len;
	w->first = false;
	return w->each(w, &e, key, value);
}

/* Of a page of @len bytes there may be no more than the header here, if each() is NULL. */
static int walk_leaf(struct walk *w, const uint8_t *page, size_t len)
{
	unsigned int n = header_of(page).count;
	int r = 0;

	if (n > (len - HEADER) / ELEMENT)
		return damaged(w->bolt, "a leaf page has an impossible number of elements");
	w->n += n;
	while (w->each && r == 0 && n-- > 0)
		r = pass_over(w->bolt, header_of(page).id,
			      walk_element(w, page, len, HEADER + n * ELEMENT));
	return r;
}

static int walk_good_page(struct walk *w, uint64_t id, unsigned int depth)
{
	_cleanup_free_ uint8_t *page = NULL;
	uint8_t head[HEADER];
	size_t len = 0;
	int r;

	if (depth > DEPTH_MAX)
		return damaged(w->bolt, "a tree is too deep");
	/* A lenient one has to find lost what the next walk will. */
	if (!w->each && !w->bolt->lenient) {
		r = page_begin(w->bolt, id, head, sizeof(head));
		if (r < 0)
			return r;
		if (header_of(head).flags == PAGE_LEAF) {
			r = page_visit(w->bolt, header_of(head), &len);
			return r < 0 ? r : walk_leaf(w, head, len);
		}
	}
	r = page_read(w->bolt, id, &page, &len);
	if (r < 0 || !page)
		return r;
	return header_of(page).flags == PAGE_LEAF ? walk_leaf(w, page, len)
						  : walk_branch(w, page, len, depth);
}

static int walk_page(struct walk *w, uint64_t id, unsigned int depth)
{
	int r = walk_good_page(w, id, depth);

	/* Only a lost page counts: a damaged value leads to no other page. */
	w->bolt->damaged = w->bolt->damaged || (r < 0 && w->bolt->lenient);
	return pass_over(w->bolt, id, r);
}

/* Walk the whole tree below the root, or the one page of an inside bucket. */
static int walk(struct walk *w, const struct bolt_bucket *bucket)
{
	struct bolt *b = w->bolt;

	memset(b->visited, 0, (size_t)(b->pages / CHAR_BIT + 1));
	w->first = true;
	if (!bucket->page && bucket->root == 0)
		return 0;
	if (bucket->page)
		return walk_leaf(w, bucket->page, bucket->len);
	return walk_page(w, bucket->root, 0);
}

/* Buckets are values of the root: a header of the tree's root and a sequence, then maybe a page. */
struct search {
	struct span name;
	struct bolt_bucket *ret;
};

#define FOUND 1

static int bucket_open(struct bolt *b, struct span value, struct bolt_bucket *ret)
{
	struct bolt_bucket found = { 0 };
	uint64_t root;

	if (value.len < BUCKET_HEADER)
		return damaged(b, "a bucket without a header");
	memcpy(&root, value.data, sizeof(root));
	found.root = le64toh(root);
	if (found.root == 0) {
		value = span_skip(value, BUCKET_HEADER);
		if (value.len < HEADER || header_of(value.data).flags != PAGE_LEAF)
			return damaged(b, "a bucket without a page");
		found.page = malloc(value.len);
		if (!found.page)
			return -ENOMEM;
		memcpy(found.page, value.data, value.len);
		found.len = value.len;
	}
	*ret = found;
	return FOUND;
}

static int search_each(struct walk *w, const struct leaf_element *e, struct span key,
		       struct span value)
{
	struct search *s = w->ctx;

	if (!(e->flags & LEAF_BUCKET) || !span_equal(key, s->name))
		return 0;
	return bucket_open(w->bolt, value, s->ret);
}

int bolt_bucket_find(struct bolt *b, struct span name, struct bolt_bucket *ret)
{
	struct bolt_bucket root = { .root = b->root };
	struct search s = { name, ret };
	struct walk w = { .bolt = b, .each = search_each, .ctx = &s };
	int r = walk(&w, &root);

	if (r == 0 && b->lenient && b->older_root != 0) {
		root.root = b->older_root;
		b->older_root = 0;
		r = walk(&w, &root);
	}
	if (r == 0)
		return -ENOENT;
	return r == FOUND ? 0 : r;
}

void bolt_bucket_done(struct bolt_bucket *bucket)
{
	free(bucket->page);
	*bucket = (struct bolt_bucket){ 0 };
}

static int bolt_value_each(struct walk *w, const struct leaf_element *e, struct span key,
			   struct span value)
{
	if (e->flags & LEAF_BUCKET)
		return damaged(w->bolt, "a bucket where etcd has none");
	return w->outer(w->ctx, key, value);
}

int bolt_walk_back(struct bolt *b, const struct bolt_bucket *bucket, bolt_each_fn *each, void *ctx)
{
	struct walk w = { .bolt = b, .each = bolt_value_each, .ctx = ctx, .outer = each };

	return walk(&w, bucket);
}

/*
 * Strays: elements of leaf pages to which no way of the tree leads any more. Nothing says of which bucket they were, and they
 * may be of an earlier transaction; each() judges that. The key of each element is kept, so that they come in order.
 */
struct stray {
	uint8_t key[BOLT_STRAY_KEY], key_len;
	uint16_t index; /* in the page */
	uint64_t page;
};

struct strays {
	struct stray *v;
	size_t n, room;
};

static int stray_add(struct strays *s, struct span key, uint64_t page, unsigned int index)
{
	if (key.len > BOLT_STRAY_KEY || s->n == STRAYS_MAX)
		return 0;
	if (s->n == s->room) {
		size_t room = s->room > 0 ? 2 * s->room : 1024;
		struct stray *v = reallocarray(s->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	s->v[s->n] = (struct stray){ .key_len = (uint8_t)key.len,
				     .index = (uint16_t)index,
				     .page = page };
	memcpy(s->v[s->n++].key, key.data, key.len);
	return 0;
}

/* Damage of such a page is not reported, as it may never have been a page. */
static int strays_of_page(struct bolt *b, uint64_t id, struct strays *s)
{
	_cleanup_free_ uint8_t *page = NULL;
	struct span key, value;
	struct leaf_element e;
	uint8_t head[HEADER];
	size_t len = 0;
	int r;

	if (page_begin(b, id, head, sizeof(head)) < 0 || header_of(head).flags != PAGE_LEAF ||
	    page_read(b, id, &page, &len) < 0) {
		*b->err->text = '\0';
		return 0;
	}
	for (unsigned int n = 0; n < header_of(page).count; n++) {
		if (n >= (len - HEADER) / ELEMENT ||
		    element_read(page, len, HEADER + n * ELEMENT, &e, &key, &value) ||
		    (e.flags & LEAF_BUCKET))
			continue;
		r = stray_add(s, key, id, n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int last_first(const void *a, const void *b)
{
	const struct stray *x = a, *y = b;
	int order = memcmp(y->key, x->key, BOLT_STRAY_KEY);

	return order != 0 ? order : (int)y->key_len - (int)x->key_len;
}

static int strays_give(struct bolt *b, const struct strays *s, bolt_each_fn *each, void *ctx)
{
	_cleanup_free_ uint8_t *page = NULL;
	struct span key, value;
	struct leaf_element e;
	size_t len = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n; i++) {
		if (i == 0 || s->v[i].page != s->v[i - 1].page) {
			free(page);
			page = NULL;
			memset(b->visited, 0, (size_t)(b->pages / CHAR_BIT + 1));
			r = page_read(b, s->v[i].page, &page, &len);
		}
		if (r == 0 && s->v[i].index < (len - HEADER) / ELEMENT &&
		    !element_read(page, len, HEADER + s->v[i].index * ELEMENT, &e, &key, &value))
			r = each(ctx, key, value);
	}
	return r;
}

int bolt_strays_back(struct bolt *b, bolt_each_fn *each, void *ctx, size_t *ret_n)
{
	struct strays s = { 0 };
	int r = 0;

	for (uint64_t id = 2; r == 0 && id < b->pages; id++)
		if (!is_visited(b, id))
			r = strays_of_page(b, id, &s);
	if (s.n > 0)
		qsort(s.v, s.n, sizeof(*s.v), last_first);
	if (r == 0)
		r = strays_give(b, &s, each, ctx);
	*ret_n = s.n;
	free(s.v);
	return r;
}

/* How many elements the leaf pages have that no walk has come to. What may never have been a page is no damage. */
static uint64_t strays_count(struct bolt *b)
{
	uint8_t head[HEADER];
	uint64_t n = 0;
	size_t len = 0;

	for (uint64_t id = 2; id < b->pages; id++) {
		if (is_visited(b, id) || page_begin(b, id, head, sizeof(head)) < 0 ||
		    header_of(head).flags != PAGE_LEAF || page_visit(b, header_of(head), &len) < 0)
			continue;
		if (header_of(head).count <= (len - HEADER) / ELEMENT)
			n += header_of(head).count;
	}
	*b->err->text = '\0';
	return n;
}

int bolt_count(struct bolt *b, const struct bolt_bucket *bucket, uint64_t *ret_n)
{
	struct walk w = { .bolt = b };
	int r = walk(&w, bucket);

	if (r == 0 && b->damaged)
		w.n += strays_count(b);
	*ret_n = w.n;
	return r;
}
