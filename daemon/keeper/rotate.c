/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rotation that nobody asks for, by age and by number. A machine that is alone does it at once. Where etcd carries
 * the keyset any member stages the new key, and any member activates it when all have acknowledged that they open it.
 * Where people carry the keyset between several members, the log only says what is due.
 *
 * Ages are measured by a clock that nobody sets, as far as this keeper has lived (counts_age()).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL
#define LOOK_NS  (UINT64_C(1) * NS_PER_S)  /* rotate by itself */
#define WARN_NS  (UINT64_C(60) * NS_PER_S) /* or only say that it should be done */
#define RETRY_NS (UINT64_C(5) * NS_PER_S)
#define TURN_S   5 /* of each member */

#define WAITS_SAID 3 /* acknowledgements take some seconds, of which nothing is said */
#define HOUR_S     3600
#define HOUR_MAX   8 /* new keys of a name by number */

/*
 * Numbers come from servers, and one that was taken over could fill the store with keys that nobody can
 * throw away at once. What rotates so often by honest numbers loses nothing if the next key has to wait.
 */
static bool too_often(const struct keeper *k, const char *name)
{
	const struct list *head = keyset_list(k->keys);
	unsigned int n = 0;

	for (const struct list *i = head->next; i != head; i = i->next) {
		const struct keyset_key *key = list_entry(i, struct keyset_key, link);

		if (counts_is_ahead(k, &key->rec))
			continue; /* a clock that was ahead has made it, nobody knows when */
		n += strcmp(key->rec.info.name, name) == 0 && counts_age(k, &key->rec) <= HOUR_S;
	}
	return n >= HOUR_MAX;
}

static const char by_number[] = "number of encryptions";

uint64_t rotation_limit(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	uint64_t members = doc && doc->n_members > 1 ? doc->n_members : 1;
	uint64_t share = k->conf->config->rotation.max_encryptions / members;

	return share > 0 ? share : 1;
}

/* A key that an earlier try, or another member, has staged is taken up. */
static int rotate_now(struct keeper *k, const char *name, struct keydoc_refusal *why)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	const struct keyset_key *key;
	bool portable;
	int r;

	if (cluster_outcome(k, KEYDOC_ACTIVATE, NULL, why)) {
		key = keyset_find(k->keys, cluster_outcome_key(k)->info.id);
		r = why->r == 0 && !key ? -ENOKEY : why->r;
	} else {
		/* Members may have different custodies: a key that all of them can open is replaced by another such. */
		portable = doc && doc->n_members > 1 && keyset_active(k->keys, name, &key) == 0 &&
			   key->rec.info.kind == KEY_KIND_SEALED;
		r = portable ? keeper_stage_portable(k, name, why, &key)
			     : keeper_stage(k, name, why, &key);
		if (r == 0)
			keeper_audit_key(k, NULL, key, "created by automatic rotation");
		if (r == 0 || r == -EALREADY)
			r = keeper_step(k, KEYDOC_ACTIVATE, key->rec.info.id, why);
	}
	if (r == 0) {
		keeper_audit_key(k, NULL, key, "activated by automatic rotation");
		log_notice("key %s: activated, activation %u, by automatic rotation",
			   key->rec.info.label, key->rec.info.activation);
	}
	return r;
}

/* Until a change on its way to etcd has its outcome, k->rotating has the name. */
static int rotate(struct keeper *k, const char *name)
{
	struct keydoc_refusal why = { 0 };
	int r = rotate_now(k, name, &why);

	if (r == -EINPROGRESS) {
		snprintf(k->rotating, sizeof(k->rotating), "%s", name);
		return r;
	}
	*k->rotating = '\0';
	k->rotate_waits = r < 0 && why.waits ? k->rotate_waits + 1 : 0;
	if (k->rotate_waits == WAITS_SAID)
		log_notice("key \"%s\": automatic rotation waits: %s", name, why.text);
	else if (r < 0 && r != k->rotate_r && !why.waits)
		log_error("key \"%s\": automatic rotation failed, and is tried again: %s", name,
			  why.text);
	k->rotate_r = r;
	return r;
}

void rotation_resume(struct keeper *k)
{
	char name[sizeof(k->rotating)];

	if (!*k->rotating)
		return;
	memcpy(name, k->rotating, sizeof(name));
	k->resumed = true;
	rotate(k, name);
	k->resumed = false;
}

/*
 * All members see at the same time that a key is old. Each tries in its turn, so that they do not all make a key; if two
 * try at once, as their clocks differ, etcd takes the change of one.
 */
static bool is_turn(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	uint64_t turn = (uint64_t)time(NULL) / TURN_S;

	return !doc || doc->n_members <= 1 ||
	       memcmp(doc->members[turn % doc->n_members].id, keyset_self(k->keys)->id,
		      KEYDOC_NODE) == 0;
}

static void say_ahead(struct keeper *k, const struct keyset_key *key)
{
	char when[32] = "?";
	struct tm tm;

	if (!counts_is_ahead(k, &key->rec) ||
	    memcmp(k->ahead, key->rec.info.id, sizeof(k->ahead)) == 0)
		return;
	memcpy(k->ahead, key->rec.info.id, sizeof(k->ahead));
	if (gmtime_r(&key->rec.info.created, &tm))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	log_warning(
		"key %s was made at %s, which this machine's clock has not reached: its age counts from "
		"the start of this kekd. Put the clock right, or rotate the key: kekctl key rotate %s",
		key->rec.info.label, when, key->rec.info.name);
}

static int look_at(struct keeper *k, const char *name)
{
	const struct config_rotation *c = &k->conf->config->rotation;
	const struct keydoc *doc = keyset_doc(k->keys);
	const struct keyset_key *key;
	const char *reason;

	if (keyset_active(k->keys, name, &key) < 0)
		return 0;
	say_ahead(k, key);
	if (c->max_age > 0 && counts_age(k, &key->rec) >= c->max_age / NS_PER_S)
		reason = "age";
	else if (counts_of(k, key->rec.info.id)->encryptions >= rotation_limit(k) ||
		 key->rec.uses >= KEKD_KEY_LIMIT / 4 || counts_spent(k, &key->rec))
		reason = by_number;
	else
		return 0;
	/* By itself: not where people carry the document from one member to the next. */
	if (!c->automatic || (doc && doc->n_members > 1 && doc->carrier != KEYDOC_ETCD)) {
		if (memcmp(k->warned, key->rec.info.id, sizeof(k->warned)) != 0)
			log_warning("key %s should be rotated for its %s: kekctl key rotate %s",
				    key->rec.info.label, reason, name);
		memcpy(k->warned, key->rec.info.id, sizeof(k->warned));
		return 0;
	}
	if (!is_turn(k) || !keyset_may_write(k->keys))
		return 0;
	if (reason == by_number && too_often(k, name)) {
		if (k->rotate_r != -EDQUOT)
			log_warning("key %s should be rotated for its %s, but its name has had %d "
				    "new keys within an hour: it is rotated when that has passed. "
				    "Look at rotation.maxEncryptions",
				    key->rec.info.label, reason, HOUR_MAX);
		k->rotate_r = -EDQUOT;
		return -EDQUOT;
	}
	return rotate(k, name);
}

/* A failure is not tried again at once: a full disk does not get emptier by that. */
void rotation_tick(struct keeper *k, uint64_t now)
{
	const struct encconf *e = k->conf->enc;
	int r = 0;

	if (k->sealed < 0 || server_serving(k) == 0 || now < k->rotate_at_ns || *k->rotating)
		return;
	k->rotate_at_ns = now + (k->conf->config->rotation.automatic ? LOOK_NS : WARN_NS);
	log_debug("timer: rotation looks at the active keys");
	for (size_t i = 0; i < e->items_count; i++)
		for (size_t j = 0; j < e->items[i].providers_count; j++)
			if (e->items[i].providers[j].keys_count > 0 &&
			    e->items[i].providers[j].kind != ENCCONF_SECRETBOX)
				r |= look_at(k, e->items[i].providers[j].keys[0].name);
	if (r < 0)
		k->rotate_at_ns = now + RETRY_NS;
}
