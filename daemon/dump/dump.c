/* SPDX-License-Identifier: Apache-2.0 */
/* See dump.h. */
#include "daemon/dump/dump.h"

#include <stdarg.h>

int dump_fail(struct dump_error *err, int r, const char *fmt, ...)
{
	va_list ap;

	if (*err->text)
		return r;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return r;
}
