/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files each process may touch. The keeper's rules hold for the servers it starts as well, so
 * they name what starting a program reads; a server then gives up all of it.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/sys/landlock.h"

#define PATHS_MAX 192

/*
 * For every keeper: the dynamic loader and the libraries, where users and groups are looked up
 * at a reload, and what the C library and libcrypto ask of the machine. All of /etc, since a rule
 * holds for an inode and adding a user makes /etc/passwd a new one.
 */
static const struct landlock_path keeper_common[] = {
	{ .path = "/lib64/ld-linux-x86-64.so.2", .rights = LANDLOCK_EXEC },
	{ .path = "/lib/ld-linux-aarch64.so.1", .rights = LANDLOCK_EXEC },
	{ .path = "/usr/lib", .rights = LANDLOCK_READ },
	{ .path = "/usr/local/lib", .rights = LANDLOCK_READ },
	{ .path = "/lib", .rights = LANDLOCK_READ },
	{ .path = "/lib64", .rights = LANDLOCK_READ },
	{ .path = "/etc", .rights = LANDLOCK_READ },
	{ .path = "/usr/share/zoneinfo", .rights = LANDLOCK_READ },
	{ .path = "/dev/urandom", .rights = LANDLOCK_READ },
	{ .path = "/proc/sys", .rights = LANDLOCK_READ },
#ifdef __SANITIZE_ADDRESS__
	{ .path = "/proc", .rights = LANDLOCK_READ },
#endif
	{ .path = "/sys/devices/system/cpu", .rights = LANDLOCK_READ },
};

struct path_list {
	struct landlock_path v[PATHS_MAX];
	size_t n;
};

static void files_add(struct path_list *l, struct landlock_path p)
{
	if (l->n < PATHS_MAX)
		l->v[l->n++] = p;
}

static void add_all(struct path_list *l, const char *const *paths, size_t n, unsigned int rights)
{
	for (size_t i = 0; i < n; i++)
		files_add(l, (struct landlock_path){ .path = paths[i], .rights = rights });
}

int sandbox_files_keeper(const struct sandbox_keeper_files *files)
{
	struct path_list l = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(keeper_common); i++)
		files_add(&l, keeper_common[i]);
	for (size_t i = 0; i < ARRAY_SIZE(files->exe_fds); i++)
		if (files->exe_fds[i] >= 0)
			files_add(&l, (struct landlock_path){ .fd = files->exe_fds[i],
							      .rights = LANDLOCK_EXEC });
	files_add(&l, (struct landlock_path){ .path = files->store, .rights = LANDLOCK_STORE });
	add_all(&l, files->read, files->n_read, LANDLOCK_READ);
	add_all(&l, files->sockets, files->n_sockets, LANDLOCK_STORE | LANDLOCK_SOCKET);
	return landlock_restrict(l.v, l.n, false);
}

int sandbox_files_server(void)
{
	return landlock_restrict(NULL, 0, true);
}

/* "/" of a file at the top. */
static char *directory(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

#define CLUSTER_FILES 3

int sandbox_files_cluster(const char *const *files, size_t n, const uint16_t *ports, size_t n_ports)
{
	struct landlock_path paths[CLUSTER_FILES];
	char *dirs[CLUSTER_FILES] = { 0 };
	size_t n_paths = 0;
	int r = n > CLUSTER_FILES ? -E2BIG : 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!*files[i])
			continue;
		dirs[n_paths] = directory(files[i]);
		if (!dirs[n_paths])
			r = -ENOMEM;
		paths[n_paths] =
			(struct landlock_path){ .path = dirs[n_paths], .rights = LANDLOCK_READ };
		n_paths++;
	}
	if (r == 0)
		r = landlock_restrict_but(paths, n_paths, ports, n_ports);
	for (size_t i = 0; i < CLUSTER_FILES; i++)
		free(dirs[i]);
	return r;
}
