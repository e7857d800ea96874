/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root and key are one page of locked memory each, object and bytes together: there is no second
 * place to wipe.
 */
#include "daemon/keys/softkey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/base/random.h"
#include "daemon/base/secmem.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/openssl_seal.h"
#include "daemon/keys/check.h"
#include "daemon/keys/secret.h"

#define SEAL_TEXT "kekd openssl root: seal v1"
#define MAC_TEXT  "kekd openssl root: mac v1"
#define ID_TEXT   "kekd openssl root: id v1"
#define BLOB_HEAD "aes-256-gcm "
#define BLOB_LEN \
	(sizeof(BLOB_HEAD) - 1 + 2 * (KEKD_GCM_NONCE + KEKD_AES_KEY_MAX + KEKD_GCM_TAG) + 2)
_Static_assert(BLOB_LEN < KEY_BLOB_MAX, "a record holds the blob");

struct soft_root {
	uint8_t key[KEKD_AES_KEY_MAX];
	uint8_t mac_key[SHA256_LEN];
	uint8_t id[KEY_ROOT_ID];
};

struct softkey {
	uint8_t key[KEKD_AES_KEY_MAX];
};

struct sealed {
	uint8_t nonce[KEKD_GCM_NONCE];
	uint8_t text[KEKD_AES_KEY_MAX];
	uint8_t tag[KEKD_GCM_TAG];
};

int soft_root_new(struct span secret, struct soft_root **ret)
{
	_cleanup_(soft_root_freep) struct soft_root *root = NULL;
	const struct span seal = span_str(SEAL_TEXT), id = span_str(ID_TEXT);
	const struct span mac_text = span_str(MAC_TEXT);
	uint8_t mac[SHA256_LEN];
	int r;

	_Static_assert(SHA256_LEN == sizeof(root->key), "the MAC is the key");
	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return -EINVAL;
	root = secmem_alloc(sizeof(*root));
	if (!root)
		return -ENOMEM;
	r = hmac_sha256(secret, &seal, 1, root->key);
	if (r == 0)
		r = hmac_sha256(secret, &mac_text, 1, root->mac_key);
	if (r == 0)
		r = hmac_sha256(secret, &id, 1, mac);
	if (r < 0)
		return r;
	memcpy(root->id, mac, sizeof(root->id));
	*ret = move_ptr(root);
	return 0;
}

int soft_root_new_ephemeral(struct soft_root **ret)
{
	_cleanup_secret_ struct secret secret = { 0 };
	int r;

	r = secret_random(SECRET_MIN, &secret);
	if (r < 0)
		return r;
	return soft_root_new(secret_span(&secret), ret);
}

void soft_root_free(struct soft_root *root)
{
	secmem_free(root, sizeof(*root));
}

int soft_root_mac(const struct soft_root *root, struct span in, uint8_t ret[static 32])
{
	return hmac_sha256(span_of(root->mac_key, sizeof(root->mac_key)), &in, 1, ret);
}

const uint8_t *soft_root_id(const struct soft_root *root)
{
	return root->id;
}

static int softkey_new(struct softkey **ret)
{
	struct softkey *key = secmem_alloc(sizeof(*key));

	if (!key)
		return -ENOMEM;
	*ret = key;
	return 0;
}

int softkey_from_bytes(struct span bytes, struct softkey **ret)
{
	struct softkey *key;
	int r;

	if (bytes.len < 16 || bytes.len > sizeof(key->key))
		return -EINVAL;
	r = softkey_new(&key);
	if (r < 0)
		return r;
	memcpy(key->key, bytes.data, bytes.len);
	*ret = key;
	return 0;
}

void softkey_free(struct softkey *key)
{
	secmem_free(key, sizeof(*key));
}

const uint8_t *softkey_bytes(const struct softkey *key)
{
	return key->key;
}

static void format_blob(const struct sealed *s, char ret[static KEY_BLOB_MAX])
{
	char *p = stpcpy(ret, BLOB_HEAD);

	key_hex(s->nonce, sizeof(s->nonce), p);
	p += 2 * sizeof(s->nonce);
	*p++ = ' ';
	key_hex(s->text, sizeof(s->text), p);
	p += 2 * sizeof(s->text);
	*p++ = ' ';
	key_hex(s->tag, sizeof(s->tag), p);
}

static int parse_blob(const char *blob, struct sealed *ret)
{
	const char *nonce = blob + sizeof(BLOB_HEAD) - 1;
	const char *text = nonce + 2 * sizeof(ret->nonce) + 1;
	const char *tag = text + 2 * sizeof(ret->text) + 1;

	if (strlen(blob) != BLOB_LEN || strncmp(blob, BLOB_HEAD, sizeof(BLOB_HEAD) - 1) != 0 ||
	    text[-1] != ' ' || tag[-1] != ' ' ||
	    key_unhex(nonce, 2 * sizeof(ret->nonce), ret->nonce, sizeof(ret->nonce)) < 0 ||
	    key_unhex(text, 2 * sizeof(ret->text), ret->text, sizeof(ret->text)) < 0 ||
	    key_unhex(tag, 2 * sizeof(ret->tag), ret->tag, sizeof(ret->tag)) < 0)
		return -EINVAL;
	return 0;
}

static int softkey_seal(const struct soft_root *root, const struct softkey *key,
			struct key_record *rec)
{
	uint8_t binding[SHA256_LEN];
	struct sealed s;
	int r;

	r = key_binding(rec, binding);
	if (r == 0)
		r = random_bytes(s.nonce, sizeof(s.nonce));
	if (r == 0)
		r = openssl_gcm_seal(root->key, s.nonce, span_of(binding, sizeof(binding)),
				     span_of(key->key, sizeof(key->key)), s.text, s.tag);
	if (r == 0)
		format_blob(&s, rec->blob);
	return r;
}

static int softkey_check_value(const struct softkey *key, const struct key_record *rec,
			       uint8_t ret[static KEKD_AES_BLOCK])
{
	uint8_t block[KEKD_AES_BLOCK];
	int r;

	r = key_check_block(rec, block);
	if (r < 0)
		return r;
	return openssl_aes_block(key->key, block, ret);
}

int softkey_block(const struct softkey *key, const uint8_t block[static KEKD_AES_BLOCK],
		  uint8_t ret[static KEKD_AES_BLOCK])
{
	return openssl_aes_block(key->key, block, ret);
}

int softkey_generate(const struct soft_root *root, struct key_record *rec, struct softkey **ret)
{
	_cleanup_(softkey_freep) struct softkey *key = NULL;
	struct key_record made = *rec;
	int r;

	made.kind = KEY_KIND_OPENSSL;
	made.key_bytes = KEKD_AES_KEY_MAX;
	memcpy(made.root, root->id, sizeof(made.root));
	r = softkey_new(&key);
	if (r == 0)
		r = random_bytes(key->key, sizeof(key->key));
	if (r == 0)
		r = softkey_seal(root, key, &made);
	if (r == 0)
		r = softkey_check_value(key, &made, made.check);
	if (r < 0)
		return r;
	*rec = made;
	*ret = move_ptr(key);
	return 0;
}

static int softkey_unseal(const struct soft_root *root, const struct key_record *rec,
			  struct softkey *key)
{
	uint8_t binding[SHA256_LEN];
	struct sealed s;
	int r;

	r = parse_blob(rec->blob, &s);
	if (r == 0)
		r = key_binding(rec, binding);
	if (r < 0)
		return r;
	return openssl_gcm_open(root->key, s.nonce, span_of(binding, sizeof(binding)),
				span_of(s.text, sizeof(s.text)), s.tag, key->key);
}

int softkey_load(const struct soft_root *root, const struct key_record *rec, struct softkey **ret)
{
	_cleanup_(softkey_freep) struct softkey *key = NULL;
	uint8_t value[KEKD_AES_BLOCK];
	int r;

	if (rec->kind != KEY_KIND_OPENSSL || rec->key_bytes != KEKD_AES_KEY_MAX)
		return -EOPNOTSUPP;
	if (memcmp(rec->root, root->id, sizeof(rec->root)) != 0)
		return -EKEYREJECTED;
	r = softkey_new(&key);
	if (r == 0)
		r = softkey_unseal(root, rec, key);
	if (r == 0)
		r = softkey_check_value(key, rec, value);
	if (r < 0)
		return r;
	if (!ct_equal(value, rec->check, sizeof(value)))
		return -EBADMSG;
	*ret = move_ptr(key);
	return 0;
}

/* NULL and errno if it cannot be mapped. */
static void *map_shared(int fd, int prot)
{
	void *p = mmap(NULL, sizeof(struct softkey), prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int export_memfd(const struct softkey *key, int *ret_fd)
{
#ifdef SYS_memfd_secret
	_cleanup_close_ int fd = -1;
	void *p;

	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, sizeof(*key)) < 0)
		return -errno;
	p = map_shared(fd, PROT_READ | PROT_WRITE);
	if (!p)
		return -errno;
	memcpy(p, key, sizeof(*key));
	munmap(p, sizeof(*key));
	*ret_fd = move_fd(fd);
	return 0;
#else
	(void)key;
	(void)ret_fd;
	return -ENOSYS;
#endif
}

static int export_pipe(const struct softkey *key, int *ret_fd)
{
	_cleanup_close_ int rd = -1, wr = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	rd = fds[0];
	wr = fds[1];
	if (write(wr, key, sizeof(*key)) != (ssize_t)sizeof(*key))
		return -EIO;
	*ret_fd = move_fd(rd);
	return 0;
}

int softkey_export(const struct softkey *key, int *ret_fd)
{
	int r = export_memfd(key, ret_fd);

	return r < 0 ? export_pipe(key, ret_fd) : r;
}

static int import_memfd(int fd, struct softkey *key)
{
	void *p = map_shared(fd, PROT_READ);

	if (!p) /* EAGAIN: no more can be locked */
		return errno == EAGAIN ? -ENOMEM : -errno;
	memcpy(key, p, sizeof(*key));
	munmap(p, sizeof(*key));
	return 0;
}

static int import_pipe(int fd, struct softkey *key)
{
	return read(fd, key, sizeof(*key)) == (ssize_t)sizeof(*key) ? 0 : -EINVAL;
}

int softkey_import(int fd, struct softkey **ret)
{
	_cleanup_(softkey_freep) struct softkey *key = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = softkey_new(&key);
	if (r < 0)
		return r;
	if (S_ISFIFO(st.st_mode))
		r = import_pipe(fd, key);
	else if (S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof(*key))
		r = import_memfd(fd, key);
	else
		r = -EINVAL;
	if (r < 0)
		return r;
	*ret = move_ptr(key);
	return 0;
}
