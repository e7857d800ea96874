/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kekctl makes of a root key's bytes is what the daemon makes of its root key; and the texts by which an escrow is
 * tested.
 */
#include "tests/unit/custody.h"

#include <errno.h>
#include <string.h>

#include "daemon/keys/escrow.h"
#include "daemon/keys/root.h"
#include "daemon/keys/rootbytes.h"
#include "daemon/keys/secret.h"

static const uint8_t SECRET[32] = "a secret of exactly 32 bytes ...";
static const uint8_t OTHER[32] = "another secret, of 32 bytes too.";
static const uint8_t DOC[SHA256_LEN] = { 1, 2, 3 };

FIXTURE(escrow)
{
	struct root_bytes *bytes;
	struct keydoc_root root;
	struct root_bytes *others;
	struct keydoc_root other;
};

FIXTURE_SETUP(escrow)
{
	ASSERT_OK(root_bytes_new(span_of(SECRET, sizeof(SECRET)), &self->bytes));
	root_bytes_root(self->bytes, &self->root);
	ASSERT_OK(root_bytes_new(span_of(OTHER, sizeof(OTHER)), &self->others));
	root_bytes_root(self->others, &self->other);
}

FIXTURE_TEARDOWN(escrow)
{
	root_bytes_free(self->bytes);
	root_bytes_free(self->others);
}

static void expect_mac(const struct keydoc_root *root, const uint8_t *id,
		       const uint8_t mac[static KEYDOC_MAC])
{
	uint8_t seen[KEYDOC_MAC];

	EXPECT_MEMEQ(id, KEY_ROOT_ID, root->id, KEY_ROOT_ID);
	ASSERT_OK(root->mac(root->ctx, span_str("a text"), seen));
	EXPECT_MEMEQ(mac, KEYDOC_MAC, seen, sizeof(seen));
}

TEST_F(escrow, as_the_daemon_has_it)
{
	struct root_key *root;
	uint8_t mac[KEYDOC_MAC];

	ASSERT_OK(root_key_new_in_memory(span_of(SECRET, sizeof(SECRET)), &root));
	ASSERT_OK(root_key_mac(root, span_str("a text"), mac));
	expect_mac(&self->root, root_key_id(root), mac);
	root_key_free(root);
}

TEST_F(escrow, as_the_kernel_has_it)
{
	key_serial ring = test_ring();
	struct root_key *root;
	uint8_t mac[KEYDOC_MAC];

	test_need_serial(ring);
	ASSERT_OK(root_key_new(ring, NULL, span_of(SECRET, sizeof(SECRET)), &root));
	ASSERT_OK(root_key_mac(root, span_str("a text"), mac));
	expect_mac(&self->root, root_key_id(root), mac);
	root_key_free(root);
}

TEST_F(escrow, length_is_bounded)
{
	static const uint8_t zeros[SECRET_MAX + 1];
	struct root_bytes *bytes = NULL;

	EXPECT_ERR(-EINVAL, root_bytes_new(span_of(zeros, SECRET_MIN - 1), &bytes));
	EXPECT_ERR(-EINVAL, root_bytes_new(span_of(zeros, SECRET_MAX + 1), &bytes));
	ASSERT_OK(root_bytes_new(span_of(zeros, SECRET_MAX), &bytes));
	root_bytes_free(bytes);
}

/* A document of that root is opened; of another, it is said which signed it. */
TEST_F(escrow, opens_documents)
{
	_cleanup_(keydoc_freep) struct keydoc *doc = NULL, *read = NULL;
	_cleanup_free_ char *text = NULL;
	uint8_t other[KEY_ROOT_ID];
	size_t len;

	ASSERT_OK(keydoc_new(&doc));
	doc->n_members = 1;
	strcpy(doc->members[0].name, "a");
	doc->generation = 1;
	memcpy(doc->root, self->root.id, sizeof(doc->root));
	ASSERT_OK(keydoc_format(doc, &self->root, &text, &len));
	ASSERT_OK(keydoc_parse(span_of(text, len), &self->root, &read, other));
	EXPECT_EQ(1, read->generation);
	EXPECT_ERR(-EKEYREJECTED, keydoc_parse(span_of(text, len), &self->other, &read, other));
	EXPECT_MEMEQ(self->root.id, KEY_ROOT_ID, other, KEY_ROOT_ID);
	text[len / 2] ^= 1;
	EXPECT_ERR(-EBADMSG, keydoc_parse(span_of(text, len), &self->root, &read, other));
}

TEST_F(escrow, proof)
{
	const struct keydoc_root *root = &self->root;
	uint8_t other[KEY_ROOT_ID], changed[SHA256_LEN];
	char text[ESCROW_TEXT_MAX], cut[ESCROW_TEXT_MAX];

	ASSERT_OK(escrow_proof_format(DOC, root, text));
	EXPECT_OK(escrow_proof_check(span_str(text), DOC, root, other));
	memcpy(changed, DOC, sizeof(changed));
	changed[31] ^= 1;
	EXPECT_ERR(-ESTALE, escrow_proof_check(span_str(text), changed, root, other));
	EXPECT_ERR(-EKEYREJECTED, escrow_proof_check(span_str(text), DOC, &self->other, other));
	EXPECT_MEMEQ(root->id, KEY_ROOT_ID, other, KEY_ROOT_ID);
	for (size_t i = 0; i < strlen(text); i++) {
		strcpy(cut, text);
		cut[i] ^= 1;
		EXPECT_TRUE(escrow_proof_check(span_str(cut), DOC, root, other) < 0);
		EXPECT_TRUE(escrow_proof_check(span_of(text, i), DOC, root, other) < 0);
	}
}

/* One text is not taken for the other, although both are under the root's MAC. */
TEST_F(escrow, tested)
{
	const struct keydoc_root *root = &self->root;
	uint8_t other[KEY_ROOT_ID];
	char text[ESCROW_TEXT_MAX];
	time_t when = 7;

	EXPECT_ERR(-EINVAL, escrow_tested_format(INT64_MAX, root, text));
	ASSERT_OK(escrow_tested_format(1769860800, root, text));
	EXPECT_ERR(-EBADMSG, escrow_proof_check(span_str(text), DOC, root, other));
	EXPECT_ERR(-EKEYREJECTED, escrow_tested_parse(span_str(text), &self->other, &when, other));
	EXPECT_EQ(7, when);
	ASSERT_OK(escrow_tested_parse(span_str(text), root, &when, other));
	EXPECT_EQ(1769860800, when);
	ASSERT_OK(escrow_proof_format(DOC, root, text));
	EXPECT_ERR(-EBADMSG, escrow_tested_parse(span_str(text), root, &when, other));
}

TEST_HARNESS_MAIN
