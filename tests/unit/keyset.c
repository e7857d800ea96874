/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key set over its document, under a root in memory, which every host can have; and the same
 * life with keys of the kernel where there are any. The rules of changes have tests of their own
 * (keydoc_next.c).
 */
#include "daemon/keys/keyset.h"
#include "daemon/keys/check.h"
#include "daemon/keys/keyset_private.h"
#include "daemon/keys/rewrap.h"
#include "daemon/keys/secret.h"
#include "tests/support/root.h"
#include "tests/unit/alone.h"
#include "tests/unit/custody.h"
#include "tests/unit/scratch.h"

FIXTURE(keyset)
{
	struct scratch dir;
	struct key_store *store;
	struct root_key *root;
	struct keyset *set;
};

static void open_set(struct key_store *store, const struct root_key *root, struct keyset **ret)
{
	ASSERT_OK(keyset_new(store, root, "cp-1", ret));
	ASSERT_OK(keyset_load(*ret));
}

FIXTURE_SETUP(keyset)
{
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(test_root(&self->root));
	open_set(self->store, self->root, &self->set);
}

FIXTURE_TEARDOWN(keyset)
{
	keyset_free(self->set);
	root_key_free(self->root);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

static void reload(struct ktest_data_of_keyset *self)
{
	keyset_free(self->set);
	open_set(self->store, self->root, &self->set);
}

static size_t count(const struct keyset *set)
{
	size_t n = 0;

	list_for_each (l, (struct list *)(uintptr_t)keyset_list(set))
		n++;
	return n;
}

static void read_file(const struct scratch *dir, const char *name, char *ret, size_t size,
		      size_t *ret_len)
{
	int fd = open(scratch_path(dir, name), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ASSERT_LE(0, fd);
	n = read(fd, ret, size);
	close(fd);
	ASSERT_TRUE(n >= 0 && (size_t)n < size);
	*ret_len = (size_t)n;
}

TEST_F(keyset, is_empty_at_first)
{
	const struct keyset_key *key = NULL;

	EXPECT_ERR(-ENODATA, keyset_why(self->set));
	EXPECT_TRUE(keyset_is_empty(self->set));
	EXPECT_NULL(keyset_doc(self->set));
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &key));
	EXPECT_FALSE(scratch_has(&self->dir, "keyset"));
	EXPECT_TRUE(scratch_has(&self->dir, "node"));
	ASSERT_OK(keyset_begin(self->set));
	EXPECT_OK(keyset_why(self->set));
	EXPECT_TRUE(keyset_is_empty(self->set));
	EXPECT_FALSE(scratch_has(&self->dir, "keyset"));
}

/* Without a root no MAC can be checked, so nothing is known and nothing is changed. */
TEST_F(keyset, sealed)
{
	const struct keyset_key *key, *found = NULL;
	struct keydoc_change change = { .kind = KEYDOC_REOPEN };

	ASSERT_OK(alone_create(self->set, "primary", &key));
	keyset_free(self->set);
	open_set(self->store, NULL, &self->set);
	EXPECT_ERR(-EKEYEXPIRED, keyset_why(self->set));
	EXPECT_EQ(0U, count(self->set));
	EXPECT_ERR(-EKEYEXPIRED, keyset_active(self->set, "primary", &found));
	EXPECT_ERR(-EKEYEXPIRED, alone_stage(self->set, "other", &found));
	EXPECT_ERR(-EKEYEXPIRED, alone_change(self->set, &change));
	EXPECT_NULL(found);
	reload(self);
	EXPECT_OK(keyset_active(self->set, "primary", &found));
}

/* A wrong root makes nothing, writes nothing, and its own words name both. */
TEST_F(keyset, of_another_root)
{
	const struct keyset_key *key, *found = NULL;
	char before[8192], after[8192];
	struct root_key *wrong;
	size_t before_len, after_len;

	ASSERT_OK(alone_create(self->set, "primary", &key));
	read_file(&self->dir, "keyset", before, sizeof(before), &before_len);
	keyset_free(self->set);
	ASSERT_OK(test_root(&wrong));
	open_set(self->store, wrong, &self->set);
	EXPECT_ERR(-EKEYREJECTED, keyset_why(self->set));
	EXPECT_MEMEQ(root_key_id(self->root), KEY_ROOT_ID, keyset_other_root(self->set),
		     KEY_ROOT_ID);
	EXPECT_ERR(-EKEYREJECTED, keyset_active(self->set, "primary", &found));
	EXPECT_ERR(-EKEYREJECTED, alone_stage(self->set, "primary", &found));
	EXPECT_ERR(-EKEYREJECTED, keyset_begin(self->set));
	read_file(&self->dir, "keyset", after, sizeof(after), &after_len);
	EXPECT_MEMEQ(before, before_len, after, after_len);
	keyset_free(self->set);
	root_key_free(wrong);
	open_set(self->store, self->root, &self->set);
	EXPECT_OK(keyset_active(self->set, "primary", &found));
}

TEST_F(keyset, staged_then_active)
{
	const struct keyset_key *key, *active;
	char hex[KEKD_KEY_ID_HEX + 1], label[KEKD_LABEL_MAX];

	ASSERT_OK(alone_stage(self->set, "primary", &key));
	EXPECT_EQ(KEY_STAGED, key->rec.info.state);
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "primary", &active));
	EXPECT_EQ(key, keyset_staged(self->set, "primary"));
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, key->rec.info.id));
	EXPECT_EQ(KEY_ACTIVE, key->rec.info.state);
	EXPECT_EQ(1U, key->rec.info.activation);
	key_hex(key->rec.info.id, sizeof(key->rec.info.id), hex);
	snprintf(label, sizeof(label), "primary.%s", hex);
	EXPECT_STREQ(label, key->rec.info.label);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(key, active);
	EXPECT_EQ(key, keyset_find(self->set, key->rec.info.id));
	EXPECT_NULL(keyset_staged(self->set, "primary"));
	EXPECT_ERR(-ENOKEY, keyset_active(self->set, "secondary", &active));
}

/* The same command goes on: who asks for a second staged key is given the one that is there. */
TEST_F(keyset, one_staged_key_of_a_name)
{
	const struct keyset_key *first, *second = NULL;

	ASSERT_OK(alone_stage(self->set, "primary", &first));
	EXPECT_ERR(-EALREADY, alone_stage(self->set, "primary", &second));
	EXPECT_EQ(first, second);
	EXPECT_EQ(1U, count(self->set));
	ASSERT_OK(alone_stage(self->set, "other", &second));
	EXPECT_EQ(2U, count(self->set));
}

TEST_F(keyset, names_are_checked)
{
	static const char *const wrong[] = { "", "a b", "a:b", "a/b", "a\n", "\303\244" };
	const struct keyset_key *key = NULL;
	char name[KEKD_KEY_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_ERR(-EINVAL, alone_stage(self->set, wrong[i], &key));
	memset(name, 'x', sizeof(name));
	name[KEKD_KEY_NAME_MAX + 1] = '\0';
	EXPECT_ERR(-EINVAL, alone_stage(self->set, name, &key));
	EXPECT_NULL(key);
	EXPECT_FALSE(scratch_has(&self->dir, "keyset"));
	name[KEKD_KEY_NAME_MAX] = '\0';
	EXPECT_OK(alone_stage(self->set, name, &key));
}

TEST_F(keyset, comes_back_from_the_store)
{
	const struct keyset_key *key, *again;
	struct keydoc_member self_before = *keyset_self(self->set);
	uint8_t bytes[32], there[32];
	struct key_record rec;

	ASSERT_OK(alone_create(self->set, "primary", &key));
	rec = key->rec;
	ASSERT_OK(keyset_key_bytes(self->set, key, bytes));
	reload(self);
	EXPECT_MEMEQ(self_before.id, KEYDOC_NODE, keyset_self(self->set)->id, KEYDOC_NODE);
	ASSERT_OK(keyset_active(self->set, "primary", &again));
	EXPECT_MEMEQ(&rec, sizeof(rec), &again->rec, sizeof(rec));
	ASSERT_OK(keyset_key_bytes(self->set, again, there));
	EXPECT_MEMEQ(bytes, 32, there, 32);
}

/* Durable before visible: what could not be saved is not there. */
TEST_F(keyset, unsaved_key_is_not_seen)
{
	const struct keyset_key *key = NULL;

	scratch_limit_files(0);
	EXPECT_ERR(-EFBIG, alone_stage(self->set, "primary", &key));
	scratch_limit_files(RLIM_INFINITY);
	EXPECT_NULL(key);
	EXPECT_EQ(0U, count(self->set));
	EXPECT_FALSE(scratch_has(&self->dir, "keyset"));
	EXPECT_OK(alone_create(self->set, "primary", &key));
}

/* A, then B, then A again: three key_ids. */
TEST_F(keyset, there_and_back_shows_a_third_key_id)
{
	const struct keyset_key *a, *b, *active;
	char id[3][KEKD_KEY_ID_HEX + 12];

	ASSERT_OK(alone_create(self->set, "primary", &a));
	key_id_format(&a->rec.info, id[0]);
	ASSERT_OK(alone_create(self->set, "primary", &b));
	EXPECT_EQ(KEY_DECRYPT_ONLY, a->rec.info.state);
	key_id_format(&b->rec.info, id[1]);
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, a->rec.info.id));
	EXPECT_EQ(KEY_DECRYPT_ONLY, b->rec.info.state);
	ASSERT_OK(keyset_active(self->set, "primary", &active));
	EXPECT_EQ(a, active);
	key_id_format(&active->rec.info, id[2]);
	for (size_t i = 0; i < 3; i++)
		EXPECT_NE(0, strcmp(id[i], id[(i + 1) % 3]));
}

struct seen {
	size_t n;
	struct {
		uint8_t id[KEKD_KEY_ID];
		enum key_state from, to;
	} all[8];
};

static void note_change(void *ctx, const struct keyset_key *key, enum key_state from)
{
	struct seen *s = ctx;

	ASSERT_LT(s->n, ARRAY_SIZE(s->all));
	memcpy(s->all[s->n].id, key->rec.info.id, KEKD_KEY_ID);
	s->all[s->n].from = from;
	s->all[s->n++].to = key->rec.info.state;
}

/* The key that becomes active is told first: there is one to write with at every moment. */
TEST_F(keyset, changes_are_told_in_order)
{
	struct keydoc_change change = { .kind = KEYDOC_ACTIVATE };
	const struct keyset_key *a, *b;
	struct keydoc_refusal why;
	struct seen seen = { 0 };
	struct keyack *ack;

	ASSERT_OK(alone_create(self->set, "primary", &a));
	ASSERT_OK(alone_stage(self->set, "primary", &b));
	memcpy(change.id, b->rec.info.id, sizeof(change.id));
	ack = alone_ack(self->set);
	ASSERT_OK(keyset_change(
		self->set, &change,
		&(struct keydoc_heard){ .acks = (const struct keyack *const *)&ack, .n = 1 }, &why,
		note_change, &seen));
	keyack_free(ack);
	ASSERT_EQ(2U, seen.n);
	EXPECT_MEMEQ(b->rec.info.id, KEKD_KEY_ID, seen.all[0].id, KEKD_KEY_ID);
	EXPECT_EQ(KEY_STAGED, seen.all[0].from);
	EXPECT_EQ(KEY_ACTIVE, seen.all[0].to);
	EXPECT_EQ(KEY_ACTIVE, seen.all[1].from);
	EXPECT_EQ(KEY_DECRYPT_ONLY, seen.all[1].to);
}

TEST_F(keyset, the_whole_way)
{
	const struct keyset_key *a, *b;
	uint8_t id[KEKD_KEY_ID];

	ASSERT_OK(alone_create(self->set, "primary", &a));
	memcpy(id, a->rec.info.id, sizeof(id));
	ASSERT_OK(alone_create(self->set, "primary", &b));
	ASSERT_OK(alone_step(self->set, KEYDOC_RETIRE, id));
	EXPECT_ERR(-EKEYREJECTED, a->why);
	EXPECT_FALSE(a->held);
	reload(self);
	a = keyset_find(self->set, id);
	ASSERT_NOT_NULL(a);
	EXPECT_EQ(KEY_RETIRED, a->rec.info.state);
	ASSERT_OK(alone_step(self->set, KEYDOC_REOPEN, id));
	EXPECT_OK(a->why);
	EXPECT_TRUE(a->held);
	ASSERT_OK(alone_step(self->set, KEYDOC_RETIRE, id));
	ASSERT_OK(alone_step(self->set, KEYDOC_DESTROY, id));
	EXPECT_NULL(keyset_find(self->set, id));
	EXPECT_TRUE(keydoc_is_gone(keyset_doc(self->set), id));
	EXPECT_ERR(-ENOKEY, alone_step(self->set, KEYDOC_REOPEN, id));
	reload(self);
	EXPECT_NULL(keyset_find(self->set, id));
	EXPECT_TRUE(keydoc_is_gone(keyset_doc(self->set), id));
}

/* A damaged document gives way to the one before it, which is at most one change behind. */
TEST_F(keyset, the_one_before_stands_in)
{
	const struct keyset_key *a, *b, *key;
	uint8_t id_a[KEKD_KEY_ID], id_b[KEKD_KEY_ID];
	char text[8192];
	size_t len;

	ASSERT_OK(alone_create(self->set, "primary", &a));
	ASSERT_OK(alone_create(self->set, "primary", &b));
	memcpy(id_a, a->rec.info.id, sizeof(id_a));
	memcpy(id_b, b->rec.info.id, sizeof(id_b));
	read_file(&self->dir, "keyset", text, sizeof(text), &len);
	text[len / 2] ^= 1;
	scratch_write(&self->dir, "keyset", text, len);
	reload(self);
	EXPECT_TRUE(keyset_is_previous(self->set));
	EXPECT_OK(keyset_find(self->set, id_b)->why); /* staged there: what it wrote opens */
	ASSERT_OK(keyset_active(self->set, "primary", &key));
	EXPECT_MEMEQ(id_a, sizeof(id_a), key->rec.info.id, sizeof(id_a));
	ASSERT_OK(alone_step(self->set, KEYDOC_ACTIVATE, id_b));
	EXPECT_FALSE(keyset_is_previous(self->set));
	reload(self);
	EXPECT_FALSE(keyset_is_previous(self->set));
	ASSERT_OK(keyset_active(self->set, "primary", &key));
	EXPECT_MEMEQ(id_b, sizeof(id_b), key->rec.info.id, sizeof(id_b));
}

TEST_F(keyset, nothing_is_made_over_damage)
{
	const struct keyset_key *key;
	char before[64], after[64];
	size_t n;

	ASSERT_OK(alone_create(self->set, "primary", &key));
	scratch_write(&self->dir, "keyset", "kekd-keyset 1\n", 14);
	scratch_write(&self->dir, "keyset.prev", "", 0);
	memcpy(before, "kekd-keyset 1\n", 15);
	reload(self);
	EXPECT_ERR(-EUCLEAN, keyset_why(self->set));
	EXPECT_ERR(-EUCLEAN, keyset_active(self->set, "primary", &key));
	EXPECT_ERR(-EUCLEAN, alone_stage(self->set, "primary", &key));
	read_file(&self->dir, "keyset", after, sizeof(after), &n);
	EXPECT_MEMEQ(before, 14, after, n);
}

/* One damaged blob, in a document whose MAC holds, harms its own key only. */
TEST_F(keyset, a_damaged_blob_harms_its_own_key)
{
	const struct keyset_key *a, *b, *key;
	struct keydoc_refusal why;
	struct keydoc *doc;

	ASSERT_OK(alone_create(self->set, "primary", &a));
	ASSERT_OK(alone_create(self->set, "other", &b));
	ASSERT_OK(keydoc_copy(keyset_doc(self->set), &doc));
	doc->generation++;
	memcpy(doc->keys[0].blob, doc->keys[1].blob, sizeof(doc->keys[0].blob));
	ASSERT_OK(keyset_take(self->set, doc, &why, NULL, NULL));
	reload(self);
	EXPECT_ERR(-EBADMSG, keyset_active(self->set, "primary", &key));
	EXPECT_OK(keyset_active(self->set, "other", &key));
}

struct verified {
	size_t good, bad;
};

static void note_verified(void *ctx, const struct key_record *rec, int r)
{
	struct verified *v = ctx;

	(void)rec;
	v->good += r == 0;
	v->bad += r < 0;
}

TEST_F(keyset, verify)
{
	const struct keyset_key *key;
	struct verified v = { 0 };

	EXPECT_OK(keyset_verify(self->set, note_verified, &v));
	ASSERT_OK(alone_create(self->set, "primary", &key));
	ASSERT_OK(alone_create(self->set, "primary", &key));
	EXPECT_OK(keyset_verify(self->set, note_verified, &v));
	EXPECT_EQ(2U, v.good);
	EXPECT_EQ(0U, v.bad);
	scratch_write(&self->dir, "keyset", "x", 1);
	EXPECT_ERR(-ESTALE, keyset_verify(self->set, note_verified, &v));
	EXPECT_EQ(2U, v.good);
}

TEST_F(keyset, in_memory_only)
{
	const struct keyset_key *key;
	struct keyset *set;

	ASSERT_OK(keyset_new(NULL, self->root, "", &set));
	ASSERT_OK(keyset_load(set));
	ASSERT_OK(alone_create(set, "primary", &key));
	EXPECT_OK(keyset_active(set, "primary", &key));
	EXPECT_STREQ("node", keyset_self(set)->name);
	EXPECT_FALSE(scratch_has(&self->dir, "keyset"));
	keyset_free(set);
}

/* A node that is no member, or is leaving, reads and does not write. */
TEST_F(keyset, who_is_no_member_does_not_write)
{
	const struct keyset_key *key, *found;
	struct keydoc_refusal why;
	struct keydoc *doc;

	ASSERT_OK(alone_create(self->set, "primary", &key));
	ASSERT_OK(keydoc_copy(keyset_doc(self->set), &doc));
	doc->generation++;
	doc->members[0].leaving = true;
	ASSERT_OK(keyset_take(self->set, doc, &why, NULL, NULL));
	EXPECT_FALSE(keyset_may_write(self->set));
	EXPECT_ERR(-EPERM, keyset_active(self->set, "primary", &found));
	EXPECT_OK(key->why);
	ASSERT_OK(keydoc_copy(keyset_doc(self->set), &doc));
	doc->generation++;
	doc->members[0].id[0] ^= 1;
	doc->members[0].leaving = false;
	ASSERT_OK(keyset_take(self->set, doc, &why, NULL, NULL));
	EXPECT_FALSE(keyset_may_write(self->set));
	EXPECT_OK(key->why);
}

static void never(void *ctx, const struct keyset_key *key)
{
	(void)key;
	++*(int *)ctx;
}

TEST_F(keyset, held_keys_do_not_die)
{
	const struct keyset_key *key;
	int calls = 0;

	ASSERT_OK(alone_create(self->set, "primary", &key));
	keyset_poll(self->set, never, &calls);
	EXPECT_EQ(0, calls);
	EXPECT_OK(key->why);
}

/* --- two roots: keys that are held, by their bytes at each moment of a rotation, and after each start --- */

FIXTURE(roots)
{
	struct scratch dir, elsewhere;
	struct key_store *store;
	struct secret secret[2];
	struct root_key *root[2];
	struct keyset *set;
	uint8_t bytes[3][KEKD_AES_KEY_MAX];
};

/* As a start finds it: @first by `rootKey`, @second by `kekctl root next`, or NULL. */
static void start(struct ktest_data_of_roots *self, const struct root_key *first,
		  const struct root_key *second)
{
	keyset_free(self->set);
	open_set(self->store, first, &self->set);
	if (second)
		ASSERT_OK(keyset_second(self->set, second));
}

static const struct keyset_key *nth(const struct keyset *set, size_t n)
{
	return keyset_find(set, keyset_doc(set)->keys[n].info.id);
}

FIXTURE_SETUP(roots)
{
	static const uint8_t known[16] = { 1, 2, 3 };
	struct key_record want = { .info.name = "old",
				   .info.label = "old",
				   .info.key_bytes = sizeof(known) };
	const struct keyset_key *key;

	scratch_make(&self->dir);
	scratch_make(&self->elsewhere);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	for (size_t i = 0; i < 2; i++) {
		ASSERT_OK(secret_random(SECRET_MIN, &self->secret[i]));
		ASSERT_OK(root_key_new_in_memory(secret_span(&self->secret[i]), &self->root[i]));
	}
	start(self, self->root[0], NULL);
	ASSERT_OK(alone_create(self->set, "primary", &key));
	ASSERT_OK(alone_create(self->set, "primary", &key));
	ASSERT_OK(alone_import(self->set, &want, span_of(known, sizeof(known)), &key));
	for (size_t i = 0; i < 3; i++)
		ASSERT_OK(keyset_key_bytes(self->set, nth(self->set, i), self->bytes[i]));
	EXPECT_MEMEQ(known, sizeof(known), self->bytes[2], sizeof(known));
}

FIXTURE_TEARDOWN(roots)
{
	keyset_free(self->set);
	for (size_t i = 0; i < 2; i++) {
		root_key_free(self->root[i]);
		secret_release(&self->secret[i]);
	}
	key_store_close(self->store);
	scratch_remove(&self->dir);
	scratch_remove(&self->elsewhere);
}

/* What a holder that is started now is given. */
static void has_keys(struct ktest_data_of_roots *self, const struct keyset *set)
{
	uint8_t bytes[KEKD_AES_KEY_MAX];

	ASSERT_EQ(3U, count(set));
	for (size_t i = 0; i < 3; i++) {
		EXPECT_OK(nth(set, i)->why);
		EXPECT_TRUE(nth(set, i)->held);
		ASSERT_OK(keyset_key_bytes(set, nth(set, i), bytes));
		EXPECT_MEMEQ(self->bytes[i], sizeof(bytes), bytes, sizeof(bytes));
	}
}

static void begin(struct ktest_data_of_roots *self)
{
	_cleanup_(rewrap_freep) struct rewrap *w = NULL;
	struct keydoc_blob blobs[3];
	struct keydoc_change change = { .kind = KEYDOC_ROOT_BEGIN, .n_blobs = 3, .blobs = blobs };
	const struct keydoc *doc = keyset_doc(self->set);

	ASSERT_OK(rewrap_new(secret_span(&self->secret[0]), secret_span(&self->secret[1]), false,
			     doc, &w));
	for (size_t i = 0; i < 3; i++) {
		memcpy(blobs[i].id, doc->keys[i].info.id, KEKD_KEY_ID);
		ASSERT_OK(rewrap_key(w, &doc->keys[i], blobs[i].blob));
		ASSERT_OK(keyset_prove_second(self->set, &doc->keys[i], blobs[i].blob));
	}
	memcpy(change.root, root_key_id(self->root[1]), KEY_ROOT_ID);
	ASSERT_OK(alone_change(self->set, &change));
}

static int root_step(struct ktest_data_of_roots *self, enum keydoc_change_kind kind)
{
	struct keydoc_change change = { .kind = kind };

	return alone_change(self->set, &change);
}

static void prev_is_of(struct ktest_data_of_roots *self, int r, const struct root_key *root)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	struct keydoc_root r_root = keyset_root_of(root);
	uint8_t other[KEY_ROOT_ID];
	char text[32768];
	size_t len;

	read_file(&self->dir, KEY_STORE_PREV, text, sizeof(text), &len);
	EXPECT_ERR(r, keydoc_parse(span_of(text, len), &r_root, &doc, other));
}

TEST_F(roots, keys_at_each_moment)
{
	struct root_key **root = self->root;

	ASSERT_OK(keyset_second(self->set, root[1]));
	has_keys(self, self->set);
	begin(self);
	has_keys(self, self->set);
	for (size_t i = 0; i < 2; i++) {
		start(self, root[i], NULL);
		has_keys(self, self->set);
		EXPECT_ERR(-EBUSY, root_step(self, i == 0 ? KEYDOC_ROOT_END : KEYDOC_ROOT_ABORT));
		start(self, root[i], root[1 - i]);
		has_keys(self, self->set);
	}
	ASSERT_OK(root_step(self, KEYDOC_ROOT_END));
	EXPECT_EQ(KEYSET_SECOND_OVER, keyset_second_end(self->set));
	has_keys(self, self->set);
	start(self, root[1], NULL);
	has_keys(self, self->set);
	prev_is_of(self, -EKEYREJECTED, root[0]);
	start(self, root[0], NULL);
	EXPECT_ERR(-EKEYREJECTED, keyset_why(self->set));
	start(self, root[0], root[1]);
	EXPECT_ERR(-EKEYREJECTED, keyset_why(self->set));
	start(self, root[1], NULL);
	has_keys(self, self->set);
}

/* In the process that has begun it. */
TEST_F(roots, ended_and_given_up_at_once)
{
	ASSERT_OK(keyset_second(self->set, self->root[1]));
	begin(self);
	ASSERT_OK(root_step(self, KEYDOC_ROOT_ABORT));
	EXPECT_EQ(KEYSET_SECOND_OVER, keyset_second_end(self->set));
	has_keys(self, self->set);
	prev_is_of(self, -EKEYREJECTED, self->root[1]);
	ASSERT_OK(keyset_second(self->set, self->root[1]));
	begin(self);
	ASSERT_OK(root_step(self, KEYDOC_ROOT_END));
	EXPECT_EQ(KEYSET_SECOND_FIRST, keyset_second_end(self->set));
	has_keys(self, self->set);
	prev_is_of(self, -EKEYREJECTED, self->root[0]);
}

/* A node that had both roots before it had the keyset, which only the new one opens by now. */
TEST_F(roots, an_empty_set_follows_to_its_second)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL;
	_cleanup_(keyset_freep) struct keyset *late = NULL;
	struct keydoc_refusal why;
	struct key_store *store;

	ASSERT_OK(keyset_second(self->set, self->root[1]));
	begin(self);
	ASSERT_OK(root_step(self, KEYDOC_ROOT_END));
	ASSERT_OK(keydoc_copy(keyset_doc(self->set), &doc));
	ASSERT_OK(key_store_open(self->elsewhere.path, &store));
	open_set(store, self->root[0], &late);
	ASSERT_OK(keyset_second(late, self->root[1]));
	ASSERT_OK(keyset_begin(late));
	ASSERT_OK(keyset_take(late, doc, &why, NULL, NULL));
	doc = NULL;
	EXPECT_EQ(KEYSET_SECOND_FIRST, keyset_second_end(late));
	has_keys(self, late);
	keyset_free(late);
	late = NULL;
	key_store_close(store);
}

FIXTURE(kernel)
{
	struct scratch dir;
	struct key_store *store;
	struct maker *maker;
	struct root_key *root;
	struct keyset *set;
	key_serial ring;
};

static void open_kernel(struct ktest_data_of_kernel *self)
{
	ASSERT_OK(keyset_new(self->store, self->root, "cp-1", &self->set));
	ASSERT_OK(keyset_load(self->set));
}

FIXTURE_SETUP(kernel)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
	scratch_make(&self->dir);
	ASSERT_OK(key_store_open(self->dir.path, &self->store));
	ASSERT_OK(maker_start(&self->maker));
	ASSERT_OK(root_key_new_ephemeral(self->ring, self->maker, &self->root));
	open_kernel(self);
}

FIXTURE_TEARDOWN(kernel)
{
	keyset_free(self->set);
	EXPECT_EQ(2U, test_ring_count(self->ring)); /* the root under its two names */
	root_key_free(self->root);
	maker_stop(self->maker);
	key_store_close(self->store);
	scratch_remove(&self->dir);
}

TEST_F(kernel, comes_back_from_the_store)
{
	const struct keyset_key *key, *again;
	uint8_t check[16];

	ASSERT_OK(alone_create(self->set, "primary", &key));
	EXPECT_NOT_NULL(key->kek);
	EXPECT_NULL(key->soft);
	memcpy(check, key->rec.check, sizeof(check));
	keyset_free(self->set);
	open_kernel(self);
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

	ASSERT_OK(alone_create(self->set, "primary", &dead));
	ASSERT_OK(alone_create(self->set, "other", &alive));
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

/* What an administrator has killed in the kernel comes back from the document, and only when asked. */
TEST_F(kernel, dead_key_comes_back)
{
	const struct keyset_key *dead, *key = NULL;
	struct gone gone = { 0 }, back = { 0 };
	uint8_t block[16], before[16], after[16];

	ASSERT_OK(alone_create(self->set, "primary", &dead));
	ASSERT_OK(key_check_block(&dead->rec, block));
	ASSERT_OK(kek_block(dead->kek, block, before));
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, kek_serial(dead->kek), 0, 0));
	keyset_poll(self->set, note, &gone);
	EXPECT_EQ(1, gone.calls);
	ASSERT_OK(keyset_reload(self->set, note, &back));
	EXPECT_EQ(1, back.calls);
	EXPECT_EQ(dead, back.key);
	ASSERT_OK(keyset_active(self->set, "primary", &key));
	ASSERT_OK(kek_block(dead->kek, block, after));
	EXPECT_MEMEQ(before, 16, after, 16);
	ASSERT_OK(keyset_reload(self->set, note, &back));
	EXPECT_EQ(1, back.calls);
}

/* A store of another root is neither used nor harmed. */
TEST_F(kernel, a_keyset_of_another_root_is_refused)
{
	const struct keyset_key *key;
	struct root_key *memory;
	struct keyset *other;

	ASSERT_OK(test_root(&memory));
	ASSERT_OK(keyset_new(self->store, memory, "cp-1", &other));
	ASSERT_OK(keyset_load(other));
	ASSERT_OK(alone_create(other, "primary", &key));
	keyset_free(other);
	root_key_free(memory);
	keyset_free(self->set);
	open_kernel(self);
	EXPECT_ERR(-EKEYREJECTED, keyset_why(self->set));
	EXPECT_ERR(-EKEYREJECTED, alone_stage(self->set, "primary", &key));
}

TEST_HARNESS_MAIN
