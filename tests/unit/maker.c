/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper that was taken over does not get the bytes of a key. Each attempt is made by a child under the
 * keeper's own filter, which has the ring, the root and a serving key, as the keeper has; the maker makes
 * keys as ever. What makes this necessary is shown in tests/unit/keyring.c: *_is_made_under_*.
 */
#include "daemon/keys/maker.c"

#include <fcntl.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "daemon/crypto/digest.h"
#include "tests/unit/custody.h"

#define BLOB_HEAD "default user:" ROOT_DESC " 32 "
#define SOMEBODY  61235
#define ROOT_LEN  32

static const uint8_t SECRET[ROOT_LEN] = "a secret of exactly 32 bytes ...";
static const uint8_t KNOWN[ROOT_LEN] = "thirty-two bytes that all know..";

/* iv, NUL, ciphertext, MAC: what stands in hex in a blob (tests/e2e/known_key.c). */
struct kernel_blob {
	uint8_t iv[16];
	uint8_t nul;
	uint8_t text[KEKD_AES_KEY_MAX];
	uint8_t mac[SHA256_LEN];
};

/* Is @blob sealed under @root, so that who has these bytes has the key? */
static bool opens_under(const char *blob, const uint8_t root[static ROOT_LEN])
{
	static const char head[] = "default\0user:" ROOT_DESC "\0"
				   "32";
	uint8_t key[SHA256_LEN], mac[SHA256_LEN];
	struct kernel_blob b;
	const struct span derive[] = { span_of("AUTH_KEY", 9), span_of(root, ROOT_LEN) };
	const struct span body[] = { span_of(head, sizeof(head)),
				     span_of(&b, offsetof(struct kernel_blob, mac)) };

	ASSERT_EQ(0, strncmp(blob, BLOB_HEAD, strlen(BLOB_HEAD)));
	blob += strlen(BLOB_HEAD);
	ASSERT_OK(key_unhex(blob, strlen(blob), (uint8_t *)&b, sizeof(b)));
	ASSERT_OK(sha256(derive, ARRAY_SIZE(derive), key));
	ASSERT_OK(hmac_sha256(span_of(key, sizeof(key)), body, ARRAY_SIZE(body), mac));
	return memcmp(mac, b.mac, sizeof(mac)) == 0;
}

FIXTURE(maker)
{
	key_serial ring, root, kek;
	struct maker *maker;
	char blob[KEY_BLOB_MAX];
};

FIXTURE_SETUP(maker)
{
	key_serial probe;
	int r;

	self->ring = test_ring();
	ASSERT_OK(keyring_add_user(self->ring, ROOT_DESC, span_of(SECRET, ROOT_LEN), &self->root));
	r = keyring_generate(self->ring, "probe", "user", ROOT_DESC, 32, &probe);
	SKIP_UNLESS("keyring", r != -ENODEV, "no keys of type encrypted here");
	ASSERT_OK(r);
	ASSERT_OK(keyring_unlink(self->ring, probe));
	ASSERT_OK(maker_start(&self->maker));
	ASSERT_OK(maker_root(self->maker, self->root, "user", ROOT_DESC));
	ASSERT_OK(keyring_seal_rights(self->root));
	ASSERT_OK(maker_key(self->maker, self->root, self->blob));
	ASSERT_OK(keyring_load(self->ring, "kekd:1", self->blob, &self->kek));
	ASSERT_OK(keyring_seal_rights(self->kek));
}

FIXTURE_TEARDOWN(maker)
{
	maker_stop(self->maker);
}

TEST_F(maker, keys_are_new_and_under_the_root)
{
	char second[KEY_BLOB_MAX];
	key_serial key;

	EXPECT_TRUE(opens_under(self->blob, SECRET));
	EXPECT_FALSE(opens_under(self->blob, KNOWN));
	ASSERT_OK(maker_key(self->maker, self->root, second));
	EXPECT_NE(0, strcmp(self->blob, second));
	EXPECT_OK(keyring_load(self->ring, "kekd:2", second, &key));
}

/* In each keyring that the keeper can write to; and the root is out of the ring that both have. */
TEST_F(maker, shadows_change_nothing)
{
	char blob[KEY_BLOB_MAX];
	key_serial key;

	ASSERT_OK(keyring_unlink(self->ring, self->root));
	ASSERT_OK(keyring_add_user(KEYRING_THREAD, ROOT_DESC, span_of(KNOWN, ROOT_LEN), &key));
	ASSERT_OK(keyring_add_user(self->ring, ROOT_DESC, span_of(KNOWN, ROOT_LEN), &key));
	ASSERT_LT(0,
		  syscall(SYS_add_key, "user", ROOT_DESC, KNOWN, sizeof(KNOWN), KEYRING_SESSION));
	ASSERT_OK(maker_key(self->maker, self->root, blob));
	EXPECT_TRUE(opens_under(blob, SECRET));
	EXPECT_FALSE(opens_under(blob, KNOWN));
}

/* A root that is dead leaves the way to a shadow free: then there is no key. */
TEST_F(maker, no_key_under_the_shadow_of_a_dead_root)
{
	char blob[KEY_BLOB_MAX] = "untouched";
	key_serial key;
	int r;

	ASSERT_OK(test_on_key(KEYCTL_INVALIDATE, self->root, 0, 0));
	r = maker_key(self->maker, self->root, blob);
	EXPECT_TRUE(r < 0);
	ASSERT_LT(0,
		  syscall(SYS_add_key, "user", ROOT_DESC, KNOWN, sizeof(KNOWN), KEYRING_SESSION));
	ASSERT_OK(keyring_resolve("user", ROOT_DESC, &key));
	r = maker_key(self->maker, self->root, blob);
	EXPECT_TRUE(r < 0);
	EXPECT_STREQ("untouched", blob);
}

TEST_F(maker, takes_the_next_root)
{
	char blob[KEY_BLOB_MAX];
	key_serial next;

	ASSERT_OK(maker_drop(self->maker, self->root));
	EXPECT_ERR(-ENOKEY, maker_key(self->maker, self->root, blob));
	ASSERT_OK(keyring_unlink(self->ring, self->root));
	ASSERT_OK(keyring_add_user(self->ring, ROOT_DESC, span_of(KNOWN, ROOT_LEN), &next));
	ASSERT_OK(maker_root(self->maker, next, "user", ROOT_DESC));
	ASSERT_OK(maker_key(self->maker, next, blob));
	EXPECT_TRUE(opens_under(blob, KNOWN));
}

/* While a root is rotated there are two, each under its own name; and never a third. */
TEST_F(maker, two_roots)
{
	char blob[KEY_BLOB_MAX];
	key_serial next, third, key;

	ASSERT_OK(keyring_add_user(self->ring, ROOT_DESC ".2", span_of(KNOWN, ROOT_LEN), &next));
	ASSERT_OK(keyring_add_user(self->ring, ROOT_DESC ".3", span_of(KNOWN, ROOT_LEN), &third));
	ASSERT_OK(maker_root(self->maker, next, "user", ROOT_DESC ".2"));
	EXPECT_ERR(-ENOSPC, maker_root(self->maker, third, "user", ROOT_DESC ".3"));
	EXPECT_ERR(-EINVAL, maker_root(self->maker, third, "user", "another"));
	ASSERT_OK(maker_key(self->maker, self->root, blob));
	EXPECT_TRUE(opens_under(blob, SECRET));
	ASSERT_OK(maker_key(self->maker, next, blob));
	EXPECT_EQ(0, strncmp(blob, "default user:kekd-root.2 32 ", 28));
	EXPECT_OK(keyring_load(self->ring, "kekd:2", blob, &key));
	EXPECT_ERR(-ENOKEY, maker_key(self->maker, third, blob));
	ASSERT_OK(maker_drop(self->maker, self->root));
	EXPECT_ERR(-ENOKEY, maker_key(self->maker, self->root, blob));
	EXPECT_OK(maker_key(self->maker, next, blob));
	EXPECT_OK(maker_root(self->maker, third, "user", ROOT_DESC ".3"));
}

/* Somebody else's key, or one whose LINK right is gone, is none that it could be given. */
TEST_F(maker, takes_no_key_that_it_may_not_link)
{
	key_serial sealed;

	ASSERT_OK(keyring_add_user(self->ring, "sealed", span_of(KNOWN, ROOT_LEN), &sealed));
	ASSERT_OK(keyring_seal_rights(sealed));
	EXPECT_ERR(-EACCES, maker_root(self->maker, sealed, "user", ROOT_DESC));
}

TEST_F(maker, one_that_is_gone_is_said)
{
	char blob[KEY_BLOB_MAX];
	pid_t pid = self->maker->pid;

	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_TRUE(maker_reaped(self->maker, pid));
	EXPECT_FALSE(maker_reaped(self->maker, pid));
	EXPECT_ERR(-EPIPE, maker_key(self->maker, self->root, blob));
	EXPECT_ERR(-EPIPE, maker_drop(self->maker, self->root));
}

/* One value of /proc/PID/status, to the end of its line. */
static void expect_status(pid_t pid, const char *line)
{
	char path[64], text[4096] = "";
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
	if (!EXPECT_TRUE(strstr(text, line) != NULL))
		ktest_log("expected %s", line);
}

TEST_F(maker, has_no_right)
{
	pid_t pid = self->maker->pid;
	char path[64];
	struct stat st;

	expect_status(pid, "Name:\t" MAKER_NAME "\n");
	expect_status(pid, "Seccomp:\t2\n");
	expect_status(pid, "NoNewPrivs:\t1\n");
	expect_status(pid, "CapPrm:\t0000000000000000\n");
	expect_status(pid, "CapBnd:\t0000000000000000\n");
	snprintf(path, sizeof(path), "/proc/%d/fd/1", pid);
	EXPECT_EQ(-1, lstat(path, &st));
}

/* --- in the keeper -------------------------------------------------------------------------- */

struct attack {
	key_serial ring, root, kek, foreign;
	pid_t maker;
	const char *blob;
};

/* What the kernel said: 0 or more, or -errno. */
typedef long attack_fn(const struct attack *a);

static long said(long r)
{
	return r < 0 ? -errno : r;
}

/* A ring of somebody else's, who has given all a right to it. */
static key_serial foreign_ring(void)
{
	int pair[2];
	key_serial ring = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(pair));
	pid = fork();
	if (pid == 0) {
		/* It stays as long as this test does; the harness ends it. */
		if (setresuid(SOMEBODY, SOMEBODY, SOMEBODY) < 0 || keyring_new_session() < 0 ||
		    (ring = (key_serial)syscall(SYS_add_key, "keyring", "theirs", NULL, 0,
						KEYRING_SESSION)) < 0 ||
		    syscall(SYS_keyctl, KEYCTL_SETPERM, ring, TEST_ALL_RIGHTS) < 0)
			ring = 0;
		(void)!write(pair[1], &ring, sizeof(ring));
		pause();
		_exit(0);
	}
	ASSERT_EQ((ssize_t)sizeof(ring), read(pair[0], &ring, sizeof(ring)));
	ASSERT_LT(0, ring);
	return ring;
}

/* @killed by what @fn does, or -EPERM. */
static void attack(struct ktest_data_of_maker *self, bool killed, attack_fn *fn)
{
	const struct attack a = { .ring = self->ring,
				  .root = self->root,
				  .kek = self->kek,
				  .maker = self->maker->pid,
				  .foreign = foreign_ring(),
				  .blob = self->blob };
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (pid == 0) {
		ASSERT_OK(sandbox_init());
		ASSERT_OK(sandbox_keep_caps(0));
		ASSERT_OK(sandbox_seccomp_keeper(a.ring));
		EXPECT_EQ(-EPERM, fn(&a));
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (killed) {
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGSYS, WTERMSIG(status));
	} else {
		EXPECT_EQ(0, status);
	}
}

#define ATTACK(name, killed)                               \
	static long attack_##name(const struct attack *a); \
	TEST_F(maker, name)                                \
	{                                                  \
		attack(self, (killed), attack_##name);     \
	}                                                  \
	static long attack_##name(const struct attack *a _unused_)
#define REFUSED(name) ATTACK(name, false)
#define KILLED(name)  ATTACK(name, true)

static long attack_add(const char *type, const char *desc, const void *payload, size_t len,
		       key_serial ring)
{
	return said(syscall(SYS_add_key, type, desc, payload, len, ring));
}

static long attack_load(const struct attack *a, const char *desc, key_serial ring)
{
	char command[KEY_BLOB_MAX + 8];

	snprintf(command, sizeof(command), "load %s", a->blob);
	return attack_add("encrypted", desc, command, strlen(command), ring);
}

static long attack_read(key_serial key)
{
	static char blob[KEY_BLOB_MAX];
	long n = said(syscall(SYS_keyctl, KEYCTL_READ, key, blob, sizeof(blob) - 1));

	if (n > 0 && strncmp(blob, BLOB_HEAD, strlen(BLOB_HEAD)) == 0)
		ktest_log("the key opens under known bytes: %d", opens_under(blob, KNOWN));
	return n;
}

/* The first keyring that is searched, then the one that the keeper may write to. */
KILLED(read_under_a_shadow)
{
	EXPECT_EQ(-EPERM, attack_add("user", ROOT_DESC, KNOWN, ROOT_LEN, KEYRING_THREAD));
	EXPECT_OK(keyring_unlink(a->ring, a->root));
	EXPECT_LT(0, attack_add("user", ROOT_DESC, KNOWN, ROOT_LEN, a->ring));
	return attack_read(a->kek);
}

KILLED(read_root)
{
	return attack_read(a->root);
}

/* The kernel takes 32 bits of operation and key, and so must the filter. */
KILLED(read_with_wide_numbers)
{
	char byte;

	return said(syscall(SYS_keyctl, KEYCTL_READ | 1UL << 40, a->root | 1L << 40, &byte, 1));
}

/* A blob that is loaded anew has all rights still; "update" by add_key(2) names another root for it. */
KILLED(read_of_a_copy)
{
	static const char update[] = "update user:known";
	long copy = attack_load(a, "copy", a->ring);

	EXPECT_LT(0, copy);
	EXPECT_LT(0, attack_add("user", "known", KNOWN, ROOT_LEN, a->ring));
	EXPECT_EQ(copy, attack_add("encrypted", "copy", update, strlen(update), a->ring));
	return attack_read((key_serial)copy);
}

/* A child is under the same filter, whoever it becomes. */
REFUSED(read_by_a_child)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		attack_read(a->kek);
		_exit(0);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	return -EPERM;
}

/* To somebody who is under no filter: into a ring of his … */
REFUSED(load_into_a_foreign_ring)
{
	return attack_load(a, "gift", a->foreign);
}

REFUSED(link_into_a_foreign_ring)
{
	long copy = attack_load(a, "copy", a->ring);

	EXPECT_LT(0, copy);
	return said(syscall(SYS_keyctl, KEYCTL_LINK, copy, a->foreign));
}

REFUSED(move_into_a_foreign_ring)
{
	long copy = attack_load(a, "copy", a->ring);

	EXPECT_LT(0, copy);
	return said(syscall(SYS_keyctl, KEYCTL_MOVE, copy, a->ring, a->foreign, 0));
}

REFUSED(foreign_ring_into_the_session)
{
	return said(syscall(SYS_keyctl, KEYCTL_LINK, a->foreign, KEYRING_SESSION));
}

REFUSED(search_into_a_foreign_ring)
{
	EXPECT_LT(0, attack_load(a, "copy", a->ring));
	return said(syscall(SYS_keyctl, KEYCTL_SEARCH, a->ring, "encrypted", "copy", a->foreign));
}

REFUSED(request_into_a_foreign_ring)
{
	EXPECT_LT(0, attack_load(a, "copy", a->ring));
	return said(syscall(SYS_request_key, "encrypted", "copy", NULL, a->foreign));
}

/* … by a right that is not the possessor's, for each of the three others … */
REFUSED(rights_for_others)
{
	static const unsigned long rights[] = { 0x3f3f0000UL, 0x3f003f00UL, 0x3f00003fUL,
						0x03000002UL, TEST_ALL_RIGHTS };
	long copy = attack_load(a, "copy", a->ring);

	EXPECT_LT(0, copy);
	for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
		EXPECT_EQ(-EPERM, said(syscall(SYS_keyctl, KEYCTL_SETPERM, copy, rights[i])));
	return said(syscall(SYS_keyctl, KEYCTL_CHOWN, copy, SOMEBODY, -1));
}

/* … by a session that he can join, or by a program that the kernel starts. */
REFUSED(named_session)
{
	return said(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "kekd-test"));
}

REFUSED(session_of_the_parent)
{
	return said(syscall(SYS_keyctl, KEYCTL_SESSION_TO_PARENT));
}

REFUSED(persistent_ring)
{
	return said(syscall(SYS_keyctl, KEYCTL_GET_PERSISTENT, SOMEBODY, KEYRING_SESSION));
}

REFUSED(program_of_the_kernels)
{
	return said(syscall(SYS_request_key, "user", "kekd-test", "a text", 0));
}

/* The maker's memory, where the root is not, and its keyrings. */
REFUSED(look_into_the_maker)
{
	char path[64], byte;
	struct iovec to = { &byte, 1 }, from = { (void *)(uintptr_t)a, 1 };

	snprintf(path, sizeof(path), "/proc/%d/mem", a->maker);
	EXPECT_EQ(-EACCES, said(open(path, O_RDONLY | O_CLOEXEC)));
	EXPECT_EQ(-EPERM, said(process_vm_readv(a->maker, &to, 1, &from, 1, 0)));
	return said(ptrace(PTRACE_ATTACH, a->maker, NULL, NULL));
}

/* What kekd does goes on. */
REFUSED(the_daily_work)
{
	key_serial key, found, ring;

	EXPECT_OK(keyring_resolve("user", ROOT_DESC, &found));
	EXPECT_EQ(a->root, found);
	EXPECT_OK(keyring_load(a->ring, "kekd:2", a->blob, &key));
	EXPECT_OK(keyring_seal_rights(key));
	EXPECT_OK(keyring_alive(key));
	EXPECT_OK(keyring_unlink(a->ring, key));
	EXPECT_OK(keyring_new("another", &ring));
	EXPECT_OK(keyring_new_session());
	EXPECT_ERR(-ENOKEY, keyring_resolve("user", ROOT_DESC, &found));
	return -EPERM;
}

/* Without a ring there are no keys, and nothing to be done with them. */
TEST(no_keys_for_backend_openssl)
{
	pid_t pid = fork();
	int status;

	ASSERT_LE(0, pid);
	if (pid == 0) {
		ASSERT_OK(sandbox_keep_caps(0));
		ASSERT_OK(sandbox_seccomp_keeper(0));
		EXPECT_EQ(-EPERM, attack_add("user", "k", KNOWN, ROOT_LEN, KEYRING_SESSION));
		EXPECT_EQ(-EPERM, said(syscall(SYS_request_key, "user", "k", NULL, 0)));
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
