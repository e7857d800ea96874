/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running keeper gives up, in the only order that works: capabilities with no_new_privs,
 * then files (needs no_new_privs), then system calls.
 *
 * A reload may name another file in the directories of the configuration it started with, not in
 * others: Landlock gives nothing back. Such a reload is refused, with the reason in the log.
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/keeper/keeper_private.h"
#include "daemon/sys/sandbox.h"

/*
 * What a running keeper still needs:
 *   NET_ADMIN       Linux 7.3 and later bind ecb(aes) only for it (kmod-notes/af_alg.md): new keys
 *   SETUID, SETGID, SETPCAP   to start a server that has none of this, and to end it
 */
#define CAP(c)      (UINT64_C(1) << (c))
#define KEEPER_CAPS (CAP(CAP_NET_ADMIN) | CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_SETPCAP))

/* Directories of files, cut out of their paths. */
struct dirs {
	char *v[CONFIG_SOCKETS_MAX + 5];
	size_t n;
};

static void dirs_free(struct dirs *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i]);
}

static int dirs_add(struct dirs *d, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;

	if (!slash)
		dir = strdup(".");
	else if (slash == path)
		dir = strdup("/");
	else
		dir = strndup(path, (size_t)(slash - path));
	if (!dir)
		return -ENOMEM;
	d->v[d->n++] = dir;
	return 0;
}

/* The sockets that sockets_close() will remove; those of systemd are systemd's. */
static int own_sockets(const struct keeper *k, struct dirs *ret)
{
	const struct config *c = k->conf->config;
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->n_listen; i++)
		if (k->listen_ours[i])
			r = dirs_add(ret, c->sockets.v[i]);
	if (r == 0 && k->admin_ours)
		r = dirs_add(ret, c->admin_socket);
	if (r == 0 && k->transform_ours)
		r = dirs_add(ret, c->transform.socket);
	if (r == 0 && k->metrics_ours)
		r = dirs_add(ret, c->metrics.listen);
	return r;
}

static int files(const struct keeper *k)
{
	_cleanup_(dirs_free) struct dirs config = { 0 };
	_cleanup_(dirs_free) struct dirs sockets = { 0 };
	int r;

	r = dirs_add(&config, k->opt->config_path);
	if (r == 0)
		r = dirs_add(&config, k->conf->config->encryption_config);
	if (r == 0)
		r = own_sockets(k, &sockets);
	if (r == 0 && k->conf->config->audit.file)
		r = dirs_add(&sockets, k->conf->config->audit.file);
	if (r < 0)
		return r;
	r = sandbox_files_keeper(&(struct sandbox_keeper_files){
		.store = k->conf->config->key_store,
		.read = (const char *const *)config.v,
		.n_read = config.n,
		.sockets = (const char *const *)sockets.v,
		.n_sockets = sockets.n,
		.exe_fds = { k->exe_fd, observer_exe(k) },
	});
	if (r != -EOPNOTSUPP)
		return r;
	log_warning("this kernel has no Landlock (security=… without it?): files are guarded by "
		    "capabilities and seccomp alone");
	return 0;
}

int lockdown(struct keeper *k)
{
	const char *what = "capabilities";
	int r;

	r = sandbox_keep_caps(KEEPER_CAPS);
	if (r == 0) {
		what = "file access (Landlock)";
		r = files(k);
	}
	if (r == 0) {
		what = "system calls (seccomp)";
		r = sandbox_seccomp_keeper(k->ring);
	}
	if (r < 0)
		log_error("cannot give up %s: %s", what, errno_text(r));
	return r;
}
