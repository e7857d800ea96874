/* SPDX-License-Identifier: Apache-2.0 */
/* A blob of the kernel's as another type of root key would have made it. tests/e2e/trusted has the kernel open what is made here. */
#include "daemon/keys/retype.h"

#include <errno.h>
#include <string.h>

#include "daemon/keys/root.h"
#include "tests/harness/ktest.h"

static const struct span ROOT = { (const uint8_t *)"0123456789abcdef0123456789abcdef", 32 };
static const struct span OTHER = { (const uint8_t *)"fedcba9876543210fedcba9876543210", 32 };

/*
 * By Python's hmac and hashlib, from what the kernel does (security/keys/encrypted-keys/encrypted.c): an IV of 00 01 02 …, a
 * ciphertext of 40 41 42 …
 */
#define AS_USER                                                                                            \
	"default user:kekd-root 32 "                                                                       \
	"000102030405060708090a0b0c0d0e0f00404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e" \
	"5f2102de7321a21c1a5f7d886236ccb92ccdabf847af12c67137aa94ce4ccca284"
#define AS_TRUSTED                                                                                         \
	"default trusted:kekd-root 32 "                                                                    \
	"000102030405060708090a0b0c0d0e0f00404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e" \
	"5f1d997f84e469e282e4b5a778edd4727bbe884d1187eba9be73120a892a47aba5"

TEST(there_and_back)
{
	char blob[KEY_BLOB_MAX] = "", back[KEY_BLOB_MAX] = "";

	ASSERT_OK(blob_retype(AS_USER, ROOT_TRUSTED, ROOT, blob));
	EXPECT_STREQ(AS_TRUSTED, blob);
	ASSERT_OK(blob_retype(blob, ROOT_USER, ROOT, back));
	EXPECT_STREQ(AS_USER, back);
	ASSERT_OK(blob_retype(AS_USER, ROOT_USER, ROOT, back));
	EXPECT_STREQ(AS_USER, back);
}

/* Nothing gets a good MAC that had none. */
TEST(of_this_root_only)
{
	char blob[KEY_BLOB_MAX], out[KEY_BLOB_MAX] = "untouched";

	EXPECT_ERR(-EINVAL, blob_retype(AS_USER, ROOT_TRUSTED, OTHER, out));
	for (size_t i = 0; i < strlen(AS_USER); i++) {
		strcpy(blob, AS_USER);
		blob[i] = blob[i] == '0' ? '1' : '0';
		EXPECT_ERR(-EINVAL, blob_retype(blob, ROOT_TRUSTED, ROOT, out));
	}
	EXPECT_STREQ("untouched", out);
}

TEST(what_is_no_blob)
{
	static const char *const bad[] = {
		"",
		"default",
		"default user",
		"default user:",
		"default user:n",
		"default user:n 32",
		"default user:n 32 ",
		"default user:n 32 00",
		"default user:n 32 0",
		"default :n 32 00",
		"default user: 32 00",
		"default user:n  00",
		"ecryptfs user:n 32 00",
	};
	char blob[KEY_BLOB_MAX], out[KEY_BLOB_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		EXPECT_ERR(-EINVAL, blob_retype(bad[i], ROOT_USER, ROOT, out));
	for (size_t n = 0; n < strlen(AS_USER); n++) {
		memcpy(blob, AS_USER, n);
		blob[n] = '\0';
		EXPECT_ERR(-EINVAL, blob_retype(blob, ROOT_USER, ROOT, out));
	}
}

TEST_HARNESS_MAIN
