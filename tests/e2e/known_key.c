/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known_key kernel|value|holder DIR: makes a KEK whose bytes are known, for tests/e2e/kek_nowhere.
 *
 *	DIR/kek     its 32 bytes
 *	DIR/h       what it makes of the zero block; the same backwards; and what GHASH multiplies by
 *	DIR/label   its label
 *	DIR/root    the root secret: what rootKey.command is to print
 *	DIR/store   a key store whose keyset has that key, active, of the chain entry "known"
 *
 * The daemon under test is the product, unchanged. The key comes to it as every key of a store
 * does, sealed: here by this process. The kernel opens it, so the daemon sees the root, for the time of one
 * add_key(2), and ciphertext; never the KEK. With `custody: value` and `custody: holder` it sees the KEK while
 * it gives it to the kernel, or to the holder.
 *
 * The sealed form of the kernel is that of security/keys/encrypted-keys/encrypted.c
 * (Documentation/security/keys/trusted-encrypted.rst names its parts):
 *
 *	enc key   SHA-256("ENC_KEY" NUL root NUL), auth key SHA-256("AUTH_KEY" NUL root)
 *	blob      iv 16, NUL, AES-256-CBC(enc key, iv, payload), HMAC-SHA256(auth key, T)
 *	T         "default" NUL "user:ROOT" NUL "32" NUL iv NUL ciphertext
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/ghash.h"
#include "tests/support/openssl_seal.h"
#include "daemon/keys/check.h"
#include "daemon/keys/imported.h"
#include "daemon/keys/keydoc_next.h"
#include "daemon/keys/root.h"
#include "daemon/keys/store.h"

#define NAME     "known"
#define MASTER   "user:" ROOT_DESC
#define ROOT_LEN 32

struct known {
	uint8_t kek[KEKD_AES_KEY_MAX];
	uint8_t root[ROOT_LEN];
	uint8_t mac_key[SHA256_LEN]; /* of the keyset */
	struct key_record rec;
};

static int random_get(void *ret, size_t len)
{
	return getrandom(ret, len, 0) == (ssize_t)len ? 0 : -EIO;
}

/* The root's fingerprint: the first bytes of a MAC of @text. */
static int root_id(const struct known *k, const char *text, uint8_t ret[static KEY_ROOT_ID])
{
	const struct span part = span_str(text);
	uint8_t mac[SHA256_LEN];
	int r = hmac_sha256(span_of(k->root, ROOT_LEN), &part, 1, mac);

	if (r == 0)
		memcpy(ret, mac, KEY_ROOT_ID);
	return r;
}

static int cbc(const uint8_t key[static 32], const uint8_t iv[static 16], struct span in,
	       uint8_t *ret)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, r = -EIO;

	if (ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, iv) &&
	    EVP_CIPHER_CTX_set_padding(ctx, 0) &&
	    EVP_EncryptUpdate(ctx, ret, &n, in.data, (int)in.len) && n == (int)in.len)
		r = 0;
	EVP_CIPHER_CTX_free(ctx);
	return r;
}

/* iv, NUL, ciphertext, MAC: one struct, as the kernel lays it out and prints it. */
struct kernel_blob {
	uint8_t iv[16];
	uint8_t nul;
	uint8_t text[KEKD_AES_KEY_MAX];
	uint8_t mac[SHA256_LEN];
};

static int kernel_seal(const struct known *k, struct kernel_blob *ret)
{
	static const char head[] = "default\0" MASTER "\0"
				   "32";
	const struct span enc[] = { span_of("ENC_KEY", 8), span_of(k->root, ROOT_LEN),
				    span_of("", 1) };
	const struct span auth[] = { span_of("AUTH_KEY", 9), span_of(k->root, ROOT_LEN) };
	const struct span body[] = { span_of(head, sizeof(head)),
				     span_of(ret, offsetof(struct kernel_blob, mac)) };
	uint8_t enc_key[SHA256_LEN], auth_key[SHA256_LEN];
	int r;

	ret->nul = 0;
	r = random_get(ret->iv, sizeof(ret->iv));
	if (r == 0)
		r = sha256(enc, ARRAY_SIZE(enc), enc_key);
	if (r == 0)
		r = sha256(auth, ARRAY_SIZE(auth), auth_key);
	if (r == 0)
		r = cbc(enc_key, ret->iv, span_of(k->kek, sizeof(k->kek)), ret->text);
	if (r == 0)
		r = hmac_sha256(span_of(auth_key, sizeof(auth_key)), body, ARRAY_SIZE(body),
				ret->mac);
	return r;
}

static int make_kernel(struct known *k)
{
	struct kernel_blob blob;
	char *p = k->rec.blob;
	int r;

	_Static_assert(sizeof(blob) == 81, "no holes");
	_Static_assert(sizeof(k->mac_key) == ROOT_LEN, "the kernel's MAC is under the root itself");
	k->rec.info.kind = KEY_KIND_ENCRYPTED;
	memcpy(k->mac_key, k->root, ROOT_LEN);
	r = kernel_seal(k, &blob);
	if (r == 0)
		r = root_id(k, "kekd root id v1", k->rec.root);
	p = stpcpy(p, "default " MASTER " 32 ");
	key_hex(&blob, sizeof(blob), p);
	return r;
}

static int make_sealed(struct known *k)
{
	_cleanup_(root_key_freep) struct root_key *root = NULL;
	int r = root_key_new_in_memory(span_of(k->root, ROOT_LEN), &root);

	k->rec.info.kind = KEY_KIND_SEALED;
	memcpy(k->mac_key, k->root, ROOT_LEN);
	return r < 0 ? r : imported_seal(root, &k->rec, span_of(k->kek, sizeof(k->kek)));
}

static int check_block(struct known *k)
{
	uint8_t block[KEKD_AES_BLOCK];
	int r = key_check_block(&k->rec, block);

	return r == 0 ? openssl_aes_block(k->kek, block, k->rec.check) : r;
}

static const struct {
	const char *name;
	int (*make)(struct known *k);
	bool sealed; /* and so has a check value of its own */
} backends[] = {
	{ "kernel", make_kernel, false },
	{ "value", make_sealed, true },
	{ "holder", make_sealed, true },
};

static int make(struct known *k, const char *backend)
{
	char hex[KEKD_KEY_ID_HEX + 1];
	int r = -EINVAL;

	if (random_get(k->kek, sizeof(k->kek)) < 0 || random_get(k->root, ROOT_LEN) < 0 ||
	    random_get(k->rec.info.id, sizeof(k->rec.info.id)) < 0)
		return -EIO;
	k->rec.info.key_bytes = sizeof(k->kek);
	k->rec.info.state = KEY_ACTIVE;
	k->rec.info.activation = 1;
	k->rec.info.created = time(NULL);
	key_hex(k->rec.info.id, sizeof(k->rec.info.id), hex);
	strcpy(k->rec.info.name, NAME);
	snprintf(k->rec.info.label, sizeof(k->rec.info.label), "%s.%s", NAME, hex);
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (strcmp(backends[i].name, backend) == 0) {
			r = backends[i].make(k);
			if (r == 0 && !backends[i].sealed)
				r = check_block(k);
		}
	return r;
}

static int put(int dir_fd, const char *name, const void *data, size_t len)
{
	_cleanup_close_ int fd = -1;

	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	return write(fd, data, len) == (ssize_t)len ? 0 : -EIO;
}

static int mac(const void *ctx, struct span in, uint8_t ret[static KEYDOC_MAC])
{
	const struct known *k = ctx;

	return hmac_sha256(span_of(k->mac_key, sizeof(k->mac_key)), &in, 1, ret);
}

/* The keyset of a machine that is alone, which has that key. */
static int keyset_make(const struct known *k, const struct keydoc_member *self, struct keydoc **ret)
{
	uint8_t cluster[KEYDOC_NODE], nonce[KEYDOC_NODE];
	int r;

	r = random_get(cluster, sizeof(cluster));
	if (r == 0)
		r = random_get(nonce, sizeof(nonce));
	if (r == 0)
		r = keydoc_begin(cluster, nonce, self, k->rec.root, k->rec.info.created, ret);
	if (r < 0)
		return r;
	(*ret)->keys[(*ret)->n_keys++] = k->rec;
	(*ret)->activations = k->rec.info.activation;
	return 0;
}

static int keyset_write(const struct known *k, struct key_store *s,
			const struct keydoc_member *self)
{
	const struct keydoc_root root = { mac, k, k->rec.root, NULL };
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = keyset_make(k, self, &doc);
	if (r == 0)
		r = keydoc_format(doc, &root, &text, &len);
	return r < 0 ? r : key_store_write(s, KEY_STORE_KEYSET, text, len);
}

static int node_write(struct key_store *s, const struct keydoc_member *self)
{
	char hex[2 * KEYDOC_NODE + 1], text[128];
	int n;

	key_hex(self->id, sizeof(self->id), hex);
	n = snprintf(text, sizeof(text), "kekd-node 1\nid %s\n", hex);
	return key_store_write(s, KEY_STORE_NODE, text, (size_t)n);
}

static int store(const struct known *k, const char *dir)
{
	_cleanup_(key_store_closep) struct key_store *s = NULL;
	struct keydoc_member self = { .name = "node" };
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/store", dir) < 0)
		return -ENOMEM;
	r = random_get(self.id, sizeof(self.id));
	if (r == 0)
		r = key_store_open(path, &s);
	if (r == 0)
		r = node_write(s, &self);
	return r < 0 ? r : keyset_write(k, s, &self);
}

static int put_h(const struct known *k, int dir_fd)
{
	static const uint8_t zero[KEKD_AES_BLOCK];
	uint8_t out[3 * KEKD_AES_BLOCK];
	struct ghash_key key;
	int r;

	r = openssl_aes_block(k->kek, zero, out);
	if (r < 0)
		return r;
	for (size_t i = 0; i < KEKD_AES_BLOCK; i++)
		out[KEKD_AES_BLOCK + i] = out[KEKD_AES_BLOCK - 1 - i];
	ghash_key_init(&key, out, &ghash_soft);
	memcpy(out + 2 * KEKD_AES_BLOCK, key.power, KEKD_AES_BLOCK);
	return put(dir_fd, "h", out, sizeof(out));
}

static int save(const struct known *k, const char *dir)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = open(dir, O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = put(fd, "kek", k->kek, sizeof(k->kek));
	if (r == 0)
		r = put_h(k, fd);
	if (r == 0)
		r = put(fd, "root", k->root, sizeof(k->root));
	if (r == 0)
		r = put(fd, "label", k->rec.info.label, strlen(k->rec.info.label));
	return r < 0 ? r : store(k, dir);
}

int main(int argc, char **argv)
{
	struct known k = { 0 };
	int r;

	log_init("known_key", LOG_LEVEL_INFO);
	if (argc != 3) {
		fputs("usage: known_key kernel|value|holder DIR\n", stderr);
		return 2;
	}
	r = make(&k, argv[1]);
	if (r == 0)
		r = save(&k, argv[2]);
	if (r < 0)
		log_error("%s", errno_text(r));
	return r < 0;
}
