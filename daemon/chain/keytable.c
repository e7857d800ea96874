/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list, searched from the newest key: a node has a handful of keys, and the active one and the
 * one before it serve nearly everything.
 */
#include "daemon/chain/keytable.h"

#include <errno.h>
#include <string.h>

#include "daemon/crypto/engine.h"
#include "daemon/keys/softkey.h"

struct keytable {
	struct list keys;
	unsigned int count;
	int unknown;   /* why a key that is not here cannot be used */
	int unwritten; /* why nothing is written where no key is active */
	char sealed_text[KEYTABLE_TEXT];
};

int keytable_new(struct keytable **ret)
{
	struct keytable *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	list_init(&t->keys);
	t->unknown = t->unwritten = -ENOKEY;
	*ret = t;
	return 0;
}

void keytable_free(struct keytable *t)
{
	if (!t)
		return;
	list_for_each_safe (n, &t->keys) {
		struct chain_key *k = list_entry(n, struct chain_key, link);

		list_del(n);
		if (k->engine)
			engine_key_remove(k->engine);
		softkey_free(k->soft);
		free(k);
	}
	free(t);
}

struct chain_key *keytable_find(struct keytable *t, const uint8_t id[static KEKD_KEY_ID])
{
	list_for_each (n, &t->keys) {
		struct chain_key *k = list_entry(n, struct chain_key, link);

		if (memcmp(k->info.id, id, KEKD_KEY_ID) == 0)
			return k;
	}
	return NULL;
}

static struct chain_key *find_label(struct keytable *t, struct span label)
{
	list_for_each (n, &t->keys) {
		struct chain_key *k = list_entry(n, struct chain_key, link);

		if (span_equal(span_str(k->info.label), label))
			return k;
	}
	return NULL;
}

int keytable_put(struct keytable *t, const struct key_info *info, struct engine_key *engine)
{
	struct chain_key *k = keytable_find(t, info->id);
	struct chain_key *same = find_label(t, span_str(info->label));

	if (same && same != k && info->kind != KEY_KIND_IMPORTED)
		return -EEXIST;
	if (!k) {
		if (t->count >= KEKD_KEYS_MAX)
			return -ENOBUFS;
		k = calloc(1, sizeof(*k));
		if (!k)
			return -ENOMEM;
		k->why = -EKEYREVOKED;
		list_add_head(&t->keys, &k->link);
		t->count++;
	}
	k->info = *info;
	key_id_format(info, k->key_id);
	if (engine) {
		if (k->engine)
			engine_key_remove(k->engine);
		k->engine = engine;
	}
	return 0;
}

int keytable_put_soft(struct keytable *t, const uint8_t id[static KEKD_KEY_ID],
		      struct softkey *soft)
{
	struct chain_key *k = keytable_find(t, id);

	if (!k)
		return -ENOKEY;
	softkey_free(k->soft);
	k->soft = soft;
	return 0;
}

static bool is_usable(const struct chain_key *k)
{
	return k->info.secretbox ? k->soft != NULL : k->engine != NULL;
}

void keytable_seal(struct keytable *t, int why, const char *text)
{
	t->unwritten = why < 0 ? why : -ENOKEY;
	t->unknown = why == -ESTALE ? -ENOKEY : t->unwritten;
	snprintf(t->sealed_text, sizeof(t->sealed_text), "%s", text);
}

const char *keytable_sealed_text(const struct keytable *t)
{
	return t->sealed_text;
}

int keytable_unknown(const struct keytable *t)
{
	return t->unknown;
}

int keytable_withdraw(struct keytable *t, const uint8_t id[static KEKD_KEY_ID], int why)
{
	struct chain_key *k = keytable_find(t, id);

	if (!k)
		return -ENOKEY;
	k->why = why;
	if (k->engine)
		engine_key_remove(move_ptr(k->engine));
	softkey_free(move_ptr(k->soft));
	return 0;
}

int keytable_active(struct keytable *t, const char *name, struct chain_key **ret)
{
	struct chain_key *found = NULL;

	list_for_each (n, &t->keys) {
		struct chain_key *k = list_entry(n, struct chain_key, link);

		if (k->info.state == KEY_ACTIVE && strcmp(k->info.name, name) == 0 &&
		    (!found || k->info.activation > found->info.activation))
			found = k;
	}
	if (!found)
		return t->unwritten;
	if (!is_usable(found))
		return found->why;
	if (found->spent)
		return -EDQUOT;
	*ret = found;
	return 0;
}

int chain_key_opens(const struct chain_key *k)
{
	if (k->info.state == KEY_RETIRED || k->info.state == KEY_DESTROYED)
		return -EKEYREJECTED;
	return is_usable(k) ? 0 : k->why;
}

struct list *keytable_list(struct keytable *t)
{
	return &t->keys;
}
