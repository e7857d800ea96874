/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in root_key_new() is the point: add, let the maker take it, take the rights away, prove
 * that the name leads here. A failure at any step leaves no key behind.
 */
#include "daemon/keys/root.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/keys/secret.h"
#include "daemon/sys/afalg.h"

struct root_key {
	key_serial ring, serial;
	key_serial named; /* the same bytes under the name of its own, or 0: that is @serial's */
	const char *type;
	char desc[ROOT_DESC_SIZE]; /* @serial's */
	struct maker *maker;       /* or NULL */
	int tfm;                   /* by value: the HMAC that has the bytes; else -1 */
	bool has_id;
	struct root_bytes {
		size_t len;
		uint8_t bytes[SECRET_MAX];
	} * memory; /* in memory: these; else NULL */
	uint8_t id[KEY_ROOT_ID];
};

static int set_id(struct root_key *root)
{
	uint8_t mac[ROOT_MAC] = { 0 };
	int r = root_key_mac(root, span_str(ROOT_ID_TEXT), mac);

	if (r < 0)
		return r;
	memcpy(root->id, mac, sizeof(root->id));
	root->has_id = true;
	return 0;
}

void root_key_desc(const uint8_t id[static KEY_ROOT_ID], char ret[static ROOT_DESC_SIZE])
{
	key_hex(id, KEY_ROOT_ID, stpcpy(ret, ROOT_DESC "."));
}

/* @secret is one of the lengths; the caller fills the rest in. */
static int root_alloc(struct span secret, struct root_key **ret)
{
	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return -EINVAL;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	(*ret)->tfm = -1;
	(*ret)->type = ROOT_USER;
	return 0;
}

typedef int add_fn(key_serial ring, const char *desc, struct span payload, key_serial *ret);

struct kind {
	const char *type;
	add_fn *add;
};

static const struct kind user = { ROOT_USER, keyring_add_user };
static const struct kind trusted = { ROOT_TRUSTED, keyring_add_trusted };

/* What a root of these bytes is called, before there is one; of a sealed one the kernel is asked. */
static int desc_of(const struct kind *kind, key_serial ring, struct span secret,
		   char ret[static ROOT_DESC_SIZE])
{
	_cleanup_(root_key_freep) struct root_key *trial = NULL;
	int r;

	if (kind == &user) {
		r = root_key_new_by_value(secret, &trial);
	} else {
		r = root_alloc(secret, &trial);
		if (r < 0)
			return r;
		trial->type = kind->type;
		trial->ring = ring;
		strcpy(trial->desc, ROOT_DESC ".trial");
		r = kind->add(ring, trial->desc, secret, &trial->serial);
		if (r == 0)
			r = set_id(trial);
	}
	if (r == 0)
		root_key_desc(trial->id, ret);
	return r;
}

static int root_new(const struct kind *kind, key_serial ring, struct maker *maker,
		    struct span secret, bool is_next, struct root_key **ret)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	char own[ROOT_DESC_SIZE];
	int r;

	r = root_alloc(secret, &root);
	if (r == 0)
		r = desc_of(kind, ring, secret, own);
	if (r < 0)
		return r;
	root->ring = ring;
	root->type = kind->type;
	strcpy(root->desc, is_next ? own : ROOT_DESC);
	r = kind->add(ring, root->desc, secret, &root->serial);
	if (r == 0 && maker) {
		r = maker_root(maker, root->serial, root->type, root->desc);
		if (r == 0)
			root->maker = maker;
	}
	if (r == 0 && !is_next)
		r = kind->add(ring, own, secret, &root->named);
	if (r == 0 && root->named)
		r = keyring_seal_rights(root->named);
	if (r == 0)
		r = keyring_seal_rights(root->serial);
	if (r == 0)
		r = set_id(root);
	if (r < 0)
		return r;
	*ret = move_ptr(root);
	return 0;
}

int root_key_new(key_serial ring, struct maker *maker, struct span secret, struct root_key **ret)
{
	return root_new(&user, ring, maker, secret, false, ret);
}

int root_key_new_next(key_serial ring, struct maker *maker, struct span secret,
		      struct root_key **ret)
{
	return root_new(&user, ring, maker, secret, true, ret);
}

int root_key_new_trusted(key_serial ring, struct maker *maker, struct span sealed,
			 struct root_key **ret)
{
	return root_new(&trusted, ring, maker, sealed, false, ret);
}

int root_key_new_next_trusted(key_serial ring, struct maker *maker, struct span sealed,
			      struct root_key **ret)
{
	return root_new(&trusted, ring, maker, sealed, true, ret);
}

int root_key_new_ephemeral(key_serial ring, struct maker *maker, struct root_key **ret)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r;

	r = secret_random(SECRET_MIN, &secret);
	if (r < 0)
		return r;
	return root_key_new(ring, maker, secret_span(&secret), ret);
}

int root_key_new_by_value(struct span secret, struct root_key **ret)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	int r;

	r = root_alloc(secret, &root);
	if (r == 0)
		r = afalg_bind("hash", "hmac(sha256)", &root->tfm);
	if (r == 0)
		r = afalg_set_key_value(root->tfm, secret);
	if (r == 0)
		r = set_id(root);
	if (r < 0)
		return r;
	*ret = move_ptr(root);
	return 0;
}

int root_key_new_in_memory(struct span secret, struct root_key **ret)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	int r;

	r = root_alloc(secret, &root);
	if (r < 0)
		return r;
	root->memory = secmem_alloc(sizeof(*root->memory));
	if (!root->memory)
		return -ENOMEM;
	memcpy(root->memory->bytes, secret.data, secret.len);
	root->memory->len = secret.len;
	r = set_id(root);
	if (r < 0)
		return r;
	*ret = move_ptr(root);
	return 0;
}

bool root_key_is_in_memory(const struct root_key *root)
{
	return root->memory;
}

bool root_key_is_by_value(const struct root_key *root)
{
	return root->tfm >= 0 || root->memory;
}

void root_key_free(struct root_key *root)
{
	if (!root)
		return;
	closep(&root->tfm);
	if (root->memory)
		secmem_free(root->memory, sizeof(*root->memory));
	if (root->maker)
		maker_drop(root->maker, root->serial);
	if (root->serial)
		keyring_unlink(root->ring, root->serial);
	if (root->named)
		keyring_unlink(root->ring, root->named);
	free(root);
}

static int root_leads(const char *type, const char *desc, key_serial serial)
{
	key_serial found = 0;
	int r = keyring_alive(serial);

	if (r == 0)
		r = keyring_resolve(type, desc, &found);
	if (r < 0)
		return r;
	return found == serial ? 0 : -ESTALE;
}

int root_key_check(const struct root_key *root)
{
	char own[ROOT_DESC_SIZE];
	int r;

	if (root_key_is_by_value(root))
		return 0;
	/* The kernel goes on finding what is in a ring that has expired, until it collects that. */
	r = keyring_alive(root->ring);
	if (r == 0)
		r = root_leads(root->type, root->desc, root->serial);
	if (r < 0 || !root->named || !root->has_id)
		return r;
	root_key_desc(root->id, own);
	return root_leads(root->type, own, root->named);
}

/* An op socket that computes its MACs. By serial the transform is a new one, as a dead root must not serve on. */
static int root_accept(const struct root_key *root, int *ret_op)
{
	_cleanup_close_ int tfm = -1;
	int r;

	if (root->tfm >= 0)
		return afalg_accept(root->tfm, ret_op);
	r = root_key_check(root);
	if (r == 0)
		r = afalg_bind("hash", "hmac(sha256)", &tfm);
	if (r == 0)
		r = afalg_set_key(tfm, root->serial);
	return r == 0 ? afalg_accept(tfm, ret_op) : r;
}

int root_key_mac(const struct root_key *root, struct span in, uint8_t ret[static ROOT_MAC])
{
	_cleanup_close_ int op = -1;
	uint8_t mac[ROOT_MAC];
	int r;

	if (root->memory)
		return hmac_sha256(span_of(root->memory->bytes, root->memory->len), &in, 1, ret);
	r = root_accept(root, &op);
	if (r == 0)
		r = afalg_hash(op, in.data, in.len, mac, sizeof(mac));
	if (r == 0)
		memcpy(ret, mac, sizeof(mac));
	return r;
}

const uint8_t *root_key_id(const struct root_key *root)
{
	return root->id;
}

const char *root_key_type(const struct root_key *root)
{
	return root->type;
}

key_serial root_key_serial(const struct root_key *root)
{
	return root->serial;
}

key_serial root_key_ring(const struct root_key *root)
{
	return root->ring;
}

int root_key_make(const struct root_key *root, char ret_blob[static KEY_BLOB_MAX])
{
	int r = root_key_check(root);

	if (r < 0)
		return r;
	return root->maker ? maker_key(root->maker, root->serial, ret_blob) : -EOPNOTSUPP;
}
