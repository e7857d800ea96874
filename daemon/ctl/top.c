/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kekctl top: what the daemon does now, a screen every other second, or one line a second when the
 * output is no terminal. Rates are differences of the counters that `kekctl metrics` prints.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/refusal.h"
#include "daemon/ctl/ctl.h"
#include "daemon/obs/board.h"

#define PERIOD_MS 2000
#define CLEAR     "\033[H\033[2J"

/* What a screen is made from. */
struct sample {
	struct board board;
	uint64_t ok, failed, encrypted, decrypted;
	double seconds; /* since the sample before */
};

static void sum_up(struct sample *s)
{
	const struct metrics *m = &s->board.metrics;

	s->ok = s->failed = s->encrypted = s->decrypted = 0;
	for (size_t i = 0; i < METRICS_METHODS; i++)
		for (size_t j = 0; j < METRICS_CODES; j++)
			*(j == 0 ? &s->ok : &s->failed) += m->requests[i][j];
	for (uint32_t i = 0; i < s->board.n_keys; i++) {
		s->encrypted += s->board.keys[i].encryptions;
		s->decrypted += s->board.keys[i].decryptions;
	}
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* The upper end of the bucket in which the slowest hundredth of the requests since @old begins. */
static double slowest_ms(const struct metrics *now, const struct metrics *old)
{
	uint64_t n[METRICS_BUCKETS] = { 0 }, all = 0, sum = 0;
	size_t i;

	for (i = 0; i < METRICS_BUCKETS; i++) {
		for (size_t j = 0; j < METRICS_METHODS; j++)
			n[i] += now->latency[j][i] - old->latency[j][i];
		all += n[i];
	}
	for (i = 0; all > 0 && i < METRICS_BUCKETS - 1; i++) {
		sum += n[i];
		if (sum * 100 >= all * 99)
			break;
	}
	return all > 0 ? (double)metrics_bound_ns(i) / 1e6 : 0;
}

static void top_members(const struct board_cluster *c)
{
	if (!c->configured)
		return;
	printf("\n%-44s %-13s %s\n", "MEMBER", "KEYSET",
	       c->away ? "HEARD (etcd does not answer)" : "HEARD");
	for (uint32_t i = 0; i < c->n_members; i++) {
		const struct board_member *m = &c->members[i];

		printf("%-44.44s %-13s ", m->name, m->answered ? "acknowledged" : "WAITS");
		if (m->age == BOARD_NEVER)
			puts("never");
		else
			printf("%" PRIu64 " s ago\n", m->age);
	}
}

static void print_screen(const struct sample *now, const struct sample *old)
{
	const struct board *b = &now->board;
	const struct metrics *m = &b->metrics;
	uint64_t runs = 0, jobs = m->jobs - old->board.metrics.jobs;

	for (size_t i = 0; i < METRICS_RUNS; i++)
		runs += m->runs[i] - old->board.metrics.runs[i];
	printf(CLEAR "kekd %s, backend %s, custody %s, ring %s, %s%s\n\n", b->version, b->backend,
	       b->custody, b->ring, b->serving ? "serving" : "NOT SERVING",
	       b->sealed ? ", SEALED" : "");
	printf("requests   %10.1f /s   failed %8.1f /s   99%% within %g ms\n",
	       rate(now->ok, old->ok, now->seconds), rate(now->failed, old->failed, now->seconds),
	       slowest_ms(m, &old->board.metrics));
	printf("engine     %10.1f messages in an operation   %" PRIu32 " under way\n",
	       runs > 0 ? (double)jobs / (double)runs : 0, m->queued);
	printf("clients    %10" PRIu32 " connections   %" PRIu32 " calls   %" PRIu64 " refused\n",
	       m->connections, m->calls, m->refused_peers);
	for (size_t i = 0; i < REFUSALS; i++)
		if (m->refusals[i] > 0)
			printf("refused    %10" PRIu64 " for %s, %" PRIu64 " now\n", m->refusals[i],
			       refusal_name((enum refusal)i),
			       m->refusals[i] - old->board.metrics.refusals[i]);
	if (m->audit_stuck)
		puts("audit      CANNOT BE WRITTEN");
	printf("\n%-44s %-13s %12s %12s\n", "KEY", "STATE", "ENCRYPTED", "DECRYPTED");
	for (uint32_t i = 0; i < b->n_keys && i < 20; i++)
		printf("%-44.44s %-13s %12" PRIu64 " %12" PRIu64 "\n", b->keys[i].info.label,
		       b->keys[i].usable == 0 ? key_state_name(b->keys[i].info.state) : "UNUSABLE",
		       b->keys[i].encryptions, b->keys[i].decryptions);
	top_members(&b->cluster);
}

/* An object a line. */
static int print_object(const struct sample *now, const struct sample *old)
{
	const struct board *b = &now->board;
	json_t *members = json_array(), *refusals = json_object(), *j;
	int r;

	for (uint32_t i = 0; i < b->cluster.n_members; i++)
		json_array_append_new(members,
				      json_pack("{s:s, s:b}", "name", b->cluster.members[i].name,
						"answered", b->cluster.members[i].answered));
	for (size_t i = 0; i < REFUSALS; i++)
		json_object_set_new(refusals, refusal_name((enum refusal)i),
				    json_integer((json_int_t)b->metrics.refusals[i]));
	j = json_pack("{s:b, s:b, s:s, s:f, s:f, s:I, s:o, s:o}", "serving", b->serving, "sealed",
		      b->sealed, "custody", b->custody, "requestsPerSecond",
		      rate(now->ok, old->ok, now->seconds), "failedPerSecond",
		      rate(now->failed, old->failed, now->seconds), "connections",
		      (json_int_t)b->metrics.connections, "refusals", refusals, "members", members);
	if (!j)
		return ctl_fail("out of memory");
	r = json_dumpf(j, stdout, JSON_COMPACT | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(j);
	return r == 0 ? 0 : ctl_fail("cannot write: %s", errno_text(errno));
}

/* @argv: how many times, without end if not given. */
static int times(int argc, char **argv, unsigned long *ret)
{
	char *end = NULL;

	*ret = 0;
	if (argc == 0)
		return 0;
	errno = 0;
	*ret = strtoul(argv[0], &end, 10);
	if (argc > 1 || errno != 0 || *argv[0] < '1' || *argv[0] > '9' || *end)
		return ctl_usage("top takes how many times to look, or nothing");
	return 0;
}

int ctl_top(const struct ctl *ctl, int argc, char **argv)
{
	_cleanup_free_ struct sample *now = calloc(1, sizeof(*now)), *old = calloc(1, sizeof(*old));
	bool screen = isatty(STDOUT_FILENO);
	unsigned long n;
	int r = times(argc, argv, &n);

	if (r != 0 || !now || !old)
		return r != 0 ? r : ctl_fail("out of memory");
	for (unsigned long i = 0; n == 0 || i <= n; i++) {
		memset(&now->board, 0, sizeof(now->board));
		r = ctl_board(ctl, &now->board);
		if (r != 0)
			return r;
		sum_up(now);
		now->seconds = PERIOD_MS / 1000.0;
		if (i > 0 && ctl->json)
			r = print_object(now, old);
		else if (i > 0 && screen)
			print_screen(now, old);
		else if (i > 0)
			printf("%.1f requests/s, %.1f failed/s, %" PRIu32 " connections, %s\n",
			       rate(now->ok, old->ok, now->seconds),
			       rate(now->failed, old->failed, now->seconds),
			       now->board.metrics.connections,
			       now->board.serving ? "serving" : "NOT serving");
		if (r != 0)
			return r;
		fflush(stdout);
		memcpy(old, now, sizeof(*old));
		if (n == 0 || i < n)
			poll(NULL, 0, PERIOD_MS);
	}
	return 0;
}
