/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of /proc/sys, /sys and modprobe.d say. A file that is not there is an answer too:
 * the kernel is too old for the restriction, or the module has not been loaded yet.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ctl/doctor.h"
#include "daemon/ctl/unitfile.h"
#include "daemon/ctl/units.h"

#define QUOTA_BYTES 1000000

/* CVE-2026-31431, "Copy Fail": algif_aead in place with splice(2) and authencesn. */
static const struct {
	unsigned int major, minor, fixed; /* the first good release of the series */
} copy_fail[] = {
	{ 6, 18, 22 },
	{ 6, 19, 12 },
};

/* 1: has it; 0: has not; -1: of a series whose fix this table does not know. */
static int has_copy_fail(unsigned int major, unsigned int minor, unsigned int patch)
{
	if (major >= 7)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(copy_fail); i++)
		if (copy_fail[i].major == major && copy_fail[i].minor == minor)
			return patch < copy_fail[i].fixed;
	return -1;
}

static void check_restrict(struct doctor *d)
{
	char level[16];

	if (doctor_line(d, "/proc/sys/crypto/af_alg_restrict", level, sizeof(level)) < 0)
		doctor_report(
			d, DOCTOR_OK, "restriction", "",
			"no crypto.af_alg_restrict: a kernel before 7.3, or af_alg is not loaded");
	else if (strcmp(level, "2") == 0)
		doctor_report(d, DOCTOR_PROBLEM, "restriction",
			      "sysctl crypto.af_alg_restrict=1, and in /etc/sysctl.d",
			      "crypto.af_alg_restrict=2 forbids AF_ALG to everybody");
	else if (strcmp(level, "0") == 0)
		doctor_report(d, DOCTOR_WARNING, "restriction",
			      "sysctl crypto.af_alg_restrict=1: kekd needs no more",
			      "crypto.af_alg_restrict=0 opens every algorithm to every user");
	else
		doctor_report(d, DOCTOR_OK, "restriction", "", "crypto.af_alg_restrict=%s", level);
}

/*
 * A line of modprobe.d(5) that keeps @module away: "install NAME /bin/false". "blacklist NAME" is about
 * aliases only, and of these modules the kernel asks for af_alg alone by one (net-pf-38); algif_aead
 * and the others it asks for by name (crypto/af_alg.c), and gets them all the same. '-' and '_' are
 * the same there.
 */
static bool line_blocks(char *line, const char *module)
{
	char *save, *verb = strtok_r(line, " \t\n", &save);
	char *name = verb ? strtok_r(NULL, " \t\n", &save) : NULL;
	char *command = name ? strtok_r(NULL, " \t\n", &save) : NULL;

	for (char *c = name; c && *c; c++)
		if (*c == '-')
			*c = '_';
	if (!name || strcmp(name, module) != 0)
		return false;
	if (strcmp(verb, "blacklist") == 0)
		return strcmp(module, "af_alg") == 0;
	return strcmp(verb, "install") == 0 && command &&
	       (strstr(command, "/false") || strstr(command, "/true"));
}

static bool file_blocks(const char *path, const char *module)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (line_blocks(line, module))
			return true;
	return false;
}

/* Which file blocks @module, or "". */
static void blocked_by(const struct doctor *d, const char *module, char *ret, size_t size)
{
	static const char *const dirs[] = { "/etc/modprobe.d", "/run/modprobe.d",
					    "/lib/modprobe.d" };

	*ret = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_closedir_ DIR *dir = NULL;
		char path[512], file[768];
		struct dirent *e;

		snprintf(path, sizeof(path), "%s%s", d->root, dirs[i]);
		dir = opendir(path);
		while (dir && (e = readdir(dir))) {
			snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
			if (strstr(e->d_name, ".conf") && file_blocks(file, module)) {
				snprintf(ret, size, "%s", file);
				return;
			}
		}
	}
}

#define BLOCK_AEAD "echo 'install algif_aead /bin/false' >/etc/modprobe.d/algif_aead.conf"

/* Distributions bring the fix to series of their own: there the version says nothing. */
static void report_unknown(struct doctor *d, const char *release)
{
	char file[768];

	blocked_by(d, "algif_aead", file, sizeof(file));
	if (*file)
		doctor_report(
			d, DOCTOR_OK, "kernel", "",
			"%s: unknown whether it has Copy Fail (CVE-2026-31431), but algif_aead is blocked",
			release);
	else
		doctor_report(
			d, DOCTOR_WARNING, "kernel", "ask your vendor; until then: " BLOCK_AEAD,
			"%s: unknown whether it has Copy Fail (CVE-2026-31431), fixed in 6.18.22, 6.19.12 "
			"and 7.0 and where a vendor did",
			release);
}

static void check_kernel(struct doctor *d)
{
	unsigned int major, minor, patch = 0;
	char release[128];

	if (doctor_line(d, "/proc/sys/kernel/osrelease", release, sizeof(release)) < 0 ||
	    sscanf(release, "%u.%u.%u", &major, &minor, &patch) < 2) {
		doctor_report(d, DOCTOR_WARNING, "kernel", "mount /proc", "version not readable");
		return;
	}
	switch (has_copy_fail(major, minor, patch)) {
	case 1:
		doctor_report(
			d, DOCTOR_PROBLEM, "kernel",
			"install the distribution's kernel update and reboot; until then: " BLOCK_AEAD,
			"%s has Copy Fail (CVE-2026-31431), open to every local user through algif_aead",
			release);
		break;
	case 0:
		doctor_report(d, DOCTOR_OK, "kernel", "", "%s, without Copy Fail (CVE-2026-31431)",
			      release);
		break;
	default:
		report_unknown(d, release);
	}
}

static void check_modules(struct doctor *d)
{
	static const char *const needed[] = { "af_alg", "algif_skcipher", "algif_hash" };
	char file[768], cure[896];
	bool all = true;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		blocked_by(d, needed[i], file, sizeof(file));
		if (!*file)
			continue;
		all = false;
		snprintf(cure, sizeof(cure), "take %s out of %s; blocking algif_aead is enough",
			 needed[i], file);
		doctor_report(d, DOCTOR_PROBLEM, "modules", cure,
			      "%s may not be loaded, and kekd needs it", needed[i]);
	}
	if (all)
		doctor_report(d, DOCTOR_OK, "modules", "", "nothing that kekd needs is blocked");
	blocked_by(d, "algif_aead", file, sizeof(file));
	if (*file)
		doctor_report(d, DOCTOR_OK, "algif_aead", "", "blocked; kekd does without it");
	else
		doctor_report(
			d, DOCTOR_WARNING, "algif_aead", BLOCK_AEAD,
			"may be loaded by any user; kekd does not need it, and Copy Fail was in it");
}

/* initcall_blacklist= of the kernel's command line holds for modules too (init/main.c), and no file says so. */
static void check_initcalls(struct doctor *d)
{
	static const char *const needed[] = { "af_alg_init", "algif_skcipher_init",
					      "algif_hash_init", "init_encrypted" };
	char line[4096], *save, *word;

	if (doctor_line(d, "/proc/cmdline", line, sizeof(line)) < 0)
		return;
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *list = strncmp(word, "initcall_blacklist=", 19) == 0 ? word + 19 : NULL,
		     *rest;

		for (char *call = list ? strtok_r(list, ",", &rest) : NULL; call;
		     call = strtok_r(NULL, ",", &rest))
			for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
				if (strcmp(call, needed[i]) == 0)
					doctor_report(
						d, DOCTOR_PROBLEM, "initcalls",
						"take it out of the kernel's command line, and reboot",
						"initcall_blacklist=%s keeps away what kekd needs",
						call);
	}
}

/* What a socket of AF_ALG may take: a run of the cipher fails above the first, every run below the second. */
static void check_buffers(struct doctor *d)
{
	static const struct {
		const char *name, *path;
		unsigned long least;
		const char *cure;
	} limits[] = {
		{ "net.core.wmem_default", "/proc/sys/net/core/wmem_default", 212992,
		  "sysctl net.core.wmem_default=212992, and in /etc/sysctl.d" },
		{ "net.core.optmem_max", "/proc/sys/net/core/optmem_max", 20480,
		  "sysctl net.core.optmem_max=131072, and in /etc/sysctl.d" },
	};
	char value[32];

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (doctor_line(d, limits[i].path, value, sizeof(value)) == 0 &&
		    strtoul(value, NULL, 10) < limits[i].least)
			doctor_report(
				d, DOCTOR_PROBLEM, "buffers", limits[i].cure,
				"%s=%s: too little for the sockets of AF_ALG, so encryption fails",
				limits[i].name, value);
}

static void check_uring(struct doctor *d)
{
	char level[16];

	if (doctor_line(d, "/proc/sys/kernel/io_uring_disabled", level, sizeof(level)) < 0 ||
	    strcmp(level, "0") == 0)
		doctor_report(d, DOCTOR_OK, "io_uring", "", "allowed by kernel.io_uring_disabled");
	else
		doctor_report(
			d, DOCTOR_WARNING, "io_uring",
			"sysctl kernel.io_uring_disabled=0, or leave it: epoll does the same, slower",
			"kernel.io_uring_disabled=%s: the server runs on epoll", level);
}

static void check_quota(struct doctor *d)
{
	char keys[32];

	if (doctor_line(d, "/proc/sys/kernel/keys/root_maxkeys", keys, sizeof(keys)) < 0)
		doctor_report(d, DOCTOR_PROBLEM, "key quota",
			      "use a kernel with CONFIG_KEYS, or custody: holder",
			      "no /proc/sys/kernel/keys: this kernel has no keyrings");
	else if (strtoul(keys, NULL, 10) < 1024)
		doctor_report(
			d, DOCTOR_PROBLEM, "key quota", "sysctl kernel.keys.root_maxkeys=1000000",
			"kernel.keys.root_maxkeys=%s: too few for the keys of the store", keys);
	else
		doctor_report(d, DOCTOR_OK, "key quota", "", "root may have %s keys", keys);
}

/* A sealed key is 182 bytes of the kernel's, and its description; the store may hold 1024. */
static void check_quota_bytes(struct doctor *d)
{
	char bytes[32];

	if (doctor_line(d, "/proc/sys/kernel/keys/root_maxbytes", bytes, sizeof(bytes)) < 0)
		return; /* no keyrings: said already */
	if (strtoul(bytes, NULL, 10) < QUOTA_BYTES)
		doctor_report(d, DOCTOR_PROBLEM, "key bytes",
			      "sysctl kernel.keys.root_maxbytes=25000000, and in /etc/sysctl.d",
			      "kernel.keys.root_maxbytes=%s: too few for the keys of the store",
			      bytes);
	else
		doctor_report(d, DOCTOR_OK, "key bytes", "", "root's keys may take %s bytes",
			      bytes);
}

/* What is locked in memory counts against the limit of the service, not of the shell that asks. */
static void check_memlock(struct doctor *d)
{
	struct unitfile *u = NULL;
	const char *value;

	if (unitfile_read(d->root, "kekd.service", &u) < 0)
		return;
	value = unitfile_value(u, "LimitMEMLOCK");
	if (strcmp(value, "infinity") == 0)
		doctor_report(d, DOCTOR_OK, "memlock", "", "kekd.service: no limit");
	else
		doctor_report(
			d, DOCTOR_WARNING, "memlock",
			"LimitMEMLOCK=infinity in the [Service] section",
			"kekd.service limits locked memory%s%s: under load requests are refused",
			*value ? " to " : "", value);
	unitfile_free(u);
}

static void check_lockdown(struct doctor *d)
{
	char line[128];

	if (doctor_line(d, "/sys/kernel/security/lockdown", line, sizeof(line)) < 0)
		return;
	if (strstr(line, "[confidentiality]"))
		doctor_report(d, DOCTOR_OK, "lockdown", "", "confidentiality");
	else
		doctor_report(
			d, DOCTOR_WARNING, "lockdown",
			"boot with lockdown=confidentiality, which also forbids hibernation and kexec "
			"of unsigned images",
			"%s: root can read kernel memory, and with it the keys", line);
}

static void unit_found(void *ctx, bool problem, const char *text, const char *cure)
{
	doctor_report(ctx, problem ? DOCTOR_PROBLEM : DOCTOR_WARNING, "units", cure, "%s", text);
}

/* A machine without a kekd.yaml, or without our units, has nothing to compare. */
static void check_units(struct doctor *d)
{
	unsigned int before = d->count[DOCTOR_WARNING];

	if (*d->conf_error.text)
		doctor_report(d, DOCTOR_PROBLEM, "units", "kekd --check", "%s", d->conf_error.text);
	if (d->conf && units_check(d->conf, d->root, unit_found, d) == 0 &&
	    d->count[DOCTOR_WARNING] == before)
		doctor_report(d, DOCTOR_OK, "units", "", "as kekd.yaml says");
}

void doctor_host(struct doctor *d)
{
	check_kernel(d);
	check_uring(d);
	if (d->custody == CONFIG_CUSTODY_HOLDER) {
		doctor_report(d, DOCTOR_OK, "AF_ALG", "",
			      "not needed by custody holder, and not looked at");
	} else {
		check_restrict(d);
		check_modules(d);
		check_initcalls(d);
		check_buffers(d);
		check_quota(d);
		check_quota_bytes(d);
	}
	check_memlock(d);
	check_units(d);
	check_lockdown(d);
}
