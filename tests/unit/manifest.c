/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that was changed behind the daemon's back: what the manifest notices, and that all other
 * keys go on. Keys of the openssl backend, which every host can make.
 */
#include "daemon/keys/manifest.h"
#include "daemon/keys/keyset.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

FIXTURE(manifest)
{
	struct scratch dir;
	struct key_store *store;
	struct soft_root *root;
	struct keyset *set;
	/* Active, staged, and the active key of another name. */
	uint8_t a[KEKD_KEY_ID], b[KEKD_KEY_ID], other[KEKD_KEY_ID];
};

static void load(struct ktest_data_of_manifest *self)
{
	keyset_free(self->set);
	ASSERT_OK(keyset_new(self->store, NULL, self->root, &self->set));
	ASSERT_OK(keyset_load(self->set));
}

static void make(struct ktest_data_of_manifest *self, const char *name, enum key_state state,
		 uint8_t id[static KEKD_KEY_ID])
{
	const struct keyset_key *key;

	ASSERT_OK(keyset_create(self->set, name, state, &key));
	memcpy(id, key->rec.id, KEKD_KEY_ID);
}

FIXTURE_SETUP(manifest)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	load(self);
	make(self, "primary", KEY_ACTIVE, self->a);
	make(self, "primary", KEY_STAGED, self->b);
	make(self, "other", KEY_ACTIVE, self->other);
}

FIXTURE_TEARDOWN(manifest)
{
	keyset_free(self->set);
	soft_root_free(self->root);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

static const struct keyset_key *key(struct ktest_data_of_manifest *self, const uint8_t *id)
{
	const struct keyset_key *k = keyset_find(self->set, id);

	ASSERT_NOT_NULL(k);
	return k;
}

static const char *path(struct ktest_data_of_manifest *self, const uint8_t *id)
{
	char file[KEKD_KEY_ID_HEX + sizeof(".key")];

	key_hex(id, KEKD_KEY_ID, file);
	strcat(file, ".key");
	return scratch_path(&self->dir, file);
}

/* Whatever is wrong with one key: this one serves. */
static void other_serves(struct ktest_data_of_manifest *self)
{
	const struct keyset_key *k;

	ASSERT_OK(keyset_active(self->set, "other", &k));
	EXPECT_NOT_NULL(k->soft);
}

TEST_F(manifest, untouched)
{
	load(self);
	EXPECT_OK(key(self, self->a)->why);
	EXPECT_OK(key(self, self->b)->why);
	EXPECT_EQ(0U, keyset_missing(self->set));
	EXPECT_OK(keyset_distrust(self->set));
	other_serves(self);
}

TEST_F(manifest, earlier_file)
{
	const struct keyset_key *k;
	struct key_record before = key(self, self->b)->rec;

	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	ASSERT_OK(key_store_put(self->store, &before));
	load(self);
	EXPECT_ERR(-ESTALE, key(self, self->b)->why);
	EXPECT_NULL(key(self, self->b)->soft);
	EXPECT_OK(key(self, self->a)->why);
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &k));
	other_serves(self);
}

/* What it says of the number is of an earlier time, too: nobody else gets the one that the key had. */
TEST_F(manifest, earlier_file_of_the_active_key)
{
	struct key_record before = key(self, self->b)->rec, after;
	const struct keyset_key *k;

	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	after = key(self, self->b)->rec;
	ASSERT_OK(key_store_put(self->store, &before));
	load(self);
	EXPECT_ERR(-ESTALE, keyset_step(self->set, self->a, KEY_ACTIVE, 0));
	EXPECT_ERR(-ESTALE, keyset_create(self->set, "primary", KEY_ACTIVE, &k));
	ASSERT_OK(key_store_put(self->store, &after)); /* restored, as the log says */
	load(self);
	ASSERT_OK(keyset_active(self->set, "primary", &k));
	EXPECT_MEMEQ(self->b, KEKD_KEY_ID, k->rec.id, KEKD_KEY_ID);
}

/* A retired key's file from before the retirement opens nothing again. */
TEST_F(manifest, earlier_file_of_a_retired_key)
{
	struct key_record before;

	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	before = key(self, self->a)->rec;
	ASSERT_OK(keyset_step(self->set, self->a, KEY_RETIRED, 0));
	ASSERT_OK(key_store_put(self->store, &before));
	load(self);
	for (int i = 0; i < 2; i++) {
		load(self);
		EXPECT_ERR(-ESTALE, key(self, self->a)->why);
		EXPECT_NULL(key(self, self->a)->soft);
	}
}

/* Nor does the daemon write such a file itself, and so vouch for it. */
TEST_F(manifest, is_not_talked_round)
{
	const struct keyset_key *k;
	struct key_record before = key(self, self->a)->rec;

	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	ASSERT_OK(key_store_put(self->store, &before)); /* active again, it says */
	for (int i = 0; i < 3; i++) {
		load(self);
		EXPECT_ERR(-ESTALE, key(self, self->a)->why);
		ASSERT_OK(keyset_active(self->set, "primary", &k));
		EXPECT_MEMEQ(self->b, KEKD_KEY_ID, k->rec.id, KEKD_KEY_ID);
		for (enum key_state s = 0; s < KEY_STATES; s++)
			EXPECT_ERR(-ESTALE, keyset_step(self->set, self->a, s, 0));
		make(self, i < 2 ? "primary" : "third", KEY_STAGED, self->other);
		if (i < 2)
			ASSERT_OK(keyset_step(self->set, self->b, KEY_DECRYPT_ONLY, 0));
		if (i < 2)
			ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 3 + (uint32_t)i));
	}
}

TEST_F(manifest, swapped_and_renamed)
{
	const struct keyset_key *k;

	ASSERT_EQ(0, rename(path(self, self->a), scratch_path(&self->dir, "x")));
	ASSERT_EQ(0, rename(path(self, self->b), path(self, self->a)));
	ASSERT_EQ(0, rename(scratch_path(&self->dir, "x"), path(self, self->b)));
	load(self);
	EXPECT_EQ(2U, keyset_unreadable(self->set));
	EXPECT_EQ(2U, keyset_missing(self->set));
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &k));
	other_serves(self);
}

TEST_F(manifest, deleted)
{
	ASSERT_EQ(0, unlink(path(self, self->b)));
	load(self);
	EXPECT_EQ(1U, keyset_missing(self->set));
	EXPECT_OK(key(self, self->a)->why);
	other_serves(self);
	/* A change of another key does not make it forgotten. */
	ASSERT_OK(keyset_step(self->set, self->other, KEY_DECRYPT_ONLY, 0));
	load(self);
	EXPECT_EQ(1U, keyset_missing(self->set));
	ASSERT_OK(keyset_accept(self->set));
	EXPECT_EQ(0U, keyset_missing(self->set));
	load(self);
	EXPECT_EQ(0U, keyset_missing(self->set));
}

/* While the key is in use: it would be, until the next start, and then every value under it were lost. */
TEST_F(manifest, accepted_without_the_file_of_a_key_in_use)
{
	const struct keyset_key *k;

	ASSERT_EQ(0, unlink(path(self, self->a)));
	ASSERT_EQ(0, truncate(path(self, self->b), 100));
	ASSERT_OK(keyset_accept(self->set));
	load(self);
	ASSERT_OK(keyset_active(self->set, "primary", &k));
	EXPECT_MEMEQ(self->a, KEKD_KEY_ID, k->rec.id, KEKD_KEY_ID);
	EXPECT_OK(key(self, self->b)->why);
	EXPECT_EQ(0U, keyset_missing(self->set));
}

TEST_F(manifest, added)
{
	struct key_record rec = key(self, self->b)->rec;
	struct softkey *soft;

	memset(rec.id, 7, sizeof(rec.id));
	snprintf(rec.label, sizeof(rec.label), "primary.new");
	ASSERT_OK(softkey_generate(self->root, &rec, &soft));
	softkey_free(soft);
	ASSERT_OK(key_store_put(self->store, &rec));
	load(self);
	EXPECT_ERR(-ESTALE, key(self, rec.id)->why);
	EXPECT_OK(key(self, self->a)->why);
	ASSERT_OK(keyset_accept(self->set));
	EXPECT_OK(key(self, rec.id)->why);
	load(self);
	EXPECT_OK(key(self, rec.id)->why);
}

static void distrusted(struct ktest_data_of_manifest *self)
{
	const struct keyset_key *k = NULL;

	load(self);
	EXPECT_ERR(-ESTALE, keyset_distrust(self->set));
	EXPECT_OK(key(self, self->a)->why); /* reading goes on */
	EXPECT_ERR(-ESTALE, keyset_active(self->set, "primary", &k));
	EXPECT_ERR(-ESTALE, keyset_active(self->set, "other", &k));
	EXPECT_ERR(-ESTALE, keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	EXPECT_ERR(-ESTALE, keyset_create(self->set, "third", KEY_ACTIVE, &k));
	ASSERT_OK(keyset_accept(self->set));
	EXPECT_OK(keyset_active(self->set, "primary", &k));
	load(self);
	EXPECT_OK(keyset_active(self->set, "primary", &k));
}

TEST_F(manifest, no_manifest)
{
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, "manifest")));
	distrusted(self);
}

/* Every single bit of it counts. */
TEST_F(manifest, damaged)
{
	static const long at[] = { 0, 15, 30, 50, 90, 150, 200, -2, -40, -66 };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		FILE *f = fopen(scratch_path(&self->dir, "manifest"), "r+");
		int c;

		ASSERT_NOT_NULL(f);
		ASSERT_EQ(0, fseek(f, at[i], at[i] < 0 ? SEEK_END : SEEK_SET));
		c = fgetc(f);
		ASSERT_EQ(0, fseek(f, at[i], at[i] < 0 ? SEEK_END : SEEK_SET));
		fputc(c ^ 1, f);
		ASSERT_EQ(0, fclose(f));
		distrusted(self);
	}
}

/* A manifest of an earlier time under the files of now: each key that has changed is refused. */
TEST_F(manifest, earlier_manifest)
{
	char *text;
	size_t len;

	ASSERT_OK(key_store_read(self->store, "manifest", MANIFEST_TEXT_MAX, &text, &len));
	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	ASSERT_OK(key_store_write(self->store, "manifest", text, len));
	free(text);
	load(self);
	EXPECT_ERR(-ESTALE, key(self, self->a)->why);
	EXPECT_ERR(-ESTALE, key(self, self->b)->why);
	other_serves(self);
}

/* A manifest of another root says nothing about keys of this one. */
TEST_F(manifest, of_another_root)
{
	struct soft_root *mine = self->root;
	const struct keyset_key *k;

	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	load(self);
	EXPECT_OK(keyset_distrust(self->set));
	EXPECT_ERR(-EKEYREJECTED, key(self, self->a)->why);
	ASSERT_OK(keyset_create(self->set, "elsewhere", KEY_ACTIVE, &k));
	load(self);
	EXPECT_OK(keyset_active(self->set, "elsewhere", &k));
	soft_root_free(self->root);
	self->root = mine;
	distrusted(self);
}

TEST_F(manifest, full_disk)
{
	const struct keyset_key *k;

	scratch_limit_files(100);
	EXPECT_ERR(-EFBIG, keyset_step(self->set, self->b, KEY_ACTIVE, 0));
	scratch_limit_files(RLIM_INFINITY);
	ASSERT_OK(keyset_active(self->set, "primary", &k));
	EXPECT_MEMEQ(self->a, KEKD_KEY_ID, k->rec.id, KEKD_KEY_ID);
	load(self);
	EXPECT_OK(key(self, self->a)->why);
	EXPECT_OK(key(self, self->b)->why);
	ASSERT_OK(keyset_step(self->set, self->b, KEY_ACTIVE, 0));
}

TEST_HARNESS_MAIN
