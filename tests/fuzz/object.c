/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An opened value, which anyone may have written: what is shown of it are printable characters, and
 * without being asked for no value of a Secret.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/ctl/open_object.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	show(span_of(data, size), false);
	show(span_of(data, size), true);
	return 0;
}
