/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of users and groups become numbers. Apart from parsing, as it asks the host: a file can be
 * checked on another one.
 */
#include "daemon/chain/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "daemon/base/log.h"

/*
 * @e is the errno of the look-up: getpwnam(3) lists those that mean no more than "no such entry".
 */
static int resolve_fail(const struct config *c, struct yaml_error *err, const struct config_id *id,
			const char *what, int e)
{
	if (e == 0 || e == ENOENT || e == ESRCH || e == EBADF || e == EPERM)
		return yaml_error_set(err, c->file, id->line, id->column, "no such %s: \"%s\"",
				      what, yaml_shown(id->name));
	yaml_error_set(err, c->file, id->line, id->column, "cannot look up the %s \"%s\": %s", what,
		       yaml_shown(id->name), errno_text(e));
	return -e;
}

static int resolve_group(const struct config *c, struct yaml_error *err, struct config_id *id)
{
	const struct group *gr;

	if (!id->given || id->resolved)
		return 0;
	errno = 0;
	gr = getgrnam(id->name);
	if (!gr)
		return resolve_fail(c, err, id, "group", errno);
	id->id = gr->gr_gid;
	id->resolved = true;
	return 0;
}

static int resolve_user(const struct config *c, struct yaml_error *err, struct config_id *id)
{
	const struct passwd *pw;

	if (id->resolved)
		return 0;
	errno = 0;
	pw = getpwnam(id->name);
	if (!pw)
		return resolve_fail(c, err, id, "user", errno);
	id->id = pw->pw_uid;
	id->resolved = true;
	return 0;
}

static int resolve_server(struct config *c, struct yaml_error *err)
{
	struct config_id *id = &c->server_user;
	const struct passwd *pw;
	int r;

	r = resolve_user(c, err, id);
	if (r < 0)
		return r;
	if (id->id == 0)
		return yaml_error_set(err, c->file, id->line, id->column,
				      "the server's user must not be root");
	pw = getpwuid(id->id);
	c->server_gid = pw ? pw->pw_gid : id->id;
	return 0;
}

int config_resolve(struct config *c, struct yaml_error *err)
{
	int r;

	r = resolve_server(c, err);
	for (size_t i = 0; r == 0 && i < c->peer_uids.count; i++)
		r = resolve_user(c, err, &c->peer_uids.v[i]);
	for (size_t i = 0; r == 0 && i < c->peer_gids.count; i++)
		r = resolve_group(c, err, &c->peer_gids.v[i]);
	for (size_t i = 0; r == 0 && i < c->transform.uids.count; i++)
		r = resolve_user(c, err, &c->transform.uids.v[i]);
	for (size_t i = 0; r == 0 && i < c->transform.gids.count; i++)
		r = resolve_group(c, err, &c->transform.gids.v[i]);
	if (r == 0)
		r = resolve_group(c, err, &c->socket_group);
	if (r == 0)
		r = resolve_group(c, err, &c->admin_gid);
	return r;
}
