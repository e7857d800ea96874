/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root key and the keys under it, inside the kernel.
 */
#include "tests/unit/custody.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "daemon/crypto/digest.h"
#include "daemon/keys/kek.h"
#include "daemon/keys/root.h"
#include "daemon/keys/secret.h"

static const uint8_t SECRET[32] = "a secret of exactly 32 bytes ...";
static const uint8_t BLOCK[16] = "sixteen bytes ..";

static struct key_record record(uint8_t id, const char *name)
{
	struct key_record rec = { .info.state = KEY_ACTIVE, .info.activation = 1 };

	memset(rec.info.id, id, sizeof(rec.info.id));
	snprintf(rec.info.name, sizeof(rec.info.name), "%s", name);
	snprintf(rec.info.label, sizeof(rec.info.label), "%s.%02x", name, id);
	return rec;
}

static void encrypt_once(const struct kek *kek, uint8_t ret[16])
{
	int op;

	ASSERT_OK(kek_accept(kek, &op));
	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, BLOCK, ret, 16));
	close(op);
}

FIXTURE(root)
{
	key_serial ring;
};

FIXTURE_SETUP(root)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
}

FIXTURE_TEARDOWN(root)
{
}

TEST_F(root, length_is_bounded)
{
	static const uint8_t bytes[SECRET_MAX + 1] = { 1 };
	struct root_key *root = NULL;

	EXPECT_ERR(-EINVAL, root_key_new(self->ring, NULL, span_of(bytes, 1), &root));
	EXPECT_ERR(-EINVAL, root_key_new(self->ring, NULL, span_of(bytes, SECRET_MIN - 1), &root));
	EXPECT_ERR(-EINVAL, root_key_new(self->ring, NULL, span_of(bytes, SECRET_MAX + 1), &root));
	EXPECT_NULL(root);
	EXPECT_EQ(0U, test_ring_count(self->ring));
	ASSERT_OK(root_key_new(self->ring, NULL, span_of(bytes, SECRET_MAX), &root));
	root_key_free(root);
}

TEST_F(root, ephemeral_roots_differ)
{
	uint8_t first[KEY_ROOT_ID];
	struct root_key *root;

	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	EXPECT_OK(root_key_check(root));
	memcpy(first, root_key_id(root), sizeof(first));
	root_key_free(root);
	EXPECT_EQ(0U, test_ring_count(self->ring));
	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	EXPECT_NE(0, memcmp(first, root_key_id(root), sizeof(first)));
	root_key_free(root);
}

TEST_F(root, only_one)
{
	struct root_key *root, *second = NULL;

	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	EXPECT_ERR(-EEXIST, root_key_new_ephemeral(self->ring, NULL, &second));
	EXPECT_NULL(second);
	EXPECT_OK(root_key_check(root));
	root_key_free(root);
}

TEST_F(root, rights_are_gone)
{
	struct root_key *root;
	key_serial key;

	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	key = root_key_serial(root);
	EXPECT_ERR(-EACCES, test_update(key, "another root of more than 32 bytes"));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SETPERM, key, TEST_POS_ALL, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_REVOKE, key, 0, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SET_TIMEOUT, key, 1, 0));
	root_key_free(root);
}

TEST_F(root, check_sees_a_dead_root)
{
	struct root_key *root;

	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, root_key_serial(root), 0, 0));
	EXPECT_ERR(-ENOKEY, root_key_check(root));
	root_key_free(root);
}

/* The kernel looks into the process keyring before the session. */
TEST_F(root, check_sees_another_of_that_name)
{
	struct root_key *root;
	key_serial key;

	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &root));
	ASSERT_OK(
		keyring_add_user(KEY_SPEC_SESSION_KEYRING, "elsewhere", span_of(SECRET, 32), &key));
	EXPECT_OK(root_key_check(root));
	ASSERT_OK(test_on_key(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1, 0));
	ASSERT_OK(keyring_add_user(KEY_SPEC_PROCESS_KEYRING, ROOT_DESC, span_of(SECRET, 32), &key));
	EXPECT_ERR(-ESTALE, root_key_check(root));
	root_key_free(root);
}

TEST_F(root, mac_is_hmac_sha256)
{
	const struct span text = span_str("kekd keyset v1");
	uint8_t expected[32], seen[ROOT_MAC];
	struct root_key *root;

	ASSERT_OK(root_key_new(self->ring, NULL, span_of(SECRET, 32), &root));
	ASSERT_OK(hmac_sha256(span_of(SECRET, 32), &text, 1, expected));
	ASSERT_OK(root_key_mac(root, text, seen));
	EXPECT_MEMEQ(expected, 32, seen, 32);
	root_key_free(root);
}

/* There the first step that needs keying by serial ends it, with nothing left behind. */
TEST(no_root_before_linux_6_2)
{
	key_serial ring = test_ring();
	struct root_key *root = NULL;
	int r;

	test_need_afalg();
	r = root_key_new_ephemeral(ring, NULL, &root);
	if (r == 0)
		SKIP("this kernel keys by serial");
	EXPECT_ERR(-ENOPROTOOPT, r);
	EXPECT_NULL(root);
	EXPECT_EQ(0U, test_ring_count(ring));
}

FIXTURE(kek)
{
	key_serial ring;
	struct maker *maker;
	struct root_key *root;
	struct key_record rec;
	struct kek *kek;
};

FIXTURE_SETUP(kek)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
	ASSERT_OK(maker_start(&self->maker));
	ASSERT_OK(root_key_new(self->ring, self->maker, span_of(SECRET, 32), &self->root));
	self->rec = record(1, "primary");
	ASSERT_OK(kek_generate(self->root, &self->rec, &self->kek));
}

FIXTURE_TEARDOWN(kek)
{
	kek_free(self->kek);
	root_key_free(self->root);
	maker_stop(self->maker);
	EXPECT_EQ(0U, test_ring_count(self->ring));
}

TEST_F(kek, record_is_filled_in)
{
	char text[2048];
	struct text_buf b = { .data = text, .size = sizeof(text) };

	EXPECT_EQ(KEY_KIND_ENCRYPTED, self->rec.info.kind);
	EXPECT_EQ(32U, self->rec.info.key_bytes);
	EXPECT_MEMEQ(root_key_id(self->root), KEY_ROOT_ID, self->rec.root, KEY_ROOT_ID);
	EXPECT_EQ(0, strncmp(self->rec.blob, "default user:kekd-root 32 ", 26));
	key_record_append(&b, &self->rec);
	EXPECT_OK(b.r);
}

TEST_F(kek, loads_as_the_same_key)
{
	uint8_t first[16], again[16];

	encrypt_once(self->kek, first);
	kek_free(self->kek);
	self->kek = NULL;
	ASSERT_OK(kek_load(self->root, &self->rec, &self->kek));
	encrypt_once(self->kek, again);
	EXPECT_MEMEQ(first, 16, again, 16);
}

/* Another node: another session, a root of the same bytes. */
TEST_F(kek, loads_under_the_root_of_another_node)
{
	uint8_t first[16], again[16];

	encrypt_once(self->kek, first);
	kek_free(self->kek);
	self->kek = NULL;
	root_key_free(self->root);
	self->root = NULL;
	self->ring = test_ring();
	ASSERT_OK(root_key_new(self->ring, NULL, span_of(SECRET, 32), &self->root));
	ASSERT_OK(kek_load(self->root, &self->rec, &self->kek));
	encrypt_once(self->kek, again);
	EXPECT_MEMEQ(first, 16, again, 16);
}

TEST_F(kek, loads_once_only)
{
	struct kek *second = NULL;

	EXPECT_ERR(-EEXIST, kek_load(self->root, &self->rec, &second));
	EXPECT_NULL(second);
	EXPECT_OK(kek_alive(self->kek));
}

TEST_F(kek, is_sealed)
{
	key_serial key = kek_serial(self->kek), known;

	ASSERT_OK(keyring_add_user(KEY_SPEC_SESSION_KEYRING, "known", span_of(SECRET, 32), &known));
	EXPECT_ERR(-EACCES, test_update(key, "update user:known"));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SETPERM, key, TEST_POS_ALL, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_REVOKE, key, 0, 0));
	ASSERT_OK(keyring_unlink(KEY_SPEC_SESSION_KEYRING, known));
}

/* A failed load leaves no key, no descriptor and no output behind. */
static void expect_refused(key_serial ring, const struct root_key *root,
			   const struct key_record *rec, int error)
{
	size_t keys = test_ring_count(ring);
	struct kek *kek = NULL;
	int before, after;

	before = dup(0);
	close(before);
	EXPECT_ERR(error, kek_load(root, rec, &kek));
	EXPECT_NULL(kek);
	EXPECT_EQ(keys, test_ring_count(ring));
	after = dup(0);
	close(after);
	EXPECT_EQ(before, after);
}

TEST_F(kek, blob_of_another_key_is_caught)
{
	struct key_record other = record(2, "secondary"), swapped;
	struct kek *second;

	ASSERT_OK(kek_generate(self->root, &other, &second));
	kek_free(second);
	swapped = other;
	memcpy(swapped.blob, self->rec.blob, sizeof(swapped.blob));
	expect_refused(self->ring, self->root, &swapped, -EBADMSG);
	/* The check value comes along: it still is not the one of that name. */
	memcpy(swapped.check, self->rec.check, sizeof(swapped.check));
	expect_refused(self->ring, self->root, &swapped, -EBADMSG);
	ASSERT_OK(kek_load(self->root, &other, &second));
	kek_free(second);
}

TEST_F(kek, renamed_key_is_caught)
{
	struct key_record rec = self->rec;

	kek_free(self->kek);
	self->kek = NULL;
	snprintf(rec.info.name, sizeof(rec.info.name), "secondary");
	expect_refused(self->ring, self->root, &rec, -EBADMSG);
	rec = self->rec;
	snprintf(rec.info.label, sizeof(rec.info.label), "primary.02");
	expect_refused(self->ring, self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.info.id[15] ^= 1;
	expect_refused(self->ring, self->root, &rec, -EBADMSG);
	rec = self->rec;
	rec.check[15] ^= 1;
	expect_refused(self->ring, self->root, &rec, -EBADMSG);
}

TEST_F(kek, damaged_blob_is_refused)
{
	struct key_record rec = self->rec;
	size_t last = strlen(rec.blob) - 1;

	kek_free(self->kek);
	self->kek = NULL;
	rec.blob[last] = rec.blob[last] == '0' ? '1' : '0';
	expect_refused(self->ring, self->root, &rec, -EINVAL);
	rec.blob[last] = '\0';
	expect_refused(self->ring, self->root, &rec, -EINVAL);
	rec.blob[26] = '\0';
	expect_refused(self->ring, self->root, &rec, -EINVAL);
	snprintf(rec.blob, sizeof(rec.blob), "default user:other 32 %s", self->rec.blob + 26);
	expect_refused(self->ring, self->root, &rec, -EINVAL);
	memcpy(rec.blob, self->rec.blob, sizeof(rec.blob));
	memcpy(rec.blob + last + 1, " x", 3);
	expect_refused(self->ring, self->root, &rec, -EINVAL);
}

TEST_F(kek, other_kind_or_size_is_refused)
{
	struct key_record rec = self->rec;

	rec.info.kind = KEY_KIND_SEALED;
	expect_refused(self->ring, self->root, &rec, -EOPNOTSUPP);
	rec = self->rec;
	rec.info.key_bytes = 16;
	expect_refused(self->ring, self->root, &rec, -EOPNOTSUPP);
	rec.info.key_bytes = 24;
	expect_refused(self->ring, self->root, &rec, -EINVAL);
}

TEST_F(kek, other_root_is_told_from_damage)
{
	struct key_record rec = self->rec;

	kek_free(self->kek);
	self->kek = NULL;
	root_key_free(self->root);
	ASSERT_OK(root_key_new_ephemeral(self->ring, NULL, &self->root));
	expect_refused(self->ring, self->root, &rec, -EKEYREJECTED);
	/* Whoever forges the fingerprint meets the kernel's MAC. */
	memcpy(rec.root, root_key_id(self->root), sizeof(rec.root));
	expect_refused(self->ring, self->root, &rec, -EINVAL);
}

TEST_F(kek, nothing_is_made_under_a_missing_root)
{
	struct key_record rec = record(2, "secondary"), before = rec;
	struct kek *kek = NULL;

	ASSERT_OK(keyring_unlink(self->ring, root_key_serial(self->root)));
	EXPECT_TRUE(kek_generate(self->root, &rec, &kek) < 0);
	EXPECT_NULL(kek);
	EXPECT_MEMEQ(&before, sizeof(before), &rec, sizeof(rec));
	EXPECT_EQ(2U, test_ring_count(self->ring)); /* the key, and the root under its other name */
	/* The loaded one does not need its root any more. */
	EXPECT_OK(kek_alive(self->kek));
}

TEST_F(kek, nothing_is_made_under_a_shadowing_root)
{
	struct key_record rec = record(2, "secondary");
	struct kek *kek = NULL;
	key_serial key;

	ASSERT_OK(test_on_key(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1, 0));
	ASSERT_OK(keyring_add_user(KEY_SPEC_PROCESS_KEYRING, ROOT_DESC, span_str("x"), &key));
	EXPECT_ERR(-ESTALE, kek_generate(self->root, &rec, &kek));
	EXPECT_NULL(kek);
	ASSERT_OK(keyring_unlink(KEY_SPEC_PROCESS_KEYRING, key));
	EXPECT_OK(kek_generate(self->root, &rec, &kek));
	kek_free(kek);
}

/* The socket does not know that its key is dead. kek_alive() does, and no new socket is given. */
static void expect_withdrawn(const struct kek *kek, int op)
{
	uint8_t out[16];
	int late = -1, r;

	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, BLOCK, out, 16));
	r = kek_alive(kek);
	EXPECT_TRUE(r == -ENOKEY || r == -EACCES);
	r = kek_accept(kek, &late);
	EXPECT_TRUE(r == -ENOKEY || r == -EACCES);
	EXPECT_EQ(-1, late);
}

TEST_F(kek, invalidated_key_is_noticed)
{
	int op;

	ASSERT_OK(kek_accept(self->kek, &op));
	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, kek_serial(self->kek), 0, 0));
	expect_withdrawn(self->kek, op);
	close(op);
}

TEST_F(kek, unlinked_key_is_noticed)
{
	int op;

	ASSERT_OK(kek_accept(self->kek, &op));
	ASSERT_OK(keyring_unlink(self->ring, kek_serial(self->kek)));
	expect_withdrawn(self->kek, op);
	close(op);
}

TEST_F(kek, revoked_ring_is_noticed)
{
	int op;

	ASSERT_OK(kek_accept(self->kek, &op));
	ASSERT_OK(test_on_key(KEYCTL_REVOKE, self->ring, 0, 0));
	expect_withdrawn(self->kek, op);
	close(op);
	self->ring = test_ring();
}

/* An op socket on its way to the server, as the keeper sends it. */
static void send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c;

	hdr.msg_controllen = sizeof(control);
	c = CMSG_FIRSTHDR(&hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ASSERT_EQ(1, sendmsg(sock, &hdr, 0));
}

static int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	int fd;

	hdr.msg_controllen = sizeof(control);
	ASSERT_EQ(1, recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC));
	ASSERT_EQ(hdr.msg_controllen, sizeof(control));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&hdr)), sizeof(fd));
	return fd;
}

struct server {
	int sock;
	key_serial key, root;
	uint8_t expected[16];
};

static void expect_no_key_access(key_serial key)
{
	char seen[64];

	EXPECT_ERR(-EACCES, keyring_alive(key));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_READ, key, (unsigned long)seen, sizeof(seen)));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_INVALIDATE, key, 0, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_REVOKE, key, 0, 0));
	EXPECT_ERR(-EACCES, test_on_key(KEYCTL_SETPERM, key, TEST_POS_ALL, 0));
	EXPECT_ERR(-EACCES, test_update(key, "update user:known"));
	EXPECT_ERR(-EACCES,
		   test_on_key(KEYCTL_LINK, key, (unsigned long)KEY_SPEC_SESSION_KEYRING, 0));
}

static void be_server(void *ctx)
{
	struct server *s = ctx;
	uint8_t out[16], back[16];
	int op, fd = -1;

	test_become_nobody();
	op = receive_fd(s->sock);
	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, BLOCK, out, 16));
	EXPECT_MEMEQ(s->expected, 16, out, 16);
	EXPECT_OK(afalg_run(op, BLOCK_DECRYPT, out, back, 16));
	EXPECT_MEMEQ(BLOCK, 16, back, 16);
	EXPECT_ERR(-EOPNOTSUPP, afalg_accept(op, &fd));
	EXPECT_ERR(-EOPNOTSUPP, afalg_set_key(op, s->key));
	expect_no_key_access(s->key);
	expect_no_key_access(s->root);
	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, BLOCK, out, 16));
	EXPECT_MEMEQ(s->expected, 16, out, 16);
}

/*
 * It cannot key a transform of its own either, where it may bind one at all.
 */
static void key_own_transform(void *ctx)
{
	const struct server *s = ctx;
	int tfm, r;

	test_become_nobody();
	r = afalg_bind("skcipher", "ecb(aes)", &tfm);
	if (r == 0)
		r = afalg_set_key(tfm, s->key);
	EXPECT_TRUE(r == -EACCES || r == -ENOENT);
}

TEST_F(kek, op_socket_works_where_no_key_can_be_reached)
{
	struct server s = { .key = kek_serial(self->kek), .root = root_key_serial(self->root) };
	int pair[2], op;

	encrypt_once(self->kek, s.expected);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	ASSERT_OK(kek_accept(self->kek, &op));
	send_fd(pair[0], op);
	close(op);
	s.sock = pair[1];
	test_in_child(be_server, &s);
	test_in_child(key_own_transform, &s);
	EXPECT_OK(kek_alive(self->kek));
	EXPECT_OK(root_key_check(self->root));
	close(pair[0]);
	close(pair[1]);
}

TEST_HARNESS_MAIN
