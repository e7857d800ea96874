/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands that take a key through its life. Each is checked here and by the rules of the keyset
 * (keys/keydoc_next.h) again, whatever kekctl has asked its user: the socket is the boundary.
 *
 * Every change leaves one line in the log that says who asked for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL
#define WHAT_MAX 96

int admin_refuse(struct admin_client *c, const struct keydoc_refusal *why)
{
	if (why->r == -EINPROGRESS)
		return -EINPROGRESS;
	return admin_end(c, why->waits ? -EINPROGRESS : why->r, why->text);
}

/* Also of a key that is gone: hence its record and not the key. */
static void audit(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		  const char *what)
{
	const struct op_peer *peer = admin_client_peer(c);

	keeper_audit_key(k, peer, key, what);
	log_notice("audit: key %s: %s, now %s, activation %u; asked by uid %u, pid %d",
		   key->rec.info.label, what, key_state_name(key->rec.info.state),
		   key->rec.info.activation, peer->uid, peer->pid);
}

static int key_answer(struct keeper *k, struct admin_client *c, const struct keyset_key *key)
{
	struct board_key a;
	int r;

	keeper_key_fill(k, key, &a);
	r = admin_send_key(c, &a);
	return r == 0 ? admin_end(c, 0, "") : r;
}

static void warn_if_unnamed(struct keeper *k, const char *name)
{
	if (!conf_names_key(k->conf, name))
		log_warning("key \"%s\" is not named by %s yet", name,
			    k->conf->config->encryption_config);
}

/* What is left to be done when the new key is there and a member stands in the way of its activation. */
static int only_staged(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		       struct keydoc_refusal *why)
{
	char text[sizeof(why->text)];
	bool waits = why->waits;
	struct board_key a;
	int r;

	if (why->r == -EINPROGRESS)
		return -EINPROGRESS;
	keeper_key_fill(k, key, &a);
	r = admin_send_key(c, &a);
	if (r < 0)
		return r;
	memcpy(text, why->text, sizeof(text));
	keydoc_refuse(why, why->r, "the new key is staged and not active yet: %.400s", text);
	why->waits = waits;
	return admin_refuse(c, why);
}

static int dry_run_name(struct keeper *k, struct admin_client *c, const char *text)
{
	bool is_new =
		k->sealed == 0 && keyset_why(k->keys) == -ENODATA; /* nothing is begun for this */
	struct keydoc_refusal why;
	int r = is_new ? 0 : keeper_ready(k, &why);

	return r < 0 ? admin_refuse(c, &why) : admin_end(c, 0, text);
}

/* What the key of @req is to be is settled when it is staged; what follows takes it up. */
static int stage_as_asked(struct keeper *k, const struct admin_request *req,
			  struct keydoc_refusal *why, bool *ret_made)
{
	const struct keyset_key *key;
	int r;

	if (!(req->flags & ADMIN_PORTABLE) || k->resumed)
		return 0;
	r = keeper_stage_portable(k, req->name, why, &key);
	*ret_made = r == 0;
	return r == -EALREADY ? 0 : r;
}

int admin_key_create(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *active, *key = NULL;
	struct keydoc_refusal why;
	bool made = false;
	int r;

	if (!k->resumed && keyset_active(k->keys, req->name, &active) == 0)
		return admin_end(c, -EEXIST,
				 "this name has an active key already; see `kekctl key list`, and "
				 "`kekctl key rotate` for a new one");
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run_name(k, c, "would make a key of that name");
	r = stage_as_asked(k, req, &why, &made);
	if (r == 0)
		r = keeper_make(k, req->name, &why, &key, &made);
	if (key && (made || r == 0))
		audit(k, c, key, made ? "created" : "activated");
	if (r < 0)
		return key ? only_staged(k, c, key, &why) : admin_refuse(c, &why);
	warn_if_unnamed(k, req->name);
	return key_answer(k, c, key);
}

int admin_key_stage(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key;
	struct keydoc_refusal why;
	int r;

	if (req->flags & ADMIN_DRY_RUN)
		return dry_run_name(k, c, "would make a key of that name");
	r = req->flags & ADMIN_PORTABLE ? keeper_stage_portable(k, req->name, &why, &key)
					: keeper_stage(k, req->name, &why, &key);
	if (r < 0)
		return admin_refuse(c, &why);
	audit(k, c, key, "created");
	warn_if_unnamed(k, req->name);
	return key_answer(k, c, key);
}

/* An imported key writes nothing new by itself, but it is the active one of its name. */
int admin_key_import(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = NULL;
	struct keydoc_refusal why;
	int r;

	r = import_take(k, req->name, admin_client_blob(c), &why, &key);
	if (r < 0 && r != -EALREADY)
		return admin_refuse(c, &why);
	if (r == 0)
		audit(k, c, key, "imported");
	if (key->rec.info.state == KEY_STAGED || k->resumed) {
		r = keeper_step(k, KEYDOC_ACTIVATE, key->rec.info.id, &why);
		if (r == 0)
			audit(k, c, key, "activated");
	}
	return r < 0 && r != -EALREADY ? only_staged(k, c, key, &why) : key_answer(k, c, key);
}

static int dry_run(struct keeper *k, struct admin_client *c, struct keydoc_change *change)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keyset_key would = { 0 };
	const struct key_record *rec;
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct board_key a;
	int r;

	r = keeper_plan(k, change, &why, &next);
	if (r < 0)
		return admin_refuse(c, &why);
	key = keyset_find(k->keys, change->id);
	rec = keydoc_key(next, change->id);
	if (key)
		would = *key;
	if (rec)
		would.rec = *rec;
	else
		would.rec.info.state = KEY_DESTROYED;
	keeper_key_fill(k, &would, &a);
	r = admin_send_key(c, &a);
	return r == 0 ? admin_end(c, 0, "nothing was changed") : r;
}

static int step(struct keeper *k, struct admin_client *c, const struct admin_request *req,
		struct keydoc_change *change, const char *what)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	struct keyset_key gone = { 0 };
	struct keydoc_refusal why;
	int r;

	memcpy(change->id, req->id, sizeof(change->id));
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run(k, c, change);
	if (key)
		gone.rec = key->rec;
	else if (k->resumed)
		gone.rec = *cluster_outcome_key(k);
	r = keeper_change(k, change, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	key = keyset_find(k->keys, req->id);
	gone.rec.info.state = KEY_DESTROYED;
	gone.why = -EKEYREJECTED;
	audit(k, c, key ? key : &gone, what);
	return key_answer(k, c, key ? key : &gone);
}

int admin_key_activate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_ACTIVATE };

	return step(k, c, req, &change, "activated");
}

int admin_key_reopen(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_REOPEN };

	return step(k, c, req, &change, "reopened");
}

int admin_key_mark(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_MARK };

	server_sync(k); /* and its last report of use */
	return step(k, c, req, &change, "marked");
}

static void mark_fill(const struct keeper *k, const struct keyset_key *key, struct admin_mark *ret)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	memcpy(ret->doc, doc->hash, sizeof(ret->doc));
	memcpy(ret->cluster, doc->cluster, sizeof(ret->cluster));
	ret->generation = doc->generation;
	ret->marked = key->rec.info.marked;
	ret->etcds = k->conf->config->others.said ? k->conf->config->others.count + 1 : 0;
	if (doc->carrier == KEYDOC_ETCD)
		cluster_place(k, &ret->revision, &ret->etcd);
}

int admin_key_marked(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	struct admin_mark mark = { 0 };

	if (keyset_why(k->keys) < 0)
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	if (!key)
		return admin_end(c, -ENOKEY, "there is no such key: see `kekctl key list`");
	mark_fill(k, key, &mark);
	if (keyset_doc(k->keys)->carrier == KEYDOC_ETCD && mark.revision == 0)
		return admin_end(
			c, -EAGAIN,
			"etcd carries the keyset, and this node has not seen there what it "
			"holds: see `kekctl cluster status`");
	return admin_end_with(c, ADMIN_MARK, &mark, sizeof(mark));
}

/*
 * Evidence is of what this node holds now, and of the etcd that carries it: no time is looked at. What the change is
 * made on is that same document, also in etcd, where one transaction compares and puts.
 */
static int evidence_judge(const struct keeper *k, const struct keyset_key *key,
			  const struct admin_mark *said, struct keydoc_refusal *why)
{
	struct admin_mark now = { 0 };

	mark_fill(k, key, &now);
	if (keyset_doc(k->keys)->carrier == KEYDOC_ETCD && now.revision == 0) {
		keydoc_refuse(why, -EAGAIN,
			      "the change waits: etcd has not shown what this node holds");
		why->waits = true;
		return why->r;
	}
	if (memcmp(said->cluster, now.cluster, sizeof(now.cluster)) != 0)
		return keydoc_refuse(why, -EPERM, "the proof is of the keyset of another cluster");
	if (now.marked == 0)
		return keydoc_refuse(
			why, -EPERM,
			"key %s is not marked any more, or was not: `kekctl key mark`, "
			"then scan, and take that proof",
			key->rec.info.label);
	if (said->marked != now.marked)
		return keydoc_refuse(why, -EPERM,
				     "key %s was marked again, in generation %" PRIu64
				     ", and the proof is of the mark of generation %" PRIu64
				     ": scan again",
				     key->rec.info.label, now.marked, said->marked);
	if (memcmp(said->doc, now.doc, sizeof(now.doc)) != 0)
		return keydoc_refuse(why, -EPERM,
				     "the proof is of generation %" PRIu64
				     " of the keyset, and this is generation %" PRIu64
				     ": scan again, which finds the mark in this one",
				     said->generation, now.generation);
	if (said->etcds != now.etcds)
		return keydoc_refuse(
			why, -EPERM,
			"the proof is of before `otherEtcds` of kekd.yaml was changed: scan again");
	if (said->revision != now.revision || said->etcd != now.etcd)
		return keydoc_refuse(why, -EPERM,
				     "the proof is of another etcd than the one that carries the "
				     "keyset, or of before that was restored: scan again");
	return 0;
}

/*
 * RETIRE and DESTROY: on evidence, or on an operator's word (--force). With neither the rules of the keyset refuse, and
 * say how to come by evidence. What has become of the change already is not judged anew.
 */
static int step_on_evidence(struct keeper *k, struct admin_client *c,
			    const struct admin_request *req, struct keydoc_change *change,
			    const char *what)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	struct keydoc_refusal why;
	char text[WHAT_MAX];

	change->vouched = req->flags & ADMIN_FORCE;
	change->forced = change->vouched && change->kind == KEYDOC_RETIRE;
	if (!change->vouched && (req->flags & ADMIN_PROOF)) {
		if (key && !k->resumed && evidence_judge(k, key, &req->proof, &why) < 0)
			return admin_refuse(c, &why);
		change->evidence = req->proof.marked;
	}
	if (req->flags & ADMIN_FORCE)
		snprintf(text, sizeof(text), "%s by force", what);
	else
		snprintf(text, sizeof(text),
			 "%s, as nothing needed it since the mark of generation %" PRIu64, what,
			 req->proof.marked);
	return step(k, c, req, change, text);
}

int admin_key_retire(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_RETIRE };

	server_sync(k); /* and its last report of use */
	return step_on_evidence(k, c, req, &change, "retired");
}

/* The name typed once more is the proof that somebody has read what he destroys. */
int admin_key_destroy(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_DESTROY };
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	int64_t since;

	if (key && strcmp(key->rec.info.name, req->name) != 0)
		return admin_end(c, -EINVAL, "the name typed is not the name of this key");
	/*
	 * By the time that has passed here, as the clock may have been set since. Of a key that was retired before this
	 * start the clocks alone decide (keydoc_next.c).
	 */
	since = key && key->rec.info.state == KEY_RETIRED ? counts_of(k, req->id)->retired_at : 0;
	if (since != 0 && boot_ns() - since < k->conf->config->rotation.keep_retired)
		return admin_end(c, -EBUSY,
				 "the key was retired less than rotation.keepRetired ago, whatever "
				 "the clock says: backups of etcd may need it for so long");
	return step_on_evidence(k, c, req, &change, "destroyed");
}

/* Stage and activate; a key that is staged already is taken up. */
int admin_key_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *old, *key = NULL;
	struct keydoc_refusal why;
	bool made = false;
	int r;

	r = keyset_active(k->keys, req->name, &old);
	if (r < 0)
		return admin_end(
			c, r,
			"this name has no usable active key to rotate from; see "
			"`kekctl key list`, `kekctl key create` and `kekctl key activate`");
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run_name(k, c,
				    keyset_staged(k->keys, req->name)
					    ? "would activate the key of that name that is staged"
					    : "would make a key of that name and activate it");
	r = stage_as_asked(k, req, &why, &made);
	if (r == 0)
		r = keeper_make(k, req->name, &why, &key, &made);
	if (key && made)
		audit(k, c, key, "created");
	if (r < 0)
		return key ? only_staged(k, c, key, &why) : admin_refuse(c, &why);
	audit(k, c, key, "activated");
	return key_answer(k, c, key);
}

/* Has every member acknowledged the document in which @key is active? Then there is nothing to abort. */
static bool is_over(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	for (size_t i = 0; i < doc->n_members; i++) {
		const struct keyack *ack = acks_find(k, doc->members[i].id);

		if (memcmp(doc->members[i].id, keyset_self(k->keys)->id, KEYDOC_NODE) == 0)
			continue;
		if (!ack || memcmp(ack->doc, doc->hash, sizeof(ack->doc)) != 0)
			return false;
	}
	return true;
}

/* The key that was active before @active: of those that open, the one with the highest number below. */
static const struct keyset_key *former(const struct keeper *k, const struct keyset_key *active)
{
	const struct list *head = keyset_list(k->keys);
	const struct keyset_key *found = NULL;

	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (key->rec.info.state == KEY_DECRYPT_ONLY && key->rec.info.activation > 0 &&
		    strcmp(key->rec.info.name, active->rec.info.name) == 0 &&
		    (!found || key->rec.info.activation > found->rec.info.activation))
			found = key;
	}
	return found;
}

/*
 * A rotation is given up: a key that is staged becomes decrypt-only. One that is active here, and not known to
 * be so everywhere, gives way to the one before it, under a new number.
 */
int admin_key_abort(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *staged = keyset_staged(k->keys, req->name), *active, *old;
	struct keydoc_change change = { .kind = KEYDOC_GIVE_UP };
	struct admin_request of = *req;
	bool is_active;

	if (k->resumed) {
		change.kind = cluster_outcome_kind(k);
		memcpy(of.id, cluster_outcome_key(k)->info.id, sizeof(of.id));
		return step(k, c, &of, &change, "rotation aborted");
	}
	if (!staged) {
		is_active = keyset_active(k->keys, req->name, &active) == 0;
		/*
		 * Whoever has asked for it while a member did not know the key may do it when all know it: before,
		 * nobody makes a change, as all have to answer.
		 */
		if (is_active && !is_over(k))
			k->abort_asked = active->rec.info.activation;
		if (!is_active || k->abort_asked != active->rec.info.activation ||
		    !(old = former(k, active)))
			return admin_end(
				c, -ENOKEY,
				"no rotation of this name is under way: no key is staged, and "
				"every member knows the active one. `kekctl key activate` goes "
				"back to an older key");
		change.kind = KEYDOC_ACTIVATE;
		staged = old;
	}
	memcpy(of.id, staged->rec.info.id, sizeof(of.id));
	return step(k, c, &of, &change, "rotation aborted");
}

struct back {
	struct keeper *k;
	struct admin_client *c;
	int r;
};

static void came_back(void *ctx, const struct keyset_key *key)
{
	struct back *b = ctx;
	struct board_key a;

	audit(b->k, b->c, key, "loaded again");
	counts_reserve(b->k);
	server_send_key(b->k, key);
	keeper_key_fill(b->k, key, &a);
	if (b->r == 0)
		b->r = admin_send_key(b->c, &a);
}

int admin_key_reload(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct back b = { .k = k, .c = c };
	struct keydoc_refusal why;
	int r;

	r = keeper_ready(k, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would load again what cannot be used");
	keyset_reload(k->keys, came_back, &b);
	server_sync(k);
	return b.r < 0 ? b.r : admin_end(c, 0, "");
}

int admin_unseal(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	static const uint8_t any[sizeof(req->id)];
	const struct op_peer *peer = admin_client_peer(c);
	const struct unseal_proof proof = {
		.id = memcmp(req->id, any, sizeof(any)) != 0 ? req->id : NULL,
		.is_new = req->flags & ADMIN_NEW,
	};
	struct keydoc_refusal why;

	if (req->flags & ADMIN_RETRY) {
		/* No root key comes: the configured command is to be run now. */
		if (k->sealed == 0)
			return admin_end(c, -EALREADY, "not sealed: the root key is loaded");
		if (!rootcmd_again(k))
			return admin_end(
				c, -EOPNOTSUPP,
				"there is no command to try: give the root key with `kekctl unseal`, or "
				"restart kekd");
		return admin_end(c, 0, "");
	}
	if (custody_unseal(k, admin_client_blob(c), &proof, &why) < 0)
		return admin_refuse(c, &why);
	log_notice("audit: unsealed; asked by uid %u, pid %d", peer->uid, peer->pid);
	return admin_end(c, 0, "");
}

void admin_verify_put(void *ctx, const struct key_record *rec, int r)
{
	struct admin_verify *v = ctx;
	struct keyset_key key = { .rec = *rec };
	struct board_key a;

	keeper_key_fill(v->k, &key, &a);
	a.usable = r;
	v->bad += r < 0;
	if (v->r == 0)
		v->r = admin_send_key(v->c, &a);
}

int admin_key_verify(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	struct admin_verify v = { .k = k, .c = c };
	struct keydoc_refusal why;
	int r;

	r = keyset_why(k->keys) == -ENODATA && k->sealed == 0 ? 0 : keeper_ready(k, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	r = keyset_verify(k->keys, admin_verify_put, &v);
	if (r == -ESTALE)
		return admin_end(
			c, r,
			"the key store has another keyset than this daemon: somebody has replaced "
			"the file. The next change writes this daemon's again; to have the "
			"other one, restart kekd");
	if (r < 0)
		return admin_end(
			c, r,
			"the keyset in the key store cannot be read; see the log, and make a backup");
	if (v.r < 0)
		return v.r;
	if (v.bad > 0)
		return admin_end(c, -EUCLEAN,
				 "some keys are not as they should be: bring them back with "
				 "`kekctl restore FILE`");
	if (keyset_is_previous(k->keys))
		return admin_end(
			c, -EUCLEAN,
			"the keyset was damaged, and the one before it is in use: look after the "
			"disk, and make a backup");
	return admin_end(c, 0, "");
}
