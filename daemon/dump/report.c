/* SPDX-License-Identifier: Apache-2.0 */
/* See report.h. */
#include "daemon/dump/report.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"

#define PLACES_MIN 256
#define TEXT_MAX   512
#define ROWS_LIMIT (2 * REPORT_ROWS_MAX)

struct texts {
	char resource[RESOURCE_TEXT_MAX], ns[TEXT_MAX], key[TEXT_MAX];
	const char *provider;
	struct span key_id;
	const struct rules_key *kek;
};

static void row_free(struct report_row *row)
{
	if (!row)
		return;
	free(row->resource);
	free(row->ns);
	free(row->provider);
	free(row->key);
	free(row->hash);
	free(row->key_id);
	free(row);
}
DEFINE_CLEANUP(struct report_row *, row_free);

void report_done(struct report *r)
{
	for (size_t i = 0; i < r->n; i++)
		row_free(r->rows[i]);
	free(r->rows);
	free(r->places);
	*r = (struct report){ 0 };
}

void report_escape(struct span s, char *ret, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (c > ' ' && c < 0x7f && c != '\\' && n + 1 < size) {
			ret[n++] = (char)c;
			continue;
		}
		if (n + 4 >= size)
			break;
		ret[n++] = '\\';
		ret[n++] = 'x';
		ret[n++] = hex[c >> 4];
		ret[n++] = hex[c & 15];
	}
	ret[n] = '\0';
}

static uint64_t report_hash(uint64_t h, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * UINT64_C(0x100000001b3);
	return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

static bool row_is(const struct report_row *row, const struct texts *t)
{
	return row->kek == t->kek && strcmp(row->ns, t->ns) == 0 && strcmp(row->key, t->key) == 0 &&
	       strcmp(row->resource, t->resource) == 0 && strcmp(row->provider, t->provider) == 0 &&
	       span_equal(span_of(row->key_id, row->key_id_len), t->key_id);
}

static struct report_row **report_place_of(const struct report *r, const struct texts *t)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	size_t i;

	h = report_hash(h, span_str(t->resource));
	h = report_hash(h, span_str(t->ns));
	h = report_hash(h, span_str(t->provider));
	h = report_hash(h, span_str(t->key));
	h = report_hash(h, t->key_id);
	i = (size_t)(h ^ (uint64_t)(uintptr_t)t->kek) & r->mask;
	while (r->places[i] && !row_is(r->places[i], t))
		i = (i + 1) & r->mask;
	return &r->places[i];
}

/* Room for one more row, the table at most half full. */
static int grow(struct report *r)
{
	size_t room = r->room ? 2 * r->room : PLACES_MIN / 2;
	struct report_row **rows, **places;

	if (r->n < r->room)
		return 0;
	rows = reallocarray(r->rows, room, sizeof(struct report_row *));
	if (!rows)
		return -ENOMEM;
	r->rows = rows;
	places = calloc(2 * room, sizeof(struct report_row *));
	if (!places)
		return -ENOMEM;
	free(r->places);
	r->places = places;
	r->mask = 2 * room - 1;
	r->room = room;
	for (size_t i = 0; i < r->n; i++) {
		const struct report_row *row = r->rows[i];
		struct texts t = { .provider = row->provider,
				   .key_id = span_of(row->key_id, row->key_id_len),
				   .kek = row->kek };

		memcpy(t.resource, row->resource, strlen(row->resource) + 1);
		memcpy(t.ns, row->ns, strlen(row->ns) + 1);
		memcpy(t.key, row->key, strlen(row->key) + 1);
		*report_place_of(r, &t) = r->rows[i];
	}
	return 0;
}

static int row_new(const struct texts *t, struct report_row **ret)
{
	_cleanup_(row_freep) struct report_row *row = calloc(1, sizeof(*row));
	char hash[KEY_ID_HASH_TEXT] = "";

	if (!row)
		return -ENOMEM;
	row->resource = strdup(t->resource);
	row->ns = strdup(t->ns);
	row->provider = strdup(t->provider);
	row->key = strdup(t->key);
	if (t->key_id.len > 0)
		key_id_hash(t->key_id, hash);
	row->hash = strdup(hash);
	if (t->key_id.len > 0)
		row->key_id = malloc(t->key_id.len);
	if (row->key_id)
		memcpy(row->key_id, t->key_id.data, t->key_id.len);
	row->key_id_len = t->key_id.len;
	row->kek = t->kek;
	for (enum verdict v = 0; v < VERDICTS; v++)
		row->slots[v] = (struct report_slot){ row, v, false };
	row->slots[VERDICTS] = (struct report_slot){ row, VERDICT_STALE, true };
	if (!row->resource || !row->ns || !row->provider || !row->key || !row->hash ||
	    (t->key_id.len > 0 && !row->key_id))
		return -ENOMEM;
	*ret = move_ptr(row);
	return 0;
}

int report_row(struct report *r, const struct resource *resource, const struct stored *s,
	       const struct judgement *j, struct report_row **ret)
{
	struct texts t = { .provider = stored_kind_name(s->kind),
			   .key_id = s->key_id,
			   .kek = j->key };
	struct report_row **place;
	int e;

	resource_text(resource, t.resource);
	report_escape(resource->ns, t.ns, sizeof(t.ns));
	report_escape(s->name, t.key, sizeof(t.key));
	e = grow(r);
	if (e < 0)
		return e;
	place = report_place_of(r, &t);
	if (!*place && r->n >= REPORT_ROWS_MAX) {
		snprintf(t.ns, sizeof(t.ns), "*");
		place = report_place_of(r, &t);
		if (!*place && r->n >= ROWS_LIMIT)
			return -ENOBUFS;
	}
	if (!*place) {
		e = row_new(&t, place);
		if (e < 0)
			return e;
		r->rows[r->n++] = *place;
	}
	*ret = *place;
	return 0;
}

void report_count(struct report *r, struct report_row *row, enum verdict v, size_t bytes)
{
	row->n[v]++;
	row->bytes += bytes;
	r->n_all[v]++;
}

struct report_slot *report_slot_of(struct report_row *row, const struct judgement *j)
{
	return &row->slots[j->unsure ? VERDICTS : j->verdict];
}

typedef int report_order_fn(const void *a, const void *b);

static int by_plugin(const void *a, const void *b)
{
	const struct report_row *x = *(struct report_row *const *)a;
	const struct report_row *y = *(struct report_row *const *)b;
	int r = strcmp(x->provider, y->provider);

	return r != 0 ? r : strcmp(x->key, y->key);
}

/* What is in the clear or under a key of another plugin has no key of kekd. */
static int by_all_but_ns(const void *a, const void *b)
{
	const struct report_row *x = *(struct report_row *const *)a;
	const struct report_row *y = *(struct report_row *const *)b;
	int r = strcmp(x->resource, y->resource);

	if (r == 0)
		r = by_plugin(a, b);
	if (r == 0)
		r = strcmp(x->hash, y->hash);
	return r != 0 ? r : (x->kek > y->kek) - (x->kek < y->kek);
}

static int by_namespace_first(const void *a, const void *b)
{
	const struct report_row *x = *(struct report_row *const *)a;
	const struct report_row *y = *(struct report_row *const *)b;
	int r = strcmp(x->resource, y->resource);

	if (r == 0)
		r = strcmp(x->ns, y->ns);
	return r != 0 ? r : by_all_but_ns(a, b);
}

static int by_namespace_last(const void *a, const void *b)
{
	const struct report_row *x = *(struct report_row *const *)a;
	const struct report_row *y = *(struct report_row *const *)b;
	int r = by_all_but_ns(a, b);

	return r != 0 ? r : strcmp(x->ns, y->ns);
}

bool report_same_but_ns(const struct report_row *a, const struct report_row *b)
{
	return by_all_but_ns(&a, &b) == 0;
}

static void order(struct report *r, report_order_fn *how)
{
	if (r->n > 1)
		qsort(r->rows, r->n, sizeof(struct report_row *), how);
}

void report_sort(struct report *r, bool by_namespace)
{
	order(r, by_namespace ? by_namespace_first : by_namespace_last);
}

uint64_t report_distrust(struct report *r)
{
	uint64_t n = 0;
	size_t end;

	order(r, by_plugin);
	for (size_t i = 0; i < r->n; i = end) {
		const struct report_row *one = NULL;
		bool several = false;

		for (end = i; end < r->n && by_plugin(&r->rows[i], &r->rows[end]) == 0; end++) {
			const struct report_row *row = r->rows[end];

			if (row->n[VERDICT_CURRENT] + row->n[VERDICT_STALE] == 0)
				continue;
			one = one ?: row;
			several |= strcmp(one->hash, row->hash) != 0;
		}
		for (size_t k = i; k < end && several; k++) {
			struct report_row *row = r->rows[k];
			uint64_t moved = row->kek ? 0 : row->n[VERDICT_CURRENT];

			row->n[VERDICT_CURRENT] -= moved;
			row->n[VERDICT_STALE] += moved;
			n += moved;
		}
	}
	r->n_all[VERDICT_CURRENT] -= n;
	r->n_all[VERDICT_STALE] += n;
	return n;
}
