/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measuring: several subjects in turn, round after round, so that whatever else the machine does
 * meets them all; of each the median and the range. Nothing here judges a time.
 *
 * The clock is CLOCK_MONOTONIC. In a guest of scripts/vm --icount it counts instructions, one a
 * nanosecond, and the same figures are then instructions a message.
 */
#ifndef KEKD_TESTS_BENCH_MEASURE_H
#define KEKD_TESTS_BENCH_MEASURE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/sys/ring.h"

#define ROUNDS_MAX 64

struct subject {
	const char *name, *key; /* for people, for programs */
	/* 0, or why not; @why is set to a few words then. The rest is not called. */
	int (*open)(struct subject *s);
	/* Seal some messages, at least one; how many, or -errno. */
	int (*batch)(struct subject *s);
	void (*close)(struct subject *s);
	unsigned int in_flight;
	unsigned int variant; /* the subject's own */

	const char *why;
	void *data;
	double ns[ROUNDS_MAX]; /* a message */
	unsigned int rounds;
};

static inline int measure_by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of @s->ns, once sorted. */
static inline double measure_median(const struct subject *s)
{
	unsigned int n = s->rounds;

	return n % 2 ? s->ns[n / 2] : (s->ns[n / 2 - 1] + s->ns[n / 2]) / 2;
}

/* At least one batch, then until @slice_ns have gone by. The clock is read once in 32 messages. */
static inline int measure_slice(struct subject *s, uint64_t slice_ns, double *ret_ns)
{
	uint64_t begun = now_ns(), now, messages = 0, next = 32;
	int r;

	do {
		while (messages < next) {
			r = s->batch(s);
			if (r < 0)
				return r;
			messages += (uint64_t)r;
		}
		next = messages + 32;
		now = now_ns();
	} while (now - begun < slice_ns);
	*ret_ns = (double)(now - begun) / (double)messages;
	return 0;
}

/* The first round warms up and is thrown away. */
static inline int measure_all(struct subject *subjects, size_t n, unsigned int rounds,
			      uint64_t slice_ns)
{
	double ns;
	int r;

	for (unsigned int round = 0; round <= rounds; round++)
		for (size_t i = 0; i < n; i++) {
			struct subject *s = &subjects[i];

			if (s->why)
				continue;
			r = measure_slice(s, slice_ns, &ns);
			if (r < 0) {
				fprintf(stderr, "%s: %s\n", s->name, strerror(-r));
				return r;
			}
			if (round > 0)
				s->ns[s->rounds++] = ns;
		}
	for (size_t i = 0; i < n; i++)
		qsort(subjects[i].ns, subjects[i].rounds, sizeof(double), measure_by_size);
	return 0;
}

/* Thousands of messages a second. */
static inline double measure_rate(double ns)
{
	return 1e6 / ns;
}

/* Of the instructions that @ns stands for, or of a rate. */
static inline void measure_row(const struct subject *s, const struct subject *base, bool counting)
{
	double median, low, high;

	if (s->why) {
		printf("| %s | %s | | |\n", s->name, s->why);
		return;
	}
	median = measure_median(s);
	low = s->ns[0];
	high = s->ns[s->rounds - 1];
	if (counting)
		printf("| %s | %.0f | %.0f … %.0f | %.2f |\n", s->name, median, low, high,
		       measure_median(base) / median);
	else
		printf("| %s | %.1f | %.1f … %.1f | %.2f |\n", s->name, measure_rate(median),
		       measure_rate(high), measure_rate(low), measure_median(base) / median);
}

static inline void measure_print(const struct subject *subjects, size_t n, bool counting)
{
	printf("| 32-byte messages | %s | min … max | × EVP |\n|---|---|---|---|\n",
	       counting ? "instructions each" : "thousands a second");
	for (size_t i = 0; i < n; i++)
		measure_row(&subjects[i], &subjects[0], counting);
}

static inline json_t *measure_json(const struct subject *s, const struct subject *base)
{
	double median;

	if (s->why)
		return json_pack("{s:s, s:s, s:i, s:s}", "id", s->key, "name", s->name, "inFlight",
				 (int)s->in_flight, "refused", s->why);
	median = measure_median(s);
	return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:i}", "id", s->key, "name", s->name,
			 "inFlight", (int)s->in_flight, "nsMedian", median, "nsMin", s->ns[0],
			 "nsMax", s->ns[s->rounds - 1], "timesEvp", measure_median(base) / median,
			 "rounds", (int)s->rounds);
}

#endif
