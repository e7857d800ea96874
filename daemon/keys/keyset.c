/* SPDX-License-Identifier: Apache-2.0 */
/* At most KEKD_KEYS_MAX keys, looked up a few times a minute by the keeper: one list is enough. */
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/random.h"
#include "daemon/keys/keyset_private.h"
#include "daemon/sys/afalg.h"

#define NODE_FIRST    "kekd-node 1\n"
#define NODE_TEXT_MAX 128

/* A name that a document can hold, whatever the machine is called. */
static void self_name(struct keydoc_member *self, const char *name)
{
	size_t n = 0;

	for (; *name && n < sizeof(self->name) - 1; name++, n++) {
		bool fits = strchr(TEXT_NAME_CHARS, *name) && (n > 0 || *name != '-');

		self->name[n] = fits ? *name : 'x';
	}
	self->name[n] = '\0';
	if (n == 0)
		snprintf(self->name, sizeof(self->name), "node");
}

static int node_make(struct keyset *set)
{
	char hex[2 * KEYDOC_NODE + 1], text[NODE_TEXT_MAX];
	int r, n;

	r = random_bytes(set->self.id, sizeof(set->self.id));
	if (r < 0 || !set->store)
		return r;
	key_hex(set->self.id, sizeof(set->self.id), hex);
	n = snprintf(text, sizeof(text), NODE_FIRST "id %s\n", hex);
	return key_store_write(set->store, KEY_STORE_NODE, text, (size_t)n);
}

/* The node id is made on an empty disk and lost with it: so is the membership. */
static int node_read(struct keyset *set)
{
	_cleanup_free_ char *text = NULL;
	struct span rest, v;
	size_t len;
	int r;

	r = set->store ? key_store_read(set->store, KEY_STORE_NODE, NODE_TEXT_MAX, &text, &len)
		       : -ENOENT;
	if (r == -ENOENT)
		return node_make(set);
	if (r < 0)
		return r;
	rest = span_of(text, len);
	if (!span_starts_with(rest, span_str(NODE_FIRST)))
		return -EINVAL;
	rest = span_skip(rest, strlen(NODE_FIRST));
	if (text_take(&rest, "id", &v) < 0 || rest.len > 0)
		return -EINVAL;
	return text_hex(v, set->self.id, sizeof(set->self.id));
}

int keyset_new(struct key_store *store, const struct root_key *root, const char *name,
	       struct keyset **ret)
{
	_cleanup_(keyset_freep) struct keyset *set = NULL;
	int r;

	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	list_init(&set->keys);
	set->store = store;
	set->root = root;
	set->kind = root && root_key_is_by_value(root) ? KEY_KIND_SEALED : KEY_KIND_ENCRYPTED;
	set->why = keyset_is_sealed(set) ? -EKEYEXPIRED : -ENODATA;
	self_name(&set->self, name);
	r = node_read(set);
	if (r < 0) {
		log_error(
			"key store %s: the file \"node\" cannot be used: %s; it holds this machine's "
			"node id. Restore it, or remove it to be another node",
			key_store_path(store), errno_text(r));
		return r;
	}
	*ret = move_ptr(set);
	return 0;
}

void keyset_free(struct keyset *set)
{
	if (!set)
		return;
	list_for_each_safe (n, &set->keys) {
		list_del(n);
		keyset_key_free(keyset_entry(n));
	}
	keydoc_free(set->doc);
	free(set->text);
	free(set);
}

int keyset_why(const struct keyset *set)
{
	return set->why;
}

const char *keyset_why_text(const struct keyset *set)
{
	switch (set->why) {
	case 0:
		return "";
	case -ENODATA:
		return "this machine has no keyset yet: make its first key with `kekctl key create "
		       "NAME`, or take one with `kekctl keyset apply` or `kekctl restore`";
	case -EKEYEXPIRED:
		return "sealed: the root key is not loaded";
	case -EKEYREJECTED:
		return "the keyset of this machine is sealed under another root key: give kekd that "
		       "one; nothing is made or written under this one";
	case -EPROTONOSUPPORT:
		return "the keyset of this machine was written by a newer version of kekd: run that "
		       "one; nothing is made or written by this one";
	default:
		return "the keyset of this machine is damaged, and so is the one before it: bring one "
		       "back with `kekctl restore FILE`; nothing is written until then";
	}
}

const uint8_t *keyset_other_root(const struct keyset *set)
{
	return set->other_root;
}

bool keyset_is_previous(const struct keyset *set)
{
	return set->previous;
}

const struct keydoc *keyset_doc(const struct keyset *set)
{
	return set->doc;
}

int keyset_text(const struct keyset *set, struct span *ret)
{
	if (!set->doc)
		return set->why;
	*ret = span_of(set->text, set->text_len);
	return 0;
}

const struct keydoc_member *keyset_self(const struct keyset *set)
{
	return &set->self;
}

bool keyset_may_write(const struct keyset *set)
{
	const struct keydoc_member *me = set->doc ? keydoc_member(set->doc, set->self.id) : NULL;

	return me && !me->leaving && !(set->previous && set->doc->n_members > 1);
}

bool keyset_is_empty(const struct keyset *set)
{
	if (!set->doc)
		return set->why == -ENODATA;
	return set->doc->n_keys == 0 && set->doc->n_gone == 0 && set->doc->n_members == 1 &&
	       set->doc->generation == 1;
}

static int keyset_mac(const void *root, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	return root_key_mac(root, in, ret);
}

struct keydoc_root keyset_root_of(const struct root_key *root)
{
	return (struct keydoc_root){ keyset_mac, root, root_key_id(root), NULL };
}

bool keyset_root(const struct keyset *set, struct keydoc_root *ret)
{
	if (keyset_is_sealed(set))
		return false;
	*ret = keyset_root_of(set->root);
	if (keyset_second_id(set))
		ret->also = &set->second_mac;
	return true;
}

int keyset_active(const struct keyset *set, const char *name, const struct keyset_key **ret)
{
	const struct key_record *rec = set->doc ? keydoc_active(set->doc, name) : NULL;
	const struct keyset_key *key = rec ? keyset_find(set, rec->info.id) : NULL;

	if (!set->doc && set->why != -ENODATA)
		return set->why;
	if (set->doc && !keyset_may_write(set))
		return -EPERM;
	if (!key)
		return -ENOKEY;
	if (key->why < 0)
		return key->why;
	*ret = key;
	return 0;
}

const struct keyset_key *keyset_staged(const struct keyset *set, const char *name)
{
	list_for_each (n, &set->keys)
		if (keyset_entry(n)->rec.info.state == KEY_STAGED &&
		    strcmp(keyset_entry(n)->rec.info.name, name) == 0)
			return keyset_entry(n);
	return NULL;
}

const struct keyset_key *keyset_find(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID])
{
	list_for_each (n, &set->keys)
		if (memcmp(keyset_entry(n)->rec.info.id, id, KEKD_KEY_ID) == 0)
			return keyset_entry(n);
	return NULL;
}

const struct list *keyset_list(const struct keyset *set)
{
	return &set->keys;
}

int keyset_reload(struct keyset *set, keyset_gone_fn *back, void *ctx)
{
	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

		if (!key_state_opens(key->rec.info.state) || key->why == 0)
			continue;
		keyset_key_load(set, key);
		if (key->why == 0)
			back(ctx, key);
	}
	return 0;
}

void keyset_notes(struct keyset *set, int notes)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);

		if (key->kek)
			keyring_notes_watch(notes, kek_serial(key->kek), &key->watched);
	}
}

void keyset_poll(struct keyset *set, keyset_gone_fn *gone, void *ctx)
{
	list_for_each (n, &set->keys) {
		struct keyset_key *key = keyset_entry(n);
		int r;

		if (key->why < 0)
			continue;
		r = keyset_key_alive(key);
		if (r == 0)
			continue;
		keyset_key_drop(key);
		key->why = r;
		log_error("key %s was withdrawn: %s", key->rec.info.label, afalg_cure(key->why));
		gone(ctx, key);
	}
}
