/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider secretbox: "k8s:enc:secretbox:v1:NAME:" nonce 24 ‖ Poly1305 tag 16 ‖ XSalsa20 text, the
 * apiserver's bytes (storage/value/encrypt/secretbox/secretbox.go), by libsodium. The etcd key is
 * not bound: the format has no place for it.
 *
 * The kernel has no XSalsa20, so this is the one provider whose key lies in the server's memory
 * (locked, wiped). It exists to read what is stored and to leave it; `policy: strict` refuses it.
 * The work is done inside the call, 3 MiB in about 4 ms; the answer comes from the deferred list.
 *
 * Not for KMS purposes: a KEK is never a key in a process's memory.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "daemon/base/random.h"
#include "daemon/chain/codec.h"
#include "daemon/chain/keyed.h"
#include "daemon/chain/providers.h"
#include "daemon/keys/softkey.h"

#define PREFIX CODEC_ENC "secretbox:v1:"
#define NONCE  crypto_secretbox_NONCEBYTES
#define TAG    crypto_secretbox_MACBYTES

_Static_assert(NONCE == 24 && TAG == 16, "the apiserver's form");
_Static_assert(crypto_secretbox_KEYBYTES == KEKD_AES_KEY_MAX, "a softkey holds the key");

static size_t secretbox_overhead(const struct provider *p _unused_)
{
	return strlen(PREFIX) + KEKD_LABEL_MAX + 1 + NONCE + TAG;
}

static int secretbox_encrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k;
	uint8_t *nonce;
	size_t head;
	int r;

	if (op->purpose != OP_STORAGE)
		return -EOPNOTSUPP;
	r = keyed_writer(g, &k);
	if (r < 0)
		return r;
	head = codec_prefix_len(PREFIX, span_str(k->info.label));
	if (op->in.len > KEKD_VALUE_MAX || op->out_cap < head + NONCE + TAG + op->in.len)
		return -EMSGSIZE;
	nonce = op->out + head;
	r = random_bytes(nonce, NONCE);
	if (r < 0)
		return r;
	codec_prefix_put(op->out, PREFIX, span_str(k->info.label));
	crypto_secretbox_easy(nonce + NONCE, op->in.data, op->in.len, nonce,
			      softkey_bytes(k->soft));
	op->out_len = head + NONCE + TAG + op->in.len;
	op->stale = false;
	keyed_note(op, g, k);
	k->encryptions++;
	defer_op(g->env.defer, op, 0);
	return 0;
}

static int secretbox_decrypt(struct provider *p, struct op *op)
{
	struct keyed *g = keyed_of(p);
	struct chain_key *k;
	struct span body, box;
	int r;

	r = keyed_reader(g, op, &k, &body);
	if (r < 0)
		return r;
	if (!body.data || body.len < NONCE + TAG)
		return -EINVAL;
	box = span_skip(body, NONCE);
	if (box.len - TAG > op->out_cap)
		return -EMSGSIZE;
	/* The tag is compared before the first byte is deciphered. */
	r = crypto_secretbox_open_easy(op->out, box.data, box.len, body.data,
				       softkey_bytes(k->soft));
	op->out_len = box.len - TAG;
	op->stale = keyed_is_stale(g, k);
	keyed_note(op, g, k);
	k->decryptions++;
	defer_op(g->env.defer, op, r == 0 ? 0 : -EBADMSG);
	return 0;
}

static const struct provider_ops secretbox_ops = {
	.kind = "secretbox",
	.prefix = PREFIX,
	.overhead = secretbox_overhead,
	.match = keyed_match,
	.candidates = keyed_candidates,
	.encrypt = secretbox_encrypt,
	.decrypt = secretbox_decrypt,
	.key_id = keyed_no_key_id,
	.free = keyed_free,
};

int provider_secretbox_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

int provider_secretbox_new(const struct encconf_provider *e, const struct chain_env *env,
			   struct provider **ret)
{
	return keyed_new(&secretbox_ops, e, env, ret);
}
