/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two EVP contexts a key, one for each direction, each with its key schedule kept. With padding off
 * and whole blocks only, EVP_CipherUpdate() keeps nothing back and has no state from one run to the
 * next. A run is done when it is started, and is answered through the deferred list.
 */
#include "daemon/crypto/backend_openssl.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "daemon/base/cleanup.h"
#include <kekd/limits.h>

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free);

struct openssl_key {
	struct block_key base;
	struct block_defer *defer; /* borrowed */
	EVP_CIPHER_CTX *ctx[2];    /* by enum block_dir */
};

static struct openssl_key *openssl_key(const struct block_key *key)
{
	return container_of(key, struct openssl_key, base);
}

static unsigned int openssl_room(_unused_ const struct block_key *key)
{
	return 1; /* there is always room for another */
}

static int openssl_start(struct block_key *base, struct block_run *run)
{
	struct openssl_key *key = openssl_key(base);
	int len = (int)(run->blocks * KEKD_AES_BLOCK), n = 0;
	bool good;

	good = EVP_CipherUpdate(key->ctx[run->dir], run->out, &n, run->in, len) && n == len;
	if (!good)
		ERR_clear_error();
	block_run_defer(key->defer, run, good ? 0 : -EIO);
	return 0;
}

static void backend_openssl_free(struct block_key *base)
{
	struct openssl_key *key = openssl_key(base);

	EVP_CIPHER_CTX_free(key->ctx[BLOCK_ENCRYPT]);
	EVP_CIPHER_CTX_free(key->ctx[BLOCK_DECRYPT]);
	OPENSSL_free(key);
}

static const struct block_key_ops openssl_ops = {
	.name = "openssl",
	.room = openssl_room,
	.start = openssl_start,
	.free = backend_openssl_free,
};

static const EVP_CIPHER *openssl_cipher(size_t key_len)
{
	switch (key_len) {
	case 16:
		return EVP_aes_128_ecb();
	case 24:
		return EVP_aes_192_ecb();
	case 32:
		return EVP_aes_256_ecb();
	default:
		return NULL;
	}
}

static int openssl_schedule(const EVP_CIPHER *cipher, enum block_dir dir, const uint8_t *key,
			    EVP_CIPHER_CTX **ret)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (!ctx)
		return -ENOMEM;
	if (!EVP_CipherInit_ex(ctx, cipher, NULL, key, NULL, dir == BLOCK_ENCRYPT) ||
	    !EVP_CIPHER_CTX_set_padding(ctx, 0)) {
		ERR_clear_error();
		return -EIO;
	}
	*ret = move_ptr(ctx);
	return 0;
}

int backend_openssl_new(struct block_defer *defer, const uint8_t *key, size_t len,
			struct block_key **ret)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *encrypt = NULL, *decrypt = NULL;
	const EVP_CIPHER *cipher = openssl_cipher(len);
	struct openssl_key *k;
	int r;

	if (!cipher)
		return -EINVAL;
	r = openssl_schedule(cipher, BLOCK_ENCRYPT, key, &encrypt);
	if (r == 0)
		r = openssl_schedule(cipher, BLOCK_DECRYPT, key, &decrypt);
	if (r < 0)
		return r;
	k = OPENSSL_malloc(sizeof(*k)); /* one heap for all of it (crypto/openssl_heap.h) */
	if (!k)
		return -ENOMEM;
	*k = (struct openssl_key){
		.base.ops = &openssl_ops,
		.defer = defer,
		.ctx = { [BLOCK_ENCRYPT] = move_ptr(encrypt), [BLOCK_DECRYPT] = move_ptr(decrypt) },
	};
	*ret = (struct block_key *)k; /* its first member */
	return 0;
}
