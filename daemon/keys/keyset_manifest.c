/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saving under the manifest, and holding what is found against it (keys/manifest.h).
 *
 * The order of a change:
 *   1. manifest   each record as it was, and as it is to be
 *   2. the first record's file: here it is decided
 *   3. the files that follow from it
 *   4. manifest   as it is
 * A crash before 2 leaves the old file, which is right; after 2 the new one, which is right, too.
 * What step 4 would have written is then written at the next load.
 *
 * An error of step 2 means that nothing happened: the set stays as it was. But the file may have
 * been replaced, with only the directory's fsync(2) to fail, and what the kernel then keeps is
 * anybody's guess (ext4 stops writing, others drop the error once it was told). So the announcement
 * stays open, under which both files are right, until the store is mended: the file is written as
 * the set knows it, or removed if the set never got the key. But a file that was there before, and
 * could not be read or came from elsewhere, is never removed: it may be all there is of a key. That
 * is tried at once, and again before the next change, which fails if it fails; until then no manifest is written but the one by
 * which an operator accepts the store as it is. The same goes for a file of step 3, which the set
 * has gone past. So a change that failed can be found done only by a load before the next change,
 * and what is found is always one of the two that were announced.
 *
 * The manifest covers the keys of its root. Keys of another root cannot be used in any case.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keys/keyset_private.h"

static const uint8_t *root_id(const struct keyset *set)
{
	return set->root ? root_key_id(set->root) : soft_root_id(set->soft_root);
}

static int mac(const void *ctx, struct span in, uint8_t ret[static SHA256_LEN])
{
	const struct keyset *set = ctx;

	return set->root ? root_key_mac(set->root, in, ret)
			 : soft_root_mac(set->soft_root, in, ret);
}

bool keyset_covers(const struct keyset *set, const struct key_record *rec)
{
	return !keyset_is_sealed(set) &&
	       (rec->kind == set->kind || rec->kind == KEY_KIND_IMPORTED) &&
	       memcmp(rec->root, root_id(set), KEY_ROOT_ID) == 0;
}

static int digest_of(const struct key_record *rec, uint8_t ret[static SHA256_LEN])
{
	char text[KEY_RECORD_TEXT_MAX];
	struct span part;
	size_t len;
	int r;

	r = key_record_format(rec, text, sizeof(text), &len);
	if (r < 0)
		return r;
	part = span_of(text, len);
	return sha256(&part, 1, ret);
}

static int write_manifest(struct keyset *set)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	memcpy(set->manifest.root, root_id(set), KEY_ROOT_ID);
	set->manifest.generation++;
	r = manifest_format(&set->manifest, mac, set, &text, &len);
	if (r == 0)
		r = key_store_write(set->store, KEY_STORE_MANIFEST, text, len);
	if (r == 0)
		set->written = set->manifest.generation;
	return r;
}

static int announce(struct keyset *set, const struct key_record *const *recs, size_t n)
{
	struct manifest_entry *e;
	uint8_t digest[SHA256_LEN];
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!keyset_covers(set, recs[i]))
			continue;
		r = digest_of(recs[i], digest);
		if (r == 0)
			r = manifest_get(&set->manifest, recs[i]->id, &e);
		if (r == 0) {
			e->held = !e->had && key_store_has(set->store, e->id);
			if (e->held && e->has) {
				/* What is there may be what was announced before. */
				e->had = true;
				memcpy(e->was, e->is, sizeof(e->was));
			}
			memcpy(e->is, digest, sizeof(digest));
			e->has = true;
		}
	}
	return r == 0 ? write_manifest(set) : r;
}

/* The one record is on disk, or (@done false) is not: an announcement that is over. */
static void settle_entry(struct keyset *set, const struct key_record *rec, bool done)
{
	struct manifest_entry *e = manifest_find(&set->manifest, rec->id);

	if (!e)
		return;
	if (done) {
		set->missing -= e->missed;
		e->found = e->missed = false;
		e->had = e->has;
		memcpy(e->was, e->is, sizeof(e->was));
	} else {
		e->has = e->had;
		memcpy(e->is, e->was, sizeof(e->is));
	}
}

static bool is_open(const struct manifest_entry *e)
{
	return e->found || e->had != e->has ||
	       (e->has && memcmp(e->was, e->is, sizeof(e->was)) != 0);
}

/*
 * The file is to be what the set knows; of a missing or distrusted one the operator decides, and of
 * one that the set does not know and did not make.
 */
static int mend_entry(struct keyset *set, struct manifest_entry *e)
{
	const struct keyset_key *key = keyset_find(set, e->id);
	uint8_t digest[SHA256_LEN];
	int r;

	if (key ? key->why == -ESTALE : e->had || e->held)
		return 0;
	if (!key) {
		r = key_store_remove(set->store, e->id);
		if (r == 0)
			e->has = false;
		return r;
	}
	r = digest_of(&key->rec, digest);
	if (r == 0)
		r = key_store_put(set->store, &key->rec);
	if (r < 0)
		return r;
	e->had = e->has = true;
	e->found = false;
	memcpy(e->was, digest, sizeof(e->was));
	memcpy(e->is, digest, sizeof(e->is));
	return 0;
}

/* End every announcement that is still open. */
static int mend(struct keyset *set)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < set->manifest.n; i++)
		if (is_open(&set->manifest.entries[i]))
			r = mend_entry(set, &set->manifest.entries[i]);
	if (r < 0)
		log_error("key store: no key can be changed until a failed write can be mended: %s",
			  errno_text(r));
	return r;
}

/* Whether it succeeds changes nothing: both of an open announcement are right. */
static void write_settled(struct keyset *set)
{
	int r = write_manifest(set);

	if (r < 0)
		log_warning("key store: the manifest still announces a change that is made: %s",
			    errno_text(r));
}

int keyset_save(struct keyset *set, const struct key_record *const *recs, size_t n)
{
	size_t announced = 0; /* whose files are sure to be the old ones */
	int r;

	r = set->distrust < 0 ? set->distrust : mend(set);
	if (r < 0)
		return r;
	r = announce(set, recs, n);
	if (r == 0) {
		announced = 1;
		r = key_store_put(set->store, recs[0]);
	}
	if (r < 0) {
		for (size_t i = announced; i < n; i++)
			settle_entry(set, recs[i], false);
		(void)mend(set);
		return r;
	}
	settle_entry(set, recs[0], true);
	for (size_t i = 1; i < n; i++) {
		int later = key_store_put(set->store, recs[i]);

		if (later == 0)
			settle_entry(set, recs[i], true);
		else
			log_warning("key %s: cannot write down that it is %s: %s", recs[i]->label,
				    key_state_name(recs[i]->state), errno_text(later));
	}
	write_settled(set);
	return 0;
}

static int read_manifest(const struct keyset *set, struct manifest *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = key_store_read(set->store, KEY_STORE_MANIFEST, MANIFEST_TEXT_MAX, &text, &len);
	if (r < 0)
		return r;
	return manifest_parse(span_of(text, len), root_id(set), mac, set, ret);
}

void keyset_manifest_open(struct keyset *set)
{
	int r;

	manifest_clear(&set->manifest);
	set->distrust = set->no_manifest = keyset_is_sealed(set) ? -EKEYEXPIRED : 0;
	set->missing = 0;
	if (keyset_is_sealed(set))
		return;
	r = read_manifest(set, &set->manifest);
	set->no_manifest = r;
	set->written = set->manifest.generation;
	if (r == -EBADMSG || r == -EINVAL)
		log_error("key store: the manifest is damaged or forged");
	else if (r < 0 && r != -ENOENT && r != -EKEYREJECTED)
		log_error("key store: the manifest cannot be read: %s", errno_text(r));
	else if (r == 0)
		log_info("key store: manifest of generation %" PRIu64, set->manifest.generation);
}

/* Which of the two announced files is it? */
static bool take_entry(struct manifest_entry *e, const uint8_t digest[static SHA256_LEN])
{
	bool open = is_open(e);

	if (e->has && memcmp(e->is, digest, SHA256_LEN) == 0) {
		e->had = true;
		memcpy(e->was, digest, SHA256_LEN);
	} else if (e->had && memcmp(e->was, digest, SHA256_LEN) == 0) {
		e->has = true;
		memcpy(e->is, digest, SHA256_LEN);
	} else {
		return false;
	}
	e->found = open;
	e->seen = true;
	return true;
}

int keyset_manifest_check(struct keyset *set, const struct key_record *rec)
{
	uint8_t digest[SHA256_LEN];
	struct manifest_entry *e;

	if (keyset_is_sealed(set))
		return 0;
	if (!keyset_covers(set, rec) || set->no_manifest < 0) {
		set->uncovered += keyset_covers(set, rec);
		return 0;
	}
	e = manifest_find(&set->manifest, rec->id);
	if (!e) {
		log_error(
			"key %s: its file is not in the manifest, so nothing says that it belongs "
			"here: see `kekctl key accept`",
			rec->label);
		return -ESTALE;
	}
	if (digest_of(rec, digest) < 0)
		return -EINVAL;
	if (take_entry(e, digest))
		return 0;
	e->seen = true;
	log_error(
		"key %s: its file is not the one that was written last: swapped, altered or of an "
		"earlier time; restore it, or see `kekctl key accept`",
		rec->label);
	return -ESTALE;
}

static void report_missing(struct keyset *set)
{
	char id[KEKD_KEY_ID_HEX + 1];

	for (size_t i = 0; i < set->manifest.n; i++) {
		struct manifest_entry *e = &set->manifest.entries[i];

		if (e->seen)
			continue;
		e->held = !e->had && key_store_has(set->store, e->id);
		if (!e->had && !e->held) { /* announced, never made */
			e->has = false;
			continue;
		}
		key_hex(e->id, sizeof(e->id), id);
		log_error("key %s: the manifest knows it, and its file is gone or cannot be read: "
			  "restore it, or see `kekctl key accept`",
			  id);
		e->missed = true;
		set->missing++;
	}
}

static bool has_open(const struct keyset *set)
{
	for (size_t i = 0; i < set->manifest.n; i++)
		if (is_open(&set->manifest.entries[i]))
			return true;
	return false;
}

/*
 * Should there be a manifest? On a first start, or with keys of other roots only, there is nothing to
 * vouch for yet. But one that is there and cannot be read may speak of files that cannot be read.
 */
static bool may_be_covered(const struct keyset *set)
{
	if (set->no_manifest == -ENOENT || set->no_manifest == -EKEYREJECTED)
		return set->uncovered > 0;
	return set->uncovered + set->unreadable > 0;
}

/*
 * Of two files that were announced one has been found, and the other is right no more. But one whose
 * fsync(2) failed may be there only as long as the machine runs: it is written once more first.
 */
void keyset_manifest_close(struct keyset *set)
{
	bool open;

	if (keyset_is_sealed(set))
		return;
	if (set->no_manifest < 0 && may_be_covered(set)) {
		set->distrust = -ESTALE;
		log_error(
			"key store: no manifest vouches for its keys: values are read, none is "
			"written and no key is changed. Look at `kekctl key list`; if it is as it "
			"should be, say `kekctl key accept`");
	}
	if (set->no_manifest < 0)
		return;
	open = has_open(set);
	report_missing(set);
	if (open && mend(set) == 0)
		write_settled(set);
}

int keyset_manifest_renew(struct keyset *set, const struct key_record *const *recs, size_t n)
{
	struct manifest next = { .generation = set->manifest.generation };
	struct manifest before = set->manifest;
	struct manifest_entry *e;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!keyset_covers(set, recs[i]))
			continue;
		r = manifest_get(&next, recs[i]->id, &e);
		if (r == 0)
			r = digest_of(recs[i], e->is);
		if (r < 0)
			break;
		memcpy(e->was, e->is, sizeof(e->was));
		e->had = e->has = true;
	}
	if (r < 0) {
		manifest_clear(&next);
		return r;
	}
	set->manifest = next;
	r = write_manifest(set);
	if (r < 0) {
		before.generation = set->manifest.generation; /* which is used up */
		set->manifest = before;
		manifest_clear(&next);
		return r;
	}
	manifest_clear(&before);
	return 0;
}

int keyset_manifest_verify(const struct keyset *set)
{
	_cleanup_(manifest_clear) struct manifest m = { 0 };
	int r;

	if (set->distrust < 0 || set->written == 0)
		return 0; /* nothing to hold it against */
	r = read_manifest(set, &m);
	if (r < 0)
		return r == -ENOENT || r == -EBADMSG || r == -EINVAL ? -ESTALE : r;
	return m.generation >= set->written && m.generation <= set->manifest.generation ? 0
											: -ESTALE;
}

size_t keyset_missing(const struct keyset *set)
{
	return set->missing;
}

int keyset_distrust(const struct keyset *set)
{
	return set->distrust;
}

int keyset_check_root(const struct keyset *set)
{
	for (const struct list *n = set->keys.next; n != &set->keys; n = n->next)
		if (keyset_covers(set, &list_entry(n, struct keyset_key, link)->rec))
			return 0;
	return set->n == 0 ? 0 : -EKEYREJECTED;
}
