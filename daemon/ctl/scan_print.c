/* SPDX-License-Identifier: Apache-2.0 */
/* What a scan has found, as a table for people or JSON for programs. All text was escaped before. */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/scan.h"
#include "daemon/ctl/ctl.h"

#define ROWS_SHOWN 60 /* beyond it namespaces are summed up */

static const char *kek_text(const struct report_row *row)
{
	return row->kek ? row->kek->label : row->hash;
}

/* JSON. */

static json_t *counts_json(const uint64_t n[static VERDICTS])
{
	json_t *j = json_object();

	for (enum verdict v = 0; v < VERDICTS; v++)
		json_object_set_new(j, verdict_name(v), json_integer((json_int_t)n[v]));
	return j;
}

static json_t *row_json(const struct report_row *row)
{
	json_t *j = counts_json(row->n);

	json_object_set_new(j, "resource", json_string(row->resource));
	json_object_set_new(j, "namespace", json_string(row->ns));
	json_object_set_new(j, "provider", json_string(row->provider));
	json_object_set_new(j, "name", json_string(row->key));
	json_object_set_new(j, "bytes", json_integer((json_int_t)row->bytes));
	if (*row->hash)
		json_object_set_new(j, "keyIdHash", json_string(row->hash));
	if (row->kek)
		json_object_set_new(j, "key",
				    json_pack("{s:s, s:s, s:s}", "name", row->kek->name, "label",
					      row->kek->label, "keyId", row->kek->key_id));
	return j;
}

static json_t *examples_json(const struct scan *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_examples; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s}", "verdict",
						verdict_name(s->examples[i].verdict), "key",
						s->examples[i].key, "why", s->examples[i].why));
	return list;
}

static json_t *etcd_json(const struct scan *s)
{
	const struct dump_info *i = &s->file.info;
	char cluster[17], member[17];

	snprintf(cluster, sizeof(cluster), "%" PRIx64, i->cluster_id);
	snprintf(member, sizeof(member), "%" PRIx64, i->member_id);
	return json_pack("{s:s, s:s, s:s, s:I, s:b, s:b, s:b}", "source", s->file.source,
			 "clusterId", i->cluster_id ? cluster : "", "memberId",
			 i->member_id ? member : "", "revision", (json_int_t)i->revision, "whole",
			 (int)i->whole, "truncated", (int)i->truncated, "hashed", (int)i->hashed);
}

static int scan_print_json(const struct scan *s)
{
	json_t *rows = json_array(), *all;

	for (size_t i = 0; i < s->report.n; i++)
		json_array_append_new(rows, row_json(s->report.rows[i]));
	all = json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:i}", "etcd", etcd_json(s), "rows",
			rows, "total", counts_json(s->report.n_all), "examples", examples_json(s),
			"values", (json_int_t)s->file.info.values, "other", (json_int_t)s->other,
			"verified", (json_int_t)s->verified, "exitStatus", scan_exit_status(s));
	if (s->use.name)
		json_object_set_new(all, "uses",
				    json_pack("{s:s, s:I, s:I}", "key", s->use.name, "values",
					      (json_int_t)s->use.n, "undecided",
					      (json_int_t)s->use.undecided));
	return ctl_print_json(all) == 0 ? 0 : SCAN_FAILED;
}

/* Text. */

static void print_row(const struct report_row *row, const char *ns,
		      const uint64_t n[static VERDICTS])
{
	printf("%-24s %-20s %-10s %-16s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %10" PRIu64 "%s%s\n",
	       row->resource, *ns ? ns : "-", row->provider, *row->key ? row->key : "-",
	       n[VERDICT_CURRENT], n[VERDICT_STALE], n[VERDICT_PLAINTEXT] + n[VERDICT_UNCOVERED],
	       n[VERDICT_UNREADABLE], *kek_text(row) ? "  " : "", kek_text(row));
}

static bool same_but_ns(const struct report_row *a, const struct report_row *b)
{
	return a->kek == b->kek && strcmp(a->resource, b->resource) == 0 &&
	       strcmp(a->provider, b->provider) == 0 && strcmp(a->key, b->key) == 0 &&
	       strcmp(a->hash, b->hash) == 0;
}

static bool is_first(const struct report *r, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (same_but_ns(r->rows[i], r->rows[at]))
			return false;
	return true;
}

/* All namespaces of what the row is about. */
static void print_sum(const struct report *r, size_t at)
{
	uint64_t n[VERDICTS] = { 0 };

	for (size_t i = at; i < r->n; i++)
		for (enum verdict v = 0; v < VERDICTS && same_but_ns(r->rows[i], r->rows[at]); v++)
			n[v] += r->rows[i]->n[v];
	print_row(r->rows[at], "*", n);
}

static void print_table(const struct report *r)
{
	printf("%-24s %-20s %-10s %-16s %9s %9s %9s %10s  %s\n", "RESOURCE", "NAMESPACE",
	       "PROVIDER", "NAME", "CURRENT", "STALE", "PLAINTEXT", "UNREADABLE", "KEY");
	for (size_t i = 0; i < r->n; i++) {
		if (r->n <= ROWS_SHOWN)
			print_row(r->rows[i], r->rows[i]->ns, r->rows[i]->n);
		else if (is_first(r, i))
			print_sum(r, i);
	}
	if (r->n > ROWS_SHOWN)
		puts("Namespaces are summed up; --json has them all.");
}

static void print_examples(const struct scan *s)
{
	for (size_t i = 0; i < s->n_examples; i++)
		printf("%s: %s%s%s\n", verdict_name(s->examples[i].verdict), s->examples[i].key,
		       *s->examples[i].why ? ": " : "", s->examples[i].why);
	for (enum verdict v = 0; v < VERDICTS; v++)
		if (s->per_verdict[v] > SCAN_EXAMPLES)
			printf("%s: %zu more\n", verdict_name(v),
			       s->per_verdict[v] - SCAN_EXAMPLES);
}

static void print_summary(const struct scan *s)
{
	const struct dump_info *i = &s->file.info;
	const uint64_t *n = s->report.n_all;

	printf("revision %" PRIu64 ", %" PRIu64 " values: %" PRIu64 " current, %" PRIu64
	       " stale, %" PRIu64 " plaintext, %" PRIu64 " unreadable",
	       i->revision, i->values, n[VERDICT_CURRENT], n[VERDICT_STALE], n[VERDICT_PLAINTEXT],
	       n[VERDICT_UNREADABLE]);
	if (n[VERDICT_UNCOVERED] > 0)
		printf("; %" PRIu64 " plaintext that need not be encrypted", n[VERDICT_UNCOVERED]);
	if (s->other > 0)
		printf("; %" PRIu64 " keys of other things", s->other);
	putchar('\n');
	if (s->ctl->verify)
		printf("%" PRIu64 " values were opened by the daemon to see whether they open.\n",
		       s->verified);
	if (i->truncated)
		puts("The dump does not have all keys that were asked for: it was made with --limit.");
	if (s->use.name)
		printf("%" PRIu64 " values need the key \"%s\"", s->use.n, s->use.name);
	if (s->use.undecided > 0)
		printf("; of %" PRIu64 " it cannot be said", s->use.undecided);
	if (s->use.name)
		puts(".");
}

int scan_print(struct scan *s)
{
	report_sort(&s->report);
	if (s->ctl->json)
		return scan_print_json(s);
	print_table(&s->report);
	print_examples(s);
	print_summary(s);
	if (fflush(stdout) != 0)
		return ctl_fail("cannot write"), SCAN_FAILED;
	return 0;
}
