/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The providers with keys of our own, and identity: values that kube-apiserver's own code has stored
 * (tests/vectors/vectors.json), values that go out and come back, staleness, names that overlap, and
 * everything that can be wrong with a stored value.
 */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/harness/ktest.h"
#include "tests/support/chain_bed.h"

#define HEAD                                       \
	"apiVersion: apiserver.config.k8s.io/v1\n" \
	"kind: EncryptionConfiguration\n"          \
	"resources:\n"                             \
	"- resources: [secrets]\n"                 \
	"  providers:\n"
#define KEYS(kind, list) "  - " kind ": { keys: [" list "] }\n"
#define NAME(name)       "{ name: \"" name "\" }"
#define PATH             "/registry/secrets/default/test"
#define ALL_PROVIDERS                                                            \
	HEAD KEYS("aescbc", NAME("key1") ", " NAME("key2") ", " NAME("key3"))    \
		KEYS("aesgcm", NAME("key4") ", " NAME("key5") ", " NAME("key6")) \
			KEYS("secretbox", NAME("key7")) "  - identity: {}\n"

static const uint8_t key_a[32] = "0123456789abcdef0123456789abcdef";
static const uint8_t key_b[32] = "another key, another key, 32 byt";

FIXTURE(chain)
{
	struct chain_bed bed;
};

FIXTURE_VARIANT(chain)
{
	enum bed_backend backend;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(chain, openssl) { BED_OPENSSL };
FIXTURE_VARIANT_ADD(chain, fake) { BED_FAKE };
FIXTURE_VARIANT_ADD(chain, kernel) { BED_KERNEL };
FIXTURE_VARIANT_ADD(chain, holder) { BED_HOLDER };
/* clang-format on */

FIXTURE_SETUP(chain)
{
	if (variant->backend == BED_KERNEL)
		SKIP_UNLESS("afalg", bed_kernel_serves(), "no AF_ALG with keys by serial here");
	ASSERT_OK(chain_bed_open(&self->bed, variant->backend, ALL_PROVIDERS, false));
}

FIXTURE_TEARDOWN(chain)
{
	chain_bed_close(&self->bed);
}

static int put(struct chain_bed *b, const char *name, const char *label, const uint8_t *bytes,
	       size_t len)
{
	struct chain_bed_key key = { name, label, bytes, len, false, KEY_ACTIVE };
	int n = chain_bed_key(b, &key);

	ASSERT_LE(0, n);
	return n;
}

static void put_secretbox(struct chain_bed *b, const char *name, const uint8_t *bytes)
{
	struct chain_bed_key key = { name, name, bytes, 32, true, KEY_ACTIVE };

	ASSERT_LE(0, chain_bed_key(b, &key));
}

/* Bytes of a vector's field; caller frees *ret_data. Room for more behind them. */
static size_t field_bytes(const json_t *v, const char *name, uint8_t **ret_data)
{
	const char *text = json_string_value(json_object_get(v, name));
	size_t len, cap = text ? strlen(text) : 0;
	uint8_t *data;

	ASSERT_NOT_NULL(text);
	data = malloc(cap + 1);
	ASSERT_NOT_NULL(data);
	if (strcmp(name, "keyHex") == 0)
		ASSERT_EQ(0, sodium_hex2bin(data, cap + 1, text, cap, NULL, &len, NULL));
	else
		ASSERT_EQ(0, sodium_base642bin(data, cap + 1, text, cap, NULL, &len, NULL,
					       sodium_base64_VARIANT_ORIGINAL));
	*ret_data = data;
	return len;
}

static void check_vector(struct chain_bed *b, const json_t *v)
{
	const char *path = json_string_value(json_object_get(v, "path"));
	_cleanup_free_ uint8_t *plain = NULL, *stored = NULL;
	size_t plain_len, stored_len;
	struct span out;

	plain_len = field_bytes(v, "plaintext", &plain);
	stored_len = field_bytes(v, "stored", &stored);
	if (!EXPECT_OK(chain_bed_decrypt(b, span_str(path), span_of(stored, stored_len))))
		ktest_log("%s", path);
	out = chain_bed_output(b);
	EXPECT_MEMEQ(plain, plain_len, out.data, out.len);
	EXPECT_STREQ(json_string_value(json_object_get(v, "provider")), b->op.provider);
}

/* Keys of the vectors by name, once each. */
static void put_vector_key(struct chain_bed *b, const json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "keyName"));
	const char *kind = json_string_value(json_object_get(v, "provider"));
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (!name)
		return;
	list_for_each (n, keytable_list(b->keys))
		if (strcmp(list_entry(n, struct chain_key, link)->info.name, name) == 0)
			return;
	len = field_bytes(v, "keyHex", &bytes);
	if (strcmp(kind, "secretbox") == 0)
		put_secretbox(b, name, bytes);
	else
		put(b, name, name, bytes, len);
}

TEST_F(chain, reads_what_the_apiserver_stored)
{
	json_t *all = json_load_file(VECTORS_DIR "/vectors.json", 0, NULL);
	unsigned int read = 0;
	size_t i;
	json_t *v;

	ASSERT_NOT_NULL(all);
	json_array_foreach(json_object_get(all, "vectors"), i, v)
	{
		if (strncmp(json_string_value(json_object_get(v, "provider")), "kms", 3) == 0)
			continue; /* the envelope's */
		put_vector_key(&self->bed, v);
		check_vector(&self->bed, v);
		read++;
	}
	EXPECT_EQ(93U, read);
	json_decref(all);
}

/* A value of the key "right" that the key "wrong" opens too, to something else. */
static void seal_until_both_fit(struct chain_bed *b, const char *plain, uint8_t *stored,
				size_t *ret_len)
{
	const char *first = HEAD KEYS("aescbc", NAME("wrong")),
		   *second = HEAD KEYS("aescbc", NAME("right"));
	bool fits = false;

	while (!fits) {
		ASSERT_OK(chain_bed_swap(b, second));
		ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_str(plain)));
		*ret_len = chain_bed_output(b).len;
		memcpy(stored, chain_bed_output(b).data, *ret_len);
		ASSERT_OK(chain_bed_swap(b, first));
		fits = chain_bed_decrypt(b, span_str(PATH), span_of(stored, *ret_len)) == 0;
	}
}

/* Two keys of one label and no tag: an object wins over what has the right padding only. */
TEST_F(chain, aescbc_prefers_an_object)
{
	static const char *const plain[] = { "{\"kind\":\"x\"}", "no object" };
	const char *both = HEAD KEYS("aescbc", NAME("wrong") ", " NAME("right"));
	struct chain_bed *b = &self->bed;
	uint8_t stored[256];
	size_t len = 0;

	ASSERT_GE(chain_bed_key(b, &(struct chain_bed_key){ "wrong", "one", key_a, 32, false,
							    KEY_ACTIVE }),
		  0);
	ASSERT_GE(chain_bed_key(b, &(struct chain_bed_key){ "right", "one", key_b, 32, false,
							    KEY_ACTIVE }),
		  0);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		seal_until_both_fit(b, plain[i], stored, &len);
		EXPECT_TRUE(b->op.doubtful);
		ASSERT_OK(chain_bed_swap(b, both));
		ASSERT_OK(chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
		EXPECT_EQ(i == 1, b->op.doubtful);
		EXPECT_EQ(i == 0, b->op.stale);
		EXPECT_EQ(i == 0, span_equal(span_str(plain[i]), chain_bed_output(b)));
	}
	/* A key that fits alone has the last word, and says what it is worth. */
	ASSERT_OK(chain_bed_swap(b, HEAD KEYS("aescbc", NAME("right") ", " NAME("wrong"))));
	ASSERT_OK(chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
	EXPECT_TRUE(b->op.doubtful);
	EXPECT_TRUE(span_equal(span_str(plain[1]), chain_bed_output(b)));
}

static const size_t sizes[] = { 0, 1, 15, 16, 17, 31, 32, 33, 4096, 65536, KEKD_VALUE_MAX - 16 };

/*
 * Write each of the first @n sizes with the chain's first provider, read it back, and refuse what is
 * one byte longer than the longest value.
 */
static void round_trips_of(struct chain_bed *b, const char *prefix, size_t n)
{
	uint8_t *plain = calloc(1, KEKD_VALUE_MAX + 1), *stored = malloc(CHAIN_BED_BYTES);
	struct span out;
	size_t len;

	ASSERT_TRUE(plain && stored);
	for (size_t i = 0; i < n; i++) {
		memset(plain, (int)i + 'a', sizes[i]);
		ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_of(plain, sizes[i])));
		out = chain_bed_output(b);
		EXPECT_TRUE(span_starts_with(out, span_str(prefix)));
		memcpy(stored, out.data, out.len);
		len = out.len;
		ASSERT_OK(chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
		out = chain_bed_output(b);
		EXPECT_MEMEQ(plain, sizes[i], out.data, out.len);
		EXPECT_FALSE(b->op.stale);
	}
	EXPECT_ERR(-EMSGSIZE,
		   chain_bed_encrypt(b, span_str(PATH), span_of(plain, KEKD_VALUE_MAX + 1)));
	free(plain);
	free(stored);
}

static void round_trips(struct chain_bed *b, const char *prefix)
{
	round_trips_of(b, prefix, ARRAY_SIZE(sizes));
}

/* The largest value is 98 000 operations of the kernel, one block after the other: under one key only. */
TEST_F_TIMEOUT(chain, aescbc_of_each_key_size, 120)
{
	static const size_t bytes[] = { 16, 24, 32 };
	static const char *const names[] = { "k16", "k24", "k32" };
	static const char *const yaml[] = {
		HEAD KEYS("aescbc", NAME("k16")),
		HEAD KEYS("aescbc", NAME("k24")),
		HEAD KEYS("aescbc", NAME("k32")),
	};

	for (size_t i = 0; i < 3; i++) {
		ASSERT_OK(chain_bed_swap(&self->bed, yaml[i]));
		put(&self->bed, names[i], names[i], key_a, bytes[i]);
		round_trips_of(&self->bed, "k8s:enc:aescbc:v1:k",
			       ARRAY_SIZE(sizes) - (i < 2 ? 1 : 0));
	}
}

TEST_F(chain, aesgcm_of_each_key_size)
{
	static const size_t bytes[] = { 16, 24, 32 };
	static const char *const names[] = { "k16", "k24", "k32" };
	static const char *const yaml[] = {
		HEAD KEYS("aesgcm", NAME("k16")),
		HEAD KEYS("aesgcm", NAME("k24")),
		HEAD KEYS("aesgcm", NAME("k32")),
	};

	for (size_t i = 0; i < 3; i++) {
		ASSERT_OK(chain_bed_swap(&self->bed, yaml[i]));
		put(&self->bed, names[i], names[i], key_a, bytes[i]);
		round_trips(&self->bed, "k8s:enc:aesgcm:v1:k");
	}
}

TEST_F(chain, secretbox)
{
	ASSERT_OK(chain_bed_swap(&self->bed, HEAD KEYS("secretbox", NAME("box"))));
	put_secretbox(&self->bed, "box", key_a);
	round_trips(&self->bed, "k8s:enc:secretbox:v1:box:");
}

/* Each value has an IV or nonce of its own. */
TEST_F(chain, same_plaintext_other_bytes)
{
	static const char *const yaml[] = {
		HEAD KEYS("aescbc", NAME("k")),
		HEAD KEYS("aesgcm", NAME("k")),
		HEAD KEYS("secretbox", NAME("box")),
	};
	uint8_t first[256];
	struct span out;
	size_t len;

	put(&self->bed, "k", "k", key_a, 32);
	put_secretbox(&self->bed, "box", key_a);
	for (size_t i = 0; i < ARRAY_SIZE(yaml); i++) {
		ASSERT_OK(chain_bed_swap(&self->bed, yaml[i]));
		ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("same")));
		out = chain_bed_output(&self->bed);
		len = out.len;
		ASSERT_GE(sizeof(first), len);
		memcpy(first, out.data, len);
		ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("same")));
		out = chain_bed_output(&self->bed);
		EXPECT_EQ(len, out.len);
		EXPECT_NE(0, memcmp(first, out.data, len));
	}
}

TEST_F(chain, identity_writes_only_when_told)
{
	struct span out;

	ASSERT_OK(chain_bed_swap(&self->bed, HEAD "  - identity: {}\n"));
	EXPECT_ERR(-EPERM, chain_bed_encrypt(&self->bed, span_str(PATH), span_str("plain")));
	self->bed.env.plaintext_writes = true;
	ASSERT_OK(chain_bed_swap(&self->bed, HEAD "  - identity: {}\n"));
	ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("plain")));
	out = chain_bed_output(&self->bed);
	EXPECT_MEMEQ("plain", 5, out.data, out.len);
	ASSERT_OK(chain_bed_decrypt(&self->bed, span_str(PATH), span_str("plain")));
	EXPECT_FALSE(self->bed.op.stale);
	EXPECT_ERR(-EINVAL,
		   chain_bed_decrypt(&self->bed, span_str(PATH), span_str("k8s:enc:none:v1:x")));
}

/* Write under @yaml, then read under @later. */
static int write_then_read(struct chain_bed *b, const char *yaml, const char *later)
{
	uint8_t stored[512];
	struct span out;
	size_t len;

	ASSERT_OK(chain_bed_swap(b, yaml));
	ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_str("value")));
	out = chain_bed_output(b);
	len = out.len;
	ASSERT_GE(sizeof(stored), len);
	memcpy(stored, out.data, len);
	ASSERT_OK(chain_bed_swap(b, later));
	return chain_bed_decrypt(b, span_str(PATH), span_of(stored, len));
}

/* Another key or another provider than the first: kube-apiserver, storage/value/transformer.go. */
TEST_F(chain, staleness)
{
	const char *one = HEAD KEYS("aescbc", NAME("a"));
	const char *second_key = HEAD KEYS("aescbc", NAME("b") ", " NAME("a"));
	const char *second_provider = HEAD KEYS("aesgcm", NAME("b")) KEYS("aescbc", NAME("a"));
	const char *more_behind = HEAD KEYS("aescbc", NAME("a") ", " NAME("b"));
	struct chain_bed *b = &self->bed;

	put(b, "a", "a", key_a, 32);
	put(b, "b", "b", key_b, 32);
	EXPECT_OK(write_then_read(b, one, one));
	EXPECT_FALSE(b->op.stale);
	EXPECT_OK(write_then_read(b, one, more_behind));
	EXPECT_FALSE(b->op.stale);
	EXPECT_OK(write_then_read(b, one, second_key));
	EXPECT_TRUE(b->op.stale);
	EXPECT_OK(write_then_read(b, one, second_provider));
	EXPECT_TRUE(b->op.stale);
	EXPECT_ERR(-ENOKEY, write_then_read(b, one, HEAD KEYS("aescbc", NAME("b"))));
	EXPECT_ERR(-EINVAL, write_then_read(b, one, HEAD KEYS("aesgcm", NAME("b"))));
	ASSERT_OK(chain_bed_swap(b, HEAD KEYS("aescbc", NAME("a")) "  - identity: {}\n"));
	EXPECT_OK(chain_bed_decrypt(b, span_str(PATH), span_str("never encrypted")));
	EXPECT_TRUE(b->op.stale);
}

/* After a rotation the entry writes with another key: what the imported one wrote is stale. */
TEST_F(chain, stale_after_rotation)
{
	struct chain_bed_key old = { "a", "a", key_a, 32, false, KEY_ACTIVE };
	const char *yaml = HEAD KEYS("aesgcm", NAME("a"));
	struct chain_bed *b = &self->bed;
	struct chain_key *k;
	uint8_t stored[512];
	struct span out;
	size_t len;

	ASSERT_EQ(0, chain_bed_key(b, &old));
	ASSERT_OK(chain_bed_swap(b, yaml));
	ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_str("value")));
	out = chain_bed_output(b);
	len = out.len;
	memcpy(stored, out.data, len);
	ASSERT_OK(keytable_active(b->keys, "a", &k));
	k->info.state = KEY_DECRYPT_ONLY;
	put(b, "a", "a.0123", key_b, 32);
	ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_str("value")));
	EXPECT_TRUE(span_starts_with(chain_bed_output(b), span_str("k8s:enc:aesgcm:v1:a.0123:")));
	ASSERT_OK(chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
	EXPECT_TRUE(b->op.stale);
	k->info.state = KEY_RETIRED;
	EXPECT_ERR(-EKEYREJECTED, chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
}

/* Identity first lets everything that is encrypted pass on to who can read it. */
TEST_F(chain, identity_first_reads_on)
{
	const char *later = HEAD "  - identity: {}\n" KEYS("aesgcm", NAME("a"));
	struct span out;

	put(&self->bed, "a", "a", key_a, 32);
	EXPECT_OK(write_then_read(&self->bed, HEAD KEYS("aesgcm", NAME("a")), later));
	EXPECT_TRUE(self->bed.op.stale);
	out = chain_bed_output(&self->bed);
	EXPECT_MEMEQ("value", 5, out.data, out.len);
}

/* Two keys with one label, as a configuration may have them: each opens what it wrote. */
TEST_F(chain, same_label_twice)
{
	static const char *const kinds[][2] = {
		{ HEAD KEYS("aesgcm", NAME("x.2")),
		  HEAD KEYS("aesgcm", NAME("x") ", " NAME("x.2")) },
		{ HEAD KEYS("secretbox", NAME("s.2")),
		  HEAD KEYS("secretbox", NAME("s") ", " NAME("s.2")) },
		{ HEAD KEYS("aesgcm", NAME("x.2")),
		  HEAD KEYS("aesgcm", NAME("x")) KEYS("aesgcm", NAME("x.2")) },
	};
	struct chain_bed_key second = { "s.2", "s", key_b, 32, true, KEY_ACTIVE };
	struct span out;

	put(&self->bed, "x", "x", key_a, 32);
	put(&self->bed, "x.2", "x", key_b, 32);
	put_secretbox(&self->bed, "s", key_a);
	ASSERT_LE(0, chain_bed_key(&self->bed, &second));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT_OK(write_then_read(&self->bed, kinds[i][0], kinds[i][1]));
		out = chain_bed_output(&self->bed);
		EXPECT_MEMEQ("value", 5, out.data, out.len);
		EXPECT_TRUE(self->bed.op.stale);
	}
}

/* A key of the same label that may not be used does not hide the one that may. */
TEST_F(chain, same_label_one_withdrawn)
{
	const char *both = HEAD KEYS("aesgcm", NAME("x") ", " NAME("x.2"));
	const uint8_t first[KEKD_KEY_ID] = { 0 }, second[KEKD_KEY_ID] = { 1 };
	uint8_t stored[512];
	struct span out;
	size_t len;

	ASSERT_EQ(0, put(&self->bed, "x", "x", key_a, 32));
	ASSERT_EQ(1, put(&self->bed, "x.2", "x", key_b, 32));
	ASSERT_OK(chain_bed_swap(&self->bed, HEAD KEYS("aesgcm", NAME("x.2"))));
	ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("value")));
	out = chain_bed_output(&self->bed);
	len = out.len;
	memcpy(stored, out.data, len);
	ASSERT_OK(chain_bed_swap(&self->bed, both));
	ASSERT_OK(keytable_withdraw(self->bed.keys, first, -EKEYREVOKED));
	EXPECT_OK(chain_bed_decrypt(&self->bed, span_str(PATH), span_of(stored, len)));
	/* Of the two reasons the one that somebody can do something about. */
	stored[len - 1] ^= 1;
	EXPECT_ERR(-EKEYREVOKED,
		   chain_bed_decrypt(&self->bed, span_str(PATH), span_of(stored, len)));
	ASSERT_OK(keytable_withdraw(self->bed.keys, second, -EKEYEXPIRED));
	EXPECT_GT(0, chain_bed_decrypt(&self->bed, span_str(PATH), span_of(stored, len)));
}

/* "a:" is a prefix of "a:b:", so both keys fit what the second wrote. */
TEST_F(chain, names_with_colons)
{
	static const char *const kinds[][2] = {
		{ HEAD KEYS("aesgcm", NAME("a:b")),
		  HEAD KEYS("aesgcm", NAME("a") ", " NAME("a:b")) },
		{ HEAD KEYS("aescbc", NAME("a:b")),
		  HEAD KEYS("aescbc", NAME("a") ", " NAME("a:b")) },
	};
	struct span out;

	put(&self->bed, "a", "a", key_a, 32);
	put(&self->bed, "a:b", "a:b", key_b, 32);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT_OK(write_then_read(&self->bed, kinds[i][0], kinds[i][1]));
		out = chain_bed_output(&self->bed);
		EXPECT_MEMEQ("value", 5, out.data, out.len);
	}
}

TEST_F(chain, aesgcm_binds_the_path)
{
	uint8_t stored[256];
	struct span out;
	size_t len;

	ASSERT_OK(chain_bed_swap(&self->bed, HEAD KEYS("aesgcm", NAME("a"))));
	put(&self->bed, "a", "a", key_a, 32);
	ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("value")));
	out = chain_bed_output(&self->bed);
	len = out.len;
	memcpy(stored, out.data, len);
	EXPECT_ERR(-EBADMSG,
		   chain_bed_decrypt(&self->bed, span_str(PATH "2"), span_of(stored, len)));
}

/* One error for every kind of bad padding, and for what no padding was ever on. */
TEST_F(chain, aescbc_has_one_padding_error)
{
	const char *yaml = HEAD KEYS("aescbc", NAME("a"));
	size_t head = strlen("k8s:enc:aescbc:v1:a:"), len;
	unsigned int refused = 0;
	uint8_t stored[128];
	struct span out;
	int r;

	put(&self->bed, "a", "a", key_a, 32);
	ASSERT_OK(chain_bed_swap(&self->bed, yaml));
	ASSERT_OK(chain_bed_encrypt(&self->bed, span_str(PATH), span_str("0123456789")));
	out = chain_bed_output(&self->bed);
	len = out.len;
	ASSERT_EQ(head + 32, len);
	memcpy(stored, out.data, len);
	/* The IV's last byte turns the length byte of the padding, 6, into each other value. */
	for (unsigned int x = 1; x < 256; x++) {
		stored[head + 15] = (uint8_t)(stored[head + 15] ^ x);
		r = chain_bed_decrypt(&self->bed, span_str(PATH), span_of(stored, len));
		if (r < 0) {
			EXPECT_ERR(-EBADMSG, r);
			refused++;
		} else {
			EXPECT_EQ(15U,
				  self->bed.op.out_len); /* a padding of one byte is always right */
		}
		stored[head + 15] = (uint8_t)(stored[head + 15] ^ x);
	}
	EXPECT_EQ(254U, refused);
}

/* Every length from the bare prefix to one byte less than all. */
static void truncations(struct chain_bed *b, const char *yaml, size_t head)
{
	uint8_t stored[256];
	struct span out;
	size_t len;
	int r;

	ASSERT_OK(chain_bed_swap(b, yaml));
	ASSERT_OK(chain_bed_encrypt(b, span_str(PATH), span_str("0123456789abcdefghij")));
	out = chain_bed_output(b);
	len = out.len;
	ASSERT_GE(sizeof(stored), len);
	memcpy(stored, out.data, len);
	for (size_t n = 0; n < len; n++) {
		uint8_t *exact = malloc(n + 1);

		memcpy(exact, stored, n);
		r = chain_bed_decrypt(b, span_str(PATH), span_of(exact, n));
		EXPECT_TRUE(r == -EBADMSG || r == -EINVAL || (r == -ENOKEY && n < head));
		free(exact);
	}
	for (size_t i = head; i < len; i++) {
		stored[i] ^= 0x40;
		r = chain_bed_decrypt(b, span_str(PATH), span_of(stored, len));
		if (strstr(yaml, "aescbc") == NULL)
			EXPECT_ERR(-EBADMSG, r);
		else
			EXPECT_TRUE(r == 0 || r == -EBADMSG); /* no MAC: it may open as another */
		stored[i] ^= 0x40;
	}
	EXPECT_OK(chain_bed_decrypt(b, span_str(PATH), span_of(stored, len)));
}

TEST_F(chain, truncated_and_altered)
{
	put(&self->bed, "a", "a", key_a, 32);
	put_secretbox(&self->bed, "s", key_a);
	truncations(&self->bed, HEAD KEYS("aescbc", NAME("a")), strlen("k8s:enc:aescbc:v1:a:"));
	truncations(&self->bed, HEAD KEYS("aesgcm", NAME("a")), strlen("k8s:enc:aesgcm:v1:a:"));
	truncations(&self->bed, HEAD KEYS("secretbox", NAME("s")),
		    strlen("k8s:enc:secretbox:v1:s:"));
}

TEST_F(chain, unknown_values)
{
	struct chain_bed *b = &self->bed;

	ASSERT_OK(chain_bed_swap(b, HEAD KEYS("aesgcm", NAME("a"))));
	put(b, "a", "a", key_a, 32);
	EXPECT_ERR(-EINVAL, chain_bed_decrypt(b, span_str(PATH), SPAN_NULL));
	EXPECT_ERR(-EINVAL, chain_bed_decrypt(b, span_str(PATH), span_str("plain")));
	EXPECT_ERR(-EINVAL,
		   chain_bed_decrypt(b, span_str(PATH), span_str("k8s:enc:aesgcm:v2:a:x")));
	EXPECT_ERR(-ENOKEY,
		   chain_bed_decrypt(b, span_str(PATH), span_str("k8s:enc:aesgcm:v1:b:x")));
	EXPECT_ERR(-EINVAL, chain_bed_decrypt(b, span_str(PATH), span_str("k8s:enc:aesgcm:v1:a:")));
	EXPECT_ERR(-ENOKEY, chain_bed_decrypt(b, span_str(PATH), span_str("k8s:enc:aesgcm:v1:a")));
}

/* A key for secretbox is none for AES and the other way round, whatever its name. */
TEST_F(chain, kinds_of_keys_do_not_mix)
{
	put_secretbox(&self->bed, "s", key_a);
	put(&self->bed, "a", "a", key_a, 32);
	ASSERT_OK(chain_bed_swap(&self->bed, HEAD KEYS("aesgcm", NAME("s"))));
	EXPECT_ERR(-ENOKEY, chain_bed_encrypt(&self->bed, span_str(PATH), span_str("x")));
	EXPECT_ERR(-ENOKEY, chain_bed_decrypt(&self->bed, span_str(PATH),
					      span_str("k8s:enc:aesgcm:v1:s:0123456789abcdef"
						       "0123456789abcdef")));
	ASSERT_OK(chain_bed_swap(&self->bed, HEAD KEYS("secretbox", NAME("a"))));
	EXPECT_ERR(-ENOKEY, chain_bed_encrypt(&self->bed, span_str(PATH), span_str("x")));
	EXPECT_ERR(-ENOKEY, chain_bed_decrypt(&self->bed, span_str(PATH),
					      span_str("k8s:enc:secretbox:v1:a:0123456789abcdef"
						       "0123456789abcdef0123456789abcdef")));
}

/* KEKs do not serve through formats without authentication or outside the kernel. */
TEST_F(chain, kms_is_for_aesgcm_only)
{
	static const char *const yaml[] = {
		HEAD KEYS("aescbc", NAME("a")),
		HEAD KEYS("secretbox", NAME("s")),
		HEAD "  - identity: {}\n",
	};
	const char *id;

	put(&self->bed, "a", "a", key_a, 32);
	put_secretbox(&self->bed, "s", key_a);
	for (size_t i = 0; i < ARRAY_SIZE(yaml); i++) {
		ASSERT_OK(chain_bed_swap(&self->bed, yaml[i]));
		EXPECT_ERR(-EOPNOTSUPP, chain_key_id(self->bed.chain, &id));
		self->bed.op =
			(struct op){ .purpose = OP_KMS_V2, .out = self->bed.out, .out_cap = 512 };
		EXPECT_ERR(-EOPNOTSUPP, chain_encrypt(self->bed.chain, &self->bed.op));
	}
}

static void gone_done(struct op *op, int r)
{
	*(int *)(uintptr_t)op->context.data = r;
}

/* A reload frees the chain while a value is being read: the value's search ends where it is. */
TEST_F(chain, freed_under_a_search)
{
	const char *both = HEAD KEYS("aesgcm", NAME("x") ", " NAME("x.2"));
	struct chain_bed *b = &self->bed;
	uint8_t stored[512];
	struct span out;
	int result = 0x01010101; /* also the path, which has no NUL */
	size_t len;

	put(b, "x", "x", key_a, 32);
	put(b, "x.2", "x", key_b, 32);
	ASSERT_OK(chain_bed_swap(b, HEAD KEYS("aesgcm", NAME("x.2"))));
	ASSERT_OK(chain_bed_encrypt(b, span_of(&result, sizeof(result)), span_str("value")));
	out = chain_bed_output(b);
	len = out.len;
	memcpy(stored, out.data, len);
	ASSERT_OK(chain_bed_swap(b, both));
	b->op = (struct op){
		.purpose = OP_STORAGE,
		.in = span_of(stored, len),
		.context = span_of(&result, sizeof(result)),
		.out = b->out,
		.out_cap = CHAIN_BED_BYTES,
		.done = gone_done,
	};
	ASSERT_OK(chain_decrypt(b->chain, &b->op));
	ASSERT_OK(chain_bed_swap(b, both));
	while (result == 0x01010101)
		ASSERT_LT(0, bed_run(&b->bed));
	EXPECT_ERR(-EBADMSG, result);
}

TEST_HARNESS_MAIN
