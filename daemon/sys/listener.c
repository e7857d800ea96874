/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix listeners that are never reachable by the wrong peer and never take a name from the living.
 *
 * Directory. Whoever can rename in a directory on the way can put a socket of his own in our place
 * and be sent seeds. O_NOFOLLOW guards the last component only, so the path is walked: each
 * directory is opened below the one before, without following links, and must belong to root or to
 * us and be writable by nobody else, unless sticky (where others cannot touch our entries). After
 * that, the path as text and the directory we hold are the same thing for anyone but root and us.
 * A symbolic link on the way is refused even if root made it (/var/run): the cure is one word long.
 *
 * Permissions. The umask gives the socket file its final mode as it comes into being. The group
 * follows by chown *before* listen(2): until then every connect fails with ECONNREFUSED
 * (net/unix/af_unix.c unix_stream_connect asks for TCP_LISTEN), so there is no moment at which a
 * wrong group could get in. Not used: chmod afterwards; setegid or setfsgid around bind, which
 * clears the process's dumpable flag and its parent-death signal as a side effect (kernel/cred.c
 * commit_creds); a temporary name and rename, after which ss(8) shows the temporary name for ever.
 *
 * Stale sockets. A file left by a crash is removed only if it is a socket and connect(2) says
 * ECONNREFUSED: nobody listens. Two daemons that start at once are kept apart by a lock on
 * NAME.lock, held from the first look to listen(2), because a name that is bound but not yet listening
 * looks dead. The lock is a file that only its owner can open (locking the directory itself would
 * let any user who can read it keep us from starting), and it stays behind: removing it would
 * reopen the race. A program that does not know the lock and binds in the instant between the last look
 * at the dead file and its unlinking loses its name; that is all that is left of the race.
 *
 * Orphans. A listening socket lives as long as any copy of its descriptor. If the process that made it
 * is gone (SO_PEERCRED of a connected socket names it, unix(7)) and the socket still answers, a child
 * that is being killed holds it: that is waited for, a bounded time.
 */
#include "daemon/sys/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/log.h"
#include "daemon/sys/loopback.h"

#define PASSED_FD_FIRST 3   /* SD_LISTEN_FDS_START */
#define ORPHAN_PAUSES   500 /* of 10 ms: a child that is being killed is gone long before */

/* A name in a directory that has been checked. */
struct place {
	const char *path; /* borrowed */
	const char *base; /* points into path */
	int dir;          /* O_PATH, owned */
};

static void place_release(struct place *p)
{
	closep(&p->dir);
}

static int check_path(const char *path, struct sockaddr_un *ret)
{
	const char *base = path[0] == '/' ? strrchr(path, '/') + 1 : "";
	size_t len = strlen(path);

	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
		log_error("listener: '%s': a socket needs an absolute path; abstract names have no "
			  "permissions and are not supported",
			  path);
		return -EINVAL;
	}
	if (len >= sizeof(ret->sun_path)) {
		log_error("listener: '%s': longer than the %zu bytes of a socket's name", path,
			  sizeof(ret->sun_path) - 1);
		return -ENAMETOOLONG;
	}
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, len);
	return 0;
}

/* Directory @name below @dir, without following a link. *@ret_fd: O_PATH, owned by the caller. */
static int open_below(int dir, const char *name, int *ret_fd)
{
	struct stat st;
	int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOTDIR && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISLNK(st.st_mode))
			return -ELOOP;
		return -errno;
	}
	*ret_fd = fd;
	return 0;
}

static int listener_check_dir(int dir)
{
	struct stat st;

	if (fstat(dir, &st) < 0)
		return -errno;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
		return -EPERM;
	return 0;
}

static void log_dir(const char *dir, int r)
{
	const char *cure = "create it first, for root or the daemon's user only";

	if (r == -ELOOP)
		cure = "it is a symbolic link: name the directory it points to";
	else if (r == -EPERM)
		cure = "it must belong to root or this user, and nobody else may write there";
	log_error("listener: directory '%s': %s: %s", dir, errno_text(r), cure);
}

/* Walk to the directory of @path, see above. @ret borrows @path. */
static int place_open(const char *path, struct place *ret)
{
	char way[LISTENER_PATH_MAX];
	const char *base = strrchr(path, '/') + 1;
	_cleanup_close_ int dir = -1;
	char *next, *name;
	int r, fd = -1;

	memcpy(way, path, (size_t)(base - path));
	way[base - path] = '\0';
	name = way;
	r = open_below(AT_FDCWD, "/", &dir);
	while (r == 0) {
		r = listener_check_dir(dir);
		if (r < 0) {
			name[name == way] = '\0'; /* for the log: the way up to here */
			break;
		}
		name += strspn(name, "/");
		if (*name == '\0')
			break;
		next = name + strcspn(name, "/");
		*next = '\0';
		r = open_below(dir, name, &fd);
		if (r < 0)
			break;
		close(dir);
		dir = fd;
		*next = '/';
		name = next;
	}
	if (r < 0) {
		log_dir(way, r);
		return r;
	}
	*ret = (struct place){ .path = path, .base = base, .dir = move_fd(dir) };
	return 0;
}

/* The lock that covers the name. *@ret_fd holds it until closed. */
static int place_lock(const struct place *p, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	char name[LISTENER_PATH_MAX + sizeof(".lock")];
	struct stat st;

	snprintf(name, sizeof(name), "%s.lock", p->base);
	fd = openat(p->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()))
		return -EPERM;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
	*ret_fd = move_fd(fd);
	return 0;
}

static int place_lock_logged(const struct place *p, int *ret_fd)
{
	int r = place_lock(p, ret_fd);

	if (r == -EADDRINUSE)
		log_error("listener: '%s': another process is starting on it", p->path);
	else if (r < 0)
		log_error("listener: '%s.lock': %s: it must be a plain file that this user can "
			  "write; remove it if it is not",
			  p->path, errno_text(r));
	return r;
}

static int bind_with_mode(int fd, const struct sockaddr_un *addr, mode_t mode)
{
	mode_t old = umask(0777 & ~mode);
	int r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

	umask(old);
	return r;
}

/* What a knock at a socket brings, beside -errno. */
enum { KNOCK_DEAD, KNOCK_ALIVE, KNOCK_ORPHAN };

/* Has the process ended, reaped or not? A process we cannot look at is taken to live. */
static bool has_ended(pid_t pid)
{
	_cleanup_close_ int fd = -1;
	struct pollfd p = { .events = POLLIN };

	if (pid <= 0)
		return false;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH;
	p.fd = fd;
	return poll(&p, 1, 0) == 1;
}

static int knock(const struct sockaddr_un *addr, int type)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred owner = { 0 };
	socklen_t len = sizeof(owner);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return errno == ECONNREFUSED ? KNOCK_DEAD : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &len) < 0)
		return -errno;
	return has_ended(owner.pid) ? KNOCK_ORPHAN : KNOCK_ALIVE;
}

static bool same_file(const struct stat *a, dev_t dev, ino_t ino)
{
	return a->st_dev == dev && a->st_ino == ino;
}

/* Remove what a crash left, under the lock. -EADDRINUSE for everything that is not proven dead. */
static int remove_dead(const struct place *p, const struct sockaddr_un *addr, int type)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	struct stat before, after;
	int r;

	if (fstatat(p->dir, p->base, &before, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(before.st_mode)) {
		log_error("listener: '%s' exists and is not a socket: remove it by hand or choose "
			  "another path",
			  p->path);
		return -EADDRINUSE;
	}
	r = knock(addr, type);
	for (unsigned int i = 0; r == KNOCK_ORPHAN && i < ORPHAN_PAUSES; i++) {
		nanosleep(&pause, NULL);
		r = knock(addr, type);
	}
	if (r != KNOCK_DEAD) {
		log_error("listener: '%s' is in use (%s): stop the process that listens there "
			  "(ss -xlp names it)",
			  p->path, r > 0 ? "it answers" : errno_text(r));
		return -EADDRINUSE;
	}
	if (fstatat(p->dir, p->base, &after, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!same_file(&after, before.st_dev, before.st_ino))
		return -EADDRINUSE;
	if (unlinkat(p->dir, p->base, 0) < 0 && errno != ENOENT)
		return -errno;
	log_info("listener: '%s': removed a socket that nobody listens on", p->path);
	return 0;
}

/* From bound to listening: group, proof that the file is as asked, listen. */
static int listener_publish(const struct place *p, int fd, mode_t mode, gid_t gid, struct stat *ret)
{
	struct stat st;

	if (gid != (gid_t)-1 && fchownat(p->dir, p->base, (uid_t)-1, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (fstatat(p->dir, p->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || (st.st_mode & 07777) != mode ||
	    (gid != (gid_t)-1 && st.st_gid != gid))
		return -EPERM;
	if (listen(fd, SOMAXCONN) < 0)
		return -errno;
	*ret = st;
	return 0;
}

/* A bound and listening socket at @p, whose lock is held. */
static int open_at(const struct place *p, const struct sockaddr_un *addr, int type, mode_t mode,
		   gid_t gid, struct stat *ret_st, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = bind_with_mode(fd, addr, mode);
	if (r == -EADDRINUSE) {
		r = remove_dead(p, addr, type);
		if (r < 0)
			return r;
		r = bind_with_mode(fd, addr, mode);
	}
	if (r < 0) {
		log_error("listener: '%s': bind: %s", p->path, errno_text(r));
		return r;
	}
	r = listener_publish(p, fd, mode, gid, ret_st);
	if (r < 0) {
		log_error("listener: '%s': group or mode could not be set: %s", p->path,
			  errno_text(r));
		unlinkat(p->dir, p->base, 0);
		return r;
	}
	*ret_fd = move_fd(fd);
	return 0;
}

int listener_open(const char *path, int type, mode_t mode, gid_t gid,
		  struct listener_name *ret_name, int *ret_fd)
{
	_cleanup_(place_release) struct place p = { .dir = -1 };
	_cleanup_close_ int lock = -1;
	struct sockaddr_un addr;
	struct stat st = { 0 };
	int r;

	if ((type != SOCK_STREAM && type != SOCK_SEQPACKET) || (mode & ~(mode_t)0777))
		return -EINVAL;
	r = check_path(path, &addr);
	if (r < 0)
		return r;
	r = place_open(path, &p);
	if (r < 0)
		return r;
	r = place_lock_logged(&p, &lock);
	if (r < 0)
		return r;
	r = open_at(&p, &addr, type, mode, gid, &st, ret_fd);
	if (r < 0)
		return r;
	if (ret_name) {
		memcpy(ret_name->path, addr.sun_path, sizeof(ret_name->path));
		ret_name->dev = st.st_dev;
		ret_name->ino = st.st_ino;
	}
	return 0;
}

int listener_unlink(const struct listener_name *name)
{
	_cleanup_(place_release) struct place p = { .dir = -1 };
	_cleanup_close_ int lock = -1;
	struct stat st;
	int r;

	r = place_open(name->path, &p);
	if (r < 0)
		return r;
	r = place_lock_logged(&p, &lock);
	if (r < 0)
		return r;
	if (fstatat(p.dir, p.base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode) || !same_file(&st, name->dev, name->ino))
		return -ESTALE;
	return unlinkat(p.dir, p.base, 0) < 0 ? -errno : 0;
}

/* A decimal number of at most @max and nothing else. */
static int parse_number(const char *s, unsigned long max, unsigned long *ret)
{
	unsigned long n;
	char *end;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(s, &end, 10);
	if (errno != 0 || *end != '\0' || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* $LISTEN_FDS if $LISTEN_PID is us, otherwise 0. */
static int passed_count(unsigned long *ret)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	unsigned long n;

	if (!pid || !fds) {
		*ret = 0;
		return 0;
	}
	if (parse_number(pid, INT_MAX, &n) < 0)
		return -EINVAL;
	if (n != (unsigned long)getpid()) {
		*ret = 0;
		return 0;
	}
	return parse_number(fds, INT_MAX - PASSED_FD_FIRST, ret);
}

static int int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value;

	if (getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0)
		return -errno;
	return value;
}

static int check_passed(int fd)
{
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr);
	int type = int_option(fd, SO_TYPE);

	if (loopback_is_any(fd))
		return 0;
	if (int_option(fd, SO_DOMAIN) != AF_UNIX || (type != SOCK_STREAM && type != SOCK_SEQPACKET))
		return -EINVAL;
	if (int_option(fd, SO_ACCEPTCONN) != 1)
		return -EINVAL;
	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	return addr.sun_path[0] == '/' ? 0 : -EINVAL;
}

/* The next of the names in *@names, which moves on. */
static int listener_take_name(const char **names, char *ret, size_t size)
{
	size_t len = *names ? strcspn(*names, ":") : 0;

	if (len >= size)
		return -EINVAL;
	if (!*names) {
		snprintf(ret, size, "unknown");
		return 0;
	}
	memcpy(ret, *names, len);
	ret[len] = '\0';
	*names = (*names)[len] == ':' ? *names + len + 1 : NULL;
	return 0;
}

static int take_passed(struct listener_passed *ret, int fd, const char **names)
{
	struct listener_passed one = { .fd = fd };
	int flags = fcntl(fd, F_GETFD);
	int r;

	if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
		return -errno;
	r = listener_take_name(names, one.name, sizeof(one.name));
	if (r == 0)
		r = check_passed(fd);
	if (r < 0) {
		log_error(
			"listener: descriptor %d passed by systemd is not a listening Unix socket "
			"with a path, nor one of TCP on a loopback address: see ListenStream= and Accept=no",
			fd);
		return r;
	}
	*ret = one;
	return 0;
}

int listener_from_systemd(struct listener_passed *ret, size_t max, size_t *ret_n)
{
	const char *names = getenv("LISTEN_FDNAMES");
	unsigned long n = 0;
	int r = passed_count(&n);

	if (r < 0)
		log_error("listener: $LISTEN_PID or $LISTEN_FDS is not a number");
	else if (n > max)
		r = -E2BIG;
	if (r == -E2BIG)
		log_error("listener: systemd passed %lu sockets, %zu can be used", n, max);
	if (r == 0) {
		for (size_t i = 0; i < n && r == 0; i++)
			r = take_passed(&ret[i], PASSED_FD_FIRST + (int)i, &names);
		for (size_t i = 0; i < n && r < 0; i++)
			close(PASSED_FD_FIRST + (int)i);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_PIDFDID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (r < 0)
		return r;
	*ret_n = n;
	return 0;
}

int peer_cred(int fd, struct op_peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*ret = (struct op_peer){ .pid = cred.pid, .uid = cred.uid, .gid = cred.gid };
	return 0;
}
