/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_ALG as kekd uses it, and the traps around it: each is shown to exist, or to be out of reach.
 */
#include "tests/unit/custody.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <kekd/limits.h>

#include "tests/support/caps.h"

#define RUN_MAX ((size_t)KEKD_RUN_BLOCKS_MAX * KEKD_AES_BLOCK)

/* FIPS 197, C.3: AES-256 */
static const uint8_t KEY[32] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
				 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
				 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };
static const uint8_t PLAIN[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
static const uint8_t CIPHER[16] = { 0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
				    0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89 };

FIXTURE(ecb)
{
	key_serial ring, key;
	int tfm, op;
};

FIXTURE_SETUP(ecb)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
	ASSERT_OK(keyring_add_logon(self->ring, "kekd:test", span_of(KEY, 32), &self->key));
	ASSERT_OK(keyring_seal_rights(self->key));
	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &self->tfm));
	ASSERT_OK(afalg_set_key(self->tfm, self->key));
	ASSERT_OK(afalg_accept(self->tfm, &self->op));
}

FIXTURE_TEARDOWN(ecb)
{
	close(self->op);
	close(self->tfm);
}

static void expect_works(int op)
{
	uint8_t out[16];

	EXPECT_OK(afalg_run(op, BLOCK_ENCRYPT, PLAIN, out, 16));
	EXPECT_MEMEQ(CIPHER, 16, out, 16);
	EXPECT_OK(afalg_run(op, BLOCK_DECRYPT, CIPHER, out, 16));
	EXPECT_MEMEQ(PLAIN, 16, out, 16);
}

TEST_F(ecb, known_answer)
{
	expect_works(self->op);
}

TEST_F(ecb, in_place)
{
	uint8_t buf[16];

	memcpy(buf, PLAIN, 16);
	EXPECT_OK(afalg_run(self->op, BLOCK_ENCRYPT, buf, buf, 16));
	EXPECT_MEMEQ(CIPHER, 16, buf, 16);
}

/* Refused before the socket is touched: there is none. */
TEST(impossible_lengths)
{
	static uint8_t buf[RUN_MAX + 16];

	EXPECT_ERR(-EINVAL, afalg_run(-1, BLOCK_ENCRYPT, buf, buf, 0));
	EXPECT_ERR(-EINVAL, afalg_run(-1, BLOCK_ENCRYPT, buf, buf, 15));
	EXPECT_ERR(-EINVAL, afalg_run(-1, BLOCK_ENCRYPT, buf, buf, 17));
	EXPECT_ERR(-EINVAL, afalg_run(-1, BLOCK_ENCRYPT, buf, buf, RUN_MAX + 16));
	EXPECT_ERR(-EBADF, afalg_run(-1, BLOCK_ENCRYPT, buf, buf, RUN_MAX));
}

TEST_F(ecb, largest_run)
{
	static uint8_t buf[RUN_MAX], out[RUN_MAX];

	for (size_t i = 0; i < RUN_MAX; i += 16)
		memcpy(buf + i, PLAIN, 16);
	ASSERT_OK(afalg_run(self->op, BLOCK_ENCRYPT, buf, out, RUN_MAX));
	for (size_t i = 0; i < RUN_MAX; i += 16)
		ASSERT_MEMEQ(CIPHER, 16, out + i, 16);
	expect_works(self->op);
}

/* More than the socket takes is an error here, where a blocking send would wait for ever. */
TEST_F(ecb, oversize_send_does_not_wait)
{
	static uint8_t buf[4 * 1024 * 1024];
	struct afalg_msg m;
	ssize_t n;

	afalg_msg_init(&m, BLOCK_ENCRYPT, buf, sizeof(buf));
	n = sendmsg(self->op, &m.hdr, MSG_DONTWAIT);
	EXPECT_LT(n, (ssize_t)sizeof(buf));
}

TEST_F(ecb, receive_without_send_does_not_wait)
{
	uint8_t out[16];

	EXPECT_EQ(-1, recv(self->op, out, sizeof(out), MSG_DONTWAIT));
	EXPECT_EQ(EAGAIN, errno);
}

/* What is left inside answers the next request: why any failure costs the socket. */
TEST_F(ecb, short_receive_leaves_stale_bytes)
{
	uint8_t two[32], out[32];
	struct afalg_msg m;

	memcpy(two, PLAIN, 16);
	memset(two + 16, 0, 16);
	afalg_msg_init(&m, BLOCK_ENCRYPT, two, sizeof(two));
	ASSERT_EQ(32, sendmsg(self->op, &m.hdr, MSG_DONTWAIT));
	ASSERT_EQ(16, recv(self->op, out, 16, MSG_DONTWAIT));
	EXPECT_MEMEQ(CIPHER, 16, out, 16);
	ASSERT_EQ(16, recv(self->op, out, 16, MSG_DONTWAIT));
	EXPECT_NE(0, memcmp(CIPHER, out, 16));
}

TEST_F(ecb, second_send_is_an_error_and_a_new_socket_works)
{
	struct afalg_msg m;
	uint8_t out[16];
	int fresh;

	afalg_msg_init(&m, BLOCK_ENCRYPT, PLAIN, 16);
	ASSERT_EQ(16, sendmsg(self->op, &m.hdr, MSG_DONTWAIT));
	EXPECT_ERR(-EINVAL, afalg_run(self->op, BLOCK_ENCRYPT, PLAIN, out, 16));
	ASSERT_OK(afalg_accept(self->tfm, &fresh));
	expect_works(fresh);
	close(fresh);
}

/* A fresh op socket decrypts unless told otherwise: why it is told on each new one. */
TEST_F(ecb, send_without_direction_decrypts)
{
	uint8_t out[16];

	ASSERT_EQ(16, send(self->op, CIPHER, 16, MSG_DONTWAIT));
	ASSERT_EQ(16, recv(self->op, out, 16, MSG_DONTWAIT));
	EXPECT_MEMEQ(PLAIN, 16, out, 16);
}

/* Once told, a direction stays, however often: what afalg_msg_again() builds on. */
TEST_F(ecb, direction_is_remembered)
{
	struct afalg_msg m;
	uint8_t out[16];

	for (int dir = BLOCK_ENCRYPT; dir <= BLOCK_DECRYPT; dir++) {
		const uint8_t *in = dir == BLOCK_ENCRYPT ? PLAIN : CIPHER;

		afalg_msg_init(&m, (enum block_dir)dir, in, 16);
		for (int i = 0; i < 3; i++) {
			ASSERT_EQ(16, sendmsg(self->op, &m.hdr, MSG_DONTWAIT));
			ASSERT_EQ(16, recv(self->op, out, 16, MSG_DONTWAIT));
			EXPECT_MEMEQ(in == PLAIN ? CIPHER : PLAIN, 16, out, 16);
			afalg_msg_again(&m, in, 16);
			EXPECT_EQ(0, m.hdr.msg_controllen);
		}
	}
}

TEST_F(ecb, sockets_are_close_on_exec)
{
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->tfm, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->op, F_GETFD));
}

TEST_F(ecb, transform_in_use_is_not_rekeyed)
{
	EXPECT_ERR(-EBUSY, afalg_set_key(self->tfm, self->key));
	expect_works(self->op);
}

TEST_F(ecb, op_socket_is_only_that)
{
	int fd = -1;

	EXPECT_ERR(-EOPNOTSUPP, afalg_accept(self->op, &fd));
	EXPECT_EQ(-1, fd);
	EXPECT_ERR(-EOPNOTSUPP, afalg_set_key(self->op, self->key));
	expect_works(self->op);
}

TEST_F(ecb, outlives_its_transform)
{
	ASSERT_EQ(0, close(self->tfm));
	self->tfm = -1;
	expect_works(self->op);
}

FIXTURE(dead)
{
	key_serial ring, key;
	int tfm, op;
};

FIXTURE_VARIANT(dead)
{
	int op;
	int error;
};

FIXTURE_VARIANT_ADD(dead, revoked){ KEYCTL_REVOKE, -EKEYREVOKED };
FIXTURE_VARIANT_ADD(dead, invalidated){ KEYCTL_INVALIDATE, -ENOKEY };

FIXTURE_SETUP(dead)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
	ASSERT_OK(keyring_add_logon(self->ring, "kekd:test", span_of(KEY, 32), &self->key));
	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &self->tfm));
	ASSERT_OK(afalg_set_key(self->tfm, self->key));
	ASSERT_OK(afalg_accept(self->tfm, &self->op));
}

FIXTURE_TEARDOWN(dead)
{
	close(self->op);
	close(self->tfm);
}

/* The socket does not notice; only the keyring and a new keying do. */
TEST_F(dead, key_keeps_encrypting)
{
	int late, tfm;

	ASSERT_OK(test_on_key(variant->op, self->key, 0, 0));
	EXPECT_ERR(variant->error, keyring_alive(self->key));
	expect_works(self->op);
	ASSERT_OK(afalg_accept(self->tfm, &late));
	expect_works(late);
	close(late);
	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &tfm));
	EXPECT_ERR(variant->error, afalg_set_key(tfm, self->key));
	close(tfm);
}

FIXTURE(hash)
{
	key_serial ring;
};

FIXTURE_SETUP(hash)
{
	self->ring = test_ring();
	test_need_serial(self->ring);
}

FIXTURE_TEARDOWN(hash)
{
}

static int hmac_socket(key_serial ring, struct span key)
{
	key_serial serial;
	int tfm, op;

	ASSERT_OK(keyring_add_user(ring, "mac", key, &serial));
	ASSERT_OK(afalg_bind("hash", "hmac(sha256)", &tfm));
	ASSERT_OK(afalg_set_key(tfm, serial));
	ASSERT_OK(afalg_accept(tfm, &op));
	close(tfm);
	return op;
}

/* RFC 4231 §4.3 */
static const uint8_t HMAC_JEFE[32] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
				       0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
				       0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
				       0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43 };

TEST_F(hash, known_answer)
{
	const char *text = "what do ya want for nothing?";
	int op = hmac_socket(self->ring, span_str("Jefe"));
	uint8_t mac[32];

	for (int i = 0; i < 2; i++) {
		memset(mac, 0, sizeof(mac));
		EXPECT_OK(afalg_hash(op, text, strlen(text), mac, sizeof(mac)));
		EXPECT_MEMEQ(HMAC_JEFE, 32, mac, 32);
	}
	close(op);
}

TEST_F(hash, truncation_is_an_error)
{
	int op = hmac_socket(self->ring, span_str("Jefe"));
	uint8_t mac[33];

	EXPECT_ERR(-EMSGSIZE, afalg_hash(op, "x", 1, mac, 16));
	close(op);
	ASSERT_OK(keyring_new_session());
	ASSERT_OK(keyring_new("again", &self->ring));
	op = hmac_socket(self->ring, span_str("Jefe"));
	EXPECT_ERR(-EIO, afalg_hash(op, "x", 1, mac, 33));
	close(op);
}

/* sysctl crypto.af_alg_restrict, -1 where the kernel has none (before Linux 7.3). */
static int restrict_level(void)
{
	char text[8] = "";
	ssize_t n;
	int fd = open("/proc/sys/crypto/af_alg_restrict", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? atoi(text) : -1;
}

/* Bound with the capability, everything else goes on without it. */
static void key_without_capability(void *ctx)
{
	key_serial key = *(const key_serial *)ctx;
	int tfm, op, fd, r;

	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &tfm));
	caps_drop();
	EXPECT_OK(afalg_set_key(tfm, key));
	ASSERT_OK(afalg_accept(tfm, &op));
	expect_works(op);
	r = afalg_bind("skcipher", "ecb(aes)", &fd);
	if (restrict_level() >= 1)
		EXPECT_ERR(-ENOENT, r);
	else
		EXPECT_OK(r);
}

TEST_F(ecb, capability_is_needed_to_bind_only)
{
	test_in_child(key_without_capability, &self->key);
}

/* Linux 7.3 refuses what kekd does not need, and kekd does not notice. */
TEST_F(ecb, gcm_is_refused_where_restricted)
{
	int fd, r = afalg_bind("aead", "gcm(aes)", &fd);

	if (restrict_level() >= 1)
		EXPECT_ERR(-ENOENT, r);
	else
		EXPECT_OK(r);
}

TEST(keying_by_serial_before_6_2)
{
	key_serial ring = test_ring(), key;
	int tfm, r;

	test_need_afalg();
	ASSERT_OK(keyring_add_user(ring, "k", span_of(KEY, 32), &key));
	ASSERT_OK(afalg_bind("skcipher", "ecb(aes)", &tfm));
	r = afalg_set_key(tfm, key);
	if (r == 0)
		SKIP("this kernel keys by serial");
	EXPECT_ERR(-ENOPROTOOPT, r);
	EXPECT_NOT_NULL(strstr(afalg_cure(r), "Linux 6.2 or newer is needed"));
}

TEST(unknown_algorithm)
{
	int fd = -1;

	test_need_afalg();
	EXPECT_ERR(-ENOENT, afalg_bind("skcipher", "ecb(nonesuch)", &fd));
	EXPECT_ERR(-ENOENT, afalg_bind("nonesuch", "ecb(aes)", &fd));
	EXPECT_EQ(-1, fd);
}

TEST(names_that_do_not_fit)
{
	char name[65];
	int fd = -1;

	memset(name, 'a', 64);
	name[64] = '\0';
	EXPECT_ERR(-EINVAL, afalg_bind("skcipher", name, &fd));
	EXPECT_ERR(-EINVAL, afalg_bind("skcipher", "", &fd));
	EXPECT_ERR(-EINVAL, afalg_bind("skcipherskcipher", "ecb(aes)", &fd));
	EXPECT_EQ(-1, fd);
}

/* What the header promises an operator: a sentence of its own for each. */
TEST(each_error_has_its_cure)
{
	static const int errors[] = { EAFNOSUPPORT, ENOENT,      EPERM,       EACCES, ENOPROTOOPT,
				      ENOKEY,       EKEYREVOKED, EKEYEXPIRED, EBUSY,  EINVAL };
	const char *other = afalg_cure(-ENOTTY);

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		EXPECT_STREQ(afalg_cure(errors[i]), afalg_cure(-errors[i]));
		EXPECT_NE(0, strcmp(other, afalg_cure(errors[i])));
		for (size_t j = 0; j < i; j++)
			EXPECT_NE(0, strcmp(afalg_cure(errors[j]), afalg_cure(errors[i])));
	}
}

TEST_HARNESS_MAIN
