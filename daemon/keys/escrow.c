/* SPDX-License-Identifier: Apache-2.0 */
/* See escrow.h. */
#include "daemon/keys/escrow.h"

#include <errno.h>

#define PROOF  "kekd-escrow-proof 1"
#define TESTED "kekd-escrow-tested 1"

int escrow_proof_format(const uint8_t doc[static SHA256_LEN], const struct keydoc_root *root,
			char ret[static ESCROW_TEXT_MAX])
{
	struct text_buf b = { .data = ret, .size = ESCROW_TEXT_MAX };

	text_append(&b, PROOF "\n");
	text_append_hex(&b, "document", doc, SHA256_LEN);
	return keydoc_sign(&b, PROOF, root);
}

int escrow_proof_check(struct span text, const uint8_t doc[static SHA256_LEN],
		       const struct keydoc_root *root, uint8_t ret_other[static KEY_ROOT_ID])
{
	uint8_t of[SHA256_LEN];
	struct span body, value;
	int r = keydoc_open(text, PROOF, root, &body, ret_other);

	if (r < 0)
		return r;
	if (text_take(&body, "kekd-escrow-proof", &value) < 0 ||
	    !span_equal(value, span_str("1")) || text_take(&body, "document", &value) < 0 ||
	    text_hex(value, of, sizeof(of)) < 0 || body.len > 0)
		return -EINVAL;
	return memcmp(of, doc, sizeof(of)) == 0 ? 0 : -ESTALE;
}

int escrow_tested_format(time_t when, const struct keydoc_root *root,
			 char ret[static ESCROW_TEXT_MAX])
{
	struct text_buf b = { .data = ret, .size = ESCROW_TEXT_MAX };
	char time[TEXT_TIME_LEN + 1];

	if (text_time_format(when, time) < 0)
		return -EINVAL;
	text_append(&b, TESTED "\ntime %s\n", time);
	return keydoc_sign(&b, TESTED, root);
}

int escrow_tested_parse(struct span text, const struct keydoc_root *root, time_t *ret,
			uint8_t ret_other[static KEY_ROOT_ID])
{
	struct span body, value;
	time_t when;
	int r = keydoc_open(text, TESTED, root, &body, ret_other);

	if (r < 0)
		return r;
	if (text_take(&body, "kekd-escrow-tested", &value) < 0 ||
	    !span_equal(value, span_str("1")) || text_take(&body, "time", &value) < 0 ||
	    text_time(value, &when) < 0 || body.len > 0)
		return -EINVAL;
	*ret = when;
	return 0;
}
