/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of values, by resource, namespace, provider and key: what a scan of any length is summed up
 * in. The number of rows has a bound; beyond it rows of a resource, provider and key stand for all
 * further namespaces together ("*").
 */
#ifndef KEKD_DUMP_REPORT_H
#define KEKD_DUMP_REPORT_H

#include "daemon/dump/rules.h"

#define REPORT_ROWS_MAX 65536 /* with namespaces of their own */

struct report_row;

/* A row and a verdict in one pointer: for a value whose last word is still to come. */
struct report_slot {
	struct report_row *row;
	enum verdict verdict;
	bool unsure; /* see rules.h */
};

struct report_row {
	/* Owned by the report. @hash: of a KMS v2 key_id, or "". */
	char *resource, *ns, *provider, *key, *hash;
	const struct rules_key *kek; /* of kekd, or NULL */
	uint64_t n[VERDICTS], bytes;
	struct report_slot slots[VERDICTS + 1]; /* the last is the unsure one */
	/* Private; owned. At most UPSTREAM_KEY_ID_MAX bytes. */
	uint8_t *key_id;
	size_t key_id_len;
};

struct report {
	struct report_row **rows; /* in the order of their first value */
	size_t n;
	uint64_t n_all[VERDICTS];
	/* Private. */
	size_t room;
	struct report_row **places;
	size_t mask;
};

/* Zero-initialised is empty. */
void report_done(struct report *r);
/* The row of a value; it stays in its place. -ENOMEM, -ENOBUFS when even the rows without namespaces are too many. */
int report_row(struct report *r, const struct resource *resource, const struct stored *s,
	       const struct judgement *j, struct report_row **ret);
/* Count a value of a row. */
void report_count(struct report *r, struct report_row *row, enum verdict v, size_t bytes);
/* What a value with @j is to be counted by later. */
struct report_slot *report_slot_of(struct report_row *row, const struct judgement *j);
/*
 * A plugin has one newest key, and which it is cannot be told from outside: what is sealed under several
 * key_ids of one plugin's name, and not by kekd, is counted as stale instead of current. Returns of how many
 * values. Nothing may be added afterwards.
 */
uint64_t report_distrust(struct report *r);
/* By resource, namespace, provider, key; or what differs in its namespace only side by side. */
void report_sort(struct report *r, bool by_namespace);
bool report_same_but_ns(const struct report_row *a, const struct report_row *b);

/* Bytes of etcd for people's eyes: what is not printable ASCII becomes \xHH. Always a C string. */
void report_escape(struct span s, char *ret, size_t size);

#endif
