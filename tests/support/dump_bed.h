/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reader of dumps gives out, kept: keys and values in the order in which they came, as one text
 * "KEY=VALUE;" each, and a count.
 */
#pragma once

#include <stdio.h>
#include <string.h>

#include "daemon/dump/dump.h"

#define DUMP_BED_TEXT 4096

struct dump_bed {
	char text[DUMP_BED_TEXT]; /* cut when full; values of more than 64 bytes are "[BYTES]" */
	size_t len, n, bytes, past;
	uint64_t mod_revisions; /* their sum */
	int answer;             /* what each returns */
	struct dump_info info;
	struct dump_error err;
};

static inline void dump_bed_put(struct dump_bed *b, struct span s)
{
	size_t n = s.len < sizeof(b->text) - 1 - b->len ? s.len : sizeof(b->text) - 1 - b->len;

	if (n > 0)
		memcpy(b->text + b->len, s.data, n);
	b->len += n;
}

static inline int dump_bed_each(void *ctx, const struct dump_value *v)
{
	struct dump_bed *b = ctx;
	char size[32];

	if (v->past) {
		b->past++;
		return 0;
	}
	b->n++;
	b->bytes += v->value.len;
	b->mod_revisions += v->mod_revision;
	dump_bed_put(b, v->key);
	dump_bed_put(b, span_str("="));
	snprintf(size, sizeof(size), "[%zu]", v->value.len);
	dump_bed_put(b, v->value.len > 64 ? span_str(size) : v->value);
	dump_bed_put(b, span_str(";"));
	return b->answer;
}
