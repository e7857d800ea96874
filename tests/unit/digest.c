/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests against published values, whole and in parts.
 */
#include <errno.h>
#include <string.h>

#include "daemon/crypto/digest.h"
#include "tests/harness/ktest.h"

/* FIPS 180-2 appendix B.1: "abc". */
static const uint8_t sha_abc[] = {
	0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
	0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
	0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
};

/* RFC 4231 §4.3, test case 2. */
static const uint8_t hmac_jefe[] = {
	0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
	0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
	0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
};

/* RFC 5869 appendix A.1: PRK, info and OKM of test case 1. */
static const uint8_t hkdf_prk[] = {
	0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf, 0x0d, 0xdc, 0x3f,
	0x0d, 0xc4, 0x7b, 0xba, 0x63, 0x90, 0xb6, 0xc7, 0x3b, 0xb5, 0x0f,
	0x9c, 0x31, 0x22, 0xec, 0x84, 0x4a, 0xd7, 0xc2, 0xb3, 0xe5,
};
static const uint8_t hkdf_info[] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9 };
static const uint8_t hkdf_okm[] = {
	0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f,
	0x64, 0xd0, 0x36, 0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a,
	0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf,
};

TEST(sha256)
{
	const struct span whole = span_str("abc");
	const struct span parts[] = { span_str("a"), SPAN_NULL, span_str("bc") };
	uint8_t md[SHA256_LEN];

	ktest_show_bytes = true;
	EXPECT_OK(sha256(&whole, 1, md));
	EXPECT_MEMEQ(sha_abc, sizeof(sha_abc), md, sizeof(md));
	EXPECT_OK(sha256(parts, 3, md));
	EXPECT_MEMEQ(sha_abc, sizeof(sha_abc), md, sizeof(md));
}

TEST(hmac_sha256)
{
	const struct span parts[] = { span_str("what do ya want "), span_str("for nothing?") };
	uint8_t md[SHA256_LEN], empty[SHA256_LEN];

	ktest_show_bytes = true;
	EXPECT_OK(hmac_sha256(span_str("Jefe"), parts, 2, md));
	EXPECT_MEMEQ(hmac_jefe, sizeof(hmac_jefe), md, sizeof(md));
	/* RFC 2104: a short key is filled up with zeros, so no key is a key of zeros. */
	EXPECT_OK(hmac_sha256(SPAN_NULL, parts, 2, md));
	EXPECT_OK(hmac_sha256(span_of("\0\0\0", 3), parts, 2, empty));
	EXPECT_MEMEQ(empty, sizeof(empty), md, sizeof(md));
}

TEST(hkdf_expand_sha256)
{
	struct span prk = span_of(hkdf_prk, sizeof(hkdf_prk));
	struct span info = span_of(hkdf_info, sizeof(hkdf_info));
	uint8_t okm[SHA256_LEN] = { 7 };

	ktest_show_bytes = true;
	EXPECT_ERR(-EINVAL, hkdf_expand_sha256(span_of(hkdf_prk, 31), info, okm));
	EXPECT_EQ(7, okm[0]);
	EXPECT_OK(hkdf_expand_sha256(prk, info, okm));
	EXPECT_MEMEQ(hkdf_okm, sizeof(hkdf_okm), okm, sizeof(okm));
}

/* What the apiserver computes for a KMS v2 seed: HMAC(seed, info ‖ 1). */
TEST(hkdf_is_one_hmac)
{
	struct span prk = span_of(hkdf_prk, sizeof(hkdf_prk));
	const struct span parts[] = { span_of(hkdf_info, sizeof(hkdf_info)), span_of("\1", 1) };
	uint8_t okm[SHA256_LEN], md[SHA256_LEN];

	EXPECT_OK(hkdf_expand_sha256(prk, parts[0], okm));
	EXPECT_OK(hmac_sha256(prk, parts, 2, md));
	EXPECT_MEMEQ(md, sizeof(md), okm, sizeof(okm));
	EXPECT_OK(hkdf_expand_sha256(prk, SPAN_NULL, okm));
	EXPECT_OK(hmac_sha256(prk, parts + 1, 1, md));
	EXPECT_MEMEQ(md, sizeof(md), okm, sizeof(okm));
}

/* RFC 7914 §11, which has PBKDF2-HMAC-SHA-256 vectors of 64 bytes: the first 32 are the first block. */
TEST(pbkdf2_sha256)
{
	static const uint8_t once[] = {
		0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91,
		0xc2, 0x25, 0x44, 0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde,
		0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57, 0xc2, 0x0d, 0xac, 0xbc,
	};
	static const uint8_t often[] = {
		0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21, 0x83, 0x0c, 0xee,
		0x5e, 0xf2, 0x27, 0x01, 0xf9, 0x64, 0x1a, 0x44, 0x18, 0xd0, 0x4c,
		0x04, 0x14, 0xae, 0xff, 0x08, 0x87, 0x6b, 0x34, 0xab, 0x56,
	};
	uint8_t md[SHA256_LEN];

	ktest_show_bytes = true;
	EXPECT_ERR(-EINVAL, pbkdf2_sha256(span_str("passwd"), span_str("salt"), 0, md));
	EXPECT_OK(pbkdf2_sha256(span_str("passwd"), span_str("salt"), 1, md));
	EXPECT_MEMEQ(once, sizeof(once), md, sizeof(md));
	EXPECT_OK(pbkdf2_sha256(span_str("Password"), span_str("NaCl"), 80000, md));
	EXPECT_MEMEQ(often, sizeof(often), md, sizeof(md));
}

TEST_HARNESS_MAIN
