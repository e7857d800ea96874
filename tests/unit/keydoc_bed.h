/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyset documents to test with: a root of the test's own, and keys, nodes and acknowledgements that are
 * told apart by one digit.
 */
#ifndef KEKD_TESTS_UNIT_KEYDOC_BED_H
#define KEKD_TESTS_UNIT_KEYDOC_BED_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/keys/keydoc_next.h"
#include "tests/harness/ktest.h"

#define BED_ROOT_HEX "0123456789abcdef"
#define BED_TIME     1769860800 /* 2026-01-31T12:00:00Z */

static const uint8_t bed_root_id[KEY_ROOT_ID] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };
static const uint8_t bed_other_id[KEY_ROOT_ID] = { 0x77 };

static inline int bed_mac(const void *secret, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	return hmac_sha256(span_str(secret), &in, 1, ret);
}

static const struct keydoc_root bed_root = { bed_mac, "a root", bed_root_id, NULL };
static const struct keydoc_root bed_other_root = { bed_mac, "another root", bed_other_id, NULL };

struct bed_id {
	uint8_t id[16];
};

static inline struct bed_id bed_key_id(uint8_t n)
{
	struct bed_id id;

	memset(id.id, n, sizeof(id.id));
	return id;
}

static inline struct bed_id bed_node_id(uint8_t n)
{
	return bed_key_id((uint8_t)(0xa0 + n));
}

/* Key @n of @name, as a keeper makes it. */
static inline struct key_record bed_key(uint8_t n, const char *name)
{
	struct key_record rec = { .info.key_bytes = 32, .info.created = BED_TIME };

	memcpy(rec.info.id, bed_key_id(n).id, sizeof(rec.info.id));
	memset(rec.check, n, sizeof(rec.check));
	memcpy(rec.root, bed_root_id, sizeof(rec.root));
	snprintf(rec.info.name, sizeof(rec.info.name), "%s", name);
	snprintf(rec.info.label, sizeof(rec.info.label), "%s.%u", name, n);
	snprintf(rec.blob, sizeof(rec.blob), "default user:kekd-root 32 %02x", n);
	return rec;
}

/* Node @n is cp-N. */
static inline struct keydoc_member bed_node(uint8_t n)
{
	struct keydoc_member m = { 0 };

	memcpy(m.id, bed_node_id(n).id, sizeof(m.id));
	snprintf(m.name, sizeof(m.name), "cp-%u", n);
	return m;
}

/* Set doc->hash; says whether it is a document at all. */
static inline int bed_seal(struct keydoc *doc)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return keydoc_format(doc, &bed_root, &text, &len);
}

/* The first document of node 0, sealed; caller frees. */
static inline struct keydoc *bed_begin(void)
{
	static const uint8_t cluster[KEYDOC_NODE] = { 0xc1 }, nonce[KEYDOC_NODE] = { 0x01 };
	struct keydoc_member me = bed_node(0);
	struct keydoc *doc;

	ASSERT_OK(keydoc_begin(cluster, nonce, &me, bed_root_id, BED_TIME, &doc));
	ASSERT_OK(bed_seal(doc));
	return doc;
}

/* Caller frees. */
static inline struct keydoc *bed_copy(const struct keydoc *doc)
{
	struct keydoc *copy;

	ASSERT_OK(keydoc_copy(doc, &copy));
	return copy;
}

/* Add key @n as if a change had: in @state, under @activation. Borrowed from @doc. */
static inline struct key_record *bed_add(struct keydoc *doc, uint8_t n, const char *name,
					 enum key_state state, uint32_t activation)
{
	struct key_record *rec = &doc->keys[doc->n_keys++];

	*rec = bed_key(n, name);
	rec->info.state = state;
	rec->info.activation = activation;
	if (state == KEY_RETIRED)
		rec->retired = BED_TIME;
	if (doc->activations < activation)
		doc->activations = activation;
	return rec;
}

/* Add node @n as a member; changes come from node 0 then. */
static inline void bed_join(struct keydoc *doc, uint8_t n)
{
	doc->members[doc->n_members++] = bed_node(n);
	doc->carrier = KEYDOC_HAND;
	memcpy(doc->hand, bed_node_id(0).id, sizeof(doc->hand));
}

/*
 * What node @n says when all is well: it holds @doc, opens every key that opens, writes with the active
 * ones, is quiet about the others, and has heard @number of @maker. Its clock shows @time.
 */
static inline void bed_answer(struct keyack *ack, const struct keydoc *doc, uint8_t n,
			      const uint8_t maker[static KEYDOC_NODE],
			      const uint8_t number[static KEYDOC_NODE], time_t time)
{
	static const char version[] = "0.1.0";

	memcpy(ack->cluster, doc->cluster, sizeof(ack->cluster));
	memcpy(ack->node, bed_node_id(n).id, sizeof(ack->node));
	snprintf(ack->name, sizeof(ack->name), "cp-%u", n);
	memcpy(ack->doc, doc->hash, sizeof(ack->doc));
	ack->generation = doc->generation;
	memset(ack->number, 0xf0 + n, sizeof(ack->number));
	ack->n_heard = 1;
	memcpy(ack->heard[0].node, maker, KEYDOC_NODE);
	memcpy(ack->heard[0].number, number, KEYDOC_NODE);
	ack->n_keys = ack->n_writes = 0;
	for (size_t i = 0; i < doc->n_keys; i++) {
		const struct key_record *rec = &doc->keys[i];
		struct keyack_key *key = &ack->keys[ack->n_keys];

		if (!key_state_opens(rec->info.state))
			continue;
		*key = (struct keyack_key){ .quiet = rec->info.state != KEY_ACTIVE };
		memcpy(key->id, rec->info.id, sizeof(key->id));
		ack->n_keys++;
		if (rec->info.state != KEY_ACTIVE)
			continue;
		memcpy(ack->writes[ack->n_writes].id, rec->info.id, sizeof(rec->info.id));
		ack->writes[ack->n_writes++].activation = rec->info.activation;
	}
	ack->time = time;
	memcpy(ack->version, version, sizeof(version));
	ack->formats = 1;
}

#endif
