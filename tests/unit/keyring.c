/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's keyrings as kekd uses them, and what an attacker inside the keeper finds closed.
 */
#include "tests/unit/custody.h"

#include <poll.h>
#include <time.h>

#define BLOB_MAX 512

static const struct span SECRET = { (const uint8_t *)"0123456789abcdef0123456789abcdef", 32 };
static const struct span OTHER = { (const uint8_t *)"fedcba9876543210fedcba9876543210", 32 };

FIXTURE(keyring)
{
	key_serial ring;
};

FIXTURE_SETUP(keyring)
{
	self->ring = test_ring();
}

FIXTURE_TEARDOWN(keyring)
{
}

TEST_F(keyring, session_drops_inherited_keys)
{
	key_serial key, found;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(keyring_resolve("user", "k", &found));
	EXPECT_EQ(key, found);
	ASSERT_OK(keyring_new_session());
	EXPECT_ERR(-ENOKEY, keyring_resolve("user", "k", &found));
}

TEST_F(keyring, add_never_overwrites)
{
	key_serial key, again = 0;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	EXPECT_ERR(-EEXIST, keyring_add_user(self->ring, "k", OTHER, &again));
	EXPECT_EQ(0, again);
	ASSERT_OK(keyring_add_logon(self->ring, "kekd:k", SECRET, &key));
	EXPECT_ERR(-EEXIST, keyring_add_logon(self->ring, "kekd:k", OTHER, &again));
}

/* The kernel says by itself that a key is gone; what was read is not said again. */
TEST_F(keyring, notes)
{
	struct timespec begin, end;
	struct pollfd p = { .events = POLLIN };
	key_serial key, watched = 0;
	int notes = -1, other = -1;
	int r = keyring_notes_open(&notes, &other);

	SKIP_UNLESS("notifications", r == 0 || (r != -ENOPKG && r != -EOPNOTSUPP),
		    "this kernel does not tell what is done to keys");
	ASSERT_OK(r);
	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(keyring_seal_rights(key));
	keyring_notes_watch(notes, key, &watched);
	ASSERT_EQ(key, watched);
	EXPECT_FALSE(keyring_notes_read(notes));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, key, 0, 0));
	p.fd = notes;
	EXPECT_EQ(1, poll(&p, 1, -1));
	clock_gettime(CLOCK_MONOTONIC, &end);
	ktest_log("told after %ld us",
		  (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
	EXPECT_TRUE(keyring_notes_read(notes));
	EXPECT_ERR(-ENOKEY, keyring_alive(key));
	/* Another key in its place is watched in its turn; one that is not there is not. */
	keyring_notes_watch(notes, key, &watched);
	ASSERT_OK(keyring_add_user(self->ring, "l", SECRET, &key));
	keyring_notes_watch(notes, key, &watched);
	EXPECT_EQ(key, watched);
	close(notes);
	close(other);
}

TEST_F(keyring, sealed_key_is_fixed)
{
	key_serial key;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(keyring_seal_rights(key));
	EXPECT_OK(keyring_seal_rights(key));
	EXPECT_OK(keyring_alive(key));
	EXPECT_ERR(-EACCES, test_update(key, "something else"));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SETPERM, key, TEST_POS_ALL, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_CHOWN, key, 0, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SET_TIMEOUT, key, 1, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_REVOKE, key, 0, 0));
	EXPECT_ERR(-EACCES,
		   test_on_key(KEYCTL_LINK, key, (unsigned long)KEY_SPEC_PROCESS_KEYRING, 0));
}

/* The kernel skips the READ bit for what a search of one's own keyrings finds. */
TEST_F(keyring, possessor_reads_in_spite_of_rights)
{
	char seen[32] = { 0 };
	key_serial key;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(keyring_seal_rights(key));
	EXPECT_OK(test_on_key(KEYCTL_READ, key, (unsigned long)seen, sizeof(seen)));
	EXPECT_MEMEQ(SECRET.data, SECRET.len, seen, sizeof(seen));
}

static void reach_for_key(void *ctx)
{
	key_serial key = *(const key_serial *)ctx, found;
	char seen[32];

	ASSERT_OK(keyring_new_session());
	EXPECT_ERR(-EACCES, keyring_alive(key));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_READ, key, (unsigned long)seen, sizeof(seen)));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_INVALIDATE, key, 0, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_REVOKE, key, 0, 0));
	EXPECT_ERR(-EACCES, test_update(key, "something else"));
	EXPECT_ERR(-ENOKEY, keyring_resolve("user", "k", &found));
}

/* Of the same uid, even of root: without the session there is no way in. */
TEST_F(keyring, other_session_has_no_access)
{
	key_serial key;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(keyring_seal_rights(key));
	test_in_child(reach_for_key, &key);
	EXPECT_OK(keyring_alive(key));
}

TEST_F(keyring, death_is_seen)
{
	key_serial revoked, invalid, unlinked;
	int r;

	ASSERT_OK(keyring_add_user(self->ring, "a", SECRET, &revoked));
	ASSERT_OK(keyring_add_user(self->ring, "b", SECRET, &invalid));
	ASSERT_OK(keyring_add_user(self->ring, "c", SECRET, &unlinked));
	ASSERT_OK(keyring_seal_rights(unlinked));
	ASSERT_OK(test_on_key(KEYCTL_REVOKE, revoked, 0, 0));
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, invalid, 0, 0));
	ASSERT_OK(keyring_unlink(self->ring, unlinked));
	EXPECT_ERR(-EKEYREVOKED, keyring_alive(revoked));
	EXPECT_ERR(-ENOKEY, keyring_alive(invalid));
	/* Possession is gone at once, the key itself after a grace period. */
	r = keyring_alive(unlinked);
	EXPECT_TRUE(r == -EACCES || r == -ENOKEY);
	EXPECT_OK(keyring_unlink(self->ring, unlinked));
	EXPECT_OK(keyring_unlink(self->ring, invalid));
	EXPECT_OK(keyring_unlink(self->ring, revoked));
}

TEST_F(keyring, expiry_is_seen)
{
	key_serial key;
	int r;

	ASSERT_OK(keyring_add_user(self->ring, "k", SECRET, &key));
	ASSERT_OK(test_on_key(KEYCTL_SET_TIMEOUT, key, 1, 0));
	while ((r = keyring_alive(key)) == 0)
		poll(NULL, 0, 20);
	EXPECT_ERR(-EKEYEXPIRED, r);
}

/* Keys of type encrypted, under a root named "root". */
FIXTURE(encrypted)
{
	key_serial ring, root;
};

FIXTURE_SETUP(encrypted)
{
	key_serial probe;
	int r;

	self->ring = test_ring();
	ASSERT_OK(keyring_add_user(self->ring, "root", SECRET, &self->root));
	r = keyring_generate(self->ring, "probe", "user", "root", 32, &probe);
	SKIP_UNLESS("keyring", r != -ENODEV, "no keys of type encrypted here");
	ASSERT_OK(r);
}

FIXTURE_TEARDOWN(encrypted)
{
}

TEST_F(encrypted, blob_loads_again)
{
	char blob[BLOB_MAX], again[BLOB_MAX];
	key_serial key, copy;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	EXPECT_EQ(0, strncmp(blob, "default user:root 32 ", 21));
	ASSERT_OK(keyring_load(self->ring, "copy", blob, &copy));
	ASSERT_OK(keyring_blob(copy, again, BLOB_MAX));
	EXPECT_STREQ(blob, again);
}

TEST_F(encrypted, blob_needs_room)
{
	char blob[BLOB_MAX];
	key_serial key;
	size_t len;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	len = strlen(blob);
	EXPECT_ERR(-ENOBUFS, keyring_blob(key, blob, len));
	EXPECT_OK(keyring_blob(key, blob, len + 1));
}

/*
 * The trap that the maker is there for (keys/maker.h): whoever can put another key of the root's name into a
 * keyring that is searched earlier gets the blob under that one. No right of the key's stands in the way.
 */
TEST_F(encrypted, blob_is_made_under_whatever_the_name_leads_to)
{
	char before[BLOB_MAX], blob[BLOB_MAX];
	key_serial key, copy, shadow;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(keyring_seal_rights(key));
	ASSERT_OK(keyring_blob(key, before, BLOB_MAX));
	ASSERT_OK(keyring_add_user(KEYRING_THREAD, "root", OTHER, &shadow));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	EXPECT_NE(0, strcmp(before, blob));
	EXPECT_OK(keyring_load(self->ring, "copy", blob, &copy));
	EXPECT_ERR(-EINVAL, keyring_load(self->ring, "true", before, &copy));
}

static void read_as_somebody_else(void *ctx)
{
	key_serial key = *(const key_serial *)ctx, shadow, copy;
	char blob[BLOB_MAX];

	test_become_nobody();
	ASSERT_OK(keyring_add_user(KEYRING_THREAD, "root", OTHER, &shadow));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	EXPECT_OK(keyring_load(KEYRING_THREAD, "copy", blob, &copy));
}

/* And so does anybody whom a possessor gives the right to read: the keeper's filter is no filter of his. */
TEST_F(encrypted, blob_is_made_under_a_readers_root)
{
	key_serial key;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(test_on_key(KEYCTL_SETPERM, key, TEST_ALL_RIGHTS, 0));
	test_in_child(read_as_somebody_else, &key);
}

TEST_F(encrypted, sizes)
{
	key_serial key;

	EXPECT_ERR(-EINVAL, keyring_generate(self->ring, "a", "user", "root", 16, &key));
	EXPECT_OK(keyring_generate(self->ring, "b", "user", "root", 24, &key));
	EXPECT_OK(keyring_generate(self->ring, "c", "user", "root", 64, &key));
}

/* "default user:root 32 ", then in hex 16 bytes of IV, one unused, 32 of ciphertext, 32 of MAC. */
#define BLOB_HEAD   21
#define BLOB_LEN    (BLOB_HEAD + 2 * (16 + 1 + 32 + 32))
#define BLOB_UNUSED (BLOB_HEAD + 2 * 16)

/*
 * The MAC covers all but the unused byte, which changes nothing: epayload->iv is one byte longer
 * than the IV (security/keys/encrypted-keys/encrypted.c).
 */
TEST_F(encrypted, flipped_nibble_is_refused)
{
	char blob[BLOB_MAX];
	key_serial key, copy = 0;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	ASSERT_EQ(BLOB_LEN, strlen(blob));
	for (size_t i = BLOB_HEAD; i < BLOB_LEN; i++) {
		char was = blob[i];

		if (i == BLOB_UNUSED || i == BLOB_UNUSED + 1)
			continue;
		blob[i] = was == '0' ? '1' : '0';
		ASSERT_ERR(-EINVAL, keyring_load(self->ring, "copy", blob, &copy));
		blob[i] = was;
	}
	EXPECT_EQ(0, copy);
	EXPECT_OK(keyring_load(self->ring, "copy", blob, &copy));
}

TEST_F(encrypted, other_root_is_refused)
{
	char blob[BLOB_MAX];
	key_serial key;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "root", 32, &key));
	ASSERT_OK(keyring_blob(key, blob, BLOB_MAX));
	ASSERT_OK(keyring_unlink(self->ring, self->root));
	EXPECT_ERR(-ENOKEY, keyring_load(self->ring, "copy", blob, &key));
	ASSERT_OK(keyring_add_user(self->ring, "root", OTHER, &self->root));
	EXPECT_ERR(-EINVAL, keyring_load(self->ring, "copy", blob, &key));
}

/* The trap that root_key_check() is there for: the kernel does not mind. */
TEST_F(encrypted, kernel_generates_under_a_missing_root)
{
	char blob[BLOB_MAX];
	key_serial key;

	ASSERT_OK(keyring_generate(self->ring, "k", "user", "nobody", 32, &key));
	EXPECT_ERR(-ENOKEY, keyring_blob(key, blob, BLOB_MAX));
}

TEST_F(encrypted, kernel_generates_under_a_one_byte_root)
{
	char blob[BLOB_MAX];
	key_serial key;

	ASSERT_OK(keyring_add_user(self->ring, "tiny", span_str("x"), &key));
	ASSERT_OK(keyring_generate(self->ring, "k", "user", "tiny", 32, &key));
	EXPECT_OK(keyring_blob(key, blob, BLOB_MAX));
}

/* WRITE lets its holder wrap the key again under a root he knows. Sealing ends that. */
TEST_F(encrypted, sealed_key_cannot_be_wrapped_again)
{
	char open_blob[BLOB_MAX], sealed_blob[BLOB_MAX];
	key_serial open_key, sealed_key, known;

	ASSERT_OK(keyring_add_user(self->ring, "known", OTHER, &known));
	ASSERT_OK(keyring_generate(self->ring, "open", "user", "root", 32, &open_key));
	ASSERT_OK(keyring_generate(self->ring, "sealed", "user", "root", 32, &sealed_key));
	ASSERT_OK(keyring_seal_rights(sealed_key));

	EXPECT_OK(test_update(open_key, "update user:known"));
	ASSERT_OK(keyring_blob(open_key, open_blob, BLOB_MAX));
	EXPECT_EQ(0, strncmp(open_blob, "default user:known ", 19));

	EXPECT_ERR(-EACCES, test_update(sealed_key, "update user:known"));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SETPERM, sealed_key, TEST_POS_ALL, 0));
	ASSERT_OK(keyring_blob(sealed_key, sealed_blob, BLOB_MAX));
	EXPECT_EQ(0, strncmp(sealed_blob, "default user:root ", 18));
}

TEST_HARNESS_MAIN
