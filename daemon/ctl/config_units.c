/* SPDX-License-Identifier: Apache-2.0 */
/* kekctl config units: the drop-ins that make systemd's units agree with kekd.yaml. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/ctl/config_units.h"
#include "daemon/ctl/input.h"

#define HEAD "# kekctl config units makes this file from kekd.yaml, and replaces it."

static int unit_text(const struct unit_dropin *d, const struct config *c, char **ret, bool *ret_any)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	fputs(HEAD "\n", f);
	*ret_any = d->put(f, c);
	if (fclose(f) != 0)
		return -ENOMEM;
	*ret = move_ptr(text);
	return 0;
}

int config_units_place(struct place *p, const struct config *c)
{
	for (const struct unit_dropin *d = unit_dropins; d->unit; d++) {
		_cleanup_free_ char *text = NULL;
		char path[256];
		bool any = false;
		int r;

		if (unit_text(d, c, &text, &any) < 0)
			return ctl_fail("out of memory");
		snprintf(path, sizeof(path), "/etc/systemd/system/%s.d/" UNITS_DROPIN, d->unit);
		r = any ? place_file(p, path, text, HEAD) : place_remove(p, path, HEAD);
		if (r != 0)
			return r;
	}
	return 0;
}

static int say_next(const struct place *p)
{
	/* Before systemd reads the units anew: it removes the sockets that it knows of. */
	static const char next[] =
		"systemctl stop kekd.socket kekd-admin.socket kekd.service && systemctl "
		"daemon-reload && systemctl try-restart kekd-metrics.socket && systemctl start "
		"kekd.service";
	bool any = p->made > 0;
	int r = 0;

	if (p->ctl->json)
		r = ctl_print_json(
			json_pack("{s:O, s:s}", "files", p->files, "next", any ? next : ""));
	else if (any)
		printf("Next: %s\n", next);
	else
		puts("The units agree with the configuration.");
	return r == 0 && p->differ == 0 ? 0 : 1;
}

int ctl_config_units(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_(input_release) struct input in = { 0 };
	_cleanup_(config_freep) struct config *c = NULL;
	struct place p = { .ctl = ctl, .root = "" };
	const char *file = argc >= 1 ? argv[0] : CTL_CONFIG_DEFAULT;
	struct yaml_error err = { 0 };
	int r;

	if (argc > 2)
		return ctl_usage("config units takes kekd.yaml, and the root to write to");
	if (argc == 2)
		p.root = argv[1];
	if (input_read(file, &in) != 0)
		return 1;
	r = config_parse(input_span(&in), file, &c, &err);
	if (r < 0)
		return ctl_fail("%s", *err.text ? err.text : errno_text(r));
	p.files = json_array();
	r = p.files ? config_units_place(&p, c) : ctl_fail("out of memory");
	if (r == 0)
		r = say_next(&p);
	json_decref(p.files);
	return r;
}
