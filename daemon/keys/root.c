/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in root_key_new() is the point: add, prove the length, take the rights away, prove that
 * the name leads here. A failure at any step leaves no key behind.
 */
#include "daemon/keys/root.h"

#include <errno.h>
#include <string.h>

#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

#define ID_TEXT "kekd root id v1"

struct root_key {
	key_serial ring, serial;
	uint8_t id[KEY_ROOT_ID];
};

static int prove_length(key_serial key, size_t len)
{
	size_t size;
	int r = keyring_size(key, &size);

	if (r < 0)
		return r;
	return size == len ? 0 : -EINVAL;
}

static int set_id(struct root_key *root)
{
	uint8_t mac[ROOT_MAC];
	int r = root_key_mac(root, span_str(ID_TEXT), mac);

	if (r == 0)
		memcpy(root->id, mac, sizeof(root->id));
	return r;
}

int root_key_new(key_serial ring, struct span secret, struct root_key **ret)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	key_serial serial;
	int r;

	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return -EINVAL;
	root = calloc(1, sizeof(*root));
	if (!root)
		return -ENOMEM;
	r = keyring_add_user(ring, ROOT_DESC, secret, &serial);
	if (r < 0)
		return r;
	root->ring = ring;
	root->serial = serial;
	r = prove_length(serial, secret.len);
	if (r == 0)
		r = keyring_seal_rights(serial);
	if (r == 0)
		r = set_id(root);
	if (r < 0)
		return r;
	*ret = move_ptr(root);
	return 0;
}

int root_key_new_ephemeral(key_serial ring, struct root_key **ret)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r;

	r = secret_random(SECRET_MIN, &secret);
	if (r < 0)
		return r;
	return root_key_new(ring, secret_span(&secret), ret);
}

void root_key_free(struct root_key *root)
{
	if (!root)
		return;
	if (root->serial)
		keyring_unlink(root->ring, root->serial);
	free(root);
}

int root_key_check(const struct root_key *root)
{
	key_serial found;
	int r;

	/* The kernel goes on finding what is in a ring that has expired, until it collects that. */
	r = keyring_alive(root->ring);
	if (r == 0)
		r = keyring_alive(root->serial);
	if (r < 0)
		return r;
	r = keyring_resolve("user", ROOT_DESC, &found);
	if (r < 0)
		return r;
	return found == root->serial ? 0 : -ESTALE;
}

int root_key_mac(const struct root_key *root, struct span in, uint8_t ret[static ROOT_MAC])
{
	_cleanup_close_ int tfm = -1, op = -1;
	uint8_t mac[ROOT_MAC];
	int r;

	r = root_key_check(root);
	if (r == 0)
		r = afalg_bind("hash", "hmac(sha256)", &tfm);
	if (r == 0)
		r = afalg_set_key(tfm, root->serial);
	if (r == 0)
		r = afalg_accept(tfm, &op);
	if (r == 0)
		r = afalg_hash(op, in.data, in.len, mac, sizeof(mac));
	if (r < 0)
		return r;
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

const uint8_t *root_key_id(const struct root_key *root)
{
	return root->id;
}

key_serial root_key_serial(const struct root_key *root)
{
	return root->serial;
}

key_serial root_key_ring(const struct root_key *root)
{
	return root->ring;
}
