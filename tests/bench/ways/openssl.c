/* SPDX-License-Identifier: Apache-2.0 */
/* libcrypto, one message after the other: a new IV into a context that keeps its key schedule. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "tests/bench/ways/way.h"

struct openssl {
	const struct load *load;
	EVP_CIPHER_CTX *ctx;
};

static void openssl_close(void *self)
{
	struct openssl *o = self;

	EVP_CIPHER_CTX_free(o->ctx);
	free(o);
}

static int openssl_open(const struct load *l, void **ret)
{
	const EVP_CIPHER *cipher = l->gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
	struct openssl *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->load = l;
	o->ctx = EVP_CIPHER_CTX_new();
	if (!o->ctx ||
	    !EVP_CipherInit_ex(o->ctx, cipher, NULL, bench_key_bytes, NULL, l->encrypt) ||
	    !EVP_CIPHER_CTX_set_padding(o->ctx, 0)) {
		openssl_close(o);
		return -ENOMEM;
	}
	*ret = o;
	return 0;
}

/* The tag to compare goes in before the end, the one to send comes out after it. */
static bool message_do(const struct openssl *o, struct message *m)
{
	const struct load *l = o->load;
	int n, rest;

	return EVP_CipherInit_ex(o->ctx, NULL, NULL, NULL, m->iv, -1) &&
	       EVP_CipherUpdate(o->ctx, m->out, &n, m->in, (int)l->bytes) &&
	       (!l->gcm || l->encrypt ||
		EVP_CIPHER_CTX_ctrl(o->ctx, EVP_CTRL_AEAD_SET_TAG, KEKD_GCM_TAG,
				    m->in + l->bytes)) &&
	       EVP_CipherFinal_ex(o->ctx, m->out + n, &rest) &&
	       (!l->gcm || !l->encrypt ||
		EVP_CIPHER_CTX_ctrl(o->ctx, EVP_CTRL_AEAD_GET_TAG, KEKD_GCM_TAG,
				    m->out + l->bytes));
}

static int openssl_batch(void *self, struct message *messages)
{
	const struct openssl *o = self;

	for (unsigned int i = 0; i < o->load->in_flight; i++)
		if (!message_do(o, &messages[i]))
			return -EBADMSG;
	return 0;
}

const struct way way_openssl = { "openssl", openssl_open, openssl_batch, openssl_close };
