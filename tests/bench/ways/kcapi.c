/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkcapi's one-shot calls, one message after the other. It sends a message with one sendmsg(2) that
 * waits for room, and waits for ever for more room than a socket has: no messages as long as that.
 */
#include <errno.h>
#include <kcapi.h>
#include <stdlib.h>

#include "tests/bench/ways/way.h"

#define BYTES_MAX (128U * 1024)

struct kcapi {
	const struct load *load;
	struct kcapi_handle *h;
};

static void kcapi_close(void *self)
{
	struct kcapi *k = self;

	if (k->load->gcm)
		kcapi_aead_destroy(k->h);
	else
		kcapi_cipher_destroy(k->h);
	free(k);
}

static int gcm_open(struct kcapi *k)
{
	int r = kcapi_aead_init(&k->h, "gcm(aes)", 0);

	if (r < 0)
		return r;
	r = kcapi_aead_setkey(k->h, bench_key_bytes, sizeof(bench_key_bytes));
	if (r == 0)
		r = kcapi_aead_settaglen(k->h, KEKD_GCM_TAG);
	kcapi_aead_setassoclen(k->h, 0);
	return r;
}

static int cbc_open(struct kcapi *k)
{
	int r = kcapi_cipher_init(&k->h, "cbc(aes)", 0);

	return r < 0 ? r : kcapi_cipher_setkey(k->h, bench_key_bytes, sizeof(bench_key_bytes));
}

static int kcapi_open(const struct load *l, void **ret)
{
	struct kcapi *k;
	int r;

	if (l->bytes > BYTES_MAX)
		return -EMSGSIZE;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->load = l;
	r = l->gcm ? gcm_open(k) : cbc_open(k);
	if (r == 0) {
		*ret = k;
		return 0;
	}
	if (k->h)
		kcapi_close(k);
	else
		free(k);
	return r;
}

static ssize_t message_do(const struct kcapi *k, struct message *m)
{
	const struct load *l = k->load;
	size_t in = load_in(l), out = load_out(l);

	if (l->gcm)
		return (l->encrypt ? kcapi_aead_encrypt : kcapi_aead_decrypt)(
			k->h, m->in, in, m->iv, m->out, out, KCAPI_ACCESS_SENDMSG);
	return (l->encrypt ? kcapi_cipher_encrypt : kcapi_cipher_decrypt)(
		k->h, m->in, in, m->iv, m->out, out, KCAPI_ACCESS_SENDMSG);
}

static int kcapi_batch(void *self, struct message *messages)
{
	const struct kcapi *k = self;
	ssize_t n;

	for (unsigned int i = 0; i < k->load->in_flight; i++) {
		n = message_do(k, &messages[i]);
		if (n < 0)
			return (int)n;
		if ((size_t)n != load_out(k->load))
			return -EIO;
	}
	return 0;
}

const struct way way_kcapi = { "libkcapi", kcapi_open, kcapi_batch, kcapi_close };
