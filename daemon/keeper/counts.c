/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each key was used. The file "counts" of the key store holds, for each key, a number of
 * encryptions that it has not reached yet: room is reserved ahead, and more is asked for while half of it
 * is left, so a crash makes the count too high. Nobody waits for the disk: if that takes so long that the room
 * is used up, or refuses, a crash may make the count too low, and that is said (counts_behind()). A key without a line
 * has the first room of one server, COUNTS_ROOM. A clean end writes the exact number.
 *
 *   kekd-counts 2
 *   node 77aa…                       its id: a file of another node says nothing of this one
 *   key ID ENCRYPTIONS DECRYPTIONS
 *   mac …                            under the root, as the keyset has (keydoc_sign())
 *
 * Each server reports once a second, so the room must hold what all can do until the reports are here:
 * COUNTS_ROOM, or four times the largest report ever heard, of each. One report may be of a long time, where the
 * keeper stood still, or a lie: so no room is large enough to end a key (ROOM_MAX). A server that dies takes its
 * last report along; then its room counts as used.
 *
 * A file that is another's, altered or cut short is not believed: then the keys that were ever active have done
 * nobody knows how much, and that is said. An older file of this node's is believed, as nothing on a machine is newer
 * than its disk; where etcd carries the keyset, what this node has acknowledged there is, and counts (counts_said()).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define HEAD_LINE       "kekd-counts 2"
#define COUNTS_ROOM     10000
#define COUNTS_TEXT_MAX (128 * 1024)
#define NS_PER_S        INT64_C(1000000000)
#define RETRY_NS        (UINT64_C(5) * 1000 * 1000 * 1000)
#define END_NS          (UINT64_C(3) * 1000 * 1000 * 1000)
#define ROOM_MAX        (KEKD_KEY_MESSAGES / 64) /* no server does so much in a second */
#define REPORT_MAX      UINT32_MAX               /* no server does so much between two reports */

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
static bool parse_line(struct keeper *k, struct span v)
{
	uint64_t encryptions, decryptions;
	uint8_t id[KEKD_KEY_ID];
	struct keeper_counts *c;
	struct span word;

	if (text_word(&v, &word) < 0 || text_hex(word, id, sizeof(id)) < 0 ||
	    text_word(&v, &word) < 0 || text_u64(word, &encryptions) < 0 ||
	    text_u64(v, &decryptions) < 0)
		return false;
	c = counts_find(k, id);
	if (!c)
		c = add(k, id);
	if (!c)
		return true;
	c->encryptions = c->reserved = c->granted = encryptions;
	c->decryptions = decryptions;
	c->written = true;
	return true;
}

static bool any_was_active(const struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next)
		if (list_entry(n, struct keyset_key, link)->rec.info.activation > 0)
			return true;
	return false;
}

/* What one server may have done that it has not reported. */
static uint64_t room_of_one(const struct keeper *k)
{
	uint64_t much = k->largest_report * 4;

	much = much < ROOM_MAX ? much : ROOM_MAX;
	return much > COUNTS_ROOM ? much : COUNTS_ROOM;
}

static uint64_t room(const struct keeper *k)
{
	return room_of_one(k) * k->conf->config->workers;
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
		struct keeper_counts *c = rec->info.activation > 0 && !counts_find(k, rec->info.id)
						  ? add(k, rec->info.id)
						  : NULL;

		if (c)
			c->encryptions = c->reserved = COUNTS_ROOM;
	}
}

/* The roots whose MAC a file has that is written now, zeros for one that is not there. */
static void roots_now(const struct keeper *k, uint8_t ret[static KEYDOC_ROOTS][KEY_ROOT_ID])
{
	struct keydoc_root root;
	const struct keydoc_root *r = keyset_root(k->keys, &root) ? &root : NULL;

	memset(ret, 0, KEYDOC_ROOTS * KEY_ROOT_ID);
	for (size_t i = 0; r && i < KEYDOC_ROOTS; i++, r = r->also)
		memcpy(ret[i], r->id, KEY_ROOT_ID);
}

/* There is a file, and the roots are not those under which it can be opened for certain. */
static bool roots_changed(const struct keeper *k)
{
	static const uint8_t none[KEYDOC_ROOTS][KEY_ROOT_ID];
	uint8_t now[KEYDOC_ROOTS][KEY_ROOT_ID];

	roots_now(k, now);
	return memcmp(k->counts_roots, none, sizeof(none)) != 0 &&
	       memcmp(k->counts_roots, now, sizeof(now)) != 0;
}

/* -ENOENT: there is none. */
static int counts_parse(struct keeper *k)
{
	_cleanup_free_ char *text = NULL;
	uint8_t node[KEYDOC_NODE], other[KEY_ROOT_ID];
	struct keydoc_root root;
	struct span body, value;
	size_t len;
	int r = key_store_read(k->store, KEY_STORE_COUNTS, COUNTS_TEXT_MAX, &text, &len);

	if (r == 0)
		r = keyset_root(k->keys, &root)
			    ? keydoc_open(span_of(text, len), HEAD_LINE, &root, &body, other)
			    : -EKEYEXPIRED;
	if (r < 0)
		return r;
	roots_now(k, k->counts_roots);
	body = span_skip(body, strlen(HEAD_LINE "\n"));
	if (text_take(&body, "node", &value) < 0 || text_hex(value, node, sizeof(node)) < 0)
		return -EINVAL;
	if (memcmp(node, keyset_self(k->keys)->id, sizeof(node)) != 0)
		return -ESTALE;
	while (body.len > 0)
		if (text_take(&body, "key", &value) < 0 || !parse_line(k, value))
			return -EINVAL;
	return 0;
}

static const char *counts_why(int r)
{
	switch (r) {
	case -ENOENT:
		return "the file is gone";
	case -EBADMSG:
	case -ENODATA:
	case -EINVAL:
		return "the file is damaged, or was altered";
	case -EKEYREJECTED:
		return "the file is of another root key";
	case -ESTALE:
		return "the file is another node's";
	default:
		return errno_text(r);
	}
}

void counts_load(struct keeper *k)
{
	int r;

	if (!k->store)
		return;
	r = counts_parse(k);
	if (r == -EKEYEXPIRED) /* sealed: nothing is known of any key */
		return;
	if (r < 0 && (r != -ENOENT || any_was_active(k)))
		log_warning(
			"key store: counts of use cannot be read, so they begin again: %s. They are too low "
			"now, and an automatic rotation late; rotate the active keys with `kekctl key "
			"rotate`",
			counts_why(r));
	grant_unwritten(k);
}

static int counts_text(struct keeper *k, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = malloc(COUNTS_TEXT_MAX);
	struct text_buf b = { .data = text, .size = COUNTS_TEXT_MAX };
	char hex[KEKD_KEY_ID_HEX + 1];
	struct keydoc_root root;
	int r;

	if (!text)
		return -ENOMEM;
	if (!keyset_root(k->keys, &root))
		return -EKEYEXPIRED;
	text_append(&b, HEAD_LINE "\n");
	text_append_hex(&b, "node", keyset_self(k->keys)->id, KEYDOC_NODE);
	for (size_t i = 0; i < k->n_counts; i++) {
		key_hex(k->counts[i].id, KEKD_KEY_ID, hex);
		text_append(&b, "key %s %" PRIu64 " %" PRIu64 "\n", hex, k->counts[i].reserved,
			    k->counts[i].decryptions);
	}
	r = keydoc_sign(&b, HEAD_LINE, &root);
	if (r < 0)
		return r;
	roots_now(k, k->counts_roots);
	for (size_t i = 0; i < k->n_counts; i++) {
		k->counts[i].written = true; /* it may be, also where this fails */
		k->counts[i].asked = k->counts[i].reserved;
	}
	*ret = move_ptr(text);
	*ret_len = b.len;
	return 0;
}

/* No sum overflows by what is far beyond the end of a key. */
static void raise_to(struct keeper *k, const struct keyack_key *said)
{
	uint64_t least = said->uses < KEKD_KEY_LIMIT ? said->uses : KEKD_KEY_LIMIT;
	struct keeper_counts *c = counts_find(k, said->id);

	if (!c)
		c = add(k, said->id);
	if (!c)
		return;
	c->encryptions = c->encryptions > least ? c->encryptions : least;
	c->reserved = c->reserved > c->encryptions ? c->reserved : c->encryptions;
}

int counts_bring(struct keeper *k, const struct keydoc *doc, const struct keyack *ack)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, n = 0;
	int r;

	/* Make room: forget the counts of keys that neither @doc has nor the keyset that is here. */
	for (size_t i = 0; i < k->n_counts; i++)
		if (keydoc_key(doc, k->counts[i].id) || keyset_find(k->keys, k->counts[i].id))
			k->counts[n++] = k->counts[i];
	k->n_counts = n;
	for (size_t i = 0; i < ack->n_keys; i++) {
		if (!keydoc_key(doc, ack->keys[i].id))
			continue;
		if (k->n_counts == KEKD_KEYS_MAX && !counts_find(k, ack->keys[i].id))
			return -ENOBUFS;
		raise_to(k, &ack->keys[i]);
	}
	if (!k->store)
		return 0;
	r = counts_text(k, &text, &len);
	if (r < 0)
		return r;
	if (k->writes_aside)
		return writes_document(k, KEY_STORE_COUNTS, text, len);
	r = key_store_write(k->store, KEY_STORE_COUNTS, text, len);
	counts_written(k, r);
	return r;
}

void counts_written(struct keeper *k, int r)
{
	if (r < 0 && !k->counts_failed)
		log_warning(
			"key store: counts of use cannot be written: %s; after a crash they may "
			"be too low",
			errno_text(r));
	else if (r == 0 && k->counts_failed)
		log_notice("key store: counts of use are written again");
	k->counts_failed = r < 0;
	k->counts_due |= r < 0;
	k->counts_at_ns = r < 0 ? now_ns() + RETRY_NS : 0;
	for (size_t i = 0; r == 0 && i < k->n_counts; i++)
		k->counts[i].granted = k->counts[i].asked;
}

static void counts_save(struct keeper *k)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	if (!k->store)
		return;
	k->counts_due = true;
	if (writes_busy(k))
		return;
	k->counts_due = false;
	r = counts_text(k, &text, &len);
	if (r == 0)
		r = k->writes_aside ? writes_start(k, KEY_STORE_COUNTS, text, len)
				    : key_store_write(k->store, KEY_STORE_COUNTS, text, len);
	if (r < 0 || !k->writes_aside)
		counts_written(k, r);
}

void counts_tick(struct keeper *k, uint64_t now)
{
	if (k->counts_due && now >= k->counts_at_ns)
		counts_save(k);
}

void counts_said(struct keeper *k, const struct keyack *ack)
{
	size_t n = 0;

	for (size_t i = 0; i < ack->n_keys; i++) {
		const struct keyack_key *said = &ack->keys[i];

		if (!keyset_find(k->keys, said->id) ||
		    said->uses <= counts_of(k, said->id)->reserved)
			continue;
		raise_to(k, said);
		n++;
	}
	if (n == 0)
		return;
	log_notice(
		"counts of %zu keys are taken from what this node has said before: it is more than the file "
		"of its key store has",
		n);
	k->counts_due = true;
	counts_reserve(k);
}

bool counts_behind(const struct keeper *k)
{
	for (size_t i = 0; k->store && i < k->n_counts; i++) {
		const struct keeper_counts *c = &k->counts[i];
		uint64_t granted = c->granted > COUNTS_ROOM ? c->granted : COUNTS_ROOM;

		if (c->active && c->encryptions > granted)
			return true;
	}
	return false;
}

/* Not on a node that is leaving: it writes with none. */
static bool is_written_with(const struct keeper *k, const struct keyset_key *key)
{
	return key->rec.info.state == KEY_ACTIVE && keyset_may_write(k->keys);
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
		c->used_at = boot_ns();
		c->wrote_ns = now_ns();
	}
}

/* Have members that are gone left less than each of those who are there may have? */
static bool shares_are_gone(const struct keeper *k, const struct key_record *rec)
{
	return rec->uses > KEKD_KEY_LIMIT - keyset_doc(k->keys)->n_members * KEKD_KEY_MESSAGES;
}

bool counts_spent(const struct keeper *k, const struct key_record *rec)
{
	return !rec->info.secretbox && (counts_of(k, rec->info.id)->reserved > KEKD_KEY_MESSAGES ||
					shares_are_gone(k, rec));
}

void counts_reserve(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);
	bool changed = roots_changed(k), gone;

	note_ends(k);
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);
		struct keeper_counts *c =
			key->rec.info.state == KEY_ACTIVE ? counts_get(k, key->rec.info.id) : NULL;

		if (!c)
			continue;
		c->active = is_written_with(k, key);
		/*
		 * There has to be room for what the key may do before the next look. The file has to say so where it
		 * grants less.
		 */
		if (key->why == 0 && c->reserved < c->encryptions + room(k) / 2) {
			c->reserved = c->encryptions + room(k);
			changed |= c->written || c->reserved > COUNTS_ROOM;
		}
		if (c->spent || !counts_spent(k, &key->rec))
			continue;
		c->spent = true;
		gone = shares_are_gone(k, &key->rec);
		log_error(
			"key %s: %s encrypted as many messages as %s may with one key, and only opens values "
			"from now on: `kekctl key rotate %s`",
			key->rec.info.label, gone ? "members that are gone may have" : "has",
			gone ? "all together" : "one node", key->rec.info.name);
		server_send_state(k, key);
	}
	if (changed)
		counts_save(k);
}

/* A server that lies makes no sum overflow, so it does not make what others have done uncounted. */
static uint64_t believed(uint64_t n)
{
	return n < REPORT_MAX ? n : REPORT_MAX;
}

void counts_add(struct keeper *k, const struct link_msg *used)
{
	uint64_t encryptions = believed(used->encryptions);
	struct keeper_counts *c = counts_get(k, used->key.id);

	if (!c)
		return;
	c->encryptions += encryptions;
	c->decryptions += believed(used->decryptions);
	c->used_at = boot_ns();
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
	uint64_t lost = room_of_one(k);

	for (size_t i = 0; i < k->n_counts; i++) {
		struct keeper_counts *c = &k->counts[i];
		uint64_t left = c->reserved - c->encryptions;

		c->encryptions += lost < left ? lost : left;
	}
	counts_reserve(k); /* before the next one serves */
}

void counts_end(struct keeper *k)
{
	bool in_time = writes_wait(k, END_NS);

	for (size_t i = 0; i < k->n_counts; i++)
		k->counts[i].reserved = k->counts[i].encryptions;
	if (in_time && k->n_counts > 0) {
		counts_save(k);
		in_time = writes_wait(k, END_NS);
	}
	if (!in_time)
		log_warning(
			"key store %s: its disk does not answer; a write is left to process %d, and "
			"kekd cannot start again before that has ended",
			key_store_path(k->store), k->write.pid);
}

void counts_made(struct keeper *k, const struct keyset_key *key)
{
	struct keeper_counts *c = counts_get(k, key->rec.info.id);

	if (!c)
		return;
	c->complete = true;
	c->made_at = boot_ns();
}

void counts_retired(struct keeper *k, const struct keyset_key *key)
{
	struct keeper_counts *c = counts_get(k, key->rec.info.id);

	if (c)
		c->retired_at = boot_ns();
}

const struct keeper_counts *counts_of(const struct keeper *k, const uint8_t id[static KEKD_KEY_ID])
{
	static const struct keeper_counts none;
	const struct keeper_counts *c = counts_find((struct keeper *)(uintptr_t)k, id);

	return c ? c : &none;
}

time_t counts_last_used(const struct keeper *k, const struct key_record *rec)
{
	const struct keeper_counts *c = counts_of(k, rec->info.id);

	if (c->used_at == 0 && c->complete)
		return 0;
	return time(NULL) - (boot_ns() - (c->used_at != 0 ? c->used_at : k->started_at)) / NS_PER_S;
}

bool counts_is_ahead(const struct keeper *k, const struct key_record *rec)
{
	return counts_of(k, rec->info.id)->made_at == 0 &&
	       rec->info.created > time(NULL) + KEYDOC_AHEAD_S;
}

int64_t counts_age(const struct keeper *k, const struct key_record *rec)
{
	const struct keeper_counts *c = counts_of(k, rec->info.id);

	if (c->made_at != 0)
		return (boot_ns() - c->made_at) / NS_PER_S;
	if (counts_is_ahead(k, rec))
		return (boot_ns() - k->started_at) / NS_PER_S;
	return time(NULL) - rec->info.created;
}
