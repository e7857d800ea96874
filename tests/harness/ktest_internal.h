/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two sides of the harness share: ktest.c starts tests and judges them, ktest_test.c is the
 * inside of a test process. The report is a shared anonymous mapping: the test adds to it without a
 * system call, so checks work after the descriptors are closed and inside a sandbox.
 */
#pragma once

#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "tests/harness/ktest.h"

/* Exit statuses, of a test process and of a test program. */
enum { KTEST_PASS = 0, KTEST_FAIL = 1, KTEST_SKIP = 4 };
enum { KTEST_LINE_SIZE = 1024, KTEST_LOG_SIZE = 64 * 1024, KTEST_NAME_SIZE = 512 };

struct ktest_report {
	atomic_uint failed;   /* checks that did not hold */
	atomic_bool finished; /* the test came to its last line, or to an ASSERT or SKIP */
	atomic_bool skipped;
	atomic_bool xfail;
	char why[KTEST_LINE_SIZE]; /* of SKIP or XFAIL */
	atomic_size_t used;        /* may pass the size of the log, which is then cut */
	char log[KTEST_LOG_SIZE];
};

/* One test with one of its fixture's variants. */
struct ktest_run {
	const struct ktest_test *test;
	const struct ktest_variant *variant; /* NULL: none */
	char name[KTEST_NAME_SIZE];
};

/* The report of the test that runs; set once, before the first test. */
extern struct ktest_report *ktest_report;

/* The exit status that belongs to what the report says. */
int ktest_exit_status(void);

/*
 * The whole life of a test process. `parent` is the process that forked it, `output` becomes its stdout
 * and stderr, `mask` its signal mask. All are borrowed.
 */
__attribute__((noreturn)) void ktest_run_test(const struct ktest_run *run, pid_t parent, int output,
					      const sigset_t *mask);
