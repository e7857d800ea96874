/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl config schema: the JSON Schema of kekd.yaml, for editors and pipelines. The file is
 * daemon/dist/kekd.schema.json, put into the program by the assembler.
 */
#include <stdio.h>

#include "daemon/ctl/ctl.h"

__asm__(".pushsection .rodata\n"
	"schema_start:\n"
	".incbin \"daemon/dist/kekd.schema.json\"\n"
	"schema_end:\n"
	".popsection\n");

extern const char schema_start[], schema_end[];

int ctl_config_schema(const struct ctl *ctl _unused_, int argc, char **argv _unused_)
{
	size_t size = (size_t)(schema_end - schema_start);

	if (argc != 0)
		return ctl_usage("config schema takes no argument");
	return fwrite(schema_start, 1, size, stdout) == size ? 0 : ctl_fail("cannot write");
}
