/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PKCS#7 padding: the round trip, and every last block that matters. Time is not measured: that no
 * branch depends on the message is for the reader of pkcs7.c and of its assembly.
 */
#include <errno.h>
#include <string.h>

#include "daemon/crypto/pkcs7.h"
#include "tests/harness/ktest.h"

#define BLOCK KEKD_AES_BLOCK

TEST(round_trip)
{
	uint8_t buf[81];

	for (size_t len = 0; len <= 64; len++) {
		size_t seen = SIZE_MAX;

		memset(buf, 0xa5, sizeof(buf));
		pkcs7_pad(buf, len);
		ASSERT_LT(len, pkcs7_padded(len));
		ASSERT_LE(pkcs7_padded(len), len + BLOCK);
		ASSERT_EQ(0, pkcs7_padded(len) % BLOCK);
		ASSERT_EQ(0xa5, buf[pkcs7_padded(len)]);
		ASSERT_OK(pkcs7_unpad(buf, pkcs7_padded(len), &seen));
		ASSERT_EQ(len, seen);
	}
}

TEST(lengths)
{
	uint8_t buf[33];
	size_t seen = 7;

	memset(buf, 1, sizeof(buf));
	EXPECT_ERR(-EBADMSG, pkcs7_unpad(NULL, 0, &seen));
	EXPECT_ERR(-EBADMSG, pkcs7_unpad(buf, 1, &seen));
	EXPECT_ERR(-EBADMSG, pkcs7_unpad(buf, 15, &seen));
	EXPECT_ERR(-EBADMSG, pkcs7_unpad(buf, 33, &seen));
	EXPECT_EQ(7, seen);
	EXPECT_OK(pkcs7_unpad(buf, 32, &seen));
	EXPECT_EQ(31, seen);
}

/* All 256 last bytes, over padding that is right, and with each of its bytes wrong in turn. */
TEST(every_last_byte)
{
	uint8_t buf[2 * BLOCK];

	for (unsigned int n = 0; n < 256; n++) {
		size_t seen = 7;

		memset(buf, (int)n, sizeof(buf));
		if (n < 1 || n > BLOCK) {
			ASSERT_ERR(-EBADMSG, pkcs7_unpad(buf, sizeof(buf), &seen));
			ASSERT_EQ(7, seen);
			continue;
		}
		ASSERT_OK(pkcs7_unpad(buf, sizeof(buf), &seen));
		ASSERT_EQ(sizeof(buf) - n, seen);
		for (size_t at = 2; at <= sizeof(buf); at++) {
			seen = 7;
			buf[sizeof(buf) - at] ^= 0x80;
			ASSERT_ERR(at <= n ? -EBADMSG : 0, pkcs7_unpad(buf, sizeof(buf), &seen));
			ASSERT_EQ(at <= n ? 7 : sizeof(buf) - n, seen);
			buf[sizeof(buf) - at] ^= 0x80;
		}
	}
}

TEST_HARNESS_MAIN
