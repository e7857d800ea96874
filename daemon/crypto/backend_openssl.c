/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two EVP contexts a key, one for each direction, each with its key schedule kept. With padding off
 * and whole blocks only, EVP_CipherUpdate() keeps nothing back and has no state from one run to the
 * next. A run is done when it is started, and is answered through the deferred list.
 */
#include "daemon/crypto/backend_openssl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sys/mman.h>

#include "daemon/base/cleanup.h"
#include "kekd/limits.h"

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

static void openssl_free(struct block_key *base)
{
	struct openssl_key *key = openssl_key(base);

	EVP_CIPHER_CTX_free(key->ctx[BLOCK_ENCRYPT]);
	EVP_CIPHER_CTX_free(key->ctx[BLOCK_DECRYPT]);
	free(key);
}

static const struct block_key_ops openssl_ops = {
	.name = "openssl",
	.room = openssl_room,
	.start = openssl_start,
	.free = openssl_free,
};

static void openssl_key_free(struct openssl_key *key)
{
	openssl_free(&key->base);
}
DEFINE_CLEANUP(struct openssl_key *, openssl_key_free);

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

static int openssl_schedule(struct openssl_key *key, enum block_dir dir, const EVP_CIPHER *cipher,
			    const uint8_t *bytes)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (!ctx)
		return -ENOMEM;
	key->ctx[dir] = ctx;
	if (!EVP_CipherInit_ex(ctx, cipher, NULL, bytes, NULL, dir == BLOCK_ENCRYPT) ||
	    !EVP_CIPHER_CTX_set_padding(ctx, 0)) {
		ERR_clear_error();
		return -EIO;
	}
	return 0;
}

int backend_openssl_lock_process(void)
{
	return mlockall(MCL_CURRENT | MCL_FUTURE) < 0 ? -errno : 0;
}

int backend_openssl_new(struct block_defer *defer, const uint8_t *key, size_t len,
			struct block_key **ret)
{
	_cleanup_(openssl_key_freep) struct openssl_key *k = NULL;
	const EVP_CIPHER *cipher = openssl_cipher(len);
	int r;

	if (!cipher)
		return -EINVAL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->base.ops = &openssl_ops;
	k->defer = defer;
	r = openssl_schedule(k, BLOCK_ENCRYPT, cipher, key);
	if (r == 0)
		r = openssl_schedule(k, BLOCK_DECRYPT, cipher, key);
	if (r < 0)
		return r;
	*ret = &move_ptr(k)->base;
	return 0;
}
