/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When it was last shown that the root key can be brought back from its shares. kekctl, which has them for a moment, shows a
 * MAC; the time is kept in the key store under another, so a root that has changed since is one that nobody has tested.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/keys/escrow.h"

static int escrow_read(struct keeper *k, const struct keydoc_root *root)
{
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;
	int r;

	r = key_store_read(k->store, KEY_STORE_ESCROW, ESCROW_TEXT_MAX, &text, &len);
	return r < 0 ? r : escrow_tested_parse(span_of(text, len), root, &k->escrow_tested, other);
}

void escrow_load(struct keeper *k)
{
	struct keydoc_root root;
	int r;

	k->escrow_tested = 0;
	if (!k->store || !keyset_root(k->keys, &root))
		return;
	root.also = NULL;
	r = escrow_read(k, &root);
	if (r < 0 && r != -ENOENT)
		log_warning(
			"key store: when the shares of this root key were last tested is not known: %s",
			r == -EKEYREJECTED ? "what is written there is of another root key"
					   : errno_text(r));
}

static int escrow_save(struct keeper *k, const struct keydoc_root *root, time_t when)
{
	char text[ESCROW_TEXT_MAX];
	struct keydoc_root tested = *root;
	int r;

	if (!k->store)
		return 0;
	/* What was shown of one root says nothing of the other. */
	tested.also = NULL;
	r = escrow_tested_format(when, &tested, text);
	if (r < 0)
		return r;
	if (k->writes_aside)
		return writes_document(k, KEY_STORE_ESCROW, text, strlen(text));
	return key_store_write(k->store, KEY_STORE_ESCROW, text, strlen(text));
}

int admin_root_verify(struct keeper *k, struct admin_client *c,
		      const struct admin_request *req _unused_)
{
	const struct op_peer *peer = admin_client_peer(c);
	const struct keydoc *doc = keyset_doc(k->keys);
	uint8_t other[KEY_ROOT_ID];
	struct keydoc_root root, first;
	time_t now = time(NULL);
	bool is_first;
	int r;

	if (!doc || !keyset_root(k->keys, &root))
		return admin_end(c, keyset_why(k->keys), keyset_why_text(k->keys));
	first = root;
	first.also = NULL;
	r = escrow_proof_check(admin_client_blob(c), doc->hash, &first, other);
	is_first = r == 0;
	if (r == -EKEYREJECTED && root.also)
		r = escrow_proof_check(admin_client_blob(c), doc->hash, root.also, other);
	log_notice("audit: root key: %s, asked by uid %u, pid %d",
		   r == 0 ? "escrow verified" : "escrow NOT verified", peer->uid, peer->pid);
	keeper_audit_root(k, peer, "escrow verified", r);
	if (r < 0)
		return admin_end(
			c, r,
			r == -EKEYREJECTED || r == -EBADMSG
				? "what these shares give back is not this keyset's root key"
			: r == -ESTALE
				? "the keyset was changed meanwhile: try again"
				: "that is no proof of kekctl's: are kekctl and kekd of one version?");
	if (!is_first)
		return admin_end(
			c, 0,
			"they are of the root key that this keyset is being rotated to: test them once more when it is the only one");
	k->escrow_tested = now;
	r = escrow_save(k, &root, now);
	if (r == 0)
		return admin_end(c, 0, "");
	log_error("key store: when the shares were tested cannot be written: %s", errno_text(r));
	return admin_end(
		c, 0,
		"when that was is lost with the next restart: the key store cannot be written");
}
