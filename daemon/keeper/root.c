/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key is rotated. The new one comes as the first did, into locked memory and from there into the kernel, and
 * stands beside the old one: this node can then make and check MACs under both. kekctl, which has the bytes of both
 * for that long, seals each key anew (ctl/rewrap.c); this process reads no key and cannot. It proves what kekctl brings:
 * each blob opens under the new root and is the key of its record. What follows is the keyset's (keys/keydoc_next.h,
 * rule 9).
 *
 * Who is in this process when a root is given has it, at a rotation as at a start.
 */
#include <errno.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/rootbytes.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

static void second_drop(struct keeper *k)
{
	if (k->keys)
		(void)keyset_second(k->keys, NULL);
	root_key_free(move_ptr(k->second));
}

void root_followed(struct keeper *k)
{
	char id[2 * KEY_ROOT_ID + 1];

	switch (keyset_second_end(k->keys)) {
	case KEYSET_SECOND_FIRST:
		root_key_free(k->root);
		k->root = move_ptr(k->second);
		custody_root_id(k, id);
		log_notice("root key %s is the only one from now on; the one before it is gone",
			   id);
		keeper_audit_root(k, NULL, "root key rotated", 0);
		escrow_load(k);
		break;
	case KEYSET_SECOND_OVER:
		second_drop(k);
		custody_root_id(k, id);
		log_notice("root key %s is the only one", id);
		break;
	default:
		break;
	}
}

void root_second_id(const struct keeper *k, char ret[static 2 * KEY_ROOT_ID + 1])
{
	*ret = '\0';
	if (k->keys && keyset_second_id(k->keys))
		key_hex(keyset_second_id(k->keys), KEY_ROOT_ID, ret);
}

void root_rotation_ids(const struct keeper *k, char ret_from[static 2 * KEY_ROOT_ID + 1],
		       char ret_to[static 2 * KEY_ROOT_ID + 1])
{
	const struct keydoc *doc = k->keys ? keyset_doc(k->keys) : NULL;

	*ret_from = *ret_to = '\0';
	if (doc && doc->rotating) {
		key_hex(doc->root, KEY_ROOT_ID, ret_from);
		key_hex(doc->next_root, KEY_ROOT_ID, ret_to);
	}
}

/* The one that is there already, or none that the document asks for. */
static int second_fits(const struct keeper *k, const uint8_t id[static KEY_ROOT_ID],
		       struct keydoc_refusal *why)
{
	const struct keydoc *doc = keyset_doc(k->keys);
	char hex[2 * KEY_ROOT_ID + 1], one[2 * KEY_ROOT_ID + 1], two[2 * KEY_ROOT_ID + 1];
	char first[2 * KEY_ROOT_ID + 1];

	key_hex(id, KEY_ROOT_ID, hex);
	custody_root_id(k, first);
	if (strcmp(hex, first) == 0 ||
	    (keyset_second_id(k->keys) && memcmp(keyset_second_id(k->keys), id, KEY_ROOT_ID) == 0))
		return keydoc_refuse(why, -EALREADY, "this node has the root key %s", hex);
	if (!doc->rotating || keydoc_has_root(doc, id))
		return 0;
	key_hex(doc->root, KEY_ROOT_ID, one);
	key_hex(doc->next_root, KEY_ROOT_ID, two);
	return keydoc_refuse(
		why, -EKEYREJECTED,
		"that is the root key %s, and the keyset is being rotated from %s to %s", hex, one,
		two);
}

static int second_set(struct keeper *k, struct root_key **root, struct keydoc_refusal *why)
{
	int r = keyset_second(k->keys, *root);

	if (r < 0)
		return keydoc_refuse(why, r, "%s", errno_text(r));
	k->second = move_ptr(*root);
	return 0;
}

/* What it is called only the kernel can tell, when it has it. A second root that was there gives way to it. */
static int sealed_take(struct keeper *k, struct span sealed, struct keydoc_refusal *why)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	int r = custody_second_trusted(k, sealed, &root);

	if (r == -EEXIST)
		return keydoc_refuse(why, -EALREADY, "this node has that root key");
	if (r < 0)
		return keydoc_refuse(why, r, "the root key cannot be loaded: %s. %s", errno_text(r),
				     custody_root_cure(k, true, r));
	r = second_fits(k, root_key_id(root), why);
	if (r < 0)
		return r;
	second_drop(k);
	return second_set(k, &root, why);
}

static int second_take(struct keeper *k, struct span secret, struct keydoc_refusal *why)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	_cleanup_(root_bytes_freep) struct root_bytes *bytes = NULL;
	struct keydoc_root named;
	int r;

	/* Its name tells whether there is one like it. */
	r = root_bytes_new(secret, &bytes);
	if (r == 0) {
		root_bytes_root(bytes, &named);
		r = second_fits(k, named.id, why);
		if (r < 0)
			return r;
		second_drop(k);
		r = custody_second_new(k, secret, &root);
	}
	if (r < 0)
		return keydoc_refuse(why, r, "the root key cannot be loaded: %s. %s", errno_text(r),
				     custody_root_cure(k, false, r));
	return second_set(k, &root, why);
}

int admin_root_next(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct op_peer *peer = admin_client_peer(c);
	struct span secret = admin_client_blob(c);
	char id[2 * KEY_ROOT_ID + 1];
	struct keydoc_refusal why;
	int r = keeper_ready(k, &why);

	if (r == 0 && k->conf->config->root_source == CONFIG_ROOT_EPHEMERAL)
		r = keydoc_refuse(
			&why, -EOPNOTSUPP,
			"an ephemeral root key ends with its daemon: there is nothing to rotate");
	if (r == 0 && (secret.len < SECRET_MIN || secret.len > SECRET_MAX))
		r = keydoc_refuse(&why, -EINVAL, "a root key has %d to %d bytes", SECRET_MIN,
				  SECRET_MAX);
	if (r == 0)
		r = req->flags & ADMIN_SEALED ? sealed_take(k, secret, &why)
					      : second_take(k, secret, &why);
	if (r < 0 && r != -EALREADY)
		keeper_audit_root(k, peer, "second root key refused", r);
	if (r < 0)
		return admin_refuse(c, &why);
	root_second_id(k, id);
	log_notice("audit: root key %s stands beside the first, asked by uid %u, pid %d", id,
		   peer->uid, peer->pid);
	keeper_audit_root(k, peer, "second root key taken", 0);
	cluster_hurry(k);
	return admin_end(c, 0, "");
}

/* "key ID" and "blob BLOB", for each key. */
static int blobs_take(struct span text, struct keydoc_blob *blobs, size_t *ret_n)
{
	struct span id, blob;
	size_t n = 0;

	for (; text.len > 0; n++) {
		if (n == KEKD_KEYS_MAX || text_take(&text, "key", &id) < 0 ||
		    text_hex(id, blobs[n].id, sizeof(blobs[n].id)) < 0 ||
		    text_take(&text, "blob", &blob) < 0 ||
		    text_plain(blob, blobs[n].blob, sizeof(blobs[n].blob)) < 0)
			return -EINVAL;
	}
	*ret_n = n;
	return 0;
}

/* What kekctl has brought is what it says, key by key. */
static int blobs_prove(const struct keeper *k, const struct keydoc_blob *blobs, size_t n,
		       struct keydoc_refusal *why)
{
	const struct keydoc *doc = keyset_doc(k->keys);

	if (!keyset_second_id(k->keys))
		return keydoc_refuse(why, -ENOKEY,
				     "this node has no second root key: `kekctl root next`");
	for (size_t i = 0; i < n; i++) {
		const struct key_record *rec = keydoc_key(doc, blobs[i].id);
		int r = rec ? keyset_prove_second(k->keys, rec, blobs[i].blob) : 0;

		if (r < 0 && r != -EOPNOTSUPP)
			return keydoc_refuse(
				why, r,
				"key %s, sealed anew, does not open under the new root key, or is "
				"another one: %s. Nothing was changed",
				rec->info.label, errno_text(r));
	}
	return 0;
}

static int rotation_begin(struct keeper *k, struct span text, struct keydoc_refusal *why)
{
	_cleanup_free_ struct keydoc_blob *blobs = calloc(KEKD_KEYS_MAX, sizeof(*blobs));
	struct keydoc_change change = { .kind = KEYDOC_ROOT_BEGIN, .blobs = blobs };
	int r;

	if (!blobs)
		return keydoc_refuse(why, -ENOMEM, "out of memory; nothing was changed");
	if (blobs_take(text, blobs, &change.n_blobs) < 0)
		return keydoc_refuse(
			why, -EINVAL,
			"what came is no list of keys: are kekctl and kekd of one version?");
	r = keeper_ready(k, why);
	if (r == 0 && !k->resumed && !keyset_doc(k->keys)->rotating)
		r = blobs_prove(k, blobs, change.n_blobs, why);
	if (r < 0)
		return r;
	if (keyset_second_id(k->keys))
		memcpy(change.root, keyset_second_id(k->keys), sizeof(change.root));
	return keeper_change(k, &change, why);
}

int admin_root_rotate(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct op_peer *peer = admin_client_peer(c);
	struct span text = admin_client_blob(c);
	struct keydoc_change change = { .kind = req->flags & ADMIN_DISCARD ? KEYDOC_ROOT_ABORT
									   : KEYDOC_ROOT_END };
	struct keydoc_refusal why;
	const char *what;
	int r;

	if (text.len > 0)
		change.kind = KEYDOC_ROOT_BEGIN;
	what = change.kind == KEYDOC_ROOT_BEGIN ? "rotation of the root key begun"
	       : change.kind == KEYDOC_ROOT_END ? "rotation of the root key ended"
						: "rotation of the root key given up";
	r = change.kind == KEYDOC_ROOT_BEGIN ? rotation_begin(k, text, &why)
					     : keeper_change(k, &change, &why);
	if (r < 0)
		return admin_refuse(c, &why);
	log_notice("audit: %s, asked by uid %u, pid %d", what, peer->uid, peer->pid);
	keeper_audit_root(k, peer, what, 0);
	if (keyset_doc(k->keys)->carrier != KEYDOC_HAND)
		return admin_end(c, 0, "");
	return admin_end(c, 0,
			 change.kind == KEYDOC_ROOT_BEGIN
				 ? "both root keys open the keyset: bring it to every node"
				 : "bring the keyset to every node");
}
