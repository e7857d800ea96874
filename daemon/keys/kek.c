/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways to a KEK end in the same steps: seal the rights, key a tfm, compute the check value. A
 * failure anywhere unlinks the key, so the ring holds exactly the keys of living objects.
 */
#include "daemon/keys/kek.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/secmem.h"
#include "daemon/keys/check.h"
#include "daemon/sys/afalg.h"

#define DESC_PREFIX  "kekd:"
#define TRIAL_PREFIX "kekd-trial:"
#define DESC_SIZE    (sizeof(TRIAL_PREFIX) + KEKD_KEY_ID_HEX)

struct kek {
	key_serial ring, serial;
	int tfm;
};

static void kek_describe(const char *prefix, const struct key_record *rec,
			 char ret[static DESC_SIZE])
{
	key_hex(rec->id, sizeof(rec->id), stpcpy(ret, prefix));
}

static int kek_new(key_serial ring, struct kek **ret)
{
	struct kek *kek = calloc(1, sizeof(*kek));

	if (!kek)
		return -ENOMEM;
	kek->ring = ring;
	kek->tfm = -1;
	*ret = kek;
	return 0;
}

void kek_free(struct kek *kek)
{
	if (!kek)
		return;
	closep(&kek->tfm);
	if (kek->serial)
		keyring_unlink(kek->ring, kek->serial);
	free(kek);
}

/*
 * A blob says by itself under which key it is to be opened ("default user:NAME BYTES HEX"). Only
 * our root and the size that the record states are let through to the kernel.
 */
static int check_blob(const char *blob, unsigned int key_bytes)
{
	char head[64];
	int n;

	n = snprintf(head, sizeof(head), "default user:" ROOT_DESC " %u ", key_bytes);
	if (strncmp(blob, head, (size_t)n) != 0)
		return -EINVAL;
	blob += n;
	return *blob && blob[strspn(blob, "0123456789abcdef")] == '\0' ? 0 : -EINVAL;
}

static int bind_tfm(struct kek *kek)
{
	_cleanup_close_ int tfm = -1;
	int r;

	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r == 0)
		r = afalg_set_key(tfm, kek->serial);
	if (r < 0)
		return r;
	kek->tfm = move_fd(tfm);
	return 0;
}

int kek_block(const struct kek *kek, const uint8_t block[static KEKD_AES_BLOCK],
	      uint8_t ret[static KEKD_AES_BLOCK])
{
	_cleanup_close_ int op = -1;
	int r;

	r = afalg_accept(kek->tfm, &op);
	return r == 0 ? afalg_run(op, BLOCK_ENCRYPT, block, ret, KEKD_AES_BLOCK) : r;
}

static int kek_check_value(const struct kek *kek, const struct key_record *rec,
			   uint8_t ret[static KEKD_AES_BLOCK])
{
	uint8_t block[KEKD_AES_BLOCK];
	int r;

	r = key_check_block(rec, block);
	return r == 0 ? kek_block(kek, block, ret) : r;
}

static int read_blob(const struct kek *kek, struct key_record *rec)
{
	_cleanup_free_ char *blob = NULL;
	size_t size;
	int r;

	r = keyring_blob(kek->serial, &blob);
	if (r == 0)
		r = check_blob(blob, rec->key_bytes);
	if (r < 0)
		return r;
	size = strlen(blob) + 1;
	if (size > sizeof(rec->blob))
		return -ENOBUFS;
	memcpy(rec->blob, blob, size);
	return 0;
}

int kek_generate(const struct root_key *root, struct key_record *rec, struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	struct key_record made = *rec;
	char desc[DESC_SIZE];
	int r;

	r = root_key_check(root);
	if (r < 0)
		return r;
	r = kek_new(root_key_ring(root), &kek);
	if (r < 0)
		return r;
	made.kind = KEY_KIND_ENCRYPTED;
	made.key_bytes = KEKD_AES_KEY_MAX;
	memcpy(made.root, root_key_id(root), sizeof(made.root));
	kek_describe(DESC_PREFIX, &made, desc);
	r = keyring_generate(kek->ring, desc, ROOT_DESC, made.key_bytes, &kek->serial);
	if (r == 0)
		r = read_blob(kek, &made);
	if (r == 0)
		r = keyring_seal_rights(kek->serial);
	if (r == 0)
		r = bind_tfm(kek);
	if (r == 0)
		r = kek_check_value(kek, &made, made.check);
	if (r < 0)
		return r;
	*rec = made;
	*ret = move_ptr(kek);
	return 0;
}

/* What can be said of @rec before the kernel is asked. */
static int check_record(const struct root_key *root, const struct key_record *rec)
{
	if (rec->kind != KEY_KIND_ENCRYPTED || rec->key_bytes < 24)
		return -EOPNOTSUPP;
	if (memcmp(rec->root, root_key_id(root), sizeof(rec->root)) != 0)
		return -EKEYREJECTED;
	return check_blob(rec->blob, rec->key_bytes);
}

static int prove_value(const struct kek *kek, const struct key_record *rec)
{
	uint8_t value[KEKD_AES_BLOCK];
	int r = kek_check_value(kek, rec, value);

	if (r < 0)
		return r;
	return ct_equal(value, rec->check, sizeof(value)) ? 0 : -EBADMSG;
}

static int load_as(const char *prefix, const struct root_key *root, const struct key_record *rec,
		   struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	char desc[DESC_SIZE];
	int r;

	r = check_record(root, rec);
	if (r == 0)
		r = root_key_check(root);
	if (r < 0)
		return r;
	r = kek_new(root_key_ring(root), &kek);
	if (r < 0)
		return r;
	kek_describe(prefix, rec, desc);
	r = keyring_load(kek->ring, desc, rec->blob, &kek->serial);
	if (r == 0)
		r = keyring_seal_rights(kek->serial);
	if (r == 0)
		r = bind_tfm(kek);
	if (r == 0)
		r = prove_value(kek, rec);
	if (r < 0)
		return r;
	*ret = move_ptr(kek);
	return 0;
}

int kek_from_bytes(const struct root_key *root, const struct key_record *rec, struct span bytes,
		   struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	char desc[DESC_SIZE];
	int r;

	r = kek_new(root_key_ring(root), &kek);
	if (r < 0)
		return r;
	kek_describe(DESC_PREFIX, rec, desc);
	r = keyring_add_logon(kek->ring, desc, bytes, &kek->serial);
	if (r == 0)
		r = keyring_seal_rights(kek->serial);
	if (r == 0)
		r = bind_tfm(kek);
	if (r < 0)
		return r;
	*ret = move_ptr(kek);
	return 0;
}

int kek_load(const struct root_key *root, const struct key_record *rec, struct kek **ret)
{
	return load_as(DESC_PREFIX, root, rec, ret);
}

int kek_prove(const struct root_key *root, const struct key_record *rec)
{
	struct kek *kek;
	int r;

	r = load_as(TRIAL_PREFIX, root, rec, &kek);
	if (r == 0)
		kek_free(kek);
	return r;
}

int kek_accept(const struct kek *kek, int *ret_fd)
{
	int r = kek_alive(kek);

	return r < 0 ? r : afalg_accept(kek->tfm, ret_fd);
}

int kek_alive(const struct kek *kek)
{
	return keyring_alive(kek->serial);
}

key_serial kek_serial(const struct kek *kek)
{
	return kek->serial;
}
