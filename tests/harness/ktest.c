/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The harness's side: selects tests, runs each in a process of its own, judges it and prints KTAP.
 *
 * Only this side writes to standard output, so nothing a test prints can be taken for a result. A verdict
 * takes two witnesses, what the report says and how the process ended, and they must agree: that is how
 * a sanitizer's exit status, or a test that calls exit(0) half-way, becomes a failure.
 *
 * Kernel caveats: the test process stays a zombie (WNOWAIT) until its group has been killed, so that
 * its number cannot have gone to another group. Processes that left the group are re-parented to us
 * (PR_SET_CHILD_SUBREAPER) and found in /proc/thread-self/children; see proc(5) and prctl(2).
 */
#include "tests/harness/ktest_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEFAULT_TIMEOUT_S = 30, IDLE_SWEEPS = 3 };
enum verdict { PASSED, FAILED, SKIPPED, XFAILED, VERDICTS };

typedef void (*visit_fn)(const struct ktest_run *run);

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

static struct {
	int output; /* memfd that is stdout and stderr of the test */
	sigset_t waited_for, original;
	unsigned int number, count[VERDICTS];
} harness = { .output = -1 };

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
	exit(KTEST_FAIL);
}

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

/* Kills the children that /proc lists; false if there was none that could be killed. */
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

/*
 * Kills and reaps all that descends from the test `pid` and returns the test's status. A descendant that
 * is not listed yet, as its parent is just dying, appears in one of the next rounds; one that may not be
 * killed (set-user-ID) is left alone after a few.
 */
static int sweep(pid_t pid)
{
	int status = 0;

	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	for (int idle = 0; idle < IDLE_SWEEPS;) {
		bool killed = kill_children();
		pid_t reaped = waitpid(-1, NULL, killed ? __WALL : __WALL | WNOHANG);

		if (reaped < 0 && errno == ECHILD)
			break;
		idle = reaped == 0 ? idle + 1 : 0;
	}
	return status;
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

/* The exit must be the one that the report calls for; then the report says what it was. */
static enum verdict judge_exit(int code, const struct ktest_test *t)
{
	const struct ktest_report *r = ktest_report;
	char name[32];

	if (!atomic_load(&r->finished))
		ktest_log("exited with status %d before its end", code);
	else if (code != ktest_exit_status())
		ktest_log("exit status %d, not %d: a sanitizer's report, or an exit handler", code,
			  ktest_exit_status());
	else if (code == KTEST_FAIL)
		return atomic_load(&r->xfail) ? XFAILED : FAILED;
	else if (code == KTEST_SKIP)
		return SKIPPED;
	else if (t->expected_signal != 0)
		ktest_log("should have died of %s", signal_name(t->expected_signal, name));
	else if (atomic_load(&r->xfail))
		ktest_log("passed, though it is marked as known to fail: %s", r->why);
	else
		return PASSED;
	return FAILED;
}

static enum verdict judge(bool in_time, int status, const struct ktest_test *t)
{
	char name[32];

	if (!in_time) {
		ktest_log("timed out after %g s", timeout_s(t));
		return FAILED;
	}
	if (WIFEXITED(status))
		return judge_exit(WEXITSTATUS(status), t);
	if (WTERMSIG(status) == t->expected_signal && atomic_load(&ktest_report->failed) == 0)
		return PASSED;
	ktest_log("died of %s", signal_name(WTERMSIG(status), name));
	return FAILED;
}

/* Prints text as KTAP comments, one per line, without control characters. */
static void print_comments(const char *text, size_t len)
{
	while (len > 0) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl == NULL ? len : (size_t)(nl - text);
		char line[KTEST_LINE_SIZE];
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
	static char tail[KTEST_LOG_SIZE];
	off_t size = lseek(harness.output, 0, SEEK_END);
	off_t from = size > KTEST_LOG_SIZE ? size - KTEST_LOG_SIZE : 0;
	ssize_t n = size <= 0 ? 0 : pread(harness.output, tail, sizeof(tail), from);

	if (from > 0)
		dprintf(STDOUT_FILENO, "# (%jd bytes of output left out)\n", (intmax_t)from);
	if (n > 0)
		print_comments(tail, (size_t)n);
}

static void print_result(const struct ktest_run *run, enum verdict v)
{
	const struct ktest_report *r = ktest_report;
	size_t used = atomic_load(&r->used);

	if (v == FAILED)
		print_output();
	print_comments(r->log, used < KTEST_LOG_SIZE ? used : KTEST_LOG_SIZE);
	dprintf(STDOUT_FILENO, "%s %u %s", v == FAILED ? "not ok" : "ok", harness.number,
		run->name);
	if (v == SKIPPED || v == XFAILED)
		dprintf(STDOUT_FILENO, " # %s %s", v == SKIPPED ? "SKIP" : "XFAIL", r->why);
	dprintf(STDOUT_FILENO, "\n");
}

static void run_one(const struct ktest_run *run)
{
	pid_t parent = getpid(), pid;
	enum verdict v;
	bool in_time;
	int status;

	memset(ktest_report, 0, sizeof(*ktest_report));
	if (ftruncate(harness.output, 0) != 0 || lseek(harness.output, 0, SEEK_SET) != 0)
		bail_out("output file: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		ktest_run_test(run, parent, options.verbose ? STDERR_FILENO : harness.output,
			       &harness.original);
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
	struct ktest_run run = { .test = t, .variant = v };
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

static void print_name(const struct ktest_run *run)
{
	dprintf(STDOUT_FILENO, "%s\n", run->name);
}

static void count_one(const struct ktest_run *run)
{
	(void)run;
	harness.number++;
}

/* A descriptor of ours must not have a number that the test's standard streams will take. */
static void open_standard_streams(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			bail_out("/dev/null: %s", strerror(errno));
	} while (fd <= STDERR_FILENO);
	close(fd);
}

static void harness_init(void)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP };

	open_standard_streams();
	ktest_report = mmap(NULL, sizeof(*ktest_report), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ktest_report == MAP_FAILED)
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
		return KTEST_FAIL;
	return harness.count[SKIPPED] == harness.number ? KTEST_SKIP : KTEST_PASS;
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
	return KTEST_FAIL;
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
	return KTEST_PASS;
}
