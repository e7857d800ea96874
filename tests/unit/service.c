/* SPDX-License-Identifier: Apache-2.0 */
/* What a KMS service remembers of how its chain writes, for Status. */
#include <errno.h>

#include "daemon/kms/service.h"
#include "tests/harness/ktest.h"

TEST(remembers_what_is_its_own)
{
	static const int of_a_request[] = { -EINVAL,      -E2BIG,  -EMSGSIZE, -ENOBUFS,
					    -EPERM,       -EACCES, -ETIME,    -ENOKEY,
					    -EKEYREVOKED, -ESTALE, -ECANCELED };
	static const int its_own[] = { -EIO, -ENOMEM, -EHOSTUNREACH, -EREMOTEIO, -EPROTO };
	struct kms_service *s;
	uint64_t when;

	ASSERT_OK(kms_service_new(NULL, NULL, NULL, &s));
	EXPECT_OK(kms_service_writes(s, &when));
	EXPECT_EQ(0U, when);
	for (size_t i = 0; i < sizeof(of_a_request) / sizeof(*of_a_request); i++) {
		kms_service_tried(s, of_a_request[i]);
		EXPECT_OK(kms_service_writes(s, &when));
		EXPECT_EQ(0U, when);
	}
	for (size_t i = 0; i < sizeof(its_own) / sizeof(*its_own); i++) {
		kms_service_tried(s, its_own[i]);
		kms_service_tried(s, -EINVAL);
		EXPECT_ERR(its_own[i], kms_service_writes(s, &when));
		EXPECT_LT(0U, when);
		kms_service_tried(s, 0);
		EXPECT_OK(kms_service_writes(s, &when));
	}
	kms_service_tried(s, -EIO);
	kms_service_set_chain(s, NULL);
	EXPECT_OK(kms_service_writes(s, &when));
	kms_service_free(s);
}

TEST_HARNESS_MAIN
