/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test's side of the harness: checks, early ends, and the life of a test process from fork to exit.
 *
 * Everything a test says goes to the report that it shares with the harness. A line is put together on
 * the stack and claims its place with one atomic addition, so threads and children may all speak.
 */
#include "tests/harness/ktest_internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct ktest_report *ktest_report;
bool ktest_show_bytes;

/* Set in the test process only. */
static struct {
	pid_t pid, tid;
	jmp_buf end;
	bool set_up, ended_early;
	void *self;
	const void *variant;
} test;

/* Adds one line to the report; what does not fit is cut. Takes no lock and makes no system call. */
__attribute__((format(printf, 2, 0))) static void report_vline(const char *prefix,
							       const char *format, va_list args)
{
	struct ktest_report *r = ktest_report;
	char line[KTEST_LINE_SIZE];
	int n = snprintf(line, sizeof(line) - 1, "%s", prefix);
	size_t len = n < 0 ? 0 : strnlen(line, sizeof(line) - 1);
	size_t at;

	vsnprintf(line + len, sizeof(line) - 1 - len, format, args);
	len = strlen(line);
	line[len++] = '\n';
	if (r == NULL || atomic_load(&r->used) > KTEST_LOG_SIZE)
		return;
	at = atomic_fetch_add(&r->used, len);
	if (at < KTEST_LOG_SIZE)
		memcpy(r->log + at, line, len < KTEST_LOG_SIZE - at ? len : KTEST_LOG_SIZE - at);
}

void ktest_log(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_vline("", format, args);
	va_end(args);
}

bool ktest_fail(const char *file, int line, const char *format, ...)
{
	char prefix[KTEST_LINE_SIZE / 2];
	va_list args;

	snprintf(prefix, sizeof(prefix), "%s:%d: ", file, line);
	va_start(args, format);
	report_vline(prefix, format, args);
	va_end(args);
	atomic_fetch_add(&ktest_report->failed, 1);
	return false;
}

static int order(struct ktest_value a, struct ktest_value b)
{
	if (a.kind == KTEST_SIGNED && b.kind == KTEST_SIGNED)
		return (a.i > b.i) - (a.i < b.i);
	if (a.kind == KTEST_POINTER)
		return ((uintptr_t)a.p > (uintptr_t)b.p) - ((uintptr_t)a.p < (uintptr_t)b.p);
	if (a.kind == KTEST_SIGNED && a.i < 0)
		return -1;
	if (b.kind == KTEST_SIGNED && b.i < 0)
		return 1;
	/* Neither is negative, so a signed one has the same bits as its unsigned value. */
	return (a.u > b.u) - (a.u < b.u);
}

static bool holds(enum ktest_operator op, int o)
{
	switch (op) {
	case KTEST_EQ:
		return o == 0;
	case KTEST_NE:
		return o != 0;
	case KTEST_LT:
		return o < 0;
	case KTEST_LE:
		return o <= 0;
	case KTEST_GT:
		return o > 0;
	case KTEST_GE:
		return o >= 0;
	}
	return false;
}

static const char *format_value(struct ktest_value v, char buf[static 64])
{
	if (v.kind == KTEST_SIGNED)
		snprintf(buf, 64, "%jd", v.i);
	else if (v.kind == KTEST_UNSIGNED)
		snprintf(buf, 64, v.u > 9 ? "%ju (0x%jx)" : "%ju", v.u, v.u);
	else
		snprintf(buf, 64, "0x%jx", (uintmax_t)(uintptr_t)v.p);
	return buf;
}

bool ktest_compare(const char *file, int line, enum ktest_operator op, const char *exp_text,
		   const char *seen_text, struct ktest_value exp, struct ktest_value seen)
{
	static const char *const signs[] = { "==", "!=", "<", "<=", ">", ">=" };
	char a[64], b[64];

	if (holds(op, order(exp, seen)))
		return true;
	return ktest_fail(file, line, "expected %s %s %s: %s against %s", exp_text, signs[op],
			  seen_text, format_value(exp, a), format_value(seen, b));
}

bool ktest_streq(const char *file, int line, const char *exp_text, const char *seen_text,
		 const char *exp, const char *seen)
{
	if (exp == seen || (exp != NULL && seen != NULL && strcmp(exp, seen) == 0))
		return true;
	return ktest_fail(file, line, "expected %s equal to %s: \"%.300s\" against \"%.300s\"",
			  exp_text, seen_text, exp == NULL ? "(NULL)" : exp,
			  seen == NULL ? "(NULL)" : seen);
}

static void log_bytes(const char *what, const uint8_t *bytes, size_t len, size_t from)
{
	char hex[3 * 16 + 1] = "";

	for (size_t i = 0; i < 16 && from + i < len; i++)
		snprintf(hex + 3 * i, 4, " %02x", bytes[from + i]);
	ktest_log("    %s from %zu:%s", what, from, hex);
}

bool ktest_memeq(const char *file, int line, const char *exp_text, const char *seen_text,
		 const void *exp, size_t exp_len, const void *seen, size_t seen_len)
{
	size_t shorter = exp_len < seen_len ? exp_len : seen_len, at = 0;
	const uint8_t *e = exp, *s = seen;

	if ((e == NULL && exp_len > 0) || (s == NULL && seen_len > 0))
		return ktest_fail(file, line, "expected %s equal to %s: NULL with a length",
				  exp_text, seen_text);
	while (at < shorter && e[at] == s[at])
		at++;
	if (at == exp_len && at == seen_len)
		return true;
	ktest_fail(file, line,
		   "expected %s equal to %s: differ from byte %zu on, %zu against %zu bytes",
		   exp_text, seen_text, at, exp_len, seen_len);
	if (ktest_show_bytes) {
		log_bytes("expected", e, exp_len, at);
		log_bytes("seen", s, seen_len, at);
	}
	return false;
}

static const char *format_result(intmax_t r, char buf[static 64])
{
	const char *name = r < 0 && r > -4096 ? strerrorname_np((int)-r) : NULL;

	if (name != NULL)
		snprintf(buf, 64, "-%s", name);
	else
		snprintf(buf, 64, "%jd", r);
	return buf;
}

bool ktest_result(const char *file, int line, intmax_t exp, const char *seen_text, intmax_t seen)
{
	char a[64], b[64];

	if (exp == seen)
		return true;
	return ktest_fail(file, line, "expected %s from %s: %s", format_result(exp, a), seen_text,
			  format_result(seen, b));
}

__attribute__((format(printf, 1, 0))) static void set_why(const char *format, va_list args)
{
	char *why = ktest_report->why;

	vsnprintf(why, KTEST_LINE_SIZE, format, args);
	for (; *why != '\0'; why++) {
		if ((unsigned char)*why < ' ')
			*why = ' ';
	}
}

int ktest_exit_status(void)
{
	const struct ktest_report *r = ktest_report;

	if (atomic_load(&r->failed) > 0)
		return KTEST_FAIL;
	return atomic_load(&r->skipped) ? KTEST_SKIP : KTEST_PASS;
}

/* Jumping is right on the test's own stack only: elsewhere the process ends, and the test fails. */
void ktest_end(void)
{
	if (getpid() == test.pid && gettid() == test.tid)
		longjmp(test.end, 1);
	_exit(ktest_exit_status());
}

void ktest_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_why(format, args);
	va_end(args);
	atomic_store(&ktest_report->skipped, true);
	ktest_end();
}

void ktest_expect_failure(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_why(format, args);
	va_end(args);
	atomic_store(&ktest_report->xfail, true);
}

static bool is_required(const char *facility)
{
	const char *list = getenv("KTEST_REQUIRE");
	size_t len = strlen(facility);

	while (list != NULL && *list != '\0') {
		size_t n = strcspn(list, ",");

		if (n == len && strncmp(list, facility, n) == 0)
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

void ktest_lacks(const char *file, int line, const char *facility, const char *why)
{
	if (!is_required(facility))
		ktest_skip("%s: %s", facility, why);
	ktest_fail(file, line, "KTEST_REQUIRE lists %s: %s", facility, why);
	ktest_end();
}

/* Allocates what the fixture declared, so that a sanitizer sees where it ends. */
static void test_allocate(const struct ktest_test *t)
{
	size_t align = t->self_align < sizeof(void *) ? sizeof(void *) : t->self_align;
	size_t size = t->self_size == 0 ? 1 : t->self_size;

	if (posix_memalign(&test.self, align, size) != 0)
		abort();
	memset(test.self, 0, size);
}

static void test_body(const struct ktest_test *t)
{
	if (setjmp(test.end) != 0) {
		test.ended_early = true;
		return;
	}
	if (t->fixture != NULL && t->fixture->setup != NULL)
		t->fixture->setup(test.self, test.variant);
	test.set_up = true;
	t->body(test.self, test.variant);
	if (getpid() != test.pid) {
		ktest_fail(__FILE__, __LINE__,
			   "a child of the test came back from it: end it by _exit");
		_exit(KTEST_FAIL);
	}
}

static void test_teardown(const struct ktest_test *t)
{
	if (!test.set_up || t->fixture == NULL || t->fixture->teardown == NULL)
		return;
	if (setjmp(test.end) != 0) {
		test.ended_early = true;
		return;
	}
	t->fixture->teardown(test.self, test.variant);
}

/*
 * A sanitizer's runtime takes the signals of crashes for itself: give the awaited one back to the
 * kernel. A core file of a death that was wanted is of no use.
 */
static void test_await_signal(int sig)
{
	const struct rlimit no_core = { 0, 0 };

	if (sig == 0)
		return;
	if (sig != SIGKILL && sig != SIGSTOP)
		signal(sig, SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
}

static void test_redirect(int output)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		abort();
	close(null);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

void ktest_run_test(const struct ktest_run *run, pid_t parent, int output, const sigset_t *mask)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(KTEST_FAIL);
	test.pid = getpid();
	test.tid = gettid();
	test.variant = run->variant == NULL ? NULL : run->variant->data;
	test_redirect(output);
	test_await_signal(run->test->expected_signal);
	sigprocmask(SIG_SETMASK, mask, NULL);
	test_allocate(run->test);
	test_body(run->test);
	test_teardown(run->test);
	free(test.self);
	test.self = NULL;
	atomic_store(&ktest_report->finished, true);
	fflush(NULL);
	if (test.ended_early)
		_exit(ktest_exit_status());
	exit(ktest_exit_status());
}
