/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process may no longer do. Every call here only takes away. The order in which the two
 * processes call them is visible in daemon/keeper/keeper.c and daemon/server/server.c.
 */
#ifndef KEKD_SYS_SANDBOX_H
#define KEKD_SYS_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* For both: not dumpable (no core, no ptrace, /proc/PID closed to others), core limit 0, umask 077. */
int sandbox_init(void);

#define SANDBOX_NO_LIMIT UINT64_MAX /* RLIM_INFINITY, as sandbox_limits() takes it */

/*
 * Raise the soft limits this process needs up to its hard ones, the hard one of RLIMIT_MEMLOCK too
 * where CAP_SYS_RESOURCE allows: @memlock bytes locked, @nofile descriptors. -EPERM when the hard
 * limit is too low and may not be raised.
 */
int sandbox_limits(uint64_t memlock, uint64_t nofile);

/*
 * Become @uid and @gid with no supplementary group, no capability in any set, an empty bounding
 * set and no_new_privs. Only for a process that starts as root; others get no_new_privs and keep their uid.
 */
int sandbox_drop_all(uid_t uid, gid_t gid);

/* Keep only the capabilities of @mask (1 << CAP_…), in the bounding set too; no_new_privs. */
int sandbox_keep_caps(uint64_t mask);

/* SIGKILL when the parent dies; -ESRCH if it has already. Lost by a change of credentials: call after. */
int sandbox_die_with(pid_t parent);

/*
 * The server's system calls, a list of what it needs to serve: no new socket, no key, no file by name, no
 * process, no new executable page. Everything else is EPERM; calls that only an attacker makes
 * (execve, ptrace, keyctl, bpf, …) kill the process.
 */
int sandbox_seccomp_server(void);

/*
 * The keeper's system calls: a list again, wider, as the servers it starts inherit it. Everything else
 * is EPERM, and reading a key kills. After every descriptor of the start is open. Keys go into the
 * keyring @ring or into the session and nowhere else; 0: there are none.
 */
int sandbox_seccomp_keeper(int32_t ring);

/* The maker's: see keys/maker.h. Everything else kills. */
int sandbox_seccomp_maker(void);

/* The holder's: see crypto/holder.h. read(2), write(2) and ending; everything else kills. */
int sandbox_seccomp_holder(void);

/* The observer's: connections of the listener it has, and nothing else. EPERM. */
int sandbox_seccomp_observer(void);

/*
 * Those of kekd-cluster: a client's TCP connections, files to read. Of the process that only starts it: that, and to
 * make a process and close its sandbox. EPERM.
 */
int sandbox_seccomp_cluster(void);
int sandbox_seccomp_launcher(void);

/* What a keeper may touch in the file system; all borrowed. */
struct sandbox_keeper_files {
	const char *store;       /* key store: read and write */
	const char *const *read; /* directories of the configuration */
	size_t n_read;
	const char *const *
		sockets; /* directories of sockets of ours: removed at the end, under a lock file */
	size_t n_sockets;
	int exe_fds[2]; /* the programs it starts; -1 for none */
};

/*
 * Landlock for the keeper and everything it starts. -EOPNOTSUPP where the kernel has none.
 * For the server: no file at all, by any name.
 */
int sandbox_files_keeper(const struct sandbox_keeper_files *files);
int sandbox_files_server(void);
/*
 * For kekd-cluster: the directories of @files (empty names are left out) to read, TCP to @ports, and nothing else.
 */
int sandbox_files_cluster(const char *const *files, size_t n, const uint16_t *ports,
			  size_t n_ports);

#endif
