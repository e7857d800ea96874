/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin commands for what nodes share (kekctl rotate --peers): give a sealed record, take one,
 * answer a probe. No message carries a key: a record is ciphertext under the root that the nodes
 * share, a probe one AES block that no message has.
 */
#include <errno.h>

#include "daemon/base/log.h"
#include "daemon/keeper/admin_client.h"
#include "daemon/keeper/keeper_private.h"

int admin_record_get(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	const struct keyset_key *key = keyset_find(k->keys, req->id);
	char text[KEY_RECORD_TEXT_MAX];
	size_t len;
	int r;

	r = key ? key_record_format(&key->rec, text, sizeof(text), &len) : -ENOKEY;
	return r < 0 ? admin_end(c, r, errno_text(r)) : admin_end_with(c, ADMIN_TEXT, text, len);
}

static const char *put_text(int r)
{
	switch (r) {
	case -EEXIST:
		return "another key has that id or label";
	case -EKEYREJECTED:
		return "the record is sealed by another root key, or destroyed";
	case -EPERM:
	case -EINVAL:
	case -EBADMSG:
		return "not a record of a key that opens here";
	case -ERANGE:
		return "the record's activation number is too large to be one of kekd's";
	default:
		return errno_text(r);
	}
}

int admin_record_put(struct keeper *k, struct admin_client *c,
		     const struct admin_request *req _unused_)
{
	const struct keyset_key *key;
	struct span text = admin_client_blob(c);
	struct key_record rec;
	unsigned int line;
	int r;

	r = key_record_parse((const char *)text.data, text.len, &rec, &line);
	if (r == 0)
		r = keyset_adopt(k->keys, &rec, &key);
	if (r == -EALREADY)
		return admin_end(c, 0, "");
	if (r < 0)
		return admin_end(c, r, put_text(r));
	counts_touch(k, key); /* where it comes from it may be in use */
	server_send_key(k, key);
	server_sync(k);
	admin_audit(k, c, key, "taken from another node");
	return admin_end(c, 0, "");
}

int admin_probe(struct keeper *k, struct admin_client *c, const struct admin_request *req)
{
	uint8_t answer[ADMIN_PROBE_BYTES];
	int r;

	_Static_assert(sizeof(req->nonce) == KEY_PROBE_NONCE, "one size");
	server_sync(k); /* the answer is for the server too: others write when they have heard it */
	r = keyset_probe(k->keys, req->id, req->nonce, answer);
	if (r < 0)
		return admin_end(c, r, errno_text(r));
	return admin_end_with(c, ADMIN_PROBE_REPLY, answer, sizeof(answer));
}
