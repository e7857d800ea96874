/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a key set as the keeper of a machine that is alone makes them: it is the only member, opens every
 * key that it could load, and has been quiet for long enough.
 */
#ifndef KEKD_TESTS_UNIT_ALONE_H
#define KEKD_TESTS_UNIT_ALONE_H

#include <time.h>

#include "daemon/keys/keyset.h"
#include "tests/harness/ktest.h"

static inline struct keyack *alone_ack(struct keyset *set)
{
	const struct keydoc *doc = keyset_doc(set);
	struct keyack *ack;

	ASSERT_OK(keyack_new(&ack));
	memcpy(ack->cluster, doc->cluster, sizeof(ack->cluster));
	memcpy(ack->node, keyset_self(set)->id, sizeof(ack->node));
	memcpy(ack->doc, doc->hash, sizeof(ack->doc));
	ack->generation = doc->generation;
	ack->time = time(NULL);
	ack->formats = KEYDOC_FORMAT_ROTATE;
	ack->n_roots = keyset_proved_roots(set, ack->roots);
	list_for_each (n, (struct list *)(uintptr_t)keyset_list(set)) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);
		struct keyack_key *a = &ack->keys[ack->n_keys++];

		memcpy(a->id, key->rec.info.id, sizeof(a->id));
		a->why = key->why;
		a->quiet = key->rec.info.state != KEY_ACTIVE;
		if (key->rec.info.state == KEY_ACTIVE)
			memcpy(ack->writes[ack->n_writes++].id, key->rec.info.id,
			       sizeof(key->rec.info.id));
	}
	return ack;
}

/* What is heard where nobody else is; of one call only. */
struct alone {
	struct keyack *ack;
	struct keydoc_heard heard;
	struct keydoc_refusal why;
};

static inline int alone_begin(struct keyset *set, struct alone *ret)
{
	if (keyset_begin(set) < 0)
		return keyset_why(set);
	ret->ack = alone_ack(set);
	ret->heard = (struct keydoc_heard){
		.acks = (const struct keyack *const *)&ret->ack,
		.n = 1,
	};
	return 0;
}

static inline void alone_end(struct alone *a)
{
	keyack_free(a->ack);
}

/* 0 or the refusal, as keyset_change(). */
static inline int alone_change(struct keyset *set, struct keydoc_change *change)
{
	_cleanup_(alone_end) struct alone a = { 0 };
	int r = alone_begin(set, &a);

	return r < 0 ? r : keyset_change(set, change, &a.heard, &a.why, NULL, NULL);
}

static inline int alone_stage(struct keyset *set, const char *name, const struct keyset_key **ret)
{
	_cleanup_(alone_end) struct alone a = { 0 };
	int r = alone_begin(set, &a);

	return r < 0 ? r : keyset_stage(set, name, &a.heard, &a.why, NULL, NULL, ret);
}

static inline int alone_stage_portable(struct keyset *set, const char *name,
				       const struct keyset_key **ret)
{
	_cleanup_(alone_end) struct alone a = { 0 };
	int r = alone_begin(set, &a);

	return r < 0 ? r : keyset_stage_portable(set, name, &a.heard, &a.why, NULL, NULL, ret);
}

static inline int alone_import(struct keyset *set, const struct key_record *want, struct span bytes,
			       const struct keyset_key **ret)
{
	_cleanup_(alone_end) struct alone a = { 0 };
	int r = alone_begin(set, &a);

	return r < 0 ? r : keyset_import(set, want, bytes, &a.heard, &a.why, NULL, NULL, ret);
}

/* Retiring and destroying are forced and vouched for. */
static inline int alone_step(struct keyset *set, enum keydoc_change_kind kind,
			     const uint8_t id[static KEKD_KEY_ID])
{
	struct keydoc_change change = { .kind = kind, .vouched = true, .forced = true };

	memcpy(change.id, id, sizeof(change.id));
	return alone_change(set, &change);
}

/* A key that is staged, and then active. */
static inline int alone_create(struct keyset *set, const char *name, const struct keyset_key **ret)
{
	int r = alone_stage(set, name, ret);

	return r < 0 ? r : alone_step(set, KEYDOC_ACTIVATE, (*ret)->rec.info.id);
}

#endif
