/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the keyset as the whole daemon makes them: the document is durable, then there is room in
 * the counts, then the servers hear of each key, and when all of them have taken it, it is said to be done.
 *
 * The servers hear first of the key that becomes active, so that from one message to the next there is
 * exactly one to write with.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL

/* Op sockets go along only if the key did not open values before. */
static void key_changed(void *ctx, const struct keyset_key *key, enum key_state from)
{
	struct keeper *k = ctx;

	if (key->rec.info.state == KEY_ACTIVE)
		counts_reserve(k);
	if (key->rec.info.state == KEY_RETIRED && from != KEY_DESTROYED && from != KEY_RETIRED)
		counts_retired(k, key);
	if (from != KEY_DESTROYED && key_state_opens(from) && key_state_opens(key->rec.info.state))
		server_send_state(k, key);
	else
		server_send_key(k, key);
}

/* A machine with a root and without a keyset has an empty one as soon as somebody wants to change it. */
int keeper_ready(struct keeper *k, struct keydoc_refusal *why)
{
	if (k->sealed < 0)
		return keydoc_refuse(why, -EKEYEXPIRED, "sealed: the root key is not loaded");
	if (keyset_why(k->keys) == -ENODATA && keyset_begin(k->keys) < 0)
		return keydoc_refuse(why, -EIO, "a keyset cannot be begun: see the log");
	if (keyset_why(k->keys) < 0)
		return keydoc_refuse(why, keyset_why(k->keys), "%s", keyset_why_text(k->keys));
	return 0;
}

struct heard {
	struct keydoc_heard heard;
	const struct keyack *acks[KEEPER_ACKS + 1];
	struct keyack *own;
};

static void heard_clear(struct heard *h)
{
	keyack_free(h->own);
}

/* All that a change is decided by: a keyset, and what is heard of it. */
static int heard_get(struct keeper *k, struct heard *h, struct keydoc_refusal *why)
{
	int r = keeper_ready(k, why);

	if (r < 0)
		return r;
	r = acks_own(k, &h->own);
	if (r < 0)
		return keydoc_refuse(why, r, "%s", errno_text(r));
	h->acks[h->heard.n++] = h->own;
	for (size_t i = 0; i < k->n_acks; i++)
		h->acks[h->heard.n++] = k->acks[i];
	h->heard.acks = h->acks;
	memcpy(h->heard.number, k->number, sizeof(h->heard.number));
	h->heard.keep_retired = k->conf->config->rotation.keep_retired / NS_PER_S;
	return 0;
}

/* A node that has become a member writes, and one that is leaving does not any more. */
void keeper_membership(struct keeper *k)
{
	const struct list *head = keyset_list(k->keys);

	if (worker_sealed_why(k) == k->sealed_why)
		return;
	server_send_sealed(k);
	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *key = list_entry(n, struct keyset_key, link);

		if (key->rec.info.state == KEY_ACTIVE && key->why == 0)
			server_send_state(k, key);
	}
}

/* After any document was taken: others have not answered to it, the counts hold, the servers have it. */
static void keeper_followed(struct keeper *k)
{
	root_followed(k);
	if (acks_new_document(k) < 0)
		log_error("the kernel gives no random numbers: no change is possible");
	keeper_membership(k);
	counts_reserve(k);
	server_sync(k);
}

int keeper_change(struct keeper *k, struct keydoc_change *change, struct keydoc_refusal *why)
{
	_cleanup_(heard_clear) struct heard h = { 0 };
	int r;

	if (cluster_outcome(k, change->kind, change->id, why))
		return why->r;
	r = heard_get(k, &h, why);
	if (r == 0)
		r = keyset_change(k->keys, change, &h.heard, why, key_changed, k);
	if (r == 0)
		keeper_followed(k);
	else if (why->waits)
		cluster_hurry(k);
	return r;
}

int keeper_plan(struct keeper *k, struct keydoc_change *change, struct keydoc_refusal *why,
		struct keydoc **ret)
{
	_cleanup_(heard_clear) struct heard h = { 0 };
	int r = heard_get(k, &h, why);

	if (r < 0)
		return r;
	memcpy(change->node, keyset_self(k->keys)->id, sizeof(change->node));
	change->time = time(NULL);
	return keydoc_next(keyset_doc(k->keys), change, &h.heard, ret, why);
}

int keeper_take(struct keeper *k, struct keydoc *doc, struct keydoc_refusal *why)
{
	int r = keyset_take(k->keys, doc, why, key_changed, k);

	if (r == 0)
		keeper_followed(k);
	return r;
}

int keeper_publish(struct keeper *k, struct keydoc **doc, struct keydoc_refusal *why)
{
	int r;

	if (k->resumed || (*doc)->carrier == KEYDOC_ETCD)
		return cluster_publish(k, doc, why);
	r = keeper_take(k, *doc, why);
	if (r == 0)
		*doc = NULL;
	return r;
}

/* A key that was offered to etcd and is there. */
static int keeper_staged(struct keeper *k, const struct keydoc_refusal *why,
			 const struct keyset_key **ret)
{
	if (why->r < 0)
		return why->r;
	*ret = keyset_find(k->keys, cluster_outcome_key(k)->info.id);
	if (!*ret)
		return -ENOKEY;
	counts_made(k, *ret);
	return 0;
}

int keeper_step(struct keeper *k, enum keydoc_change_kind kind,
		const uint8_t id[static KEKD_KEY_ID], struct keydoc_refusal *why)
{
	struct keydoc_change change = { .kind = kind };

	memcpy(change.id, id, sizeof(change.id));
	return keeper_change(k, &change, why);
}

typedef int stage_fn(struct keyset *set, const char *name, const struct keydoc_heard *heard,
		     struct keydoc_refusal *why, keyset_changed_fn *changed, void *ctx,
		     const struct keyset_key **ret);

static int stage_by(struct keeper *k, stage_fn *stage, const char *name, struct keydoc_refusal *why,
		    const struct keyset_key **ret)
{
	_cleanup_(heard_clear) struct heard h = { 0 };
	int r;

	if (cluster_outcome(k, KEYDOC_STAGE, NULL, why))
		return keeper_staged(k, why, ret);
	r = heard_get(k, &h, why);
	if (r == 0)
		r = stage(k->keys, name, &h.heard, why, key_changed, k, ret);
	if (r < 0)
		return r;
	counts_made(k, *ret);
	keeper_followed(k);
	return 0;
}

int keeper_stage(struct keeper *k, const char *name, struct keydoc_refusal *why,
		 const struct keyset_key **ret)
{
	return stage_by(k, keyset_stage, name, why, ret);
}

int keeper_stage_portable(struct keeper *k, const char *name, struct keydoc_refusal *why,
			  const struct keyset_key **ret)
{
	if (k->conf->config->policy == CONFIG_POLICY_STRICT)
		return keydoc_refuse(why, -EPERM,
				     "`policy: strict` refuses keys that pass through the daemon's "
				     "memory, and a portable one does at each start");
	return stage_by(k, keyset_stage_portable, name, why, ret);
}

int keeper_import(struct keeper *k, const struct key_record *want, struct span bytes,
		  struct keydoc_refusal *why, const struct keyset_key **ret)
{
	_cleanup_(heard_clear) struct heard h = { 0 };
	int r;

	if (cluster_outcome(k, KEYDOC_STAGE, NULL, why))
		return keeper_staged(k, why, ret);
	r = heard_get(k, &h, why);
	if (r == 0)
		r = keyset_import(k->keys, want, bytes, &h.heard, why, key_changed, k, ret);
	if (r == 0)
		keeper_followed(k);
	return r;
}

int keeper_make(struct keeper *k, const char *name, struct keydoc_refusal *why,
		const struct keyset_key **ret, bool *ret_made)
{
	int r;

	if (cluster_outcome(k, KEYDOC_ACTIVATE, NULL, why)) {
		*ret = keyset_find(k->keys, cluster_outcome_key(k)->info.id);
		return why->r;
	}
	r = keeper_stage(k, name, why, ret);
	if (r < 0 && r != -EALREADY)
		return r;
	if (r == 0 && ret_made)
		*ret_made = true;
	return keeper_step(k, KEYDOC_ACTIVATE, (*ret)->rec.info.id, why);
}
