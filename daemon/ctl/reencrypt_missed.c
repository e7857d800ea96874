/* SPDX-License-Identifier: Apache-2.0 */
/* What was not rewritten, and why: a list with an end, as a cluster may refuse a million objects. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/ctl/reencrypt.h"

#define TEXT_MAX 500

/* A copy is one piece of memory, that begins with its namespace. */
static int missed_copy(const struct missed *m, struct missed *ret)
{
	size_t ns = strlen(m->ns) + 1, name = strlen(m->name) + 1, reason = strlen(m->reason) + 1,
	       text = strnlen(m->text, TEXT_MAX);
	char *to = calloc(1, ns + name + reason + text + 1);

	if (!to)
		return ctl_fail("out of memory");
	*ret = (struct missed){
		.status = m->status,
		.ns = memcpy(to, m->ns, ns),
		.name = memcpy(to + ns, m->name, name),
		.reason = memcpy(to + ns + name, m->reason, reason),
		.text = memcpy(to + ns + name + reason, m->text, text),
	};
	return 0;
}

void missed_clear(struct rewrite *w)
{
	for (size_t i = 0; i < w->n_missed; i++)
		free((char *)(uintptr_t)w->missed[i].ns);
	free(w->missed);
	w->missed = NULL;
	w->n_missed = 0;
}

/* gcc 12's analyzer loses a block that is stored through a pointer of which it knows nothing. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static int missed_append(struct rewrite *w, const struct missed *m)
{
	struct missed *all = reallocarray(w->missed, w->n_missed + 1, sizeof(*all));

	if (!all)
		return ctl_fail("out of memory");
	w->missed = all;
	if (missed_copy(m, &all[w->n_missed]) != 0)
		return 1;
	w->n_missed++;
	return 0;
}

#ifndef __clang__
#pragma GCC diagnostic pop
#endif

int missed_add(struct rewrite *w, const struct missed *m)
{
	w->counts.failed++;
	return w->n_missed < MISSED_MAX ? missed_append(w, m) : 0;
}

void missed_print(const struct rewrite *w)
{
	for (size_t i = 0; i < w->n_missed; i++) {
		const struct missed *m = &w->missed[i];

		printf("%s %s%s%s: not rewritten: %d: %s\n", w->resource, m->ns, *m->ns ? "/" : "",
		       m->name, m->status, m->text);
	}
	if (w->counts.failed > w->n_missed)
		printf("%s: and %" PRIu64 " more were not rewritten\n", w->resource,
		       w->counts.failed - w->n_missed);
}

json_t *missed_json(const struct rewrite *w)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < w->n_missed; i++) {
		const struct missed *m = &w->missed[i];

		if (json_array_append_new(list,
					  json_pack("{s:s, s:s, s:i, s:s, s:s}", "namespace", m->ns,
						    "name", m->name, "status", m->status, "reason",
						    m->reason, "message", m->text)) < 0)
			return NULL;
	}
	return list;
}

static const char *missed_word(const json_t *m, const char *name)
{
	return json_string_value(json_object_get(m, name)) ?: "";
}

int missed_load(struct rewrite *w, const json_t *list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list) && i < MISSED_MAX; i++) {
		const json_t *m = json_array_get(list, i);
		int64_t status = json_integer_value(json_object_get(m, "status"));

		r = missed_append(w, &(struct missed){
					     .ns = missed_word(m, "namespace"),
					     .name = missed_word(m, "name"),
					     .status = (int)status,
					     .reason = missed_word(m, "reason"),
					     .text = missed_word(m, "message"),
				     });
	}
	return r;
}
