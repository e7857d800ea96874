/* SPDX-License-Identifier: Apache-2.0 */
/* See elsewhere.h. */
#include "daemon/ctl/elsewhere.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/chain/codec.h"
#include "daemon/dump/object.h"
#include "daemon/dump/report.h"

int ctl_prefix(const struct ctl *ctl, char ret[static PREFIX_MAX])
{
	const char *given = ctl->prefix ?: "/registry/";
	size_t len = strlen(given);
	int n = snprintf(ret, PREFIX_MAX, "%s%s%s", *given == '/' ? "" : "/", given,
			 len == 0 || given[len - 1] == '/' ? "" : "/");

	return n < PREFIX_MAX ? 0 : ctl_fail("%s: too long for a prefix", given);
}

void elsewhere_add(struct elsewhere *e, const struct dump_value *v)
{
	struct object o = { 0 };
	char prefix[sizeof(e->v[0].prefix)];
	size_t i = 0;

	if (!span_starts_with(v->value, span_str(CODEC_ENC)) && !object_head(v->value, &o))
		return;
	e->all++;
	report_escape(resource_prefix(v->key, o.kind), prefix, sizeof(prefix));
	while (i < e->n && strcmp(e->v[i].prefix, prefix) != 0)
		i++;
	if (i == ELSEWHERE_MAX || !*prefix)
		return;
	memcpy(e->v[i].prefix, prefix, sizeof(prefix));
	e->v[i].n++;
	e->n += i == e->n;
}

void elsewhere_text(const struct elsewhere *e, char ret[static ELSEWHERE_TEXT])
{
	size_t n = 0;

	if (e->all > 0)
		n = (size_t)snprintf(ret, ELSEWHERE_TEXT, "%" PRIu64 " values of Kubernetes",
				     e->all);
	ret[n] = '\0';
	for (size_t i = 0; i < e->n && n < ELSEWHERE_TEXT; i++)
		n += (size_t)snprintf(ret + n, ELSEWHERE_TEXT - n, "%s %" PRIu64 " under %s",
				      i == 0 ? ":" : ",", e->v[i].n, e->v[i].prefix);
}
