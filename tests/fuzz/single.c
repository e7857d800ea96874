/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in which somebody has one value, or says so: what is found lies inside of it and is no longer than it.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/dump/form.h"
#include "daemon/dump/single.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct dump_error err = { 0 };
	struct single s;
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	form_advice(text);
	single_is(text, span_str("/k"));
	if (single_find(copy, size, span_str("/k"), &err, &s) == 0 &&
	    (s.value.len == 0 || s.value.data < copy || s.value.data + s.value.len > copy + size))
		abort();
	memcpy(copy, data, size);
	if (form_narrow(copy, size, form_width(text)) > size)
		abort();
	free(copy);
	return 0;
}
