/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ways to a KEK are the same: load its blob, seal the rights, key a tfm, compute the check value;
 * the blob of a new one comes from the maker (keys/maker.h). A failure anywhere unlinks the key, so the
 * ring holds exactly the keys of living objects.
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
	key_serial ring, serial; /* 0: by value, it is in the tfm alone */
	int tfm;
};

static void kek_describe(const char *prefix, const struct key_record *rec,
			 char ret[static DESC_SIZE])
{
	key_hex(rec->info.id, sizeof(rec->info.id), stpcpy(ret, prefix));
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

static bool is_under(const char *blob, const char *type)
{
	static const char begin[] = "default ";
	size_t n = strlen(type);

	return strncmp(blob, begin, strlen(begin)) == 0 &&
	       strncmp(blob + strlen(begin), type, n) == 0 && blob[strlen(begin) + n] == ':';
}

/*
 * A blob says by itself under which key it is to be opened ("default TYPE:NAME BYTES HEX"). Only
 * our root and the size that the record states are let through to the kernel.
 */
static int check_blob(const struct root_key *root, const char *blob, unsigned int key_bytes)
{
	char own[ROOT_DESC_SIZE], head[2][96];
	int n, i;

	if (!is_under(blob, root_key_type(root)))
		return is_under(blob, ROOT_USER) || is_under(blob, ROOT_TRUSTED) ? -EPROTOTYPE
										 : -EINVAL;
	root_key_desc(root_key_id(root), own);
	snprintf(head[0], sizeof(head[0]), "default %s:" ROOT_DESC " %u ", root_key_type(root),
		 key_bytes);
	snprintf(head[1], sizeof(head[1]), "default %s:%s %u ", root_key_type(root), own,
		 key_bytes);
	for (i = 0; i < 2; i++) {
		n = (int)strlen(head[i]);
		if (strncmp(blob, head[i], (size_t)n) == 0)
			break;
	}
	if (i == 2)
		return -EINVAL;
	blob += n;
	return *blob && blob[strspn(blob, "0123456789abcdef")] == '\0' ? 0 : -EINVAL;
}

/* By the serial, or, where there is none, by the @value. */
static int bind_tfm(struct kek *kek, struct span value)
{
	_cleanup_close_ int tfm = -1;
	int r;

	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r == 0)
		r = kek->serial ? afalg_set_key(tfm, kek->serial) : afalg_set_key_value(tfm, value);
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

/* The key of @rec's blob, sealed and with a tfm; nothing is known yet of what its name is worth. */
static int kek_open(const char *prefix, const struct root_key *root, const struct key_record *rec,
		    struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	char desc[DESC_SIZE];
	int r;

	/* What can be said of @rec before the kernel is asked. */
	if (rec->info.kind != KEY_KIND_ENCRYPTED || rec->info.key_bytes < 24 ||
	    root_key_is_by_value(root))
		return -EOPNOTSUPP;
	if (memcmp(rec->root, root_key_id(root), sizeof(rec->root)) != 0)
		return -EKEYREJECTED;
	r = check_blob(root, rec->blob, rec->info.key_bytes);
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
		r = bind_tfm(kek, SPAN_NULL);
	if (r < 0)
		return r;
	*ret = move_ptr(kek);
	return 0;
}

int kek_generate(const struct root_key *root, struct key_record *rec, struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	struct key_record made = *rec;
	int r;

	made.info.kind = KEY_KIND_ENCRYPTED;
	made.info.key_bytes = KEKD_AES_KEY_MAX;
	memcpy(made.root, root_key_id(root), sizeof(made.root));
	r = root_key_make(root, made.blob);
	if (r == 0)
		r = kek_open(DESC_PREFIX, root, &made, &kek);
	if (r == 0)
		r = kek_check_value(kek, &made, made.check);
	if (r < 0)
		return r;
	*rec = made;
	*ret = move_ptr(kek);
	return 0;
}

static int load_as(const char *prefix, const struct root_key *root, const struct key_record *rec,
		   struct kek **ret)
{
	_cleanup_(kek_freep) struct kek *kek = NULL;
	uint8_t value[KEKD_AES_BLOCK];
	int r = kek_open(prefix, root, rec, &kek);

	if (r == 0)
		r = kek_check_value(kek, rec, value);
	if (r < 0)
		return r;
	if (!ct_equal(value, rec->check, sizeof(value)))
		return -EBADMSG;
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
	if (!root_key_is_by_value(root)) {
		r = keyring_add_logon(kek->ring, desc, bytes, &kek->serial);
		if (r == 0)
			r = keyring_seal_rights(kek->serial);
	}
	if (r == 0)
		r = bind_tfm(kek, bytes);
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
	return kek->serial ? keyring_alive(kek->serial) : 0;
}

key_serial kek_serial(const struct kek *kek)
{
	return kek->serial;
}
