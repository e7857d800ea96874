/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to the engine and back: which key a value meets, and every way in which an attacker
 * or an operator can make it meet none. Key table and provider aesgcm over a real engine.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/chain/chain.h"
#include "tests/support/openssl_seal.h"
#include "tests/support/cipher_bed.h"

#define PREFIX  "k8s:enc:aesgcm:v1:"
#define SEED    32
#define PENDING 1
#define ID_ONE  "01010101010101010101010101010101"
#define SPAN(text)                                        \
	{                                                 \
		(const uint8_t *)(text), sizeof(text) - 1 \
	}

FIXTURE(chain)
{
	struct bed bed;
	struct keytable *keys;
	struct chain_env env;
	struct encconf_key names[2];
	struct encconf_provider provider;
	struct encconf_item item;
	struct chain *chain;
	struct op op;
	uint8_t out[KEKD_KMS_CIPHERTEXT_MAX];
	int result;
	unsigned int called;
};

typedef struct ktest_data_of_chain bench;

static char primary[] = "primary", legacy[] = "legacy";

FIXTURE_SETUP(chain)
{
	struct engine_config config = bed_config();

	ASSERT_OK(bed_open(&self->bed, BED_OPENSSL, &config));
	ASSERT_OK(keytable_new(&self->keys));
	self->env = (struct chain_env){ .engine = self->bed.engine, .keys = self->keys };
	self->names[0].name = primary;
	self->names[1].name = legacy;
	self->provider = (struct encconf_provider){ .kind = ENCCONF_AESGCM,
						    .keys = self->names,
						    .keys_count = 2 };
	self->item = (struct encconf_item){ .providers = &self->provider, .providers_count = 1 };
	ASSERT_OK(chain_new(&self->item, &self->env, &self->chain));
}

FIXTURE_TEARDOWN(chain)
{
	chain_free(self->chain);
	keytable_free(self->keys);
	bed_close(&self->bed);
}

/* Key number @n of the chain entry @name. */
static struct key_info record(uint8_t n, const char *name, enum key_state state)
{
	struct key_info rec = { .key_bytes = 32, .state = state, .activation = 1 };

	memset(rec.id, n, sizeof(rec.id));
	snprintf(rec.name, sizeof(rec.name), "%s", name);
	snprintf(rec.label, sizeof(rec.label), "%s.%u", name, n);
	return rec;
}

static int put(bench *b, const struct key_info *rec)
{
	uint8_t key[32];
	int n, r;

	memset(key, rec->id[0], sizeof(key));
	n = bed_add_key(&b->bed, key, sizeof(key));
	ASSERT_LE(0, n);
	r = keytable_put(b->keys, rec, b->bed.keys[n]);
	if (r < 0)
		bed_remove_key(&b->bed, (unsigned int)n);
	return r;
}

static struct key_info add(bench *b, uint8_t n, const char *name, enum key_state state)
{
	struct key_info rec = record(n, name, state);

	ASSERT_OK(put(b, &rec));
	return rec;
}

static bench *running;

static void done(struct op *op, int r)
{
	ASSERT_EQ(&running->op, op);
	running->called++;
	running->result = r;
}

static void prepare(bench *b, enum op_purpose purpose, struct span in)
{
	running = b;
	memset(&b->op, 0, sizeof(b->op));
	b->op.purpose = purpose;
	b->op.in = in;
	b->op.out = b->out;
	b->op.out_cap = sizeof(b->out);
	b->op.done = done;
	b->called = 0;
	b->result = PENDING;
}

/* What start returned, or what done was told. */
static int finish(bench *b, int r)
{
	if (r < 0) {
		EXPECT_GE(bed_run(&b->bed), 0);
		EXPECT_EQ(0, b->called);
		return r;
	}
	EXPECT_EQ(0, b->called); /* never from inside */
	EXPECT_GE(bed_run(&b->bed), 0);
	EXPECT_EQ(1, b->called);
	return b->result;
}

static int seal(bench *b, enum op_purpose purpose, struct span in)
{
	prepare(b, purpose, in);
	b->op.context = span_str("/registry/secrets/ns/name");
	return finish(b, chain_encrypt(b->chain, &b->op));
}

/* @context: the key_id that came with it (KMS v2), or the etcd key. */
static int unseal(bench *b, enum op_purpose purpose, struct span stored, const char *context)
{
	prepare(b, purpose, stored);
	b->op.context = span_str(context);
	return finish(b, chain_decrypt(b->chain, &b->op));
}

struct value {
	uint8_t bytes[KEKD_KMS_CIPHERTEXT_MAX];
	size_t len;
	char key_id[KEKD_KEY_ID_HEX + 12];
};

static struct span span_of_value(const struct value *v)
{
	return span_of(v->bytes, v->len);
}

static const uint8_t seed[SEED] = "a seed of exactly 32 characters";

static struct value sealed(bench *b, enum op_purpose purpose)
{
	struct value v;

	ASSERT_OK(seal(b, purpose, span_of(seed, SEED)));
	memcpy(v.bytes, b->out, b->op.out_len);
	v.len = b->op.out_len;
	memcpy(v.key_id, b->op.key_id, sizeof(v.key_id));
	return v;
}

static void expect_seed(bench *b)
{
	EXPECT_MEMEQ(seed, SEED, b->out, b->op.out_len);
	EXPECT_STREQ("aesgcm", b->op.provider);
}

TEST_F(chain, form_of_a_value)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2), w = sealed(self, OP_KMS_V2);
	size_t head = strlen(PREFIX) + strlen(rec.label) + 1;

	EXPECT_MEMEQ(PREFIX "primary.1:", head, v.bytes, head);
	EXPECT_EQ(head + KEKD_GCM_NONCE + SEED + KEKD_GCM_TAG, v.len);
	EXPECT_STREQ("01010101010101010101010101010101.1", v.key_id);
	EXPECT_NE(0, memcmp(v.bytes + head, w.bytes + head, KEKD_GCM_NONCE));
}

/* The AAD, byte for byte, as op.h promises it: a value must open after any change of this code. */
TEST_F(chain, aad_of_each_purpose)
{
	static const struct {
		enum op_purpose purpose;
		struct span aad;
	} rows[] = {
		{ OP_KMS_V2, SPAN("kekd kms v2\0" ID_ONE ".1") },
		{ OP_KMS_V1, SPAN("kekd kms v1\0" ID_ONE) },
		{ OP_STORAGE, SPAN("/registry/secrets/ns/name") },
	};
	uint8_t key[KEKD_AES_KEY_MAX], text[SEED];

	memset(key, 1, sizeof(key));
	add(self, 1, primary, KEY_ACTIVE);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct value v = sealed(self, rows[i].purpose);
		const uint8_t *nonce = v.bytes + strlen(PREFIX "primary.1:");
		const uint8_t *sealed_text = nonce + KEKD_GCM_NONCE;

		ASSERT_OK(openssl_gcm_open(key, nonce, rows[i].aad, span_of(sealed_text, SEED),
					   sealed_text + SEED, text));
		EXPECT_MEMEQ(seed, SEED, text, SEED);
	}
}

TEST_F(chain, there_and_back)
{
	add(self, 1, primary, KEY_ACTIVE);
	for (int p = OP_KMS_V2; p <= OP_STORAGE; p++) {
		struct value v = sealed(self, (enum op_purpose)p);

		EXPECT_OK(unseal(self, (enum op_purpose)p, span_of_value(&v),
				 p == OP_STORAGE ? "/registry/secrets/ns/name" : v.key_id));
		expect_seed(self);
		EXPECT_FALSE(self->op.stale);
	}
}

TEST_F(chain, empty_text)
{
	struct value v = { 0 };

	add(self, 1, primary, KEY_ACTIVE);
	ASSERT_OK(seal(self, OP_STORAGE, SPAN_NULL));
	v.len = self->op.out_len;
	memcpy(v.bytes, self->out, v.len);
	EXPECT_OK(unseal(self, OP_STORAGE, span_of_value(&v), "/registry/secrets/ns/name"));
	EXPECT_EQ(0, self->op.out_len);
}

/* A value is good for the use it was made for and no other: the purpose is part of the AAD. */
TEST_F(chain, wrong_purpose)
{
	add(self, 1, primary, KEY_ACTIVE);
	for (int made = OP_KMS_V2; made <= OP_STORAGE; made++) {
		struct value v = sealed(self, (enum op_purpose)made);

		for (int used = OP_KMS_V2; used <= OP_STORAGE; used++) {
			if (used == made)
				continue;
			EXPECT_ERR(-EBADMSG, unseal(self, (enum op_purpose)used, span_of_value(&v),
						    v.key_id));
		}
	}
}

TEST_F(chain, wrong_etcd_key)
{
	struct value v;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_STORAGE);
	EXPECT_ERR(-EBADMSG,
		   unseal(self, OP_STORAGE, span_of_value(&v), "/registry/secrets/ns/nam"));
	EXPECT_ERR(-EBADMSG, unseal(self, OP_STORAGE, span_of_value(&v), ""));
}

/* Any bit of the nonce, the text or the tag; no byte of plaintext comes out. */
TEST_F(chain, tampered)
{
	struct value v;
	size_t head;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	head = v.len - KEKD_GCM_NONCE - SEED - KEKD_GCM_TAG;
	for (size_t i = head; i < v.len; i++) {
		memset(self->out, 0xa5, sizeof(self->out));
		v.bytes[i] ^= 0x10;
		EXPECT_ERR(-EBADMSG, unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
		v.bytes[i] ^= 0x10;
		for (size_t j = 0; j < SEED; j++)
			ASSERT_EQ(0xa5, self->out[j]);
	}
}

TEST_F(chain, cut_short)
{
	struct value v;
	size_t head;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	head = v.len - KEKD_GCM_NONCE - SEED - KEKD_GCM_TAG;
	for (size_t len = 0; len < v.len; len++) {
		int want = len < strlen(PREFIX)                         ? -EINVAL
			   : len < head                                 ? -ENOKEY
			   : len < head + KEKD_GCM_NONCE + KEKD_GCM_TAG ? -EINVAL
									: -EBADMSG;

		EXPECT_ERR(want, unseal(self, OP_KMS_V2, span_of(v.bytes, len), v.key_id));
	}
}

/* KMS v2: the key_id that comes back must name the KEK of the value, and be the one handed out. */
TEST_F(chain, wrong_key_id)
{
	static const char *const unknown[] = { "02020202020202020202020202020202.1",
					       "ffffffffffffffffffffffffffffffff.1",
					       "01010101010101010101010101010101.0" };
	struct value v;

	add(self, 1, primary, KEY_ACTIVE);
	add(self, 2, legacy, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
		EXPECT_ERR(-ENOKEY, unseal(self, OP_KMS_V2, span_of_value(&v), unknown[i]));
	EXPECT_ERR(-EBADMSG, unseal(self, OP_KMS_V2, span_of_value(&v),
				    "01010101010101010101010101010101.2"));
}

/* Another node has activated the key that is staged here, and this one reads what that one writes. */
TEST_F(chain, key_id_of_a_node_that_is_ahead)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2);

	rec.state = KEY_STAGED;
	rec.activation = 0;
	ASSERT_OK(keytable_put(self->keys, &rec, NULL));
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
}

/* A key that was active twice: what the first activation made opens, under its own key_id only. */
TEST_F(chain, key_id_of_another_activation)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2);

	rec.activation = 3;
	ASSERT_OK(keytable_put(self->keys, &rec, NULL));
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	EXPECT_ERR(-EBADMSG, unseal(self, OP_KMS_V2, span_of_value(&v),
				    "01010101010101010101010101010101.2"));
}

TEST_F(chain, ill_formed_key_id)
{
	static const char *const ids[] = { "",
					   "1",
					   "01010101010101010101010101010101",
					   "01010101010101010101010101010101.",
					   "01010101010101010101010101010101.01",
					   "01010101010101010101010101010101.+1",
					   "01010101010101010101010101010101.4294967297",
					   "0101010101010101010101010101010.1",
					   "0101010101010101010101010101010g.1",
					   "01010101010101010101010101010101.1 ",
					   " 01010101010101010101010101010101.1" };
	char longest[KEKD_KMS_KEY_ID_MAX + 1];
	struct value v;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		EXPECT_ERR(-ENOKEY, unseal(self, OP_KMS_V2, span_of_value(&v), ids[i]));
	memset(longest, '1', KEKD_KMS_KEY_ID_MAX);
	longest[KEKD_KMS_KEY_ID_MAX] = '\0';
	EXPECT_ERR(-ENOKEY, unseal(self, OP_KMS_V2, span_of_value(&v), longest));
}

/* A value goes to the key of its label, even if another key would open it. */
TEST_F(chain, label_of_another_key)
{
	struct value v;
	char *digit;

	add(self, 1, primary, KEY_ACTIVE);
	add(self, 2, primary, KEY_DECRYPT_ONLY);
	v = sealed(self, OP_STORAGE);
	digit = (char *)v.bytes + strlen(PREFIX "primary.");
	*digit = '2';
	EXPECT_ERR(-EBADMSG,
		   unseal(self, OP_STORAGE, span_of_value(&v), "/registry/secrets/ns/name"));
	*digit = '3';
	EXPECT_ERR(-ENOKEY,
		   unseal(self, OP_STORAGE, span_of_value(&v), "/registry/secrets/ns/name"));
}

TEST_F(chain, values_of_others)
{
	static const char *const values[] = { "",
					      "plain",
					      "k8s:enc:",
					      "k8s:enc:aescbc:v1:primary.1:x",
					      "k8s:enc:kms:v2:primary.1:x",
					      "k8s:enc:aesgcm:v2:a:x" };

	add(self, 1, primary, KEY_ACTIVE);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		EXPECT_ERR(-EINVAL, unseal(self, OP_STORAGE, span_str(values[i]), ""));
	EXPECT_ERR(-ENOKEY, unseal(self, OP_STORAGE, span_str(PREFIX "primary.1"), ""));
	EXPECT_ERR(-ENOKEY, unseal(self, OP_STORAGE, span_str(PREFIX "primary:x"), ""));
}

/* An imported key may have any name; only the whole label counts. */
TEST_F(chain, label_with_colons)
{
	static char odd[] = "a:b";
	struct key_info rec = record(1, odd, KEY_ACTIVE);
	struct value v;

	self->names[0].name = odd;
	snprintf(rec.label, sizeof(rec.label), "a:b::");
	ASSERT_OK(put(self, &rec));
	v = sealed(self, OP_KMS_V2);
	EXPECT_MEMEQ(PREFIX "a:b:::", strlen(PREFIX) + 6, v.bytes, strlen(PREFIX) + 6);
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	expect_seed(self);
}

/* The labels "a" and "a:b" both stand before a value of "a:b", whichever key came first. */
static void nested_labels(bench *b, uint8_t short_id, uint8_t long_id, enum op_purpose purpose)
{
	static char short_name[] = "a", long_name[] = "a:b";
	struct key_info outer = record(short_id, short_name, KEY_DECRYPT_ONLY);
	struct key_info inner = record(long_id, long_name, KEY_ACTIVE);
	struct value v;

	b->names[0].name = long_name;
	b->names[1].name = short_name;
	snprintf(outer.label, sizeof(outer.label), "a");
	snprintf(inner.label, sizeof(inner.label), "a:b");
	ASSERT_OK(put(b, short_id < long_id ? &outer : &inner));
	ASSERT_OK(put(b, short_id < long_id ? &inner : &outer));
	v = sealed(b, purpose);
	EXPECT_OK(unseal(b, purpose, span_of_value(&v), v.key_id));
	expect_seed(b);
}

TEST_F(chain, nested_labels_v2)
{
	nested_labels(self, 1, 2, OP_KMS_V2);
}

TEST_F(chain, nested_labels_v2_reversed)
{
	nested_labels(self, 2, 1, OP_KMS_V2);
}

TEST_F(chain, nested_labels_v1)
{
	nested_labels(self, 1, 2, OP_KMS_V1);
}

TEST_F(chain, nested_labels_v1_reversed)
{
	nested_labels(self, 2, 1, OP_KMS_V1);
}

/* A tool that may transform values at rest cannot make, or open, what the KMS sockets wrap. */
TEST_F(chain, purposes_do_not_meet)
{
	char aad[12 + KEKD_KEY_ID_HEX + 12] = "kekd kms v2";
	struct value v;
	size_t len;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	snprintf(aad + 12, sizeof(aad) - 12, "%s", v.key_id);
	len = 12 + strlen(v.key_id);
	prepare(self, OP_STORAGE, span_of_value(&v));
	self->op.context = span_of(aad, len);
	EXPECT_ERR(-EINVAL, finish(self, chain_decrypt(self->chain, &self->op)));
	prepare(self, OP_STORAGE, span_of(seed, SEED));
	self->op.context = span_of(aad, len);
	EXPECT_ERR(-EINVAL, finish(self, chain_encrypt(self->chain, &self->op)));
}

/* The key exists on this host but this chain's configuration does not name it. */
TEST_F(chain, key_of_another_chain)
{
	struct value v;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	self->names[0].name = legacy;
	EXPECT_ERR(-ENOKEY, unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
}

TEST_F(chain, stale)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2), w;

	rec.state = KEY_DECRYPT_ONLY;
	ASSERT_OK(keytable_put(self->keys, &rec, NULL));
	add(self, 2, primary, KEY_ACTIVE);
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	expect_seed(self);
	EXPECT_TRUE(self->op.stale);
	w = sealed(self, OP_KMS_V2);
	EXPECT_STREQ("02020202020202020202020202020202.1", w.key_id);
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&w), w.key_id));
	EXPECT_FALSE(self->op.stale);
}

/* Active, but of the second name of the configuration: read, and to be written anew. */
TEST_F(chain, second_name_is_stale)
{
	struct value v;

	add(self, 1, legacy, KEY_ACTIVE);
	self->names[0].name = legacy;
	v = sealed(self, OP_KMS_V2);
	self->names[0].name = primary;
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	EXPECT_TRUE(self->op.stale);
	EXPECT_ERR(-ENOKEY, seal(self, OP_KMS_V2, span_of(seed, SEED)));
}

TEST_F(chain, states)
{
	static const struct {
		enum key_state state;
		int encrypt, decrypt;
	} rows[] = {
		{ KEY_STAGED, -ENOKEY, 0 },
		{ KEY_ACTIVE, 0, 0 },
		{ KEY_DECRYPT_ONLY, -ENOKEY, 0 },
		{ KEY_RETIRED, -ENOKEY, -EKEYREJECTED },
		{ KEY_DESTROYED, -ENOKEY, -EKEYREJECTED },
	};
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rec.state = rows[i].state;
		ASSERT_OK(keytable_put(self->keys, &rec, NULL));
		EXPECT_ERR(rows[i].encrypt, seal(self, OP_KMS_V2, span_of(seed, SEED)));
		EXPECT_ERR(rows[i].decrypt, unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	}
}

TEST_F(chain, withdrawn)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2);
	const char *key_id;

	ASSERT_OK(keytable_withdraw(self->keys, rec.id, -EKEYEXPIRED));
	EXPECT_ERR(-EKEYEXPIRED, seal(self, OP_KMS_V2, span_of(seed, SEED)));
	EXPECT_ERR(-EKEYEXPIRED, unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	EXPECT_ERR(-EKEYEXPIRED, chain_key_id(self->chain, &key_id));
	/* Sealed and opened again: the same key comes back. */
	ASSERT_OK(put(self, &rec));
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	expect_seed(self);
}

/* It has encrypted as much as it may: what it has written opens, and another key of the name writes. */
TEST_F(chain, spent)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	struct value v = sealed(self, OP_KMS_V2);
	const char *key_id;

	keytable_find(self->keys, rec.id)->spent = true;
	EXPECT_ERR(-EDQUOT, seal(self, OP_KMS_V2, span_of(seed, SEED)));
	EXPECT_ERR(-EDQUOT, chain_key_id(self->chain, &key_id));
	EXPECT_OK(unseal(self, OP_KMS_V2, span_of_value(&v), v.key_id));
	expect_seed(self);
	rec = add(self, 2, primary, KEY_ACTIVE);
	EXPECT_OK(seal(self, OP_KMS_V2, span_of(seed, SEED)));
}

TEST_F(chain, withdrawn_under_way)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);

	prepare(self, OP_KMS_V2, span_of(seed, SEED));
	ASSERT_OK(chain_encrypt(self->chain, &self->op));
	ASSERT_OK(keytable_withdraw(self->keys, rec.id, -EKEYREVOKED));
	EXPECT_GE(bed_run(&self->bed), 0);
	EXPECT_EQ(1, self->called);
	EXPECT_ERR(-EKEYREVOKED, self->result);
}

TEST_F(chain, cancelled)
{
	add(self, 1, primary, KEY_ACTIVE);
	prepare(self, OP_KMS_V2, span_of(seed, SEED));
	ASSERT_OK(chain_encrypt(self->chain, &self->op));
	chain_cancel(self->chain, &self->op);
	EXPECT_EQ(0, self->called);
	EXPECT_GE(bed_run(&self->bed), 0);
	EXPECT_EQ(1, self->called);
	EXPECT_ERR(-ECANCELED, self->result);
}

/* The longest seed whose ciphertext KMS v2 may carry, and one byte more. */
TEST_F(chain, largest_ciphertext)
{
	uint8_t text[KEKD_KMS_CIPHERTEXT_MAX] = { 0 };
	size_t fits = KEKD_KMS_CIPHERTEXT_MAX - strlen(PREFIX "primary.1:") - KEKD_GCM_NONCE -
		      KEKD_GCM_TAG;
	const char *key_id;

	add(self, 1, primary, KEY_ACTIVE);
	EXPECT_OK(seal(self, OP_KMS_V2, span_of(text, fits)));
	EXPECT_EQ(KEKD_KMS_CIPHERTEXT_MAX, self->op.out_len);
	EXPECT_ERR(-EMSGSIZE, seal(self, OP_KMS_V2, span_of(text, fits + 1)));
	EXPECT_ERR(-EMSGSIZE, seal(self, OP_KMS_V2, span_of(text, SIZE_MAX)));
	EXPECT_LE(strlen(PREFIX "primary.1:") + KEKD_GCM_NONCE + KEKD_GCM_TAG,
		  chain_overhead(self->chain));
	EXPECT_OK(chain_key_id(self->chain, &key_id));
}

TEST_F(chain, no_room_at_all)
{
	add(self, 1, primary, KEY_ACTIVE);
	for (size_t cap = 0; cap < strlen(PREFIX "primary.1:") + 28 + SEED; cap += 7) {
		prepare(self, OP_KMS_V2, span_of(seed, SEED));
		self->op.out_cap = cap;
		EXPECT_ERR(-EMSGSIZE, chain_encrypt(self->chain, &self->op));
	}
}

TEST_F(chain, no_room_to_open)
{
	struct value v;

	add(self, 1, primary, KEY_ACTIVE);
	v = sealed(self, OP_KMS_V2);
	prepare(self, OP_KMS_V2, span_of_value(&v));
	self->op.context = span_str(v.key_id);
	self->op.out_cap = SEED - 1;
	EXPECT_ERR(-EMSGSIZE, chain_decrypt(self->chain, &self->op));
}

TEST_F(chain, no_key)
{
	const char *key_id = "untouched";

	EXPECT_ERR(-ENOKEY, seal(self, OP_KMS_V2, span_of(seed, SEED)));
	EXPECT_ERR(-ENOKEY, chain_key_id(self->chain, &key_id));
	EXPECT_STREQ("untouched", key_id);
	EXPECT_ERR(-ENOKEY, unseal(self, OP_KMS_V2, span_str(PREFIX "primary.1:x"), "x"));
}

/* Status and Encrypt read one and the same key. */
TEST_F(chain, key_id_is_the_writing_key)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	const char *key_id;

	add(self, 2, legacy, KEY_ACTIVE);
	rec.activation = 7;
	ASSERT_OK(keytable_put(self->keys, &rec, NULL));
	ASSERT_OK(chain_key_id(self->chain, &key_id));
	EXPECT_STREQ("01010101010101010101010101010101.7", key_id);
	EXPECT_STREQ(key_id, sealed(self, OP_KMS_V2).key_id);
}

TEST_F(chain, unknown_provider)
{
	struct encconf_provider other = { .kind = ENCCONF_KMS };
	struct encconf_item item = { .providers = &other, .providers_count = 1 };
	struct chain *none = NULL;

	EXPECT_ERR(-EOPNOTSUPP, chain_new(&item, &self->env, &none));
	EXPECT_NULL(none);
}

TEST_F(chain, table_refuses_a_second_key_of_a_label)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE), twin = rec;

	memset(twin.id, 9, sizeof(twin.id));
	EXPECT_ERR(-EEXIST, put(self, &twin));
	EXPECT_NULL(keytable_find(self->keys, twin.id));
	/* Nor may a known key take another's label. */
	add(self, 2, legacy, KEY_ACTIVE);
	twin = record(2, legacy, KEY_ACTIVE);
	snprintf(twin.label, sizeof(twin.label), "%s", rec.label);
	EXPECT_ERR(-EEXIST, put(self, &twin));
	EXPECT_STREQ("legacy.2", keytable_find(self->keys, twin.id)->info.label);
}

TEST_F(chain, table_finds)
{
	struct key_info rec = add(self, 1, primary, KEY_ACTIVE);
	const struct chain_key *k = keytable_find(self->keys, rec.id);

	ASSERT_TRUE(k != NULL);
	EXPECT_OK(chain_key_opens(k));
	EXPECT_STREQ("primary.1", k->info.label);
	ASSERT_OK(keytable_withdraw(self->keys, rec.id, -EKEYREVOKED));
	EXPECT_ERR(-EKEYREVOKED, chain_key_opens(k));
	memset(rec.id, 8, sizeof(rec.id));
	EXPECT_NULL(keytable_find(self->keys, rec.id));
	EXPECT_ERR(-ENOKEY, keytable_withdraw(self->keys, rec.id, -EKEYREVOKED));
}

TEST_F(chain, table_bound)
{
	struct key_info rec = record(1, primary, KEY_STAGED);

	for (unsigned int i = 0; i <= KEKD_KEYS_MAX; i++) {
		memcpy(rec.id, &i, sizeof(i));
		snprintf(rec.label, sizeof(rec.label), "primary.%u", i);
		EXPECT_ERR(i < KEKD_KEYS_MAX ? 0 : -ENOBUFS, keytable_put(self->keys, &rec, NULL));
	}
}

TEST_HARNESS_MAIN
