/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, adding up over servers, and the text that Prometheus reads. */
#include "daemon/obs/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "tests/harness/ktest.h"

static char *text_of(const struct metrics *m)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	metrics_print(m, f);
	fclose(f);
	return text;
}

static bool has(const struct metrics *m, const char *line)
{
	_cleanup_free_ char *text = text_of(m);

	return strstr(text, line) != NULL;
}

TEST(counts_by_method_and_code)
{
	struct metrics m = { 0 };

	metrics_observe(&m, "v2.Encrypt", 0, 1000);
	metrics_observe(&m, "v2.Encrypt", 0, 1000);
	metrics_observe(&m, "v2.Decrypt", 15, 1000);
	EXPECT_TRUE(has(&m, "kekd_requests_total{method=\"v2.Encrypt\",code=\"OK\"} 2\n"));
	EXPECT_TRUE(has(&m, "kekd_requests_total{method=\"v2.Decrypt\",code=\"DATA_LOSS\"} 1\n"));
	EXPECT_TRUE(has(&m, "kekd_requests_total{method=\"v1beta1.Decrypt\",code=\"OK\"} 0\n"));
}

/* What a client sends must not become a label. */
TEST(labels_are_bounded)
{
	struct metrics m = { 0 };

	metrics_observe(&m, "v9.Nonsense", 4711, 1);
	EXPECT_FALSE(has(&m, "Nonsense"));
	EXPECT_TRUE(has(&m, "kekd_requests_total{method=\"other\",code=\"UNKNOWN\"} 1\n"));
}

TEST(histogram_is_cumulative)
{
	struct metrics m = { 0 };

	metrics_observe(&m, "v2.Encrypt", 0, 50000);
	metrics_observe(&m, "v2.Encrypt", 0, 50001);
	metrics_observe(&m, "v2.Encrypt", 0, UINT64_C(5000000000));
	EXPECT_TRUE(has(&m, "_bucket{method=\"v2.Encrypt\",le=\"5e-05\"} 1\n"));
	EXPECT_TRUE(has(&m, "_bucket{method=\"v2.Encrypt\",le=\"0.0001\"} 2\n"));
	EXPECT_TRUE(has(&m, "_bucket{method=\"v2.Encrypt\",le=\"3\"} 2\n"));
	EXPECT_TRUE(has(&m, "_bucket{method=\"v2.Encrypt\",le=\"+Inf\"} 3\n"));
	EXPECT_TRUE(has(&m, "_sum{method=\"v2.Encrypt\"} 5.000100001\n"));
	EXPECT_TRUE(has(&m, "_count{method=\"v2.Encrypt\"} 3\n"));
}

/* Counters outlive a server; what is so now is of those that live. */
TEST(adds_up_and_apart_from_that_what_is_so_now)
{
	struct metrics total = { 0 }, more = { .connections = 7, .calls = 3, .refused_peers = 2 };

	more.refusals[REFUSAL_CALLS] = 5;

	metrics_observe(&more, "v2.Encrypt", 0, 10);
	metrics_add(&total, &more);
	metrics_add(&total, &more);
	EXPECT_EQ(4, total.refused_peers);
	EXPECT_TRUE(has(&total, "kekd_refusals_total{reason=\"calls\"} 10\n"));
	EXPECT_TRUE(has(&total, "kekd_refusals_total{reason=\"memory\"} 0\n"));
	EXPECT_EQ(0, total.connections);
	EXPECT_TRUE(has(&total, "kekd_requests_total{method=\"v2.Encrypt\",code=\"OK\"} 2\n"));
	EXPECT_TRUE(has(&total, "kekd_open_calls 0\n"));
	metrics_add_now(&total, &more);
	more.probe_r = -EIO;
	more.audit_stuck = 1;
	metrics_add_now(&total, &more);
	more.probe_r = 0;
	more.audit_stuck = 0;
	metrics_add_now(&total, &more);
	EXPECT_EQ(21, total.connections);
	EXPECT_EQ(4, total.refused_peers);
	EXPECT_ERR(-EIO, total.probe_r);
	EXPECT_EQ(1, total.audit_stuck);
	EXPECT_TRUE(has(&total, "kekd_open_calls 9\n"));
}

TEST_HARNESS_MAIN
