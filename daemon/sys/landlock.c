/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three system calls without a C library wrapper. The kernel tells its version, and everything that
 * version can forbid is forbidden; what it cannot is left, since asking for an unknown right fails
 * (security/landlock/syscalls.c). The attribute is declared here: Debian 12's header has only
 * its first member.
 *
 * Not seen by Landlock: open(2) with O_PATH, stat(2), and descriptors that are open already. So
 * the keeper's listeners, store directory and link go on working, and must be opened first.
 */
#include "daemon/sys/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/base/cleanup.h"

struct ruleset {
	uint64_t fs, net, scope;
};

#define FS_TRUNCATE   (UINT64_C(1) << 14) /* version 3 */
#define FS_IOCTL_DEV  (UINT64_C(1) << 15) /* version 5 */
#define FS_V1         (LANDLOCK_ACCESS_FS_REFER - 1)
#define NET_TCP       UINT64_C(3) /* bind, connect; version 4 */
#define NET_CONNECT   UINT64_C(2)
#define SCOPE_SOCKET  UINT64_C(1) /* abstract Unix sockets; version 6 */
#define SCOPE_SIGNAL  UINT64_C(2) /* version 6 */
#define RULE_NET_PORT 2           /* enum landlock_rule_type; version 4 */

#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define READ      (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define STORE                                                                 \
	(READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | FS_TRUNCATE)
/* What can be granted on a path that is no directory. */
#define OF_A_FILE \
	(LANDLOCK_ACCESS_FS_EXECUTE | READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

static void forbid_all(int version, bool no_abstract, struct ruleset *ret)
{
	ret->fs = FS_V1;
	ret->net = version >= 4 ? NET_TCP : 0;
	ret->scope = 0;
	if (version >= 2)
		ret->fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		ret->fs |= FS_TRUNCATE;
	if (version >= 5)
		ret->fs |= FS_IOCTL_DEV;
	if (version >= 6)
		ret->scope = SCOPE_SIGNAL | (no_abstract ? SCOPE_SOCKET : 0);
}

/* How much of the attribute this version knows: it refuses a longer one. */
static size_t ruleset_size(int version)
{
	if (version >= 6)
		return sizeof(struct ruleset);
	return version >= 4 ? offsetof(struct ruleset, scope) : offsetof(struct ruleset, net);
}

static uint64_t access_of(unsigned int rights)
{
	uint64_t access = 0;

	if (rights & LANDLOCK_READ)
		access |= READ;
	if (rights & LANDLOCK_STORE)
		access |= STORE;
	if (rights & LANDLOCK_SOCKET)
		access |= LANDLOCK_ACCESS_FS_MAKE_SOCK;
	if (rights & LANDLOCK_EXEC)
		access |= READ | LANDLOCK_ACCESS_FS_EXECUTE;
	return access;
}

static int allow_fd(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .parent_fd = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		access &= OF_A_FILE;
	rule.allowed_access = access;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return -errno;
	return 0;
}

static int allow(int ruleset, const struct landlock_path *p, uint64_t handled)
{
	uint64_t access = access_of(p->rights) & handled;
	_cleanup_close_ int fd = -1;

	if (!p->path)
		return allow_fd(ruleset, p->fd, access);
	fd = open(p->path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return allow_fd(ruleset, fd, access);
}

/* struct landlock_net_port_attr, which Debian 12's header has not. */
struct port_rule {
	uint64_t access, port;
};

static int restrict_to(const struct landlock_path *paths, size_t n, const uint16_t *ports,
		       size_t n_ports, bool no_abstract)
{
	_cleanup_close_ int fd = -1;
	struct ruleset rules;
	long version;
	int r = 0;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 0)
		return errno == ENOSYS || errno == EPERM ? -EOPNOTSUPP : -errno;
	forbid_all((int)version, no_abstract, &rules);
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, ruleset_size((int)version), 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = allow(fd, &paths[i], rules.fs);
	for (size_t i = 0; r == 0 && rules.net != 0 && i < n_ports; i++) {
		const struct port_rule rule = { .access = NET_CONNECT, .port = ports[i] };

		if (syscall(SYS_landlock_add_rule, fd, RULE_NET_PORT, &rule, 0) < 0)
			r = -errno;
	}
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		r = -errno;
	return r;
}

int landlock_restrict(const struct landlock_path *paths, size_t n, bool no_abstract)
{
	return restrict_to(paths, n, NULL, 0, no_abstract);
}

int landlock_restrict_but(const struct landlock_path *paths, size_t n, const uint16_t *ports,
			  size_t n_ports)
{
	return restrict_to(paths, n, ports, n_ports, true);
}
