/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root secrets on their way, and the keys of the openssl backend.
 */
#include "daemon/crypto/openssl_seal.h"
#include "daemon/keys/check.h"
#include "daemon/keys/secret.h"
#include "daemon/keys/softkey.h"
#include "tests/harness/ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct key_record record(uint8_t id, const char *name)
{
	struct key_record rec = { .state = KEY_ACTIVE, .activation = 1 };

	memset(rec.id, id, sizeof(rec.id));
	snprintf(rec.name, sizeof(rec.name), "%s", name);
	snprintf(rec.label, sizeof(rec.label), "%s.%02x", name, id);
	return rec;
}

/* A pipe that holds @len bytes and ends, or stays open if @wr is given. */
static int pipe_with(size_t len, int *wr)
{
	static const uint8_t bytes[2 * SECRET_MAX] = "some secret";
	int fds[2];

	ASSERT_EQ(0, pipe2(fds, O_CLOEXEC));
	ASSERT_EQ(len, (size_t)write(fds[1], bytes, len));
	if (wr)
		*wr = fds[1];
	else
		close(fds[1]);
	return fds[0];
}

TEST(secret_lengths)
{
	static const struct {
		size_t len;
		int r;
	} cases[] = {
		{ 0, -ENODATA },
		{ 1, -EINVAL },
		{ SECRET_MIN - 1, -EINVAL },
		{ SECRET_MIN, 0 },
		{ SECRET_MAX, 0 },
		{ SECRET_MAX + 1, -EMSGSIZE },
		{ 2 * SECRET_MAX, -EMSGSIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_secret_ struct secret s = { 0 };
		_cleanup_close_ int fd = pipe_with(cases[i].len, NULL);

		EXPECT_ERR(cases[i].r, secret_read(fd, -1, &s));
		EXPECT_EQ(cases[i].r == 0 ? cases[i].len : 0, s.len);
	}
}

TEST(secret_needs_an_end)
{
	struct secret s = { 0 };
	int wr, fd = pipe_with(SECRET_MIN, &wr);

	EXPECT_ERR(-ETIME, secret_read(fd, 0, &s));
	EXPECT_NULL(s.data);
	close(wr);
	close(fd);
}

TEST(secret_is_not_read_from_a_file)
{
	char path[] = "/tmp/kekd-test.XXXXXX";
	struct secret s = { 0 };
	int fd = mkstemp(path);

	ASSERT_LE(0, fd);
	unlink(path);
	EXPECT_ERR(-EPERM, secret_read(fd, -1, &s));
	close(fd);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	EXPECT_ERR(-EPERM, secret_read(fd, -1, &s));
	close(fd);
	EXPECT_NULL(s.data);
}

TEST(secret_random_differs)
{
	_cleanup_secret_ struct secret a = { 0 }, b = { 0 };

	ASSERT_OK(secret_random(SECRET_MIN, &a));
	ASSERT_OK(secret_random(SECRET_MIN, &b));
	EXPECT_EQ((size_t)SECRET_MIN, a.len);
	EXPECT_NE(0, memcmp(a.data, b.data, SECRET_MIN));
	EXPECT_ERR(-EINVAL, secret_random(SECRET_MIN - 1, &b));
	EXPECT_ERR(-EINVAL, secret_random(SECRET_MAX + 1, &b));
}

FIXTURE(softkey)
{
	struct soft_root *root;
	struct key_record rec;
	struct softkey *key;
};

FIXTURE_SETUP(softkey)
{
	ASSERT_OK(soft_root_new_ephemeral(&self->root));
	self->rec = record(1, "primary");
	ASSERT_OK(softkey_generate(self->root, &self->rec, &self->key));
}

FIXTURE_TEARDOWN(softkey)
{
	softkey_free(self->key);
	soft_root_free(self->root);
}

static void expect_refused(const struct soft_root *root, const struct key_record *rec, int error)
{
	struct softkey *key = NULL;

	EXPECT_ERR(error, softkey_load(root, rec, &key));
	EXPECT_NULL(key);
}

TEST_F(softkey, loads_as_the_same_key)
{
	struct softkey *again;

	ASSERT_OK(softkey_load(self->root, &self->rec, &again));
	EXPECT_MEMEQ(softkey_bytes(self->key), 32, softkey_bytes(again), 32);
	softkey_free(again);
}

TEST_F(softkey, record_is_whole)
{
	char text[2048];
	struct text_buf b = { .data = text, .size = sizeof(text) };
	uint8_t block[16], value[16];

	EXPECT_EQ(KEY_KIND_OPENSSL, self->rec.kind);
	EXPECT_EQ(32U, self->rec.key_bytes);
	key_record_append(&b, &self->rec);
	EXPECT_OK(b.r);
	ASSERT_OK(key_check_block(&self->rec, block));
	ASSERT_OK(openssl_aes_block(softkey_bytes(self->key), block, value));
	EXPECT_MEMEQ(value, 16, self->rec.check, 16);
}

TEST_F(softkey, keys_differ)
{
	struct key_record rec = record(2, "primary");
	struct softkey *other;

	ASSERT_OK(softkey_generate(self->root, &rec, &other));
	EXPECT_NE(0, memcmp(softkey_bytes(self->key), softkey_bytes(other), 32));
	EXPECT_NE(0, strcmp(self->rec.blob, rec.blob));
	softkey_free(other);
}

TEST_F(softkey, every_flipped_nibble_is_caught)
{
	struct key_record rec = self->rec;

	for (size_t i = strlen("aes-256-gcm "); rec.blob[i]; i++) {
		char was = rec.blob[i];

		rec.blob[i] = was == '0' ? '1' : '0';
		expect_refused(self->root, &rec, was == ' ' ? -EINVAL : -EBADMSG);
		rec.blob[i] = was;
	}
}

TEST_F(softkey, malformed_blob)
{
	struct key_record rec = self->rec;
	size_t len = strlen(rec.blob);

	for (size_t cut = 0; cut < len; cut++) {
		rec.blob[cut] = '\0';
		expect_refused(self->root, &rec, -EINVAL);
		rec.blob[cut] = self->rec.blob[cut];
	}
	memcpy(rec.blob + len, "0", 2);
	expect_refused(self->root, &rec, -EINVAL);
}

TEST_F(softkey, moved_or_renamed_is_caught)
{
	struct key_record other = record(2, "secondary"), rec = self->rec;
	struct softkey *second;

	ASSERT_OK(softkey_generate(self->root, &other, &second));
	softkey_free(second);
	memcpy(rec.blob, other.blob, sizeof(rec.blob));
	expect_refused(self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.name[0] ^= 1;
	expect_refused(self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.label[0] ^= 1;
	expect_refused(self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.id[0] ^= 1;
	expect_refused(self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.check[0] ^= 1;
	expect_refused(self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.kind = KEY_KIND_ENCRYPTED;
	expect_refused(self->root, &rec, -EOPNOTSUPP);
}

TEST_F(softkey, other_root_is_told_from_damage)
{
	struct soft_root *other;

	ASSERT_OK(soft_root_new_ephemeral(&other));
	expect_refused(other, &self->rec, -EKEYREJECTED);
	soft_root_free(other);
}

TEST_F(softkey, root_of_the_same_secret_opens)
{
	static const uint8_t secret[SECRET_MIN] = "shared by the nodes of a cluster";
	struct key_record rec = record(3, "third");
	struct soft_root *here, *there;
	struct softkey *made, *loaded;

	ASSERT_OK(soft_root_new(span_of(secret, sizeof(secret)), &here));
	ASSERT_OK(soft_root_new(span_of(secret, sizeof(secret)), &there));
	ASSERT_OK(softkey_generate(here, &rec, &made));
	ASSERT_OK(softkey_load(there, &rec, &loaded));
	EXPECT_MEMEQ(softkey_bytes(made), 32, softkey_bytes(loaded), 32);
	softkey_free(made);
	softkey_free(loaded);
	soft_root_free(here);
	soft_root_free(there);
	EXPECT_ERR(-EINVAL, soft_root_new(span_of(secret, SECRET_MIN - 1), &here));
}

TEST_F(softkey, travels_as_a_descriptor)
{
	struct softkey *there = NULL;
	int fd;

	ASSERT_OK(softkey_export(self->key, &fd));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	ASSERT_OK(softkey_import(fd, &there));
	EXPECT_TRUE(softkey_bytes(there) != softkey_bytes(self->key));
	EXPECT_MEMEQ(softkey_bytes(self->key), 32, softkey_bytes(there), 32);
	softkey_free(there);
	close(fd);
}

TEST_F(softkey, travels_by_memfd_secret_where_there_is_one)
{
	struct stat st;
	int fd;

	ASSERT_OK(softkey_export(self->key, &fd));
	ASSERT_EQ(0, fstat(fd, &st));
	close(fd);
	SKIP_UNLESS("memfd_secret", S_ISREG(st.st_mode), "no memfd_secret here");
	EXPECT_EQ(32, st.st_size);
}

TEST(import_refuses_what_export_did_not_make)
{
	struct softkey *key = NULL;
	int fd = pipe_with(31, NULL);

	EXPECT_ERR(-EINVAL, softkey_import(fd, &key));
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	EXPECT_ERR(-EINVAL, softkey_import(fd, &key));
	close(fd);
	EXPECT_NULL(key);
}

TEST_HARNESS_MAIN
