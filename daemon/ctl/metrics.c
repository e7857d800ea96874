/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl metrics: everything that is counted, as Prometheus reads it. For node_exporter's textfile
 * collector, from a timer; so no process of kekd's listens for HTTP. A daemon that does not answer is
 * kekd_up 0 and exit status 1, and still valid text.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "daemon/ctl/ctl.h"
#include "daemon/obs/metrics.h"

struct key_lines {
	FILE *states, *use, *ages; /* three families, each of which must be in one piece */
};

/* Names and states are of a fixed alphabet (keys/record.h), so there is nothing to escape. */
static void key_add(void *ctx, const struct admin_key *k)
{
	struct key_lines *l = ctx;
	time_t now = time(NULL);
	uint64_t age = now > (time_t)k->created ? (uint64_t)now - k->created : 0;

	fprintf(l->states, "kekd_key_usable{key=\"%s\",state=\"%s\"} %d\n", k->label, k->state,
		k->usable == 0);
	fprintf(l->use, "kekd_key_operations_total{key=\"%s\",direction=\"encrypt\"} %" PRIu64 "\n",
		k->label, k->encryptions);
	fprintf(l->use, "kekd_key_operations_total{key=\"%s\",direction=\"decrypt\"} %" PRIu64 "\n",
		k->label, k->decryptions);
	fprintf(l->ages, "kekd_key_age_seconds{key=\"%s\"} %" PRIu64 "\n", k->label, age);
}

static void family(const char *name, const char *type, const char *help, FILE *f)
{
	int c;

	printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
	rewind(f);
	while ((c = getc(f)) != EOF)
		putchar(c);
}

static int print_keys(const struct ctl *ctl)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_KEY_LIST };
	_cleanup_fclose_ FILE *states = tmpfile(), *use = tmpfile(), *ages = tmpfile();
	struct key_lines lines = { states, use, ages };
	struct admin_reply end;

	if (!states || !use || !ages)
		return ctl_fail("no temporary file");
	if (ctl_ask(ctl, &req, key_add, &lines, &end) != 0)
		return 1;
	family("kekd_key_usable", "gauge", "1 if the kernel still has the key.", states);
	family("kekd_key_operations_total", "counter", "Messages by key.", use);
	family("kekd_key_age_seconds", "gauge", "Since the key was made.", ages);
	return 0;
}

static void print_status(const struct admin_status *s)
{
	printf("# HELP kekd_build_info Version and backend.\n# TYPE kekd_build_info gauge\n"
	       "kekd_build_info{version=\"%s\",backend=\"%s\"} 1\n",
	       s->version, s->backend);
	printf("# HELP kekd_serving 1 if a server answers and has an active key.\n"
	       "# TYPE kekd_serving gauge\nkekd_serving %d\n",
	       s->serving && *s->key_id);
	printf("# HELP kekd_server_starts_total Server processes started.\n"
	       "# TYPE kekd_server_starts_total counter\nkekd_server_starts_total %" PRIu32 "\n",
	       s->server_starts);
	printf("# HELP kekd_start_time_seconds Start of the keeper.\n"
	       "# TYPE kekd_start_time_seconds gauge\nkekd_start_time_seconds %" PRIu64 "\n",
	       s->started);
}

static void print_up(int up)
{
	printf("# HELP kekd_up 1 if the daemon answers.\n# TYPE kekd_up gauge\nkekd_up %d\n", up);
}

int ctl_metrics(const struct ctl *ctl, int argc, char **argv _unused_)
{
	struct admin_request req = { .version = ADMIN_VERSION, .verb = ADMIN_STATUS };
	struct admin_reply end;

	if (argc != 0)
		return ctl_usage("metrics takes no argument");
	if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0) {
		print_up(0);
		return 1;
	}
	print_up(1);
	print_status(&end.status);
	req.verb = ADMIN_METRICS;
	if (ctl_ask(ctl, &req, NULL, NULL, &end) != 0)
		return 1;
	metrics_print(&end.metrics, stdout);
	return print_keys(ctl);
}
