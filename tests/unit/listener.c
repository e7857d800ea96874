/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: names and directories that are refused, permissions, stale and living sockets,
 * systemd's protocol, credentials.
 */
#include "daemon/sys/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/base/cleanup.h"
#include "tests/harness/ktest.h"

#define NOBODY 65534

FIXTURE(listener)
{
	char dir[32];
	char path[64];
	struct listener_name name;
};

FIXTURE_SETUP(listener)
{
	strcpy(self->dir, "/tmp/listener-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(self->dir));
	snprintf(self->path, sizeof(self->path), "%s/sock", self->dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

FIXTURE_TEARDOWN(listener)
{
	EXPECT_OK(nftw(self->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS));
}

/* As the daemon would open it; for tests where only the outcome counts. */
static int open_plain(const char *path, int *ret_fd)
{
	return listener_open(path, SOCK_STREAM, 0600, (gid_t)-1, NULL, ret_fd);
}

/* A refused path must leave the output alone and nothing behind. */
static void refused(int error, const char *path)
{
	int fd = -7;

	EXPECT_ERR(error, open_plain(path, &fd));
	EXPECT_EQ(-7, fd);
}

static int try_connect(const char *path, int type)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	ASSERT_GE(fd, 0);
	memcpy(addr.sun_path, path, strlen(path));
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

/* A bound socket at @path that somebody else owns. */
static int bind_raw(const char *path, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	ASSERT_GE(fd, 0);
	memcpy(addr.sun_path, path, strlen(path));
	ASSERT_OK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

/* Run @f(@arg) in a child and say whether it got to its end; what fails in it counts as usual. */
static bool in_child(void (*f)(void *arg), void *arg)
{
	int status = -1;
	pid_t child = fork();

	ASSERT_GE(child, 0);
	if (child == 0) {
		f(arg);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	return EXPECT_EQ(0, status);
}

static void become_nobody(void)
{
	ASSERT_OK(setgroups(0, NULL));
	ASSERT_OK(setresgid(NOBODY, NOBODY, NOBODY));
	ASSERT_OK(setresuid(NOBODY, NOBODY, NOBODY));
}

TEST_F(listener, has_the_mode_asked_for)
{
	static const mode_t modes[] = { 0600, 0660, 0666, 0000, 0777 };
	static const mode_t umasks[] = { 0, 0022, 0777 };
	struct stat st;
	mode_t old;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(umasks); j++) {
			old = umask(umasks[j]);
			ASSERT_OK(listener_open(self->path, SOCK_STREAM, modes[i], (gid_t)-1,
						&self->name, &fd));
			EXPECT_EQ(umasks[j], umask(old));
			ASSERT_OK(lstat(self->path, &st));
			EXPECT_EQ(S_IFSOCK | modes[i], st.st_mode);
			EXPECT_OK(listener_unlink(&self->name));
			close(fd);
		}
	}
}

TEST_F(listener, listens)
{
	int fd;

	ASSERT_OK(open_plain(self->path, &fd));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, fcntl(fd, F_GETFL) & O_NONBLOCK);
	EXPECT_OK(try_connect(self->path, SOCK_STREAM));
	close(fd);
}

TEST_F(listener, listens_for_messages)
{
	int fd;

	ASSERT_OK(listener_open(self->path, SOCK_SEQPACKET, 0600, (gid_t)-1, NULL, &fd));
	EXPECT_OK(try_connect(self->path, SOCK_SEQPACKET));
	EXPECT_ERR(-EPROTOTYPE, try_connect(self->path, SOCK_STREAM));
	close(fd);
}

TEST_F(listener, has_the_group_asked_for)
{
	struct stat st;
	int fd;

	SKIP_UNLESS("root", geteuid() == 0, "only root can give files to any group");
	ASSERT_OK(listener_open(self->path, SOCK_STREAM, 0660, 4242, NULL, &fd));
	ASSERT_OK(lstat(self->path, &st));
	EXPECT_EQ(4242, st.st_gid);
	EXPECT_EQ(S_IFSOCK | 0660, st.st_mode);
	close(fd);
}

static void group_not_ours(void *path)
{
	int fd = -7;

	become_nobody();
	EXPECT_ERR(-EPERM, listener_open(path, SOCK_STREAM, 0660, 4242, NULL, &fd));
	EXPECT_EQ(-7, fd);
}

TEST_F(listener, leaves_nothing_when_the_group_is_refused)
{
	SKIP_UNLESS("root", geteuid() == 0, "the test changes its user");
	ASSERT_OK(chmod(self->dir, 01777));
	in_child(group_not_ours, self->path);
	EXPECT_EQ(0, inode_of(self->path));
}

TEST_F(listener, refuses_bad_arguments)
{
	int fd = -7;

	EXPECT_ERR(-EINVAL, listener_open(self->path, SOCK_DGRAM, 0600, (gid_t)-1, NULL, &fd));
	EXPECT_ERR(-EINVAL, listener_open(self->path, SOCK_STREAM, 01600, (gid_t)-1, NULL, &fd));
	refused(-EINVAL, "");
	refused(-EINVAL, "@kekd");
	refused(-EINVAL, "kekd.sock");
	refused(-EINVAL, "./kekd.sock");
	refused(-EINVAL, "/");
	refused(-EINVAL, "/tmp/");
	refused(-EINVAL, "/tmp/.");
	refused(-EINVAL, "/tmp/..");
	EXPECT_EQ(-7, fd);
}

TEST_F(listener, path_length)
{
	char path[LISTENER_PATH_MAX + 1];
	int fd;

	memset(path, 'x', sizeof(path));
	memcpy(path, self->path, strlen(self->path));
	path[LISTENER_PATH_MAX] = '\0';
	refused(-ENAMETOOLONG, path);
	path[LISTENER_PATH_MAX - 1] = '\0';
	ASSERT_OK(listener_open(path, SOCK_STREAM, 0600, (gid_t)-1, &self->name, &fd));
	EXPECT_STREQ(path, self->name.path);
	EXPECT_OK(try_connect(path, SOCK_STREAM));
	EXPECT_OK(listener_unlink(&self->name));
	close(fd);
}

/* Opening a socket in @sub of the test's directory ends with @error and makes nothing then. */
static void below(struct ktest_data_of_listener *self, int error, const char *sub)
{
	char path[96];
	int fd = -7;

	snprintf(path, sizeof(path), "%s/%s/sock", self->dir, sub);
	EXPECT_ERR(error, open_plain(path, &fd));
	EXPECT_EQ(error == 0, inode_of(path) != 0);
	if (error == 0) {
		close(fd);
		unlink(path);
	} else {
		EXPECT_EQ(-7, fd);
	}
}

TEST_F(listener, directories)
{
	char sub[64];

	snprintf(sub, sizeof(sub), "%s/a", self->dir);
	below(self, -ENOENT, "a");
	ASSERT_OK(mkdir(sub, 0700));
	snprintf(sub, sizeof(sub), "%s/a/b", self->dir);
	ASSERT_OK(mkdir(sub, 0700));
	below(self, 0, "a/b");
	below(self, 0, "a//b/../b/.");
	snprintf(sub, sizeof(sub), "%s/link", self->dir);
	ASSERT_OK(symlink("a", sub));
	below(self, -ELOOP, "link");
	below(self, -ELOOP, "link/b");
	snprintf(sub, sizeof(sub), "%s/file", self->dir);
	ASSERT_OK(mknod(sub, S_IFREG | 0600, 0));
	below(self, -ENOTDIR, "file");
}

TEST_F(listener, directories_of_others)
{
	char a[64], b[64];

	snprintf(a, sizeof(a), "%s/a", self->dir);
	snprintf(b, sizeof(b), "%s/a/b", self->dir);
	ASSERT_OK(mkdir(a, 0700));
	ASSERT_OK(mkdir(b, 0700));
	ASSERT_OK(chmod(b, 0720));
	below(self, -EPERM, "a/b");
	ASSERT_OK(chmod(b, 0702));
	below(self, -EPERM, "a/b");
	ASSERT_OK(chmod(b, 01777));
	below(self, 0, "a/b");
	ASSERT_OK(chmod(a, 0777)); /* here b itself could be exchanged */
	below(self, -EPERM, "a/b/c");
	ASSERT_OK(chmod(a, 0700));
	SKIP_UNLESS("root", geteuid() == 0, "only root can give a directory away");
	ASSERT_OK(chown(a, NOBODY, (gid_t)-1));
	below(self, -EPERM, "a/b/c");
}

TEST_F(listener, replaces_a_dead_socket)
{
	ino_t dead;
	int fd;

	close(bind_raw(self->path, SOCK_STREAM));
	dead = inode_of(self->path);
	ASSERT_NE(0, dead);
	EXPECT_ERR(-ECONNREFUSED, try_connect(self->path, SOCK_STREAM));
	ASSERT_OK(open_plain(self->path, &fd));
	EXPECT_OK(try_connect(self->path, SOCK_STREAM));
	close(fd);
	ASSERT_OK(open_plain(self->path, &fd)); /* its own, after a crash */
	EXPECT_OK(try_connect(self->path, SOCK_STREAM));
	close(fd);
}

TEST_F(listener, spares_a_living_socket)
{
	ino_t inode;
	int fd;

	ASSERT_OK(open_plain(self->path, &fd));
	inode = inode_of(self->path);
	refused(-EADDRINUSE, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
	EXPECT_OK(try_connect(self->path, SOCK_STREAM));
	close(fd);
}

TEST_F(listener, spares_a_living_socket_of_another_type)
{
	int fd = bind_raw(self->path, SOCK_SEQPACKET);
	ino_t inode = inode_of(self->path);

	ASSERT_OK(listen(fd, 1));
	refused(-EADDRINUSE, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
	close(fd);
}

/* Its owner is too busy to accept; neither does this make it dead nor us wait. */
TEST_F(listener, spares_a_busy_socket)
{
	int fd = bind_raw(self->path, SOCK_STREAM), client[2];
	ino_t inode = inode_of(self->path);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memcpy(addr.sun_path, self->path, strlen(self->path));
	ASSERT_OK(listen(fd, 0));
	for (int i = 0; i < 2; i++) {
		client[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(client[i], (struct sockaddr *)&addr, sizeof(addr));
	}
	EXPECT_ERR(-EAGAIN, try_connect(self->path, SOCK_STREAM));
	refused(-EADDRINUSE, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
	close(client[0]);
	close(client[1]);
	close(fd);
}

static void open_as_nobody(void *path)
{
	become_nobody();
	refused(-EADDRINUSE, path);
}

TEST_F(listener, spares_a_socket_it_may_not_knock_at)
{
	ino_t inode;

	SKIP_UNLESS("root", geteuid() == 0, "the test changes its user");
	ASSERT_OK(chmod(self->dir, 01777));
	close(bind_raw(self->path, SOCK_STREAM));
	ASSERT_OK(chmod(self->path, 0600));
	inode = inode_of(self->path);
	in_child(open_as_nobody, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
}

TEST_F(listener, spares_what_is_no_socket)
{
	ino_t inode;

	ASSERT_OK(mknod(self->path, S_IFREG | 0600, 0));
	inode = inode_of(self->path);
	refused(-EADDRINUSE, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
	ASSERT_OK(unlink(self->path));
	ASSERT_OK(symlink("elsewhere", self->path));
	inode = inode_of(self->path);
	refused(-EADDRINUSE, self->path);
	EXPECT_EQ(inode, inode_of(self->path));
}

TEST_F(listener, respects_the_lock)
{
	char name[80];
	struct stat st;
	int fd, lock;

	snprintf(name, sizeof(name), "%s.lock", self->path);
	ASSERT_OK(listener_open(self->path, SOCK_STREAM, 0600, (gid_t)-1, &self->name, &fd));
	ASSERT_OK(stat(name, &st));
	EXPECT_EQ(S_IFREG | 0600, st.st_mode);
	lock = open(name, O_RDWR | O_CLOEXEC);
	ASSERT_OK(flock(lock, LOCK_EX | LOCK_NB));
	EXPECT_ERR(-EADDRINUSE, listener_unlink(&self->name));
	close(fd);
	refused(-EADDRINUSE, self->path);
	close(lock);
	ASSERT_OK(unlink(name));
	ASSERT_OK(symlink("/dev/null", name));
	refused(-ELOOP, self->path);
	ASSERT_OK(unlink(name));
	ASSERT_OK(mkfifo(name, 0600));
	refused(-EPERM, self->path);
}

/* Many start at once on a dead socket: one of them gets it, and keeps it. */
TEST_F(listener, one_of_many_wins)
{
	enum { N = 12, ROUNDS = 10 };
	int go[2], won[2], done[2], winners;
	char c;

	for (int round = 0; round < ROUNDS; round++) {
		unlink(self->path);
		close(bind_raw(self->path, SOCK_STREAM));
		ASSERT_OK(pipe(go));
		ASSERT_OK(pipe(won));
		ASSERT_OK(pipe(done));
		for (int i = 0; i < N; i++) {
			int fd = -1;

			if (fork() != 0)
				continue;
			close(go[1]);
			close(done[1]);
			if (read(go[0], &c, 1) != 0)
				_exit(1);
			c = open_plain(self->path, &fd) == 0 ? '+' : '-';
			if (write(won[1], &c, 1) != 1)
				_exit(1);
			if (read(done[0], &c, 1) != 0) /* keeps the socket until all have tried */
				_exit(1);
			_exit(0);
		}
		close(go[1]);
		winners = 0;
		for (int i = 0; i < N; i++) {
			ASSERT_EQ(1, read(won[0], &c, 1));
			winners += c == '+';
		}
		EXPECT_EQ(1, winners);
		EXPECT_OK(try_connect(self->path, SOCK_STREAM));
		close(done[1]);
		while (wait(NULL) > 0)
			;
		close(go[0]);
		close(won[0]);
		close(won[1]);
		close(done[0]);
	}
}

TEST_F(listener, unlinks_only_its_own)
{
	struct listener_name second;
	int fd, other;

	ASSERT_OK(listener_open(self->path, SOCK_STREAM, 0600, (gid_t)-1, &self->name, &fd));
	EXPECT_STREQ(self->path, self->name.path);
	ASSERT_OK(unlink(self->path));
	EXPECT_ERR(-ENOENT, listener_unlink(&self->name));
	ASSERT_OK(listener_open(self->path, SOCK_STREAM, 0600, (gid_t)-1, &second, &other));
	ASSERT_NE(self->name.ino, second.ino);
	EXPECT_ERR(-ESTALE, listener_unlink(&self->name));
	EXPECT_OK(try_connect(self->path, SOCK_STREAM));
	EXPECT_OK(listener_unlink(&second));
	EXPECT_EQ(0, inode_of(self->path));
	close(fd);
	close(other);
}

/* What systemd would have set up for a process. Runs in a child, where 3 and up may be replaced. */
struct passing {
	const char *count, *names, *path;
	pid_t pid; /* 0: the right one */
	int types[4];
	bool quiet; /* bound, but not listening */
};

static void pass(const struct passing *p)
{
	char pid[24], path[80];

	snprintf(pid, sizeof(pid), "%d", p->pid ? p->pid : getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", p->count, 1);
	unsetenv("LISTEN_FDNAMES");
	if (p->names)
		setenv("LISTEN_FDNAMES", p->names, 1);
	for (int i = 0; i < 4 && p->types[i]; i++) {
		int fd;

		snprintf(path, sizeof(path), "%s%d", p->path, i);
		fd = bind_raw(path, p->types[i]);
		if (!p->quiet && p->types[i] != SOCK_DGRAM)
			ASSERT_OK(listen(fd, 1));
		if (fd != 3 + i) {
			ASSERT_EQ(3 + i, dup2(fd, 3 + i));
			close(fd);
		} else {
			ASSERT_OK(fcntl(fd, F_SETFD, 0));
		}
		unlink(path);
	}
}

static void unset_in_any_case(void)
{
	EXPECT_NULL(getenv("LISTEN_PID"));
	EXPECT_NULL(getenv("LISTEN_FDS"));
	EXPECT_NULL(getenv("LISTEN_FDNAMES"));
}

static void make_room(void)
{
	for (int fd = 3; fd < 16; fd++)
		close(fd);
}

static void take_two(void *path)
{
	struct passing p = { "2", "kms:admin", path, 0, { SOCK_STREAM, SOCK_SEQPACKET }, false };
	struct listener_passed got[4];
	size_t n = 99;

	make_room();
	pass(&p);
	EXPECT_OK(listener_from_systemd(got, 4, &n));
	ASSERT_EQ(2, n);
	EXPECT_STREQ("kms", got[0].name);
	EXPECT_STREQ("admin", got[1].name);
	EXPECT_EQ(3, got[0].fd);
	EXPECT_EQ(4, got[1].fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(3, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(4, F_GETFD));
	unset_in_any_case();
	p.names = NULL;
	make_room();
	pass(&p);
	EXPECT_OK(listener_from_systemd(got, 2, &n));
	EXPECT_STREQ("unknown", got[1].name);
}

TEST_F(listener, takes_what_systemd_passes)
{
	in_child(take_two, self->path);
}

static void take_nothing(void *path)
{
	struct passing p = { "1", NULL, path, getppid(), { SOCK_STREAM }, false };
	struct listener_passed got[1];
	size_t n = 99;

	make_room();
	pass(&p);
	EXPECT_OK(listener_from_systemd(got, 1, &n)); /* meant for another process */
	EXPECT_EQ(0, n);
	EXPECT_EQ(0, fcntl(3, F_GETFD));
	unset_in_any_case();
	n = 99;
	EXPECT_OK(listener_from_systemd(got, 1, &n)); /* not started by systemd */
	EXPECT_EQ(0, n);
}

TEST_F(listener, leaves_what_is_meant_for_others)
{
	in_child(take_nothing, self->path);
}

static void take_bad(const struct passing *p, int error)
{
	struct listener_passed got[2];
	size_t n = 99;

	make_room();
	pass(p);
	EXPECT_ERR(error, listener_from_systemd(got, 2, &n));
	EXPECT_EQ(99, n);
	unset_in_any_case();
	if (error != -E2BIG)
		EXPECT_EQ(-1, fcntl(3, F_GETFD));
}

static void take_all_bad(void *path)
{
	struct passing p = { "2", NULL, path, 0, { SOCK_STREAM, SOCK_DGRAM }, false };

	take_bad(&p, -EINVAL);
	p.types[1] = SOCK_STREAM;
	p.quiet = true;
	take_bad(&p, -EINVAL);
	p.quiet = false;
	p.types[1] = 0;
	take_bad(&p, -EBADF); /* says two, passes one */
	p.count = "3";
	take_bad(&p, -E2BIG);
	p.types[0] = 0;
	p.count = "";
	take_bad(&p, -EINVAL);
	p.count = "+1";
	take_bad(&p, -EINVAL);
	p.count = "1x";
	take_bad(&p, -EINVAL);
	p.count = "99999999999999999999999";
	take_bad(&p, -EINVAL);
}

TEST_F(listener, refuses_what_is_no_listener)
{
	in_child(take_all_bad, self->path);
}

static void take_abstract(void *path)
{
	struct passing p = { "1", NULL, path, 0, { 0 }, false };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct listener_passed got[1];
	size_t n;
	int fd;

	make_room();
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ASSERT_OK(bind(fd, (struct sockaddr *)&addr, sizeof(sa_family_t)));
	ASSERT_OK(listen(fd, 1));
	if (fd != 3)
		ASSERT_EQ(3, dup2(fd, 3));
	pass(&p);
	EXPECT_ERR(-EINVAL, listener_from_systemd(got, 1, &n));
}

TEST_F(listener, refuses_abstract_names)
{
	in_child(take_abstract, self->path);
}

static void connect_as_nobody(void *path)
{
	become_nobody();
	EXPECT_OK(try_connect(path, SOCK_STREAM));
}

TEST_F(listener, knows_the_peer)
{
	struct op_peer peer = { 0 };
	int pair[2], fd, conn;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	ASSERT_OK(peer_cred(pair[0], &peer));
	EXPECT_EQ(getpid(), peer.pid);
	EXPECT_EQ(geteuid(), peer.uid);
	EXPECT_EQ(getegid(), peer.gid);
	close(pair[0]);
	close(pair[1]);
	EXPECT_ERR(-EBADF, peer_cred(-1, &peer));
	SKIP_UNLESS("root", geteuid() == 0, "the test changes its user");
	ASSERT_OK(chmod(self->dir, 0755));
	ASSERT_OK(listener_open(self->path, SOCK_STREAM, 0666, (gid_t)-1, NULL, &fd));
	in_child(connect_as_nobody, self->path);
	conn = accept(fd, NULL, NULL);
	ASSERT_OK(peer_cred(conn, &peer));
	EXPECT_EQ(NOBODY, peer.uid);
	EXPECT_EQ(NOBODY, peer.gid);
	close(conn);
	close(fd);
}

TEST_HARNESS_MAIN
