/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of keys as the whole daemon takes them: durable in the store, room in the counts, then the
 * server, in that order; and the rotation that needs nobody to ask for it.
 *
 * Automatic rotation is for a node that is alone. Where several nodes read each other's values a
 * new key has to be on all of them before one writes with it; that is `kekctl rotate --peers`, and
 * this stays off.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"

#define NS_PER_S 1000000000LL
#define LOOK_NS  (UINT64_C(1) * NS_PER_S)  /* rotate by itself */
#define WARN_NS  (UINT64_C(60) * NS_PER_S) /* or only say that it should be done */
#define RETRY_NS (UINT64_C(5) * NS_PER_S)
#define HOUR_S   3600
#define HOUR_MAX 8 /* new keys of a name by number */

/* All others of the name, whose states an activation may have changed. */
static void send_others(struct keeper *k, const struct keyset_key *key)
{
	const struct list *head = keyset_list(k->keys);

	for (const struct list *n = head->next; n != head; n = n->next) {
		const struct keyset_key *other = list_entry(n, struct keyset_key, link);

		if (other != key && strcmp(other->rec.name, key->rec.name) == 0)
			server_send_state(k, other);
	}
}

/* Op sockets go along only if the key did not open values before. */
static void send_step(struct keeper *k, const struct keyset_key *key, enum key_state from)
{
	if (keyset_state_opens(from) && keyset_state_opens(key->rec.state))
		server_send_state(k, key);
	else
		server_send_key(k, key);
	if (key->rec.state == KEY_ACTIVE)
		send_others(k, key);
}

int keeper_step(struct keeper *k, const uint8_t id[static KEKD_KEY_ID], enum key_state to,
		uint32_t activation)
{
	const struct keyset_key *key = keyset_find(k->keys, id);
	enum key_state from;
	int r;

	if (!key)
		return -ENOKEY;
	from = key->rec.state;
	r = keyset_step(k->keys, id, to, activation);
	if (r < 0)
		return r;
	counts_reserve(k);
	send_step(k, key, from);
	server_sync(k);
	return 0;
}

int keeper_make(struct keeper *k, const char *name, enum key_state state,
		const struct keyset_key **ret)
{
	const struct keyset_key *key;
	int r;

	r = k->sealed < 0 ? -EKEYEXPIRED : keyset_create(k->keys, name, state, &key);
	if (r < 0)
		return r;
	counts_made(k, key);
	counts_reserve(k);
	server_send_key(k, key);
	if (key->rec.state == KEY_ACTIVE)
		send_others(k, key);
	server_sync(k);
	*ret = key;
	return 0;
}

/*
 * Numbers come from servers, and one that was taken over could fill the store with keys that nobody can
 * throw away at once. What rotates so often by honest numbers loses nothing if the next key has to wait.
 */
static bool too_often(const struct keeper *k, const char *name)
{
	const struct list *head = keyset_list(k->keys);
	time_t since = time(NULL) - HOUR_S;
	unsigned int n = 0;

	for (const struct list *i = head->next; i != head; i = i->next) {
		const struct keyset_key *key = list_entry(i, struct keyset_key, link);

		n += strcmp(key->rec.name, name) == 0 && key->rec.created >= since;
	}
	return n >= HOUR_MAX;
}

static const char by_number[] = "number of encryptions";

/* NULL, or why @key has done enough. */
static const char *due(const struct keeper *k, const struct keyset_key *key)
{
	const struct config_rotation *c = &k->conf->config->rotation;

	if (c->max_age > 0 && time(NULL) - key->rec.created >= c->max_age / NS_PER_S)
		return "age";
	if (counts_of(k, key->rec.id)->encryptions >= c->max_encryptions)
		return by_number;
	return NULL;
}

/* The key that the last try has made and could not activate, or a new one. */
static int next_key(struct keeper *k, const char *name, const struct keyset_key **ret)
{
	const struct keyset_key *key = keyset_find(k->keys, k->made);
	int r;

	if (!key || key->rec.state != KEY_STAGED || strcmp(key->rec.name, name) != 0) {
		r = keeper_make(k, name, KEY_STAGED, &key);
		if (r < 0)
			return r;
		memcpy(k->made, key->rec.id, sizeof(k->made));
		log_debug("key %s: made by automatic rotation", key->rec.label);
		keeper_audit_key(k, NULL, key, "created by automatic rotation");
	}
	*ret = key;
	return 0;
}

static int rotate(struct keeper *k, const struct keyset_key *old, const char *why)
{
	const struct keyset_key *key;
	int r;

	r = why == by_number && too_often(k, old->rec.name) ? -EDQUOT
							    : next_key(k, old->rec.name, &key);
	if (r == 0)
		r = keeper_step(k, key->rec.id, KEY_ACTIVE, 0);
	if (r == -EDQUOT && r != k->rotate_r)
		log_warning("key %s should be rotated for its %s, but its name has had %d new keys "
			    "within an hour: it is rotated when that has passed. Look at "
			    "rotation.maxEncryptions",
			    old->rec.label, why, HOUR_MAX);
	else if (r < 0 && r != k->rotate_r)
		log_error("key %s: automatic rotation failed, and is tried again: %s",
			  old->rec.label, errno_text(r));
	else if (r < 0)
		log_debug("key %s: automatic rotation failed once more", old->rec.label);
	k->rotate_r = r;
	if (r < 0)
		return r;
	keeper_audit_key(k, NULL, key, "activated by automatic rotation");
	log_notice("audit: key %s: activated, now active, activation %u; by automatic "
		   "rotation of %s for its %s",
		   key->rec.label, key->rec.activation, old->rec.label, why);
	return 0;
}

static int look_at(struct keeper *k, const char *name)
{
	const struct keyset_key *key;
	const char *why;
	int r = 0;

	if (keyset_active(k->keys, name, &key) < 0)
		return 0;
	why = due(k, key);
	if (!why)
		return 0;
	if (k->conf->config->rotation.automatic)
		r = rotate(k, key, why);
	else if (memcmp(k->warned, key->rec.id, sizeof(k->warned)) != 0)
		log_warning("key %s should be rotated for its %s: kekctl key rotate, or with "
			    "several nodes kekctl rotate --peers",
			    key->rec.label, why);
	memcpy(k->warned, key->rec.id, sizeof(k->warned));
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
