/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rotation that needs nobody to ask for it, by age and by number. It is for a machine that is alone:
 * where there are several members, each has to acknowledge the new key before one writes with it, and
 * somebody has to carry the document; then only what is due is said.
 *
 * Ages are measured by a clock that nobody sets, as far as this keeper has lived (counts_age()).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL
#define LOOK_NS  (UINT64_C(1) * NS_PER_S)  /* rotate by itself */
#define WARN_NS  (UINT64_C(60) * NS_PER_S) /* or only say that it should be done */
#define RETRY_NS (UINT64_C(5) * NS_PER_S)
#define HOUR_S   3600
#define HOUR_MAX 8 /* new keys of a name by number */

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

/* NULL, or why @key has done enough. */
static const char *due(const struct keeper *k, const struct keyset_key *key)
{
	const struct config_rotation *c = &k->conf->config->rotation;

	if (c->max_age > 0 && counts_age(k, &key->rec) >= c->max_age / NS_PER_S)
		return "age";
	if (counts_of(k, key->rec.info.id)->encryptions >= c->max_encryptions ||
	    key->rec.uses >= KEKD_KEY_LIMIT / 4 || counts_spent(k, &key->rec))
		return by_number;
	return NULL;
}

/* A key that an earlier try has staged is taken up. */
static int rotate_now(struct keeper *k, const struct keyset_key *old, struct keydoc_refusal *why)
{
	const struct keyset_key *key;
	int r;

	r = keeper_stage(k, old->rec.info.name, why, &key);
	if (r == 0)
		keeper_audit_key(k, NULL, key, "created by automatic rotation");
	if (r < 0 && r != -EALREADY)
		return r;
	r = keeper_step(k, KEYDOC_ACTIVATE, key->rec.info.id, why);
	if (r == 0) {
		keeper_audit_key(k, NULL, key, "activated by automatic rotation");
		log_notice("key %s: activated, activation %u, by automatic rotation",
			   key->rec.info.label, key->rec.info.activation);
	}
	return r;
}

static int rotate(struct keeper *k, const struct keyset_key *old, const char *reason)
{
	char label[KEKD_LABEL_MAX];
	struct keydoc_refusal why;
	int r;

	memcpy(label, old->rec.info.label, sizeof(label));
	r = reason == by_number && too_often(k, old->rec.info.name) ? -EDQUOT
								    : rotate_now(k, old, &why);
	if (r == -EDQUOT && r != k->rotate_r)
		log_warning("key %s should be rotated for its %s, but its name has had %d new keys "
			    "within an hour: it is rotated when that has passed. Look at "
			    "rotation.maxEncryptions",
			    label, reason, HOUR_MAX);
	else if (r < 0 && r != -EDQUOT && r != k->rotate_r)
		log_error("key %s: automatic rotation failed, and is tried again: %s", label,
			  why.text);
	k->rotate_r = r;
	return r;
}

static bool is_alone(const struct keeper *k)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	return !doc || (doc->n_members <= 1 && doc->carrier != KEYDOC_ETCD);
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
	const struct keyset_key *key;
	uint8_t id[KEKD_KEY_ID];
	const char *why;
	int r = 0;

	if (keyset_active(k->keys, name, &key) < 0)
		return 0;
	say_ahead(k, key);
	why = due(k, key);
	if (!why)
		return 0;
	memcpy(id, key->rec.info.id, sizeof(id));
	if (k->conf->config->rotation.automatic && is_alone(k))
		r = rotate(k, key, why);
	else if (memcmp(k->warned, id, sizeof(id)) != 0)
		log_warning("key %s should be rotated for its %s: kekctl key rotate %s",
			    key->rec.info.label, why, name);
	memcpy(k->warned, id, sizeof(id));
	return r;
}

/* A failure is not tried again at once: a full disk does not get emptier by that. */
void rotation_tick(struct keeper *k, uint64_t now)
{
	const struct encconf *e = k->conf->enc;
	int r = 0;

	if (k->sealed < 0 || server_serving(k) == 0 || now < k->rotate_at_ns)
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
