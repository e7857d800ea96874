/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the key set, on keys of the openssl backend, which every host can make; and the same
 * life with keys of the kernel where there are any.
 */
#include "daemon/keys/keyset.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

FIXTURE(keyset)
{
	struct scratch dir;
	struct key_store *store;
	struct soft_root *root;
	struct keyset *set;
};

static void open_set(struct key_store *store, const struct soft_root *root, struct keyset **ret)
{
	ASSERT_OK(keyset_new(store, NULL, root, ret));
	ASSERT_OK(keyset_load(*ret));
}

FIXTURE_SETUP(keyset)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	open_set(self->store, self->root, &self->set);
}

FIXTURE_TEARDOWN(keyset)
{
	keyset_free(self->set);
	soft_root_free(self->root);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

/* The files of @store are vouched for, whoever put them there. */
static void accept_store(struct key_store *store, const struct soft_root *root)
{
	struct keyset *set;

	open_set(store, root, &set);
	ASSERT_OK(keyset_accept(set));
	keyset_free(set);
}

static size_t count(const struct keyset *set)
{
	size_t n = 0;

	list_for_each (l, keyset_list(set))
		n++;
	return n;
}

static int count_files(void *ctx, const struct key_record *rec, int r, const char *file)
{
	(void)file;
	EXPECT_OK(r);
	EXPECT_NOT_NULL(rec);
	++*(size_t *)ctx;
	return 0;
}

static size_t stored(struct key_store *store)
{
	size_t n = 0;

	EXPECT_OK(key_store_each(store, count_files, &n));
	return n;
}

/* Without a root there is something to list, and nothing to use or change. */
TEST_F(keyset, sealed)
{
	const struct keyset_key *key, *found = NULL;
	uint8_t id[KEKD_KEY_ID];

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	memcpy(id, key->rec.id, sizeof(id));
	keyset_free(self->set);
	open_set(self->store, NULL, &self->set);
	key = keyset_find(self->set, id);
	ASSERT_NOT_NULL(key);
	EXPECT_ERR(-EKEYEXPIRED, key->why);
	EXPECT_ERR(-EKEYEXPIRED, keyset_active(self->set, "primary", &found));
	EXPECT_ERR(-EKEYEXPIRED, keyset_create(self->set, "other", KEY_ACTIVE, &found));
	EXPECT_ERR(-EKEYEXPIRED, keyset_step(self->set, id, KEY_DECRYPT_ONLY, 0));
	EXPECT_NULL(found);
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	EXPECT_OK(keyset_active(self->set, "primary", &found));
}

TEST_F(keyset, first_key_is_active)
{
	const struct keyset_key *key, *active;
	char hex[KEKD_KEY_ID_HEX + 1], label[KEKD_LABEL_MAX];

	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &active));
	ASSERT_OK(keyset_create(self->set, "primary", KEY_STAGED, &key));
	EXPECT_EQ(KEY_ACTIVE, key->rec.state);
	EXPECT_EQ(1U, key->rec.activation);
	key_hex(key->rec.id, sizeof(key->rec.id), hex);
	snprintf(label, sizeof(label), "primary.%s", hex);
	EXPECT_STREQ(label, key->rec.label);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(key, active);
	EXPECT_EQ(key, keyset_find(self->set, key->rec.id));
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "secondary", &active));
	EXPECT_EQ(1U, stored(self->store));
}

TEST_F(keyset, second_key_is_staged)
{
	const struct keyset_key *first, *second, *active;

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &first));
	EXPECT_ERR(-EEXIST, keyset_create(self->set, "primary", KEY_ACTIVE, &second));
	EXPECT_EQ(1U, stored(self->store));
	ASSERT_OK(keyset_create(self->set, "primary", KEY_STAGED, &second));
	EXPECT_EQ(KEY_STAGED, second->rec.state);
	EXPECT_EQ(0U, second->rec.activation);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(first, active);
	ASSERT_OK(keyset_create(self->set, "other", KEY_ACTIVE, &second));
	EXPECT_EQ(3U, count(self->set));
}

TEST_F(keyset, names_and_states_are_checked)
{
	static const char *const wrong[] = { "", "a b", "a:b", "a/b", "a\n", "\303\244" };
	const struct keyset_key *key = NULL;
	char name[KEKD_KEY_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_ERR(-EINVAL, keyset_create(self->set, wrong[i], KEY_ACTIVE, &key));
	memset(name, 'x', sizeof(name));
	name[KEKD_KEY_NAME_MAX + 1] = '\0';
	EXPECT_ERR(-EINVAL, keyset_create(self->set, name, KEY_ACTIVE, &key));
	EXPECT_ERR(-EINVAL, keyset_create(self->set, "a", KEY_DECRYPT_ONLY, &key));
	EXPECT_ERR(-EINVAL, keyset_create(self->set, "a", KEY_STATES, &key));
	EXPECT_NULL(key);
	EXPECT_EQ(0U, stored(self->store));
	name[KEKD_KEY_NAME_MAX] = '\0';
	EXPECT_OK(keyset_create(self->set, name, KEY_ACTIVE, &key));
}

TEST_F(keyset, comes_back_from_the_store)
{
	const struct keyset_key *key, *again;
	uint8_t bytes[32];
	struct key_record rec;

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	rec = key->rec;
	memcpy(bytes, softkey_bytes(key->soft), sizeof(bytes));
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	ASSERT_OK(keyset_active(self->set, "primary", &again));
	EXPECT_MEMEQ(&rec, sizeof(rec), &again->rec, sizeof(rec));
	EXPECT_MEMEQ(bytes, 32, softkey_bytes(again->soft), 32);
}

/* Durable before visible: what could not be saved is not there. */
TEST_F(keyset, unsaved_key_is_not_seen)
{
	const struct keyset_key *key = NULL;

	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	scratch_limit_files(RLIM_INFINITY);
	EXPECT_NULL(key);
	EXPECT_EQ(0U, count(self->set));
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &key));
	EXPECT_EQ(0U, stored(self->store));
}

/* An ephemeral root went with its process; the name can get a new key all the same. */
TEST_F(keyset, keys_of_a_lost_root)
{
	const struct keyset_key *old, *key;
	uint8_t id[KEKD_KEY_ID];

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &old));
	memcpy(id, old->rec.id, sizeof(id));
	keyset_free(self->set);
	soft_root_free(self->root);
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	open_set(self->store, self->root, &self->set);

	old = keyset_find(self->set, id);
	ASSERT_NOT_NULL(old);
	EXPECT_ERR(-EKEYREJECTED, old->why);
	EXPECT_NULL(old->soft);
	EXPECT_ERR(-EKEYREJECTED, keyset_active(self->set, "primary", &key));

	ASSERT_OK(keyset_create(self->set, "primary", KEY_STAGED, &key));
	EXPECT_EQ(KEY_ACTIVE, key->rec.state);
	EXPECT_EQ(KEY_DECRYPT_ONLY, old->rec.state);
	ASSERT_OK(keyset_active(self->set, "primary", &old));
	EXPECT_EQ(key, old);
	/* And so it stands in the store. */
	memcpy(id, key->rec.id, sizeof(id));
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	ASSERT_OK(keyset_active(self->set, "primary", &key));
	EXPECT_MEMEQ(id, sizeof(id), key->rec.id, sizeof(id));
	EXPECT_EQ(2U, count(self->set));
}

/* Put a second key of the same name into the store behind the set's back. */
static void store_other(struct key_store *store, const struct soft_root *root, const char *label,
			enum key_state state)
{
	struct key_record rec = { .state = state, .activation = 1, .created = 100 };
	struct softkey *soft;

	memset(rec.id, 1, sizeof(rec.id));
	snprintf(rec.name, sizeof(rec.name), "primary");
	snprintf(rec.label, sizeof(rec.label), "%s", label);
	ASSERT_OK(softkey_generate(root, &rec, &soft));
	softkey_free(soft);
	if (state == KEY_DESTROYED)
		rec.blob[0] = '\0';
	ASSERT_OK(key_store_put(store, &rec));
	accept_store(store, root);
}

TEST_F(keyset, two_active_keys_are_none)
{
	const struct keyset_key *key, *found = NULL;

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	store_other(self->store, self->root, "other", KEY_ACTIVE);
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	EXPECT_ERR(-EKEYREJECTED, keyset_active(self->set, "primary", &found));
	EXPECT_NULL(found);
	EXPECT_ERR(-EEXIST, keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	/* Reading needs no decision. */
	list_for_each (l, keyset_list(self->set))
		EXPECT_OK(list_entry(l, struct keyset_key, link)->why);
}

TEST_F(keyset, label_belongs_to_the_older_key)
{
	const struct keyset_key *key, *old;
	static const uint8_t id[KEKD_KEY_ID] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	store_other(self->store, self->root, key->rec.label, KEY_DECRYPT_ONLY);
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	old = keyset_find(self->set, id);
	ASSERT_NOT_NULL(old);
	EXPECT_OK(old->why);
	EXPECT_ERR(-EEXIST, keyset_active(self->set, "primary", &key));
}

TEST_F(keyset, closed_states_load_no_key)
{
	static const enum key_state closed[] = { KEY_RETIRED, KEY_DESTROYED };

	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		const struct keyset_key *key;

		store_other(self->store, self->root, "other", closed[i]);
		keyset_free(self->set);
		open_set(self->store, self->root, &self->set);
		ASSERT_EQ(1U, count(self->set));
		key = list_first(keyset_list(self->set), struct keyset_key, link);
		EXPECT_ERR(-EKEYREJECTED, key->why);
		EXPECT_NULL(key->soft);
	}
}

TEST_F(keyset, unreadable_files_are_counted)
{
	const struct keyset_key *key;

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	scratch_write(&self->dir, "00000000000000000000000000000000.key", "x\n", 2);
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
	EXPECT_EQ(1U, keyset_unreadable(self->set));
	EXPECT_OK(keyset_active(self->set, "primary", &key));
}

static void never(void *ctx, const struct keyset_key *key)
{
	(void)key;
	++*(int *)ctx;
}

TEST_F(keyset, soft_keys_do_not_die)
{
	const struct keyset_key *key;
	int calls = 0;

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	keyset_poll(self->set, never, &calls);
	EXPECT_EQ(0, calls);
	EXPECT_OK(key->why);
}

/* Every step of the life of a key, and no other. */
TEST(steps)
{
	static const bool legal[KEY_STATES][KEY_STATES] = {
		[KEY_STAGED] = { [KEY_ACTIVE] = true, [KEY_RETIRED] = true },
		[KEY_ACTIVE] = { [KEY_DECRYPT_ONLY] = true },
		[KEY_DECRYPT_ONLY] = { [KEY_ACTIVE] = true, [KEY_RETIRED] = true },
		[KEY_RETIRED] = { [KEY_DECRYPT_ONLY] = true, [KEY_DESTROYED] = true },
	};

	for (enum key_state from = 0; from < KEY_STATES; from++)
		for (enum key_state to = 0; to < KEY_STATES; to++)
			EXPECT_EQ(legal[from][to], keyset_step_is_legal(from, to));
	EXPECT_FALSE(keyset_step_is_legal(KEY_STATES, KEY_ACTIVE));
	EXPECT_FALSE(keyset_step_is_legal(KEY_ACTIVE, KEY_STATES));
	EXPECT_TRUE(keyset_state_opens(KEY_STAGED));
	EXPECT_TRUE(keyset_state_opens(KEY_DECRYPT_ONLY));
	EXPECT_FALSE(keyset_state_opens(KEY_RETIRED));
	EXPECT_FALSE(keyset_state_opens(KEY_STATES));
}

FIXTURE(kernel)
{
	struct scratch dir;
	struct key_store *store;
	struct root_key *root;
	struct keyset *set;
	key_serial ring;
};

FIXTURE_SETUP(kernel)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(root_key_new_ephemeral(self->ring, &self->root));
	ASSERT_OK(keyset_new(self->store, self->root, NULL, &self->set));
	ASSERT_OK(keyset_load(self->set));
}

FIXTURE_TEARDOWN(kernel)
{
	keyset_free(self->set);
	EXPECT_EQ(1U, test_ring_count(self->ring));
	root_key_free(self->root);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

TEST_F(kernel, comes_back_from_the_store)
{
	const struct keyset_key *key, *again;
	uint8_t check[16];

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	EXPECT_NOT_NULL(key->kek);
	EXPECT_NULL(key->soft);
	memcpy(check, key->rec.check, sizeof(check));
	keyset_free(self->set);
	ASSERT_OK(keyset_new(self->store, self->root, NULL, &self->set));
	ASSERT_OK(keyset_load(self->set));
	ASSERT_OK(keyset_active(self->set, "primary", &again));
	EXPECT_MEMEQ(check, 16, again->rec.check, 16);
}

struct gone {
	const struct keyset_key *key;
	int calls;
};

static void note(void *ctx, const struct keyset_key *key)
{
	struct gone *g = ctx;

	g->key = key;
	g->calls++;
}

TEST_F(kernel, dead_key_is_withdrawn_once)
{
	const struct keyset_key *dead, *alive, *key = NULL;
	struct gone gone = { 0 };

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &dead));
	ASSERT_OK(keyset_create(self->set, "other", KEY_ACTIVE, &alive));
	keyset_poll(self->set, note, &gone);
	EXPECT_EQ(0, gone.calls);
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, kek_serial(dead->kek), 0, 0));
	keyset_poll(self->set, note, &gone);
	keyset_poll(self->set, note, &gone);
	EXPECT_EQ(1, gone.calls);
	EXPECT_EQ(dead, gone.key);
	EXPECT_NULL(dead->kek);
	EXPECT_ERR(-ENOKEY, dead->why);
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &key));
	EXPECT_OK(keyset_active(self->set, "other", &key));
}

static void note_back(void *ctx, const struct keyset_key *key)
{
	note(ctx, key);
}

/* What an administrator has killed in the kernel comes back from the store, and only when asked. */
TEST_F(kernel, dead_key_comes_back)
{
	const struct keyset_key *dead, *key = NULL;
	struct gone gone = { 0 }, back = { 0 };
	uint8_t nonce[KEY_PROBE_NONCE] = { 1 }, before[16], after[16];

	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &dead));
	ASSERT_OK(keyset_probe(self->set, dead->rec.id, nonce, before));
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, kek_serial(dead->kek), 0, 0));
	keyset_poll(self->set, note, &gone);
	EXPECT_EQ(1, gone.calls);
	EXPECT_ERR(-ENOKEY, keyset_probe(self->set, dead->rec.id, nonce, after));
	ASSERT_OK(keyset_reload(self->set, note_back, &back));
	EXPECT_EQ(1, back.calls);
	EXPECT_EQ(dead, back.key);
	ASSERT_OK(keyset_active(self->set, "primary", &key));
	ASSERT_OK(keyset_probe(self->set, dead->rec.id, nonce, after));
	EXPECT_MEMEQ(before, 16, after, 16);
	ASSERT_OK(keyset_reload(self->set, note_back, &back));
	EXPECT_EQ(1, back.calls);
}

/* A store that was made for the other backend is neither used nor harmed. */
TEST_F(kernel, keys_of_the_other_backend_are_shown)
{
	const struct keyset_key *key;
	struct soft_root *soft;

	ASSERT_OK(soft_root_new_ephemeral(&soft));
	store_other(self->store, soft, "other", KEY_ACTIVE);
	soft_root_free(soft);
	ASSERT_OK(keyset_load(self->set));
	ASSERT_EQ(1U, count(self->set));
	EXPECT_ERR(-EOPNOTSUPP, keyset_active(self->set, "primary", &key));
	ASSERT_OK(keyset_create(self->set, "primary", KEY_ACTIVE, &key));
	EXPECT_EQ(KEY_KIND_ENCRYPTED, key->rec.kind);
	EXPECT_EQ(2U, stored(self->store));
}

TEST_HARNESS_MAIN
