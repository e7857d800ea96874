/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands for the keyset as a whole: the way by hand between machines, and backups. What comes from
 * outside is a text whose MAC is checked before anything else of it is read (keys/keydoc.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

/* Words for a text that was not taken. */
static int refuse_text(struct admin_client *c, struct keeper *k, const char *what, int r,
		       const uint8_t other[static KEY_ROOT_ID])
{
	char there[2 * KEY_ROOT_ID + 1], here[2 * KEY_ROOT_ID + 1] = "none";
	struct keydoc_refusal why;
	struct keydoc_root root;

	key_hex(other, KEY_ROOT_ID, there);
	if (keyset_root(k->keys, &root))
		key_hex(root.id, KEY_ROOT_ID, here);
	switch (r) {
	case -EKEYREJECTED:
		keydoc_refuse(
			&why, r,
			"the %s is sealed under the root key %s, and this node has %s: it is of another "
			"cluster, or one of the nodes was given another root key. Nothing was changed: "
			"compare rootKey in kekd.yaml of both",
			what, there, here);
		break;
	case -EBADMSG:
		keydoc_refuse(
			&why, r,
			"the MAC of the %s does not hold: it was altered or damaged. Nothing was "
			"changed: bring it again",
			what);
		break;
	case -ENODATA:
		keydoc_refuse(&why, r,
			      "what came is no %s, or not the whole of one: bring it again", what);
		break;
	case -EPROTONOSUPPORT:
		keydoc_refuse(&why, r, "the %s is of a newer version of kekd: upgrade this node",
			      what);
		break;
	default:
		keydoc_refuse(&why, r, "the %s cannot be read: %s", what, errno_text(r));
	}
	return admin_refuse(c, &why);
}

/* Parses the document in the request; 1: refused, and that was answered with *ret_r. */
static int take_doc(struct keeper *k, struct admin_client *c, struct span text, struct keydoc **ret,
		    int *ret_r)
{
	uint8_t other[KEY_ROOT_ID] = { 0 };
	struct keydoc_root root;
	int r;

	r = keyset_root(k->keys, &root) ? keydoc_parse(text, &root, ret, other) : -EKEYEXPIRED;
	if (r == 0)
		return 0;
	*ret_r = refuse_text(c, k, "keyset", r, other);
	return 1;
}

/* This node's acknowledgement; @of_all: with what all members that were heard have encrypted. The caller frees *ret. */
static int ack_text(struct keeper *k, bool of_all, char **ret, size_t *ret_len)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	struct keydoc_root root;
	int r;

	r = keyset_root(k->keys, &root) ? acks_own(k, &ack) : -EKEYEXPIRED;
	if (r != 0)
		return r;
	if (of_all)
		acks_sum(k, ack);
	return keyack_format(ack, &root, ret, ret_len);
}

/* @head and this node's acknowledgement behind it, as TEXT, and END with @words. */
static int answer_ack(struct keeper *k, struct admin_client *c, struct span head, bool of_all,
		      const char *words)
{
	_cleanup_free_ char *text = NULL, *both = NULL;
	size_t len = 0;
	int r;

	r = ack_text(k, of_all, &text, &len);
	if (r != 0)
		return admin_end(c, r, errno_text(r));
	both = malloc(head.len + len);
	if (!both)
		return -ENOMEM;
	if (head.len > 0)
		memcpy(both, head.data, head.len);
	memcpy(both + head.len, text, len);
	r = admin_client_put(c, ADMIN_TEXT, 0, both, head.len + len);
	return r < 0 ? r : admin_end(c, 0, words);
}

/* The document and this node's acknowledgement, whose number others answer to. */
int admin_keyset_export(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct span text;

	if (keyset_text(k->keys, &text) < 0)
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	if (req->flags & ADMIN_BARE)
		return admin_end_with(c, ADMIN_TEXT, text.data, text.len);
	return answer_ack(k, c, text, req->flags & ADMIN_BACKUP, "");
}

/* Every acknowledgement at the end of *text is taken; *text is what was before them. */
static int take_acks(struct keeper *k, struct span *text, struct keyack **ret_last,
		     uint8_t ret_other[static KEY_ROOT_ID], size_t *ret_n)
{
	struct keydoc_root root;
	struct span one;
	size_t n = 0;
	int r = 0;

	if (!keyset_root(k->keys, &root))
		return -EKEYEXPIRED;
	while (r == 0 && keyack_cut(text, &one)) {
		struct keyack *ack;

		r = keyack_parse(one, &root, &ack, ret_other);
		if (r < 0)
			break;
		if (memcmp(ack->node, keyset_self(k->keys)->id, KEYDOC_NODE) == 0) {
			keyack_free(ack);
			continue;
		}
		*ret_last = ack;
		r = acks_take(k, ack);
		n++;
	}
	*ret_n = n;
	return r;
}

static int refuse_fork(struct admin_client *c, struct keeper *k, const struct keydoc *theirs)
{
	const struct keydoc *ours = keyset_doc(k->keys);
	const char *reason;
	struct keydoc_refusal why;

	if (keydoc_is_removed(theirs, keyset_self(k->keys)->id)) {
		keydoc_refuse(
			&why, -ESTALE,
			"this node was removed from the keyset there, and has changed its own. Nothing "
			"was changed: take its keys there, with `kekctl keyset export` here and "
			"`kekctl keyset merge` there; then start kekd with an empty key store here "
			"and let it join");
		return admin_refuse(c, &why);
	}
	keydoc_covers(theirs, ours, &reason);
	keydoc_refuse(
		&why, -ESTALE,
		"neither generation %" PRIu64 " there nor generation %" PRIu64
		" here may follow the other: %s. Nothing was changed; `kekctl keyset merge` takes the "
		"keys of both",
		theirs->generation, ours->generation, reason ? reason : "both were changed apart");
	return admin_refuse(c, &why);
}

/* Ours goes further. If it has not the higher generation nobody takes it: that is a fork too. */
static int refuse_older(struct admin_client *c, struct keeper *k, const struct keydoc *theirs)
{
	const struct keydoc *ours = keyset_doc(k->keys);
	struct keydoc_refusal why;

	if (theirs->generation >= ours->generation)
		return refuse_fork(c, k, theirs);
	keydoc_refuse(
		&why, -ESTALE,
		"it is generation %" PRIu64 ", and this node holds generation %" PRIu64
		", which goes further: bring that one there, with `kekctl keyset export` here and "
		"`kekctl keyset apply` there",
		theirs->generation, ours->generation);
	return admin_refuse(c, &why);
}

static int refuse_foreign(struct admin_client *c, const struct keydoc *theirs)
{
	struct keydoc_refusal why;

	keydoc_refuse(
		&why, -EXDEV,
		"this node has a keyset of its own, of another cluster. Nothing was changed: to be a "
		"node of that cluster (%zu members), start kekd with an empty key store; to take its "
		"keys into this keyset, `kekctl keyset merge`",
		theirs->n_members);
	return admin_refuse(c, &why);
}

static int taken(struct keeper *k, struct admin_client *c, const char *what)
{
	const struct op_peer *peer = admin_client_peer(c);
	const struct keydoc *doc = keyset_doc(k->keys);

	log_notice("audit: keyset: %s, generation %" PRIu64 ", %zu keys; asked by uid %u, pid %d",
		   what, doc->generation, doc->n_keys, peer->uid, peer->pid);
	keeper_audit_key(k, peer, NULL, what);
	return 0;
}

/* What another root or another version can read is not thrown away. */
static bool is_replaceable(const struct keeper *k)
{
	int why = keyset_why(k->keys);

	return why == 0 || why == -ENODATA || why == -EUCLEAN;
}

/* 0: it is ours now, or was; otherwise 1, and that was answered. */
static int apply_doc(struct keeper *k, struct admin_client *c, struct keydoc **doc, int *ret_r)
{
	const struct keydoc *ours = keyset_doc(k->keys);
	enum keydoc_relation is;
	struct keydoc_refusal why;

	if (!is_replaceable(k)) {
		*ret_r = admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
		return 1;
	}
	is = keyset_is_empty(k->keys) || !ours ? KEYDOC_NEWER : keydoc_compare(ours, *doc);
	if (is == KEYDOC_SAME && keyset_is_previous(k->keys))
		is = KEYDOC_NEWER; /* another member has it, so it may be written with */
	switch (is) {
	case KEYDOC_SAME:
		return 0;
	case KEYDOC_NEWER:
		if (keeper_take(k, *doc, &why) < 0) {
			*ret_r = admin_refuse(c, &why);
			return 1;
		}
		*doc = NULL;
		return taken(k, c, "taken from another node");
	case KEYDOC_OLDER:
		*ret_r = refuse_older(c, k, *doc);
		return 1;
	case KEYDOC_FORKED:
		*ret_r = refuse_fork(c, k, *doc);
		return 1;
	default:
		*ret_r = refuse_foreign(c, *doc);
		return 1;
	}
}

/* Why this node, which has the keyset now, does not write, and the cure. */
static const char *words_for(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	const uint8_t *self = keyset_self(k->keys)->id;
	const struct keydoc_member *me = keydoc_member(doc, self);

	if (me)
		return me->leaving
			       ? "this node is leaving the keyset: it reads values and writes none"
			       : "";
	if (keydoc_is_removed(doc, self))
		return "this node was removed from the keyset: it reads values and writes none. To be a "
		       "member again it starts with an empty key store and joins";
	return "this node holds the keyset and is no member yet: `kekctl keyset ack --join` where "
	       "changes come from, with what was printed, lets it join";
}

int admin_keyset_apply(struct keeper *k, struct admin_client *c,
		       const struct admin_request *req _unused_)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	struct span text = admin_client_blob(c);
	uint8_t other[KEY_ROOT_ID] = { 0 };
	struct keyack *last = NULL;
	size_t n;
	int r;

	/* The document first: what is said of it is of use only to who holds it. */
	if (take_doc(k, c, keyack_head(text), &doc, &r) != 0 || apply_doc(k, c, &doc, &r) != 0)
		return r;
	r = take_acks(k, &text, &last, other, &n);
	if (r < 0)
		return refuse_text(c, k, "acknowledgement", r, other);
	return answer_ack(k, c, SPAN_NULL, false, words_for(k));
}

static int keyset_join(struct keeper *k, struct admin_client *c, const struct keyack *ack)
{
	struct keydoc_change change = { .kind = KEYDOC_JOIN };
	struct keydoc_refusal why;

	memcpy(change.member.id, ack->node, sizeof(change.member.id));
	snprintf(change.member.name, sizeof(change.member.name), "%s", ack->name);
	if (keeper_change(k, &change, &why) < 0)
		return admin_refuse(c, &why);
	taken(k, c, "a node has joined");
	keydoc_refuse(&why, 0,
		      "node %.63s is a member now: bring the keyset to every node once more",
		      change.member.name);
	return admin_refuse(c, &why);
}

int admin_keyset_ack(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct span text = admin_client_blob(c);
	uint8_t other[KEY_ROOT_ID] = { 0 };
	struct keyack *last = NULL;
	struct keydoc_refusal why;
	size_t n = 0;
	int r;

	if (text.len == 0)
		return keyset_doc(k->keys) ? answer_ack(k, c, SPAN_NULL, false, "")
					   : admin_end(c, -ENODATA, keyset_why_text(k->keys));
	r = take_acks(k, &text, &last, other, &n);
	if (r < 0)
		return refuse_text(c, k, "acknowledgement", r, other);
	if (n == 0)
		return admin_end(
			c, -ENODATA,
			"there is no acknowledgement of another node in what came: that is what `kekctl "
			"keyset apply` prints there");
	if (!keyset_doc(k->keys))
		return admin_end(c, -ENODATA, keyset_why_text(k->keys));
	if (req->flags & ADMIN_JOIN)
		return keyset_join(k, c, last);
	if (!keydoc_member(keyset_doc(k->keys), last->node)) {
		keydoc_refuse(
			&why, -EPERM,
			"node %s is no member of this keyset: `kekctl keyset ack --join` lets it join",
			last->name);
		return admin_refuse(c, &why);
	}
	return admin_end(c, 0, "");
}

int admin_keyset_take(struct keeper *k, struct admin_client *c,
		      const struct admin_request *req _unused_)
{
	struct keydoc_change change = { .kind = KEYDOC_TAKE };
	struct keydoc_refusal why;

	if (keeper_change(k, &change, &why) < 0)
		return admin_refuse(c, &why);
	taken(k, c, "changes come from this node");
	return admin_end(c, 0, "");
}

/* Members by names, separated by commas. */
static int find_members(const struct keydoc *doc, const char *names,
			struct keydoc_node ret[static KEYDOC_MEMBERS_MAX], size_t *ret_n,
			struct keydoc_refusal *why)
{
	char copy[KEKD_LABEL_MAX], *rest, *name;
	size_t n = 0;

	snprintf(copy, sizeof(copy), "%s", names);
	for (name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		size_t i = 0;

		while (i < doc->n_members && strcmp(doc->members[i].name, name) != 0)
			i++;
		if (i == doc->n_members || n == KEYDOC_MEMBERS_MAX)
			return keydoc_refuse(why, -ENOKEY,
					     "there is no member \"%s\": see `kekctl keyset show`",
					     name);
		memcpy(ret[n++].id, doc->members[i].id, KEYDOC_NODE);
	}
	*ret_n = n;
	return n > 0 ? 0 : keydoc_refuse(why, -EINVAL, "which member is to be removed?");
}

static bool all_leaving(const struct keydoc *doc, const struct keydoc_node *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct keydoc_member *m = keydoc_member(doc, nodes[i].id);

		if (!m || !m->leaving)
			return false;
	}
	return true;
}

/* Asked for the first time it makes them leaving; again, when they have stopped, or dead, it ends it. */
int admin_keyset_remove(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_node nodes[KEYDOC_MEMBERS_MAX];
	struct keydoc_change change = { .kind = KEYDOC_REMOVE, .removed = nodes };
	struct keydoc_refusal why;
	int r;

	r = keeper_ready(k, &why);
	if (r == 0 && !k->resumed)
		r = find_members(keyset_doc(k->keys), req->name, nodes, &change.n_removed, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	change.vouched = req->flags & ADMIN_DEAD;
	if (k->resumed)
		change.kind = cluster_outcome_kind(k);
	else if (change.vouched || all_leaving(keyset_doc(k->keys), nodes, change.n_removed))
		change.kind = KEYDOC_LEFT;
	if (keeper_change(k, &change, &why) < 0)
		return admin_refuse(c, &why);
	if (change.kind == KEYDOC_LEFT) {
		taken(k, c, change.vouched ? "members removed as dead" : "members removed");
		return admin_end(c, 0, "removed");
	}
	taken(k, c, "members are leaving");
	if (keyset_doc(k->keys)->carrier == KEYDOC_ETCD)
		return admin_end(c, -EINPROGRESS,
				 "leaving: it stops, and is removed five minutes after that");
	return admin_end(c, 0,
			 "leaving: bring the keyset to every node, and five minutes after it has "
			 "stopped take its acknowledgement and run this command again");
}

static bool is_member(const struct keeper *k)
{
	const struct keydoc_member *me =
		keydoc_member(keyset_doc(k->keys), keyset_self(k->keys)->id);

	return me && !me->leaving;
}

/* All keys of both. */
static int merge(struct keeper *k, struct admin_client *c, const struct admin_request *req,
		 const struct keydoc *theirs, const char *what)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keydoc_change by = { .time = time(NULL) };
	struct keydoc_refusal why = { 0 };
	int r;

	r = keeper_ready(k, &why);
	if (r == 0 && k->resumed) {
		r = keeper_publish(k, &next, &why);
		if (r < 0)
			return admin_refuse(c, &why);
		taken(k, c, what);
		return admin_end(c, 0, "merged");
	}
	if (r == 0 && !is_member(k))
		r = keydoc_refuse(
			&why, -EPERM,
			"this node is no member of its keyset, or is leaving, so it changes "
			"nothing: do it on a member");
	if (r == 0 && random_bytes(by.nonce, sizeof(by.nonce)) < 0)
		r = keydoc_refuse(&why, -EIO, "the kernel gives no random numbers");
	memcpy(by.node, keyset_self(k->keys)->id, sizeof(by.node));
	if (r == 0)
		r = keydoc_merge(keyset_doc(k->keys), theirs, &by, &next, &why);
	if (r == 0 && req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would take the keys of both; nothing was changed");
	if (r == 0)
		r = keeper_publish(k, &next, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	taken(k, c, what);
	return admin_end(c, 0,
			 keyset_doc(k->keys)->carrier == KEYDOC_HAND
				 ? "merged: bring the keyset to every node"
				 : "merged");
}

int admin_keyset_merge(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	_cleanup_(keydoc_freep) struct keydoc *theirs = NULL;
	int r;

	if (take_doc(k, c, keyack_head(admin_client_blob(c)), &theirs, &r) != 0)
		return r;
	if (k->resumed)
		return merge(k, c, req, theirs, "merged with another");
	if (keyset_is_empty(k->keys))
		return admin_end(
			c, -ENODATA,
			"this machine has no keys to merge with: `kekctl keyset apply` joins a "
			"cluster, `kekctl restore` brings a backup back");
	if (!keyset_doc(k->keys))
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	switch (keydoc_compare(keyset_doc(k->keys), theirs)) {
	case KEYDOC_SAME:
		return admin_end(c, -EALREADY, "this node holds that very keyset");
	case KEYDOC_NEWER:
		return admin_end(c, -EPERM,
				 "nothing has forked: that keyset may follow this one. Nothing was "
				 "changed: `kekctl keyset apply` takes it");
	case KEYDOC_OLDER:
		if (theirs->generation < keyset_doc(k->keys)->generation)
			return refuse_older(c, k, theirs);
		break;
	default:
		break;
	}
	return merge(k, c, req, theirs, "merged with another");
}

/*
 * A backup: a document, and what was encrypted with its keys. @ret_ack: NULL if that is not in it (an earlier version
 * of kekd made it) or is not under the root that is here. 1: refused, and that was answered with *ret_r.
 */
static int take_backup(struct keeper *k, struct admin_client *c, struct keydoc **ret,
		       struct keyack **ret_ack, int *ret_r)
{
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	struct span text = admin_client_blob(c), one;
	uint8_t other[KEY_ROOT_ID] = { 0 };
	struct keydoc_root root;
	int r = 0;

	if (take_doc(k, c, keyack_head(text), &doc, ret_r) != 0)
		return 1;
	if (keyack_cut(&text, &one))
		r = keyset_root(k->keys, &root) ? keyack_parse(one, &root, &ack, other)
						: -EKEYEXPIRED;
	if (r < 0 && r != -EKEYREJECTED) {
		*ret_r = refuse_text(c, k, "acknowledgement in the backup", r, other);
		return 1;
	}
	if (keyack_cut(&text, &one) || (ack && memcmp(ack->doc, doc->hash, SHA256_LEN) != 0)) {
		*ret_r = admin_end(
			c, -EINVAL,
			"this is no backup: a keyset and what was not saved with it. Nothing was changed");
		return 1;
	}
	*ret = move_ptr(doc);
	*ret_ack = move_ptr(ack);
	return 0;
}

/* Blobs of @backup in the place of those here that do not open. *ret_n: how many. */
static int mend(struct keeper *k, const struct keydoc *backup, struct keydoc **ret, size_t *ret_n)
{
	struct keydoc *next;
	size_t n = 0;
	int r = keydoc_copy(keyset_doc(k->keys), &next);

	if (r < 0)
		return r;
	for (size_t i = 0; i < next->n_keys; i++) {
		const struct keyset_key *key = keyset_find(k->keys, next->keys[i].info.id);
		const struct key_record *saved = keydoc_key(backup, next->keys[i].info.id);

		if (!key || (key->why != -EINVAL && key->why != -EBADMSG) || !saved ||
		    strcmp(saved->blob, next->keys[i].blob) == 0)
			continue;
		memcpy(next->keys[i].blob, saved->blob, sizeof(saved->blob));
		n++;
	}
	*ret = next;
	*ret_n = n;
	return 0;
}

static int restore_mend(struct keeper *k, struct admin_client *c, const struct admin_request *req,
			const struct keydoc *backup)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keydoc_refusal why = { 0 };
	size_t n;
	int r;

	if (keyset_doc(k->keys)->rotating)
		return admin_end(
			c, -EBUSY,
			"the root key is being rotated, and each key is sealed twice: if one copy is damaged, "
			"`kekctl root rotate` ends with the one under the new root key, or with --abort with the "
			"one under the old. Nothing was changed; restore after that");
	r = mend(k, backup, &next, &n);
	if (r == 0 && n > 0 && !is_member(k))
		return admin_end(
			c, -EPERM,
			"this node is no member of its keyset, or is leaving, so it changes "
			"nothing: do it on a member");
	if (r == 0 && n == 0)
		return admin_end(
			c, 0,
			"no damaged key here has a whole copy in the backup; nothing was changed");
	if (r == 0 && req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would mend damaged keys; nothing was changed");
	if (r == 0 && random_bytes(next->nonce, sizeof(next->nonce)) < 0)
		r = -EIO;
	if (r < 0)
		return admin_end(c, r, errno_text(r));
	next->generation++;
	next->is_merged = false;
	next->time = time(NULL);
	memcpy(next->node, keyset_self(k->keys)->id, sizeof(next->node));
	if (keeper_publish(k, &next, &why) < 0)
		return admin_refuse(c, &why);
	taken(k, c, "damaged keys restored");
	return admin_end(c, 0, "damaged keys were mended");
}

/* What was encrypted with the backup's keys is on disk before they are here. 1: it is not, and that was answered. */
static int bring_counts(struct keeper *k, struct admin_client *c, const struct keydoc *backup,
			const struct keyack *ack, int *ret_r)
{
	struct keydoc_refusal why;
	int r;

	if (!ack) {
		log_warning(
			"restore: the backup does not say how often its keys were used, so this node counts "
			"from zero: make a new one, and rotate the active keys with `kekctl key rotate`");
		return 0;
	}
	r = counts_bring(k, backup, ack);
	if (r == 0)
		return 0;
	keydoc_refuse(&why, r,
		      "how often the keys were used cannot be written to the key store: %s. "
		      "Nothing was changed",
		      errno_text(r));
	*ret_r = admin_refuse(c, &why);
	return 1;
}

static int restored(struct keeper *k, struct admin_client *c, const char *what)
{
	const struct list *head = keyset_list(k->keys);
	struct keydoc_refusal why;

	taken(k, c, what);
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (key->rec.info.state != KEY_ACTIVE || !counts_spent(k, &key->rec))
			continue;
		keydoc_refuse(&why, 0,
			      "restored; the key %s has encrypted as much as it may and only opens "
			      "values: `kekctl key rotate %s`",
			      key->rec.info.label, key->rec.info.name);
		return admin_refuse(c, &why);
	}
	return admin_end(c, 0, "restored; `kekctl key verify` proves that all keys open");
}

static int restore_whole(struct keeper *k, struct admin_client *c, const struct admin_request *req,
			 const struct keydoc *backup, const struct keyack *ack)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	uint8_t nonce[KEYDOC_NODE];
	struct keydoc_refusal why = { 0 };
	int r;

	if (backup->n_members > 1 && !(req->flags & ADMIN_ALONE)) {
		keydoc_refuse(
			&why, -EEXIST,
			"the backup is of a cluster with %zu members: to be one of them, `kekctl keyset "
			"export` there and `kekctl keyset apply` here. If all of them are gone for "
			"ever: `kekctl restore --alone`",
			backup->n_members);
		return admin_refuse(c, &why);
	}
	if (keydoc_is_removed(backup, keyset_self(k->keys)->id))
		return admin_end(
			c, -EPERM,
			"this node was removed from the keyset of the backup, and is not to come back "
			"under its old id. Nothing was changed: move the file \"node\" out of the key "
			"store, restart kekd, and run this command again");
	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "the backup opens here; nothing was changed");
	r = random_bytes(nonce, sizeof(nonce));
	if (r == 0)
		r = keydoc_restore(backup, keyset_self(k->keys), nonce, time(NULL), &next);
	if (r < 0)
		return admin_end(c, r, errno_text(r));
	if (bring_counts(k, c, backup, ack, &r) != 0)
		return r;
	if (keeper_take(k, next, &why) < 0)
		return admin_refuse(c, &why);
	next = NULL;
	return restored(k, c, "restored from a backup");
}

/* As if another node had brought it: @doc is taken, and copied as it is the caller's. */
static int restore_newer(struct keeper *k, struct admin_client *c, const struct admin_request *req,
			 const struct keydoc *backup, const struct keyack *ack)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keydoc_refusal why = { 0 };
	int r;

	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would take the backup; nothing was changed");
	r = keydoc_copy(backup, &next);
	if (r < 0)
		return r;
	if (bring_counts(k, c, backup, ack, &r) != 0)
		return r;
	if (keeper_take(k, next, &why) < 0)
		return admin_refuse(c, &why);
	next = NULL;
	return restored(k, c, "restored from a newer backup");
}

/* Opens or not, key by key, beside what is in use. 1: refused and answered. */
static int prove_backup(struct keeper *k, struct admin_client *c, const struct keydoc *doc,
			int *ret_r)
{
	struct admin_verify v = { .k = k, .c = c };
	int r = keyset_verify_doc(k->keys, doc, admin_verify_put, &v);

	if (r == 0 && v.r == 0 && v.bad == 0)
		return 0;
	if (v.r < 0)
		*ret_r = v.r;
	else
		*ret_r = admin_end(c, r < 0 ? r : -EUCLEAN,
				   "some keys of the backup do not open under this root key");
	return 1;
}

int admin_backup_verify(struct keeper *k, struct admin_client *c,
			const struct admin_request *req _unused_)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	int r;

	if (take_backup(k, c, &doc, &ack, &r) != 0 || prove_backup(k, c, doc, &r) != 0)
		return r;
	return admin_end(c, 0, "");
}

int admin_restore(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_(keyack_freep) struct keyack *ack = NULL;
	const struct keydoc *ours;
	struct keydoc_root root;
	int r;

	if (take_backup(k, c, &doc, &ack, &r) != 0)
		return r;
	if (!is_replaceable(k))
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	ours = keyset_doc(k->keys);
	/*
	 * A backup from the midst of a rotation of the root, where none is going on: one of the two roots may be all
	 * that is left.
	 */
	if (!(ours && ours->rotating) && keyset_root(k->keys, &root) &&
	    keydoc_has_root(doc, root.id))
		keydoc_end_rotation(doc, memcmp(doc->root, root.id, KEY_ROOT_ID) == 0);
	if (k->resumed)
		return merge(k, c, req, doc, "damaged keys restored");
	if (!ours || keyset_is_empty(k->keys))
		return prove_backup(k, c, doc, &r) != 0 ? r : restore_whole(k, c, req, doc, ack);
	switch (keydoc_compare(ours, doc)) {
	case KEYDOC_SAME:
	case KEYDOC_OLDER:
		return restore_mend(k, c, req, doc);
	case KEYDOC_NEWER: /* this disk is of an earlier time than the backup */
		return restore_newer(k, c, req, doc, ack);
	case KEYDOC_FORKED:
		return refuse_fork(c, k, doc);
	default:
		return refuse_foreign(c, doc);
	}
}

void admin_member_fill(const struct keeper *k, const struct keydoc_member *m,
		       struct admin_member *ret)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	const struct keyack *ack = acks_find(k, m->id);
	bool self = memcmp(m->id, keyset_self(k->keys)->id, KEYDOC_NODE) == 0;

	memset(ret, 0, sizeof(*ret));
	key_hex(m->id, sizeof(m->id), ret->id);
	snprintf(ret->name, sizeof(ret->name), "%s", m->name);
	snprintf(ret->state, sizeof(ret->state), "%s", m->leaving ? "leaving" : "member");
	ret->self = self;
	ret->maker = doc->carrier == KEYDOC_HAND ? memcmp(m->id, doc->hand, KEYDOC_NODE) == 0
						 : doc->carrier == KEYDOC_ETCD || self;
	if (self) {
		ret->generation = doc->generation;
		ret->answered = 1;
	} else if (ack) {
		ret->generation = ack->generation;
		ret->answered = memcmp(ack->doc, doc->hash, sizeof(ack->doc)) == 0 &&
				acks_has_answered(k, ack);
		ret->heard = (uint64_t)ack->time;
		ret->differs = ack->has_config &&
			       memcmp(ack->config, k->conf->digest, sizeof(ack->config)) != 0;
	}
}

int admin_keyset_show(struct keeper *k, struct admin_client *c,
		      const struct admin_request *req _unused_)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	struct admin_member m;
	int r = 0;

	if (!doc)
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	for (size_t i = 0; r == 0 && i < doc->n_members; i++) {
		admin_member_fill(k, &doc->members[i], &m);
		r = admin_client_put(c, ADMIN_MEMBER, 0, &m, sizeof(m));
	}
	return r == 0 ? admin_end(c, 0, "") : r;
}
