/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's idea with a key in the process: blocks of many messages side by side through libcrypto's
 * ECB, and GCM or CBC finished by the same functions that the engine uses. No queue, no jobs, no
 * callbacks: nothing here can be left out.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "daemon/crypto/cbc.h"
#include "tests/bench/ways/gcm_blocks.h"

/* Blocks that are worked on at once, about: what a first-level cache holds. */
#define RUN_BLOCKS 1024U

struct coalesced {
	const struct load *load;
	EVP_CIPHER_CTX *ctx;
	struct ghash_key h;
	size_t each;        /* blocks of a message */
	unsigned int group; /* messages in a run, at least one */
	uint8_t *blocks;    /* of a run */
	uint8_t (*chain)[KEKD_AES_BLOCK];
};

static bool ecb(const struct coalesced *c, uint8_t *blocks, size_t n)
{
	int len;

	return EVP_CipherUpdate(c->ctx, blocks, &len, blocks, (int)(n * KEKD_AES_BLOCK));
}

static void coalesced_close(void *self)
{
	struct coalesced *c = self;

	EVP_CIPHER_CTX_free(c->ctx);
	free(c->blocks);
	free(c->chain);
	free(c);
}

static int prepare(struct coalesced *c)
{
	const struct load *l = c->load;
	uint8_t zero[KEKD_AES_BLOCK] = { 0 };
	bool forward = l->gcm || l->encrypt;

	c->each = l->gcm ? gcm_blocks(l) : l->bytes / KEKD_AES_BLOCK;
	c->group = (unsigned int)(c->each < RUN_BLOCKS ? RUN_BLOCKS / c->each : 1);
	c->blocks = malloc((c->group * c->each + l->in_flight) * KEKD_AES_BLOCK);
	c->chain = calloc(l->in_flight, sizeof(*c->chain));
	c->ctx = EVP_CIPHER_CTX_new();
	if (!c->blocks || !c->chain || !c->ctx ||
	    !EVP_CipherInit_ex(c->ctx, EVP_aes_256_ecb(), NULL, bench_key_bytes, NULL, forward) ||
	    !EVP_CIPHER_CTX_set_padding(c->ctx, 0) || !ecb(c, zero, 1))
		return -ENOMEM;
	ghash_key_init(&c->h, zero, ghash_best());
	return 0;
}

static int coalesced_open(const struct load *l, void **ret)
{
	struct coalesced *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->load = l;
	r = prepare(c);
	if (r == 0)
		*ret = c;
	else
		coalesced_close(c);
	return r;
}

static int gcm_run(struct coalesced *c, struct message *m, unsigned int n)
{
	size_t bytes = c->each * KEKD_AES_BLOCK;
	int r = 0;

	for (unsigned int i = 0; i < n; i++)
		gcm_counters(m[i].iv, 0, c->each, c->blocks + i * bytes);
	if (!ecb(c, c->blocks, n * c->each))
		return -EIO;
	for (unsigned int i = 0; r == 0 && i < n; i++)
		r = gcm_finish(&c->h, c->load, &m[i], c->blocks + i * bytes);
	return r;
}

static int cbc_decrypt_run(struct coalesced *c, struct message *m, unsigned int n)
{
	size_t bytes = c->load->bytes;

	for (unsigned int i = 0; i < n; i++)
		memcpy(c->blocks + i * bytes, m[i].in, bytes);
	if (!ecb(c, c->blocks, n * c->each))
		return -EIO;
	for (unsigned int i = 0; i < n; i++) {
		memcpy(c->chain[i], m[i].iv, KEKD_AES_BLOCK);
		cbc_decrypt_output(c->chain[i], m[i].in, c->blocks + i * bytes, c->each, m[i].out);
	}
	return 0;
}

/* In lock-step: block after block, each of all messages at once. */
static int cbc_encrypt(const struct coalesced *c, struct message *m)
{
	unsigned int n = c->load->in_flight;

	for (unsigned int i = 0; i < n; i++)
		memcpy(c->chain[i], m[i].iv, KEKD_AES_BLOCK);
	for (size_t at = 0; at < c->load->bytes; at += KEKD_AES_BLOCK) {
		for (unsigned int i = 0; i < n; i++)
			cbc_encrypt_input(c->chain[i], m[i].in + at,
					  c->blocks + (size_t)KEKD_AES_BLOCK * i);
		if (!ecb(c, c->blocks, n))
			return -EIO;
		for (unsigned int i = 0; i < n; i++)
			cbc_encrypt_output(c->chain[i], c->blocks + (size_t)KEKD_AES_BLOCK * i,
					   m[i].out + at);
	}
	return 0;
}

static int coalesced_batch(void *self, struct message *messages)
{
	struct coalesced *c = self;
	const struct load *l = c->load;
	unsigned int n, i;
	int r = 0;

	if (!l->gcm && l->encrypt)
		return cbc_encrypt(c, messages);
	for (i = 0; r == 0 && i < l->in_flight; i += n) {
		n = l->in_flight - i < c->group ? l->in_flight - i : c->group;
		r = (l->gcm ? gcm_run : cbc_decrypt_run)(c, messages + i, n);
	}
	return r;
}

const struct way way_coalesced = { "userspace-coalesced", coalesced_open, coalesced_batch,
				   coalesced_close };
