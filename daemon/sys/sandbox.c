/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prctl(2), capabilities(7), seccomp(2). A change of uid clears the parent-death signal and may
 * set "dumpable" from fs.suid_dumpable (kernel/cred.c, commit_creds), so both are set again after
 * it.
 */
#include "daemon/sys/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/base/cleanup.h"

static int no_dump(void)
{
	struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	return 0;
}

int sandbox_init(void)
{
	umask(077);
	return no_dump();
}

static int limit_raise(__rlimit_resource_t what, uint64_t want)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0)
		return -errno;
	if (l.rlim_cur >= want)
		return 0;
	l.rlim_cur = want;
	if (l.rlim_max < want)
		l.rlim_max = want;
	return setrlimit(what, &l) < 0 ? -errno : 0;
}

int sandbox_limits(uint64_t memlock, uint64_t nofile)
{
	int r;

	r = limit_raise(RLIMIT_MEMLOCK, memlock);
	if (r < 0)
		return r;
	return limit_raise(RLIMIT_NOFILE, nofile);
}

/* Drops what is not in @mask from the bounding set; needs CAP_SETPCAP, so it comes first. */
static int bounding_set(uint64_t mask)
{
	int there;

	for (int cap = 0; (there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++) {
		if (there == 0 || mask & (UINT64_C(1) << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

int sandbox_keep_caps(uint64_t mask)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };
	int r = syscall(SYS_capget, &h, d) < 0 ? -errno : 0;

	if (r == 0)
		r = bounding_set(mask);
	if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		r = -errno;
	for (size_t i = 0; i < ARRAY_SIZE(d); i++) {
		d[i].permitted &= (uint32_t)(mask >> (32 * i));
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	if (r == 0 && syscall(SYS_capset, &h, d) < 0)
		r = -errno;
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r;
}

int sandbox_drop_all(uid_t uid, gid_t gid)
{
	int r;

	if (geteuid() != 0)
		return sandbox_keep_caps(0);
	r = bounding_set(0);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	r = sandbox_keep_caps(0);
	return r == 0 ? no_dump() : r;
}

int sandbox_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}
