/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set's document: read at the start, changed, replaced, and what that means for the keys in use. The
 * order is always the same: the new document is durable, then it is the set's, then keys are loaded and
 * dropped.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/base/probe.h"
#include "daemon/base/random.h"
#include "daemon/keys/keyset_private.h"

/* Read and check one file of the store. -ENOENT, errors of reading and of keydoc_parse(). */
static int doc_read(struct keyset *set, const char *file, struct keydoc **ret, char **ret_text,
		    size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	struct keydoc_root root;
	size_t len;
	int r;

	keyset_root(set, &root);
	r = key_store_read(set->store, file, KEYDOC_TEXT_MAX, &text, &len);
	if (r == 0)
		r = keydoc_parse(span_of(text, len), &root, ret, set->other_root);
	if (r < 0)
		return r;
	*ret_text = move_ptr(text);
	*ret_len = len;
	return 0;
}

static const char *file_text(int r)
{
	switch (r) {
	case -EKEYREJECTED:
		return "it is sealed under another root key";
	case -EBADMSG:
		return "its MAC does not hold: it was altered, or is damaged";
	case -ENODATA:
		return "it does not end as a keyset does: it was cut short, or is something else";
	case -EPROTONOSUPPORT:
		return "it is of a newer version of kekd";
	default:
		return errno_text(r);
	}
}

/*
 * The keyset, or if that is damaged the one before: they differ by one change, which a machine may be left
 * in the midst of, so what one of them writes the other opens.
 */
static int doc_load(struct keyset *set)
{
	int r, p;

	r = doc_read(set, KEY_STORE_KEYSET, &set->doc, &set->text, &set->text_len);
	if (r == 0 || r == -ENOMEM || r == -EKEYREJECTED)
		return r;
	if (r == -EPROTONOSUPPORT) {
		log_error("key store %s: its keyset is of a newer version of kekd: run that one. "
			  "Nothing is read, made or written by this one",
			  key_store_path(set->store));
		return r;
	}
	p = doc_read(set, KEY_STORE_PREV, &set->doc, &set->text, &set->text_len);
	if (r == -ENOENT && p == -ENOENT)
		return -ENODATA;
	if (p == 0) {
		set->previous = true;
		/* Not damaged is what may be read later: its owner or mode is wrong, or descriptors ran out. */
		set->unread = r != -ENOENT && r != -ENODATA && r != -EBADMSG && r != -EINVAL &&
			      r != -EFBIG && r != -EIO;
		key_store_keep_prev(set->store); /* it is the only whole one */
		log_error(
			"key store %s: the file \"keyset\" cannot be used: %s. The one before it is "
			"in use, generation %" PRIu64 ": look after the disk, and make a backup",
			key_store_path(set->store), r == -ENOENT ? "it is gone" : file_text(r),
			set->doc->generation);
		return 0;
	}
	if (p == -EKEYREJECTED)
		return p;
	log_error(
		"key store %s: neither \"keyset\" nor \"keyset.prev\" can be used: %s; %s. No key is "
		"known and nothing is written: bring one back with `kekctl restore FILE`",
		key_store_path(set->store), r == -ENOENT ? "it is gone" : file_text(r),
		p == -ENOENT ? "there is no older one" : file_text(p));
	return -EUCLEAN;
}

static void doc_call(keyset_changed_fn *changed, void *ctx, const struct keyset_key *key,
		     enum key_state from)
{
	log_debug("key %s: %s, was %s", key->rec.info.label, key_state_name(key->rec.info.state),
		  from == KEY_DESTROYED ? "not there" : key_state_name(from));
	if (changed)
		changed(ctx, key, from);
}

/* The record of a key in use: its blob is the one of the set's first root. */
static void record_set(const struct keyset *set, const struct key_record *rec,
		       struct key_record *ret)
{
	struct keydoc_root root;

	keyset_root(set, &root);
	keydoc_record_under(set->doc, rec, root.id, ret);
}

/* The key in its new state; loaded again or dropped where that differs, or where it did not open. */
static void key_follow(const struct keyset *set, struct keyset_key *key,
		       const struct key_record *rec, keyset_changed_fn *changed, void *ctx)
{
	enum key_state from = key->rec.info.state;
	struct key_record under;
	bool opened = key_state_opens(from), opens = key_state_opens(rec->info.state);
	bool same = from == rec->info.state && key->rec.info.activation == rec->info.activation;
	bool mended;

	record_set(set, rec, &under);
	mended = opened && opens && key->why < 0 && strcmp(key->rec.blob, under.blob) != 0;
	if (opened && !opens)
		keyset_key_drop(key);
	key->rec = under;
	if ((!opened && opens) || mended)
		keyset_key_load(set, key);
	if (!same || mended)
		doc_call(changed, ctx, key, mended ? KEY_RETIRED : from);
}

static void keys_clear(struct list *keys)
{
	list_for_each_safe (n, keys) {
		list_del(n);
		keyset_key_free(keyset_entry(n));
	}
}

/*
 * Room for the keys of @doc that are new here, into @spare: when the document is durable there is no way back,
 * so nothing may fail any more.
 */
static int keys_reserve(const struct keyset *set, const struct keydoc *doc, struct list *spare)
{
	struct keyset_key *key;
	int r = 0;

	for (size_t i = 0; r == 0 && i < doc->n_keys; i++) {
		if (keyset_find(set, doc->keys[i].info.id))
			continue;
		r = keyset_key_new(&key);
		if (r == 0)
			list_add_tail(spare, &key->link);
	}
	return r;
}

/* A key that is new here. @made: it was made here just now and is loaded. */
static void key_appear(struct keyset *set, const struct key_record *rec, struct keyset_key **made,
		       struct list *spare, keyset_changed_fn *changed, void *ctx)
{
	struct keyset_key *key;

	if (made && *made &&
	    memcmp((*made)->rec.info.id, rec->info.id, sizeof(rec->info.id)) == 0) {
		key = move_ptr(*made);
		key->rec = *rec;
	} else {
		key = keyset_entry(spare->next);
		list_del(&key->link);
		record_set(set, rec, &key->rec);
		keyset_key_load(set, key);
	}
	list_add_tail(&set->keys, &key->link);
	doc_call(changed, ctx, key, KEY_DESTROYED);
}

/* Keys that become active first, so that from one call to the next there is one to write with. */
static void follow(struct keyset *set, struct keyset_key **made, struct list *spare,
		   keyset_changed_fn *changed, void *ctx)
{
	for (int active = 1; active >= 0; active--) {
		for (size_t i = 0; i < set->doc->n_keys; i++) {
			const struct key_record *rec = &set->doc->keys[i];
			struct keyset_key *key =
				(struct keyset_key *)(uintptr_t)keyset_find(set, rec->info.id);

			if ((rec->info.state == KEY_ACTIVE) != active)
				continue;
			if (key)
				key_follow(set, key, rec, changed, ctx);
			else
				key_appear(set, rec, made, spare, changed, ctx);
		}
	}
	list_for_each_safe (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);
		enum key_state from = key->rec.info.state;

		if (keydoc_key(set->doc, key->rec.info.id))
			continue;
		keyset_key_drop(key);
		key->rec.info.state = KEY_DESTROYED;
		doc_call(changed, ctx, key, from);
		list_del(&key->link);
		keyset_key_free(key);
	}
	for (size_t i = 0; i < set->doc->n_keys; i++) {
		struct keyset_key *key =
			(struct keyset_key *)(uintptr_t)keyset_find(set, set->doc->keys[i].info.id);

		if (!key)
			continue;
		list_del(&key->link);
		list_add_tail(&set->keys, &key->link);
	}
}

/*
 * What the file "keyset.prev" has is under roots of which one is not the keyset's any more: it is written over, so that
 * an old root opens nothing here.
 */
static void forget_previous(struct keyset *set)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root;
	size_t len;
	int r;

	keyset_root(set, &root);
	if (key_store_read(set->store, KEY_STORE_PREV, KEYDOC_TEXT_MAX, &text, &len) < 0)
		return;
	r = keydoc_parse(span_of(text, len), &root, &doc, other);
	if (r == 0 && keydoc_has_root(set->doc, doc->root) &&
	    (!doc->rotating || keydoc_has_root(set->doc, doc->next_root)))
		return;
	if (r < 0 && r != -EKEYREJECTED)
		return;
	r = key_store_write(set->store, KEY_STORE_KEYSET, set->text, set->text_len);
	if (r < 0)
		log_error(
			"key store %s: \"keyset.prev\" is sealed under a root key that was rotated away "
			"too, and cannot be written over: %s. It is tried again at the next start",
			key_store_path(set->store), errno_text(r));
}

int keyset_load(struct keyset *set)
{
	_cleanup_(keys_clear) struct list spare;
	int r;

	list_init(&spare);
	if (keyset_is_sealed(set))
		return 0;
	set->why = set->store ? doc_load(set) : -ENODATA;
	if (set->why == -ENOMEM)
		return set->why;
	if (!set->doc)
		return 0;
	if (!keydoc_member(set->doc, set->self.id))
		log_warning(
			"this node is not a member of its keyset: values are read, none is written, "
			"until a member lets it join");
	log_notice("keyset: generation %" PRIu64 ", %zu key%s, %zu member%s", set->doc->generation,
		   set->doc->n_keys, set->doc->n_keys == 1 ? "" : "s", set->doc->n_members,
		   set->doc->n_members == 1 ? "" : "s");
	r = keys_reserve(set, set->doc, &spare);
	if (r == 0)
		follow(set, NULL, &spare, NULL, NULL);
	keyset_prove_roots(set);
	if (r == 0 && set->store && !set->previous)
		forget_previous(set);
	return r;
}

static int refuse_write(struct keydoc_refusal *why, int r)
{
	switch (r) {
	case -ENOSPC:
	case -EDQUOT:
		return keydoc_refuse(why, r,
				     "no space left where the key store is; nothing was changed");
	case -EROFS:
		return keydoc_refuse(
			why, r, "the key store is on a read-only file system; nothing was changed");
	case -ENOBUFS:
		return keydoc_refuse(why, r, "the keyset is full: destroy keys that are retired");
	case -ENOMEM:
		return keydoc_refuse(why, r, "out of memory; nothing was changed");
	case -ECANCELED:
		return keydoc_refuse(
			why, r,
			"kekd ends before the disk of the key store has answered; the change "
			"is not in force, and may be found done after a restart");
	default:
		return keydoc_refuse(
			why, r,
			"the keyset cannot be written: %s. Look after the disk; the change is "
			"not in force, and may be found done after a restart",
			errno_text(r));
	}
}

/* Each root of @doc is here to make its MAC. */
static bool has_roots(const struct keydoc *doc, const struct keydoc_root *root,
		      struct keydoc_refusal *why)
{
	bool first = keydoc_root_find(root, doc->root) != NULL;
	bool next = !doc->rotating || keydoc_root_find(root, doc->next_root);
	char hex[2 * KEY_ROOT_ID + 1];

	if (first && next)
		return true;
	key_hex(first ? doc->next_root : doc->root, KEY_ROOT_ID, hex);
	keydoc_refuse(
		why, -ENOKEY,
		"the root key of the keyset is being rotated, and this node has not the root key %s: "
		"give it that one, with `kekctl root next`. Nothing was changed",
		hex);
	return false;
}

/* Durable, then the set's. @doc is consumed on success. */
static int doc_publish(struct keyset *set, struct keydoc *doc, struct keydoc_refusal *why)
{
	_cleanup_free_ char *text = NULL;
	struct keydoc_root root;
	bool was_rotating;
	size_t len;
	int r;

	if (!keyset_root(set, &root))
		return keydoc_refuse(why, -EKEYEXPIRED, "sealed: the root key is not loaded");
	if (set->unread)
		return keydoc_refuse(
			why, -EPERM,
			"the file \"keyset\" of the key store could not be read, and may be whole: nothing "
			"is written over it. Put right what the log says of it, and restart kekd");
	if (!has_roots(doc, &root, why))
		return why->r;
	r = keydoc_format(doc, &root, &text, &len);
	if (r == 0 && set->store)
		r = key_store_write(set->store, KEY_STORE_KEYSET, text, len);
	if (r < 0)
		return refuse_write(why, r);
	was_rotating = set->doc && set->doc->rotating;
	keydoc_free(set->doc);
	free(set->text);
	set->doc = doc;
	set->text = move_ptr(text);
	set->text_len = len;
	set->why = 0;
	set->previous = false;
	if (set->store && was_rotating && !doc->rotating)
		forget_previous(set);
	if (was_rotating || doc->rotating || keyset_second_id(set))
		keyset_follow_roots(set, was_rotating);
	PROBE_KEYSET_TAKEN(doc->generation);
	log_debug("keyset: generation %" PRIu64 " is in force", doc->generation);
	return 0;
}

int keyset_begin(struct keyset *set)
{
	uint8_t cluster[KEYDOC_NODE], nonce[KEYDOC_NODE];
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	struct keydoc_root root;
	int r;

	if (set->doc || set->why != -ENODATA || !keyset_root(set, &root))
		return set->why;
	r = random_bytes(cluster, sizeof(cluster));
	if (r == 0)
		r = random_bytes(nonce, sizeof(nonce));
	if (r == 0)
		r = keydoc_begin(cluster, nonce, &set->self, root.id, time(NULL), &doc);
	if (r == 0)
		r = keydoc_format(doc, &root, &set->text, &set->text_len);
	if (r < 0)
		return r;
	set->doc = move_ptr(doc);
	set->why = 0;
	return 0;
}

void keyset_carry(struct keyset *set, keyset_offer_fn *offer, void *ctx)
{
	set->offer = offer;
	set->offer_ctx = ctx;
}

/* 0: the change is made here. Otherwise what its carrier says. */
static int offer_change(struct keyset *set, const struct keydoc_change *change,
			struct keydoc **next, struct keydoc_refusal *why)
{
	bool carried = set->doc->carrier == KEYDOC_ETCD || change->kind == KEYDOC_CARRY;

	if (!carried)
		return 0;
	if (set->offer)
		return set->offer(set->offer_ctx, change, next, why);
	if (change->kind == KEYDOC_TAKE)
		return 0;
	return keydoc_refuse(
		why, -EPERM,
		"etcd carries this keyset, and this node's kekd.yaml has no `cluster:`, so it changes "
		"nothing. If that etcd is gone for good, `kekctl keyset take` brings it back into hands");
}

/* As keyset_change(); @made as key_appear(). */
static int change_with(struct keyset *set, struct keydoc_change *change,
		       const struct keydoc_heard *heard, struct keydoc_refusal *why,
		       struct keyset_key **made, keyset_changed_fn *changed, void *ctx)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	_cleanup_(keys_clear) struct list spare;
	struct keydoc_root root;
	int r;

	list_init(&spare);
	if (!set->doc)
		return keydoc_refuse(why, set->why, "%s", keyset_why_text(set));
	r = random_bytes(change->nonce, sizeof(change->nonce));
	if (r < 0)
		return keydoc_refuse(why, r, "the kernel gives no random numbers");
	memcpy(change->node, set->self.id, sizeof(change->node));
	change->time = time(NULL);
	r = keydoc_next(set->doc, change, heard, &next, why);
	if (r == 0 && keyset_root(set, &root) && !has_roots(next, &root, why))
		r = why->r;
	if (r == 0)
		r = offer_change(set, change, &next, why);
	if (r < 0)
		return r;
	r = keys_reserve(set, next, &spare);
	if (r < 0)
		return refuse_write(why, r);
	r = doc_publish(set, next, why);
	if (r < 0)
		return r;
	next = NULL;
	follow(set, made, &spare, changed, ctx);
	return 0;
}

int keyset_change(struct keyset *set, struct keydoc_change *change,
		  const struct keydoc_heard *heard, struct keydoc_refusal *why,
		  keyset_changed_fn *changed, void *ctx)
{
	return change_with(set, change, heard, why, NULL, changed, ctx);
}

int keyset_stage_made(struct keyset *set, struct keyset_key **made,
		      const struct keydoc_heard *heard, struct keydoc_refusal *why,
		      keyset_changed_fn *changed, void *ctx)
{
	struct keydoc_change change = { .kind = KEYDOC_STAGE };
	struct key_record rec = (*made)->rec;

	change.key = &rec;
	return change_with(set, &change, heard, why, made, changed, ctx);
}

int keyset_take(struct keyset *set, struct keydoc *doc, struct keydoc_refusal *why,
		keyset_changed_fn *changed, void *ctx)
{
	_cleanup_(keys_clear) struct list spare;
	int r;

	list_init(&spare);
	r = keys_reserve(set, doc, &spare);
	if (r < 0)
		return refuse_write(why, r);
	r = doc_publish(set, doc, why);
	if (r < 0)
		return r;
	follow(set, NULL, &spare, changed, ctx);
	return 0;
}
