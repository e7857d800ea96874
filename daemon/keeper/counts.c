/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each key was used. The file "counts" of the key store holds, for each key, a number of
 * encryptions that it has not reached yet: room is reserved ahead, durably, before the key may use
 * it, so a crash can only make the count too high. A key without a line has the first room of one server,
 * COUNTS_ROOM. A clean end writes the exact number.
 *
 *   kekd-counts 1
 *   key ID ENCRYPTIONS DECRYPTIONS
 *
 * Each server reports once a second, so the room must hold what all can do until the reports are here:
 * COUNTS_ROOM, or four times the largest report ever heard, of each. A server that dies takes its last
 * report along; then the whole room counts as used.
 *
 * The numbers are no secret, and the file has no MAC: who can write to the store and lowers a count
 * delays an automatic rotation, nothing else.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define HEAD_LINE       "kekd-counts 1"
#define COUNTS_ROOM     10000
#define COUNTS_TEXT_MAX (128 * 1024)
#define SEED_S          180 /* kube-apiserver writes on with a seed for so long (kmsv2 of the chain) */
#define REPORT_MAX      UINT32_MAX /* no server does so much between two reports */

static struct keeper_counts *counts_find(struct keeper *k, const uint8_t id[static KEKD_KEY_ID])
{
	for (size_t i = 0; i < k->n_counts; i++)
		if (memcmp(k->counts[i].id, id, KEKD_KEY_ID) == 0)
			return &k->counts[i];
	return NULL;
}

/* An empty entry, in a full table that of a key which is not here. NULL if there is none. */
static struct keeper_counts *add(struct keeper *k, const uint8_t id[static KEKD_KEY_ID])
{
	struct keeper_counts *c = NULL;

	if (k->n_counts < KEKD_KEYS_MAX)
		c = &k->counts[k->n_counts++];
	for (size_t i = 0; !c && i < k->n_counts; i++)
		if (!keyset_find(k->keys, k->counts[i].id))
			c = &k->counts[i];
	if (!c)
		return NULL;
	*c = (struct keeper_counts){ 0 };
	memcpy(c->id, id, KEKD_KEY_ID);
	return c;
}

/* The entry of a key that exists: a taken-over server must not fill the table. NULL otherwise. */
static struct keeper_counts *counts_get(struct keeper *k, const uint8_t id[static KEKD_KEY_ID])
{
	struct keeper_counts *c = counts_find(k, id);

	if (c)
		return c;
	return keyset_find(k->keys, id) ? add(k, id) : NULL;
}

/* Also of a key that is not here: the keyset may be one that cannot be read this time. False: no such line. */
static bool parse_line(struct keeper *k, const char *line)
{
	uint64_t encryptions, decryptions;
	char hex[KEKD_KEY_ID_HEX + 1];
	uint8_t id[KEKD_KEY_ID];
	struct keeper_counts *c;

	if (sscanf(line, "key %32s %" SCNu64 " %" SCNu64, hex, &encryptions, &decryptions) != 3 ||
	    key_unhex(hex, strlen(hex), id, sizeof(id)) < 0)
		return false;
	c = counts_find(k, id);
	if (!c)
		c = add(k, id);
	if (!c)
		return true;
	c->encryptions = c->reserved = encryptions;
	c->decryptions = decryptions;
	c->written = true;
	return true;
}

static bool any_was_active(const struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next)
		if (list_entry(n, struct keyset_key, link)->rec.activation > 0)
			return true;
	return false;
}

static uint64_t room(const struct keeper *k)
{
	uint64_t much = k->largest_report * 4;

	return (much > COUNTS_ROOM ? much : COUNTS_ROOM) * k->conf->config->workers;
}

/*
 * A key has its first room without a line in the file, so that a rotation need not write one: after a crash
 * it counts as used.
 */
static void grant_unwritten(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct key_record *rec = &list_entry(n, struct keyset_key, link)->rec;
		struct keeper_counts *c =
			rec->activation > 0 && !counts_find(k, rec->id) ? add(k, rec->id) : NULL;

		if (c)
			c->encryptions = c->reserved = COUNTS_ROOM;
	}
}

void counts_load(struct keeper *k)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest;
	size_t len;
	bool whole;
	int r;

	if (!k->store)
		return;
	r = key_store_read(k->store, KEY_STORE_COUNTS, COUNTS_TEXT_MAX, &text, &len);
	if (r < 0) {
		if (r != -ENOENT || any_was_active(k))
			log_warning(
				"key store: counts of use cannot be read, so they begin again: %s",
				errno_text(r));
		grant_unwritten(k);
		return;
	}
	line = strtok_r(text, "\n", &rest);
	whole = line && strcmp(line, HEAD_LINE) == 0;
	while ((line = strtok_r(NULL, "\n", &rest)))
		whole &= parse_line(k, line);
	if (!whole)
		log_warning(
			"key store: the file counts is damaged, so counts of use may be too low, and an "
			"automatic rotation late; rotate the active keys with `kekctl key rotate`");
	grant_unwritten(k);
}

static int counts_save(struct keeper *k)
{
	_cleanup_free_ char *text = malloc(COUNTS_TEXT_MAX);
	char hex[KEKD_KEY_ID_HEX + 1];
	size_t len;

	if (!k->store)
		return 0;
	if (!text)
		return -ENOMEM;
	len = (size_t)snprintf(text, COUNTS_TEXT_MAX, HEAD_LINE "\n");
	for (size_t i = 0; i < k->n_counts && len < COUNTS_TEXT_MAX; i++) {
		key_hex(k->counts[i].id, KEKD_KEY_ID, hex);
		len += (size_t)snprintf(text + len, COUNTS_TEXT_MAX - len,
					"key %s %" PRIu64 " %" PRIu64 "\n", hex,
					k->counts[i].reserved, k->counts[i].decryptions);
	}
	if (len >= COUNTS_TEXT_MAX)
		return -ENOBUFS;
	for (size_t i = 0; i < k->n_counts; i++)
		k->counts[i].written = true; /* it may be, also where this fails */
	return key_store_write(k->store, KEY_STORE_COUNTS, text, len);
}

static void save_or_say(struct keeper *k)
{
	int r = counts_save(k);

	if (r < 0 && !k->counts_failed)
		log_warning(
			"key store: counts of use cannot be written: %s; after a crash they may "
			"be too low",
			errno_text(r));
	k->counts_failed = r < 0;
}

/* Not on a node that is leaving: it writes with none. */
static bool is_written_with(const struct keeper *k, const struct keyset_key *key)
{
	return key->rec.state == KEY_ACTIVE && keyset_may_write(k->keys);
}

/* Those that were active until now: that is use, though the server's last report is still on its way. */
static void note_ends(struct keeper *k)
{
	for (size_t i = 0; i < k->n_counts; i++) {
		struct keeper_counts *c = &k->counts[i];
		const struct keyset_key *key = c->active ? keyset_find(k->keys, c->id) : NULL;

		if (!c->active || (key && is_written_with(k, key)))
			continue;
		c->active = false;
		c->gave_way = c->last_used = time(NULL);
		c->wrote_ns = now_ns();
	}
}

/*
 * Is there room for what the key may do before the next look? If not, there is in the table now; true if the
 * file has to say so, as it grants less.
 */
static bool counts_make_room(struct keeper *k, struct keeper_counts *c)
{
	if (c->reserved >= c->encryptions + room(k) / 2)
		return false;
	c->reserved = c->encryptions + room(k);
	return c->written || c->reserved > COUNTS_ROOM;
}

void counts_reserve(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);
	bool changed = false;

	note_ends(k);
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);
		struct keeper_counts *c =
			key->rec.state == KEY_ACTIVE ? counts_get(k, key->rec.id) : NULL;

		if (!c)
			continue;
		c->active = is_written_with(k, key);
		if (key->why == 0)
			changed |= counts_make_room(k, c);
	}
	if (changed)
		save_or_say(k);
}

/* A server that lies makes no sum overflow, so it does not make what others have done uncounted. */
static uint64_t believed(uint64_t n)
{
	return n < REPORT_MAX ? n : REPORT_MAX;
}

void counts_add(struct keeper *k, const struct link_msg *used)
{
	uint64_t encryptions = believed(used->encryptions);
	struct keeper_counts *c = counts_get(k, used->id);

	if (!c)
		return;
	c->encryptions += encryptions;
	c->decryptions += believed(used->decryptions);
	c->last_used = time(NULL);
	if (encryptions > 0)
		c->wrote_ns = now_ns();
	if (encryptions > k->largest_report)
		k->largest_report = encryptions;
	if (c->encryptions > c->reserved)
		c->reserved = c->encryptions;
	counts_reserve(k);
}

void counts_server_died(struct keeper *k)
{
	for (size_t i = 0; i < k->n_counts; i++)
		k->counts[i].encryptions = k->counts[i].reserved;
	counts_reserve(k); /* before the next one serves */
}

void counts_end(struct keeper *k)
{
	for (size_t i = 0; i < k->n_counts; i++)
		k->counts[i].reserved = k->counts[i].encryptions;
	if (k->n_counts > 0)
		save_or_say(k);
}

void counts_made(struct keeper *k, const struct keyset_key *key)
{
	struct keeper_counts *c = counts_get(k, key->rec.id);

	if (c)
		c->complete = true;
}

void counts_touch(struct keeper *k, const struct keyset_key *key)
{
	struct keeper_counts *c = counts_get(k, key->rec.id);

	if (c)
		c->last_used = time(NULL);
}

const struct keeper_counts *counts_of(const struct keeper *k, const uint8_t id[static KEKD_KEY_ID])
{
	static const struct keeper_counts none;
	const struct keeper_counts *c = counts_find((struct keeper *)(uintptr_t)k, id);

	return c ? c : &none;
}

time_t counts_last_used(const struct keeper *k, const struct key_record *rec)
{
	const struct keeper_counts *c = counts_of(k, rec->id);

	return c->complete || c->last_used > k->started ? c->last_used : k->started;
}

time_t counts_written_until(const struct keeper *k, const struct key_record *rec)
{
	const struct keeper_counts *c = counts_of(k, rec->id);

	if (c->complete && c->gave_way == 0)
		return 0; /* it never wrote */
	return (c->gave_way > k->started ? c->gave_way : k->started) + SEED_S;
}
