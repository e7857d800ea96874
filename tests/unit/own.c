/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that kube-apiserver has stored with kekd as its KMS plugin, in every form that it has written
 * since 1.10: made here as it makes them, with data keys that the chain has sealed, and opened as a whole.
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/chain/dekvalue.h"
#include "daemon/chain/encobj.h"
#include "daemon/chain/own.h"
#include "daemon/crypto/digest.h"
#include "daemon/crypto/openssl_dek.h"
#include "tests/support/chain_bed.h"

#define YAML                                       \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"                           \
	"  - aesgcm: { keys: [ { name: a }, { name: b } ] }\n"
#define YAML_OTHER_FIRST                           \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"                           \
	"  - aesgcm: { keys: [ { name: b }, { name: a } ] }\n"

static const uint8_t key_a[32] = "0123456789abcdef0123456789abcde";
static const uint8_t key_b[32] = "another key of the same length.";
static const uint8_t dek[32] = "a data key of the apiserver's ow";
static const char path[] = "/registry/secrets/default/one";
static const char plain[] = "what is in the Secret";

FIXTURE(own)
{
	struct chain_bed bed;
	uint8_t value[1024];
	size_t len;
	size_t edek_at; /* in value */
};

FIXTURE_VARIANT(own)
{
	enum bed_backend backend;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(own, openssl) { BED_OPENSSL };
FIXTURE_VARIANT_ADD(own, fake) { BED_FAKE };
/* clang-format on */

typedef struct ktest_data_of_own fix;

FIXTURE_SETUP(own)
{
	const struct chain_bed_key a = { "a", "a", key_a, 32, false, KEY_ACTIVE };
	const struct chain_bed_key b = { "b", "b", key_b, 32, false, KEY_ACTIVE };

	ASSERT_OK(chain_bed_open(&self->bed, variant->backend, YAML, false));
	ASSERT_LE(0, chain_bed_key(&self->bed, &a));
	ASSERT_LE(0, chain_bed_key(&self->bed, &b));
}

FIXTURE_TEARDOWN(own)
{
	chain_bed_close(&self->bed);
}

/* nonce ‖ ciphertext ‖ tag of the plaintext to @out. */
static size_t seal(const uint8_t *with, uint8_t *out)
{
	memset(out, 7, KEKD_GCM_NONCE);
	ASSERT_OK(openssl_dek_seal(span_of(with, 32), out, span_str(path), span_str(plain),
				   out + KEKD_GCM_NONCE));
	return KEKD_GCM_NONCE + strlen(plain) + KEKD_GCM_TAG;
}

static void make_v2(fix *f, enum dek_type type)
{
	uint8_t data[256], own_dek[32];
	struct encobj obj = { .type = type };
	_cleanup_free_ uint8_t *tail = NULL;
	size_t n = 0, tail_len;
	static const char prefix[] = "k8s:enc:kms:v2:whatever:";

	if (type == DEK_HKDF_XNONCE_SEED) {
		memset(data, 3, DEKVALUE_INFO);
		ASSERT_OK(hkdf_expand_sha256(span_of(dek, 32), span_of(data, DEKVALUE_INFO),
					     own_dek));
		n = DEKVALUE_INFO + seal(own_dek, data + DEKVALUE_INFO);
	} else {
		n = seal(dek, data);
	}
	ASSERT_OK(chain_bed_seal(&f->bed, OP_KMS_V2, span_of(dek, 32)));
	obj.dek = chain_bed_output(&f->bed);
	obj.key_id = span_str(f->bed.op.key_id);
	ASSERT_OK(encobj_tail(&obj, &tail, &tail_len));
	f->len = strlen(prefix);
	memcpy(f->value, prefix, f->len);
	f->len += encobj_head(f->value + f->len, n);
	memcpy(f->value + f->len, data, n);
	memcpy(f->value + f->len + n, tail, tail_len);
	f->len += n + tail_len;
	f->edek_at = f->len - 8;
}

static void make_v1(fix *f, const char *name, struct span body)
{
	struct span edek;

	ASSERT_OK(chain_bed_seal(&f->bed, OP_KMS_V1, span_of(dek, 32)));
	edek = chain_bed_output(&f->bed);
	f->len = (size_t)sprintf((char *)f->value, "k8s:enc:kms:v1:%s:", name);
	f->value[f->len++] = (uint8_t)(edek.len >> 8);
	f->value[f->len++] = (uint8_t)edek.len;
	memcpy(f->value + f->len, edek.data, edek.len);
	f->len += edek.len;
	f->edek_at = f->len - 1;
	memcpy(f->value + f->len, body.data, body.len);
	f->len += body.len;
}

static int open_at(fix *f, const char *at)
{
	return chain_bed_open_own(&f->bed, span_str(at), span_of(f->value, f->len));
}

static void expect_opens(fix *f, bool stale)
{
	struct span out;

	ASSERT_TRUE(own_match(span_of(f->value, f->len)));
	ASSERT_OK(open_at(f, path));
	out = chain_bed_output(&f->bed);
	EXPECT_MEMEQ(plain, strlen(plain), out.data, out.len);
	EXPECT_EQ(stale, f->bed.op.stale);
	EXPECT_STREQ("kms", f->bed.op.provider);
	EXPECT_TRUE(*f->bed.op.key_id);
}

/* Any part of it altered, or under another path. */
static void expect_bound(fix *f)
{
	EXPECT_ERR(-EBADMSG, open_at(f, "/registry/secrets/default/two"));
	f->value[f->edek_at] ^= 1;
	EXPECT_ERR(-EBADMSG, open_at(f, path));
	f->value[f->edek_at] ^= 1;
}

TEST_F(own, v2_seed)
{
	make_v2(self, DEK_HKDF_XNONCE_SEED);
	expect_opens(self, false);
	expect_bound(self);
}

TEST_F(own, v2_key)
{
	make_v2(self, DEK_AES_GCM_KEY);
	expect_opens(self, true);
	expect_bound(self);
}

TEST_F(own, v1)
{
	uint8_t body[128];
	size_t n = seal(dek, body);

	make_v1(self, "name", span_of(body, n));
	expect_opens(self, false);
	expect_bound(self);
	make_v1(self, "with:colons:", span_of(body, n));
	expect_opens(self, false);
}

/* Until 1.24: IV and CBC. E_K(x) is taken from GCM's keystream: CBC of one block, made by hand. */
TEST_F(own, v1_cbc)
{
	uint8_t zeros[16] = { 0 }, body[12 + 16 + 16], iv[16] = { 0 }, block[16];

	/* Any block decrypts to something; with the right IV it has good padding. */
	memset(body, 0x5a, 32);
	ASSERT_OK(openssl_dek_cbc_decrypt(span_of(dek, 32), zeros, span_of(body + 16, 16), block));
	for (size_t i = 0; i < 16; i++)
		iv[i] = block[i] ^ (i < 11 ? (uint8_t) "CBC of 1.24"[i] : 5);
	memcpy(body, iv, 16);
	make_v1(self, "name", span_of(body, 32));
	ASSERT_OK(open_at(self, path));
	EXPECT_MEMEQ("CBC of 1.24", 11, chain_bed_output(&self->bed).data,
		     chain_bed_output(&self->bed).len);
	EXPECT_TRUE(self->bed.op.stale);
}

TEST_F(own, stale_under_an_earlier_key)
{
	make_v2(self, DEK_HKDF_XNONCE_SEED);
	ASSERT_OK(chain_bed_swap(&self->bed, YAML_OTHER_FIRST));
	expect_opens(self, true);
}

TEST_F(own, what_is_not_our_own)
{
	uint8_t body[128];
	size_t n = seal(dek, body);
	static const char *const other[] = { "",
					     "plain",
					     "k8s:enc:kms:v1:",
					     "k8s:enc:kms:v1:a:\1\2b",
					     "k8s:enc:kms:v2:a:b",
					     "k8s:enc:aesgcm:v1:a:b" };

	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		EXPECT_FALSE(own_match(span_str(other[i])));
		EXPECT_ERR(-EINVAL,
			   chain_bed_open_own(&self->bed, span_str(path), span_str(other[i])));
	}
	/* Sealed by a kekd whose key is not here. */
	make_v1(self, "name", span_of(body, n));
	self->value[strlen("k8s:enc:kms:v1:name:") + 2 + strlen("k8s:enc:aesgcm:v1:")] = 'z';
	EXPECT_TRUE(own_match(span_of(self->value, self->len)));
	EXPECT_ERR(-ENOKEY, open_at(self, path));
}

TEST_F(own, cut_everywhere)
{
	int r;

	make_v2(self, DEK_HKDF_XNONCE_SEED);
	while (self->len-- > 0) {
		r = open_at(self, path);
		EXPECT_TRUE(r == -EINVAL || r == -EBADMSG || r == -ENOKEY);
	}
}

TEST_HARNESS_MAIN
