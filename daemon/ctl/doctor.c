/* SPDX-License-Identifier: Apache-2.0 */
/* See doctor.h. Exit status: 0 nothing worse than a warning, 1 a problem, 2 wrong usage. */
#include "daemon/ctl/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/input.h"

static const struct {
	const char *name, *colour;
} levels[] = {
	[DOCTOR_OK] = { "ok", "\033[32m" },
	[DOCTOR_WARNING] = { "warning", "\033[33m" },
	[DOCTOR_PROBLEM] = { "problem", "\033[31m" },
};

void doctor_report(struct doctor *d, enum doctor_level level, const char *check, const char *cure,
		   const char *text, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, text);
	vsnprintf(line, sizeof(line), text, ap);
	va_end(ap);
	d->count[level]++;
	json_array_append_new(d->findings,
			      json_pack("{s:s, s:s, s:s, s:s}", "level", levels[level].name,
					"check", check, "text", line, "cure", cure));
}

/* @path below the root that is looked at. */
static int host_open(const struct doctor *d, const char *path, FILE **ret)
{
	char full[512];
	FILE *f;

	if ((size_t)snprintf(full, sizeof(full), "%s%s", d->root, path) >= sizeof(full))
		return -ENAMETOOLONG;
	f = fopen(full, "re");
	if (!f)
		return -errno;
	*ret = f;
	return 0;
}

int doctor_line(const struct doctor *d, const char *path, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	char line[4096]; /* the kernel's command line has so much */
	int r;

	r = host_open(d, path, &f);
	if (r < 0)
		return r;
	if (!fgets(line, sizeof(line), f))
		return -ENODATA;
	line[strcspn(line, "\n")] = '\0';
	snprintf(ret, size, "%s", line);
	return 0;
}

static const char *doctor_text_of(const json_t *finding, const char *field)
{
	const char *s = json_string_value(json_object_get(finding, field));

	return s ? s : "";
}

static void doctor_print_text(const struct doctor *d)
{
	bool colour = isatty(STDOUT_FILENO);
	json_t *f;
	size_t i;

	json_array_foreach(d->findings, i, f)
	{
		const char *level = doctor_text_of(f, "level"), *on = "";

		for (size_t l = 0; colour && l < ARRAY_SIZE(levels); l++)
			if (strcmp(levels[l].name, level) == 0)
				on = levels[l].colour;
		printf("%s%-8s%s%-13s %s\n", on, level, colour ? "\033[0m" : "",
		       doctor_text_of(f, "check"), doctor_text_of(f, "text"));
		if (*doctor_text_of(f, "cure"))
			printf("%22s> %s\n", "", doctor_text_of(f, "cure"));
	}
	printf("%u ok, %u warnings, %u problems\n", d->count[DOCTOR_OK], d->count[DOCTOR_WARNING],
	       d->count[DOCTOR_PROBLEM]);
}

int doctor_print(const struct doctor *d)
{
	int r = 0;

	if (d->ctl->json)
		r = ctl_print_json(json_pack("{s:O, s:i, s:i, s:i}", "findings", d->findings, "ok",
					     (int)d->count[DOCTOR_OK], "warnings",
					     (int)d->count[DOCTOR_WARNING], "problems",
					     (int)d->count[DOCTOR_PROBLEM]));
	else
		doctor_print_text(d);
	return r == 0 && d->count[DOCTOR_PROBLEM] == 0 ? 0 : 1;
}

static void read_config(struct doctor *d)
{
	_cleanup_(input_release) struct input in = { 0 };
	char path[512];

	snprintf(path, sizeof(path), "%s%s", d->root, CTL_CONFIG_DEFAULT);
	if (access(path, F_OK) == 0 && input_read(path, &in) == 0 &&
	    config_parse(input_span(&in), path, &d->conf, &d->conf_error) == 0)
		d->custody = d->conf->custody;
}

int ctl_doctor(const struct ctl *ctl, int argc, char **argv)
{
	struct doctor d = { .ctl = ctl, .root = argc == 1 ? argv[0] : "" };
	int r;

	if (argc > 1)
		return ctl_usage("doctor takes at most one argument, the root to look at");
	d.findings = json_array();
	if (!d.findings)
		return ctl_fail("out of memory");
	read_config(&d);
	if (argc == 0)
		doctor_ask(&d);
	doctor_host(&d);
	if (argc == 0) {
		doctor_live(&d);
		doctor_fips(&d);
	}
	r = doctor_print(&d);
	json_decref(d.findings);
	config_free(d.conf);
	return r;
}
