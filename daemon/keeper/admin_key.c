/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands that take a key through its life. Each is checked here again, whatever kekctl has
 * asked its user: the socket is the boundary.
 *
 * What has changed is told to the server in the order in which it was written down: the key that
 * becomes active first, so that from one message to the next there is exactly one. Every change
 * leaves one line in the log that says who asked for it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL

static const struct {
	int r;
	const char *text;
} refusals[] = {
	{ -EEXIST, "this name has an active key already; see `kekctl key list`, and "
		   "`kekctl key rotate` for a new one" },
	{ -EINVAL, "a key's name is 1 to 64 letters, digits, '.', '_' and '-'" },
	{ -ENOBUFS, "the key store is full" },
	{ -ENOSPC, "no space left where the key store is; nothing was changed" },
	{ -EROFS, "the key store is on a read-only file system; nothing was changed" },
	{ -ENOKEY, "there is no such key; see `kekctl key list`" },
	{ -EKEYEXPIRED, "sealed: the root key is not loaded; give it with `kekctl unseal`" },
	{ -EPERM, "a key in this state cannot make that step: staged, active, decrypt-only, "
		  "retired, destroyed is the way" },
	{ -ESTALE, "the key store is not what its manifest says, or the activation number is not "
		   "above every one this name has had; see the log and `kekctl key verify`" },
	{ -EALREADY, "the key is in that state already" },
	{ -ERANGE, "an activation number from outside must not be that large" },
	{ -EOPNOTSUPP, "keys for secretbox are imported, not made" },
	{ -EKEYREJECTED, "the key is retired, or sealed by another root key" },
};

static int refuse(struct admin_client *c, int r)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (refusals[i].r == r)
			return admin_end(c, r, refusals[i].text);
	return admin_end(c, r, errno_text(r));
}

void admin_audit(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		 const char *what)
{
	const struct op_peer *peer = admin_client_peer(c);

	keeper_audit_key(k, peer, key, what);
	log_notice("audit: key %s: %s, now %s, activation %u; asked by uid %u, pid %d",
		   key->rec.label, what, key_state_name(key->rec.state), key->rec.activation,
		   peer->uid, peer->pid);
}

static int answer(struct keeper *k, struct admin_client *c, const struct keyset_key *key)
{
	struct admin_key a;
	int r;

	admin_key_fill(k, key, &a);
	r = admin_send_key(c, &a);
	return r == 0 ? admin_end(c, 0, "") : r;
}

static int make(struct keeper *k, struct admin_client *c, const struct admin_request *req,
		enum key_state state)
{
	const struct keyset_key *key;
	int r;

	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would make a key of that name");
	r = keeper_make(k, req->name, state, &key);
	if (r < 0)
		return refuse(c, r);
	admin_audit(k, c, key, "created");
	if (!conf_names_key(k->conf, req->name))
		log_warning("key \"%s\" is not named by %s yet", req->name,
			    k->conf->config->encryption_config);
	return answer(k, c, key);
}

int admin_key_create(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	return make(k, c, req, KEY_ACTIVE);
}

int admin_key_stage(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	return make(k, c, req, KEY_STAGED);
}

static int import_refuse(struct admin_client *c, int r)
{
	if (r == -EEXIST)
		return admin_end(c, r, "another key has this name");
	if (r == -EINVAL)
		return admin_end(c, r, "a key's name must not begin or end with a blank");
	return refuse(c, r);
}

int admin_key_import(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	const struct keyset_key *key;
	int r;

	r = import_take(k, c, &key);
	if (r < 0)
		return import_refuse(c, r);
	admin_audit(k, c, key, "imported");
	return answer(k, c, key);
}

static int dry_run(struct keeper *k, struct admin_client *c, const struct keyset_key *key,
		   const struct key_record *rec)
{
	struct admin_key a;
	struct keyset_key would = *key;
	int r;

	would.rec = *rec;
	admin_key_fill(k, &would, &a);
	r = admin_send_key(c, &a);
	return r == 0 ? admin_end(c, 0, "nothing was changed") : r;
}

static int step(struct keeper *k, struct admin_client *c, const struct admin_request *req,
		enum key_state to, const char *what)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	struct key_record rec;
	int r;

	r = key ? keyset_step_plan(k->keys, req->id, to, req->activation, &rec) : -ENOKEY;
	if (r < 0)
		return refuse(c, r);
	if (req->flags & ADMIN_DRY_RUN)
		return dry_run(k, c, key, &rec);
	r = keeper_step(k, req->id, to, req->activation);
	if (r < 0)
		return refuse(c, r);
	admin_audit(k, c, key, what);
	return answer(k, c, key);
}

int admin_key_activate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	return step(k, c, req, KEY_ACTIVE, "activated");
}

/* The same step ends an active key, but that one gives way to another and to nothing else. */
int admin_key_reopen(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);

	if (key && key->rec.state == KEY_ACTIVE)
		return refuse(c, -EPERM);
	return step(k, c, req, KEY_DECRYPT_ONLY, "reopened");
}

/* Values that need the key may still be there as long as it is used. */
static bool used_of_late(const struct keeper *k, const struct keyset_key *key)
{
	time_t last = counts_last_used(k, &key->rec);

	return last != 0 && time(NULL) - last < k->conf->config->rotation.retire_after / NS_PER_S;
}

#define WHAT_MAX 96

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

int admin_key_retire(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	bool may_be_needed = key && keyset_step_is_legal(key->rec.state, KEY_RETIRED);
	char what[WHAT_MAX];

	server_sync(k); /* and its last report of use */
	if (req->flags & ADMIN_FORCE)
		return step(k, c, req, KEY_RETIRED, "retired by force");
	if (may_be_needed && (req->flags & ADMIN_PROOF)) {
		if (counts_last_used(k, &key->rec) > req->proof_time)
			return admin_end(
				c, -EBUSY,
				"the key was used, or may have been used, after the dump "
				"that the proof is of: make a new dump, and a proof of it");
		if (counts_written_until(k, &key->rec) > req->proof_time)
			return admin_end(
				c, -EBUSY,
				"the dump that the proof is of was made less than three minutes "
				"after another key, or this daemon, began: for so long a "
				"kube-apiserver may write with what the key has wrapped for it. "
				"Make a new dump, and a proof of it");
	} else if (may_be_needed && used_of_late(k, key)) {
		return admin_end(
			c, -EBUSY,
			"the key was used, or may have been used, of late (rotation.retireAfter): "
			"values that need it may exist. Re-encrypt them first; see --proof and "
			"--force");
	}
	return step(k, c, req, KEY_RETIRED, with_proof(req, "retired", what));
}

/* The name typed once more is the proof that somebody has read what he destroys. */
int admin_key_destroy(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	char what[WHAT_MAX];

	if (key && strcmp(key->rec.name, req->name) != 0)
		return admin_end(c, -EINVAL, "the name typed is not the name of this key");
	return step(k, c, req, KEY_DESTROYED, with_proof(req, "destroyed", what));
}

/* Stage and activate at once: for one node, as others do not have the new key. */
int admin_key_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct admin_request activate = *req;
	const struct keyset_key *old, *key;
	int r;

	r = keyset_active(k->keys, req->name, &old);
	if (r < 0)
		return admin_end(
			c, r,
			"this name has no usable active key to rotate from; see "
			"`kekctl key list`, `kekctl key create` and `kekctl key activate`");
	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would make a key of that name and activate it");
	r = keeper_make(k, req->name, KEY_STAGED, &key);
	if (r < 0)
		return refuse(c, r);
	admin_audit(k, c, key, "created");
	memcpy(activate.id, key->rec.id, sizeof(activate.id));
	return admin_key_activate(k, c, &activate);
}

/* Keys that servers can use, by what tells one from another. */
struct usable {
	size_t n;
	struct {
		uint8_t id[KEKD_KEY_ID], check[KEKD_AES_BLOCK];
	} keys[KEKD_KEYS_MAX];
};

static void usable_find(const struct keeper *k, struct usable *ret)
{
	const struct list *head = keyset_list(k->keys);

	ret->n = 0;
	for (const struct list *n = head->next; n != head && ret->n < KEKD_KEYS_MAX; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (key->why < 0)
			continue;
		memcpy(ret->keys[ret->n].id, key->rec.id, KEKD_KEY_ID);
		memcpy(ret->keys[ret->n++].check, key->rec.check, KEKD_AES_BLOCK);
	}
}

static bool usable_has(const struct usable *u, const struct keyset_key *key)
{
	for (size_t i = 0; i < u->n; i++)
		if (memcmp(u->keys[i].id, key->rec.id, KEKD_KEY_ID) == 0)
			return memcmp(u->keys[i].check, key->rec.check, KEKD_AES_BLOCK) == 0;
	return false;
}

/*
 * Every key may have changed: the servers hear of all. But those of @before they have; a cipher that comes
 * in the place of another one ends what waits for that.
 */
static void send_accepted(struct keeper *k, const struct usable *before, bool active)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if ((worker_key_state(k, key) == KEY_ACTIVE) != active)
			continue;
		if (key->why == 0 && usable_has(before, key))
			server_send_state(k, key);
		else
			server_send_key(k, key);
	}
}

static int accepted(struct keeper *k, struct admin_client *c, const struct usable *before)
{
	const struct list *head = keyset_list(k->keys);
	struct admin_key a;
	int r = 0;

	counts_reserve(k);
	send_accepted(k, before, true); /* first, so that there is always one to write with */
	send_accepted(k, before, false);
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		admin_audit(k, c, key, "accepted");
		admin_key_fill(k, key, &a);
		if (r == 0)
			r = admin_send_key(c, &a);
	}
	server_sync(k);
	return r == 0 ? admin_end(c, 0, "") : r;
}

int admin_key_accept(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	_cleanup_free_ struct usable *before = malloc(sizeof(*before));
	int r;

	if (!before)
		return refuse(c, -ENOMEM);
	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would vouch for the key store as it is");
	usable_find(k, before);
	r = keyset_accept(k->keys);
	return r < 0 ? refuse(c, r) : accepted(k, c, before);
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

	admin_audit(b->k, b->c, key, "loaded again");
	counts_reserve(b->k);
	server_send_key(b->k, key);
	admin_key_fill(b->k, key, &a);
	if (b->r == 0)
		b->r = admin_send_key(b->c, &a);
}

int admin_key_reload(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	struct back b = { .k = k, .c = c };
	int r;

	if (req->flags & ADMIN_DRY_RUN)
		return admin_end(c, 0, "would load again what cannot be used");
	r = keyset_reload(k->keys, came_back, &b);
	if (r < 0)
		return refuse(c, r);
	server_sync(k);
	return b.r < 0 ? b.r : admin_end(c, 0, "");
}

static const char *unseal_text(int r)
{
	switch (r) {
	case -EALREADY:
		return "not sealed: the root key is loaded";
	case -EKEYREJECTED:
		return "not the root key of any key in the key store; still sealed";
	case -EOPNOTSUPP:
		return "an ephemeral root key ends with its daemon: restart kekd";
	case -EINVAL:
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

struct verify {
	struct keeper *k;
	struct admin_client *c;
	int r;
	unsigned int bad;
};

static void verified(void *ctx, const struct keyset_key *key, int r)
{
	struct verify *v = ctx;
	struct admin_key a;

	admin_key_fill(v->k, key, &a);
	a.usable = r;
	v->bad += r < 0;
	if (v->r == 0)
		v->r = admin_send_key(v->c, &a);
}

int admin_key_verify(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	struct verify v = { .k = k, .c = c };
	int r;

	r = keyset_verify(k->keys, verified, &v);
	if (r < 0)
		return refuse(c, r);
	if (v.r < 0)
		return v.r;
	if (v.bad > 0)
		return admin_end(c, -EUCLEAN, "some keys are not as they should be");
	if (keyset_distrust(k->keys) < 0)
		return admin_end(c, -EUCLEAN,
				 "no manifest vouches for the key store; see "
				 "`kekctl key accept`");
	if (keyset_missing(k->keys) > 0)
		return admin_end(c, -EUCLEAN,
				 "the manifest knows keys whose files are gone; the "
				 "log names them");
	if (keyset_unreadable(k->keys) > 0)
		return admin_end(c, -EUCLEAN,
				 "files of the key store could not be read at the "
				 "start; the log names them");
	return admin_end(c, 0, "");
}
