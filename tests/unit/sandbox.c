/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and server may no longer do. Each case runs in a child that goes through the very
 * functions the daemon calls, tries one thing and tells by its exit status; a case also shows that
 * the same thing works before. Cases are of root; others are skipped where the kernel wants root.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "daemon/base/cleanup.h"
#include "tests/harness/ktest.h"

#define DIED 1000 /* + signal */

static char scratch[64], in_store[96], in_config[96], elsewhere[96];
static int listening;

/* --- what is tried: 0 or -errno ------------------------------------------------------------ */

static int done(long r)
{
	return r < 0 ? -errno : 0;
}

static int opened(int fd)
{
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int try_socket_inet(void)
{
	return opened(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int try_socket_unix(void)
{
	return opened(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int try_socket_netlink(void)
{
	return opened(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int try_exec(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };

	execve("/bin/true", argv, environ);
	return -errno;
}

static int try_exec_other(void)
{
	char *argv[] = { (char *)(uintptr_t) "false", NULL };

	execve("/bin/false", argv, environ);
	return -errno;
}

static int try_ptrace(void)
{
	return done(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_read_process(void)
{
	char a = 'a', b = 'b';
	struct iovec to = { &a, 1 }, from = { &b, 1 };

	return done(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
}

static int try_unshare(void)
{
	return done(unshare(CLONE_NEWNS));
}

static int try_fork(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(0);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -EIO;
}

static int try_uring(void)
{
	char params[256] = { 0 };

	return opened((int)syscall(SYS_io_uring_setup, 4, params));
}

static int try_bpf(void)
{
	return done(syscall(SYS_bpf, -1, NULL, 0)); /* EINVAL where it is allowed */
}

static int try_module(void)
{
	return done(syscall(SYS_finit_module, -1, "", 0)); /* EBADF where it is allowed */
}

static int try_mount(void)
{
	return done(syscall(SYS_mount, "none", "/nonexistent", "tmpfs", 0, NULL)); /* ENOENT */
}

static int try_exec_page(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

static int try_page(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -errno : 0;
}

static int try_read_store(void)
{
	return opened(open(in_store, O_RDONLY | O_CLOEXEC));
}

static int try_write_store(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s.tmp", in_store);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return rename(path, in_store) < 0 ? -errno : 0;
}

static int try_read_config(void)
{
	return opened(open(in_config, O_RDONLY | O_CLOEXEC));
}

static int try_write_config(void)
{
	return opened(open(in_config, O_WRONLY | O_CLOEXEC));
}

static int try_read_elsewhere(void)
{
	return opened(open(elsewhere, O_RDONLY | O_CLOEXEC));
}

static int try_write_elsewhere(void)
{
	return opened(open(elsewhere, O_WRONLY | O_CLOEXEC));
}

static int try_read_passwd(void)
{
	return opened(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int try_write_etc(void)
{
	return opened(open("/etc/kekd-test", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int try_kill_parent(void)
{
	return done(kill(getppid(), 0));
}

/* By a descriptor the kernel signals whom its owner names. */
static int try_signal_parent(void)
{
	struct f_owner_ex owner = { F_OWNER_PID, getppid() };
	int r;

	r = done(fcntl(listening, F_SETOWN, getppid()));
	if (r == -EPERM)
		r = done(fcntl(listening, F_SETOWN_EX, &owner));
	if (r == -EPERM)
		r = done(fcntl(listening, F_SETSIG, SIGSTOP));
	return r == -EPERM ? done(fcntl(listening, F_SETFL, O_NONBLOCK | O_ASYNC)) : r;
}

static int try_make_blocking(void)
{
	int flags = fcntl(listening, F_GETFL);

	return flags < 0 ? 1 : done(fcntl(listening, F_SETFL, flags & ~O_NONBLOCK));
}

static int try_make_nonblocking(void)
{
	int flags = fcntl(listening, F_GETFL);

	return flags < 0 ? 1 : done(fcntl(listening, F_SETFL, flags | O_NONBLOCK));
}

static int try_exe(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };
	int fd = open("/bin/true", O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	return -errno;
}

/* --- where it is tried ---------------------------------------------------------------------- */

static int keeper_files(void)
{
	char store[80], config[80];
	const char *read[] = { config };
	_cleanup_close_ int exe = open("/bin/true", O_PATH | O_CLOEXEC);

	snprintf(store, sizeof(store), "%s/store", scratch);
	snprintf(config, sizeof(config), "%s/config", scratch);
	return sandbox_files_keeper(&(struct sandbox_keeper_files){
		.store = store, .read = read, .n_read = 1, .exe_fds = { exe, -1 } });
}

static int as_nothing(void)
{
	return 0;
}

/* A listener is one object for all who hold it: one who shuts it down does so for good and for all. */
static int try_shutdown_listener(void)
{
	return done(shutdown(listening, SHUT_RDWR));
}

static int as_keeper(void)
{
	int r = sandbox_keep_caps(0);

	if (r == 0)
		r = keeper_files();
	return r == 0 || r == -EOPNOTSUPP ? sandbox_seccomp_keeper(0) : r;
}

/* seccomp alone must not be what guards files. */
static int as_keeper_files(void)
{
	int r = sandbox_keep_caps(0);

	return r == 0 ? keeper_files() : r;
}

static int as_server(void)
{
	int r = sandbox_keep_caps(0);

	if (r == 0)
		r = sandbox_files_server();
	return r == 0 || r == -EOPNOTSUPP ? sandbox_seccomp_server() : r;
}

static int as_observer(void)
{
	int r = sandbox_keep_caps(0);

	return r == 0 ? sandbox_seccomp_observer() : r;
}

static int as_server_files(void)
{
	int r = sandbox_keep_caps(0);

	return r == 0 ? sandbox_files_server() : r;
}

/* 0, -errno of @what, or DIED + the signal it ended by. 2000: the sandbox could not be made. */
static int tried(int (*where)(void), int (*what)(void))
{
	int out[2], r = 0, status;
	pid_t pid;

	ASSERT_OK(pipe2(out, O_CLOEXEC));
	pid = fork();
	ASSERT_TRUE(pid >= 0);
	if (pid == 0) {
		r = where();
		r = r < 0 ? 2000 : what();
		if (write(out[1], &r, sizeof(r)) != (ssize_t)sizeof(r))
			_exit(1);
		_exit(0);
	}
	close(out[1]);
	if (read(out[0], &r, sizeof(r)) != (ssize_t)sizeof(r))
		r = 0; /* killed, or it has become another program */
	close(out[0]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? DIED + WTERMSIG(status) : r;
}

static void file_make(char *ret, size_t size, const char *dir)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch, dir);
	ASSERT_OK(mkdir(path, 0700));
	snprintf(ret, size, "%s/file", path);
	fd = open(ret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_TRUE(fd >= 0);
	close(fd);
}

/* On an abstract name of the kernel's choice (unix(7), "Autobind feature"). */
static int listen_any(void)
{
	struct sockaddr name = { .sa_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ASSERT_LE(0, fd);
	ASSERT_OK(bind(fd, &name, sizeof(name.sa_family)));
	ASSERT_OK(listen(fd, 1));
	return fd;
}

FIXTURE(sandbox)
{
	bool landlock;
};

FIXTURE_SETUP(sandbox)
{
	strcpy(scratch, "/tmp/sandbox-XXXXXX");
	ASSERT_NOT_NULL(mkdtemp(scratch));
	file_make(in_store, sizeof(in_store), "store");
	file_make(in_config, sizeof(in_config), "config");
	file_make(elsewhere, sizeof(elsewhere), "elsewhere");
	listening = listen_any();
	self->landlock = tried(as_server_files, try_page) == 0;
}

FIXTURE_TEARDOWN(sandbox)
{
	char command[128];

	close(listening);
	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	EXPECT_EQ(0, system(command));
}

/* --- the tests ------------------------------------------------------------------------------ */

/* Otherwise a refusal below proves nothing. */
TEST_F(sandbox, everything_works_outside)
{
	EXPECT_EQ(0, tried(as_nothing, try_socket_inet));
	EXPECT_EQ(0, tried(as_nothing, try_socket_netlink));
	EXPECT_EQ(0, tried(as_nothing, try_exec));
	EXPECT_EQ(0, tried(as_nothing, try_exe));
	EXPECT_EQ(0, tried(as_nothing, try_ptrace));
	EXPECT_EQ(0, tried(as_nothing, try_read_process));
	EXPECT_EQ(0, tried(as_nothing, try_exec_page));
	EXPECT_EQ(0, tried(as_nothing, try_write_config));
	EXPECT_EQ(0, tried(as_nothing, try_write_elsewhere));
	EXPECT_EQ(0, tried(as_nothing, try_kill_parent));
	EXPECT_EQ(0, tried(as_nothing, try_signal_parent));
	EXPECT_EQ(0, tried(as_nothing, try_make_blocking));
	EXPECT_EQ(0, tried(as_nothing, try_shutdown_listener));
}

TEST_F(sandbox, keeper_can_do_its_work)
{
	EXPECT_EQ(0, tried(as_keeper, try_socket_unix));
	EXPECT_EQ(0, tried(as_keeper, try_fork));
	EXPECT_EQ(0, tried(as_keeper, try_page));
	EXPECT_EQ(0, tried(as_keeper, try_read_store));
	EXPECT_EQ(0, tried(as_keeper, try_write_store));
	EXPECT_EQ(0, tried(as_keeper, try_read_config));
	EXPECT_EQ(0, tried(as_keeper, try_read_passwd));
	EXPECT_EQ(0, tried(as_keeper, try_exe));
}

TEST_F(sandbox, keeper_calls_refused)
{
	EXPECT_ERR(-EPERM, tried(as_keeper, try_socket_inet));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_socket_netlink));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_exec));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_ptrace));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_read_process));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_unshare));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_bpf));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_module));
	EXPECT_ERR(-EPERM, tried(as_keeper, try_mount));
}

TEST_F(sandbox, keeper_files_refused)
{
	if (!self->landlock)
		SKIP("this kernel has no Landlock");
	EXPECT_EQ(0, tried(as_keeper_files, try_read_store));
	EXPECT_EQ(0, tried(as_keeper_files, try_write_store));
	EXPECT_EQ(0, tried(as_keeper_files, try_read_config));
	EXPECT_ERR(-EACCES, tried(as_keeper_files, try_write_config));
	EXPECT_ERR(-EACCES, tried(as_keeper_files, try_read_elsewhere));
	EXPECT_ERR(-EACCES, tried(as_keeper_files, try_write_elsewhere));
	EXPECT_ERR(-EACCES, tried(as_keeper_files, try_write_etc));
	EXPECT_EQ(0, tried(as_keeper_files, try_exec)); /* the one program: stands for kekd */
	EXPECT_ERR(-EACCES, tried(as_keeper_files, try_exec_other));
}

TEST_F(sandbox, server_can_do_its_work)
{
	EXPECT_EQ(0, tried(as_server, try_page));
	EXPECT_EQ(0, tried(as_server, try_make_nonblocking));
}

TEST_F(sandbox, server_calls_refused)
{
	EXPECT_ERR(-EPERM, tried(as_server, try_socket_inet));
	EXPECT_ERR(-EPERM, tried(as_server, try_fork));
	EXPECT_ERR(-EPERM, tried(as_server, try_exec_page));
	EXPECT_ERR(-EPERM, tried(as_server, try_read_passwd));
	EXPECT_ERR(-EPERM, tried(as_server, try_kill_parent));
	EXPECT_ERR(-EPERM, tried(as_server, try_signal_parent));
	EXPECT_ERR(-EPERM, tried(as_server, try_make_blocking));
	EXPECT_ERR(-EPERM, tried(as_server, try_shutdown_listener));
}

/* It is of the servers' user, and of the holders'. */
TEST_F(sandbox, observer_signals_nobody)
{
	EXPECT_ERR(-EPERM, tried(as_observer, try_kill_parent));
	EXPECT_ERR(-EPERM, tried(as_observer, try_signal_parent));
	EXPECT_ERR(-EPERM, tried(as_observer, try_make_blocking));
}

TEST_F(sandbox, server_dies_of_what_only_an_attacker_does)
{
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_exec));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_ptrace));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_read_process));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_unshare));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_uring));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_bpf));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_module));
	EXPECT_EQ(DIED + SIGSYS, tried(as_server, try_mount));
}

TEST_F(sandbox, server_has_no_file_even_without_seccomp)
{
	if (!self->landlock)
		SKIP("this kernel has no Landlock");
	EXPECT_ERR(-EACCES, tried(as_server_files, try_read_passwd));
	EXPECT_ERR(-EACCES, tried(as_server_files, try_read_store));
	EXPECT_ERR(-EACCES, tried(as_server_files, try_read_config));
	EXPECT_ERR(-EACCES, tried(as_server_files, try_write_elsewhere));
	EXPECT_ERR(-EACCES, tried(as_server_files, try_exec));
}

TEST_HARNESS_MAIN
