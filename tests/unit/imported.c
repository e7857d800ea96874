/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Imported and portable keys: sealed and opened under a root in memory, which every host can make, and under a
 * root in the kernel where there is one, by serial and by value; and how the key set takes them in.
 */
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset.h"
#include "daemon/keys/secret.h"
#include "tests/support/root.h"
#include "tests/unit/alone.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

static const uint8_t secret[32] = "32 bytes of an old configuration";
static const uint8_t other[32] = "32 bytes of a newer one, rotated";
static const uint8_t root_secret[32] = "a root of exactly 32 bytes ....";

FIXTURE(imported)
{
	struct scratch dir;
	struct key_store *store;
	struct maker *maker;
	struct root_key *root;
	struct keyset *set;
};

FIXTURE_VARIANT(imported)
{
	bool kernel, by_value;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(imported, memory) { false, false };
FIXTURE_VARIANT_ADD(imported, kernel) { true, false };
FIXTURE_VARIANT_ADD(imported, value) { true, true };
/* clang-format on */

static void set_open(const struct root_key *root, struct key_store *store, struct keyset **ret)
{
	ASSERT_OK(keyset_new(store, root, "cp-1", ret));
	ASSERT_OK(keyset_load(*ret));
}

FIXTURE_SETUP(imported)
{
	if (variant->by_value) {
		test_need_afalg();
		ASSERT_OK(root_key_new_by_value(span_of(root_secret, 32), &self->root));
	} else if (variant->kernel) {
		key_serial ring = test_ring();

		test_need_serial(ring);
		ASSERT_OK(maker_start(&self->maker));
		ASSERT_OK(root_key_new_ephemeral(ring, self->maker, &self->root));
	} else {
		ASSERT_OK(test_root(&self->root));
	}
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	set_open(self->root, self->store, &self->set);
}

FIXTURE_TEARDOWN(imported)
{
	keyset_free(self->set);
	key_store_close(self->store);
	root_key_free(self->root);
	maker_stop(self->maker);
	scratch_remove(&self->dir);
}

static struct key_record record(const char *name, const char *label, unsigned int bytes,
				bool secretbox)
{
	struct key_record rec = {
		.info.id = { 7 },
		.info.kind = KEY_KIND_IMPORTED,
		.info.state = KEY_ACTIVE,
		.info.activation = 1,
		.info.key_bytes = bytes,
		.info.secretbox = secretbox,
	};

	snprintf(rec.info.name, sizeof(rec.info.name), "%s", name);
	snprintf(rec.info.label, sizeof(rec.info.label), "%s", label);
	return rec;
}

TEST_F(imported, opens_what_it_sealed)
{
	static const unsigned int sizes[] = { 16, 24, 32 };
	uint8_t out[KEKD_AES_KEY_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct key_record rec = record("a", "a", sizes[i], false);
		struct span key = span_of(secret, sizes[i]);

		ASSERT_OK(imported_seal(self->root, &rec, key));
		EXPECT_EQ(KEY_KIND_IMPORTED, rec.info.kind);
		EXPECT_NULL(strstr(rec.blob, "3332206279746573")); /* "32 bytes" */
		ASSERT_OK(imported_open(self->root, &rec, out));
		EXPECT_MEMEQ(secret, sizes[i], out, sizes[i]);
		EXPECT_TRUE(imported_is(&rec, key));
		EXPECT_FALSE(imported_is(&rec, span_of(other, sizes[i])));
	}
}

/* Two seals of one key share nothing that shows it. */
TEST_F(imported, no_two_blobs_are_alike)
{
	struct key_record a = record("a", "a", 32, false), b = a;
	size_t head = strlen("hmac-sha256 ") + 32 + 1;

	ASSERT_OK(imported_seal(self->root, &a, span_of(secret, 32)));
	ASSERT_OK(imported_seal(self->root, &b, span_of(secret, 32)));
	EXPECT_NE(0, memcmp(a.blob + head, b.blob + head, 64));
}

TEST_F(imported, every_bit_of_the_blob_counts)
{
	struct key_record rec = record("a", "a", 32, false);
	uint8_t out[KEKD_AES_KEY_MAX], zero[KEKD_AES_KEY_MAX] = { 0 };
	size_t head = strlen("hmac-sha256 ");

	ASSERT_OK(imported_seal(self->root, &rec, span_of(secret, 32)));
	for (size_t i = head; rec.blob[i]; i++) {
		char old = rec.blob[i];

		if (old == ' ')
			continue;
		rec.blob[i] = old == '0' ? '1' : '0';
		memset(out, 0xff, sizeof(out));
		EXPECT_ERR(-EBADMSG, imported_open(self->root, &rec, out));
		EXPECT_MEMEQ(zero, sizeof(zero), out, sizeof(out));
		rec.blob[i] = old;
	}
	rec.blob[strlen(rec.blob) - 1] = '\0';
	EXPECT_ERR(-EINVAL, imported_open(self->root, &rec, out));
}

/* A blob moved to another record is not its key. */
TEST_F(imported, bound_to_its_record)
{
	struct key_record rec = record("a", "a", 32, false), moved;
	uint8_t out[KEKD_AES_KEY_MAX];

	ASSERT_OK(imported_seal(self->root, &rec, span_of(secret, 32)));
	moved = rec;
	moved.info.id[0]++;
	EXPECT_ERR(-EBADMSG, imported_open(self->root, &moved, out));
	moved = rec;
	moved.info.name[0] = 'b';
	EXPECT_ERR(-EBADMSG, imported_open(self->root, &moved, out));
	moved = rec;
	moved.info.label[0] = 'b';
	EXPECT_ERR(-EBADMSG, imported_open(self->root, &moved, out));
	moved = rec;
	moved.info.secretbox = true;
	EXPECT_ERR(-EBADMSG, imported_open(self->root, &moved, out));
	moved = rec;
	moved.root[0]++;
	EXPECT_ERR(-EKEYREJECTED, imported_open(self->root, &moved, out));
}

TEST_F(imported, refuses_other_lengths)
{
	struct key_record rec = record("a", "a", 17, false);

	EXPECT_ERR(-EINVAL, imported_seal(self->root, &rec, span_of(secret, 17)));
	rec.info.key_bytes = 16;
	EXPECT_ERR(-EINVAL, imported_seal(self->root, &rec, span_of(secret, 32)));
	rec.info.secretbox = true;
	EXPECT_ERR(-EINVAL, imported_seal(self->root, &rec, span_of(secret, 16)));
	EXPECT_STREQ("", rec.blob);
}

/* As import does it: staged, then active. */
static void import_active(struct keyset *set, const struct key_record *want, const uint8_t *bytes,
			  const struct keyset_key **ret)
{
	ASSERT_OK(alone_import(set, want, span_of(bytes, want->info.key_bytes), ret));
	EXPECT_EQ(KEY_STAGED, (*ret)->rec.info.state);
	ASSERT_OK(alone_step(set, KEYDOC_ACTIVATE, (*ret)->rec.info.id));
}

/* The bytes are where they belong: AES in the kernel, or nowhere here, for a holder; the rest in memory. */
TEST_F(imported, set_places_keys)
{
	struct key_record aes = record("a", "a", 16, false), box = record("s", "s", 32, true);
	const struct keyset_key *key;

	import_active(self->set, &aes, secret, &key);
	EXPECT_EQ(variant->kernel, key->kek != NULL);
	EXPECT_EQ(!variant->kernel, key->held);
	EXPECT_NULL(key->soft);
	import_active(self->set, &box, secret, &key);
	EXPECT_NULL(key->kek);
	EXPECT_FALSE(key->held);
	ASSERT_NOT_NULL(key->soft);
	EXPECT_MEMEQ(secret, 32, softkey_bytes(key->soft), 32);
	ASSERT_OK(keyset_active(self->set, "a", &key));
	EXPECT_STREQ("a", key->rec.info.label);
}

static void restart(struct ktest_data_of_imported *self)
{
	keyset_free(self->set);
	set_open(self->root, self->store, &self->set);
}

TEST_F(imported, set_comes_back_from_the_store)
{
	struct key_record aes = record("a", "a", 24, false);
	const struct keyset_key *key;

	import_active(self->set, &aes, secret, &key);
	restart(self);
	ASSERT_OK(keyset_active(self->set, "a", &key));
	EXPECT_EQ(KEY_KIND_IMPORTED, key->rec.info.kind);
	EXPECT_EQ(24U, key->rec.info.key_bytes);
	EXPECT_TRUE(imported_is(&key->rec, span_of(secret, 24)));
	if (!variant->kernel) {
		uint8_t bytes[KEKD_AES_KEY_MAX];

		ASSERT_OK(keyset_key_bytes(self->set, key, bytes));
		EXPECT_MEMEQ(secret, 24, bytes, 24);
	}
}

TEST_F(imported, set_takes_a_key_once)
{
	struct key_record a = record("a", "a", 32, false), b = record("b", "a", 32, false);
	const struct keyset_key *first, *second = NULL, *third = NULL;

	import_active(self->set, &a, secret, &first);
	EXPECT_ERR(-EALREADY, alone_import(self->set, &b, span_of(secret, 32), &second));
	EXPECT_EQ(first, second);
	EXPECT_ERR(-EEXIST, alone_import(self->set, &a, span_of(other, 32), &third));
	EXPECT_NULL(third);
	import_active(self->set, &b, other, &third);
	EXPECT_STREQ("b", third->rec.info.name);
	EXPECT_STREQ("a", third->rec.info.label);
	/* Two of one label live side by side, also after a restart. */
	restart(self);
	EXPECT_OK(keyset_active(self->set, "a", &first));
	EXPECT_OK(keyset_active(self->set, "b", &second));
}

static int why_after_restart(struct ktest_data_of_imported *self, const uint8_t *id)
{
	restart(self);
	ASSERT_NOT_NULL(keyset_find(self->set, id));
	return keyset_find(self->set, id)->why;
}

/* A key made here follows it under its name; then it goes the way of every key. */
TEST_F(imported, set_takes_it_through_its_life)
{
	struct key_record a = record("a", "a", 16, false);
	const struct keyset_key *old, *made, *active;
	uint8_t id[KEKD_KEY_ID];

	import_active(self->set, &a, secret, &old);
	memcpy(id, old->rec.info.id, sizeof(id));
	ASSERT_OK(alone_create(self->set, "a", &made));
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.info.state);
	EXPECT_OK(old->why);
	EXPECT_OK(why_after_restart(self, id));
	ASSERT_OK(keyset_active(self->set, "a", &active));
	EXPECT_NE(KEY_KIND_IMPORTED, active->rec.info.kind);
	EXPECT_EQ(2U, active->rec.info.activation);
	old = keyset_find(self->set, id);
	ASSERT_OK(alone_step(self->set, KEYDOC_RETIRE, id));
	EXPECT_NULL(old->kek);
	EXPECT_NULL(old->soft);
	ASSERT_OK(alone_step(self->set, KEYDOC_REOPEN, id));
	EXPECT_OK(old->why);
	ASSERT_OK(alone_step(self->set, KEYDOC_RETIRE, id));
	EXPECT_ERR(-EKEYREJECTED, why_after_restart(self, id));
	ASSERT_OK(alone_step(self->set, KEYDOC_DESTROY, id));
	EXPECT_NULL(keyset_find(self->set, id));
	restart(self);
	EXPECT_NULL(keyset_find(self->set, id));
}

static void count_bad(void *ctx, const struct key_record *rec _unused_, int r)
{
	int *bad = ctx;

	*bad += r < 0;
}

/* The document as somebody else would bring it. */
static struct keydoc *document(const struct keyset *set)
{
	struct keydoc *doc;

	ASSERT_OK(keydoc_copy(keyset_doc(set), &doc));
	doc->generation++;
	return doc;
}

TEST_F(imported, set_verifies_it)
{
	struct key_record a = record("a", "a", 32, false), box = record("s", "s", 32, true);
	const struct keyset_key *key;
	struct keydoc *doc;
	int bad = 0;

	import_active(self->set, &a, secret, &key);
	import_active(self->set, &box, other, &key);
	ASSERT_OK(keyset_verify(self->set, count_bad, &bad));
	EXPECT_EQ(0, bad);
	doc = document(self->set);
	memcpy(doc->keys[1].blob, doc->keys[0].blob, sizeof(doc->keys[1].blob));
	ASSERT_OK(keyset_verify_doc(self->set, doc, count_bad, &bad));
	EXPECT_EQ(1, bad);
	keydoc_free(doc);
}

/* As a backup or another node brings it. A blob that is not its record's is kept, and opens nothing. */
TEST_F(imported, set_takes_it_with_a_document)
{
	struct key_record a = record("a", "a", 32, false), wrong = record("b", "b", 32, false);
	const struct keyset_key *key;
	struct keydoc_refusal why;
	struct keydoc *doc;
	uint8_t out[KEKD_AES_KEY_MAX];

	ASSERT_OK(keyset_begin(self->set));
	doc = document(self->set);
	ASSERT_OK(imported_seal(self->root, &a, span_of(secret, 32)));
	ASSERT_OK(imported_seal(self->root, &wrong, span_of(other, 32)));
	wrong.info.id[0]++;
	wrong.info.activation = doc->activations = 2;
	doc->keys[doc->n_keys++] = a;
	doc->keys[doc->n_keys++] = wrong;
	ASSERT_OK(keyset_take(self->set, doc, &why, NULL, NULL));
	ASSERT_OK(keyset_active(self->set, "a", &key));
	ASSERT_OK(imported_open(self->root, &key->rec, out));
	EXPECT_MEMEQ(secret, 32, out, 32);
	EXPECT_ERR(-EBADMSG, keyset_active(self->set, "b", &key));
	EXPECT_ERR(-EBADMSG, why_after_restart(self, wrong.info.id));
	EXPECT_OK(why_after_restart(self, a.info.id));
}

/* An AES key under that name would write what the provider secretbox cannot read. */
TEST_F(imported, no_key_is_made_for_secretbox)
{
	struct key_record box = record("s", "s", 32, true);
	const struct keyset_key *key;

	ASSERT_OK(alone_import(self->set, &box, span_of(secret, 32), &key));
	EXPECT_ERR(-EOPNOTSUPP, alone_stage(self->set, "s", &key));
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, key->rec.info.id));
	EXPECT_ERR(-EOPNOTSUPP, alone_stage(self->set, "s", &key));
}

/* The label of a key made here is public: it stands before every value. */
TEST_F(imported, no_label_of_a_generated_key)
{
	const struct keyset_key *made, *key;
	struct key_record rec;

	ASSERT_OK(alone_create(self->set, "a", &made));
	rec = record("b", made->rec.info.label, 32, false);
	EXPECT_ERR(-EEXIST, alone_import(self->set, &rec, span_of(secret, 32), &key));
}

/* One that is made here and portable: what is written down of it, and that it comes back. */
TEST_F(imported, set_makes_a_portable_key)
{
	const struct keyset_key *key;

	ASSERT_OK(alone_stage_portable(self->set, "a", &key));
	EXPECT_EQ(KEY_KIND_SEALED, key->rec.info.kind);
	EXPECT_EQ(32U, key->rec.info.key_bytes);
	EXPECT_EQ(variant->kernel, key->kek != NULL);
	EXPECT_EQ(!variant->kernel, key->held);
	if (variant->kernel)
		EXPECT_EQ(variant->by_value, kek_serial(key->kek) == 0);
	EXPECT_ERR(-EALREADY, alone_stage_portable(self->set, "a", &key));
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, key->rec.info.id));
	restart(self);
	ASSERT_OK(keyset_active(self->set, "a", &key));
	EXPECT_EQ(KEY_KIND_SEALED, key->rec.info.kind);
	EXPECT_EQ(variant->kernel, key->kek != NULL);
}

/* What is made without being asked for is what the machine can hold; one that is staged stays what it is. */
TEST_F(imported, kind_fits_the_root)
{
	enum key_kind fits =
		variant->kernel && !variant->by_value ? KEY_KIND_ENCRYPTED : KEY_KIND_SEALED;
	const struct keyset_key *key;

	ASSERT_OK(alone_stage(self->set, "a", &key));
	EXPECT_EQ(fits, key->rec.info.kind);
	if (fits == KEY_KIND_ENCRYPTED)
		EXPECT_ERR(-EEXIST, alone_stage_portable(self->set, "a", &key));
}

static void one_block(const struct kek *kek, uint8_t ret[16])
{
	static const uint8_t block[16] = "sixteen bytes ..";
	int op;

	ASSERT_OK(kek_accept(kek, &op));
	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, block, ret, 16));
	close(op);
}

/* The same bytes in memory: RFC 2104 as the kernel computes it, and a key sealed under one opens under the other. */
TEST(in_memory_is_by_value)
{
	struct key_record rec = record("a", "a", 32, false);
	_cleanup_(root_key_freep) struct root_key *memory = NULL, *value = NULL;
	uint8_t mac[2][ROOT_MAC], bytes[KEKD_AES_KEY_MAX];

	test_need_afalg();
	ASSERT_OK(root_key_new_in_memory(span_of(root_secret, 32), &memory));
	ASSERT_OK(root_key_new_by_value(span_of(root_secret, 32), &value));
	EXPECT_MEMEQ(root_key_id(memory), KEY_ROOT_ID, root_key_id(value), KEY_ROOT_ID);
	EXPECT_TRUE(root_key_is_by_value(memory) && root_key_is_in_memory(memory));
	EXPECT_FALSE(root_key_is_in_memory(value));
	EXPECT_OK(root_key_check(memory));
	ASSERT_OK(root_key_mac(memory, span_str("text"), mac[0]));
	ASSERT_OK(root_key_mac(value, span_str("text"), mac[1]));
	EXPECT_MEMEQ(mac[0], ROOT_MAC, mac[1], ROOT_MAC);
	rec.info.kind = KEY_KIND_SEALED;
	ASSERT_OK(imported_seal(memory, &rec, span_of(secret, 32)));
	ASSERT_OK(imported_open(value, &rec, bytes));
	EXPECT_MEMEQ(secret, 32, bytes, 32);
}

/* The same root by value and by serial: one fingerprint, one MAC; a portable key is the same under both. */
TEST(by_value_is_by_serial)
{
	struct key_record rec = record("a", "a", 32, false);
	_cleanup_(root_key_freep) struct root_key *serial = NULL, *value = NULL;
	uint8_t mac[2][ROOT_MAC], out[2][16], bytes[KEKD_AES_KEY_MAX];
	const struct root_key *by[2];
	key_serial ring = test_ring();
	struct kek *kek;

	test_need_serial(ring);
	ASSERT_OK(root_key_new(ring, NULL, span_of(root_secret, 32), &serial));
	ASSERT_OK(root_key_new_by_value(span_of(root_secret, 32), &value));
	EXPECT_MEMEQ(root_key_id(serial), KEY_ROOT_ID, root_key_id(value), KEY_ROOT_ID);
	EXPECT_OK(root_key_check(value));
	by[0] = serial;
	by[1] = value;
	rec.info.kind = KEY_KIND_SEALED;
	ASSERT_OK(imported_seal(by[1], &rec, span_of(secret, 32)));
	for (size_t i = 0; i < 2; i++) {
		ASSERT_OK(root_key_mac(by[i], span_str("text"), mac[i]));
		ASSERT_OK(imported_open(by[i], &rec, bytes));
		ASSERT_OK(kek_from_bytes(by[i], &rec, span_of(bytes, 32), &kek));
		one_block(kek, out[i]);
		EXPECT_OK(kek_alive(kek));
		kek_free(kek);
	}
	EXPECT_MEMEQ(mac[0], ROOT_MAC, mac[1], ROOT_MAC);
	EXPECT_MEMEQ(out[0], 16, out[1], 16);
}

/* Keys that the kernel made are for the kernel that can name them. */
TEST(by_value_opens_no_kernel_key)
{
	struct key_record rec = record("a", "a", 32, false);
	_cleanup_(root_key_freep) struct root_key *value = NULL;
	struct kek *kek = NULL;

	test_need_afalg();
	ASSERT_OK(root_key_new_by_value(span_of(root_secret, 32), &value));
	rec.info.kind = KEY_KIND_ENCRYPTED;
	EXPECT_ERR(-EOPNOTSUPP, kek_load(value, &rec, &kek));
	EXPECT_ERR(-EOPNOTSUPP, kek_generate(value, &rec, &kek));
	EXPECT_ERR(-EINVAL, root_key_new_by_value(span_of(root_secret, SECRET_MIN - 1), &value));
	EXPECT_NULL(kek);
}

TEST_HARNESS_MAIN
