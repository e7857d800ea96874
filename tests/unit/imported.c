/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Imported keys: sealed and opened under a root in memory, which every host can make, and under a
 * root in the kernel where there is one; and how the key set takes them in.
 */
#include "daemon/keys/imported.h"
#include "daemon/keys/keyset.h"
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
	ASSERT_OK(keyset_new(store, root->kernel, root->soft, ret));
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

/* The bytes are where they belong: AES in the kernel, if there is one; the rest in memory. */
TEST_F(imported, set_places_keys)
{
	struct key_record aes = record("a", "a", 16, false), box = record("s", "s", 32, true);
	const struct keyset_key *key;

	ASSERT_OK(keyset_import(self->set, &aes, span_of(secret, 16), &key));
	EXPECT_EQ(variant->kernel, key->kek != NULL);
	EXPECT_EQ(!variant->kernel, key->soft != NULL);
	ASSERT_OK(keyset_import(self->set, &box, span_of(secret, 32), &key));
	EXPECT_NULL(key->kek);
	ASSERT_NOT_NULL(key->soft);
	EXPECT_MEMEQ(secret, 32, softkey_bytes(key->soft), 32);
	EXPECT_OK(keyset_active(self->set, "a", &key));
	EXPECT_STREQ("a", key->rec.label);
}

TEST_F(imported, set_comes_back_from_the_store)
{
	struct key_record aes = record("a", "a", 24, false);
	const struct keyset_key *key;

	ASSERT_OK(keyset_import(self->set, &aes, span_of(secret, 24), &key));
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
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
	const struct keyset_key *first, *second, *third;

	ASSERT_OK(keyset_import(self->set, &a, span_of(secret, 32), &first));
	ASSERT_OK(keyset_import(self->set, &b, span_of(secret, 32), &second));
	EXPECT_TRUE(first == second);
	EXPECT_ERR(-EEXIST, keyset_import(self->set, &a, span_of(other, 32), &third));
	ASSERT_OK(keyset_import(self->set, &b, span_of(other, 32), &third));
	EXPECT_STREQ("b", third->rec.name);
	EXPECT_STREQ("a", third->rec.label);
	/* Two of one label live side by side, also after a restart. */
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
	EXPECT_OK(keyset_active(self->set, "a", &first));
	EXPECT_OK(keyset_active(self->set, "b", &second));
}

static void file_of(const struct keyset_key *key, char ret[static KEKD_KEY_ID_HEX + 8])
{
	key_hex(key->rec.id, KEKD_KEY_ID, ret);
	strcat(ret, ".key");
}

static int why_after_restart(struct ktest_data_of_imported *self, const uint8_t *id)
{
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
	ASSERT_NOT_NULL(keyset_find(self->set, id));
	return keyset_find(self->set, id)->why;
}

/* An imported key of an earlier time, and one in the place of another. */
TEST_F(imported, set_is_under_the_manifest)
{
	struct key_record a = record("a", "a", 32, false), before, swapped;
	const struct keyset_key *key, *made;

	ASSERT_OK(keyset_import(self->set, &a, span_of(secret, 32), &key));
	before = key->rec;
	EXPECT_OK(why_after_restart(self, before.id));
	ASSERT_OK(keyset_create(self->set, "a", KEY_STAGED, &made));
	ASSERT_OK(keyset_step(self->set, made->rec.id, KEY_ACTIVE, 0));
	ASSERT_OK(key_store_put(self->store, &before)); /* it says active again */
	EXPECT_ERR(-ESTALE, why_after_restart(self, before.id));
	ASSERT_OK(keyset_accept(self->set));
	EXPECT_OK(keyset_find(self->set, before.id)->why);
	/* Sealed as it should be, with the same id: only the manifest tells. */
	swapped = before;
	swapped.state = KEY_DECRYPT_ONLY;
	ASSERT_OK(imported_seal(&self->root, &swapped, span_of(other, 32)));
	ASSERT_OK(key_store_put(self->store, &swapped));
	EXPECT_ERR(-ESTALE, why_after_restart(self, before.id));
}

/* A key made here follows it under its name; then it goes the way of every key. */
TEST_F(imported, set_takes_it_through_its_life)
{
	struct key_record a = record("a", "a", 16, false);
	const struct keyset_key *old, *made, *active;
	uint8_t id[KEKD_KEY_ID];

	ASSERT_OK(keyset_import(self->set, &a, span_of(secret, 16), &old));
	memcpy(id, old->rec.id, sizeof(id));
	ASSERT_OK(keyset_create(self->set, "a", KEY_STAGED, &made));
	ASSERT_OK(keyset_step(self->set, made->rec.id, KEY_ACTIVE, 0));
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.state);
	EXPECT_OK(old->why);
	EXPECT_OK(why_after_restart(self, id));
	ASSERT_OK(keyset_active(self->set, "a", &active));
	EXPECT_NE(KEY_KIND_IMPORTED, active->rec.kind);
	EXPECT_EQ(2U, active->rec.activation);
	old = keyset_find(self->set, id);
	ASSERT_OK(keyset_step(self->set, id, KEY_RETIRED, 0));
	EXPECT_NULL(old->kek);
	EXPECT_NULL(old->soft);
	ASSERT_OK(keyset_step(self->set, id, KEY_DECRYPT_ONLY, 0));
	EXPECT_OK(old->why);
	ASSERT_OK(keyset_step(self->set, id, KEY_RETIRED, 0));
	ASSERT_OK(keyset_step(self->set, id, KEY_DESTROYED, 0));
	EXPECT_STREQ("", old->rec.blob);
	EXPECT_ERR(-EKEYREJECTED, why_after_restart(self, id));
}

/* Imported once more while its file cannot be read it would be its own rival, under one number. */
TEST_F(imported, set_takes_no_key_whose_file_may_be_missing)
{
	struct key_record a = record("a", "a", 32, false);
	char file[KEKD_KEY_ID_HEX + 8];
	const struct keyset_key *key;

	ASSERT_OK(keyset_import(self->set, &a, span_of(secret, 32), &key));
	file_of(key, file);
	ASSERT_EQ(0, chmod(scratch_path(&self->dir, file), 0644));
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
	EXPECT_EQ(1U, keyset_missing(self->set));
	EXPECT_ERR(-ESTALE, keyset_import(self->set, &a, span_of(secret, 32), &key));
	ASSERT_EQ(0, chmod(scratch_path(&self->dir, file), 0600));
	keyset_free(self->set);
	set_open(&self->root, self->store, &self->set);
	EXPECT_OK(keyset_active(self->set, "a", &key));
}

static void count_bad(void *ctx, const struct keyset_key *key _unused_, int r)
{
	int *bad = ctx;

	*bad += r < 0;
}

TEST_F(imported, set_verifies_it)
{
	struct key_record a = record("a", "a", 32, false), box = record("s", "s", 32, true);
	char file[KEKD_KEY_ID_HEX + 8];
	const struct keyset_key *key;
	int bad = 0;

	ASSERT_OK(keyset_import(self->set, &a, span_of(secret, 32), &key));
	ASSERT_OK(keyset_import(self->set, &box, span_of(other, 32), &key));
	ASSERT_OK(keyset_verify(self->set, count_bad, &bad));
	EXPECT_EQ(0, bad);
	file_of(key, file);
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, file)));
	ASSERT_OK(keyset_verify(self->set, count_bad, &bad));
	EXPECT_EQ(1, bad);
}

/* As a backup or another node brings it: once, and not over a key that is there. */
TEST_F(imported, set_adopts_it)
{
	struct key_record a = record("a", "a", 32, false), rec;
	const struct keyset_key *key;
	uint8_t out[KEKD_AES_KEY_MAX];

	ASSERT_OK(imported_seal(&self->root, &a, span_of(secret, 32)));
	ASSERT_OK(keyset_adopt(self->set, &a, &key));
	EXPECT_EQ(KEY_DECRYPT_ONLY, key->rec.state);
	EXPECT_OK(key->why);
	ASSERT_OK(imported_open(&self->root, &key->rec, out));
	EXPECT_MEMEQ(secret, 32, out, 32);
	EXPECT_ERR(-EALREADY, keyset_adopt(self->set, &a, &key));
	rec = a;
	ASSERT_OK(imported_seal(&self->root, &rec, span_of(other, 32)));
	EXPECT_ERR(-EEXIST, keyset_adopt(self->set, &rec, &key));
	rec.id[0]++;
	EXPECT_ERR(-EBADMSG, keyset_adopt(self->set, &rec, &key));
	ASSERT_OK(keyset_step(self->set, a.id, KEY_ACTIVE, 0));
	EXPECT_OK(keyset_active(self->set, "a", &key));
}

/* An AES key under that name would write what the provider secretbox cannot read. */
TEST_F(imported, no_key_is_made_for_secretbox)
{
	struct key_record box = record("s", "s", 32, true);
	const struct keyset_key *key;

	ASSERT_OK(keyset_import(self->set, &box, span_of(secret, 32), &key));
	EXPECT_ERR(-EOPNOTSUPP, keyset_create(self->set, "s", KEY_STAGED, &key));
	EXPECT_ERR(-EOPNOTSUPP, keyset_create(self->set, "s", KEY_ACTIVE, &key));
}

/* The label of a key made here is public: it stands before every value. */
TEST_F(imported, no_label_of_a_generated_key)
{
	const struct keyset_key *made, *key;
	struct key_record rec;

	ASSERT_OK(keyset_create(self->set, "a", KEY_ACTIVE, &made));
	rec = record("b", made->rec.label, 32, false);
	EXPECT_ERR(-EEXIST, keyset_import(self->set, &rec, span_of(secret, 32), &key));
}

TEST_HARNESS_MAIN
