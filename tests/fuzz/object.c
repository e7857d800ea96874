/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An opened value, which anyone may have written: what is shown of it are printable characters, and
 * without being asked for no value of a Secret.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/ctl/open_object.h"
#include "daemon/dump/object.h"
#include "daemon/dump/resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void show(struct span plain, bool reveal)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	open_object_print(f, span_str("/k"), plain, reveal);
	fclose(f);
	for (size_t i = 0; i < len; i++)
		if ((text[i] < ' ' || text[i] > '~') && text[i] != '\n')
			abort();
}

static bool inside(struct span s, struct span in)
{
	return s.data >= in.data && s.data + s.len <= in.data + in.len;
}

static void told(struct span plain)
{
	struct span key = span_str("/r/a/b/c");
	struct resource r;
	struct object o;

	if (!object_head(plain, &o))
		return;
	if (!inside(o.kind, plain) || !inside(o.api_version, plain) ||
	    !resource_parse(key, span_str("/r/"), &r))
		abort();
	resource_told(&r, key, o.api_version, o.kind);
	if (r.object.len == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	told(span_of(data, size));
	show(span_of(data, size), false);
	show(span_of(data, size), true);
	return 0;
}
