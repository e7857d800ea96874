/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes of a cluster share: a record is ciphertext and may travel; that both ends have the same
 * key is shown by a probe.
 */
#include <errno.h>
#include <string.h>

#include "daemon/keys/keyset_private.h"

/* Whatever the other node says of it: here it has never been active, unless it once was. */
static void as_guest(struct key_record *rec)
{
	if (rec->state == KEY_ACTIVE)
		rec->state = KEY_DECRYPT_ONLY;
	if (rec->state == KEY_DECRYPT_ONLY && rec->activation == 0)
		rec->state = KEY_STAGED;
}

static bool same_key(const struct key_record *a, const struct key_record *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->label, b->label) == 0 &&
	       memcmp(a->check, b->check, sizeof(a->check)) == 0;
}

int keyset_adopt(struct keyset *set, const struct key_record *rec, const struct keyset_key **ret)
{
	const struct keyset_key *known = keyset_find(set, rec->id);
	struct key_record guest = *rec;

	if (keyset_is_sealed(set))
		return -EKEYEXPIRED;
	if (known)
		return same_key(&known->rec, rec) ? -EALREADY : -EEXIST;
	if (rec->state == KEY_DESTROYED)
		return -EKEYREJECTED;
	if (rec->activation > KEYSET_ACTIVATION_MAX)
		return -ERANGE;
	as_guest(&guest);
	return keyset_add(set, &guest, ret);
}

int keyset_probe(const struct keyset *set, const uint8_t id[static KEKD_KEY_ID],
		 const uint8_t nonce[static KEY_PROBE_NONCE], uint8_t ret[static KEKD_AES_BLOCK])
{
	const struct keyset_key *key = keyset_find(set, id);
	uint8_t block[KEKD_AES_BLOCK];
	int r;

	if (!key)
		return -ENOKEY;
	if (key->why < 0)
		return key->why;
	if (key->rec.secretbox)
		return -EOPNOTSUPP; /* no cipher of blocks */
	r = key_probe_block(&key->rec, nonce, block);
	if (r < 0)
		return r;
	return key->kek ? kek_block(key->kek, block, ret) : softkey_block(key->soft, block, ret);
}
