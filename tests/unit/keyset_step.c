/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of keys, on keys of the openssl backend, which every host can make.
 */
#include "daemon/keys/keyset.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

FIXTURE(step)
{
	struct scratch dir;
	struct key_store *store;
	struct soft_root *root;
	struct keyset *set;
	const struct keyset_key *a, *b; /* active, staged */
};

static void load(struct ktest_data_of_step *self)
{
	keyset_free(self->set);
	ASSERT_OK(keyset_new(self->store, NULL, self->root, &self->set));
	ASSERT_OK(keyset_load(self->set));
}

/* The same two keys after the set was loaded again. */
static void reload(struct ktest_data_of_step *self)
{
	uint8_t a[KEKD_KEY_ID], b[KEKD_KEY_ID];

	memcpy(a, self->a->rec.id, sizeof(a));
	memcpy(b, self->b->rec.id, sizeof(b));
	load(self);
	self->a = keyset_find(self->set, a);
	self->b = keyset_find(self->set, b);
	ASSERT_NOT_NULL(self->a);
	ASSERT_NOT_NULL(self->b);
}

FIXTURE_SETUP(step)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	load(self);
	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &self->a));
	ASSERT_OK(keyset_create(self->set, "primary", KEY_STAGED, &self->b));
}

FIXTURE_TEARDOWN(step)
{
	keyset_free(self->set);
	soft_root_free(self->root);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

static int to(struct ktest_data_of_step *self, const struct keyset_key *key, enum key_state state)
{
	return keyset_step(self->set, key->rec.id, state, 0);
}

static void expect(const struct keyset_key *key, enum key_state state, uint32_t activation)
{
	EXPECT_EQ(state, key->rec.state);
	EXPECT_EQ(activation, key->rec.activation);
}

/* A, then B, then A again: three key_ids. */
TEST_F(step, there_and_back_shows_a_third_key_id)
{
	const struct keyset_key *active;
	char id[3][KEKD_KEY_ID_HEX + 12];

	key_id_format(&self->a->rec, id[0]);
	ASSERT_OK(to(self, self->b, KEY_ACTIVE));
	expect(self->a, KEY_DECRYPT_ONLY, 1);
	expect(self->b, KEY_ACTIVE, 2);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(self->b, active);
	key_id_format(&active->rec, id[1]);
	ASSERT_OK(to(self, self->a, KEY_ACTIVE));
	expect(self->a, KEY_ACTIVE, 3);
	expect(self->b, KEY_DECRYPT_ONLY, 2);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	key_id_format(&active->rec, id[2]);
	for (size_t i = 0; i < 3; i++)
		EXPECT_NE(0, strcmp(id[i], id[(i + 1) % 3]));
	reload(self);
	expect(self->a, KEY_ACTIVE, 3);
	expect(self->b, KEY_DECRYPT_ONLY, 2);
}

TEST_F(step, the_whole_way)
{
	struct key_record rec;

	ASSERT_OK(to(self, self->b, KEY_ACTIVE));
	ASSERT_OK(to(self, self->a, KEY_RETIRED));
	EXPECT_ERR(-EKEYREJECTED, self->a->why);
	EXPECT_NULL(self->a->soft);
	reload(self);
	expect(self->a, KEY_RETIRED, 1);
	ASSERT_OK(to(self, self->a, KEY_DECRYPT_ONLY));
	EXPECT_OK(self->a->why);
	EXPECT_NOT_NULL(self->a->soft);
	ASSERT_OK(to(self, self->a, KEY_RETIRED));
	ASSERT_OK(to(self, self->a, KEY_DESTROYED));
	EXPECT_STREQ("", self->a->rec.blob);
	rec = self->a->rec;
	reload(self);
	EXPECT_MEMEQ(&rec, sizeof(rec), &self->a->rec, sizeof(rec));
	for (enum key_state s = 0; s < KEY_DESTROYED; s++)
		EXPECT_ERR(-EPERM, to(self, self->a, s));
	EXPECT_ERR(-EALREADY, to(self, self->a, KEY_DESTROYED));
}

TEST_F(step, only_legal_steps)
{
	static const uint8_t nobody[KEKD_KEY_ID];

	EXPECT_ERR(-ENOKEY, keyset_step(self->set, nobody, KEY_ACTIVE, 0));
	EXPECT_ERR(-EPERM, to(self, self->a, KEY_STAGED));
	EXPECT_ERR(-EPERM, to(self, self->a, KEY_RETIRED));
	EXPECT_ERR(-EPERM, to(self, self->a, KEY_DESTROYED));
	EXPECT_ERR(-EPERM, to(self, self->a, KEY_STATES));
	EXPECT_ERR(-EPERM, to(self, self->b, KEY_DECRYPT_ONLY));
	EXPECT_ERR(-EPERM, to(self, self->b, KEY_DESTROYED));
	EXPECT_ERR(-EALREADY, to(self, self->a, KEY_ACTIVE));
	expect(self->a, KEY_ACTIVE, 1);
	expect(self->b, KEY_STAGED, 0);
}

/* Nodes of a cluster activate with one number; none is ever given twice or lower. */
TEST_F(step, activation_number_of_another_node)
{
	EXPECT_ERR(-ESTALE, keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, 1));
	expect(self->b, KEY_STAGED, 0);
	ASSERT_OK(keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, 7));
	expect(self->b, KEY_ACTIVE, 7);
	EXPECT_ERR(-EALREADY, keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, 7));
	EXPECT_ERR(-ESTALE, keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, 8));
	ASSERT_OK(to(self, self->a, KEY_ACTIVE));
	expect(self->a, KEY_ACTIVE, 8);
}

static void adopted(struct ktest_data_of_step *self, uint32_t activation, int want)
{
	const struct keyset_key *key;
	struct softkey *soft = NULL;
	struct key_record rec = {
		.id = { 5 },
		.name = "primary",
		.label = "primary.5",
		.state = KEY_DECRYPT_ONLY,
	};

	rec.activation = activation;
	ASSERT_OK(softkey_generate(self->root, &rec, &soft));
	softkey_free(soft);
	EXPECT_ERR(want, keyset_adopt(self->set, &rec, &key));
}

/* A record's number is no part of what is authenticated: it must not end the numbers of a name. */
TEST_F(step, numbers_cannot_be_used_up_from_outside)
{
	EXPECT_ERR(-ERANGE, keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, UINT32_MAX));
	adopted(self, UINT32_MAX, -ERANGE);
	adopted(self, KEYSET_ACTIVATION_MAX + 1, -ERANGE);
	adopted(self, KEYSET_ACTIVATION_MAX, 0);
	ASSERT_OK(keyset_step(self->set, self->b->rec.id, KEY_ACTIVE, KEYSET_ACTIVATION_MAX + 1));
	expect(self->b, KEY_ACTIVE, KEYSET_ACTIVATION_MAX + 1);
	ASSERT_OK(to(self, self->a, KEY_ACTIVE));
	expect(self->a, KEY_ACTIVE, KEYSET_ACTIVATION_MAX + 2);
}

TEST_F(step, a_plan_changes_nothing)
{
	struct key_record rec;

	ASSERT_OK(keyset_step_plan(self->set, self->b->rec.id, KEY_ACTIVE, 0, &rec));
	EXPECT_EQ(KEY_ACTIVE, rec.state);
	EXPECT_EQ(2U, rec.activation);
	EXPECT_ERR(-EPERM, keyset_step_plan(self->set, self->a->rec.id, KEY_RETIRED, 0, &rec));
	expect(self->a, KEY_ACTIVE, 1);
	expect(self->b, KEY_STAGED, 0);
	reload(self);
	expect(self->b, KEY_STAGED, 0);
}

/* Durable before visible: a step that could not be written down has not been made. */
TEST_F(step, unwritten_step_is_not_made)
{
	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, to(self, self->b, KEY_ACTIVE));
	EXPECT_ERR(-EFBIG, to(self, self->b, KEY_RETIRED));
	scratch_limit_files(RLIM_INFINITY);
	expect(self->a, KEY_ACTIVE, 1);
	expect(self->b, KEY_STAGED, 0);
	EXPECT_OK(self->b->why);
	ASSERT_OK(to(self, self->b, KEY_RETIRED));
	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, to(self, self->b, KEY_DECRYPT_ONLY));
	scratch_limit_files(RLIM_INFINITY);
	expect(self->b, KEY_RETIRED, 0);
	EXPECT_ERR(-EKEYREJECTED, self->b->why);
	EXPECT_NULL(self->b->soft);
}

/* Two keys whose files say the same number: none is active until somebody decides. */
TEST_F(step, activation_ends_a_tie)
{
	const struct keyset_key *active = NULL;
	struct key_record rec = self->b->rec;

	rec.state = KEY_ACTIVE;
	rec.activation = 1;
	ASSERT_OK(key_store_put(self->store, &rec));
	reload(self);
	ASSERT_OK(keyset_accept(self->set));
	EXPECT_ERR(-EKEYREJECTED, keyset_active(self->set, "primary", &active));
	ASSERT_OK(to(self, self->b, KEY_ACTIVE));
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(self->b, active);
	expect(self->b, KEY_ACTIVE, 2);
	expect(self->a, KEY_DECRYPT_ONLY, 1);
}

struct found {
	const struct keyset_key *key;
	int r;
	size_t n, bad;
};

static void find_bad(void *ctx, const struct keyset_key *key, int r)
{
	struct found *f = ctx;

	f->n++;
	if (r == 0)
		return;
	f->bad++;
	f->key = key;
	f->r = r;
}

/* A manifest that could not be written is none that was swapped. */
TEST_F(step, verify_after_a_full_disk)
{
	struct found f = { 0 };

	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, to(self, self->b, KEY_ACTIVE));
	scratch_limit_files(RLIM_INFINITY);
	ASSERT_OK(keyset_verify(self->set, find_bad, &f));
	EXPECT_EQ(2U, f.n);
	EXPECT_EQ(0U, f.bad);
}

TEST_F(step, verify)
{
	struct found f = { 0 };
	struct key_record rec = self->b->rec;
	char file[KEKD_KEY_ID_HEX + 8];

	ASSERT_OK(to(self, self->b, KEY_RETIRED));
	ASSERT_OK(keyset_verify(self->set, find_bad, &f));
	EXPECT_EQ(2U, f.n);
	EXPECT_EQ(0U, f.bad);
	ASSERT_OK(key_store_put(self->store, &rec)); /* an old file comes back */
	ASSERT_OK(keyset_verify(self->set, find_bad, &f));
	EXPECT_EQ(1U, f.bad);
	EXPECT_EQ(self->b, f.key);
	EXPECT_ERR(-ESTALE, f.r);
	key_hex(self->a->rec.id, KEKD_KEY_ID, file);
	strcat(file, ".key");
	ASSERT_EQ(0, unlink(scratch_path(&self->dir, file)));
	f = (struct found){ 0 };
	ASSERT_OK(keyset_verify(self->set, find_bad, &f));
	EXPECT_EQ(2U, f.bad);
	EXPECT_EQ(self->a, f.key);
	EXPECT_ERR(-ENOENT, f.r);
}

TEST_HARNESS_MAIN
