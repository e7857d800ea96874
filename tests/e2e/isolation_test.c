/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a taken-over server could do. The test process has the keeper's part: a root key and a KEK
 * in a keyring of its session. A child goes the server's way (daemon/keeper/spawn.c,
 * daemon/server/server.c): uid and capabilities dropped, a session of its own, op sockets of the
 * KEK received by SCM_RIGHTS, a ring, seccomp. Then it tries one thing that it must not be able to
 * do, and after that it encrypts a block through its op socket, which it must.
 *
 * Everything about keys is tried without seccomp, too: their protection rests on possession, uid
 * and what the kernel refuses on an op socket, and seccomp is the second lock. Without it a call
 * must be refused for want of a right, not for being ill-formed.
 *
 * Needs root, AF_ALG and the keyring. The source of the ring is included for the sake of its raw
 * ring.
 */
#include "daemon/sys/ring_uring.c"

#include <grp.h>
#include <linux/capability.h>
#include <linux/if_alg.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "daemon/keys/kek.h"
#include "daemon/server/link.h"
#include "daemon/sys/afalg.h"
#include "daemon/sys/keyring.h"
#include "daemon/sys/sandbox.h"
#include "tests/harness/ktest.h"

#ifndef SOL_ALG
#define SOL_ALG 279 /* linux/socket.h */
#endif
#define SET_KEY_BY_SERIAL 7 /* linux/if_alg.h: ALG_SET_KEY_BY_KEY_SERIAL */
#define SERVER_ID         61234

/* What the child sees. */
struct cell {
	int link, op;
	struct ring *ring;
	pid_t keeper;
	uintptr_t secret;   /* an address in the keeper */
	key_serial keys[3]; /* KEK, root, ring */
	char blob[KEY_BLOB_MAX];
	uint8_t expected[KEKD_AES_BLOCK];
};

/* 0 or more: it went well, which is bad. */
typedef long attempt_fn(struct cell *c);

static const uint8_t block[KEKD_AES_BLOCK] = "sixteen bytes...";

static long result(long r)
{
	return r < 0 ? -errno : r;
}

/* Refused for want of a right, or because such a thing is not to be had here. */
static bool is_refusal(long r)
{
	return r == -EACCES || r == -EPERM || r == -EOPNOTSUPP || r == -ENOKEY || r == -ENOENT;
}

/* Still at work: the op socket encrypts, and under the KEK. */
static void prove_service(struct cell *c)
{
	uint8_t out[KEKD_AES_BLOCK];

	ASSERT_OK(afalg_run(c->op, BLOCK_ENCRYPT, block, out, sizeof(out)));
	EXPECT_TRUE(memcmp(c->expected, out, sizeof(out)) == 0);
}

/* The server's own way down, in its order. */
static void lock_in(struct cell *c, bool seccomp)
{
	struct link_fds fds = { 0 };
	struct link_msg msg;

	ASSERT_OK(sandbox_drop_all(SERVER_ID, SERVER_ID));
	ASSERT_OK(keyring_new_session());
	ASSERT_OK(sandbox_die_with(c->keeper));
	ASSERT_OK(sandbox_init());
	ASSERT_OK(link_recv(c->link, &msg, &fds));
	ASSERT_EQ(1, fds.n);
	c->op = link_fds_take(&fds, 0);
	ASSERT_OK(ring_new(RING_AUTO, 32, &c->ring));
	if (seccomp)
		ASSERT_OK(sandbox_seccomp_server());
	prove_service(c);
}

FIXTURE(keeper)
{
	struct cell cell;
	struct maker *maker;
	struct root_key *root;
	struct kek *kek;
	int link, op;
};

FIXTURE_VARIANT(keeper)
{
	bool seccomp;
};
FIXTURE_VARIANT_ADD(keeper, sealed){ .seccomp = true };
FIXTURE_VARIANT_ADD(keeper, without_seccomp){ .seccomp = false };

static int can_serve(void)
{
	int fd, r = afalg_bind("skcipher", "ecb(aes)", &fd);

	if (r == 0)
		close(fd);
	return r;
}

FIXTURE_SETUP(keeper)
{
	struct key_record rec = { .info.state = KEY_ACTIVE,
				  .info.activation = 1,
				  .info.id = { 1 } };
	struct cell *c = &self->cell;
	int pair[2], r;

	(void)variant;
	SKIP_UNLESS("afalg", geteuid() == 0 && can_serve() == 0,
		    "needs root and AF_ALG with ecb(aes)");
	snprintf(rec.info.name, sizeof(rec.info.name), "primary");
	snprintf(rec.info.label, sizeof(rec.info.label), "primary.1");
	ASSERT_OK(keyring_new_session());
	ASSERT_OK(keyring_new("kekd-isolation", &c->keys[2]));
	ASSERT_OK(maker_start(&self->maker));
	r = root_key_new_ephemeral(c->keys[2], self->maker, &self->root);
	if (r == -ENOPROTOOPT)
		maker_stop(self->maker);
	SKIP_UNLESS("afalg", r != -ENOPROTOOPT, "no keying by serial before Linux 6.2");
	ASSERT_OK(r);
	ASSERT_OK(kek_generate(self->root, &rec, &self->kek));
	memcpy(c->blob, rec.blob, sizeof(c->blob));
	c->keys[0] = kek_serial(self->kek);
	c->keys[1] = root_key_serial(self->root);
	ASSERT_OK(kek_accept(self->kek, &self->op));
	ASSERT_OK(afalg_run(self->op, BLOCK_ENCRYPT, block, c->expected, sizeof(c->expected)));
	ASSERT_OK(link_pair(pair));
	self->link = pair[0];
	c->link = pair[1];
	c->keeper = getpid();
	c->secret = (uintptr_t)c;
}

FIXTURE_TEARDOWN(keeper)
{
	(void)variant;
	/* Whatever the child tried has left the keys alone. */
	EXPECT_OK(kek_alive(self->kek));
	EXPECT_OK(root_key_check(self->root));
	kek_free(self->kek);
	root_key_free(self->root);
	maker_stop(self->maker);
	close(self->op);
	close(self->link);
	close(self->cell.link);
}

static void send_op(struct ktest_data_of_keeper *self)
{
	struct link_msg msg = { .type = LINK_SOCKET };
	struct link_fds fds = { .n = 1 };

	ASSERT_OK(kek_accept(self->kek, &fds.fd[0]));
	ASSERT_OK(link_send(self->link, &msg, &fds));
	link_fds_close(&fds);
}

static void child(struct cell *c, bool seccomp, attempt_fn *attempt)
{
	long r;

	lock_in(c, seccomp);
	r = attempt(c);
	if (!EXPECT_TRUE(is_refusal(r)))
		ktest_log("the attempt gave %ld", r);
	prove_service(c);
	_exit(0);
}

/* @killed: with seccomp the attempt is the child's death; otherwise it goes on serving. */
static void try(struct ktest_data_of_keeper *self, bool seccomp, bool killed, attempt_fn *attempt)
{
	pid_t pid;
	int status;

	send_op(self);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0)
		child(&self->cell, seccomp, attempt);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (killed && seccomp) {
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGSYS, WTERMSIG(status));
	} else {
		EXPECT_EQ(0, status);
	}
}

/*
 * KILLED and REFUSED: what seccomp makes of the attempt; without seccomp it is refused by whoever
 * guards the thing itself. SEALED_: there is no such guard, because it is not about keys.
 */
#define ATTEMPT(name, killed)                                          \
	static long attempt_##name(struct cell *c);                    \
	TEST_F(keeper, name)                                           \
	{                                                              \
		try(self, variant->seccomp, (killed), attempt_##name); \
	}                                                              \
	static long attempt_##name(struct cell *c _unused_)
#define REFUSED(name) ATTEMPT(name, false)
#define KILLED(name)  ATTEMPT(name, true)

FIXTURE(sealed)
{
	struct ktest_data_of_keeper keeper;
};
FIXTURE_SETUP(sealed)
{
	ktest_fixture_keeper.setup(&self->keeper, variant);
}
FIXTURE_TEARDOWN(sealed)
{
	ktest_fixture_keeper.teardown(&self->keeper, variant);
}

#define SEALED_ATTEMPT(name, killed)                                \
	static long attempt_##name(struct cell *c);                 \
	TEST_F(sealed, name)                                        \
	{                                                           \
		try(&self->keeper, true, (killed), attempt_##name); \
	}                                                           \
	static long attempt_##name(struct cell *c _unused_)
#define SEALED_REFUSED(name) SEALED_ATTEMPT(name, false)
#define SEALED_KILLED(name)  SEALED_ATTEMPT(name, true)

/* The op socket: only for operations. */

REFUSED(op_set_key)
{
	static const uint8_t key[KEKD_AES_KEY_MAX];

	return result(setsockopt(c->op, SOL_ALG, ALG_SET_KEY, key, sizeof(key)));
}

REFUSED(op_set_key_by_serial)
{
	return result(
		setsockopt(c->op, SOL_ALG, SET_KEY_BY_SERIAL, &c->keys[0], sizeof(c->keys[0])));
}

REFUSED(op_accept)
{
	return result(accept4(c->op, NULL, NULL, SOCK_CLOEXEC));
}

REFUSED(op_bind)
{
	struct sockaddr_alg sa = {
		.salg_family = AF_ALG,
		.salg_type = "skcipher",
		.salg_name = "ecb(aes)",
	};

	return result(bind(c->op, (struct sockaddr *)&sa, sizeof(sa)));
}

/* A transform of one's own, with the KEK by its serial: for each type that could leak its bytes. */
static long own_transform(const struct cell *c, const char *type, const char *name)
{
	int fd, r;

	r = afalg_bind(type, name, &fd);
	return r < 0 ? r : afalg_set_key(fd, c->keys[0]);
}

REFUSED(own_cipher_by_serial)
{
	return own_transform(c, "skcipher", "ecb(aes)");
}

REFUSED(own_hash_by_serial)
{
	return own_transform(c, "hash", "hmac(sha256)");
}

/* The keyring: each verb on KEK, root and ring; the first success counts. */
static long on_each(const struct cell *c, int op, unsigned long a, unsigned long b, unsigned long d)
{
	long r = -EACCES;

	for (size_t i = 0; i < ARRAY_SIZE(c->keys); i++) {
		r = result(syscall(SYS_keyctl, op, (unsigned long)c->keys[i], a, b, d));
		if (!is_refusal(r))
			return r;
	}
	return r;
}

KILLED(key_describe)
{
	char text[256];

	return on_each(c, KEYCTL_DESCRIBE, (unsigned long)text, sizeof(text), 0);
}

KILLED(key_read)
{
	char text[256];

	return on_each(c, KEYCTL_READ, (unsigned long)text, sizeof(text), 0);
}

KILLED(key_search)
{
	return result(syscall(SYS_keyctl, KEYCTL_SEARCH, (unsigned long)c->keys[2], "user",
			      ROOT_DESC, 0));
}

KILLED(key_invalidate)
{
	return on_each(c, KEYCTL_INVALIDATE, 0, 0, 0);
}

KILLED(key_revoke)
{
	return on_each(c, KEYCTL_REVOKE, 0, 0, 0);
}

KILLED(key_setperm)
{
	return on_each(c, KEYCTL_SETPERM, 0x3f3f3f3f, 0, 0);
}

KILLED(key_chown)
{
	return on_each(c, KEYCTL_CHOWN, SERVER_ID, SERVER_ID, 0);
}

KILLED(key_set_timeout)
{
	return on_each(c, KEYCTL_SET_TIMEOUT, 1, 0, 0);
}

KILLED(key_update)
{
	return on_each(c, KEYCTL_UPDATE, (unsigned long)"update user:known", 17, 0);
}

KILLED(key_link_to_own_session)
{
	return on_each(c, KEYCTL_LINK, (unsigned long)KEY_SPEC_SESSION_KEYRING, 0, 0);
}

KILLED(key_unlink)
{
	for (size_t i = 0; i < 2; i++) {
		long r = result(syscall(SYS_keyctl, KEYCTL_UNLINK, (unsigned long)c->keys[i],
					(unsigned long)c->keys[2]));

		if (!is_refusal(r))
			return r;
	}
	return -EACCES;
}

KILLED(key_clear_ring)
{
	return result(syscall(SYS_keyctl, KEYCTL_CLEAR, (unsigned long)c->keys[2]));
}

/* The server's session in the keeper's place. */
KILLED(session_to_parent)
{
	return result(syscall(SYS_keyctl, KEYCTL_SESSION_TO_PARENT));
}

KILLED(add_key_to_ring)
{
	return result(syscall(SYS_add_key, "user", "planted", "x", 1, c->keys[2]));
}

KILLED(request_root_key)
{
	return result(syscall(SYS_request_key, "user", ROOT_DESC, NULL, 0));
}

/* The sealed blob is no secret; what opens it is the root, which the kernel looks for by name. */
KILLED(load_blob)
{
	char command[KEY_BLOB_MAX + 8];
	int n = snprintf(command, sizeof(command), "load %s", c->blob);

	return result(syscall(SYS_add_key, "encrypted", "mine", command, (size_t)n,
			      KEY_SPEC_SESSION_KEYRING));
}

/* The keeper's process. */

KILLED(ptrace_keeper)
{
	return result(ptrace(PTRACE_ATTACH, c->keeper, NULL, NULL));
}

KILLED(read_keeper_memory)
{
	char byte;
	struct iovec mine = { &byte, 1 }, theirs = { (void *)c->secret, 1 };

	return result(process_vm_readv(c->keeper, &mine, 1, &theirs, 1, 0));
}

REFUSED(open_keeper_memory)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)c->keeper);
	return result(open(path, O_RDONLY));
}

REFUSED(kill_keeper)
{
	return result(kill(c->keeper, 0));
}

/* Rights do not come back. */

REFUSED(become_root)
{
	return result(setresuid(0, 0, 0));
}

REFUSED(join_a_group)
{
	gid_t gid = 0;

	return result(setgroups(1, &gid));
}

REFUSED(raise_capabilities)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { .effective = ~0U, .permitted = ~0U } };

	return result(syscall(SYS_capset, &h, d));
}

/* What only seccomp and the ring's restrictions forbid. */

SEALED_REFUSED(open_file)
{
	return result(open("/etc/passwd", O_RDONLY));
}

SEALED_REFUSED(new_socket)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

SEALED_REFUSED(new_transform)
{
	int fd;

	return afalg_bind("skcipher", "ecb(aes)", &fd);
}

SEALED_REFUSED(executable_mapping)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

SEALED_REFUSED(mapping_made_executable)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -EFAULT : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

SEALED_REFUSED(new_process)
{
	return result(fork());
}

SEALED_REFUSED(become_dumpable)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

SEALED_REFUSED(listen_elsewhere)
{
	return result(listen(c->link, 1));
}

SEALED_REFUSED(open_by_ring)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct uring *u;

	if (strcmp(ring_name(c->ring), "io_uring") != 0)
		return -EPERM; /* there is none to misuse */
	u = uring_of(c->ring);
	sqe = io_uring_get_sqe(&u->io);
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	io_uring_sqe_set_data64(sqe, 0);
	if (io_uring_submit_and_wait(&u->io, 1) < 0 || io_uring_peek_cqe(&u->io, &cqe) < 0)
		return -EFAULT;
	return cqe->res;
}

SEALED_KILLED(execute)
{
	char name[] = "/bin/true", *argv[] = { name, NULL };

	return result(execv(name, argv));
}

SEALED_KILLED(new_ring)
{
	struct io_uring_params p = { 0 };

	return result(syscall(SYS_io_uring_setup, 4, &p));
}

SEALED_KILLED(new_namespace)
{
	return result(unshare(CLONE_NEWUSER));
}

SEALED_KILLED(load_bpf)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

TEST_HARNESS_MAIN
