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
	return admin_end(c, why->r, why->text);
}

/* Also of a key that is gone: hence its record and not the key. */
static void audit(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		  const char *what)
{
	const struct op_peer *peer = admin_client_peer(c);

	keeper_audit_key(k, peer, key, what);
	log_notice("audit: key %s: %s, now %s, activation %u; asked by uid %u, pid %d",
		   key->rec.label, what, key_state_name(key->rec.state), key->rec.activation,
		   peer->uid, peer->pid);
}

void admin_audit(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		 const char *what)
{
	audit(k, c, key, what);
}

static int key_answer(struct keeper *k, struct admin_client *c, const struct keyset_key *key)
{
	struct admin_key a;
	int r;

	admin_key_fill(k, key, &a);
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
	struct admin_key a;
	int r;

	admin_key_fill(k, key, &a);
	r = admin_send_key(c, &a);
	if (r < 0)
		return r;
	memcpy(text, why->text, sizeof(text));
	keydoc_refuse(why, why->r, "the new key is staged and not active yet: %.400s", text);
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

int admin_key_create(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *active, *key = NULL;
	struct keydoc_refusal why;
	int r;

	if (keyset_active(k->keys, req->name, &active) == 0)
		return admin_end(c, -EEXIST,
				 "this name has an active key already; see `kekctl key list`, and "
				 "`kekctl key rotate` for a new one");
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run_name(k, c, "would make a key of that name");
	r = keeper_make(k, req->name, &why, &key);
	if (key)
		audit(k, c, key, "created");
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
	r = keeper_stage(k, req->name, &why, &key);
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
	if (key->rec.state == KEY_STAGED)
		r = keeper_step(k, KEYDOC_ACTIVATE, key->rec.id, &why);
	return r < 0 && r != -EALREADY ? only_staged(k, c, key, &why) : key_answer(k, c, key);
}

static int dry_run(struct keeper *k, struct admin_client *c, struct keydoc_change *change)
{
	_cleanup_(keydoc_freep) struct keydoc *next = NULL;
	struct keyset_key would = { 0 };
	const struct key_record *rec;
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct admin_key a;
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
		would.rec.state = KEY_DESTROYED;
	admin_key_fill(k, &would, &a);
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
	r = keeper_change(k, change, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	key = keyset_find(k->keys, req->id);
	gone.rec.state = KEY_DESTROYED;
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

/* Values that need the key may still be there as long as it is used. */
static bool used_of_late(const struct keeper *k, const struct keyset_key *key)
{
	time_t last = counts_last_used(k, &key->rec);

	return last != 0 && time(NULL) - last < k->conf->config->rotation.retire_after / NS_PER_S;
}

/* @what for the log, with the reason that came along. @buf or @what. */
static const char *with_proof(const struct admin_request *req, const char *what,
			      char buf[static WHAT_MAX])
{
	if (!(req->flags & ADMIN_PROOF))
		return what;
	snprintf(buf, WHAT_MAX, "%s, as revision %" PRIu64 " of etcd did not need it", what,
		 req->proof_revision);
	return buf;
}

/* Has it said that no API server of its machine wrote with the key any more, at @when by its own clock? */
static bool was_quiet(const struct keeper *k, const struct keydoc_member *m,
		      const struct keyset_key *key, time_t when)
{
	const struct keyack *ack = acks_find(k, m->id);
	const struct keyack_key *said = ack ? keyack_key(ack, key->rec.id) : NULL;

	return said && said->quiet && ack->time <= when;
}

/* The same for what the other members do with the key. Of values that they open, this node knows nothing. */
static const char *not_proven_elsewhere(const struct keeper *k, const struct admin_request *req,
					const struct keyset_key *key)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	for (size_t i = 0; i < doc->n_members; i++) {
		const struct keydoc_member *m = &doc->members[i];

		if (memcmp(m->id, keyset_self(k->keys)->id, sizeof(m->id)) == 0)
			continue;
		if (!(req->flags & ADMIN_PROOF))
			return "other members may open values that need the key, and this node does "
			       "not know of it. Re-encrypt them first; see --proof and --force";
		if (!was_quiet(k, m, key, req->proof_time))
			return "the dump that the proof is of was made before each member had "
			       "acknowledged that nothing is written with the key any more: exchange "
			       "acknowledgements until they say so, then make a new dump, and a proof of it";
	}
	return NULL;
}

/* NULL, or why what was said of a decrypt-only key is no reason to retire it. */
static const char *not_proven(const struct keeper *k, const struct admin_request *req,
			      const struct keyset_key *key)
{
	if (!(req->flags & ADMIN_PROOF))
		return used_of_late(k, key)
			       ? "the key was used, or may have been used, of late "
				 "(rotation.retireAfter): values that need it may exist. Re-encrypt "
				 "them first; see --proof and --force"
			       : NULL;
	if (counts_last_used(k, &key->rec) > req->proof_time)
		return "the key was used, or may have been used, after the dump that the proof is of: "
		       "make a new dump, and a proof of it";
	if (counts_written_until(k, &key->rec) > req->proof_time)
		return "the dump that the proof is of was made less than three minutes after another key, "
		       "or this daemon, began: for so long a kube-apiserver may write with what the "
		       "key has wrapped for it. Make a new dump, and a proof of it";
	return NULL;
}

int admin_key_retire(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_RETIRE, .vouched = true };
	const struct keyset_key *key;
	const char *why_not;
	char what[WHAT_MAX];

	server_sync(k); /* and its last report of use */
	key = keyset_find(k->keys, req->id);
	change.forced = req->flags & ADMIN_FORCE;
	if (change.forced)
		return step(k, c, req, &change, "retired by force");
	why_not = key && key->rec.state == KEY_DECRYPT_ONLY ? not_proven(k, req, key) : NULL;
	if (key && !why_not && key->rec.state == KEY_DECRYPT_ONLY)
		why_not = not_proven_elsewhere(k, req, key);
	if (why_not)
		return admin_end(c, -EBUSY, why_not);
	return step(k, c, req, &change, with_proof(req, "retired", what));
}

/* The name typed once more is the proof that somebody has read what he destroys. */
int admin_key_destroy(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct keydoc_change change = { .kind = KEYDOC_DESTROY, .vouched = true };
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	char what[WHAT_MAX];

	if (key && strcmp(key->rec.name, req->name) != 0)
		return admin_end(c, -EINVAL, "the name typed is not the name of this key");
	return step(k, c, req, &change, with_proof(req, "destroyed", what));
}

/* Stage and activate; a key that is staged already is taken up. */
int admin_key_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *old, *key = NULL;
	struct keydoc_refusal why;
	bool staged = keyset_staged(k->keys, req->name) != NULL;
	int r;

	r = keyset_active(k->keys, req->name, &old);
	if (r < 0)
		return admin_end(
			c, r,
			"this name has no usable active key to rotate from; see "
			"`kekctl key list`, `kekctl key create` and `kekctl key activate`");
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run_name(k, c,
				    staged ? "would activate the key of that name that is staged"
					   : "would make a key of that name and activate it");
	r = keeper_make(k, req->name, &why, &key);
	if (key && !staged)
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

		if (key->rec.state == KEY_DECRYPT_ONLY && key->rec.activation > 0 &&
		    strcmp(key->rec.name, active->rec.name) == 0 &&
		    (!found || key->rec.activation > found->rec.activation))
			found = key;
	}
	return found;
}

/*
 * Whoever has asked for it while a member did not know the key may do it when all know it: before, nobody makes
 * a change, as all have to answer.
 */
static bool may_abort(struct keeper *k, const struct keyset_key *active)
{
	if (!is_over(k))
		k->abort_asked = active->rec.activation;
	return k->abort_asked == active->rec.activation;
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

	if (!staged) {
		if (keyset_active(k->keys, req->name, &active) < 0 || !may_abort(k, active) ||
		    !(old = former(k, active)))
			return admin_end(
				c, -ENOKEY,
				"no rotation of this name is under way: no key is staged, and "
				"every member knows the active one. `kekctl key activate` goes "
				"back to an older key");
		change.kind = KEYDOC_ACTIVATE;
		staged = old;
	}
	memcpy(of.id, staged->rec.id, sizeof(of.id));
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
	struct admin_key a;

	audit(b->k, b->c, key, "loaded again");
	counts_reserve(b->k);
	server_send_key(b->k, key);
	admin_key_fill(b->k, key, &a);
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

static const char *unseal_text(int r)
{
	switch (r) {
	case -EALREADY:
		return "not sealed: the root key is loaded";
	case -EKEYREJECTED:
		return "not the root key of this machine's keyset; still sealed";
	case -EOPNOTSUPP:
		return "an ephemeral root key ends with its daemon: restart kekd";
	case -EINVAL:
	case -ENODATA:
	case -EMSGSIZE:
		return "a root key has 32 to 1024 bytes";
	default:
		return errno_text(r);
	}
}

int admin_unseal(struct keeper *k, struct admin_client *c, const struct admin_request *req _unused_)
{
	const struct op_peer *peer = admin_client_peer(c);
	int r = custody_unseal(k, admin_client_blob(c));

	if (r < 0)
		return admin_end(c, r, unseal_text(r));
	log_notice("audit: unsealed; asked by uid %u, pid %d", peer->uid, peer->pid);
	return admin_end(c, 0, "");
}

void admin_verify_put(void *ctx, const struct key_record *rec, int r)
{
	struct admin_verify *v = ctx;
	struct keyset_key key = { .rec = *rec };
	struct admin_key a;

	admin_key_fill(v->k, &key, &a);
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
