/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness behind ktest.h: runs each test in a process of its own and judges it.
 *
 * The two sides share one anonymous mapping, `report`. The test's side adds to it without a system call,
 * so checks work after the descriptors are closed and inside a sandbox. Only the harness's side writes
 * to standard output, so nothing a test prints can be taken for a result.
 *
 * A verdict takes two witnesses: what the report says and how the process ended. They must agree, which
 * is how a sanitizer's exit status, or a test that calls exit(0) half-way, becomes a failure.
 *
 * Kernel caveats: the test process stays a zombie (WNOWAIT) until its group has been killed, so that
 * its number cannot have gone to another group. Processes that left the group are re-parented to us
 * (PR_SET_CHILD_SUBREAPER) and found in /proc/thread-self/children; see proc(5) and prctl(2).
 */
#include "tests/harness/ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_PASS = 0, EXIT_FAIL = 1, EXIT_SKIP = 4 };
enum { DEFAULT_TIMEOUT_S = 30, LINE_SIZE = 1024, LOG_SIZE = 64 * 1024, NAME_SIZE = 512 };
enum verdict { PASSED, FAILED, SKIPPED, XFAILED, VERDICTS };

struct report {
	atomic_uint failed; /* checks that did not hold */
	atomic_bool
		finished; /* the test came to an end of its own: its last line, ASSERT or SKIP */
	atomic_bool skipped;
	atomic_bool xfail;
	char why[LINE_SIZE]; /* of SKIP or XFAIL */
	atomic_size_t used;
	char log[LOG_SIZE];
};

/* One test with one of its fixture's variants. */
struct run {
	const struct ktest_test *test;
	const struct ktest_variant *variant; /* NULL: none */
	char name[NAME_SIZE];
};

typedef void (*visit_fn)(const struct run *run);

bool ktest_show_bytes;

/* The tests in the order of their definition; constructors fill it before main(). */
static struct {
	struct ktest_test *first, **end;
} registry = { .end = &registry.first };

static struct {
	char **globs; /* the arguments of -t, borrowed from argv */
	size_t n_globs;
	bool verbose;
	double timeout_scale;
} options = { .timeout_scale = 1.0 };

/* The harness's side. */
static struct {
	struct report *report;
	int output; /* memfd that is stdout and stderr of the test */
	sigset_t waited_for, original;
	unsigned int number, count[VERDICTS];
} harness = { .output = -1 };

/* The test's side: set in the test process only. */
static struct {
	pid_t pid, tid;
	jmp_buf end;
	bool set_up, ended_early;
	void *self;
	const void *variant;
} test;

/* Adds one line to the report; what does not fit is cut. Takes no lock and makes no system call. */
static void report_vline(const char *prefix, const char *format, va_list args)
{
	struct report *r = harness.report;
	char line[LINE_SIZE];
	int n = snprintf(line, sizeof(line) - 1, "%s", prefix);
	size_t len = n < 0 ? 0 : strnlen(line, sizeof(line) - 1);
	size_t at;

	vsnprintf(line + len, sizeof(line) - 1 - len, format, args);
	len = strlen(line);
	line[len++] = '\n';
	if (r == NULL || atomic_load(&r->used) > LOG_SIZE)
		return;
	at = atomic_fetch_add(&r->used, len);
	if (at < LOG_SIZE)
		memcpy(r->log + at, line, len < LOG_SIZE - at ? len : LOG_SIZE - at);
}

__attribute__((format(printf, 2, 3))) static void report_line(const char *prefix,
							      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_vline(prefix, format, args);
	va_end(args);
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
	char prefix[LINE_SIZE / 2];
	va_list args;

	snprintf(prefix, sizeof(prefix), "%s:%d: ", file, line);
	va_start(args, format);
	report_vline(prefix, format, args);
	va_end(args);
	atomic_fetch_add(&harness.report->failed, 1);
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

static void set_why(const char *format, va_list args)
{
	char *why = harness.report->why;

	vsnprintf(why, LINE_SIZE, format, args);
	for (; *why != '\0'; why++) {
		if ((unsigned char)*why < ' ')
			*why = ' ';
	}
}

static int exit_status(void)
{
	const struct report *r = harness.report;

	if (atomic_load(&r->failed) > 0)
		return EXIT_FAIL;
	return atomic_load(&r->skipped) ? EXIT_SKIP : EXIT_PASS;
}

/* Jumping is right on the test's own stack only: elsewhere the process ends, and the test fails. */
void ktest_end(void)
{
	if (getpid() == test.pid && gettid() == test.tid)
		longjmp(test.end, 1);
	_exit(exit_status());
}

void ktest_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_why(format, args);
	va_end(args);
	atomic_store(&harness.report->skipped, true);
	ktest_end();
}

void ktest_expect_failure(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_why(format, args);
	va_end(args);
	atomic_store(&harness.report->xfail, true);
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

void ktest_add_test(struct ktest_test *t)
{
	*registry.end = t;
	registry.end = &t->next;
}

void ktest_add_variant(struct ktest_fixture *fixture, struct ktest_variant *variant)
{
	struct ktest_variant **end = &fixture->variants;

	while (*end != NULL)
		end = &(*end)->next;
	*end = variant;
}

/* Ends the whole program: the harness itself cannot go on. */
__attribute__((noreturn, format(printf, 1, 2))) static void bail_out(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	dprintf(STDOUT_FILENO, "Bail out! ");
	vdprintf(STDOUT_FILENO, format, args);
	dprintf(STDOUT_FILENO, "\n");
	va_end(args);
	exit(EXIT_FAIL);
}

/* The test's side. Allocates what the fixture declared, so that a sanitizer sees where it ends. */
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

static void test_redirect(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = options.verbose ? STDERR_FILENO : harness.output;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		abort();
	close(null);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

__attribute__((noreturn)) static void test_main(const struct run *run, pid_t parent)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAIL);
	test.pid = getpid();
	test.tid = gettid();
	test.variant = run->variant == NULL ? NULL : run->variant->data;
	test_redirect();
	test_await_signal(run->test->expected_signal);
	sigprocmask(SIG_SETMASK, &harness.original, NULL);
	test_allocate(run->test);
	test_body(run->test);
	test_teardown(run->test);
	free(test.self);
	test.self = NULL;
	atomic_store(&harness.report->finished, true);
	fflush(NULL);
	if (test.ended_early)
		_exit(exit_status());
	exit(exit_status());
}

/* The harness's side from here on. */
static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static double timeout_s(const struct ktest_test *t)
{
	return (t->timeout_s == 0 ? DEFAULT_TIMEOUT_S : t->timeout_s) * options.timeout_scale;
}

/* Whether `pid` has ended; it stays a zombie. Orphans of the test that ended are reaped on the way. */
static bool has_ended(pid_t pid)
{
	for (;;) {
		siginfo_t si = { 0 };

		if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    si.si_pid == pid)
			return true;
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0 ||
		    si.si_pid == 0)
			return false;
		if (si.si_pid != pid)
			waitpid(si.si_pid, NULL, WNOHANG | __WALL);
	}
}

/* Kills the children that /proc lists; false if it lists none. */
static bool kill_children(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	bool any = false;
	int pid;

	if (f == NULL)
		return false;
	while (fscanf(f, "%d", &pid) == 1)
		any = kill((pid_t)pid, SIGKILL) == 0 || any;
	fclose(f);
	return any;
}

/* Kills and reaps all that descends from the test `pid`, the test itself last, for its status. */
static int sweep(pid_t pid)
{
	int status = 0;

	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	for (;;) {
		bool killed = kill_children();
		pid_t reaped = waitpid(-1, NULL, killed ? __WALL : __WALL | WNOHANG);

		if (reaped < 0 && errno != EINTR)
			return status;
		if (reaped == 0 && access("/proc/thread-self/children", R_OK) != 0)
			return status;
	}
}

/* Waits until the test ends or its time is up; dies of SIGINT and the like once it is swept away. */
static bool wait_for(pid_t pid, const struct ktest_test *t)
{
	int64_t deadline = now_ms() + (int64_t)(timeout_s(t) * 1000);

	while (!has_ended(pid)) {
		int64_t left = deadline - now_ms();
		struct timespec ts = { .tv_sec = (time_t)(left / 1000),
				       .tv_nsec = (long)(left % 1000) * 1000000 };
		int sig = left <= 0 ? -1 : sigtimedwait(&harness.waited_for, NULL, &ts);

		if (left <= 0)
			return false;
		if (sig <= 0 || sig == SIGCHLD)
			continue;
		sweep(pid);
		signal(sig, SIG_DFL);
		sigprocmask(SIG_SETMASK, &harness.original, NULL);
		raise(sig);
	}
	return true;
}

static const char *signal_name(int sig, char buf[static 32])
{
	const char *abbrev = sigabbrev_np(sig);

	if (abbrev != NULL)
		snprintf(buf, 32, "SIG%s", abbrev);
	else
		snprintf(buf, 32, "signal %d", sig);
	return buf;
}

static enum verdict judge_status(int status, const struct ktest_test *t)
{
	const struct report *r = harness.report;
	char a[32], b[32];

	if (WIFSIGNALED(status)) {
		if (WTERMSIG(status) == t->expected_signal && atomic_load(&r->failed) == 0)
			return PASSED;
		report_line("", "died of %s", signal_name(WTERMSIG(status), a));
		return FAILED;
	}
	if (!atomic_load(&r->finished)) {
		report_line("", "exited with status %d before its end", WEXITSTATUS(status));
		return FAILED;
	}
	if (WEXITSTATUS(status) != exit_status()) {
		report_line("",
			    "exit status %d instead of %d: a sanitizer's report, or exit handlers",
			    WEXITSTATUS(status), exit_status());
		return FAILED;
	}
	if (t->expected_signal != 0 && exit_status() == EXIT_PASS) {
		report_line("", "should have died of %s", signal_name(t->expected_signal, b));
		return FAILED;
	}
	return exit_status() == EXIT_SKIP ? SKIPPED : exit_status() == EXIT_FAIL ? FAILED : PASSED;
}

static enum verdict judge(bool in_time, int status, const struct ktest_test *t)
{
	const struct report *r = harness.report;
	enum verdict v;

	if (!in_time) {
		report_line("", "timed out after %g s", timeout_s(t));
		return FAILED;
	}
	v = judge_status(status, t);
	if (!atomic_load(&r->xfail) || v == SKIPPED)
		return v;
	if (v == FAILED && atomic_load(&r->finished) && WIFEXITED(status) &&
	    WEXITSTATUS(status) == EXIT_FAIL && atomic_load(&r->failed) > 0)
		return XFAILED;
	if (v == PASSED)
		report_line("", "passed, though it is marked as known to fail: %s", r->why);
	return FAILED;
}

/* Prints text as KTAP comments, one per line, without control characters. */
static void print_comments(const char *text, size_t len)
{
	while (len > 0) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl == NULL ? len : (size_t)(nl - text);
		char line[LINE_SIZE];
		size_t kept = n < sizeof(line) ? n : sizeof(line);

		for (size_t i = 0; i < kept; i++)
			line[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
		dprintf(STDOUT_FILENO, "# %.*s\n", (int)kept, line);
		n += nl != NULL;
		text += n;
		len -= n;
	}
}

/* The end of what the test wrote: that is where a sanitizer says what it saw. */
static void print_output(void)
{
	static char tail[LOG_SIZE];
	off_t size = lseek(harness.output, 0, SEEK_END);
	off_t from = size > LOG_SIZE ? size - LOG_SIZE : 0;
	ssize_t n = size <= 0 ? 0 : pread(harness.output, tail, sizeof(tail), from);

	if (from > 0)
		dprintf(STDOUT_FILENO, "# (%jd bytes of output left out)\n", (intmax_t)from);
	if (n > 0)
		print_comments(tail, (size_t)n);
}

static void print_result(const struct run *run, enum verdict v)
{
	const struct report *r = harness.report;
	size_t used = atomic_load(&r->used);

	if (v == FAILED)
		print_output();
	print_comments(r->log, used < LOG_SIZE ? used : LOG_SIZE);
	dprintf(STDOUT_FILENO, "%s %u %s", v == FAILED ? "not ok" : "ok", harness.number,
		run->name);
	if (v == SKIPPED || v == XFAILED)
		dprintf(STDOUT_FILENO, " # %s %s", v == SKIPPED ? "SKIP" : "XFAIL", r->why);
	dprintf(STDOUT_FILENO, "\n");
}

static void run_one(const struct run *run)
{
	pid_t parent = getpid(), pid;
	enum verdict v;
	bool in_time;
	int status;

	memset(harness.report, 0, sizeof(*harness.report));
	if (ftruncate(harness.output, 0) != 0 || lseek(harness.output, 0, SEEK_SET) != 0)
		bail_out("output file: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		test_main(run, parent);
	if (pid < 0)
		bail_out("fork: %s", strerror(errno));
	setpgid(pid, pid);
	in_time = wait_for(pid, run->test);
	status = sweep(pid);
	v = judge(in_time, status, run->test);
	harness.number++;
	harness.count[v]++;
	print_result(run, v);
}

static bool is_selected(const char *name)
{
	const char *dot = strchr(name, '.');

	for (size_t i = 0; i < options.n_globs; i++) {
		if (fnmatch(options.globs[i], name, 0) == 0 ||
		    (dot != NULL && fnmatch(options.globs[i], dot + 1, 0) == 0))
			return true;
	}
	return options.n_globs == 0;
}

static void visit(visit_fn fn, const struct ktest_test *t, const struct ktest_variant *v)
{
	struct run run = { .test = t, .variant = v };
	const char *fixture = t->fixture == NULL ? "" : t->fixture->name;
	int n = snprintf(run.name, sizeof(run.name), "%s.%s%s%s%s%s", program_invocation_short_name,
			 fixture, *fixture == '\0' ? "" : ".", v == NULL ? "" : v->name,
			 v == NULL ? "" : ".", t->name);

	if (n < 0 || (size_t)n >= sizeof(run.name))
		bail_out("the name of test %s is too long", t->name);
	if (is_selected(run.name))
		fn(&run);
}

static void visit_all(visit_fn fn)
{
	for (const struct ktest_test *t = registry.first; t != NULL; t = t->next) {
		const struct ktest_variant *v = t->fixture == NULL ? NULL : t->fixture->variants;

		do {
			visit(fn, t, v);
			v = v == NULL ? NULL : v->next;
		} while (v != NULL);
	}
}

static void print_name(const struct run *run)
{
	dprintf(STDOUT_FILENO, "%s\n", run->name);
}

static void count_one(const struct run *run)
{
	(void)run;
	harness.number++;
}

static void harness_init(void)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP };

	harness.report = mmap(NULL, sizeof(*harness.report), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (harness.report == MAP_FAILED)
		bail_out("mmap: %s", strerror(errno));
	harness.output = memfd_create("ktest-output", MFD_CLOEXEC);
	if (harness.output < 0 || fcntl(harness.output, F_SETFL, O_APPEND) != 0)
		bail_out("memfd_create: %s", strerror(errno));
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		bail_out("PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&harness.waited_for);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&harness.waited_for, signals[i]);
	sigprocmask(SIG_BLOCK, &harness.waited_for, &harness.original);
}

static int run_all(void)
{
	visit_all(count_one);
	dprintf(STDOUT_FILENO, "KTAP version 1\n1..%u\n", harness.number);
	if (harness.number == 0)
		bail_out("no test is selected");
	harness.number = 0;
	harness_init();
	visit_all(run_one);
	dprintf(STDOUT_FILENO, "# passed %u, failed %u, skipped %u, xfailed %u\n",
		harness.count[PASSED], harness.count[FAILED], harness.count[SKIPPED],
		harness.count[XFAILED]);
	if (harness.count[FAILED] > 0)
		return EXIT_FAIL;
	return harness.count[SKIPPED] == harness.number ? EXIT_SKIP : EXIT_PASS;
}

static void read_timeout_scale(void)
{
	const char *text = getenv("KTEST_TIMEOUT_SCALE");
	char *end = NULL;

	if (text == NULL)
		return;
	options.timeout_scale = strtod(text, &end);
	if (end == text || *end != '\0' || !(options.timeout_scale >= 0.01) ||
	    options.timeout_scale > 10000)
		bail_out("KTEST_TIMEOUT_SCALE must be a number from 0.01 to 10000");
}

static int usage(void)
{
	dprintf(STDERR_FILENO,
		"usage: %s [-l] [-v] [-t GLOB]...\n"
		"  -l  list the tests and run none\n"
		"  -t  run those whose name, with or without the program's, matches\n"
		"  -v  let the tests' own output through as it comes, to standard error\n",
		program_invocation_short_name);
	return EXIT_FAIL;
}

int ktest_main(int argc, char **argv)
{
	bool list = false;
	int c;

	/* Arguments of -t are gathered at the front of argv, over words already read. */
	options.globs = argv;
	while ((c = getopt(argc, argv, "+lvt:")) != -1) {
		if (c == 'l')
			list = true;
		else if (c == 'v')
			options.verbose = true;
		else if (c == 't')
			options.globs[options.n_globs++] = optarg;
		else
			return usage();
	}
	if (optind != argc)
		return usage();
	read_timeout_scale();
	if (!list)
		return run_all();
	visit_all(print_name);
	return EXIT_PASS;
}
