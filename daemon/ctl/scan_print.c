/* SPDX-License-Identifier: Apache-2.0 */
/* What a scan has found, as a table for people or JSON for programs. All text was escaped before. */
#include <inttypes.h>
#include <string.h>

#include "daemon/ctl/scan.h"
#include "daemon/ctl/ctl.h"

#define ROWS_SHOWN 60 /* beyond it namespaces are summed up */

static const char *kek_text(const struct report_row *row)
{
	return row->kek ? row->kek->info.label : row->hash;
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
				    json_pack("{s:s, s:s, s:s}", "name", row->kek->info.name,
					      "label", row->kek->info.label, "keyId",
					      row->kek->key_id));
	return j;
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

static int scan_print_json(struct scan *s)
{
	json_t *rows = json_array(), *examples = json_array(), *all;

	report_sort(&s->report, true);
	for (size_t i = 0; i < s->report.n; i++)
		json_array_append_new(rows, row_json(s->report.rows[i]));
	for (size_t i = 0; i < s->n_examples; i++)
		json_array_append_new(
			examples, json_pack("{s:s, s:s, s:s}", "verdict", s->examples[i].what,
					    "key", s->examples[i].key, "why", s->examples[i].why));
	all = json_pack("{s:o, s:o, s:o, s:o, s:O, s:I, s:I, s:I, s:I, s:i}", "etcd", etcd_json(s),
			"rows", rows, "total", counts_json(s->report.n_all), "examples", examples,
			"notes", s->notes, "pastPlaintext", (json_int_t)s->past, "values",
			(json_int_t)s->file.info.values, "other", (json_int_t)s->other, "verified",
			(json_int_t)s->verified, "exitStatus", scan_exit_status(s));
	if (s->use.name)
		json_object_set_new(all, "uses",
				    json_pack("{s:s, s:I, s:I}", "key", s->use.name, "values",
					      (json_int_t)s->use.n, "undecided",
					      (json_int_t)s->use.undecided));
	return ctl_print_json(all) == 0 ? 0 : SCAN_FAILED;
}

/* Text. */

/* Each column is as wide as its widest text. */
struct widths {
	int resource, ns, provider, name;
};

static int wider(int width, const char *text)
{
	int n = (int)strlen(text);

	return n > width ? n : width;
}

static void print_table(struct report *r)
{
	struct widths w = { 8, 9, 8, 4 };
	bool all = r->n <= ROWS_SHOWN;
	const struct report_row *row;
	const char *ns;
	size_t end;

	report_sort(r, all);
	for (size_t i = 0; i < r->n; i++) {
		w.resource = wider(w.resource, r->rows[i]->resource);
		w.ns = all ? wider(w.ns, r->rows[i]->ns) : w.ns;
		w.provider = wider(w.provider, r->rows[i]->provider);
		w.name = wider(w.name, r->rows[i]->key);
	}
	printf("%-*s %-*s %-*s %-*s %9s %9s %9s %10s  %s\n", w.resource, "RESOURCE", w.ns,
	       "NAMESPACE", w.provider, "PROVIDER", w.name, "NAME", "CURRENT", "STALE", "PLAINTEXT",
	       "UNREADABLE", "KEY");
	for (size_t i = 0; i < r->n; i = end) {
		uint64_t n[VERDICTS] = { 0 };

		for (end = i; end < r->n && (end == i || !all) &&
			      report_same_but_ns(r->rows[i], r->rows[end]);
		     end++)
			for (enum verdict v = 0; v < VERDICTS; v++)
				n[v] += r->rows[end]->n[v];
		row = r->rows[i];
		ns = !all ? "*" : *row->ns ? row->ns : "-";
		printf("%-*s %-*s %-*s %-*s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %10" PRIu64
		       "%s%s\n",
		       w.resource, row->resource, w.ns, ns, w.provider, row->provider, w.name,
		       *row->key ? row->key : "-", n[VERDICT_CURRENT], n[VERDICT_STALE],
		       n[VERDICT_PLAINTEXT] + n[VERDICT_UNCOVERED],
		       n[VERDICT_UNREADABLE] + n[VERDICT_UNJUDGED], *kek_text(row) ? "  " : "",
		       kek_text(row));
	}
	if (!all)
		puts("Namespaces are summed up; --json has them all.");
}

static void print_examples(const struct scan *s)
{
	for (size_t i = 0; i < s->n_examples; i++)
		printf("%s: %s%s%s\n", s->examples[i].what, s->examples[i].key,
		       *s->examples[i].why ? ": " : "", s->examples[i].why);
	for (enum verdict v = 0; v < VERDICTS; v++)
		if (s->per_verdict[v] > SCAN_EXAMPLES)
			printf("%s: %zu more\n", verdict_name(v),
			       s->per_verdict[v] - SCAN_EXAMPLES);
	if (s->past > SCAN_EXAMPLES)
		printf("older revision: %" PRIu64 " more\n", s->past - SCAN_EXAMPLES);
}

static void print_summary(const struct scan *s)
{
	const struct dump_info *i = &s->file.info;
	const uint64_t *n = s->report.n_all;

	printf("revision %" PRIu64 ", %" PRIu64 " values: %" PRIu64 " current, %" PRIu64
	       " stale, %" PRIu64 " plaintext, %" PRIu64 " unreadable",
	       i->revision, i->values, n[VERDICT_CURRENT], n[VERDICT_STALE], n[VERDICT_PLAINTEXT],
	       n[VERDICT_UNREADABLE]);
	if (n[VERDICT_UNJUDGED] > 0)
		printf(", %" PRIu64 " not judged", n[VERDICT_UNJUDGED]);
	if (n[VERDICT_UNCOVERED] > 0)
		printf("; %" PRIu64 " plaintext that need not be encrypted", n[VERDICT_UNCOVERED]);
	if (s->other > 0)
		printf("; %" PRIu64 " keys of other things", s->other);
	putchar('\n');
	if (s->ctl->verify)
		printf("%" PRIu64 " values were opened by the daemon to see whether they open.\n",
		       s->verified);
	if (s->use.name)
		printf("%" PRIu64 " values need the key \"%s\"", s->use.n, s->use.name);
	if (s->use.undecided > 0)
		printf("; of %" PRIu64 " it cannot be said", s->use.undecided);
	if (s->use.name)
		puts(".");
	for (size_t k = 0; k < json_array_size(s->notes); k++)
		puts(json_string_value(json_array_get(s->notes, k)));
}

int scan_print(struct scan *s)
{
	if (s->ctl->json)
		return scan_print_json(s);
	print_table(&s->report);
	print_examples(s);
	print_summary(s);
	if (fflush(stdout) != 0)
		return ctl_fail("cannot write"), SCAN_FAILED;
	return 0;
}
