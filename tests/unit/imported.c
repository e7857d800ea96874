/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Imported keys: sealed and opened under a root in memory, which every host can make, and under a
 * root in the kernel where there is one; and how the key set takes them in.
 */
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset.h"
#include "tests/unit/alone.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

static const uint8_t secret[32] = "32 bytes of an old configuration";
static const uint8_t other[32] = "32 bytes of a newer one, rotated";

FIXTURE(imported)
{
	struct scratch dir;
	struct key_store *store;
	struct root_key *kernel;
	struct soft_root *soft;
	struct imported_root root;
	struct keyset *set;
};

FIXTURE_VARIANT(imported)
{
	bool kernel;
};

/* clang-format off */
FIXTURE_VARIANT_ADD(imported, memory) { false };
FIXTURE_VARIANT_ADD(imported, kernel) { true };
/* clang-format on */

static void set_open(struct imported_root *root, struct key_store *store, struct keyset **ret)
{
	ASSERT_OK(keyset_new(store, root->kernel, root->soft, "cp-1", ret));
	ASSERT_OK(keyset_load(*ret));
}

FIXTURE_SETUP(imported)
{
	if (variant->kernel) {
		key_serial ring = test_ring();
		_cleanup_close_ int fd = -1;

		SKIP_UNLESS("afalg", afalg_bind("hash", "hmac(sha256)", &fd) == 0, "no AF_ALG");
		ASSERT_OK(root_key_new_ephemeral(ring, &self->kernel));
	} else {
		ASSERT_OK(soft_root_new_ephemeral(&self->soft));
	}
	self->root = (struct imported_root){ self->kernel, self->soft };
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	set_open(&self->root, self->store, &self->set);
}

FIXTURE_TEARDOWN(imported)
{
	keyset_free(self->set);
	key_store_close(self->store);
	root_key_free(self->kernel);
	soft_root_free(self->soft);
	scratch_remove(&self->dir);
}

static struct key_record record(const char *name, const char *label, unsigned int bytes,
				bool secretbox)
{
	struct key_record rec = {
		.id = { 7 },
		.state = KEY_ACTIVE,
		.activation = 1,
		.key_bytes = bytes,
		.secretbox = secretbox,
	};

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	snprintf(rec.label, sizeof(rec.label), "%s", label);
	return rec;
}

TEST_F(imported, opens_what_it_sealed)
{
	static const unsigned int sizes[] = { 16, 24, 32 };
	uint8_t out[KEKD_AES_KEY_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct key_record rec = record("a", "a", sizes[i], false);
		struct span key = span_of(secret, sizes[i]);

		ASSERT_OK(imported_seal(&self->root, &rec, key));
		EXPECT_EQ(KEY_KIND_IMPORTED, rec.kind);
		EXPECT_NULL(strstr(rec.blob, "3332206279746573")); /* "32 bytes" */
		ASSERT_OK(imported_open(&self->root, &rec, out));
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

	ASSERT_OK(imported_seal(&self->root, &a, span_of(secret, 32)));
	ASSERT_OK(imported_seal(&self->root, &b, span_of(secret, 32)));
	EXPECT_NE(0, memcmp(a.blob + head, b.blob + head, 64));
}

TEST_F(imported, every_bit_of_the_blob_counts)
{
	struct key_record rec = record("a", "a", 32, false);
	uint8_t out[KEKD_AES_KEY_MAX], zero[KEKD_AES_KEY_MAX] = { 0 };
	size_t head = strlen("hmac-sha256 ");

	ASSERT_OK(imported_seal(&self->root, &rec, span_of(secret, 32)));
	for (size_t i = head; rec.blob[i]; i++) {
		char old = rec.blob[i];

		if (old == ' ')
			continue;
		rec.blob[i] = old == '0' ? '1' : '0';
		memset(out, 0xff, sizeof(out));
		EXPECT_ERR(-EBADMSG, imported_open(&self->root, &rec, out));
		EXPECT_MEMEQ(zero, sizeof(zero), out, sizeof(out));
		rec.blob[i] = old;
	}
	rec.blob[strlen(rec.blob) - 1] = '\0';
	EXPECT_ERR(-EINVAL, imported_open(&self->root, &rec, out));
}

/* A blob moved to another record is not its key. */
TEST_F(imported, bound_to_its_record)
{
	struct key_record rec = record("a", "a", 32, false), moved;
	uint8_t out[KEKD_AES_KEY_MAX];

	ASSERT_OK(imported_seal(&self->root, &rec, span_of(secret, 32)));
	moved = rec;
	moved.id[0]++;
	EXPECT_ERR(-EBADMSG, imported_open(&self->root, &moved, out));
	moved = rec;
	moved.name[0] = 'b';
	EXPECT_ERR(-EBADMSG, imported_open(&self->root, &moved, out));
	moved = rec;
	moved.label[0] = 'b';
	EXPECT_ERR(-EBADMSG, imported_open(&self->root, &moved, out));
	moved = rec;
	moved.secretbox = true;
	EXPECT_ERR(-EBADMSG, imported_open(&self->root, &moved, out));
	moved = rec;
	moved.root[0]++;
	EXPECT_ERR(-EKEYREJECTED, imported_open(&self->root, &moved, out));
}

TEST_F(imported, refuses_other_lengths)
{
	struct key_record rec = record("a", "a", 17, false);

	EXPECT_ERR(-EINVAL, imported_seal(&self->root, &rec, span_of(secret, 17)));
	rec.key_bytes = 16;
	EXPECT_ERR(-EINVAL, imported_seal(&self->root, &rec, span_of(secret, 32)));
	rec.secretbox = true;
	EXPECT_ERR(-EINVAL, imported_seal(&self->root, &rec, span_of(secret, 16)));
	EXPECT_STREQ("", rec.blob);
}

/* As import does it: staged, then active. */
static void import_active(struct keyset *set, const struct key_record *want, const uint8_t *bytes,
			  const struct keyset_key **ret)
{
	ASSERT_OK(alone_import(set, want, span_of(bytes, want->key_bytes), ret));
	EXPECT_EQ(KEY_STAGED, (*ret)->rec.state);
	ASSERT_OK(alone_step(set, KEYDOC_ACTIVATE, (*ret)->rec.id));
}

/* The bytes are where they belong: AES in the kernel, if there is one; the rest in memory. */
TEST_F(imported, set_places_keys)
{
	struct key_record aes = record("a", "a", 16, false), box = record("s", "s", 32, true);
	const struct keyset_key *key;

	import_active(self->set, &aes, secret, &key);
	EXPECT_EQ(variant->kernel, key->kek != NULL);
	EXPECT_EQ(!variant->kernel, key->soft != NULL);
	import_active(self->set, &box, secret, &key);
	EXPECT_NULL(key->kek);
	ASSERT_NOT_NULL(key->soft);
	EXPECT_MEMEQ(secret, 32, softkey_bytes(key->soft), 32);
	ASSERT_OK(keyset_active(self->set, "a", &key));
	EXPECT_STREQ("a", key->rec.label);
}

static void restart(struct ktest_data_of_imported *self)
{
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
}

TEST_F(imported, set_comes_back_from_the_store)
{
	struct key_record aes = record("a", "a", 24, false);
	const struct keyset_key *key;

	import_active(self->set, &aes, secret, &key);
	restart(self);
	ASSERT_OK(keyset_active(self->set, "a", &key));
	EXPECT_EQ(KEY_KIND_IMPORTED, key->rec.kind);
	EXPECT_EQ(24U, key->rec.key_bytes);
	EXPECT_TRUE(imported_is(&key->rec, span_of(secret, 24)));
	if (!variant->kernel)
		EXPECT_MEMEQ(secret, 24, softkey_bytes(key->soft), 24);
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
	EXPECT_STREQ("b", third->rec.name);
	EXPECT_STREQ("a", third->rec.label);
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
	memcpy(id, old->rec.id, sizeof(id));
	ASSERT_OK(alone_create(self->set, "a", &made));
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.state);
	EXPECT_OK(old->why);
	EXPECT_OK(why_after_restart(self, id));
	ASSERT_OK(keyset_active(self->set, "a", &active));
	EXPECT_NE(KEY_KIND_IMPORTED, active->rec.kind);
	EXPECT_EQ(2U, active->rec.activation);
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
	ASSERT_OK(imported_seal(&self->root, &a, span_of(secret, 32)));
	ASSERT_OK(imported_seal(&self->root, &wrong, span_of(other, 32)));
	wrong.id[0]++;
	wrong.activation = doc->activations = 2;
	doc->keys[doc->n_keys++] = a;
	doc->keys[doc->n_keys++] = wrong;
	ASSERT_OK(keyset_take(self->set, doc, &why, NULL, NULL));
	ASSERT_OK(keyset_active(self->set, "a", &key));
	ASSERT_OK(imported_open(&self->root, &key->rec, out));
	EXPECT_MEMEQ(secret, 32, out, 32);
	EXPECT_ERR(-EBADMSG, keyset_active(self->set, "b", &key));
	EXPECT_ERR(-EBADMSG, why_after_restart(self, wrong.id));
	EXPECT_OK(why_after_restart(self, a.id));
}

/* An AES key under that name would write what the provider secretbox cannot read. */
TEST_F(imported, no_key_is_made_for_secretbox)
{
	struct key_record box = record("s", "s", 32, true);
	const struct keyset_key *key;

	ASSERT_OK(alone_import(self->set, &box, span_of(secret, 32), &key));
	EXPECT_ERR(-EOPNOTSUPP, alone_stage(self->set, "s", &key));
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, key->rec.id));
	EXPECT_ERR(-EOPNOTSUPP, alone_stage(self->set, "s", &key));
}

/* The label of a key made here is public: it stands before every value. */
TEST_F(imported, no_label_of_a_generated_key)
{
	const struct keyset_key *made, *key;
	struct key_record rec;

	ASSERT_OK(alone_create(self->set, "a", &made));
	rec = record("b", made->rec.label, 32, false);
	EXPECT_ERR(-EEXIST, alone_import(self->set, &rec, span_of(secret, 32), &key));
}

TEST_HARNESS_MAIN
