/* SPDX-License-Identifier: Apache-2.0 */
/* See units.h. */
#include "daemon/ctl/units.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/ctl/unitfile.h"

/* What the units of the package say. */
#define KMS_SOCKET   "/run/kekd/kms.sock"
#define ADMIN_SOCKET "/run/kekd/admin.sock"
#define METRICS      "127.0.0.1:9740"
#define STATE_DIR    "/var/lib/kekd"
#define RUN_DIR      "/run/kekd"

DEFINE_CLEANUP(struct unitfile *, unitfile_free);

static bool unit_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static const char *unit_id_text(const struct config_id *id, char ret[static 16])
{
	if (id->name)
		return id->name;
	snprintf(ret, 16, "%u", id->id);
	return ret;
}

/* --- what kekd.socket listens on: the KMS sockets, then those with the same mode and group ------ */

static const char *socket_at(const struct config *c, size_t i)
{
	bool metrics = c->metrics.listen && c->metrics.listen[0] == '/';

	if (i < c->sockets.count)
		return c->sockets.v[i];
	i -= c->sockets.count;
	if (c->transform.socket && i-- == 0)
		return c->transform.socket;
	return metrics && i == 0 ? c->metrics.listen : NULL;
}

/* --- drop-ins ---------------------------------------------------------------------------------- */

static void put_group(FILE *to, const struct config_id *group)
{
	char number[16];

	if (group->given)
		fprintf(to, "SocketGroup=%s\n", unit_id_text(group, number));
}

static bool units_put_kms(FILE *to, const struct config *c)
{
	/* As the unit is shipped. */
	if (!socket_at(c, 1) && strcmp(socket_at(c, 0), KMS_SOCKET) == 0 &&
	    c->socket_mode == 0600 && !c->socket_group.given)
		return false;
	fputs("[Socket]\nListenStream=\n", to);
	for (size_t i = 0; socket_at(c, i); i++)
		fprintf(to, "ListenStream=%s\n", socket_at(c, i));
	fprintf(to, "SocketMode=%04o\n", c->socket_mode);
	put_group(to, &c->socket_group);
	return true;
}

static bool put_admin(FILE *to, const struct config *c)
{
	if (strcmp(c->admin_socket, ADMIN_SOCKET) == 0 && !c->admin_gid.given)
		return false;
	fprintf(to, "[Socket]\nListenStream=\nListenStream=%s\nSocketMode=%s\n", c->admin_socket,
		c->admin_gid.given ? "0660" : "0600");
	put_group(to, &c->admin_gid);
	return true;
}

static bool put_metrics(FILE *to, const struct config *c)
{
	const char *listen = c->metrics.listen;

	if (!listen || listen[0] == '/' || strcmp(listen, METRICS) == 0)
		return false;
	fprintf(to, "[Socket]\nListenStream=\nListenStream=%s\n", listen);
	return true;
}

/* kekd makes the last directory of the key store itself. */
static bool put_service(FILE *to, const struct config *c)
{
	const char *const paths[] = { c->key_store, c->audit.file };
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		int len;

		/* The unit that is shipped may write to these. */
		if (!paths[i] || unit_is_below(paths[i], STATE_DIR) ||
		    unit_is_below(paths[i], RUN_DIR))
			continue;
		/* Its directory, "/" at least: paths of the configuration are absolute. */
		len = (int)(strrchr(paths[i], '/') - paths[i]) ?: 1;
		fprintf(to, "[Unit]\nRequiresMountsFor=%.*s\n[Service]\nReadWritePaths=%.*s\n", len,
			paths[i], len, paths[i]);
		any = true;
	}
	return any;
}

const struct unit_dropin unit_dropins[] = {
	{ "kekd.socket", units_put_kms },
	{ "kekd-admin.socket", put_admin },
	{ "kekd-metrics.socket", put_metrics },
	{ "kekd.service", put_service },
	{ 0 },
};

/* --- the comparison ---------------------------------------------------------------------------- */

struct checking {
	const struct config *c;
	const char *root;
	units_finding_fn *found;
	void *ctx;
	int problems;
};

#define WRITE_UNITS "kekctl config units"

static void units_report(struct checking *k, bool problem, const char *cure, const char *fmt, ...)
	_printf_(4, 5);
static void units_report(struct checking *k, bool problem, const char *cure, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->problems += problem;
	k->found(k->ctx, problem, text, cure);
}

/* Mode and group, as systemd takes them: a mode of 0666 and root's group if nothing is said. */
static void check_mode(struct checking *k, const struct unitfile *u, const char *name,
		       unsigned int mode, const struct config_id *group, const char *fields)
{
	const char *has_mode = unitfile_value(u, "SocketMode"),
		   *has_group = unitfile_value(u, "SocketGroup");
	unsigned long seen = *has_mode ? strtoul(has_mode, NULL, 8) : 0666;
	char number[16] = "";
	const char *want = group->given ? unit_id_text(group, number) : "";
	const struct group *gr = NULL;

	if (seen != mode)
		units_report(k, true, WRITE_UNITS,
			     "%s has SocketMode=%04lo, and %s of kekd.yaml %04o", name, seen,
			     fields, mode);
	if (strcmp(want, has_group) == 0)
		return;
	if (group->given && *has_group)
		gr = getgrnam(group->name ? group->name : has_group);
	snprintf(number, sizeof(number), "%u", gr ? gr->gr_gid : 0);
	if (!gr || strcmp(number, group->name ? has_group : want) != 0)
		units_report(k, true, WRITE_UNITS,
			     "%s has SocketGroup=%s, and %s of kekd.yaml \"%s\"", name, has_group,
			     fields, want);
}

/* kekd does not start if systemd passes a socket that nobody has configured. */
static void check_extra(struct checking *k, struct unitfile *u, const char *name,
			const char *const *wanted)
{
	const char *word;

	for (unsigned int at = 0; (word = unitfile_word(u, "ListenStream", &at));) {
		bool known = false;

		for (const char *const *w = wanted; *w; w++)
			known = known || strcmp(word, *w) == 0;
		if (!known)
			units_report(
				k, true, WRITE_UNITS,
				"%s has ListenStream=%s, which kekd.yaml does not name: kekd does "
				"not start with it",
				name, word);
	}
}

/* kekd itself makes a socket in /run/kekd that systemd does not pass. It is gone while kekd restarts, and its group is root. */
static void check_missing(struct checking *k, struct unitfile *u, const char *name,
			  const char *address, bool has_group)
{
	bool made = unit_is_below(address, RUN_DIR) && !has_group;
	const char *word;

	for (unsigned int at = 0; (word = unitfile_word(u, "ListenStream", &at));)
		if (strcmp(word, address) == 0)
			return;
	units_report(k, !made, WRITE_UNITS, "%s has no ListenStream=%s, which kekd.yaml names: %s",
		     name, address,
		     made ? "it is gone while kekd restarts" : "kekd cannot make it");
}

static void check_kms(struct checking *k, struct unitfile *u)
{
	const char *wanted[CONFIG_SOCKETS_MAX + 3] = { 0 };

	for (size_t i = 0; socket_at(k->c, i); i++) {
		wanted[i] = socket_at(k->c, i);
		check_missing(k, u, "kekd.socket", wanted[i], k->c->socket_group.given);
	}
	check_extra(k, u, "kekd.socket", wanted);
	check_mode(k, u, "kekd.socket", k->c->socket_mode, &k->c->socket_group,
		   "socketMode and socketGroup");
}

static void check_admin(struct checking *k, struct unitfile *u)
{
	const char *const wanted[] = { k->c->admin_socket, NULL };

	check_missing(k, u, "kekd-admin.socket", wanted[0], k->c->admin_gid.given);
	check_extra(k, u, "kekd-admin.socket", wanted);
	check_mode(k, u, "kekd-admin.socket", k->c->admin_gid.given ? 0660 : 0600, &k->c->admin_gid,
		   "admin.gid");
}

/* The unit is enabled by a link and nothing else, as the service needs it only if kekd.yaml names an address. */
static bool is_enabled(const struct checking *k, const char *unit)
{
	static const char *const dirs[] = { "/etc/systemd/system", "/run/systemd/system",
					    "/usr/lib/systemd/system", "/lib/systemd/system" };
	char path[512];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s/sockets.target.wants/%s", k->root, dirs[i],
			 unit);
		if (lstat(path, &st) == 0)
			return true;
	}
	return false;
}

static void check_metrics(struct checking *k, struct unitfile *u)
{
	const char *listen = k->c->metrics.listen;

	if (!listen || listen[0] == '/')
		return;
	check_missing(k, u, "kekd-metrics.socket", listen, false);
	if (!is_enabled(k, "kekd-metrics.socket"))
		units_report(
			k, true, "systemctl enable --now kekd-metrics.socket",
			"kekd-metrics.socket is not enabled, and kekd.service has no network to "
			"listen on %s, metrics.listen of kekd.yaml",
			listen);
}

static void check_writable(struct checking *k, struct unitfile *u, const char *path,
			   const char *field)
{
	const char *word;

	if (unit_is_below(path, STATE_DIR))
		return;
	for (unsigned int at = 0; (word = unitfile_word(u, "ReadWritePaths", &at));) {
		word += strspn(word, "-+");
		if (strcmp(word, "/") == 0 || unit_is_below(path, word))
			return;
	}
	units_report(k, true, WRITE_UNITS, "kekd.service may not write %s, %s of kekd.yaml", path,
		     field);
}

/* The service sees an empty /home, /root and /tmp; no drop-in of ours opens them. */
static void check_seen(struct checking *k, const struct unitfile *u, const char *path,
		       const char *field)
{
	static const struct {
		const char *dir, *setting;
	} hidden[] = {
		{ "/home", "ProtectHome" },     { "/root", "ProtectHome" },
		{ "/run/user", "ProtectHome" }, { "/tmp", "PrivateTmp" },
		{ "/var/tmp", "PrivateTmp" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (unit_is_below(path, hidden[i].dir) && unitfile_is_on(u, hidden[i].setting))
			units_report(k, true, "move it: below /etc/kekd or /var/lib/kekd",
				     "kekd.service has %s=yes and does not see %s, %s of kekd.yaml",
				     hidden[i].setting, path, field);
}

#define COPY_DROPIN(NAME)                                       \
	"install -D -m 0644 /usr/share/doc/kekd/examples/" NAME \
	" /etc/systemd/system/kekd.service.d/" NAME

/* Programs whose needs are known by their name. Nothing is said of others. */
static void check_command(struct checking *k, const struct unitfile *u)
{
	static const struct {
		const char *program;
		bool tpm, network;
	} needs[] = {
		{ "clevis", true, true }, { "tpm2_unseal", true, false }, { "tpm2", true, false },
		{ "curl", false, true },  { "wget", false, true },        { "ssh", false, true },
		{ "vault", false, true }, { "bao", false, true },
	};
	const char *program;

	if (k->c->root_command.count == 0)
		return;
	program = strrchr(k->c->root_command.v[0], '/') + 1;
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		bool no_tpm = needs[i].tpm && unitfile_is_on(u, "PrivateDevices"),
		     no_network = needs[i].network && unitfile_is_on(u, "PrivateNetwork");

		if (strcmp(needs[i].program, program) != 0)
			continue;
		/* clevis needs one of the two, and which is in its secret. */
		if (no_tpm && (!needs[i].network || no_network))
			units_report(
				k, !needs[i].network, COPY_DROPIN("tpm.conf"),
				"kekd.service has no TPM, which %s of rootKey.command may need",
				program);
		if (no_network && (!needs[i].tpm || no_tpm))
			units_report(
				k, !needs[i].tpm, COPY_DROPIN("network.conf"),
				"kekd.service has no network, which %s of rootKey.command may need",
				program);
	}
}

static void check_service(struct checking *k, struct unitfile *u)
{
	const struct {
		const char *path, *field;
		bool written;
	} paths[] = {
		{ k->c->key_store, "keyStore", true },
		{ k->c->audit.file, "audit.to", true },
		{ k->c->encryption_config, "encryptionConfig", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!paths[i].path)
			continue;
		check_seen(k, u, paths[i].path, paths[i].field);
		if (paths[i].written)
			check_writable(k, u, paths[i].path, paths[i].field);
	}
	check_command(k, u);
}

int units_check(const struct config *c, const char *root, units_finding_fn *found, void *ctx)
{
	static const struct {
		const char *name;
		void (*check)(struct checking *k, struct unitfile *u);
	} units[] = {
		{ "kekd.service", check_service },
		{ "kekd.socket", check_kms },
		{ "kekd-admin.socket", check_admin },
		{ "kekd-metrics.socket", check_metrics },
	};
	struct checking k = { .c = c, .root = root, .found = found, .ctx = ctx };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		_cleanup_(unitfile_freep) struct unitfile *u = NULL;
		int r = unitfile_read(root, units[i].name, &u);

		if (r == 0)
			units[i].check(&k, u);
		else if (r != -ENOENT || i == 0)
			return r;
	}
	return k.problems;
}
