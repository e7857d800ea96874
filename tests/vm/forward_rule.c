/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge's sockets on the host.  Each is bound beside its place, under a name of our own, and
 * linked to its place once the guest is ready: link(2), unlike rename(2), replaces nothing.
 *
 * Kernel caveat: a path in a socket's address may have 107 bytes.  Ours goes by /proc/self/fd, so
 * only the name that clients use has to fit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "forward.h"

/* Removes a socket file that nobody answers at; -EADDRINUSE for anything else.  The type counts:
 * a connect() to a file of another type is refused as well. */
static int remove_dead_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, r = -EADDRINUSE;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED)
		r = unlink(path) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* Opens the directory of a path; *ret_name is the rest of it. */
static int open_parent(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	if (!slash || slash[1] == '\0')
		return -EINVAL;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	fd = open(slash == path ? "/" : dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_name = slash + 1;
	return fd;
}

static int bind_here(int fd, int dir, const char *name, ino_t *ret_ino)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int r;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir, name);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret_ino = st.st_ino;
	return 0;
}

int rule_listen(struct rule *rule, uint32_t number)
{
	const char *name;
	int r;

	r = remove_dead_socket(rule->path);
	if (r < 0)
		return r;
	rule->dir = open_parent(rule->path, &name);
	if (rule->dir < 0)
		return rule->dir;
	rule->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (rule->listener < 0)
		return -errno;
	snprintf(rule->temporary, sizeof(rule->temporary), ".forward-%d-%u", getpid(), number);
	r = bind_here(rule->listener, rule->dir, rule->temporary, &rule->ino);
	if (r < 0)
		return r;
	return listen(rule->listener, BACKLOG) < 0 ? -errno : 0;
}

static const char *rule_name(const struct rule *rule)
{
	return strrchr(rule->path, '/') + 1;
}

int rule_publish(struct rule *rule)
{
	if (linkat(rule->dir, rule->temporary, rule->dir, rule_name(rule), 0) < 0)
		return -errno;
	unlinkat(rule->dir, rule->temporary, 0);
	rule->published = true;
	return 0;
}

void rule_withdraw(const struct rule *rule)
{
	const char *name = rule->published ? rule_name(rule) : rule->temporary;
	struct stat st;

	if (rule->dir >= 0 && fstatat(rule->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == rule->ino)
		unlinkat(rule->dir, name, 0);
}
