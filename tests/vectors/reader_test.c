/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the vector files: what the committed files hold, so that a loop over them cannot turn
 * into a loop over nothing, and each way in which a file can be malformed.
 */
#include "tests/vectors/reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/harness/ktest.h"

#define KEY "000102030405060708090a0b0c0d0e0f"
#define IV  "000102030405060708090a0b"

FIXTURE(file)
{
	struct vec_reader *r;
	struct vec v;
};

FIXTURE_VARIANT(file)
{
	const char *name;
	enum vec_mode mode;
	unsigned int valid, invalid;
	size_t longest; /* ciphertext, in bytes */
};

FIXTURE_VARIANT_ADD(file, gcm_cavp){ "aes-gcm-cavp.txt", VEC_GCM, 300, 150, 51 };
FIXTURE_VARIANT_ADD(file, gcm_wycheproof){ "aes-gcm-wycheproof.txt", VEC_GCM, 62, 81, 257 };
FIXTURE_VARIANT_ADD(file, cbc_cavp){ "aes-cbc-cavp.txt", VEC_CBC, 259, 0, 160 };
FIXTURE_VARIANT_ADD(file, cbc_wycheproof){ "aes-cbc-wycheproof.txt", VEC_CBC_PKCS7, 72, 111, 96 };

FIXTURE_SETUP(file)
{
	ktest_show_bytes = true;
	ASSERT_OK(vec_open(variant->name, &self->r));
}

FIXTURE_TEARDOWN(file)
{
	vec_close(self->r);
}

TEST_F(file, holds_what_it_should)
{
	unsigned int count[2] = { 0 }, keys[VEC_KEY_MAX + 1] = { 0 };
	size_t longest = 0;
	int n;

	while ((n = vec_next(self->r, &self->v)) > 0) {
		EXPECT_EQ(variant->mode, self->v.mode);
		count[self->v.valid]++;
		keys[self->v.key_len]++;
		longest = self->v.ct_len > longest ? self->v.ct_len : longest;
	}
	EXPECT_EQ(0, n);
	EXPECT_STREQ("", vec_error(self->r));
	EXPECT_EQ(variant->valid, count[true]);
	EXPECT_EQ(variant->invalid, count[false]);
	EXPECT_EQ(variant->longest, longest);
	EXPECT_EQ(count[true] + count[false], keys[16] + keys[24] + keys[32]);
	EXPECT_LT(0, keys[16]);
	EXPECT_LT(0, keys[24]);
	EXPECT_LT(0, keys[32]);
}

FIXTURE(text)
{
	struct vec_reader *r;
	struct vec v, before;
	int fd;
};

FIXTURE_VARIANT(text)
{
	const char *text;  /* of the file */
	size_t len;        /* if it is not that of a string */
	const char *error; /* NULL: none */
};

/* Opens the variant's text as a file that exists in memory only. */
FIXTURE_SETUP(text)
{
	size_t len = variant->len > 0 ? variant->len : strlen(variant->text);
	char path[64];

	self->fd = memfd_create("vectors", MFD_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(len, write(self->fd, variant->text, len));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	ASSERT_OK(vec_open(path, &self->r));
	memset(&self->v, 0xa5, sizeof(self->v));
	self->before = self->v;
}

FIXTURE_TEARDOWN(text)
{
	vec_close(self->r);
	close(self->fd);
}

#define TEXT(name)   FIXTURE_VARIANT_ADD(text, name)
#define TAG          KEY
#define LINE(ending) "gcm valid id " KEY " " IV " - 61 62 " TAG ending

TEXT(good){ .text = "# a comment\n" LINE("\n") "# another\n" };
TEXT(empty){ .text = "", .error = ":0: the file holds no vector" };
TEXT(comment){ .text = "# only\n", .error = ":1: the file holds no vector" };
TEXT(blank){ .text = "#\n\n" LINE("\n"), .error = ":2: field 1 of 9 is missing" };
TEXT(no_newline){ .text = LINE(""), .error = ":1: no newline within" };
TEXT(nul){ .text = "gcm\0\n", .len = 5, .error = ":1: no newline within" };
TEXT(carriage_return){ .text = LINE("\r\n"), .error = ":1: tag is not in lower-case hex" };
TEXT(two_spaces){
	.text = "gcm  valid id " KEY " " IV " - - - " TAG "\n",
	.error = ":1: field 2 of 9 is missing",
};
TEXT(eight){
	.text = "gcm valid id " KEY " " IV " - - -\n",
	.error = ":1: field 9 of 9 is missing",
};
TEXT(ten){ .text = LINE(" -\n"), .error = ":1: more than 9 fields" };
TEXT(mode){
	.text = "ctr valid id " KEY " " IV " - - - " TAG "\n",
	.error = ":1: unknown mode",
};
TEXT(verdict){
	.text = "gcm maybe id " KEY " " IV " - - - " TAG "\n",
	.error = ":1: the verdict is neither",
};
TEXT(odd){
	.text = "gcm valid id " KEY "0 " IV " - - - " TAG "\n",
	.error = ":1: key is not in lower-case hex",
};
TEXT(upper_case){
	.text = "gcm valid id " KEY " " IV " AA - - " TAG "\n",
	.error = ":1: aad is not in lower-case hex",
};
TEXT(not_hex){
	.text = "gcm valid id " KEY " " IV " - 0g 00 " TAG "\n",
	.error = ":1: pt is not in lower-case hex",
};
TEXT(key_too_long){
	.text = "gcm valid id " KEY KEY "00 " IV " - - - " TAG "\n",
	.error = ":1: key is longer than 32 bytes",
};
TEXT(key_of_17){
	.text = "gcm valid id " KEY "00 " IV " - - - " TAG "\n",
	.error = ":1: the key has 17 bytes",
};
TEXT(no_key){ .text = "gcm valid id - " IV " - - - " TAG "\n", .error = ":1: the key has 0 bytes" };
TEXT(iv){ .text = "gcm valid id " KEY " - - - - " TAG "\n", .error = ":1: iv of 0 and tag of 16" };
TEXT(tag){
	.text = "gcm invalid id " KEY " " IV " - - - 00\n",
	.error = ":1: iv of 12 and tag of 1 ",
};
TEXT(gcm_length){
	.text = "gcm valid id " KEY " " IV " - 61 - " TAG "\n",
	.error = ":1: ct of 0 bytes for 1 of pt",
};
TEXT(cbc_aad){
	.text = "cbc valid id " KEY " " KEY " 00 - - -\n",
	.error = ":1: aad with mode cbc",
};
TEXT(cbc_partial){
	.text = "cbc valid id " KEY " " KEY " - 61 62 -\n",
	.error = ":1: pt of 1 bytes is not whole blocks",
};
TEXT(cbc_unpadded){
	.text = "cbc-pkcs7 valid id " KEY " " KEY " - " KEY " " KEY " -\n",
	.error = ":1: ct of 16 bytes for 16 of pt",
};

TEST_F(text, is_read_strictly)
{
	int n = vec_next(self->r, &self->v);

	if (variant->error != NULL) {
		EXPECT_ERR(-EINVAL, n);
		EXPECT_NOT_NULL(strstr(vec_error(self->r), variant->error));
		EXPECT_MEMEQ(&self->before, sizeof(self->before), &self->v, sizeof(self->v));
		return;
	}
	ASSERT_EQ(1, n);
	EXPECT_STREQ("", vec_error(self->r));
	EXPECT_EQ(VEC_GCM, self->v.mode);
	EXPECT_TRUE(self->v.valid);
	EXPECT_STREQ("id", self->v.id);
	EXPECT_EQ(2, self->v.line);
	EXPECT_MEMEQ("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16, self->v.key, self->v.key_len);
	EXPECT_MEMEQ("\0\1\2\3\4\5\6\7\10\11\12\13", 12, self->v.iv, self->v.iv_len);
	EXPECT_MEMEQ("", 0, self->v.aad, self->v.aad_len);
	EXPECT_MEMEQ("a", 1, self->v.pt, self->v.pt_len);
	EXPECT_MEMEQ("b", 1, self->v.ct, self->v.ct_len);
	EXPECT_MEMEQ(self->v.key, 16, self->v.tag, self->v.tag_len);
	EXPECT_EQ(0, vec_next(self->r, &self->v));
}

/* A line must not run into the next one when it is longer than the buffer. */
TEST(long_line)
{
	struct vec_reader *r = NULL;
	char path[64], *text;
	size_t len = 1 << 20;
	struct vec v;
	int fd = memfd_create("vectors", MFD_CLOEXEC);

	ASSERT_LE(0, fd);
	text = malloc(len);
	ASSERT_NOT_NULL(text);
	memset(text, '0', len);
	text[len - 1] = '\n';
	EXPECT_EQ(len, write(fd, text, len));
	free(text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ASSERT_OK(vec_open(path, &r));
	EXPECT_ERR(-EINVAL, vec_next(r, &v));
	EXPECT_NOT_NULL(strstr(vec_error(r), ":1: no newline within"));
	vec_close(r);
	close(fd);
}

TEST(names)
{
	struct vec_reader *r = NULL;
	char *name = malloc(8192);

	ASSERT_NOT_NULL(name);
	memset(name, 'n', 8191);
	name[8191] = '\0';
	EXPECT_ERR(-ENAMETOOLONG, vec_open(name, &r));
	free(name);
	EXPECT_ERR(-ENOENT, vec_open("no-such-file.txt", &r));
	ASSERT_OK(setenv("KEKD_VECTORS", "/dev", 1));
	EXPECT_ERR(-ENOENT, vec_open("aes-gcm-cavp.txt", &r));
	EXPECT_NULL(r);
	vec_close(NULL);
}

TEST_HARNESS_MAIN
